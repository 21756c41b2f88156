"""Operators that choose so many elements as data says: NonZero, Unique, Compress, NonMaxSuppression.

A static graph holds no size that data decides. Such an operator is computed where its inputs are known while the model
is built, and by a model that runs uncompiled, one operator after another; a compiled one refuses it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ....errors import GraphError
from ....graph.opdef import AbstractTensor
from ....graph.ops import indexing, shape
from ..host import evaluate, evaluated
from ..model import Array, NodeDef
from ..registry import Call, Value, converter
from ..room import Room


@evaluated("NonZero")
def nonzero(node: NodeDef, x: Array) -> Array:
    return np.stack(np.nonzero(np.atleast_1d(x))).astype(np.int64)


@evaluated("Unique")
def unique(node: NodeDef, x: Array) -> list[Array]:
    axis = node.attributes.get("axis")
    values, first, inverse, counts = np.unique(x, True, True, True, axis)
    if not node.attributes.get("sorted", 1):
        kept = np.argsort(first)
        place = np.argsort(kept)
        values = np.take(values, kept, 0 if axis is None else axis)
        first, inverse, counts = first[kept], place[inverse], counts[kept]
    return [values, *(one.reshape(-1).astype(np.int64) for one in (first, inverse, counts))]


@evaluated("NonMaxSuppression")
def non_max_suppression(
    node: NodeDef, boxes: Array, scores: Array, most: Array | None = None, overlap: Array | None = None,
    least: Array | None = None,
) -> Array:  # fmt: skip
    """For each image and class the boxes of the highest scores, but for those that overlap a better one too much."""
    count, limit = (0 if one is None else one.reshape(-1)[0] for one in (most, overlap))
    corners = _corners(boxes.astype(np.float64), bool(node.attributes.get("center_point_box", 0)))
    found: list[tuple[int, int, int]] = []
    for image, classes in enumerate(scores):
        for number, of_class in enumerate(classes):
            order = np.argsort(-of_class, kind="stable")
            if least is not None:
                order = order[of_class[order] > least.reshape(-1)[0]]
            found += [(image, number, int(box)) for box in _kept(corners[image], order, int(count), float(limit))]
    return np.asarray(found, np.int64).reshape(-1, 3)


def _corners(boxes: Array, centred: bool) -> Array:
    """Boxes as their lesser and greater corners, (…, 2, 2)."""
    if centred:
        middle, size = boxes[..., 1::-1], boxes[..., 3:1:-1]
        return np.stack([middle - size / 2, middle + size / 2], -2)
    both = boxes.reshape(*boxes.shape[:-1], 2, 2)
    return np.stack([both.min(-2), both.max(-2)], -2)


def _kept(corners: Array, order: Array, count: int, limit: float) -> list[int]:
    """Of boxes in order those that overlap none before them by more than the limit, at most so many."""
    kept: list[int] = []
    while len(order) and len(kept) < count:
        best, order = order[0], order[1:]
        kept.append(int(best))
        low, high = (
            function(corners[order, i], corners[best, i]) for i, function in enumerate((np.maximum, np.minimum))
        )
        shared = np.clip(high - low, 0, None).prod(-1)
        areas = [np.clip(one[..., 1, :] - one[..., 0, :], 0, None).prod(-1) for one in (corners[order], corners[best])]
        whole = areas[0] + areas[1] - shared
        order = order[~((areas[0] > 0) & (areas[1] > 0) & (shared > limit * whole))]
    return kept


@converter("NonZero", "Unique", "NonMaxSuppression")
def by_data(call: Call, *inputs: Value) -> Sequence[Value]:
    """How large the result is depends on data."""
    what = "the input, on which the size of the result depends,"
    found = evaluate(call.node, [None if one is None else call.known(one, what) for one in inputs], Room())
    if found is None:
        raise GraphError("how large its result is depends on sizes that are symbolic")
    return found


@converter("Compress", host=(1,), moves=(0,))
def compress(call: Call, x: Value, condition: Value) -> AbstractTensor:
    values: AbstractTensor = call.tensor(x)
    chosen = values.constant(np.flatnonzero(call.known(condition, "the condition")))
    axis = call.attribute("axis")
    return indexing.index_select(shape.flatten(values) if axis is None else values, axis or 0, chosen)
