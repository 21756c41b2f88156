"""Gathering and indexing with tensors, and their transposes, which scatter.

Gradients that are scattered to the same place are added.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ...base.arrays import Array
from ...base.checks import shown
from ...errors import DTypeError, OptionError, ShapeError, TraceError
from ..batching import Batch, Outputs, prepend_axis, with_leading_axis
from ..dims import Dim, SymDim, as_dim
from ..opdef import NO_GRADIENT, AbstractTensor, Attrs, GradContext, Gradients, OpDef, T, apply, attributes, register
from ..types import DType, Shape, TensorType, broadcast_shapes, format_shape, int64, is_float
from .elementwise import cast, where
from .reduce import CUMSUM, CumSumAttrs
from .shape import AxisAttrs, along, expand, flatten, inverse_permutation, normal_axis, permute, reshape, stop_gradient
from .source import constant, full

Indices: TypeAlias = "AbstractTensor | npt.ArrayLike"
"""Integers, or bools as a mask: a tensor, or what makes an array."""


@attributes
class ScatterAttrs(Attrs):
    """``shape`` of the result, and the ``axis`` that is indexed."""

    axis: int
    shape: Shape


@attributes
class IndexAttrs(Attrs):
    """``axes`` (ascending) are indexed, by one index tensor each."""

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
        raise ShapeError(
            f"ScatterElements: the values {dy} and the index {index} differ in shape",
            unequal=(dy.shape, index.shape),
        )
    return dy.with_shape(attrs.shape)


def _integers(op: str, *indices: TensorType) -> None:
    for index in indices:
        if index.dtype.kind not in "iu":
            raise DTypeError(f"{op}: indices must be integers, got {index}")


def indexed_shape(op: str, axes: tuple[int, ...], data: Shape, indices: Sequence[TensorType]) -> Shape:
    """The result's shape by NumPy's rule: the indices' shape replaces adjacent axes, else it goes in front."""
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


def _gather_gradient(c: GradContext[AxisAttrs]) -> Gradients:
    return [apply(SCATTER_ELEMENTS, ScatterAttrs(c.attrs.axis, c.inputs[0].type.shape), c.dy, c.inputs[1]), None]


def _index_gradient(c: GradContext[IndexAttrs]) -> Gradients:
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


def _embedding_gradient(c: GradContext[EmbeddingAttrs]) -> Gradients:
    weight, indices = c.inputs
    attrs = EmbeddingGradAttrs(c.attrs.padding, weight.type.shape[0])
    return [apply(EMBEDDING_GRAD, attrs, c.dy, indices), None]


def _embedding_grad_gradient(c: GradContext[EmbeddingGradAttrs]) -> Gradients:
    indices, padding = c.inputs[1], c.attrs.padding
    rows = apply(EMBEDDING, EmbeddingAttrs(padding), c.dy, indices)
    return [rows if padding is None else where((indices == padding).unsqueeze(-1), 0.0, rows), None]


def _one_hot_infer(attrs: OneHotAttrs, indices: TensorType) -> TensorType:
    _integers("OneHot", indices)
    if isinstance(attrs.classes, int) and attrs.classes < 1:
        raise OptionError(f"OneHot: needs at least one class, got {attrs.classes}")
    return TensorType((*indices.shape, attrs.classes), attrs.dtype)


class Located:
    """Indices of rows, and one before them that says which row: the first ``count`` operands are what is indexed."""

    def __init__(self, batch: Batch, count: int, axes: tuple[int, ...], rank: int) -> None:
        numbers = apply(CUMSUM, CumSumAttrs(0), full(batch.inputs[count], 1, (batch.size,), int64)) - 1
        found = range(count, len(batch.inputs))
        self._most = max(len(batch.row(i)) for i in found)
        self.indices = [batch.aligned(i, self._most) for i in found]
        self.indices.insert(0, reshape(numbers, (batch.size, *(1,) * self._most)))
        self.axes = (0, *(axis + 1 for axis in axes))
        before = axes[0] if adjacent(axes) else 0
        kept = range(1 + self._most, 1 + self._most + rank - len(axes))
        self._turned = (0, *kept[:before], *range(1, 1 + self._most), *kept[before:])

    def of_rows(self, y: AbstractTensor) -> AbstractTensor:
        """What is found by these indices, the axes of each row in their order."""
        return permute(y, self._turned)

    def from_rows(self, values: AbstractTensor) -> AbstractTensor:
        """The inverse."""
        return permute(values, inverse_permutation(self._turned))


def _index_batch(batch: Batch[IndexAttrs]) -> Outputs:
    axes = batch.attrs.axes
    if not any(batch.batched[1:]) and adjacent(axes):
        return batch.apply(with_leading_axis(batch.attrs, batch.size), *batch.inputs)
    at = Located(batch, 1, axes, len(batch.row(0)))
    return [at.of_rows(*batch.apply(IndexAttrs(at.axes), batch.whole(0), *at.indices))]


def _index_add_batch(batch: Batch[IndexAddAttrs]) -> Outputs:
    axes, shape = batch.attrs.axes, batch.attrs.shape
    if not any(batch.batched[1:]) and adjacent(axes):
        return batch.apply(with_leading_axis(batch.attrs, batch.size), *batch.inputs)
    at = Located(batch, 1, axes, len(shape))
    return batch.apply(IndexAddAttrs(at.axes, (batch.size, *shape)), at.from_rows(batch.whole(0)), *at.indices)


def _embedding_batch(batch: Batch[EmbeddingAttrs]) -> Outputs:
    (weight, indices), padding = batch.inputs, batch.attrs.padding
    if not batch.batched[0]:
        return batch.apply(batch.attrs, weight, indices)
    at, rows = Located(batch, 1, (0,), 2), weight.type.shape[1]
    number, place = at.indices
    place = cast(place, int64)
    place = where(place < 0, full(place, rows, ()), place)  # beyond the last, where there is no row either
    y = apply(INDEX, IndexAttrs(at.axes), weight, number, place)
    if padding is not None:
        y = where((place == padding).unsqueeze(-1), stop_gradient(y), y)
    return [y]


def _embedding_grad_batch(batch: Batch[EmbeddingGradAttrs]) -> Outputs:
    (_, indices), padding, dy = batch.inputs, batch.attrs.padding, batch.whole(0)
    if padding is not None:
        dy = where((indices == padding).unsqueeze(-1), full(dy, 0, ()), dy)
    at = Located(batch, 1, (0,), 2)
    return [
        apply(INDEX_ADD, IndexAddAttrs(at.axes, (batch.size, batch.attrs.rows, dy.type.shape[-1])), dy, *at.indices)
    ]


GATHER_ELEMENTS = register(
    OpDef(
        "GatherElements", _gather_infer, _gather_gradient, attrs=AxisAttrs, inputs=("x", "index"), batch=prepend_axis,
        family="shape",
    )
)  # fmt: skip
#: Zeros of ``shape`` to which each value is added at its index along the axis.
SCATTER_ELEMENTS = register(
    OpDef(
        "ScatterElements", _scatter_infer,
        lambda c: [apply(GATHER_ELEMENTS, AxisAttrs(c.attrs.axis), c.dy, c.inputs[1]), None], attrs=ScatterAttrs,
        inputs=("values", "index"), batch=prepend_axis, family="shape",
    )
)  # fmt: skip


#: Elements of ``x`` at integer indices along some axes; negative ones count from the end.
INDEX = register(
    OpDef(
        "Index",
        _index_infer,
        _index_gradient,
        attrs=IndexAttrs,
        inputs=("x", "*indices"),
        batch=_index_batch,
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
        batch=_index_add_batch,
    )
)
EMBEDDING = register(
    OpDef(
        "Embedding", _embedding_infer, _embedding_gradient, attrs=EmbeddingAttrs, inputs=("weight", "indices"),
        batch=_embedding_batch, conventional=lambda attrs: attrs.padding is not None, family="shape",
    )
)  # fmt: skip
EMBEDDING_GRAD = register(
    OpDef(
        "EmbeddingGrad", _embedding_grad_infer, _embedding_grad_gradient, attrs=EmbeddingGradAttrs,
        inputs=("dy", "indices"), outputs=("dweight",), batch=_embedding_grad_batch,
        family="gradient",
    )
)  # fmt: skip
ONE_HOT = register(
    OpDef("OneHot", _one_hot_infer, NO_GRADIENT, attrs=OneHotAttrs, inputs=("indices",), batch=prepend_axis)
)


def gather(x: T, dim: int, index: Indices) -> T:
    """Elements of ``x`` at ``index`` along ``dim``; ``index`` has the rank of ``x`` (``torch.gather``)."""
    axis, where_from = normal_axis("gather", dim, x.type.rank, scalar=True), _as_index("gather", x, index)
    shape = where_from.type.shape
    if x.type.rank <= 1 and len(shape) <= 1:  # scalars count as vectors of one element
        x, where_from = flatten(x), flatten(where_from)
    result: T = reshape(apply(GATHER_ELEMENTS, AxisAttrs(axis), x, where_from), shape)
    return result


def take_along_dim(x: AbstractTensor, indices: Indices, dim: int | None = None) -> AbstractTensor:
    """Elements of ``x`` (the flat tensor without ``dim``) at ``indices`` along ``dim``; the other axes broadcast."""
    index = _as_index("take_along_dim", x, indices)
    if dim is None:
        return gather(flatten(x), 0, flatten(index))
    axis = normal_axis("take_along_dim", dim, x.type.rank)
    if index.type.rank != x.type.rank:
        raise ShapeError(f"take_along_dim: the indices {index.type} must have the rank of {x.type}")
    others = [(*t.type.shape[:axis], 1, *t.type.shape[axis + 1 :]) for t in (x, index)]
    shape = broadcast_shapes("take_along_dim", *others)

    def spread(t: AbstractTensor) -> AbstractTensor:
        return expand(t, (*shape[:axis], t.type.shape[axis], *shape[axis + 1 :]))

    return gather(spread(x), axis, spread(index))


def index_select(x: T, dim: int, index: Indices) -> T:
    """The slices of ``x`` along ``dim`` that the vector ``index`` lists."""
    vector = _as_index("index_select", x, index)
    if vector.type.rank > 1:
        raise ShapeError(f"index_select: the index must be a vector, got {vector.type}")
    vector = vector if vector.type.rank or not x.type.rank else reshape(vector, 1)
    return along("index_select", x, dim, lambda x, axis: index_with(x, (axis,), [vector]))


def index_with(x: T, axes: tuple[int, ...], indices: Sequence[AbstractTensor]) -> T:
    """``x`` indexed by integer tensors along ``axes``."""
    result: T = apply(INDEX, IndexAttrs(axes), x, *indices)
    return result


def _as_index(op: str, x: AbstractTensor, index: Indices) -> AbstractTensor:
    """Integer indices as a tensor of the kind of ``x``: eager, or of the same trace."""
    if not isinstance(index, AbstractTensor):
        array = np.asarray(index)
        index = constant(x, array.astype(np.int64) if array.size == 0 else array)
    _integers(op, index.type)
    return index


def embedding(indices: Indices, weight: T, padding_idx: int | None = None) -> T:
    """The row of ``weight`` at each of ``indices`` (``torch.nn.functional.embedding``).

    Parameters
    ----------
    indices
        Integers of any shape, each at least 0 and less than the number of rows.
    weight
        Matrix (rows, features).
    padding_idx
        A row that gets no gradient; a negative number counts from the end.
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


def one_hot(indices: T, num_classes: Dim = -1) -> T:
    """int64 vectors with a 1 at each of ``indices``; without ``num_classes``, as many as the largest index needs."""
    _integers("one_hot", indices.type)
    if num_classes == -1:
        array = concrete_array(indices, "one_hot without num_classes", "give num_classes")
        num_classes = int(array.max()) + 1 if array.size else 1
    result: T = apply(ONE_HOT, OneHotAttrs(as_dim(num_classes, "one_hot"), int64), indices)
    return result


def concrete_array(x: Indices, what: str, way_out: str) -> Array:
    """The content of an array or eager tensor on which a shape depends; raises for a traced one, which has none yet."""
    return content(x, f"{what} has a data-dependent shape, which a static graph cannot hold; {way_out}")


def content(x: Indices, words: str) -> Array:
    """The content of an array or eager tensor; raises with the message ``words`` for a traced one."""
    read = getattr(x, "__array__", None)  # quicker than np.asarray, which tries two other protocols first
    if isinstance(x, AbstractTensor) and read is None:
        raise TraceError(words)
    try:
        return np.asarray(x if read is None else read())
    except TraceError as error:
        raise TraceError(words) from error


def masked_fill(x: AbstractTensor, mask: Indices, value: float | AbstractTensor) -> AbstractTensor:
    """``x`` with ``value``, a number or a tensor of one element, where ``mask`` is true; the element type stays."""
    if isinstance(value, AbstractTensor):
        if value.type.rank:
            raise OptionError(f"masked_fill: value is a number, got a tensor {value.type}; for tensors use where")
        if is_float(value.type.dtype) and not is_float(x.type.dtype):
            raise DTypeError(f"masked_fill: {value.type} does not fit into {x.type.dtype.name}")
        return where(mask, cast(value, x.type.dtype), x)
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, int | float):
        raise OptionError(f"masked_fill: the value is a number, got a {type(value).__name__}; for tensors use where")
    if isinstance(value, float) and not is_float(x.type.dtype):
        raise DTypeError(f"masked_fill: {value} does not fit into {x.type.dtype.name}")
    return where(mask, full(x, value, ()), x)
