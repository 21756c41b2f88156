"""Operators that change shapes and order of elements."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ....base.texts import as_texts
from ....errors import GraphError
from ....graph.dims import Dim
from ....graph.opdef import AbstractTensor
from ....graph.ops import data_dependent, indexing, shape, slices
from ....graph.ops.composite import eq, lt
from ....graph.ops.elementwise import remainder, where
from ....graph.ops.pad import pad as pad_with
from ....graph.ops.promotion import cast
from ....graph.ops.source import full
from ....graph.ops.subscript import getitem
from ....graph.types import as_dtype, bool_, int64, product
from ..host import of_dims
from ..limits import checked
from ..model import Array
from ..registry import Call, Value, converter, is_host


def axes_of(call: Call, given: Value) -> tuple[int, ...] | None:
    """The axes, given as an input or, in older versions, as an attribute."""
    if given is not None:
        return call.ints(given, "axes")
    found = call.attribute("axes")
    return None if found is None else tuple(found)


@converter("Identity")
def identity(call: Call, x: Value) -> Value:
    return x


@converter("Constant")
def constant(call: Call) -> Array:
    for name in ("value", "sparse_value"):
        if name in call.node.attributes:
            return np.asarray(call.attribute(name))
    for name, dtype in (("value_float", np.float32), ("value_floats", np.float32), ("value_int", np.int64),
                        ("value_ints", np.int64)):  # fmt: skip
        if name in call.node.attributes:
            return np.asarray(call.attribute(name), dtype)
    for name in ("value_string", "value_strings"):
        if name in call.node.attributes:
            given = call.attribute(name)
            return as_texts(given if isinstance(given, str) else list(given))
    raise GraphError("it holds no value")


@converter("Shape", moves=(0,))
def shape_of(call: Call, x: Value) -> Array:
    return of_dims(call.tensor(x).type.shape)[call.attribute("start", 0) : call.attribute("end")]


@converter("Size", moves=(0,))
def size_of(call: Call, x: Value) -> Array:
    return np.asarray(of_dims([product(call.tensor(x).type.shape)])[0])


@converter("Reshape", host=(1,), moves=(0,))
def reshape(call: Call, x: Value, to: Value = None) -> AbstractTensor:
    x = call.tensor(x)
    dims = tuple(call.required("shape")) if to is None else call.dims(to, "the shape")
    if not call.attribute("allowzero", 0):
        dims = tuple(x.type.shape[i] if isinstance(d, int) and d == 0 else d for i, d in enumerate(dims))
    return shape.reshape(x, dims)


@converter("Flatten", moves=(0,))
def flatten(call: Call, x: Value) -> AbstractTensor:
    x = call.tensor(x)
    axis = call.attribute("axis", 1)
    axis = axis + x.type.rank if axis < 0 else axis
    sizes = x.type.shape
    return shape.reshape(x, (product(sizes[:axis]), product(sizes[axis:])))


@converter("Transpose", moves=(0,))
def transpose(call: Call, x: Value) -> AbstractTensor:
    x = call.tensor(x)
    return shape.permute(x, tuple(call.attribute("perm", range(x.type.rank)[::-1])))


@converter("Unsqueeze", host=(1,), moves=(0,))
def unsqueeze(call: Call, x: Value, axes: Value = None) -> AbstractTensor:
    x, along = call.tensor(x), axes_of(call, axes) or ()
    rank = x.type.rank + len(along)
    for axis in sorted(a % rank for a in along):
        x = shape.unsqueeze(x, axis)
    return x


@converter("Squeeze", host=(1,), moves=(0,))
def squeeze(call: Call, x: Value, axes: Value = None) -> AbstractTensor:
    return shape.squeeze(call.tensor(x), axes_of(call, axes))


@converter("Concat", moves=(-1,))
def concat(call: Call, *xs: Value) -> AbstractTensor:
    return shape.concat(call.tensors(*xs), call.attribute("axis", 1))


@converter("Split", host=(1,), moves=(0,))
def split(call: Call, x: Value, sizes: Value = None) -> list[AbstractTensor]:
    x, axis = call.tensor(x), call.attribute("axis", 0)
    axis %= x.type.rank
    given = call.attribute("split") if sizes is None else call.dims(sizes, "the sizes")
    whole, count = x.type.shape[axis], call.outputs
    if given is None:
        each = -(-whole // count)
        given = [*[each] * (count - 1), whole - each * (count - 1)]
    parts: list[AbstractTensor] = []
    start: Dim = 0
    for size in given:
        parts.append(getitem(x, (*[slice(None)] * axis, slice(start, start + size))))
        start = start + size
    return parts


@converter("Slice", host=(1, 2, 3, 4), moves=(0,))
def slice_(
    call: Call, x: Value, starts: Value = None, ends: Value = None, axes: Value = None, steps: Value = None
) -> AbstractTensor:  # fmt: skip
    x = call.tensor(x)
    first = tuple(call.required("starts")) if starts is None else call.dims(starts, "the starts")
    along = axes_of(call, axes) or tuple(range(len(first)))
    if isinstance(ends, AbstractTensor) and data_dependent.known(ends) is None and steps is None:
        for i, axis in enumerate(along):
            x = data_dependent.cut_short(
                x, cast(shape.reshape(slices.piece(ends, 0, i, 1), ()), int64), axis % x.type.rank
            )
        ends = np.full(len(along), 1 << 40)
    last = tuple(call.required("ends")) if ends is None else call.dims(ends, "the ends")
    by = call.ints(steps, "the steps") if steps is not None else (1,) * len(along)
    key = [slice(None)] * x.type.rank
    for a, b, axis, step in zip(first, last, along, by, strict=True):
        forward = 1 if step > 0 else -1
        key[axis] = slice(None if _is_far(a, -forward) else a, None if _is_far(b, forward) else b, step)
    return getitem(x, tuple(key))


def _is_far(bound: Dim, sign: int) -> bool:
    """Whether a bound is a large number that stands for the end of the axis."""
    return isinstance(bound, int) and bound * sign >= (1 << 31) - 1


@converter("Gather", names=("weight",), moves=(0,))
def gather(call: Call, x: Value, index: Value) -> AbstractTensor:
    x, axis = call.tensor(x), call.attribute("axis", 0)
    axis %= x.type.rank
    if is_host(index) and index.ndim == 0:
        (position,) = call.dims(index, "the index")
        return getitem(x, (*[slice(None)] * axis, position))
    chosen = call.tensor(index)
    return indexing.index_with(x, (axis,), (chosen,))


@converter("GatherElements", moves=(0,))
def gather_elements(call: Call, x: Value, index: Value) -> AbstractTensor:
    x, index = call.tensors(x, index)
    axis = call.attribute("axis", 0)
    return indexing.gather(x, axis, remainder(index, x.type.shape[axis]))  # negative ones count from the end


@converter("Expand", host=(1,), moves=(0,))
def expand(call: Call, x: Value, to: Value) -> AbstractTensor:
    x, dims = call.tensor(x), call.dims(to, "the shape")
    return shape.expand(x, broadcast(x.type.shape, dims))


def broadcast(a: Sequence[Dim], b: Sequence[Dim]) -> tuple[Dim, ...]:
    """The shape that both broadcast to."""
    rank = max(len(a), len(b))
    one, two = ((1,) * (rank - len(dims)) + tuple(dims) for dims in (a, b))
    return tuple(y if isinstance(x, int) and x == 1 else x for x, y in zip(one, two, strict=True))


@converter("Tile", host=(1, 2), moves=(0,))
def tile(call: Call, x: Value, repeats: Value, axis: Value = None) -> AbstractTensor:
    return shape.tile(call.tensor(x), call.dims(repeats, "the repeats"))


@converter("ConstantOfShape", host=(0,))
def constant_of_shape(call: Call, to: Value) -> AbstractTensor:
    value = np.asarray(call.attribute("value", np.zeros(1, np.float32))).reshape(())
    return full(call.world, value.item(), call.dims(to, "the shape"), as_dtype(value.dtype))


@converter("Pad", host=(1, 2, 3), picks=(0, 2))
def pad(call: Call, x: Value, pads: Value = None, value: Value = None, axes: Value = None) -> AbstractTensor:
    x, mode = call.tensor(x), call.attribute("mode", "constant")
    amounts = tuple(call.required("pads")) if pads is None else call.dims(pads, "the padding")
    along = [a % x.type.rank for a in (axes_of(call, axes) or range(x.type.rank))]
    modes = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}
    if mode not in modes:
        raise GraphError(f"unknown mode {mode!r}")
    both = {axis: (amounts[i], amounts[len(along) + i]) for i, axis in enumerate(along)}
    listed = [amount for axis in reversed(range(x.type.rank)) for amount in both.get(axis, (0, 0))]
    if mode == "constant" and value is not None and not is_host(value):
        inside = pad_with(full(x, True, None, bool_), listed, value=False)
        return where(inside, pad_with(x, listed), shape.reshape(call.tensor(value), ()))
    number = call.attribute("value", 0.0) if value is None else call.scalar(value, "the value")
    return pad_with(x, listed, modes[mode], number if mode == "constant" else None)


@converter("OneHot", host=(1,))
def one_hot(call: Call, index: Value, depth: Value, values: Value) -> AbstractTensor:
    index, values = call.tensors(index, values)
    size, axis = int(call.scalar(depth, "the depth")), call.attribute("axis", -1) % (index.type.rank + 1)
    places = np.arange(*checked(size), dtype=index.type.dtype).reshape(size, *[1] * (index.type.rank - axis))
    index = shape.unsqueeze(where(lt(index, 0), index + size, index), axis)  # negative ones count from the end
    hit = eq(index, index.constant(places))
    return where(hit, getitem(values, 1), getitem(values, 0))
