"""Gradients of parts are put side by side; what does not adjoin is added up as before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn, optim
from lucid.graph.opdef import apply
from lucid.graph.ops.slices import SLICE_GRAD, SliceGradAttrs
from lucid.graph.types import spec
from lucid.passes.join_slices import join_slices

from .helpers import assert_same, ops, trace

Part = tuple[int, int]


def _sum(parts: Sequence[Part], axis: int = 0, step: int = 1, whole: int = 6) -> Any:
    """The graph of the sum of parts, from one place to another along an axis, each filled up with zeros."""
    shape = tuple(whole if i == axis else 3 for i in range(2))

    def function(*dys: Any) -> Any:
        total = None
        for (first, _), dy in zip(parts, dys, strict=True):
            starts, steps = (
                tuple(first * (i == axis) for i in range(2)),
                tuple(step if i == axis else 1 for i in range(2)),
            )
            made = apply(SLICE_GRAD, SliceGradAttrs(starts, dy.type.shape, steps, shape), dy)
            total = made if total is None else total + made
        return total

    return trace(function, *(spec(*(b - a if i == axis else 3 for i in range(2))) for a, b in parts))


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("parts", [[(0, 2), (2, 6)], [(2, 4), (1, 2), (4, 6), (0, 1)], [(4, 6), (0, 4)]])
def test_parts_of_all_become_one_whole(parts: list[Part], axis: int) -> None:
    before = _sum(parts, axis)
    after = join_slices(before)
    assert ops(after) == ["Concat"]
    assert_same(before, after)


def test_parts_that_leave_some_are_one_part() -> None:
    before = _sum([(2, 3), (3, 5), (1, 2)])
    after = join_slices(before)
    assert ops(after) == ["Concat", "SliceGrad"]
    assert_same(before, after)


@pytest.mark.parametrize(
    ("parts", "step", "whole"),
    [([(0, 2), (3, 6)], 1, 6), ([(0, 3), (2, 6)], 1, 6), ([(0, 2), (2, 4)], 2, 9), ([(0, 6), (0, 6)], 1, 6)],
    ids=["a gap", "an overlap", "steps", "wholes"],
)
def test_others_are_added_up(parts: list[Part], step: int, whole: int) -> None:
    before = _sum(parts, 0, step, whole)
    assert join_slices(before) is before


def test_a_step_puts_the_gradients_of_gates_side_by_side() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.LSTM(2, 3)

        def forward(self, x: Any) -> Any:
            return self.layer(x)[0].sum()

    net, x = Net(), np.ones((4, 2, 2), np.float32)
    found = {}
    for exact in (False, True):
        step = lucid.compile_step(net, lambda y, _: y, optim.SGD(net.parameters(), lr=0.0), exact=exact)
        step(x, np.zeros(1))
        found[exact] = "SliceGrad" in ops(step.graph)
    assert found == {False: False, True: True}


def test_heads_are_put_side_by_side_before_they_become_one_axis() -> None:
    """Each number is copied once: of a transpose, the reshape of each part would be a copy too."""

    def function(*dys: Any) -> Any:
        whole = (2, 24)
        parts = [dy.permute(1, 0, 2).reshape(2, 8) for dy in dys]
        made = [apply(SLICE_GRAD, SliceGradAttrs((0, 8 * i), (2, 8), (1, 1), whole), p) for i, p in enumerate(parts)]
        return made[0] + made[1] + made[2]

    before = trace(function, spec(2, 2, 4), spec(2, 2, 4), spec(2, 2, 4))
    after = join_slices(before)
    assert ops(after) == ["Transpose", "Transpose", "Transpose", "Concat", "Reshape"]
    assert_same(before, after)


@pytest.mark.parametrize("rank", [1, 2])
def test_reshapes_that_add_the_axis_stay(rank: int) -> None:
    """As of coordinates that are stacked: there is no such axis before the reshape."""

    def function(*dys: Any) -> Any:
        whole = (3,) * rank + (2,)
        starts = [(0,) * rank + (i,) for i in range(2)]
        made = [
            apply(
                SLICE_GRAD,
                SliceGradAttrs(start, (*whole[:-1], 1), (1,) * (rank + 1), whole),
                dy.reshape(*whole[:-1], 1),
            )
            for start, dy in zip(starts, dys, strict=True)
        ]
        return made[0] + made[1]

    before = trace(function, spec(*(3,) * rank), spec(*(3,) * rank))
    after = join_slices(before)
    assert ops(after) == ["Reshape", "Reshape", "Concat"]
    assert_same(before, after)
