"""Ops that run graphs: the references of these graphs' ops are used in turn."""

from __future__ import annotations

import numpy as np

from ..base.arrays import Array
from ..graph.ops.control import IF, IfAttrs
from ..graph.ops.loops import LOOP, SCAN, Along, LoopAttrs, ScanAttrs
from ..graph.region import Region
from .evaluator import evaluate_reference, reference


def run(region: Region, *arrays: Array) -> list[Array]:
    """The results of a region."""
    return evaluate_reference(region.graph, arrays)


@reference(IF)
def if_(attrs: IfAttrs, condition: Array, *captures: Array) -> tuple[Array, ...]:
    return tuple(run(attrs.then if condition else attrs.otherwise, *captures))


@reference(SCAN)
def scan(attrs: ScanAttrs, *operands: Array) -> tuple[Array, ...]:
    carried, xs, captures = attrs.operands(operands)
    before: list[list[Array]] = [[] for _ in carried]
    stacked: list[list[Array]] = [[] for _ in attrs.stacked]
    assert isinstance(attrs.length, int)
    for number in range(attrs.length):
        for kept, x in zip(before, carried, strict=True):
            kept.append(x)
        slices = [
            np.take(x, _place(along, number, attrs.length), along.axis)
            for along, x in zip(attrs.scanned, xs, strict=True)
        ]
        found = run(attrs.body, *carried, *slices, *captures)
        carried = found[: attrs.carried]
        for row, y in zip(stacked, found[attrs.carried :], strict=True):
            row.append(y)
    types = attrs.body.graph.output_types[attrs.carried :]
    made = [_stack(row, along, y.concrete) for row, along, y in zip(stacked, attrs.stacked, types, strict=True)]
    return (*carried, *made, *(_stack(kept, Along(), x.shape) for kept, x in zip(before, carried, strict=True)))


def _place(along: Along, number: int, length: int) -> int:
    return length - 1 - number if along.reverse else number


def _stack(rows: list[Array], along: Along, shape: tuple[int, ...]) -> Array:
    if not rows:
        return np.zeros((*shape[: along.axis], 0, *shape[along.axis :]))
    return np.stack(rows[::-1] if along.reverse else rows, along.axis)


@reference(LOOP)
def loop(attrs: LoopAttrs, limit: Array, condition: Array, *operands: Array) -> tuple[Array, ...]:
    carried, captures = list(operands[: attrs.carried]), operands[attrs.carried :]
    number = 0
    while number < limit and condition:
        condition, *carried = run(attrs.body, np.array(number), *carried, *captures)
        number += 1
    return tuple(carried)
