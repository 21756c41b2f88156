"""Slicing, gathering and indexing with tensors, and their transposes (which scatter).

Where a gradient is scattered, values that meet at one place are added up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...base.checks import shown
from ...errors import DTypeError, OptionError, ShapeError, TraceError
from ..assume import is_at_least, is_equal
from ..dims import Dim, SymDim, as_dim, exact_quotient
from ..opdef import NO_GRADIENT, AbstractTensor, Attrs, GradContext, OpDef, T, apply, attributes, register
from ..types import DType, Shape, TensorType, broadcast_shapes, format_shape, int64, is_float
from .elementwise import where
from .shape import AxisAttrs, along, concat, expand, flatten, normal_axes, normal_axis, reshape
from .source import constant, full


@attributes
class SliceAttrs(Attrs):
    """Per axis: the first index, how many elements, and the step between them (may be negative)."""

    starts: tuple[Dim, ...]
    sizes: tuple[Dim, ...]
    steps: tuple[int, ...]


@attributes
class SliceGradAttrs(SliceAttrs):
    """``shape`` is that of the tensor that was sliced."""

    shape: Shape = ()


@attributes
class ScatterAttrs(Attrs):
    """``shape`` of the result, ``axis`` the indices count along."""

    axis: int
    shape: Shape


@attributes
class IndexAttrs(Attrs):
    """``axes`` (ascending) are looked up, one index tensor each."""

    axes: tuple[int, ...]


@attributes
class IndexAddAttrs(IndexAttrs):
    """``shape`` of the result."""

    shape: Shape = ()


@attributes
class EmbeddingAttrs(Attrs):
    """The row ``padding`` takes no gradient."""

    padding: int | None = None


@attributes
class EmbeddingGradAttrs(EmbeddingAttrs):
    """``rows`` of the weight."""

    rows: Dim = 0


@attributes
class OneHotAttrs(Attrs):
    classes: Dim
    dtype: DType


def _check_slice(attrs: SliceAttrs, shape: Shape) -> None:
    if not len(attrs.starts) == len(attrs.sizes) == len(attrs.steps) == len(shape):
        raise ShapeError(f"Slice: {len(attrs.starts)} starts for a tensor of rank {len(shape)}")
    if any(isinstance(size, int) and size < 0 for size in attrs.sizes):
        raise ShapeError(f"Slice: a part of {format_shape(shape)} has no negative sizes: {format_shape(attrs.sizes)}")
    for axis, (start, size, step, dim) in enumerate(zip(attrs.starts, attrs.sizes, attrs.steps, shape, strict=True)):
        if step == 0:
            raise ShapeError(f"Slice: the step of axis {axis} is 0")
        if not all(isinstance(v, int) for v in (start, size, dim)) or size == 0:
            continue
        last = start + (size - 1) * step
        if not (0 <= start < dim and 0 <= last < dim):  # type: ignore[operator]
            raise ShapeError(f"Slice: {start}..{last} leaves axis {axis} of size {dim}")


def _slice_infer(attrs: SliceAttrs, x: TensorType) -> TensorType:
    _check_slice(attrs, x.shape)
    return x.with_shape(attrs.sizes)


def _slice_grad_infer(attrs: SliceGradAttrs, dy: TensorType) -> TensorType:
    _check_slice(attrs, attrs.shape)
    if dy.shape != attrs.sizes:
        raise ShapeError(f"SliceGrad: the gradient {dy} does not have the slice's shape {attrs.sizes}")
    return dy.with_shape(attrs.shape)


def _slice_gradient(c: GradContext[SliceAttrs]) -> list[Any]:
    a = c.attrs
    return [apply(SLICE_GRAD, SliceGradAttrs(a.starts, a.sizes, a.steps, c.inputs[0].type.shape), c.dy)]


def _slice_grad_gradient(c: GradContext[SliceGradAttrs]) -> list[Any]:
    return [apply(SLICE, SliceAttrs(c.attrs.starts, c.attrs.sizes, c.attrs.steps), c.dy)]


def _check_gather(op: str, axis: int, data: Shape, index: TensorType) -> None:
    if index.dtype.kind not in "iu":
        raise DTypeError(f"{op}: indices must be integers, got {index}")
    if index.rank != len(data) or not 0 <= axis < len(data):
        raise ShapeError(f"{op}: the index {index} must have the rank of the data, {len(data)}")
    for i, (have, want) in enumerate(zip(data, index.shape, strict=True)):
        if i != axis and isinstance(have, int) and isinstance(want, int) and want > have:
            raise ShapeError(f"{op}: the index {index} is larger than the data on axis {i}")


def _gather_infer(attrs: AxisAttrs, x: TensorType, index: TensorType) -> TensorType:
    _check_gather("GatherElements", attrs.axis, x.shape, index)
    return x.with_shape(index.shape)


def _scatter_infer(attrs: ScatterAttrs, dy: TensorType, index: TensorType) -> TensorType:
    _check_gather("ScatterElements", attrs.axis, attrs.shape, index)
    if dy.shape != index.shape:
        raise ShapeError(f"ScatterElements: the values {dy} and the index {index} differ in shape")
    return dy.with_shape(attrs.shape)


def _integers(op: str, *indices: TensorType) -> None:
    for index in indices:
        if index.dtype.kind not in "iu":
            raise DTypeError(f"{op}: indices must be integers, got {index}")


def indexed_shape(op: str, axes: tuple[int, ...], data: Shape, indices: Sequence[TensorType]) -> Shape:
    """NumPy's rule: the indices' broadcast shape stands where adjacent axes stood, else in front."""
    _integers(op, *indices)
    ascending = bool(axes) and list(axes) == sorted(set(axes)) and axes[0] >= 0 and axes[-1] < len(data)
    if not ascending or len(axes) != len(indices):
        raise ShapeError(f"{op}: axes {axes} with {len(indices)} indices do not fit {format_shape(data)}")
    found = broadcast_shapes(op, *(index.shape for index in indices))
    kept = tuple(dim for axis, dim in enumerate(data) if axis not in axes)
    at = axes[0] if adjacent(axes) else 0
    return (*kept[:at], *found, *kept[at:])


def adjacent(axes: tuple[int, ...]) -> bool:
    return axes[-1] - axes[0] == len(axes) - 1


def _index_infer(attrs: IndexAttrs, x: TensorType, *indices: TensorType) -> TensorType:
    return x.with_shape(indexed_shape("Index", attrs.axes, x.shape, indices))


def _index_add_infer(attrs: IndexAddAttrs, dy: TensorType, *indices: TensorType) -> TensorType:
    wanted = indexed_shape("IndexAdd", attrs.axes, attrs.shape, indices)
    if dy.shape != wanted:
        raise ShapeError(f"IndexAdd: the values {dy} should have shape {format_shape(wanted)}")
    return dy.with_shape(attrs.shape)


def _gather_gradient(c: GradContext[AxisAttrs]) -> list[Any]:
    return [apply(SCATTER_ELEMENTS, ScatterAttrs(c.attrs.axis, c.inputs[0].type.shape), c.dy, c.inputs[1]), None]


def _index_gradient(c: GradContext[IndexAttrs]) -> list[Any]:
    dx = apply(INDEX_ADD, IndexAddAttrs(c.attrs.axes, c.inputs[0].type.shape), c.dy, *c.inputs[1:])
    return [dx, *[None] * len(c.attrs.axes)]


def _embedding_infer(attrs: EmbeddingAttrs, weight: TensorType, indices: TensorType) -> TensorType:
    _integers("Embedding", indices)
    if weight.rank != 2:
        raise ShapeError(f"Embedding: the weight must be a matrix (rows, features), got {weight}")
    return weight.with_shape((*indices.shape, weight.shape[1]))


def _embedding_grad_infer(attrs: EmbeddingGradAttrs, dy: TensorType, indices: TensorType) -> TensorType:
    _integers("EmbeddingGrad", indices)
    if dy.rank == 0 or dy.shape[:-1] != indices.shape:
        raise ShapeError(f"EmbeddingGrad: the gradient {dy} does not fit the indices {indices}")
    return dy.with_shape((attrs.rows, dy.shape[-1]))


def _embedding_gradient(c: GradContext[EmbeddingAttrs]) -> list[Any]:
    weight, indices = c.inputs
    attrs = EmbeddingGradAttrs(c.attrs.padding, weight.type.shape[0])
    return [apply(EMBEDDING_GRAD, attrs, c.dy, indices), None]


def _embedding_grad_gradient(c: GradContext[EmbeddingGradAttrs]) -> list[Any]:
    indices, padding = c.inputs[1], c.attrs.padding
    rows = apply(EMBEDDING, EmbeddingAttrs(padding), c.dy, indices)
    return [rows if padding is None else where((indices == padding).unsqueeze(-1), 0.0, rows), None]


def _one_hot_infer(attrs: OneHotAttrs, indices: TensorType) -> TensorType:
    _integers("OneHot", indices)
    if isinstance(attrs.classes, int) and attrs.classes < 1:
        raise OptionError(f"OneHot: needs at least one class, got {attrs.classes}")
    return TensorType((*indices.shape, attrs.classes), attrs.dtype)


SLICE = register(OpDef("Slice", _slice_infer, _slice_gradient, attrs=SliceAttrs, view=True))
SLICE_GRAD = register(
    OpDef(
        "SliceGrad", _slice_grad_infer, _slice_grad_gradient, attrs=SliceGradAttrs, inputs=("dy",), outputs=("dx",),
        family="gradient",
    )
)  # fmt: skip
GATHER_ELEMENTS = register(
    OpDef("GatherElements", _gather_infer, _gather_gradient, attrs=AxisAttrs, inputs=("x", "index"), family="shape")
)
#: Zeros of ``shape`` to which each value is added at its index along the axis.
SCATTER_ELEMENTS = register(
    OpDef(
        "ScatterElements", _scatter_infer,
        lambda c: [apply(GATHER_ELEMENTS, AxisAttrs(c.attrs.axis), c.dy, c.inputs[1]), None], attrs=ScatterAttrs,
        inputs=("values", "index"), family="shape",
    )
)  # fmt: skip


#: ``x`` looked up at integer indices along some axes; negative ones count from the end.
INDEX = register(
    OpDef(
        "Index",
        _index_infer,
        _index_gradient,
        attrs=IndexAttrs,
        inputs=("x", "*indices"),
    )
)
#: Zeros of ``shape`` to which each value is added where ``Index`` would have found it.
INDEX_ADD = register(
    OpDef(
        "IndexAdd",
        _index_add_infer,
        lambda c: [apply(INDEX, IndexAttrs(c.attrs.axes), c.dy, *c.inputs[1:]), *[None] * len(c.attrs.axes)],
        attrs=IndexAddAttrs,
        inputs=("values", "*indices"),
    )
)
EMBEDDING = register(
    OpDef(
        "Embedding", _embedding_infer, _embedding_gradient, attrs=EmbeddingAttrs, inputs=("weight", "indices"),
        family="shape",
    )
)  # fmt: skip
EMBEDDING_GRAD = register(
    OpDef(
        "EmbeddingGrad", _embedding_grad_infer, _embedding_grad_gradient, attrs=EmbeddingGradAttrs,
        inputs=("dy", "indices"), outputs=("dweight",), family="gradient",
    )
)  # fmt: skip
ONE_HOT = register(OpDef("OneHot", _one_hot_infer, NO_GRADIENT, attrs=OneHotAttrs, inputs=("indices",)))


def take_slice(x: T, starts: Sequence[Dim], sizes: Sequence[Dim], steps: Sequence[int] | None = None) -> T:
    """``sizes[i]`` elements along axis i, from ``starts[i]`` on, ``steps[i]`` apart; ``x`` itself where that is all."""
    attrs = SliceAttrs(tuple(starts), tuple(sizes), tuple(steps) if steps is not None else (1,) * x.type.rank)
    if attrs.sizes == x.type.shape and not any(attrs.starts) and all(step == 1 for step in attrs.steps):
        return x
    result: T = apply(SLICE, attrs, x)
    return result


def narrow(x: T, dim: int, start: Dim, length: Dim) -> T:
    """``length`` elements of ``x`` along ``dim``, from ``start`` on; a negative start counts from the end."""
    axis = normal_axis("narrow", dim, x.type.rank)
    first, count = as_dim(start, "narrow"), as_dim(length, "narrow")
    return piece(x, axis, first if is_at_least(first, 0) else x.type.shape[axis] + first, count)


def piece(x: T, axis: int, start: Dim, size: Dim) -> T:
    """``size`` elements of ``x`` along ``axis`` from ``start`` on, which is known not to be negative."""
    starts = tuple(start if i == axis else 0 for i in range(x.type.rank))
    return take_slice(x, starts, tuple(size if i == axis else d for i, d in enumerate(x.type.shape)))


def split(x: T, split_size_or_sections: Any, dim: int = 0) -> tuple[T, ...]:
    """``x`` cut along ``dim`` into pieces of one size (the last may be smaller), or of the sizes listed."""
    axis = normal_axis("split", dim, x.type.rank)
    whole = x.type.shape[axis]
    if isinstance(split_size_or_sections, list | tuple):
        sizes = [as_dim(size, "split") for size in split_size_or_sections]
        if sum(sizes, start=_ZERO) != whole or any(isinstance(size, int) and size < 0 for size in sizes):
            raise ShapeError(f"split: {sizes} do not add up to axis {axis} of size {whole}")
    else:
        sizes = _pieces(whole, as_dim(split_size_or_sections, "split"), axis)
    pieces, start = [], _ZERO
    for size in sizes:
        pieces.append(piece(x, axis, start, size))
        start = start + size
    return tuple(pieces)


_ZERO: Dim = 0


def _pieces(whole: Dim, size: Dim, axis: int) -> list[Dim]:
    if is_equal(whole, 0):
        if is_at_least(size, 0):
            return [0]
    elif is_at_least(size, 1):
        if isinstance(whole, int) and isinstance(size, int):
            return [min(size, whole - start) for start in range(0, whole, size)]
        return [size] * _count(whole, size, axis)
    raise OptionError(f"split: pieces must have at least one element, got a size of {size}")


def _count(whole: Dim, size: Dim, axis: int) -> int:
    count = exact_quotient(whole, size)
    if not isinstance(count, int):
        raise ShapeError(
            f"split: how many pieces of {size} axis {axis} of symbolic size {whole} has is not known while tracing; "
            f"list the sizes of the pieces, or compile with that dimension fixed"
        )
    return count


def chunk(x: T, chunks: int, dim: int = 0) -> tuple[T, ...]:
    """``x`` cut along ``dim`` into at most ``chunks`` pieces of one size (the last may be smaller)."""
    if isinstance(chunks, bool) or not isinstance(chunks, int) or chunks < 1:
        raise OptionError(f"chunk: chunks must be a positive int, got {shown(chunks)}")
    axis = normal_axis("chunk", dim, x.type.rank)
    whole = x.type.shape[axis]
    if isinstance(whole, int):
        return split(x, max(-(-whole // chunks), 1), axis) if whole else split(x, [0] * chunks, axis)
    size = exact_quotient(whole, chunks)
    if size is None:
        raise ShapeError(
            f"chunk: axis {axis} of symbolic size {whole} does not divide into {chunks} for certain; "
            f"compile with that dimension fixed"
        )
    return split(x, [size] * chunks, axis)


def flip(x: T, *dims: Any) -> T:
    """``x`` with the order of its elements turned around along the axes."""
    axes = dims[0] if len(dims) == 1 and isinstance(dims[0], list | tuple) else dims
    rank, shape = x.type.rank, x.type.shape
    chosen = normal_axes("flip", axes, rank)
    starts = [shape[i] - 1 if i in chosen else 0 for i in range(rank)]
    return take_slice(x, starts, shape, [-1 if i in chosen else 1 for i in range(rank)])


def roll(x: T, shifts: int | tuple[int, ...], dims: int | tuple[int, ...] | None = None) -> T:
    """``x`` shifted along ``dims``, what falls off one end coming back at the other; flat without ``dims``."""
    if dims is None:
        if not hasattr(shifts, "__index__"):
            raise OptionError(f"roll: the shift is an int, or there are as many dims as shifts, got {shown(shifts)}")
        return reshape(roll(flatten(x), shifts, 0), x.type.shape)
    steps, axes = (v if isinstance(v, tuple | list) else (v,) for v in (shifts, dims))
    if len(steps) != len(axes):
        raise OptionError(f"roll: {len(steps)} shifts for {len(axes)} dims")
    for step, dim in zip(steps, axes, strict=True):
        axis = normal_axis("roll", dim, x.type.rank)
        x = _rolled(x, as_dim(step, "roll"), axis)
    return x


def _rolled(x: T, step: Dim, axis: int) -> T:
    size = x.type.shape[axis]
    if step == 0 or is_equal(size, 0):
        return x
    if not (is_at_least(size, step) and is_at_least(size, -step)):
        step = step - step // size * size
    cut = size - step if is_at_least(step, 0) else -step
    return concat([piece(x, axis, cut, size - cut), piece(x, axis, 0, cut)], axis)


def gather(x: T, dim: int, index: Any) -> T:
    """Elements of ``x`` at ``index`` along ``dim``; ``index`` has the rank of ``x`` (``torch.gather``)."""
    axis, where_from = normal_axis("gather", dim, x.type.rank, scalar=True), _as_index("gather", x, index)
    shape = where_from.type.shape
    if x.type.rank <= 1 and len(shape) <= 1:  # a scalar, of either, is a vector of one element
        x, where_from = flatten(x), flatten(where_from)
    result: T = reshape(apply(GATHER_ELEMENTS, AxisAttrs(axis), x, where_from), shape)
    return result


def take_along_dim(x: T, indices: Any, dim: int | None = None) -> T:
    """Elements of ``x`` at ``indices`` along ``dim`` (of the flat tensor without), the other axes broadcast."""
    index = _as_index("take_along_dim", x, indices)
    if dim is None:
        return gather(flatten(x), 0, flatten(index))
    axis = normal_axis("take_along_dim", dim, x.type.rank)
    if index.type.rank != x.type.rank:
        raise ShapeError(f"take_along_dim: the indices {index.type} must have the rank of {x.type}")
    others = [(*t.type.shape[:axis], 1, *t.type.shape[axis + 1 :]) for t in (x, index)]
    shape = broadcast_shapes("take_along_dim", *others)

    def spread(t: T) -> T:
        return expand(t, (*shape[:axis], t.type.shape[axis], *shape[axis + 1 :]))

    return gather(spread(x), axis, spread(index))


def index_select(x: T, dim: int, index: Any) -> T:
    """The slices of ``x`` along ``dim`` that the vector ``index`` lists."""
    vector = _as_index("index_select", x, index)
    if vector.type.rank > 1:
        raise ShapeError(f"index_select: the index must be a vector, got {vector.type}")
    return along("index_select", x, dim, lambda x, axis: index_with(x, (axis,), [vector]))


def index_with(x: T, axes: tuple[int, ...], indices: Sequence[Any]) -> T:
    """``x`` looked up along ``axes`` at integer tensors."""
    result: T = apply(INDEX, IndexAttrs(axes), x, *indices)
    return result


def _as_index(op: str, x: AbstractTensor, index: Any) -> Any:
    """Integer indices as a tensor in the world of ``x``."""
    if not isinstance(index, AbstractTensor):
        array = np.asarray(index)
        index = constant(x, array.astype(np.int64) if array.size == 0 else array)
    _integers(op, index.type)
    return index


def embedding(indices: Any, weight: T, padding_idx: int | None = None) -> T:
    """The row of ``weight`` at each of ``indices`` (``torch.nn.functional.embedding``).

    Parameters
    ----------
    indices
        Integers of any shape, each at least 0 and less than the number of rows.
    weight
        Matrix (rows, features).
    padding_idx
        A row that takes no gradient; a negative one counts from the end.
    """
    if weight.type.rank != 2:
        raise ShapeError(f"embedding: the weight must be a matrix (rows, features), got {weight.type}")
    if padding_idx is not None:
        padding_idx = normal_axis_of_rows(padding_idx, weight.type.shape[0])
    result: T = apply(EMBEDDING, EmbeddingAttrs(padding_idx), weight, _as_index("embedding", weight, indices))
    return result


def normal_axis_of_rows(index: int, rows: Dim) -> int:
    """``padding_idx`` counted from the first row."""
    if isinstance(rows, SymDim):
        raise ShapeError(f"embedding: padding_idx needs a weight with a known number of rows, this has {rows}")
    if isinstance(index, bool) or not isinstance(index, int) or not -rows <= index < rows:
        raise OptionError(f"embedding: padding_idx must be within the {rows} rows, got {shown(index)}")
    return index % rows


def one_hot(indices: T, num_classes: int = -1) -> T:
    """int64 vectors with a 1 at each of ``indices``; without ``num_classes``, as many as the largest index needs."""
    _integers("one_hot", indices.type)
    if num_classes == -1:
        array = concrete_array(indices, "one_hot without num_classes", "give num_classes")
        num_classes = int(array.max()) + 1 if array.size else 1
    result: T = apply(ONE_HOT, OneHotAttrs(as_dim(num_classes, "one_hot"), int64), indices)
    return result


def concrete_array(x: Any, what: str, way_out: str) -> np.ndarray[Any, Any]:
    """The content of an array or eager tensor; a traced one has none yet."""
    if isinstance(x, AbstractTensor) and not hasattr(x, "__array__"):
        raise TraceError(f"{what} has a shape that depends on data, which a static graph cannot hold; {way_out}")
    try:
        return np.asarray(x)
    except TraceError as error:
        raise TraceError(
            f"{what} has a shape that depends on data, which a static graph cannot hold; {way_out}"
        ) from error


def masked_fill(x: T, mask: Any, value: float) -> T:
    """``x`` with the number ``value`` where ``mask`` holds; the element type stays."""
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, int | float):
        raise OptionError(f"masked_fill: the value is a number, got a {type(value).__name__}; for tensors use where")
    if isinstance(value, float) and not is_float(x.type.dtype):
        raise DTypeError(f"masked_fill: {value} does not fit into {x.type.dtype.name}")
    result: T = where(mask, full(x, value, ()), x)
    return result
