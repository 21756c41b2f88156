"""How a model is compiled and what a compiled model can be used as."""

from __future__ import annotations

import collections
import copy
import dataclasses
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn, optim, passes
from lucid.errors import OptionError, ShapeError
from lucid.graph.ir import Graph

X = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
S = lucid.spec("N", 3)


# ---------------------------------------------------------------- specs


@dataclasses.dataclass
class Batch:
    a: Any
    b: Any


@pytest.mark.parametrize(
    ("function", "specs", "keywords", "args", "kwargs"),
    [
        (lambda d: d["a"] + d["b"], ({"a": S, "b": S},), {}, ({"a": X, "b": X * 2},), {}),
        (lambda d: d["a"] - d["b"], ({"a": S, "b": S},), {}, ({"b": X * 2, "a": X},), {}),
        (lambda xs: xs[0] * xs[1], ([S, S],), {}, ([X, X],), {}),
        (lambda xs: xs[0] * xs[1], ((S, S),), {}, ((X, X),), {}),
        (lambda x, *, mask: x * mask, (S,), {"mask": S}, (X,), {"mask": X}),
        (lambda *, b, a: a - b, (), {"a": S, "b": S}, (), {"b": X, "a": X * 3}),
        (lambda batch: batch.a - batch.b, (Batch(S, S),), {}, (Batch(X, X * 3),), {}),
        (lambda d: d["deep"][0]["x"] * 2, ({"deep": [{"x": S}]},), {}, ({"deep": [{"x": X}]},), {}),
    ],
)
def test_inputs_of_every_kind_have_specs(function: Any, specs: Any, keywords: Any, args: Any, kwargs: Any) -> None:
    net = lucid.compile(function, *specs, **keywords)
    wanted = function(*args, **kwargs)
    np.testing.assert_allclose(net(*args, **kwargs).numpy(), np.asarray(wanted), rtol=1e-6)
    assert set(net.traced.symbols) == {"N"}


def test_specs_and_calls_that_do_not_fit() -> None:
    for wrong in ((2, 3), [S, 1], {"a": None}, "x", 3, Batch(S, 2.0)):
        with pytest.raises(OptionError, match=r"lucid\.spec"):
            lucid.compile(lambda x: x, wrong)
        with pytest.raises(OptionError, match=r"lucid\.spec"):
            lucid.compile(lambda x: x, mask=wrong)
    net = lucid.compile(lambda d, *, m: d["a"] + m, {"a": S}, m=S)
    for args, kwargs in (
        (({"b": X},), {"m": X}), (({"a": X, "b": X},), {"m": X}), ((X,), {"m": X}), (({"a": X},), {}),
        (({"a": X}, X), {"m": X}), (({"a": X},), {"n": X}), (({"a": [X]},), {"m": X}), (({"a": 1.0},), {"m": X}),
    ):  # fmt: skip
        with pytest.raises(OptionError, match="compiled for"):
            net(*args, **kwargs)
    with pytest.raises(OptionError, match="module or a function"):
        lucid.compile(nn.Linear)
    decorated = lucid.compile(exact=True)(lambda x: x * 2)
    assert decorated.options.exact
    np.testing.assert_array_equal(decorated(X).numpy(), X * 2)


# ---------------------------------------------------------------- a compiled model is a module


def test_a_compiled_model_within_a_module() -> None:
    lucid.manual_seed(0)
    body = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    whole = nn.Sequential(lucid.compile(body), nn.Linear(4, 2))
    plain = nn.Sequential(body, whole[1])
    assert [n for n, _ in whole.named_parameters()] == [n for n, _ in plain.named_parameters()]
    assert sorted(whole.state_dict()) == sorted(plain.state_dict())
    assert whole.eval() is whole
    assert not body.training
    assert not body[2].training
    np.testing.assert_allclose(whole(X).numpy(), plain(X).numpy(), rtol=1e-6)
    np.testing.assert_allclose(lucid.compile(whole)(X).numpy(), plain(X).numpy(), rtol=1e-6)
    whole.train()
    assert body.training
    assert whole[0].training
    optimizer = optim.SGD(whole.parameters(), lr=0.1)
    before = {n: a.clone() for n, a in whole.state_dict().items()}
    (whole(X) ** 2).sum().backward()
    optimizer.step()
    after = whole.state_dict()
    assert all((before[n] != after[n]).any() for n in before if n.endswith("weight"))
    whole.load_state_dict(before)
    np.testing.assert_array_equal(body[0].weight.numpy(), before["0.0.weight"])  # type: ignore[union-attr]
    body.register_parameter("late", nn.Parameter(X))
    assert "0.late" in whole.state_dict()


def test_a_loaded_model_within_a_module_and_pickled(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).eval()
    net = lucid.compile(model, S)
    net.save(tmp_path / "net.lucid")
    loaded = lucid.load(tmp_path / "net.lucid")
    assert sorted(loaded.state_dict()) == sorted(name for name in model.state_dict() if "num_batches" not in name)
    whole = nn.Sequential(loaded, nn.ReLU()).eval()
    np.testing.assert_allclose(whole(X).numpy(), np.maximum(model(X).numpy(), 0), rtol=1e-5)
    assert len(list(whole.parameters())) == 4
    with pytest.raises(OptionError, match="mode it was saved in"):
        whole.train()
    for again in (pickle.loads(pickle.dumps(loaded)), copy.deepcopy(loaded), copy.copy(loaded)):
        np.testing.assert_array_equal(again(X).numpy(), loaded(X).numpy())
    again = pickle.loads(pickle.dumps(whole))
    np.testing.assert_array_equal(again(X).numpy(), whole(X).numpy())
    before = loaded(X).numpy().copy()
    for p in loaded.parameters():
        p.data.zero_()
    assert (loaded(X).numpy() != before).any()


# ---------------------------------------------------------------- passes and graphs


def test_passes_go_among_the_usual_ones() -> None:
    seen: list[str] = []

    def mine(graph: Graph) -> Graph:
        seen.append(" ".join(node.op.name for _, node in graph.nodes()))
        return graph

    usual = passes.default()
    assert usual.insert_after("fold_batch_norm", mine).names[3:5] == ("fold_batch_norm", "mine")
    assert usual.insert_before("fold_batch_norm", mine).names[3:5] == ("mine", "fold_batch_norm")
    assert "sink_monotone" not in usual.without("sink_monotone").names
    assert usual.replace("assign_layout", mine).names[-1] == "mine"
    assert usual.insert_after("fold_batch_norm", mine).insert_after("mine", mine).names.count("mine") == 2
    assert "mine" not in usual.names
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU())
    x = np.ones((1, 1, 5, 5), np.float32)
    net = lucid.compile(model.eval(), passes=usual.insert_after("fold_batch_norm", mine), verify=True)
    with lucid.no_grad():
        np.testing.assert_allclose(net(x).numpy(), model(x).numpy(), rtol=1e-4, atol=1e-5)
    assert "BatchNorm" not in seen[0]
    assert len(seen) == 1
    net(x).sum().backward()
    model.train()
    seen.clear()
    net(x).sum().backward()
    assert len(seen) == 2  # the forward and the backward graph
    assert any("Grad" in one for one in seen)


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p.insert_after("no such pass", lambda g: g), lambda p: p.insert_before(3, lambda g: g),
        lambda p: p.insert_after("lower", 3), lambda p: p.insert_after("lower", Graph), lambda p: p.without("lower"),
        lambda p: p.replace("lower", None), lambda p: lucid.compile(nn.ReLU(), passes="lower"),
        lambda p: lucid.compile(nn.ReLU(), passes=[3]), lambda p: lucid.compile(nn.ReLU(), passes=3),
    ],
)  # fmt: skip
def test_changes_of_passes_that_mean_nothing(change: Any) -> None:
    with pytest.raises(OptionError, match="pass"):
        change(passes.default())


def test_a_graph_compiles() -> None:
    lucid.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2, 2), nn.Flatten(), nn.Linear(36, 2)).eval()
    net = lucid.compile(model, lucid.spec("N", 1, 8, 8))
    x = np.random.default_rng(0).standard_normal((3, 1, 8, 8), dtype=np.float32)
    for graph in (net.traced, net.graph):
        again = lucid.compile(graph, parameters=dict(model.named_parameters()))
        np.testing.assert_allclose(again(x).numpy(), net(x).numpy(), rtol=1e-4, atol=1e-5)
        model.zero_grad()
        again(x).sum().backward()
        assert model[0].weight.grad is not None  # type: ignore[union-attr]
        np.testing.assert_allclose(
            lucid.compile(graph, parameters=model.state_dict())(x).numpy(), net(x).numpy(), rtol=1e-5
        )
    with pytest.raises(OptionError, match=re.escape("parameters={...}")):
        lucid.compile(net.traced)
    with pytest.raises(ShapeError, match=r"0\.weight"):
        lucid.compile(net.traced, parameters={**model.state_dict(), "0.weight": X})
    with pytest.raises(OptionError, match="give no specs"):
        lucid.compile(net.traced, S)
    two = lucid.compile(lambda a, b: (a + b, a * b), S, S)
    for one, other in zip(lucid.compile(two.graph)(X, X), two(X, X), strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_default_dicts_are_results_too() -> None:
    net = lucid.compile(lambda x: collections.defaultdict(list, a=x), S)
    assert type(net(X)) is collections.defaultdict
