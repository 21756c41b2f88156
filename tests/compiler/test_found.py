"""Sizes that data decides, compiled: a program for each stage, made for what the stages before it have found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.errors import GradientError, OptionError, ShapeError, TraceError

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)


class Chosen(nn.Module):
    """Rows with a positive sum through a layer, twice; and what else data decides the size of."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 3), nn.Linear(3, 2)

    def forward(self, x: Any) -> Any:
        y = self.first(x)
        rows = y[y.sum(1) > 0]
        z = self.second(rows.relu())
        better = z[z[:, 0] > z[:, 1]]
        values, inverse, counts = lucid.unique(z.round(), return_inverse=True, return_counts=True)
        return {
            "rows": rows, "better": better * 2, "sum": better.sum(), "places": lucid.nonzero(y > 0),
            "picked": y.masked_select(y > 0.5) + x[:, :3].masked_select(y > 0.5), "values": values,
            "which": inverse, "counts": counts, "ones": lucid.ones(rows.shape[0], 2),
        }  # fmt: skip


def alike(found: Any, wanted: Any) -> None:
    assert found.keys() == wanted.keys()
    for name, want in wanted.items():
        assert found[name].shape == want.shape and found[name].dtype == want.dtype
        np.testing.assert_allclose(found[name].numpy(), want.numpy(), rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def pair() -> tuple[Chosen, Any]:
    lucid.manual_seed(0)
    model = Chosen().eval()
    return model, lucid.compile(model, lucid.spec("N", 4))


def inputs() -> list[Array]:
    """Of several sizes, none and all of which are chosen."""
    some = [RNG.standard_normal((n, 4)).astype(np.float32) for n in (5, 7, 1, 0, 7)]
    return [*some, np.zeros((3, 4), np.float32), np.repeat(some[0], 3, 0)]


def test_it_is_what_the_eager_model_gives(pair: tuple[Chosen, Any], tmp_path: Path) -> None:
    model, net = pair
    net.save(tmp_path / "net.lucid")
    loaded = lucid.load(tmp_path / "net.lucid")
    for x in inputs():
        with lucid.no_grad():
            alike(net(x), model(x))
            for name, y in loaded(x).items():
                np.testing.assert_array_equal(y.numpy(), net(x)[name].numpy())


def test_its_gradients_are_those_of_the_eager_model(pair: tuple[Chosen, Any]) -> None:
    model, net = pair
    for array in inputs()[:3]:
        found = []
        for function in (model, net):
            x = lucid.tensor(array, requires_grad=True)
            y = function(x)
            (y["sum"] + (y["rows"] ** 2).sum() + y["picked"].sum()).backward()
            found.append([x.grad, *(p.grad for p in model.parameters())])
            model.zero_grad()
        for want, have in zip(*found, strict=True):
            np.testing.assert_allclose(have.numpy(), want.numpy(), rtol=1e-4, atol=1e-5)


def test_it_says_what_it_is(pair: tuple[Chosen, Any], tmp_path: Path) -> None:
    _, net = pair
    assert "float32[found_1, 3] = Index" in str(net.graph) and "Found" in net.explain()
    net.draw(tmp_path / "net.dot")
    for told in (lambda: net.plan, lambda: net.source, lambda: net.profile(inputs()[0])):
        with pytest.raises(OptionError, match=r"data decides sizes of this model \(found_1, .*several programs"):
            told()


def test_what_is_computed_alike_has_one_size() -> None:
    x, y = RNG.standard_normal((2, 3, 4)).astype(np.float32)
    found = lucid.compile(lambda x, y: x[x > 0] * y[x > 0])(x, y)
    np.testing.assert_array_equal(found.numpy(), x[x > 0] * y[x > 0])
    with pytest.raises(ShapeError, match=r"found_1.*found_2"):
        lucid.compile(lambda x, y: x[x > 0] * y[y > 0])(x, y)


@pytest.mark.parametrize(
    "body",
    [
        lambda x: lucid.cond(x.sum() > 0, lambda: x[x > 0].sum(), lambda: x.sum()),
        lambda x: lucid.while_loop(lambda y: y.sum() > 1, lambda y: (y[y > 0].sum().expand(3),), (x,)),
    ],
)
def test_nothing_is_found_within_a_branch_or_a_loop(body: Callable[[Any], Any]) -> None:
    with pytest.raises(TraceError, match="within a branch or a loop"):
        lucid.compile(body)(np.ones(3, np.float32))


def test_random_numbers_are_not_drawn_again_for_a_gradient() -> None:
    @lucid.compile
    def noisy(x: Any) -> Any:
        return (x * lucid.rand(3))[x > 0]

    x = lucid.tensor([1.0, -1.0, 2.0], requires_grad=True)
    y = noisy(x)
    assert y.shape == (2,)
    with pytest.raises(GradientError, match="other random numbers"):
        y.sum().backward()


def test_what_data_decides_otherwise_is_traced_for_that_too(tmp_path: Path) -> None:
    """After the first trace once for each kind of sizes, however often they come."""
    net = lucid.compile(lambda x: x[x > 0][3:] * 2, lucid.spec("N"))
    net.save(tmp_path / "net.lucid")
    loaded = lucid.load(tmp_path / "net.lucid")
    for count in (4, 2, 9, 1, 0, 3):
        x = np.concatenate([np.ones(count), -np.ones(2)]).astype(np.float32)
        np.testing.assert_array_equal(net(x).numpy(), x[x > 0][3:] * 2)
        if count >= 3:
            np.testing.assert_array_equal(loaded(x).numpy(), net(x).numpy())
        else:
            with pytest.raises(ShapeError, match=f"the data decides that found_1 is {count}, and .* found_1 >= 3"):
                loaded(x)
    assert "3 traces" in repr(net)


def test_a_slice_ends_where_there_is_no_more() -> None:
    """So that a file holds it for however much is found."""
    net = lucid.compile(lambda x: (x[x > 0][:3], x[x.sum(1) > 0, 1:][:2]), lucid.spec("N", 4))
    for count in (4, 0, 1, 9):
        x = RNG.standard_normal((count, 4)).astype(np.float32)
        for found, want in zip(net(x), (x[x > 0][:3], x[x.sum(1) > 0, 1:][:2]), strict=True):
            np.testing.assert_array_equal(found.numpy(), want)
    assert "1 traces" in repr(net)


def test_a_model_of_such_sizes_is_proven(pair: tuple[Chosen, Any]) -> None:
    model, _ = pair
    x = inputs()[0]
    net = lucid.compile(model, lucid.spec("N", 4), verify=True)
    y = net(x)
    alike(y, model(x))
    y["sum"].backward()
    graph, values = net.values(x, reference=True)
    np.testing.assert_allclose(values[graph.outputs[0]], y["rows"].numpy(), rtol=1e-5)


def test_a_step_is_one_program() -> None:
    model = nn.Linear(4, 2)
    step = lucid.compile_step(model, lambda y: y[y > 0].sum(), lucid.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(OptionError, match=r"decides sizes of this model \(found_1\), so it is not one program"):
        step(np.ones((3, 4), np.float32))
