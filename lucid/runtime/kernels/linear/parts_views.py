"""Views for workers that share a product of matrices."""

from __future__ import annotations

from typing import NamedTuple

from ....base.arrays import Array
from ..shared.cut import Deal, per_block


class Part(NamedTuple):
    """The range of a result from ``first`` to ``last`` (exclusive) along an axis."""

    axis: int
    first: int
    last: int

    def of(self, x: Array, rank: int) -> Array:
        """The part of ``x``, whose axes are the last ones of the result (of this rank); all of it if it lacks the axis.

        An axis of size 1 is kept whole, as it is broadcast.
        """
        axis = self.axis - rank + x.ndim
        if axis < 0 or x.shape[axis] == 1:
            return x
        view: Array = x[(slice(None),) * axis + (slice(self.first, self.last),)]
        return view


class PartViews(NamedTuple):
    """The matrices that are multiplied, the bias of their columns, and their part of the result."""

    left: Array
    right: Array
    bias: Array | None
    result: Array


def bind_parts(work: Deal[Part], left: Array, right: Array, bias: Array | None, out: Array) -> list[list[PartViews]]:
    """The views for each part."""
    rank = out.ndim

    def views(part: Part) -> PartViews:
        return PartViews(
            left if part.axis == rank - 1 else part.of(left, rank),
            right if part.axis == rank - 2 else part.of(right, rank),
            None if bias is None else part.of(bias, rank),
            part.of(out, rank),
        )

    return per_block(views, work)
