"""What was found is never lost, whatever is asked and wherever it is to be written."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid.errors import OptionError, PassError, RuleError, ShapeError
from lucid.graph.ir import Graph
from lucid.passes.rewrite import Site, rebuild
from lucid.proof import check_gradients, check_pass

from .planted import planted

GRAPH = lucid.compile(lambda x: (x.exp() + 1, x.tanh()), lucid.spec(2, 3)).traced


def halved(graph: Graph) -> Graph:
    def rule(site: Site) -> Any:
        return site.inputs[0].exp() * 0.5 if site.op.name == "Exp" else None

    return rebuild(graph, rule, "halved")


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    passes = lucid.passes.default().insert_before("clean_up", halved)
    for folder in (tmp_path / "file", tmp_path / "file" / "below", "a\0b", "x" * 5000):
        with pytest.raises(PassError, match="pass halved changed") as caught:
            lucid.compile(lambda x: x.exp(), lucid.spec(2, 3), passes=passes, verify=folder)
        assert isinstance(caught.value.script, Path)
        assert caught.value.script.exists()
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("wrong", [lambda g: None, lambda g: 3, lambda g: Graph(g.dag, g.inputs, g.outputs[:1])])
def test_a_pass_that_gives_no_graph_or_another(wrong: Any) -> None:
    with pytest.raises(PassError, match="gave"):
        check_pass(wrong, GRAPH, {})


def test_what_is_asked_for_wrongly() -> None:
    with pytest.raises(OptionError, match="a pass is a function"):
        check_pass(3, GRAPH, {})  # type: ignore[arg-type]
    for inputs in ([], [np.ones(3, np.float32)], [np.ones((2, 3))]):
        with pytest.raises(ShapeError, match="the graph takes"):
            check_gradients(GRAPH, {}, inputs=inputs)
    lucid.manual_seed(0)
    with_weights = lucid.compile(lucid.nn.Linear(3, 2), lucid.spec(2, 3)).traced
    for check in (lambda: check_pass(halved, with_weights, {}), lambda: check_gradients(with_weights, {})):
        with pytest.raises(OptionError, match="arrays for weight, bias"):
            check()


def test_a_module_called_input(tmp_path: Path) -> None:
    """Its parameters are no inputs."""

    class Named(lucid.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.input = lucid.nn.Linear(3, 2)

        def forward(self, x: Any) -> Any:
            return self.input(x).exp()

    lucid.manual_seed(0)
    x = lucid.tensor(np.ones((2, 3), np.float32), requires_grad=True)
    with planted("graph.ops.linalg", "dy.sum(0) if", "dy.mean(0) if"):
        with pytest.raises(RuleError, match="of Linear") as caught:
            lucid.compile(Named(), verify=tmp_path)(x).sum().backward()
        with pytest.raises(RuleError, match="of Linear"):
            runpy.run_path(str(caught.value.script))
    runpy.run_path(str(caught.value.script))
