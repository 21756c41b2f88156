"""Operators that look up elements, write to positions, choose and sort."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ....errors import GraphError
from ....graph.assume import is_at_least
from ....graph.dims import Dim
from ....graph.opdef import AbstractTensor, apply
from ....graph.ops import data_dependent, indexing, put, shape
from ....graph.ops.composite import eq, ge, le
from ....graph.ops.elementwise import add, remainder, where
from ....graph.ops.promotion import cast
from ....graph.ops.source import full
from ....graph.ops.subscript import getitem
from ....graph.ops.top_k import top_k as in_order
from ....graph.types import as_dtype, int64
from ..fractional_sizes import FractionalSize
from ..host import ELEMENT_TYPES, evaluated
from ..model import Array, NodeDef
from ..registry import Call, Value, converter

# ---------------------------------------------------------------- what is known beforehand


@evaluated("GatherND")
def gathered(node: NodeDef, x: Array, index: Array) -> Array:
    batch = node.attributes.get("batch_dims", 0)
    rows = np.ogrid[tuple(slice(0, size) for size in index.shape[:batch])] if batch else []
    places = [row.reshape(*row.shape, *[1] * (index.ndim - 1 - batch)) for row in rows]
    return np.asarray(x[(*places, *np.moveaxis(index.astype(np.int64), -1, 0))])


@evaluated("ScatterND")
def scattered(node: NodeDef, x: Array, index: Array, values: Array) -> Array:
    how = node.attributes.get("reduction", "none")
    made, places = x.copy(), tuple(np.moveaxis(index.astype(np.int64), -1, 0))
    if how == "none":
        made[places] = values
    else:
        {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}[how].at(made, places, values)
    return made


# ---------------------------------------------------------------- look-ups


def _counted(call: Call, count: Dim, at: int, rank: int) -> AbstractTensor:
    """0, 1, 2, … along one axis, of size ``count``."""
    return shape.reshape(put.counted(call.world, count), (*[1] * at, count, *[1] * (rank - at - 1)))


def _places(call: Call, index: AbstractTensor, batch: int) -> list[AbstractTensor]:
    """An index tensor for each axis of the batch, and for each axis indexed by the last axis of ``index``."""
    rank, count = index.type.rank - 1, index.type.shape[-1]
    if not isinstance(count, int):
        raise GraphError(f"how many axes are looked up must be known, not symbolic: {index.type}")
    rows = [_counted(call, index.type.shape[axis], axis, rank) for axis in range(batch)]
    return [*rows, *(getitem(index, (..., i)) for i in range(count))]


@converter("GatherND")
def gather_nd(call: Call, x: Value, index: Value) -> AbstractTensor:
    data, where_from = call.tensors(x, index)
    places = _places(call, where_from, call.attribute("batch_dims", 0))
    found: AbstractTensor = indexing.index_with(data, tuple(range(len(places))), places) if places else data
    return found


HOW = {"none": "set", "add": "add", "mul": "mul", "max": "max", "min": "min"}


def _how(call: Call) -> str:
    reduction = call.attribute("reduction", "none")
    if reduction not in HOW:
        raise GraphError(f"unknown reduction {reduction!r}")
    return HOW[reduction]


@converter("ScatterND")
def scatter_nd(call: Call, x: Value, index: Value, values: Value) -> AbstractTensor:
    data, where_to, made = call.tensors(x, index, values)
    places = _places(call, where_to, 0)
    return put.put(data, tuple(range(len(places))), places, made, _how(call))


@converter("ScatterElements", "Scatter")
def scatter_elements(call: Call, x: Value, index: Value, values: Value) -> AbstractTensor:
    data, where_to, made = call.tensors(x, index, values)
    rank, how = data.type.rank, _how(call)
    axis = shape.normal_axis("ScatterElements", call.attribute("axis", 0), rank)
    if how == "add":
        positive = remainder(where_to, data.type.shape[axis])  # negative ones count from the end
        attrs = indexing.ScatterAttrs(axis, data.type.shape)
        return add(data, apply(indexing.SCATTER_ELEMENTS, attrs, made, positive))
    sizes = where_to.type.shape
    places = [where_to if i == axis else _counted(call, size, i, rank) for i, size in enumerate(sizes)]
    return put.put(data, tuple(range(rank)), places, made, how)


# ---------------------------------------------------------------- sequences of numbers, and matrices of them


@converter("Range", host=(0, 1, 2))
def range_(call: Call, start: Value, limit: Value, delta: Value) -> AbstractTensor:
    """A range between symbolic sizes, as integers or floats; other ranges are evaluated when the model is built."""
    first, last, step = (_bound(call, one) for one in (start, limit, delta))
    if isinstance(step, FractionalSize):
        raise GraphError(f"a range goes by a step that is known, and not by {step.dim}")
    try:
        turns = math.ceil((last - first) / step)
    except (TypeError, ArithmeticError, ValueError):
        raise GraphError(f"there are no numbers from {first} to {last} by {step}") from None
    count = turns if is_at_least(turns, 0, likely=True) else 0
    dtype = call.tensor(delta).type.dtype
    numbers = cast(put.counted(call.world, count), dtype)
    numbers = numbers if step == 1 else numbers * dtype.type(step).item()
    return numbers if first == 0 else numbers + cast(call.tensor(start), dtype)


def _bound(call: Call, value: Value) -> FractionalSize | float:
    """The only element of a bound or step of a range: a number, or a size."""
    known = call.known(value, "what a range goes by")
    if known.size != 1:
        raise GraphError(f"a range goes by one number, not by {known.shape}")
    (found,) = known.ravel()
    return FractionalSize.of(found.item() if isinstance(found, np.generic) else found)


@converter("EyeLike")
def eye_like(call: Call, x: Value) -> AbstractTensor:
    data, asked = call.tensor(x), call.attribute("dtype")
    if data.type.rank != 2:
        raise GraphError(f"is for matrices, not {data.type}")
    if asked is not None and asked not in ELEMENT_TYPES:
        raise GraphError(f"there is no element type {asked} here")
    hit = eq(_diagonal(call, data), call.attribute("k", 0))
    return cast(hit, data.type.dtype if asked is None else as_dtype(ELEMENT_TYPES[asked]))


def _diagonal(call: Call, x: AbstractTensor) -> AbstractTensor:
    """The column number minus the row number of each element."""
    rows, columns = x.type.shape[-2:]
    return _counted(call, columns, 1, 2) - _counted(call, rows, 0, 2)


@converter("Trilu", host=(1,))
def trilu(call: Call, x: Value, k: Value = None) -> AbstractTensor:
    data = call.tensor(x)
    if data.type.rank < 2:
        raise GraphError(f"is for matrices, not {data.type}")
    apart = 0 if k is None else call.number(k, "k")
    kept = (ge if call.attribute("upper", 1) else le)(_diagonal(call, data), apart)
    return where(kept, data, full(data, 0, ()))


# ---------------------------------------------------------------- sorting


@converter("TopK", host=(1,))
def top_k(call: Call, x: Value, k: Value = None) -> Sequence[AbstractTensor]:
    data, axis, largest = call.tensor(x), call.attribute("axis", -1), bool(call.attribute("largest", 1))
    if isinstance(k, AbstractTensor) and data_dependent.known(k) is None:
        axis = shape.normal_axis("TopK", axis, data.type.rank)
        wanted: AbstractTensor = cast(shape.reshape(k, ()), int64)
        every = in_order(data, data.type.shape[axis], axis, largest)
        return [data_dependent.taken(one, wanted, axis) for one in every]
    (count,) = (call.required("k"),) if k is None else call.dims(k, "how many are wanted")
    return in_order(data, count, axis, largest)
