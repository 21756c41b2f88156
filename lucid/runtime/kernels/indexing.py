"""Kernels of slicing and indexing, and of their gradients.

An index out of range is an error, raised before anything is written; NumPy would wrap or clip it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from ...base.arrays import Array
from ...graph.ops import indexing as ops
from ...graph.ops.put import PUT
from ...graph.ops.slices import SLICE, SLICE_GRAD
from ..planning.registry import kernel
from ..program.emitter import Emitter, Operand
from ..program.names import quoted
from ..program.views import as_view
from .calls import add_along_axis, add_rows, check_range, set_in_order
from .elementwise import SMALL


def _subscript(starts: tuple[int, ...], sizes: tuple[int, ...], steps: tuple[int, ...]) -> str:
    """A slice, as written between brackets."""
    parts = []
    for start, size, step in zip(starts, sizes, steps, strict=True):
        stop = start + size * step
        if size == 0:
            parts.append("0:0")
        elif step == 1:
            parts.append(f"{start}:{stop}")
        else:
            parts.append(f"{start}:{stop if stop >= 0 else ''}:{step}")
    return ", ".join(parts) or "..."


@kernel(SLICE)
def slice_(k: Emitter) -> None:
    (x,), a = k.ins, k.attrs
    k.node.op.infer(a, x.type)  # bounds that were symbolic while tracing may leave the axis
    k.alias(0, f"{x}[{_subscript(a.starts, a.sizes, a.steps)}]")


@kernel(SLICE_GRAD)
def slice_grad(k: Emitter) -> None:
    (dy,), (dx,), a = k.ins, k.outs, k.attrs
    k.line(f"{dx}.fill(0)")
    k.line(f"{dx}[{_subscript(a.starts, a.sizes, a.steps)}] = {dy}")


def _check(k: Emitter, index: Operand, size: int, axis: int, *, wrap: bool = False) -> None:
    with k.once(index):
        k.line(f"{k.use(check_range)}({index}, {size}, {quoted(k.node.op.name)}, {axis}, {wrap})")


def _check_all(k: Emitter, at: Operand, indices: Sequence[Operand]) -> None:
    """The axes of ``at`` that the attributes name, in order; negative ones count from the end."""
    for axis, index in zip(k.attrs.axes, indices, strict=True):
        _check(k, index, at.shape[axis], axis, wrap=True)


def _as_intp(index: Operand) -> str:
    """The index as NumPy's index type; uint64 is not converted implicitly."""
    return f"{index}.astype(np.intp)" if index.dtype.kind == "u" else str(index)


def _beside(x: Operand, index: Operand, axis: int) -> str:
    """Source of the part of ``x`` that an index covers, which may be shorter along the axes that it does not select."""
    return f"{x}[{', '.join(':' if i == axis else f':{size}' for i, size in enumerate(index.shape))}]"


def _beside_key(k: Emitter, index: Operand, axis: int) -> str | None:
    """Source of a key that applies an index along an axis; None if the indices of other axes are too many to be kept.

    ``np.take_along_axis`` makes these at each call, which takes longer than looking up some hundred numbers.
    """
    shape = index.shape
    if sum(shape) - shape[axis] > SMALL:
        return None
    places = [k.use(_places(n, i - len(shape)), "places") for i, n in enumerate(shape) if i != axis]
    return ", ".join([*places[:axis], _as_intp(index), *places[axis:]])


@lru_cache(64)
def _places(count: int, axis: int) -> Array:
    """The indices along an axis, numbered from the end."""
    return as_view(np.arange(count), count, *(1,) * (-axis - 1))


@kernel(ops.GATHER_ELEMENTS)
def gather_elements(k: Emitter) -> None:
    (x, index), (y,), axis = k.ins, k.outs, k.attrs.axis
    _check(k, index, x.shape[axis], axis)
    key = _beside_key(k, index, axis)
    if key is not None:
        k.line(f"{y}[...] = {x}[{key}]")
    else:
        k.line(f"{y}[...] = np.take_along_axis({_beside(x, index, axis)}, {_as_intp(index)}, {axis})")


@kernel(ops.SCATTER_ELEMENTS)
def scatter_elements(k: Emitter) -> None:
    (values, index), (y,), axis = k.ins, k.outs, k.attrs.axis
    _check(k, index, y.shape[axis], axis)
    k.line(f"{y}.fill(0)")
    region, key = _beside(y, index, axis), _beside_key(k, index, axis)
    if index.shape[axis] == 1 and key is not None:  # no two values can meet
        k.line(f"{y}[{key}] = {values}")
    elif index.shape[axis] == 1:
        k.line(f"np.put_along_axis({region}, {_as_intp(index)}, {values}, {axis})")
    else:
        k.line(f"{k.use(add_along_axis)}({region}, {_as_intp(index)}, {values}, {axis})")


@kernel(ops.INDEX)
def index(k: Emitter) -> None:
    (x, *indices), (y,), axes = k.ins, k.outs, k.attrs.axes
    _check_all(k, x, indices)
    if x.type.size == 0:
        return
    if len(axes) == 1:
        # indices have been checked, so 'wrap' changes none; unlike 'raise', it does not buffer the output
        k.line(f"{x}.take({_as_intp(indices[0])}, {axes[0]}, {y}, 'wrap')")
    else:
        k.line(f"{y}[...] = {x}[{_key(x.type.rank, axes, indices)}]")


@kernel(ops.INDEX_ADD)
def index_add(k: Emitter) -> None:
    (values, *indices), (y,), axes = k.ins, k.outs, k.attrs.axes
    _check_all(k, y, indices)
    k.line(f"{y}.fill(0)")
    if axes == (0,) and y.type.rank > 1 and y.type.order is None:
        k.line(f"{k.use(add_rows)}({y}, {_as_intp(indices[0])}, {values})")
    else:
        k.line(f"np.add.at({y}, ({_key(y.type.rank, axes, indices)},), {values})")


def _key(rank: int, axes: tuple[int, ...], indices: list[Operand]) -> str:
    """The subscript that looks up ``axes``; NumPy puts the result where :func:`ops.indexed_shape` says."""
    found = dict(zip(axes, indices, strict=True))
    return ", ".join(_as_intp(found[axis]) if axis in found else "np.s_[:]" for axis in range(rank))


@kernel(ops.EMBEDDING)
def embedding(k: Emitter) -> None:
    (weight, indices), (y,) = k.ins, k.outs
    _check(k, indices, weight.shape[0], 0)
    if weight.type.size:
        k.line(f"{weight}.take({_as_intp(indices)}, 0, {y}, 'clip')")


@kernel(ops.EMBEDDING_GRAD)
def embedding_grad(k: Emitter) -> None:
    (dy, indices), (dweight,), padding = k.ins, k.outs, k.attrs.padding
    _check(k, indices, dweight.shape[0], 0)
    k.line(f"{dweight}.fill(0)")
    k.line(f"{k.use(add_rows)}({dweight}, {_as_intp(indices)}, {dy})")
    if padding is not None:
        k.line(f"{dweight}[{padding}] = 0")


FEW_CLASSES = 1 << 12
"""Up to this many classes, comparing with all of them is faster, and takes little memory."""


@kernel(ops.ONE_HOT)
def one_hot(k: Emitter) -> None:
    (indices,), (y,) = k.ins, k.outs
    classes = k.attrs.classes
    _check(k, indices, classes, indices.type.rank)
    if classes <= FEW_CLASSES:
        codes = k.use(np.arange(classes), "codes")
        k.line(f"{y}[...] = {indices}[..., None] == {codes}")
    else:
        k.line(f"{y}.fill(0)")
        k.line(f"np.put_along_axis({y}, {_as_intp(indices)}[..., None], 1, -1)")


_TOGETHER = {"mul": "multiply", "max": "maximum", "min": "minimum"}


@kernel(PUT)
def put(k: Emitter) -> None:
    (x, values, *indices), (y,), axes = k.ins, k.outs, k.attrs.axes
    _check_all(k, y, indices)
    k.line(f"{y}[...] = {x}")
    key = _key(y.type.rank, axes, indices)
    if k.attrs.how == "set":
        found = ", ".join(map(_as_intp, indices))
        k.line(f"{k.use(set_in_order)}({y}, {axes}, ({found},), {values})")
    else:
        k.line(f"np.{_TOGETHER[k.attrs.how]}.at({y}, ({key},), {values})")
