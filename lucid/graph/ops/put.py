"""Writing values into a tensor at given indices, replacing the old ones or combined with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...errors import OptionError, ShapeError
from ..batching import Batch, Outputs, with_leading_axis
from ..dims import Dim
from ..opdef import AbstractTensor, GradContext, Gradients, OpDef, apply, attributes, register
from ..types import TensorType, format_shape, int64, product
from .elementwise import where
from .indexing import INDEX_ADD, IndexAddAttrs, IndexAttrs, Located, adjacent, index_with, indexed_shape
from .promotion import cast
from .reduce import cumsum
from .shape import reshape
from .source import full

HOW = ("set", "mul", "max", "min")
"""How a value is combined with an element: replace it, multiply, or take the larger or smaller of the two."""


@attributes
class PutAttrs(IndexAttrs):
    """``how`` is one of :data:`HOW`."""

    how: str = "set"


def _infer(attrs: PutAttrs, x: TensorType, values: TensorType, *indices: TensorType) -> TensorType:
    wanted = indexed_shape("Put", attrs.axes, x.shape, indices)
    if attrs.how not in HOW:
        raise OptionError(f"Put: how is one of {', '.join(HOW)}, got {attrs.how!r}")
    if values.shape != wanted or values.dtype != x.dtype:
        raise ShapeError(f"Put: the values {values} should be {x.dtype.name} of shape {format_shape(wanted)}")
    return x.with_shape(x.shape)


def _set_gradients(c: GradContext[PutAttrs]) -> Gradients:
    """Of several values for the same place, the last stays and gets the gradient."""
    (x, values, *indices), axes = c.inputs, c.attrs.axes
    dx = put(c.dy, axes, indices, full(values, 0))
    if not c.wanted[1]:
        return [dx, None]
    numbers = reshape(counted(x, product(values.type.shape)), values.type.shape)
    there = put(full(x, -1, None, int64), axes, indices, numbers)
    won = index_with(there, axes, indices) == numbers
    return [dx, where(won, index_with(c.dy, axes, indices), 0.0)]


def _extremum_gradients(c: GradContext[PutAttrs]) -> Gradients:
    """All values that are the largest (or smallest) for a place share its gradient."""
    (x, values, *indices), axes, y = c.inputs, c.attrs.axes, c.outputs[0]
    kept = cast(x == y, x.type.dtype)
    hits = cast(values == index_with(y, axes, indices), x.type.dtype)
    share = c.dy / (kept + _added(x, axes, indices, hits))
    return [share * kept, index_with(share, axes, indices) * hits]


def _product_gradients(c: GradContext[PutAttrs]) -> Gradients:
    """Each gets the product of the others; zeros are counted, so that nothing is divided by 0."""
    (x, values, *indices), axes = c.inputs, c.attrs.axes
    x_zero, zero = x == 0.0, values == 0.0
    counts = cast(x_zero, x.type.dtype) + _added(x, axes, indices, cast(zero, x.type.dtype))
    solid, each = where(x_zero, 1.0, x), where(zero, 1.0, values)
    scaled = c.dy * put(solid, axes, indices, each, "mul")

    at, many = (index_with(one, axes, indices) for one in (scaled, counts))
    return [
        where(counts == cast(x_zero, x.type.dtype), scaled / solid, 0.0),
        where(many == cast(zero, x.type.dtype), at / each, 0.0),
    ]


def _gradient(c: GradContext[PutAttrs]) -> Gradients:
    rules: dict[str, Callable[[GradContext[PutAttrs]], Gradients]] = {
        "set": _set_gradients, "mul": _product_gradients, "max": _extremum_gradients, "min": _extremum_gradients,
    }  # fmt: skip
    return [*rules[c.attrs.how](c), *[None] * len(c.attrs.axes)]


def _batch(batch: Batch[PutAttrs]) -> Outputs:
    axes, (x, values) = batch.attrs.axes, (batch.whole(i) for i in range(2))
    if not any(batch.batched[2:]) and adjacent(axes):
        return batch.apply(with_leading_axis(batch.attrs, batch.size), x, values, *batch.inputs[2:])
    at = Located(batch, 2, axes, len(batch.row(0)))
    return batch.apply(PutAttrs(at.axes, batch.attrs.how), x, at.from_rows(values), *at.indices)


#: ``x`` with values written where ``Index`` would read; of several for one place the last stays, or all are combined.
PUT = register(OpDef("Put", _infer, _gradient, attrs=PutAttrs, inputs=("x", "values", "*indices"), batch=_batch))


def _added(
    x: AbstractTensor, axes: tuple[int, ...], indices: Sequence[AbstractTensor], values: AbstractTensor
) -> AbstractTensor:  # fmt: skip
    """Zeros like ``x``, with each value added at its place."""
    return apply(INDEX_ADD, IndexAddAttrs(axes, x.type.shape), values, *indices)


def put(
    x: AbstractTensor,
    axes: tuple[int, ...],
    indices: Sequence[AbstractTensor],
    values: AbstractTensor,
    how: str = "set",
) -> AbstractTensor:
    """``x`` with ``values`` at the indices, replacing its elements or combined: ``"add"`` or one of :data:`HOW`."""
    if how == "add":
        return x + _added(x, axes, indices, values)
    return apply(PUT, PutAttrs(axes, how), x, values, *indices)


def counted(like: AbstractTensor, count: Dim) -> AbstractTensor:
    """0, 1, 2, … as an int64 tensor of the kind of ``like``; the count may be symbolic."""
    return cumsum(full(like, 1, (count,), int64), 0) - 1
