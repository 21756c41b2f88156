"""Kernels of loops: the views of the body are made once, on memory that holds the inputs and outputs of any turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...graph.ir import Node
from ...graph.ops.loops import LOOP, SCAN, Along, LoopAttrs, ScanAttrs
from ...graph.types import TensorType
from ..planning.phase import Phase
from ..planning.registry import Way, kernel
from ..program.emitter import Emitter, Operand
from ..program.regions import settle, write_region
from ..program.statement import Statement
from .control import copied, region_seconds

TURNS = 8
"""The assumed number of turns of a loop, if it is unknown."""


def _scan_ways(node: Node[ScanAttrs], inputs: tuple[TensorType, ...], threads: int) -> Sequence[Way]:
    assert isinstance(node.attrs.length, int)
    return (Way.taking(node.attrs.length * region_seconds(node.attrs.body, threads)),)


def _loop_ways(node: Node[LoopAttrs], inputs: tuple[TensorType, ...], threads: int) -> Sequence[Way]:
    return (Way.taking(TURNS * region_seconds(node.attrs.body, threads)),)


@kernel(SCAN, ways=_scan_ways)
def scan(k: Emitter[ScanAttrs]) -> None:
    a = k.attrs
    init, xs, captures = a.operands(k.ins)
    last, stacked, before = a.results(k.outs)
    state = _carried(k, init)
    slices = [
        k.scratch(along.slice_type(x.type).concrete, x.dtype, "slice") for along, x in zip(a.scanned, xs, strict=True)
    ]
    inner = write_region(k, "body", a.body, [*state, *slices, *_held(k, captures)])
    after = inner.results[: a.carried]
    moves = _moves(k, state, after)
    settle(k, inner)
    turn, length = k.names.fresh(f"{k.name}_turn"), a.length

    def at(along: Along) -> str:
        place = f"{length} - 1 - {turn}" if along.reverse else turn
        return ", ".join([":"] * along.axis + [place])

    body = [
        *(_inside(f"{part}[...] = {x}[{at(along)}]") for part, along, x in zip(slices, a.scanned, xs, strict=True)),
        *(_inside(f"{y}[{turn}] = {x}") for y, x in zip(before, state, strict=True) if y is not None),
        *inner.run(),
        *(
            _inside(f"{y}[{at(along)}] = {part}")
            for y, along, part in zip(stacked, a.stacked, inner.results[a.carried :], strict=True) if y is not None
        ),
        *moves,
    ]  # fmt: skip
    k.line(f"for {turn} in range({length}):")
    k.take_as_they_are(body or [_inside("pass")])
    _end(k, last, state)


@kernel(LOOP, ways=_loop_ways)
def loop(k: Emitter[LoopAttrs]) -> None:
    limit, condition, *values = k.ins
    carried = k.attrs.carried
    state, number = _carried(k, values[:carried]), k.scratch((), limit.dtype, "number")
    inner = write_region(k, "body", k.attrs.body, [number, *state, *_held(k, values[carried:])])
    further, *after = inner.results
    moves = _moves(k, state, after)
    settle(k, inner)
    turn, more, most = (k.names.fresh(f"{k.name}_{what}") for what in ("turn", "more", "most"))
    k.line(f"{turn}, {more}, {most} = 0, bool({condition}), int({limit})")
    k.line(f"while {more} and {turn} < {most}:")
    ends = [f"{more} = bool({further})", f"{turn} += 1"]
    k.take_as_they_are([_inside(f"{number}[...] = {turn}"), *inner.run(), *map(_inside, ends), *moves])
    _end(k, k.outs, state)


def _inside(text: str) -> Statement:
    """A line of the loop's body."""
    return Statement.of(f"    {text}", Phase.CALL)


def _carried(k: Emitter, init: Sequence[Operand]) -> list[Operand]:
    """Memory for the values that a loop carries, with their initial contents."""
    state = [k.scratch(x.shape, x.dtype, "carried") for x in init]
    for value, x in zip(state, init, strict=True):
        k.line(f"{value}[...] = {x}")
    return state


def _held(k: Emitter, captures: Sequence[Operand]) -> Iterator[Operand]:
    """The values that every turn reads; copied if they have gaps, or no address before the call."""
    for x in captures:
        if x.phase is Phase.CALL:
            copy = k.scratch(x.shape, x.dtype, "held")
            k.line(f"{copy}[...] = {x}")
            yield copy
        else:
            yield k.laid_out(x)


def _moves(k: Emitter, state: Sequence[Operand], after: Sequence[Operand]) -> list[Statement]:
    """Lines that pass a turn's results on to the next; values overwritten before they are read are copied first."""
    first: list[Statement] = []
    then: list[Statement] = []
    for value, result in zip(state, after, strict=True):
        if result is value:
            continue
        if any(result.root is other for other in state):
            aside = k.scratch(value.shape, value.dtype, "aside")
            first.append(copied(aside, result))
            result = aside
        then.append(copied(value, result))
    return [*first, *then]


def _end(k: Emitter, last: Sequence[Operand | None], state: Sequence[Operand]) -> None:
    for y, x in zip(last, state, strict=True):
        if y is not None:
            k.line(f"{y}[...] = {x}")
