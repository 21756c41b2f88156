"""The lowerings of a linear layer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import models, nn
from lucid.graph.ir import Node
from lucid.graph.opdef import NoAttrs
from lucid.graph.ops.elementwise import GeluAttrs
from lucid.graph.ops.fused_linear import FUSED_LINEAR, FusedLinearAttrs
from lucid.graph.ops.linalg import LINEAR
from lucid.nn import functional as F
from lucid.runtime.kernels.linear.blocks import ColumnCut
from lucid.runtime.planning.machine import described
from lucid.runtime.planning.registry import Lowering, choices, lowerings
from lucid.runtime.program.plan import make_plan

from ..machines import USUAL
from ..op_checks import types_of
from .test_conv import check, force

LOWERINGS: dict[str, Lowering] = {low.name: low for low in lowerings(FUSED_LINEAR)}
ACTIVATIONS = (FusedLinearAttrs(), FusedLinearAttrs("Relu"), FusedLinearAttrs("Gelu", GeluAttrs()))
"""The last wants memory of its own, which only ``numpy`` gives it."""


def _node(attrs: FusedLinearAttrs, arrays: list[Any]) -> Node:
    return Node(FUSED_LINEAR, attrs, FUSED_LINEAR.infer_types(attrs, types_of(arrays)))


@pytest.mark.parametrize(
    ("name", "seed"),
    [(name, seed) for name in LOWERINGS for seed in range(18) if name == "numpy" or seed // 2 % 3 < 2],
)
def test_each_lowering_is_the_reference(name: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Odd sizes, one row or several, vectors and batches, with bias or without, one to three workers."""
    rng = np.random.default_rng(seed)
    outputs, depth = int(rng.integers(48, 200)), int(rng.integers(1, 70))
    one = name == "columns"
    rows = [(1, depth), (depth,), (1, 1, depth)] if one else [(5, depth), (2, 3, depth), (1, 40, depth)]
    dtype = np.float64 if seed % 4 == 3 else np.float32
    shapes = [rows[seed % 3], (outputs, depth), *([(outputs,)] if seed % 2 else [])]
    arrays = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
    attrs, low = ACTIVATIONS[seed // 2 % 3], LOWERINGS[name]
    assert low.accepts(_node(attrs, arrays), tuple(types_of(arrays)))
    force(monkeypatch, FUSED_LINEAR, low)
    check(FUSED_LINEAR, attrs, arrays, parameters=tuple(range(1, len(arrays))), threads=1 + seed % 3)


@pytest.mark.parametrize("name", LOWERINGS)
def test_each_lowering_has_a_floor(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    arrays = [rng.standard_normal(s) for s in ((1, 40) if name == "columns" else (9, 40), (64, 40), (64,))]
    force(monkeypatch, FUSED_LINEAR, LOWERINGS[name])
    check(FUSED_LINEAR, FusedLinearAttrs(floor=True), arrays, parameters=(1, 2), threads=2)


@pytest.mark.parametrize("activation", ["Relu", "Silu", "HardSwish"])
@pytest.mark.parametrize("name", LOWERINGS)
def test_all_of_it_may_be_parameters(name: str, activation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working memory of the activation is then wanted before there is an arena."""
    rng = np.random.default_rng(6)
    arrays = [rng.standard_normal(s) for s in ((1, 40) if name == "columns" else (9, 40), (64, 40), (64,))]
    force(monkeypatch, FUSED_LINEAR, LOWERINGS[name])
    check(FUSED_LINEAR, FusedLinearAttrs(activation), arrays, parameters=(0, 1, 2), threads=2)


@pytest.mark.usefixtures("usual_machine")
def test_workers_share_the_weights_of_one_row() -> None:
    arrays = [np.zeros(shape, np.float32) for shape in ((1, 4096), (1000, 4096), (1000,))]
    node, types = _node(FusedLinearAttrs("Relu"), arrays), tuple(types_of(arrays))
    best = choices(node, types, threads=2)[0]
    assert best.lowering.name == "columns"
    assert best.way.block == ColumnCut(((0, 500), (500, 1000)))
    assert str(best) == "columns (500 outputs)"
    assert choices(node, types, threads=1)[0].lowering.name == "numpy"


@pytest.mark.parametrize(("rows", "name"), [(1, "columns"), (64, "blocks")])
@pytest.mark.usefixtures("usual_machine")
def test_a_layer_alone_reads_a_copy_of_its_weights_where_these_stay(rows: int, name: str) -> None:
    compiled = lucid.compile(nn.Linear(4096, 1000), lucid.spec(rows, 4096), threads=2)
    (step,) = compiled.plan.steps
    assert (step.node.op, step.choice.lowering.name) == (LINEAR, name)
    compiled(lucid.randn(rows, 4096)).sum()  # recorded: training follows
    (step,) = (step for step in compiled.plan.steps if step.node.op is LINEAR)
    assert not step.choice.lowering.packs_weights
    types = tuple(types_of([np.zeros(shape, np.float32) for shape in ((rows, 4096), (1000, 4096), (1000,))]))
    node = Node(LINEAR, NoAttrs(), LINEAR.infer_types(NoAttrs(), types))
    left = {choice.lowering.name for choice in choices(node, types, threads=2, lasting=False)}
    assert left == ({"numpy"} if rows == 1 else {"numpy", "parts"})


@pytest.mark.usefixtures("usual_machine")
def test_what_runs_once_for_a_change_of_the_parameters_keeps_nothing() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(512, 512), nn.Linear(512, 512)

        def forward(self, x: Any) -> Any:
            return F.linear(x, self.second(self.first.weight))

    net = Twice().eval()
    steps = lucid.compile(net, lucid.spec(64, 512), threads=2).plan.steps
    assert {step.name: step.choice.lowering.packs_weights for step in steps if step.node.op is LINEAR} == {
        "second.linear": False,
        "linear": True,
    }


def _plan(net: Any, shape: tuple[int, ...]) -> Any:
    return make_plan(lucid.compile(net.eval(), lucid.spec(*shape)).graph, threads=2)


@pytest.mark.usefixtures("usual_machine")
def test_a_brief_program_shares_what_gains_more_than_a_team_costs() -> None:
    shared = _plan(models.mlp((784, 512, 256, 10)), (1, 784))
    workers = [step.workers for step in shared.steps if step.node.op in (LINEAR, FUSED_LINEAR) and not step.fixed]
    assert shared.brief and workers == [2, 2, 1]
    alone = _plan(models.mlp((64, 64, 10)), (1, 64))
    assert alone.brief and not alone.names.regions
    for machine in (replace(USUAL, fork=1.0), replace(USUAL, fork=0.0, helpers=False)):
        with described(machine):
            assert not _plan(models.mlp((784, 512, 256, 10)), (1, 784)).names.regions
