"""The largest elements along an axis, by sorting row by row."""

from __future__ import annotations

import numpy as np

from ..base.arrays import Array
from ..graph.ops.top_k import TOP_K, TopKAttrs
from .evaluator import reference


@reference(TOP_K)
def top_k(attrs: TopKAttrs, x: Array) -> tuple[Array, Array]:
    rows = np.moveaxis(x, attrs.axis, -1)
    assert isinstance(attrs.k, int)
    places = np.empty((*rows.shape[:-1], attrs.k), np.int64)
    for row in np.ndindex(rows.shape[:-1]):
        numbers = [(np.isnan(value), value) if value.dtype.kind == "f" else value for value in rows[row]]
        order = sorted(range(len(numbers)), key=numbers.__getitem__, reverse=attrs.largest)
        places[row] = order[: attrs.k]  # sorting is stable, also in reverse
    found = np.moveaxis(places, -1, attrs.axis)
    return np.take_along_axis(x, found, attrs.axis), found
