"""The mean that is subtracted from a linear layer is taken off its weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.graph.facts import parameter_only
from lucid.graph.opdef import NoAttrs, apply
from lucid.graph.ops.linalg import LINEAR
from lucid.graph.ops.reduce import MEAN
from lucid.graph.types import spec
from lucid.passes.fold.means import fold_means

from .helpers import assert_same, ops, trace

CLOSE = {"rtol": 1e-5, "atol": 1e-6}  # sums are rounded in another order


def linear(*inputs: Any) -> Any:
    return apply(LINEAR, NoAttrs(), *inputs)


def centred(y: Any, axis: int = -1, keepdim: bool = True) -> Any:
    return y - y.mean(axis, keepdim=keepdim)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4), ("N", 4)], ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_the_mean_goes_into_the_weights(bias: bool, shape: tuple[Any, ...], dtype: str) -> None:
    given = {"w": spec(5, 4, dtype=dtype), **({"b": spec(5, dtype=dtype)} if bias else {})}
    before = trace(lambda x, **given: centred(linear(x, *given.values())).exp(), spec(*shape, dtype=dtype), **given)
    after = fold_means(before)
    assert ops(after) == ["Mean", "Sub"] * (1 + bias) + ["Linear", "Exp"]
    assert after.inputs_of("linear")[0].node == "x0"
    assert fold_means(after) is after
    at = {"N": 6} if "N" in shape else {}
    assert_same(before.bind(at), after.bind(at), **CLOSE)


LEFT: dict[str, Callable[..., Any]] = {
    "read-elsewhere": lambda x, w: (lambda y: centred(y) + y.exp())(linear(x, w)),
    "a-result": lambda x, w: (lambda y: (y, centred(y)))(linear(x, w)),
    "mean-read-elsewhere": lambda x, w: (lambda y, m: (y - m) / m)(y := linear(x, w), y.mean(-1, keepdim=True)),
    "of-another-axis": lambda x, w: centred(linear(x, w), 0),
    "of-another": lambda x, w: linear(x, w) - x.mean(-1, keepdim=True),
    "turned": lambda x, w: (lambda y: y.mean(-1, keepdim=True) - y)(linear(x, w)),
    "without-the-axis": lambda x, w: centred(linear(x[:4], w[:4]), keepdim=False),
    "moving-weights": lambda x, w: centred(linear(x, w * x.mean())),
    "of-weights-alone": lambda x, w: x + centred(linear(w, w)).sum(),
}


@pytest.mark.parametrize("name", LEFT)
def test_what_stays(name: str) -> None:
    graph = trace(LEFT[name], (6, 4), w=(5, 4))
    assert fold_means(graph) is graph


class Normalised(nn.Module):
    """A layer and its normalisation, as models spell that out."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(20, 12)

    def forward(self, x: Any) -> Any:
        y = self.layer(x)
        y = y - y.mean(-1, keepdim=True)
        return y / ((y * y).mean(-1, keepdim=True) + 1e-5).sqrt()


def test_a_compiled_model_has_one_mean_less_and_follows_its_weights() -> None:
    model = Normalised().eval()
    x = np.random.default_rng(0).standard_normal((3, 20)).astype(np.float32)
    for exact, means in ((False, 1), (True, 2)):
        net = lucid.compile(model, lucid.spec("N", 20), exact=exact, verify=True)
        fixed = parameter_only(net.graph)
        each_run = [name for name, node in net.graph.nodes() if node.op is MEAN and name not in fixed]
        assert len(each_run) == means
        # 3.6e-7 at most, of values up to 2.6: a few roundings of single precision
        np.testing.assert_allclose(net(x).numpy(), model(x).numpy(), rtol=0, atol=1e-6)
        with lucid.no_grad():
            model.layer.weight.mul_(2.0).add_(0.25)
        np.testing.assert_allclose(net(x).numpy(), model(x).numpy(), rtol=0, atol=1e-6)
