"""Reductions over axes: sum, mean, variance, extrema and their positions, cumulative sums."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import NamedTuple

from ...errors import DTypeError, ShapeError
from ..batching import prepend_axis
from ..dims import SymDim
from ..opdef import NO_GRADIENT, AbstractTensor, Attrs, GradContext, Gradients, OpDef, T, apply, attributes, register
from ..types import Axes, Shape, TensorType, bool_, float32, format_shape, int64, is_float, product
from .elementwise import cast, exp, flat_sqrt, isnan, maximum, where
from .shape import AxisAttrs, along, expand, inverse_permutation, normal_axes, permute, reshape
from .source import full


@attributes
class ReduceAttrs(Attrs):
    """``axes`` are sorted and counted from the front; ``keepdims`` leaves them with size 1."""

    axes: tuple[int, ...]
    keepdims: bool = False


@attributes
class ArgAttrs(Attrs):
    axis: int
    keepdims: bool = False


@attributes
class CumSumAttrs(Attrs):
    """``reverse`` sums from the end."""

    axis: int
    reverse: bool = False


def _reduced_shape(x: TensorType, axes: tuple[int, ...], keepdims: bool) -> Shape:
    if keepdims:
        return tuple(1 if i in axes else dim for i, dim in enumerate(x.shape))
    return tuple(dim for i, dim in enumerate(x.shape) if i not in axes)


def _infer(op: str, kinds: str, *, empty: bool = True) -> Callable[[ReduceAttrs, TensorType], TensorType]:
    def infer(attrs: ReduceAttrs, x: TensorType) -> TensorType:
        if list(attrs.axes) != sorted(set(attrs.axes)) or any(not 0 <= axis < x.rank for axis in attrs.axes):
            raise ShapeError(f"{op}: axes {attrs.axes} do not fit {x}")
        if x.dtype.kind not in kinds:
            raise DTypeError(f"{op}: not defined for {x.dtype.name}")
        if not empty:
            check_not_empty(op, x, attrs.axes)
        return x.with_shape(_reduced_shape(x, attrs.axes, attrs.keepdims))

    return infer


def check_not_empty(op: str, x: TensorType, axes: tuple[int, ...]) -> None:
    """Raise if an extremum is taken over no elements."""
    if any(x.shape[axis] == 0 for axis in axes):
        raise ShapeError(f"{op}: there is no element to choose from in {x} over axes {axes}")


def _arg_infer(attrs: ArgAttrs, x: TensorType) -> TensorType:
    if not 0 <= attrs.axis < x.rank:
        raise ShapeError(f"ArgMax/ArgMin: axis {attrs.axis} does not fit {x}")
    check_not_empty("ArgMax/ArgMin", x, (attrs.axis,))
    return TensorType(_reduced_shape(x, (attrs.axis,), attrs.keepdims), int64)


def _cumsum_infer(attrs: CumSumAttrs, x: TensorType) -> TensorType:
    if not 0 <= attrs.axis < x.rank:
        raise ShapeError(f"CumSum: axis {attrs.axis} does not fit {x}")
    if x.dtype == bool_:
        raise DTypeError(f"CumSum: not defined for bool, got {x}")
    return TensorType(x.shape, x.dtype)


def _spread(y: AbstractTensor, c: GradContext[ReduceAttrs]) -> AbstractTensor:
    """A reduced tensor broadcast back to the shape of the op's input."""
    x = c.inputs[0].type
    return expand(reshape(y, _reduced_shape(x, c.attrs.axes, True)), x.shape)


def _mean_gradient(c: GradContext[ReduceAttrs]) -> Gradients:
    count = product(c.inputs[0].type.shape[axis] for axis in c.attrs.axes)
    return [_spread(c.dy / count, c)]


def _extremum_gradient(c: GradContext[ReduceAttrs]) -> Gradients:
    """Equal extrema share the gradient evenly, as ``torch.amax`` does; so do NaNs."""
    x, y = c.inputs[0], _spread(c.outputs[0], c)
    hit = (x == y) | (isnan(x) & isnan(y))
    shares: AbstractTensor = apply(SUM, ReduceAttrs(c.attrs.axes, True), cast(hit, x.type.dtype))
    dy = reshape(c.dy, _reduced_shape(x.type, c.attrs.axes, True))
    return [where(hit, dy / shares, 0.0)]


def _logsumexp_gradient(c: GradContext[ReduceAttrs]) -> Gradients:
    y = where(c.outputs[0] == -math.inf, 0.0, c.outputs[0])  # so that -inf - y is not NaN
    return [_spread(c.dy, c) * exp(c.inputs[0] - _spread(y, c))]


def _cumsum_gradient(c: GradContext[CumSumAttrs]) -> Gradients:
    return [apply(CUMSUM, CumSumAttrs(c.attrs.axis, not c.attrs.reverse), c.dy)]


def _product_gradient(c: GradContext[ReduceAttrs]) -> Gradients:
    """Each element's slope is the product of the others; unlike ``y / x`` this is right for zeros too."""
    x, axes, kept = c.inputs[0], c.attrs.axes, c.inputs[0].type
    if len(axes) == 1:
        return [_spread(c.dy, c) * _product_of_others(x, axes[0])]
    perm = (*(axis for axis in range(kept.rank) if axis not in axes), *axes)
    lanes = permute(x, perm)
    rows = lanes.type.shape[: kept.rank - len(axes)]
    others = _product_of_others(reshape(lanes, (*rows, product(lanes.type.shape[len(rows) :]))), len(rows))
    return [_spread(c.dy, c) * permute(reshape(others, lanes.type.shape), inverse_permutation(perm))]


def _product_of_others(x: AbstractTensor, axis: int) -> AbstractTensor:
    return apply(PRODUCT_OF_OTHERS, AxisAttrs(axis), x)


def _product_of_others_gradient(c: GradContext[AxisAttrs]) -> Gradients:
    """Row i of a matrix is the lane with element i replaced by 1, so its products leave out i and one other element."""
    axis, x, dy = c.attrs.axis, c.inputs[0], c.dy
    last = x.type.rank - 1
    perm = (*(i for i in range(last + 1) if i != axis), axis)
    lane, dy = permute(x, perm), permute(dy, perm)
    size = lane.type.shape[-1]
    number = apply(CUMSUM, CumSumAttrs(0), full(x, 1, (size,), int64))
    own = reshape(number, (size, 1)) == reshape(number, (1, size))
    lane, dy = (reshape(v, (*v.type.shape[:-1], *at)) for v, at in ((lane, (1, size)), (dy, (size, 1))))
    others = where(own, 0.0, _product_of_others(where(own, 1.0, lane), last + 1))
    return [permute((dy * others).sum(last), inverse_permutation(perm))]


def _product_of_others_infer(attrs: AxisAttrs, x: TensorType) -> TensorType:
    if not 0 <= attrs.axis < x.rank or not is_float(x.dtype):
        raise ShapeError(f"ProductOfOthers: needs floating-point numbers and an axis of them, got {x} and {attrs.axis}")
    return TensorType(x.shape, x.dtype)


SUM = register(
    OpDef(
        "Sum", _infer("Sum", "fiu"), lambda c: [_spread(c.dy, c)], attrs=ReduceAttrs, batch=prepend_axis,
        family="reduce",
    )
)  # fmt: skip
PROD = register(
    OpDef("Prod", _infer("Prod", "fiu"), _product_gradient, attrs=ReduceAttrs, batch=prepend_axis, family="reduce")
)
#: For each element the product of all others along the axis.
PRODUCT_OF_OTHERS = register(
    OpDef("ProductOfOthers", _product_of_others_infer, _product_of_others_gradient, attrs=AxisAttrs, batch=prepend_axis)
)
MEAN = register(
    OpDef("Mean", _infer("Mean", "f"), _mean_gradient, attrs=ReduceAttrs, batch=prepend_axis, family="reduce")
)
MAX = register(
    OpDef(
        "Max",
        _infer("Max", "fiub", empty=False),
        _extremum_gradient,
        attrs=ReduceAttrs,
        batch=prepend_axis,
        family="reduce",
    )
)
MIN = register(
    OpDef(
        "Min",
        _infer("Min", "fiub", empty=False),
        _extremum_gradient,
        attrs=ReduceAttrs,
        batch=prepend_axis,
        family="reduce",
    )
)
LOG_SUM_EXP = register(
    OpDef(
        "LogSumExp", _infer("LogSumExp", "f"), _logsumexp_gradient, attrs=ReduceAttrs, batch=prepend_axis,
        family="reduce",
    )
)  # fmt: skip
ARGMAX = register(OpDef("ArgMax", _arg_infer, NO_GRADIENT, attrs=ArgAttrs, batch=prepend_axis, family="reduce"))
ARGMIN = register(OpDef("ArgMin", _arg_infer, NO_GRADIENT, attrs=ArgAttrs, batch=prepend_axis, family="reduce"))
CUMSUM = register(
    OpDef("CumSum", _cumsum_infer, _cumsum_gradient, attrs=CumSumAttrs, batch=prepend_axis, family="reduce")
)


def _axes(op: str, dim: Axes, rank: int) -> tuple[int, ...]:
    if dim is None or names_none(dim):  # in PyTorch an empty list means all axes
        return tuple(range(rank))
    axes = normal_axes(op, dim, rank)
    return tuple(sorted(axes)) if rank else ()


def names_none(dim: object) -> bool:
    """Whether ``dim`` is an empty list of axes."""
    return isinstance(dim, list | tuple) and not dim


def _reduce(op: OpDef, x: T, dim: Axes, keepdim: bool) -> T:
    result: T = apply(op, ReduceAttrs(_axes(op.name.lower(), dim, x.type.rank), bool(keepdim)), x)
    return result


def sum(x: T, dim: Axes = None, keepdim: bool = False, dtype: object = None) -> T:
    """Sum over ``dim`` (an axis, several, or None for all), in ``dtype``; bools and small ints are summed as int64."""
    return _reduce(SUM, summed(x, dtype), dim, keepdim)


def summed(x: T, dtype: object) -> T:
    """``x`` in the element type in which a sum is computed."""
    if dtype is not None:
        return cast(x, dtype)
    return x if is_float(x.type.dtype) else cast(x, int64)


def prod(x: T, dim: Axes = None, keepdim: bool = False, dtype: object = None) -> T:
    """Product over ``dim`` (an axis, several, or None for all), in ``dtype``; bools and small ints become int64."""
    return _reduce(PROD, summed(x, dtype), dim, keepdim)


def mean(x: T, dim: Axes = None, keepdim: bool = False, dtype: object = None) -> T:
    """Arithmetic mean over ``dim``, in ``dtype``."""
    x = x if dtype is None else cast(x, dtype)
    if not is_float(x.type.dtype):
        raise DTypeError(f"mean: needs a floating-point tensor, got {x.type}; t.float().mean() makes one")
    return _reduce(MEAN, x, dim, keepdim)


def mean_over(x: T, axes: tuple[int, ...]) -> T:
    """Mean over these axes, kept with size 1; without axes ``x`` itself, where :func:`mean` takes all."""
    result: T = apply(MEAN, ReduceAttrs(axes, True), x)
    return result


def var(x: AbstractTensor, dim: Axes = None, correction: float = 1, keepdim: bool = False) -> AbstractTensor:
    """Variance over ``dim``: squared deviations summed, divided by the count minus ``correction`` (at least 0).

    A bool in the place of ``dim`` is PyTorch's ``unbiased``: a ``correction`` of 1 or 0, over all axes.
    """
    if isinstance(dim, bool):
        correction, dim = int(dim), None
    deviation = x - mean(x, dim, True)
    count = product(x.type.shape[axis] for axis in _axes("var", dim, x.type.rank))
    divisor: AbstractTensor | float
    if isinstance(count, SymDim):
        divisor = maximum(full(x, count, ()) - correction, 0.0)
    else:
        divisor = builtins.max(count - correction, 0.0)
    return sum(deviation * deviation, dim, keepdim) / divisor


def std(x: AbstractTensor, dim: Axes = None, correction: float = 1, keepdim: bool = False) -> AbstractTensor:
    """Standard deviation over ``dim``: the square root of :func:`var`; equal values get gradient 0."""
    return flat_sqrt(var(x, dim, correction, keepdim))


def logsumexp(x: T, dim: Axes = None, keepdim: bool = False) -> T:
    """``log(sum(exp(x)))`` over ``dim``, without overflow."""
    return _reduce(LOG_SUM_EXP, cast(x, float32) if not is_float(x.type.dtype) else x, dim, keepdim)


def amax(x: T, dim: Axes = None, keepdim: bool = False) -> T:
    """Largest element over ``dim``, NaN if there is one; equal ones share the gradient."""
    return _reduce(MAX, x, dim, keepdim)


def amin(x: T, dim: Axes = None, keepdim: bool = False) -> T:
    """Smallest element over ``dim``, NaN if there is one; equal ones share the gradient."""
    return _reduce(MIN, x, dim, keepdim)


class Extremum(NamedTuple):
    """Extreme values along an axis, and their indices."""

    values: AbstractTensor
    indices: AbstractTensor


def _arg(op: OpDef, x: T, dim: int | None, keepdim: bool) -> T:
    if dim is None:
        best = apply(op, ArgAttrs(0, False), reshape(x, -1))
        return reshape(best, (1,) * x.type.rank) if keepdim else best
    return along(op.name.lower(), x, dim, lambda x, axis: apply(op, ArgAttrs(axis, bool(keepdim)), x))


def argmax(x: T, dim: int | None = None, keepdim: bool = False) -> T:
    """Position (int64) of the first largest element along ``dim``, or in the flattened tensor."""
    return _arg(ARGMAX, x, dim, keepdim)


def argmin(x: T, dim: int | None = None, keepdim: bool = False) -> T:
    """Position (int64) of the first smallest element along ``dim``, or in the flattened tensor."""
    return _arg(ARGMIN, x, dim, keepdim)


def _extremum(op: OpDef, arg: OpDef, x: AbstractTensor, dim: int | None, keepdim: bool) -> AbstractTensor | Extremum:
    if dim is None:
        return _reduce(op, x, None, keepdim)
    if isinstance(dim, AbstractTensor) and is_float(dim.type.dtype):
        name = op.name.lower()
        raise DTypeError(f"{name}: dim is an axis; of two tensors, write lucid.{name}imum(x, other)")
    indices = _arg(arg, x, dim, True)
    if not x.type.rank:
        return Extremum(x.apart((x,)), indices)
    values = x.gather(dim, indices)
    return Extremum(values, indices) if keepdim else Extremum(values.squeeze(dim), indices.squeeze(dim))


def max(x: AbstractTensor, dim: int | None = None, keepdim: bool = False) -> AbstractTensor | Extremum:
    """The largest element, or with ``dim`` the pair (values, indices); then the first of equals gets the gradient."""
    return _extremum(MAX, ARGMAX, x, dim, keepdim)


def min(x: AbstractTensor, dim: int | None = None, keepdim: bool = False) -> AbstractTensor | Extremum:
    """The smallest element, or with ``dim`` the pair (values, indices); then the first of equals gets the gradient."""
    return _extremum(MIN, ARGMIN, x, dim, keepdim)


def cumsum(x: T, dim: int, dtype: object = None) -> T:
    """Running sum along ``dim``, in ``dtype``."""
    return along("cumsum", summed(x, dtype), dim, lambda x, axis: apply(CUMSUM, CumSumAttrs(axis), x))


def sum_to(x: T, shape: Shape) -> T:
    """``x`` summed over the axes along which ``shape`` broadcasts to it: the transpose of ``expand``."""
    have = x.type.shape
    if have == shape:
        return x
    lead = len(have) - len(shape)
    axes = tuple(range(lead)) + tuple(i for i in range(lead, len(have)) if shape[i - lead] != have[i])
    if lead < 0 or any(shape[i - lead] != 1 for i in axes if i >= lead):
        raise ShapeError(f"sum_to: {format_shape(have)} does not reduce to {format_shape(shape)}")
    result: T = apply(SUM, ReduceAttrs(axes), x)
    return reshape(result, shape)
