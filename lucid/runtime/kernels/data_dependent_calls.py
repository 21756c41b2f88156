"""Functions for ops with data-dependent sizes: results fill the first rows, the rest is zero."""

from __future__ import annotations

import numpy as np

from ...base.arrays import Array
from ...graph.non_max_suppression import best_boxes
from ...graph.unique import unique_elements


def nonzero_places(x: Array, places: Array) -> int:
    """Write the indices of elements that are not 0, a row for each; return their number."""
    count = int(np.count_nonzero(x))
    for axis, along in enumerate(x.nonzero() if x.ndim else ()):
        places[:count, axis] = along
    places[count:] = 0
    return count


def different_first(x: Array, axis: int | None, ordered: bool, nan_alike: bool, *outs: Array | None) -> None:
    """Write the outputs of :data:`lucid.graph.ops.data_dependent.UNIQUE` to those of the arrays that are not None."""
    values, *told = unique_elements(x, axis, ordered, nan_alike)
    rows = np.moveaxis(values, axis or 0, 0)
    for out, found in zip(outs, (rows, *told, np.asarray(len(rows))), strict=True):
        _fill(out, found)


def suppressed(
    rows: Array | None, count: Array | None, centred: bool, bound: int, boxes: Array, scores: Array,
    most: Array, overlap: Array, least: Array | None = None,
) -> None:  # fmt: skip
    """The boxes of the highest scores (see :func:`lucid.graph.non_max_suppression.best_boxes`)."""
    lowest = None if least is None else float(least)
    found = best_boxes(boxes, scores, min(int(most), bound), float(overlap), lowest, centred)
    _fill(rows, found)
    _fill(count, np.asarray(len(found)))


def _fill(out: Array | None, found: Array) -> None:
    """Copy results to the beginning of an array, if there is one."""
    if out is not None and out.ndim:
        out[: len(found)] = found
        out[len(found) :] = 0
    elif out is not None:
        out[...] = found
