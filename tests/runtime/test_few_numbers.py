"""Programs on few numbers, where it counts how soon NumPy begins: what they say, and that they compute the same."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lucid
import lucid.nn.functional as F
from lucid import nn
from lucid.graph.opdef import NoAttrs, OpDef
from lucid.graph.ops.elementwise import MAXIMUM, MINIMUM
from lucid.reference import evaluate_reference

from .test_conv import check

RNG = np.random.default_rng(5)


class Then(nn.Module):
    """A linear layer, and what follows it."""

    def __init__(self, then: Callable[[Any], Any], outputs: int) -> None:
        super().__init__()
        self.linear, self.then = nn.Linear(5, outputs), then

    def forward(self, x: Any) -> Any:
        return self.then(self.linear(x))


THEN: dict[str, Callable[[Any], Any]] = {
    "sigmoid": F.sigmoid, "silu": F.silu, "relu": F.relu, "tanh": F.tanh, "gelu": F.gelu, "elu": F.elu,
    "leaky_relu": F.leaky_relu, "softmax": lambda x: F.softmax(x, -1), "log_softmax": lambda x: F.log_softmax(x, -1),
    "softmax of all": lambda x: F.softmax(x.reshape(-1), 0), "shifted": lambda x: x - x.mean(-1, keepdim=True) + 1.0,
    "layer_norm": lambda x: F.layer_norm(x, x.shape[-1:]), "chosen": lambda x: x.argmax(-1),
    "joined": lambda x: lucid.cat([x, x * 2.0, x], 0), "side by side": lambda x: lucid.cat([x] * 20, -1),
    "taken": lambda x: x[lucid.tensor([0, -1])],
}  # fmt: skip


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (3, 1), (3, 7), (40, 110)], ids=str)
@pytest.mark.parametrize("then", THEN)
def test_a_few_numbers_are_what_the_reference_makes_of_them(then: str, shape: tuple[int, int]) -> None:
    rows, outputs = shape
    net = lucid.compile(Then(THEN[then], outputs).eval(), lucid.spec(rows, 5))
    x = RNG.standard_normal((rows, 5)).astype(np.float32)
    x[0, 0] = 200.0  # of exp(-x) single precision holds nothing, or no number
    state = {name: value.numpy() for name, value in net.named_parameters()}
    with lucid.no_grad():
        found = net(x).numpy(), net(x).numpy()
    np.testing.assert_array_equal(*found)
    np.testing.assert_allclose(found[0], evaluate_reference(net.traced, [x], state)[0], 1e-5, 1e-5)


@pytest.mark.parametrize("shape", [(1, 6), (2, 6)], ids=str)
def test_a_softmax_of_what_is_no_number_is_none(shape: tuple[int, int]) -> None:
    net = lucid.compile(Then(THEN["softmax"], 6).eval(), lucid.spec(shape[0], 5))
    x = np.full((shape[0], 5), np.nan, np.float32)
    assert np.isnan(net(x).numpy()).all()


def lines_of(then: str, shape: tuple[int, int]) -> list[str]:
    """The lines that run at each call."""
    source = lucid.compile(Then(THEN[then], shape[1]).eval(), lucid.spec(shape[0], 5)).source
    run = source[source.index("def run(") :]
    return [line.strip() for line in run.splitlines() if "=" in line and not line.strip().startswith("#")]


@pytest.mark.parametrize("then", ["sigmoid", "tanh"])
def test_one_number_is_not_written_over_itself(then: str) -> None:
    for line in lines_of(then, (1, 1)):
        called = re.fullmatch(r"np\.\w+\((.*), out=(\w+)\)", line)
        assert called is None or called[2] not in called[1].split(", "), line


def test_the_biases_of_few_rows_have_a_row_each() -> None:
    assert any("_whole, out=" in line for line in lines_of("tanh", (3, 7)))
    assert not any("_whole" in line for line in lines_of("tanh", (40, 110)))


def test_one_number_beside_many_has_no_axes() -> None:
    found = lines_of("layer_norm", (1, 7))
    assert sum("_number" in line for line in found) >= 2


def test_few_arrays_are_joined_one_by_one() -> None:
    assert not any("concatenate" in line for line in lines_of("joined", (3, 7)))
    assert any("concatenate" in line for line in lines_of("side by side", (3, 7)))


@pytest.mark.parametrize("op", [MAXIMUM, MINIMUM], ids=lambda op: op.name)
@pytest.mark.parametrize("slot", [0, 1])
@pytest.mark.parametrize(
    ("dtype", "number"), [("float32", 0.5), ("float64", np.nan), ("float32", -np.inf), ("int32", 3)]
)
def test_many_numbers_and_one(op: OpDef, slot: int, dtype: str, number: float) -> None:
    """Sizes on both sides of where NumPy is called otherwise, of every rank that one number may have; NaN wins."""
    for shape, one in (((3, 4), (1,)), ((2, 40, 9, 11), (1, 1, 1, 1)), ((2, 40, 9, 11), ()), ((8000,), (1, 1, 1))):
        x = (4 * RNG.standard_normal(shape)).astype(dtype)
        if dtype != "int32":
            x.reshape(-1)[:3] = np.nan, np.inf, -np.inf
        arrays = [x, np.full(one, number, dtype)]
        check(op, NoAttrs(), arrays[:: 1 - 2 * slot], parameters=(1 - slot,))
