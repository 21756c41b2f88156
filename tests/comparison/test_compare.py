"""``lucid.compare`` names the first place where two models part."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.errors import OptionError, ShapeError
from lucid.graph.ir import Graph
from lucid.passes.pipeline import Pass
from lucid.passes.rewrite import Site, rebuild

X = np.random.default_rng(0).standard_normal((2, 3, 8, 8), dtype=np.float32)


def network(seed: int = 0) -> nn.Module:
    lucid.manual_seed(seed)
    layers = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(64, 5)
    return nn.Sequential(*layers).eval()


def other_bias(model: nn.Module, path: str) -> nn.Module:
    """The same, but that one of its layers adds something else."""
    changed = network()
    changed.load_state_dict(model.state_dict())
    changed.get_parameter(path).data.copy_(changed.get_parameter(path).numpy() + 1)
    return changed


def test_what_computes_the_same_agrees() -> None:
    model = network()
    found = lucid.compare(model, lucid.compile(model), X)
    assert found
    assert found.first is None
    assert str(found).startswith("the module Sequential and the compiled model agree; ")
    assert all(pair.agrees for pair in found.steps)


@pytest.mark.parametrize(("path", "name"), [("0.bias", "0"), ("2.bias", "2"), ("5.bias", "5")])
def test_the_first_layer_that_differs_is_named(path: str, name: str) -> None:
    model = network()
    found = lucid.compare(model, other_bias(model, path), X)
    assert not found
    assert found.first is not None
    assert found.first.place.startswith(f"{name} at ")
    assert "they part at" in str(found)


def test_a_wrong_pass_is_seen_between_definition_and_program() -> None:
    def doubled(graph: Graph) -> Graph:
        def rule(site: Site) -> Any:
            return site.inputs[0].tanh() * 2.0 if site.op.name == "Tanh" else None

        return rebuild(graph, rule, "doubled")

    model = network()
    net = lucid.compile(model, passes=lucid.passes.default().insert_before("clean_up", Pass("doubled", doubled)))
    found = lucid.compare(model, net, X)
    assert not found
    assert found.first is not None


def test_what_differs_by_design_on_the_way_is_not_blamed() -> None:
    """A bias that is added later: values between differ, and the results do not."""
    lucid.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)).eval()
    found = lucid.compare(model, lucid.compile(model), X)
    assert found
    assert found.first is None


def test_files_and_graphs(tmp_path: Path) -> None:
    model = network()
    net = lucid.compile(model, lucid.spec("N", 3, 8, 8))
    net.save(tmp_path / "net.lucid")
    arrays = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    assert lucid.compare(tmp_path / "net.lucid", model, X)
    assert lucid.compare(net.traced, str(tmp_path / "net.lucid"), X, parameters=arrays)
    assert lucid.compare(lambda x: x.exp(), lambda x: lucid.exp(x), X)


def test_results_of_other_shapes_and_kinds() -> None:
    assert not lucid.compare(lambda x: x.sum(1), lambda x: x.sum(1, keepdim=True), X)
    assert not lucid.compare(lambda x: x, lambda x: x / 0.0, X)
    assert lucid.compare(lambda x: x / 0.0, lambda x: x / 0.0, X)
    assert lucid.compare(lambda x: x > 0, lambda x: x > 0, X)
    with pytest.raises(ShapeError, match="gives 1 results, the function 2"):
        lucid.compare(lambda x: x, lambda x: (x, x), X)


@pytest.mark.parametrize("stray", [3, None, nn.ReLU])
def test_what_is_no_model_is_refused(stray: object) -> None:
    with pytest.raises(OptionError, match="compare: a model is"):
        lucid.compare(stray, network(), X)


def test_a_layer_that_was_folded_is_not_blamed() -> None:
    lucid.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1)).eval()
    model.get_buffer("1.running_var").data.copy_(np.full(2, 4, np.float32))
    other = copy.deepcopy(model)
    other.get_parameter("2.bias").data.copy_(np.ones(2, np.float32))
    found = lucid.compare(model, lucid.compile(other), X)
    assert not found
    assert found.first is not None
    assert found.first.place.startswith("2 at ")


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (lambda x: x.sum().to(lucid.int64) * 0 + 29000, lambda x: x.sum().to(lucid.int64) * 0 + 28999),
        (lambda x: x * np.nan, lambda x: (x * 0).to(lucid.int64)),
        (lambda x: x * np.nan, lambda x: x * np.inf),
        (lambda x: x.sum() * np.nan, lambda x: x.sum() * 0),
        (lambda x: x * np.inf, lambda x: -x * np.inf),
    ],
)
def test_what_is_not_the_same(a: Any, b: Any) -> None:
    assert not lucid.compare(a, b, X)
    assert lucid.compare(a, a, X)
    assert lucid.compare(b, b, X)


def test_what_draws_random_numbers_is_refused() -> None:
    model = nn.Dropout(0.5)
    with pytest.raises(OptionError, match=r"draws random numbers.*model\.eval"):
        lucid.compare(model, lucid.compile(model), X)
    assert lucid.compare(model.eval(), lucid.compile(model), X)


def test_values_are_copies() -> None:
    model = network()
    net, x = lucid.compile(model), X.copy()
    for reference in (False, True):
        _, values = net.values(x, reference=reference)
        for array in values.values():
            array[...] = 0
    np.testing.assert_array_equal(x, X)
    assert all(parameter.numpy().any() for parameter in model.parameters())


class Named(nn.Module):
    """Takes a dict, and gives one."""

    def __init__(self, *keys: str) -> None:
        super().__init__()
        self.linear, self.keys = nn.Linear(3, 2), keys

    def forward(self, given: Any) -> Any:
        y = self.linear(given["x"]) * given["scale"]
        return dict(zip(self.keys, (y, [y.exp(), y.tanh()]), strict=True))


def named(*keys: str, add: float = 0.0) -> Named:
    lucid.manual_seed(0)
    model = Named(*keys).eval()
    model.linear.bias.data.copy_(model.linear.bias.numpy() + add)
    return model


GIVEN = {"scale": np.full(1, 2.0, np.float32), "x": X[0, :, 0, :3]}


def test_inputs_and_results_in_dicts(tmp_path: Path) -> None:
    model, net = named("y", "more"), lucid.compile(named("y", "more"))
    found = lucid.compare(model, net, GIVEN)
    assert found
    assert [pair.name for pair in found.results] == ["result 'y'", "result 'more.0'", "result 'more.1'"]
    net(GIVEN)
    net.save(tmp_path / "net.lucid")
    assert lucid.compare(tmp_path / "net.lucid", model, dict(reversed(GIVEN.items())))
    other = lucid.compare(named("y", "more", add=1.0), model, GIVEN)
    assert next(pair.name for pair in other.results if not pair.agrees) == "result 'y'"
    assert other.first is not None and "linear" in other.first.name


def test_results_go_by_their_keys() -> None:
    def one(x: Any) -> Any:
        return {"a": x.exp(), "b": x.tanh()}

    def other(x: Any) -> Any:
        return {"b": x.tanh(), "a": x.exp()}

    assert lucid.compare(one, other, X)
    assert not lucid.compare(one, lambda x: {"a": x.tanh(), "b": x.exp()}, X)
    assert lucid.compare(one, lambda x: (x.exp(), x.tanh()), X)  # which has no keys
    with pytest.raises(ShapeError, match="the function gives 'a', 'b', and the function 'a', 'c'"):
        lucid.compare(one, lambda x: {"a": x.exp(), "c": x.tanh()}, X)


def test_lists_of_inputs_and_of_numbers() -> None:
    def total(xs: Any) -> Any:
        return xs[0] + xs[1]

    assert lucid.compare(total, lucid.compile(total), [X, X * 2])
    assert lucid.compare(total, lucid.compile(total), [[1.0, 2.0], [3.0, 4.0]])
    assert lucid.compare(total, lucid.compile(total), (np.float32(1.0), np.float32(2.0)))


def test_texts() -> None:
    def letters(text: Any, *, more: Any) -> Any:
        return text.codes.sum(-1) + more

    words = np.array(["a", "long word", ""])

    def wrapped(given: Any) -> Any:
        return {"sum": letters(given["words"], more=given["more"])}

    assert lucid.compare(wrapped, lucid.compile(wrapped), {"words": words, "more": np.arange(3, dtype=np.int32)})
    assert not lucid.compare(
        wrapped, lambda g: {"sum": g["more"]}, {"words": words, "more": np.arange(3, dtype=np.int32)}
    )
