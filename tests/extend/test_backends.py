"""Back ends from outside the package: what they are given, what they may give, and what there is not with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.errors import ExecutionError, GradientError, GraphError, LoweringError, OptionError
from lucid.extend import Backend, Graph, Machine, Node, Value, run_node
from lucid.passes import default

X = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
S = lucid.spec("N", 3)


class Plain:
    """Runs node by node; ``change`` is what it makes of the results."""

    name = "plain"

    def __init__(self, change: Callable[[list[Any]], Any] = lambda results: results) -> None:
        self.change = change
        self.compiled: list[tuple[Graph, Mapping[str, Any], Machine]] = []
        self.given: list[Any] = []

    def accepts(self, node: Node) -> bool:
        return node.op.decompose is None

    def compile(self, graph: Graph, parameters: Mapping[str, Any], machine: Machine) -> Callable[..., Sequence[Any]]:
        self.compiled.append((graph, parameters, machine))

        def run(*inputs: Any) -> Any:
            self.given = [*inputs, *parameters.values()]
            values: dict[Value, Any] = {Value(n): x for n, x in zip(graph.inputs, inputs, strict=True)}
            values |= {Value(key): parameters[name] for name, key in graph.parameters.items()}
            for name, node in graph.nodes():
                if Value(name) not in values:
                    made = run_node(node, [values[v] for v in graph.inputs_of(name)])
                    values.update((Value(name, i), y) for i, y in enumerate(made))
            return self.change([values[v] for v in graph.results])

        return run


def model() -> nn.Sequential:
    lucid.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.BatchNorm1d(4), nn.Linear(4, 2), nn.Softmax(-1)).eval()


def test_it_is_given_a_graph_of_known_sizes_and_its_parameters() -> None:
    plain, layers = Plain(), model()
    net = lucid.compile(layers, S, backend=plain, verify=True)
    for n in (2, 0, 5, 2):
        x = np.resize(X, (n, 3))
        np.testing.assert_allclose(net(x).numpy(), layers(x).numpy(), rtol=1e-5, atol=1e-6)
    assert [graph.input_types[0].shape for graph, *_ in plain.compiled] == [(2, 3), (0, 3), (5, 3)]
    graph, parameters, machine = plain.compiled[0]
    assert not graph.symbols
    assert set(parameters) == set(graph.parameters)
    assert isinstance(machine, Machine)
    assert all(node.op.decompose is None for _, node in graph.nodes())
    assert not any(x.flags.writeable for x in plain.given)
    assert "BatchNorm" not in net.graph.text()  # the passes have run
    layers[0].bias.data.add_(1)  # type: ignore[union-attr]
    np.testing.assert_allclose(net(X).numpy(), layers(X).numpy(), rtol=1e-5, atol=1e-6)
    assert len(plain.compiled) == 4


def test_training_mode_runs_forward_and_updates_buffers() -> None:
    layers, other = model().train(), model().train()
    net = lucid.compile(layers, backend=Plain())
    np.testing.assert_allclose(net(X).numpy(), other(X).numpy(), rtol=1e-5, atol=1e-6)
    for (name, a), b in zip(layers.state_dict().items(), other.state_dict().values(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6, err_msg=name)


def test_what_there_is_not_says_so(tmp_path: Path) -> None:
    net = lucid.compile(model(), S, backend=Plain())
    y = net(X)
    assert y.requires_grad
    uses: tuple[tuple[type[Exception], Callable[[], object]], ...] = (
        (GradientError, lambda: y.sum().backward()),
        (OptionError, lambda: net.plan), (OptionError, lambda: net.source), (OptionError, lambda: net.profile(X)),
        (OptionError, lambda: net.values(X)), (OptionError, lambda: net.save(tmp_path / "net.lucid")),
        (OptionError, lambda: net.explain("0.linear")),
        (OptionError, lambda: lucid.compile(model(), backend=Plain(), tune=True)),
    )  # fmt: skip
    for kind, use in uses:
        with pytest.raises(kind, match="compiled for the back end 'plain', of which there is no"):
            use()
    assert not list(tmp_path.iterdir())
    net.draw(tmp_path / "net.dot")
    assert "linear" in net.explain()
    assert net.values(X, reference=True)[0] is not None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda ys: [], "it gave 0 results, the graph has 1"),
        (lambda ys: [ys[0].T], r"it gave float32\[2, 5\] for .*softmax, which is float32\[5, 2\]"),
        (lambda ys: [ys[0].astype("f8")], r"it gave float64\[5, 2\]"),
        (lambda ys: 1 / 0, "failed to run the graph: ZeroDivisionError"),
        (lambda ys: 3, "failed to run the graph: TypeError"),
    ],
)
def test_results_that_do_not_fit(change: Any, words: str) -> None:
    net = lucid.compile(model(), S, backend=Plain(change))
    with pytest.raises(ExecutionError, match=f"back end 'plain'.*{words}"):
        net(np.resize(X, (5, 3)))


def test_wrong_numbers_are_caught_by_verify() -> None:
    wrong = Plain(lambda ys: [y + 1 for y in ys])
    with pytest.raises(LoweringError, match=r"'plain' gives another value of node '4.*Softmax.*differs by 1"):
        lucid.compile(model(), S, backend=wrong, verify=True)(X)


def test_what_it_does_not_accept_is_taken_apart_or_refused() -> None:
    class Picky(Plain):
        def accepts(self, node: Node) -> bool:
            return super().accepts(node) and node.op.name != "Exp"

    net = lucid.compile(lambda x: x.exp() + 1, S, backend=Picky())
    with pytest.raises(GraphError, match=r"back end 'plain' does not run node 'exp' \(Exp, made in .*test_backends"):
        net(X)
    whole = lucid.compile(model(), S, backend=Plain(), passes=[])
    with pytest.raises(GraphError, match="does not run node"):
        whole(X)
    mine = default().insert_after("fuse_elementwise", lambda graph: graph)  # it goes where that would have been
    assert lucid.compile(model(), S, backend=Plain(), passes=mine)(X).shape == (2, 2)


def test_results_are_the_callers_own() -> None:
    kept: list[Any] = []

    def same_memory(ys: list[Any]) -> list[Any]:
        kept[:] = kept or [np.empty_like(y) for y in ys]
        for memory, y in zip(kept, ys, strict=True):
            memory[...] = y
        return kept

    net = lucid.compile(lambda x: x * 2, S, backend=Plain(same_memory))
    first = net(X)
    net(X + 1)
    np.testing.assert_array_equal(first.numpy(), X * 2)
    passing = lucid.compile(lambda x: x, S, backend=Plain())(X)
    assert not np.shares_memory(passing.numpy(), X)


@pytest.mark.parametrize("given", [3, Plain, object(), "nothing", {"name": "x"}])
def test_what_is_no_back_end(given: Any) -> None:
    with pytest.raises(OptionError, match="back end"):
        lucid.compile(model(), backend=given)


def test_its_type() -> None:
    backend: Backend = Plain()
    assert backend.name == "plain"
