"""What programs call for ops with data-dependent sizes: results fill the first rows, the others are zeros."""

from __future__ import annotations

import numpy as np

from ...base.arrays import Array
from ...graph.non_max_suppression import best_boxes
from ...graph.unique import unique_elements


def nonzero_places(x: Array, places: Array) -> int:
    """Where elements are not 0, a row for each; how many there are."""
    count = int(np.count_nonzero(x))
    for axis, along in enumerate(x.nonzero() if x.ndim else ()):
        places[:count, axis] = along
    places[count:] = 0
    return count


def different_first(x: Array, axis: int | None, ordered: bool, nan_alike: bool, *outs: Array | None) -> None:
    """What :data:`lucid.graph.ops.data_dependent.UNIQUE` gives, each in its array, if that is asked for."""
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
    """Put what is found first; nothing where nobody reads it."""
    if out is not None and out.ndim:
        out[: len(found)] = found
        out[len(found) :] = 0
    elif out is not None:
        out[...] = found
