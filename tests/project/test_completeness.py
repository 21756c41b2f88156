"""Adding an op touches three places: these tests say which of them was forgotten."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from lucid.graph import ops as ops
from lucid.graph.decomposition import decomposition
from lucid.graph.ir import Graph
from lucid.graph.opdef import OpDef, all_ops
from lucid.graph.ops import call as call
from lucid.reference import reference_of
from lucid.runtime.planning.registry import lowerings

from ..op_checks import all_cases, inputs_of, joint_graph, ops_of, trace, types_of

#: Bound or called, not computed.
SOURCES = ("Input", "Parameter", "Constant", "Call")
OPS = [op for op in all_ops() if op.name not in SOURCES]
every_op = pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)


@every_op
def test_an_op_can_run(op: OpDef) -> None:
    assert lowerings(op) or op.decompose, f"{op.name}: write a kernel in lucid/runtime/kernels, or a decomposition"


@every_op
def test_an_op_has_a_definition(op: OpDef) -> None:
    assert reference_of(op) or op.decompose, f"{op.name}: write a reference in lucid/runtime/reference"


@every_op
def test_an_op_says_how_it_differentiates(op: OpDef) -> None:
    assert op.gradient is not None or op.decompose, f"{op.name}: give a gradient rule or NO_GRADIENT"


def _with_decompositions(graph: Graph) -> Iterable[str]:
    yield from ops_of(graph)
    for name, node in graph.nodes():
        if node.op.decompose is not None:
            types = [graph.type(value) for value in graph.inputs_of(name)]
            yield from ops_of(decomposition(node.op, node.attrs, types))


def test_every_op_is_in_the_table() -> None:
    covered: set[str] = set()
    for case in all_cases():
        graph = trace(case.function, types_of(inputs_of(case, "float64")))
        covered.update(_with_decompositions(graph))
        if case.gradient:
            covered.update(_with_decompositions(joint_graph(graph)))
    missing = [op.name for op in OPS if op.name not in covered]
    assert not missing, f"no row of tests/cases exercises {', '.join(missing)}"
