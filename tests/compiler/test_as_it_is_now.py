"""What a compiled model tells and saves of itself is the model as it is now; its plan is that of the latest call."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn

X = np.linspace(-1, 1, 24, dtype=np.float32).reshape(3, 8)


class Net(nn.Module):
    slope = 1.0

    def __init__(self) -> None:
        super().__init__()
        lucid.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 8))
        self.scale, self.table = 2.0, [1.0]

    def forward(self, x: Any) -> Any:
        return self.body(x) * self.scale + self.table[0] * self.slope


def weights(net: Net) -> None:
    net.body[3].weight = nn.Parameter(np.zeros((8, 8), np.float32))


CHANGES: dict[str, Callable[[Net], Any]] = {
    "nothing": lambda net: None,
    "a parameter replaced": weights,
    "a parameter written to": lambda net: net.body[0].weight.copy_(np.ones((8, 8), np.float32)),
    "a buffer replaced": lambda net: setattr(net.body[1], "running_mean", lucid.tensor(np.ones(8, np.float32))),
    "a child replaced": lambda net: setattr(net.body, "2", nn.Tanh()),
    "an attribute": lambda net: setattr(net, "scale", 5.0),
    "a list": lambda net: net.table.__setitem__(0, 7.0),
    "a hook": lambda net: net.register_forward_hook(lambda module, args, out: out * 3),
    "a class attribute": lambda net: setattr(type(net), "slope", 9.0),
    "a child deleted": lambda net: net.body.__delitem__(2),
}


@pytest.fixture
def net() -> Any:
    yield Net()
    Net.slope = 1.0


@pytest.mark.parametrize("mode", ["train to eval", "eval"])
@pytest.mark.parametrize("given", [False, True], ids=["", "spec"])
@pytest.mark.parametrize("what", CHANGES)
def test_what_is_saved_is_the_model(net: Net, what: str, given: bool, mode: str, tmp_path: Path) -> None:
    net.train(mode == "train to eval")
    compiled = lucid.compile(net, lucid.spec("N", 8)) if given else lucid.compile(net)
    compiled(X)
    net.eval()
    CHANGES[what](net)
    compiled.save(tmp_path / "m.lucid")
    want = net(lucid.tensor(X)).numpy()
    np.testing.assert_allclose(lucid.load(tmp_path / "m.lucid")(X).numpy(), want, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(compiled(X).numpy(), want, rtol=1e-5, atol=1e-5)


def test_what_is_shown_is_the_model(net: Net, tmp_path: Path) -> None:
    compiled = lucid.compile(net.train())
    compiled(X)
    assert "RandomKey" in str(compiled.traced)
    net.eval()
    for graph in (compiled.traced, compiled.graph, compiled.backward_graph):
        assert "RandomKey" not in str(graph)
    net.train()
    assert "RandomKey" in str(compiled.graph) and len(compiled._traces) == 2
    net.body[2] = nn.Tanh()
    assert "Tanh" in str(compiled.traced) and "body.2" in compiled.explain()
    net.body[2] = nn.Identity()
    compiled.draw(tmp_path / "net.dot")
    assert "body.2" not in (tmp_path / "net.dot").read_text("utf-8")


def test_a_function_is_saved_as_it_is_now(tmp_path: Path) -> None:
    box = [2.0]
    compiled = lucid.compile(lambda t: t * box[0])
    compiled(X)
    box[0] = 5.0
    compiled.save(tmp_path / "f.lucid")
    np.testing.assert_array_equal(lucid.load(tmp_path / "f.lucid")(X).numpy(), X * 5)


def test_the_plan_is_that_of_the_latest_call() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))
    compiled = lucid.compile(model)
    inputs = [X, X[:2], np.ones((2, 3, 8), np.float32)]

    def shown() -> tuple[Any, str]:
        return compiled.plan.graph.input_types[0].shape, compiled.source

    for _ in range(3):
        for x in inputs:
            compiled(x)
            assert shown()[0] == x.shape
    model.train()
    compiled(X)
    training = shown()
    with lucid.no_grad():
        compiled(X)
    inference = shown()
    assert training[0] == inference[0] == X.shape and training[1] != inference[1]
    compiled(X)
    assert shown() == training
    compiled(lucid.tensor(X, requires_grad=True)).sum().backward()
    assert shown()[0] == X.shape  # the call's, not that of its backward run
    thread = threading.Thread(target=compiled, args=(inputs[1],))
    thread.start()
    thread.join()
    assert shown()[0] == inputs[1].shape
    model.eval()
    assert shown()[0] == inputs[1].shape


@pytest.mark.parametrize("specs", [(), (lucid.spec("N"),)], ids=["at calls", "specs"])
def test_what_it_tells_and_saves_is_of_the_latest_call(specs: Any, tmp_path: Path) -> None:
    """Also where that call went the way of an earlier one."""
    compiled = lucid.compile(lambda a: a * a[:3].sum(), *specs)
    inputs = [np.ones(n, np.float32) for n in (2, 3, 4)] + [np.ones(2, np.float64)] * (not specs)
    for x in [*inputs, *inputs, *reversed(inputs)]:
        compiled(x)
        taken = f"{x.dtype}[{len(x) if not specs or len(x) == 2 else 'N'}]"  # a size that is sliced otherwise is fixed
        assert [str(graph.input_types[0]) for graph in (compiled.traced, compiled.graph)] == [taken, taken]
        assert f"a: Input -> {taken}" in compiled.explain()
        compiled.draw(tmp_path / "f.dot")
        assert taken in (tmp_path / "f.dot").read_text("utf-8")
        assert str(compiled.plan.graph.input_types[0]) == f"{x.dtype}[{len(x)}]"
        compiled.save(tmp_path / "f.lucid")
        loaded = lucid.load(tmp_path / "f.lucid")
        assert str(loaded.traced.input_types[0]) == taken
        np.testing.assert_array_equal(loaded(x).numpy(), x * min(len(x), 3))


def test_the_plan_before_any_call_is_that_of_one() -> None:
    compiled = lucid.compile(nn.Linear(8, 4), lucid.spec("N", 8))
    assert compiled.plan.graph.input_types[0].shape == (1, 8)
    compiled(X)
    assert compiled.plan.graph.input_types[0].shape == (3, 8)


def test_a_loaded_model_tells_its_latest_plan_too(tmp_path: Path) -> None:
    compiled = lucid.compile(nn.Linear(8, 4), lucid.spec("N", 8))
    compiled.save(tmp_path / "m.lucid")
    loaded = lucid.load(tmp_path / "m.lucid")
    for rows in (3, 2, 3):
        loaded(X[:rows])
        assert loaded.plan.graph.input_types[0].shape == (rows, 8)
