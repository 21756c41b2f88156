"""Kernels of the ops that run graphs: the lines of a region become part of the program, each in its phase."""

from __future__ import annotations

from collections.abc import Sequence

from ...graph.ir import Node
from ...graph.ops.control import IF, IfAttrs
from ...graph.region import Region
from ...graph.types import TensorType
from ..planning.choosing import choose_all
from ..planning.phase import Phase
from ..planning.registry import Way, kernel
from ..program.emitter import Emitter, Operand
from ..program.regions import RegionProgram, settle, write_region
from ..program.statement import Statement


def region_seconds(region: Region, threads: int) -> float:
    """The predicted time of a region."""
    return choose_all(region.graph, threads=threads).predicted


def _if_ways(node: Node[IfAttrs], inputs: tuple[TensorType, ...], threads: int) -> Sequence[Way]:
    return (Way.taking(max(region_seconds(region, threads) for region in node.attrs.branches)),)


@kernel(IF, ways=_if_ways)
def if_(k: Emitter[IfAttrs]) -> None:
    condition, *captures = k.ins
    then = write_region(k, "then", k.attrs.then, captures)
    otherwise = write_region(k, "otherwise", k.attrs.otherwise, captures)
    settle(k, then, otherwise)
    k.line(f"if {condition}:")
    _branch(k, then)
    k.line("else:")
    _branch(k, otherwise)


def _branch(k: Emitter, inner: RegionProgram) -> None:
    body = [*inner.run(), *(copied(y, x) for y, x in zip(k.outs, inner.results, strict=True) if y is not None)]
    k.take_as_they_are(body or [Statement.of("    pass", Phase.CALL)])


def copied(y: Operand, x: Operand) -> Statement:
    """The statement, indented by one level, that copies ``x`` to ``y``."""
    return Statement.of(f"    {y}[...] = {x}", Phase.CALL)
