"""Looking up elements, and writing them to positions."""

from __future__ import annotations

import numpy as np

from .....graph.opdef import AbstractTensor, apply
from .....graph.ops.composite import eq
from .....graph.ops.elementwise import where as select
from .....graph.ops.indexing import (
    EMBEDDING,
    EMBEDDING_GRAD,
    GATHER_ELEMENTS,
    INDEX,
    INDEX_ADD,
    ONE_HOT,
    SCATTER_ELEMENTS,
    EmbeddingAttrs,
    EmbeddingGradAttrs,
    IndexAddAttrs,
    IndexAttrs,
    OneHotAttrs,
    ScatterAttrs,
    adjacent,
)
from .....graph.ops.put import PUT, PutAttrs
from .....graph.ops.shape import AxisAttrs, inverse_permutation
from .....graph.ops.source import full
from .....graph.types import DTYPES, Shape, TensorType, broadcast_shapes, int64
from ..draft import Item
from ..registry import Use, writer

INT32 = DTYPES["int32"]


def _number(use: Use, index: Item) -> Item:
    """Indices as one of the two element types that ONNX has for them."""
    return index if index.dtype in (INT32, int64) else use.cast(index, int64)


@writer(EMBEDDING)
def embedding(use: Use[EmbeddingAttrs]) -> Item:
    weight, index = use.inputs
    return use.emit("Gather", weight, _number(use, index), axis=0)


@writer(EMBEDDING_GRAD)
def embedding_grad(use: Use[EmbeddingGradAttrs]) -> Item:
    """Zeros to which each row is added at its index; the row of the padding index is left out."""
    attrs = use.attrs

    def definition(dy: AbstractTensor, index: AbstractTensor) -> AbstractTensor:
        if attrs.padding is not None:
            dy = select(eq(index, attrs.padding).unsqueeze(-1), full(dy, 0, ()), dy)
        return apply(INDEX_ADD, IndexAddAttrs((0,), (attrs.rows, dy.type.shape[-1])), dy, index)

    return use.inline(definition)[0]


@writer(GATHER_ELEMENTS)
def gather_elements(use: Use[AxisAttrs]) -> Item:
    x, index = use.inputs
    return use.emit("GatherElements", x, _number(use, index), axis=use.attrs.axis)


@writer(SCATTER_ELEMENTS)
def scatter_elements(use: Use[ScatterAttrs]) -> Item:
    values, index = use.inputs
    return use.emit(
        "ScatterElements", _zeros(use, use.attrs.shape), _number(use, index), values, axis=use.attrs.axis,
        reduction="add",
    )  # fmt: skip


def _zeros(use: Use, shape: Shape) -> Item:
    dtype = use.type.dtype
    if not shape:
        return use.number(0, dtype)
    return use.emit("ConstantOfShape", use.shape(shape), dtype=dtype, value=np.zeros(1, dtype))


@writer(INDEX)
def index(use: Use[IndexAttrs]) -> Item:
    """A single index looks up along its axis; several become rows of positions along leading axes."""
    x, *indices = use.inputs
    axes, rank = use.attrs.axes, use.types[0].rank
    if len(axes) == 1:
        return use.emit("Gather", x, _number(use, indices[0]), axis=axes[0])
    places, found = _places(use, indices, use.types[1:])
    first = _first(axes, rank)
    y = use.emit("GatherND", _permuted(use, x, first), places)
    return _permuted(use, y, inverse_permutation(_result_order(axes, rank, len(found))))


def _places(use: Use, indices: list[Item], types: tuple[TensorType, ...]) -> tuple[Item, Shape]:
    """The indices joined along a last axis, and the shape that they broadcast to."""
    found = broadcast_shapes("Index", *(t.shape for t in types))
    shape = use.shape(found)
    spread = [use.emit("Expand", use.cast(one, int64), shape) for one in indices]
    last = use.array([len(found)])
    return use.emit("Concat", *(use.emit("Unsqueeze", one, last) for one in spread), axis=len(found)), found


def _first(axes: tuple[int, ...], rank: int) -> tuple[int, ...]:
    """The order of axes with these first."""
    return (*axes, *(axis for axis in range(rank) if axis not in axes))


def _result_order(axes: tuple[int, ...], rank: int, found: int) -> tuple[int, ...]:
    """The permutation to NumPy's order of axes, from a result with the looked-up axes first."""
    at = axes[0] if adjacent(axes) else 0
    others = [axis for axis in range(rank - len(axes) + found) if not at <= axis < at + found]
    return (*range(at, at + found), *others)


def _permuted(use: Use, x: Item, order: tuple[int, ...]) -> Item:
    return x if order == tuple(range(len(order))) else use.emit("Transpose", x, perm=list(order))


def _scattered(
    use: Use, target: Item, values: Item, indices: list[Item], axes: tuple[int, ...], how: str | None
) -> Item:
    """The target with values at positions, by an operator that takes rows of positions."""
    types = use.types[-len(indices) :]
    rank = use.type.rank
    places, found = _places(use, indices, types)
    first = _first(axes, rank)
    updates = _permuted(use, values, _result_order(axes, rank, len(found)))
    y = use.emit("ScatterND", _permuted(use, target, first), places, updates, reduction=how)
    return _permuted(use, y, inverse_permutation(first))


@writer(INDEX_ADD)
def index_add(use: Use[IndexAddAttrs]) -> Item:
    values, *indices = use.inputs
    return _scattered(use, _zeros(use, use.attrs.shape), values, indices, use.attrs.axes, "add")


@writer(PUT)
def put(use: Use[PutAttrs]) -> Item:
    x, values, *indices = use.inputs
    how = None if use.attrs.how == "set" else use.attrs.how
    return _scattered(use, x, values, indices, use.attrs.axes, how)


@writer(ONE_HOT)
def one_hot(use: Use[OneHotAttrs]) -> Item:
    dtype = use.attrs.dtype
    depth = use.size(use.attrs.classes)
    index = use.cast(use.inputs[0], int64)
    if use.types[0].rank == 0:  # which ONNX does not have
        index = use.emit("Unsqueeze", index, use.array([0]))
    y = use.emit("OneHot", index, depth, use.array([0, 1]))
    y = use.emit("Squeeze", y, use.array([0])) if use.types[0].rank == 0 else y
    return use.cast(y, dtype)
