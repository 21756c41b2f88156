"""Ops that move elements: shape ops, look-ups, padding, and their transposes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st

from lucid.graph.opdef import NoAttrs, OpDef
from lucid.graph.ops import indexing as ix
from lucid.graph.ops import pad, put, shape, slices
from lucid.graph.ops.expect import EXPECT, ExpectAttrs
from lucid.graph.types import DTYPES, TensorType, float32

from .arrays import FINITE, SPECIAL, Draw, Drawn, Shape, Strategy, axes, broadcastable, dtypes, indices, shapes, values


def _any(shape: Shape, kinds: str = "fiub") -> st.SearchStrategy[Any]:
    return dtypes(kinds).flatmap(lambda dtype: values(shape, dtype))


def _summed(shape: Shape) -> st.SearchStrategy[Any]:
    """What is added up: finite, so that the order of the sums does not matter."""
    return dtypes("fi").flatmap(lambda dtype: values(shape, dtype, FINITE, extreme=False))


# ---------------------------------------------------------------- shape ops


@st.composite
def _reshape(draw: Draw) -> Drawn:
    old = draw(shapes())
    size = math.prod(old)
    new = [1] * draw(st.integers(1 if size != 1 else 0, 5))
    if size == 0:
        new = [draw(st.integers(0, 4)) for _ in new]
        new[draw(st.integers(0, len(new) - 1))] = 0
    for prime in (2, 3, 5):
        while size and size % prime == 0:
            size //= prime
            new[draw(st.integers(0, len(new) - 1))] *= prime
    return Drawn(shape.ShapeAttrs(tuple(new)), (draw(_any(old)),))


@st.composite
def _transpose(draw: Draw) -> Drawn:
    x = draw(shapes().flatmap(_any))
    return Drawn(shape.TransposeAttrs(tuple(draw(st.permutations(range(x.ndim))))), (x,))


@st.composite
def _expand(draw: Draw) -> Drawn:
    whole = draw(shapes())
    return Drawn(shape.ShapeAttrs(whole), (draw(broadcastable(whole).flatmap(_any)),))


@st.composite
def _concat(draw: Draw) -> Drawn:
    first, dtype = draw(shapes(1, limit=100)), draw(dtypes("fiub"))
    axis = draw(st.integers(0, len(first) - 1))
    sizes = (first[axis], *draw(st.lists(st.integers(0, 4), max_size=3)))
    pieces = ((*first[:axis], size, *first[axis + 1 :]) for size in sizes)
    return Drawn(shape.AxisAttrs(axis), tuple(draw(values(piece, dtype)) for piece in pieces))


# ---------------------------------------------------------------- slices


@st.composite
def _slices(draw: Draw, whole: Shape) -> tuple[tuple[int, ...], ...]:
    """Starts, sizes and steps within a shape."""
    parts = []
    for dim in whole:
        step = draw(st.sampled_from((1, 1, 1, 2, 3, -1, -2)))
        start = draw(st.integers(0, max(dim - 1, 0)) | st.just(0 if step > 0 else max(dim - 1, 0)))
        most = 0 if dim == 0 else (dim - 1 - start) // step + 1 if step > 0 else start // -step + 1
        least = draw(st.sampled_from((most, most, min(most, 1), min(most, 1), 0)))
        parts.append((start, draw(st.integers(least, most)), step))
    starts, sizes, steps = zip(*parts, strict=True) if parts else ((), (), ())
    return starts, sizes, steps


@st.composite
def _slice(draw: Draw) -> Drawn:
    whole = draw(shapes())
    return Drawn(slices.SliceAttrs(*draw(_slices(whole))), (draw(_any(whole)),))


@st.composite
def _slice_grad(draw: Draw) -> Drawn:
    whole = draw(shapes())
    starts, sizes, steps = draw(_slices(whole))
    return Drawn(slices.SliceGradAttrs(starts, sizes, steps, whole), (draw(_any(sizes, "fiu")),))


# ---------------------------------------------------------------- look-ups


@st.composite
def _elements(draw: Draw) -> tuple[Shape, int, Any]:
    """A shape, one of its axes, and indices along that."""
    whole = draw(shapes(1))
    axis = draw(st.integers(0, len(whole) - 1))
    region = [draw(st.integers(min(dim, 1), dim)) for dim in whole]
    region[axis] = draw(st.sampled_from((1, 2, 3, 4, 0))) if whole[axis] else 0
    return whole, axis, draw(indices(tuple(region), whole[axis]))


@st.composite
def _gather(draw: Draw) -> Drawn:
    whole, axis, index = draw(_elements())
    return Drawn(shape.AxisAttrs(axis), (draw(_any(whole)), index))


@st.composite
def _scatter(draw: Draw) -> Drawn:
    whole, axis, index = draw(_elements())
    return Drawn(ix.ScatterAttrs(axis, whole), (draw(_summed(index.shape)), index))


@st.composite
def _places(draw: Draw) -> tuple[Shape, tuple[int, ...], tuple[Any, ...]]:
    """A shape, some of its axes, and indices along them that broadcast."""
    whole = draw(shapes(1, 4, limit=100))
    chosen = draw(axes(len(whole), least=1))
    found = draw(shapes(0, 3, limit=12))
    if 0 in (whole[axis] for axis in chosen):
        found = (0, *found)
    operands = (found if math.prod(found) == 0 else draw(broadcastable(found)) for _ in chosen)
    looked = tuple(
        draw(indices(operand, whole[axis], negative=True)) for operand, axis in zip(operands, chosen, strict=True)
    )
    return whole, chosen, looked


@st.composite
def _index(draw: Draw) -> Drawn:
    whole, chosen, looked = draw(_places())
    return Drawn(ix.IndexAttrs(chosen), (draw(_any(whole)), *looked))


@st.composite
def _index_add(draw: Draw) -> Drawn:
    whole, chosen, looked = draw(_places())
    found = ix.indexed_shape("IndexAdd", chosen, whole, [TensorType(i.shape, i.dtype) for i in looked])
    return Drawn(ix.IndexAddAttrs(chosen, whole), (draw(_summed(TensorType(found, float32).concrete)), *looked))


@st.composite
def _put(draw: Draw) -> Drawn:
    """Products are of finite numbers that no order of the factors makes too large."""
    whole, chosen, looked = draw(_places())
    found = ix.indexed_shape("Put", chosen, whole, [TensorType(i.shape, i.dtype) for i in looked])
    how = draw(st.sampled_from(put.HOW))
    dtype = draw(dtypes("fi" if how == "mul" else "fiu" if how != "set" else "fiub"))
    special, extreme = (FINITE, False) if how == "mul" else (SPECIAL, True)
    arrays = (draw(values(s, dtype, special, extreme=extreme)) for s in (whole, TensorType(found, float32).concrete))
    return Drawn(put.PutAttrs(chosen, how), (*arrays, *looked))


@st.composite
def _rows(draw: Draw) -> tuple[int, int, int | None, Any]:
    """Rows and columns of a table, a row that takes no gradient, and rows looked up."""
    rows, columns = draw(st.sampled_from((*range(1, 7), 0))), draw(st.sampled_from((*range(1, 7), 0)))
    padding = draw(st.none() | st.integers(0, rows - 1)) if rows else None
    found = draw(shapes(0, 4, limit=60)) if rows else (0, 2)
    return rows, columns, padding, draw(indices(found, rows))


@st.composite
def _embedding(draw: Draw) -> Drawn:
    rows, columns, padding, index = draw(_rows())
    return Drawn(ix.EmbeddingAttrs(padding), (draw(_any((rows, columns))), index))


@st.composite
def _embedding_grad(draw: Draw) -> Drawn:
    rows, columns, padding, index = draw(_rows())
    return Drawn(ix.EmbeddingGradAttrs(padding, rows), (draw(_summed((*index.shape, columns))), index))


@st.composite
def _one_hot(draw: Draw) -> Drawn:
    classes = draw(st.integers(1, 6))
    index = draw(indices(draw(shapes(0, 4, limit=60)), classes))
    return Drawn(ix.OneHotAttrs(classes, DTYPES[draw(dtypes("fiub"))]), (index,))


# ---------------------------------------------------------------- padding


@st.composite
def _pads(draw: Draw, modes: tuple[str, ...] = pad.MODES) -> tuple[Shape, tuple[int, ...], tuple[int, ...], str]:
    """A shape, and what is added before and after its axes; half of these stay as they are."""
    whole, mode = draw(shapes(limit=60)), draw(st.sampled_from(modes))
    limits = [
        {"constant": 3, "reflect": max(dim - 1, 0), "replicate": 3 if dim else 0, "circular": dim}[mode]
        for dim in whole
    ]
    amounts = [st.integers(0, min(limit, 3)) if draw(st.booleans()) else st.just(0) for limit in limits]
    return whole, tuple(map(draw, amounts)), tuple(map(draw, amounts)), mode


@st.composite
def _pad(draw: Draw) -> Drawn:
    whole, before, after, mode = draw(_pads())
    x = draw(_any(whole))
    numbers: tuple[Any, ...] = (0.0, -1.5, math.inf, math.nan) if x.dtype.kind == "f" else (0, 1)
    value = draw(st.sampled_from((True, False) if x.dtype.kind == "b" else numbers)) if mode == "constant" else 0
    return Drawn(pad.PadAttrs(before, after, mode, value), (x,))


@st.composite
def _pad_grad(draw: Draw) -> Drawn:
    whole, before, after, mode = draw(_pads())
    padded = tuple(int(size) for size in np.add(np.add(before, whole), after)) if whole else ()
    return Drawn(pad.PadGradAttrs(before, after, mode, whole), (draw(_summed(padded)),))


@st.composite
def _unchanged(draw: Draw) -> Drawn:
    return Drawn(NoAttrs(), (draw(shapes().flatmap(_any)),))


@st.composite
def _overwritten(draw: Draw) -> Drawn:
    value = draw(shapes().flatmap(_any))
    return Drawn(NoAttrs(), (value, draw(values(value.shape, value.dtype.name))))


@st.composite
def _expect(draw: Draw) -> Drawn:
    """A condition that is as expected."""
    wanted = draw(st.booleans())
    return Drawn(ExpectAttrs(wanted, "it is not"), (draw(shapes().flatmap(_any)), np.array(wanted)))


DRAWS: dict[OpDef, Strategy] = {
    shape.RESHAPE: _reshape(),
    shape.TRANSPOSE: _transpose(),
    shape.EXPAND: _expand(),
    shape.STOP_GRADIENT: _unchanged(),
    shape.OVERWRITTEN: _overwritten(),
    shape.CONCAT: _concat(),
    slices.SLICE: _slice(),
    slices.SLICE_GRAD: _slice_grad(),
    ix.GATHER_ELEMENTS: _gather(),
    ix.SCATTER_ELEMENTS: _scatter(),
    ix.INDEX: _index(),
    ix.INDEX_ADD: _index_add(),
    put.PUT: _put(),
    EXPECT: _expect(),
    ix.EMBEDDING: _embedding(),
    ix.EMBEDDING_GRAD: _embedding_grad(),
    ix.ONE_HOT: _one_hot(),
    pad.PAD: _pad(),
    pad.PAD_GRAD: _pad_grad(),
}

_MEET = {slices.SLICE_GRAD, ix.SCATTER_ELEMENTS, ix.INDEX_ADD, ix.EMBEDDING_GRAD, pad.PAD_GRAD, put.PUT}

#: Elements come out as they went in, bit by bit; where none may meet.
EXACT = frozenset(DRAWS) - _MEET
