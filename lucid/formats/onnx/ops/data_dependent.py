"""Operators with data-dependent sizes: NonZero, Unique, Compress, NonMaxSuppression.

For values that are known while the model is built, they are evaluated at once. Otherwise the size of the result depends
on data (see :mod:`lucid.graph.ops.data_dependent`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ....graph.non_max_suppression import best_boxes
from ....graph.opdef import AbstractTensor
from ....graph.ops import data_dependent, indexing, shape
from ....graph.unique import unique_elements
from ..host import evaluated
from ..model import Array, NodeDef
from ..registry import Call, Value, converter, is_host, is_symbolic


@evaluated("NonZero")
def known_nonzero(node: NodeDef, x: Array) -> Array:
    return np.stack(np.nonzero(np.atleast_1d(x))).astype(np.int64)


@evaluated("Unique")
def known_unique(node: NodeDef, x: Array) -> list[Array]:
    return [*unique_elements(x, node.attributes.get("axis"), bool(node.attributes.get("sorted", 1)))]


@evaluated("NonMaxSuppression")
def known_suppression(
    node: NodeDef, boxes: Array, scores: Array, most: Array | None = None, overlap: Array | None = None,
    least: Array | None = None,
) -> Array:  # fmt: skip
    count, limit, lowest = (None if one is None else float(one.reshape(-1)[0]) for one in (most, overlap, least))
    centred = bool(node.attributes.get("center_point_box", 0))
    return best_boxes(boxes, scores, int(count or 0), limit or 0.0, lowest, centred)


@converter("NonZero")
def nonzero(call: Call, x: Value) -> AbstractTensor:
    values = call.tensor(x)
    return shape.permute(data_dependent.places(values if values.type.rank else shape.reshape(values, (1,))), (1, 0))


@converter("Unique")
def unique(call: Call, x: Value) -> Sequence[AbstractTensor]:
    values, axis = call.tensor(x), call.attribute("axis")
    axis = None if axis is None else shape.normal_axis("Unique", axis, values.type.rank)
    return data_dependent.different(values, axis, bool(call.attribute("sorted", 1)))


@converter("NonMaxSuppression")
def non_max_suppression(
    call: Call, boxes: Value, scores: Value, most: Value = None, overlap: Value = None, least: Value = None
) -> AbstractTensor:
    limits = [np.zeros(1, np.int64) if most is None else most, np.zeros(1, np.float32) if overlap is None else overlap]
    known = is_host(limits[0]) and not is_symbolic(limits[0])
    bound = int(call.scalar(limits[0], "the most boxes")) if known else None
    scalars = [shape.reshape(call.tensor(one), ()) for one in (*limits, *([] if least is None else [least]))]
    centred = bool(call.attribute("center_point_box", 0))
    return data_dependent.suppressed(call.tensor(boxes), call.tensor(scores), *scalars, bound=bound, centred=centred)


@converter("Compress", moves=(0,))
def compress(call: Call, x: Value, condition: Value) -> AbstractTensor:
    values, axis = call.tensor(x), call.attribute("axis")
    if is_host(condition) and not is_symbolic(condition):
        chosen = values.constant(np.flatnonzero(condition))
    else:
        (chosen,) = data_dependent.indices(call.tensor(condition))
    return indexing.index_select(shape.flatten(values) if axis is None else values, axis or 0, chosen)
