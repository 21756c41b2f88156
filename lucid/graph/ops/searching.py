"""Searching sorted numbers, and membership tests."""

from __future__ import annotations

from ...base.checks import shown
from ...errors import OptionError, ShapeError
from ..assume import is_equal
from ..opdef import AbstractTensor, Operand
from ..types import DTYPES, bool_, int64, is_float
from . import elementwise as ew
from .bounds import clip
from .composite import eq, le, logical_and, logical_not, logical_or, lt
from .indexing import gather
from .promotion import cast, promote
from .shape import flatten, reshape
from .sorting import sort
from .source import full

MOST_STEPS = 31
"""The steps of a binary search among an unknown number of elements, which are fewer than 2 to this power."""


def searchsorted(
    sorted_sequence: AbstractTensor,
    values: Operand,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: AbstractTensor | None = None,
) -> AbstractTensor:
    """The indices in sorted numbers at which to insert ``values`` to keep the order, as int64.

    Parameters
    ----------
    sorted_sequence
        Numbers sorted along the last axis: one row for all values, or one for each of their rows.
    values
        A tensor or a number; NaN belongs at the end.
    out_int32
        Whether indices are int32.
    right, side
        Whether to insert after equal elements (``side="right"``) rather than before.
    sorter
        Indices that sort the sequence, as from ``argsort``; it need not be sorted itself then.
    """
    if side not in (None, "left", "right"):
        raise OptionError(f'searchsorted: side is "left" or "right", got {shown(side)}')
    if side == "left" and right:
        raise OptionError('searchsorted: side="left" and right=True contradict each other')
    if sorter is not None:
        sorted_sequence = gather(sorted_sequence, -1, sorter)
    order, values = promote(sorted_sequence, values)
    if not order.type.rank:
        raise ShapeError("searchsorted: the sequence is a vector, or rows of them, got a scalar")
    if order.type.rank > 1 and order.type.shape[:-1] != values.type.shape[:-1]:
        raise ShapeError(f"searchsorted: {order.type} does not have a row for each row of {values.type}")
    if order.type.rank == 1:
        found = reshape(_places(order, flatten(values), right or side == "right"), values.type.shape)
    else:
        found = _places(order, values, right or side == "right")
    return cast(found, DTYPES["int32"]) if out_int32 else found


def bucketize(x: Operand, boundaries: AbstractTensor, out_int32: bool = False, right: bool = False) -> AbstractTensor:
    """The index of the interval between ``boundaries``, a sorted vector, in which each element lies.

    A boundary itself belongs to the interval above it if ``right``, else to that below.
    """
    if boundaries.type.rank != 1:
        raise ShapeError(f"bucketize: the boundaries are a vector, got {boundaries.type}")
    return searchsorted(boundaries, x, out_int32, right)


def _places(order: AbstractTensor, values: AbstractTensor, right: bool) -> AbstractTensor:
    """How many numbers come before each value, found by binary search, one bit of the count at a time."""
    size = order.type.shape[-1]
    found = full(values, 0, None, int64)
    if is_equal(size, 0) or is_equal(values.type.size, 0):
        return found
    count = full(found, size, ())
    steps = size.bit_length() if isinstance(size, int) else MOST_STEPS
    for bit in reversed(range(steps)):
        farther = found + (1 << bit)
        there = gather(order, -1, clip(farther, None, count) - 1)
        found = ew.where(logical_and(le(farther, count), _before(there, values, right)), farther, found)
    return found


def _before(there: AbstractTensor, values: AbstractTensor, right: bool) -> AbstractTensor:
    """Whether the numbers ``there`` come before the values; NaN is larger than all numbers."""
    less = le(there, values) if right else lt(there, values)
    if not is_float(values.type.dtype):
        return less
    last = ew.isnan(values)
    return logical_or(less, last if right else logical_and(last, eq(there, there)))


def isin(
    elements: Operand, test_elements: Operand, assume_unique: bool = False, invert: bool = False
) -> AbstractTensor:
    """Whether each element is among ``test_elements``, or with ``invert`` whether it is not; NaN never is."""
    x, known = promote(elements, test_elements)
    order = sort(flatten(known)).values
    size = order.type.shape[0]
    if is_equal(size, 0):
        return full(x, invert, None, bool_)
    lane = flatten(x)
    place = clip(_places(order, lane, right=False), None, full(lane, size, (), int64) - 1)
    found = reshape(eq(gather(order, 0, place), lane), x.type.shape)
    return logical_not(found) if invert else found
