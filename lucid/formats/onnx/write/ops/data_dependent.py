"""Ops with data-dependent sizes. Lucid's return a padded result and its valid size; ONNX's only the valid part."""

from __future__ import annotations

import numpy as np

from .....graph.dims import Dim
from .....graph.ops.data_dependent import (
    FOUND,
    NONZERO,
    SUPPRESSION,
    UNIQUE,
    FoundAttrs,
    SuppressionAttrs,
    UniqueAttrs,
)
from .....graph.types import DTYPES, bool_, float32, int64, is_float
from ..draft import Item, UnwritableError
from ..registry import Use, Written, writer


@writer(FOUND)
def found(use: Use[FoundAttrs]) -> Item:
    x, count = use.inputs
    end = use.emit("Reshape", count, use.array([1]))
    return use.emit("Slice", x, use.array([0]), end, use.array([0]))


def _count(use: Use, rows: Item) -> Item:
    """The number of rows, as a scalar."""
    return use.emit("Squeeze", use.emit("Shape", rows, dtype=int64, start=0, end=1), use.array([0]))


def _filled(use: Use, output: int, rows: Item, count: Item) -> Item:
    """Rows padded with zeros to the largest possible number; unpadded if only the first ``count`` are read."""
    if use.readers(output) <= {FOUND}:
        return rows
    most: Dim = use.node.outputs[output].shape[0]
    rest = use.emit("Reshape", use.emit("Sub", use.size(most), count), use.array([1]))
    none = [0] * use.node.outputs[output].rank
    amounts = use.emit("Concat", use.array(none), rest, *([use.array(none[1:])] if none[1:] else []), axis=0)
    return use.emit("Pad", rows, amounts, use.number(0, rows.dtype))


@writer(NONZERO)
def nonzero(use: Use) -> Written:
    (x,) = use.inputs
    if use.types[0].rank == 0:
        there = use.emit("Not", use.emit("Equal", x, use.number(0), dtype=bool_))
        return use.array(np.zeros((1, 0))), use.cast(there, int64)
    rows = use.emit("Transpose", use.emit("NonZero", x, dtype=int64), perm=[1, 0])
    count = _count(use, rows)
    return _filled(use, 0, rows, count), count


@writer(UNIQUE)
def unique(use: Use[UniqueAttrs]) -> Written:
    (x,), a = use.inputs, use.attrs
    if is_float(x.dtype) and not a.nan_alike:
        raise UnwritableError("ONNX takes all NaN for the same, and here each is another")
    values, first, inverse, counts = use.emit_all(
        "Unique", x, dtypes=[x.dtype, int64, int64, int64], axis=a.axis, sorted=int(a.ordered)
    )
    if a.axis:
        order = [a.axis, *(i for i in range(use.types[0].rank) if i != a.axis)]
        values = use.emit("Transpose", values, perm=order)
    count = _count(use, counts)
    values, first, counts = (
        _filled(use, output, rows, count) for output, rows in ((0, values), (1, first), (3, counts))
    )
    return values, first, inverse, counts, count


@writer(SUPPRESSION)
def suppression(use: Use[SuppressionAttrs]) -> Written:
    boxes, scores, most, overlap, *least = use.inputs
    if any(type_.dtype == DTYPES["float64"] for type_ in use.types[:2]):
        raise UnwritableError("ONNX compares boxes of float32 only: cast them before")
    limits = [use.cast(one, float32) for one in (overlap, *least)]
    rows = use.emit(
        "NonMaxSuppression", boxes, scores, most, *limits, dtype=int64, center_point_box=int(use.attrs.centred)
    )
    count = _count(use, rows)
    return _filled(use, 0, rows, count), count
