"""Average pooling, and adaptive pooling, whose windows are derived from the output size."""

from __future__ import annotations

from ...base.checks import integer, per_axis, shown
from ...errors import DTypeError, OptionError, ShapeError
from ..batching import merge_batches
from ..dims import Dim, as_dim, exact_quotient
from ..opdef import NO_GRADIENT, AbstractTensor, Attrs, GradContext, Gradients, OpDef, apply, attributes, register
from ..types import TensorType, bool_, format_shape, int64, is_float, product
from .indexing import gather
from .pool import max_pool2d
from .reduce import mean
from .shape import reshape, squeeze
from .windows import (
    HEIGHT_AND_WIDTH,
    Numbers,
    check_rank,
    count_windows,
    image_batch,
    refuse_empty_windows,
    rely_on_something,
    resized,
    strides,
    windows_along,
)

OUTPUT_SIZES = {
    1: "one int", 2: "one int or two (height, width)", 3: "one int or three (depth, height, width)"
}  # fmt: skip


@attributes
class AvgPoolAttrs(Attrs):
    """Windows of an average pooling; ``padding`` lists the zeros before each axis, then those after each."""

    kernel: Numbers
    stride: Numbers
    padding: Numbers = (0, 0, 0, 0)
    ceil_mode: bool = False
    count_include_pad: bool = True
    divisor_override: int | None = None


@attributes
class AvgPoolGradAttrs(Attrs):
    """A pooling and the size of its input images."""

    pool: AvgPoolAttrs
    size: tuple[Dim, ...]

    joined = HEIGHT_AND_WIDTH


@attributes
class AdaptiveAttrs(Attrs):
    """Size of the output images."""

    size: tuple[Dim, ...]

    joined = HEIGHT_AND_WIDTH


@attributes
class AdaptiveGradAttrs(Attrs):
    """Size of the input images."""

    size: tuple[Dim, ...]

    joined = HEIGHT_AND_WIDTH


def _need_float(op: str, x: TensorType, axes: int = 2) -> None:
    check_rank(op, x, axes)
    if not is_float(x.dtype):
        raise DTypeError(f"{op}: needs a floating-point tensor, got {x}")


def _avg_infer(attrs: AvgPoolAttrs, x: TensorType) -> TensorType:
    return average_output("avg_pool2d", (1, 1), attrs, x)


def average_output(op: str, dilation: Numbers, attrs: AvgPoolAttrs, x: TensorType) -> TensorType:
    """The type of the means, for images with an axis for each dilation; raises if the windows do not fit."""
    _need_float(op, x, len(dilation))
    if attrs.divisor_override == 0:
        raise OptionError(f"{op}: divisor_override must not be 0")
    windows = windows_along(op, len(dilation), attrs.kernel, attrs.stride, attrs.padding, dilation)
    counts = count_windows(op, x, windows, attrs.ceil_mode)
    refuse_empty_windows(op, x.shape[2:], counts, windows)
    return x.with_shape((*x.shape[:2], *counts))


def _avg_grad_infer(attrs: AvgPoolGradAttrs, dy: TensorType) -> TensorType:
    check_rank("AvgPool2dGrad", dy)
    x = resized("AvgPool2dGrad", dy, attrs.size)
    expected = _avg_infer(attrs.pool, x)
    if dy.shape != expected.shape:
        raise ShapeError(f"AvgPool2dGrad: needs a gradient of shape {format_shape(expected.shape)}, got {dy}")
    return x


def _adapted(op: str, x: TensorType, size: tuple[Dim, ...]) -> TensorType:
    """The type of an image batch pooled to ``size``."""
    if any(isinstance(dim, int) and dim < 1 for dim in size) or 0 in x.shape[2:]:
        raise ShapeError(f"{op}: an output of {' x '.join(map(str, size))} cannot be pooled from {x}")
    return resized(op, x, size)


def _adaptive_infer(attrs: AdaptiveAttrs, x: TensorType) -> TensorType:
    _need_float("adaptive_avg_pool2d", x)
    return _adapted("adaptive_avg_pool2d", x, attrs.size)


def _adaptive_grad_infer(attrs: AdaptiveGradAttrs, dy: TensorType) -> TensorType:
    _need_float("AdaptiveAvgPool2dGrad", dy)
    return resized("AdaptiveAvgPool2dGrad", dy, attrs.size)


def _adaptive_arg_infer(attrs: AdaptiveAttrs, x: TensorType) -> TensorType:
    check_rank("adaptive_max_pool2d", x)
    if x.dtype == bool_:
        raise DTypeError("adaptive_max_pool2d: not defined for bool")
    return _adapted("adaptive_max_pool2d", x, attrs.size).with_dtype(int64)


def _avg_gradient(c: GradContext[AvgPoolAttrs]) -> Gradients:
    return [apply(AVG_POOL_GRAD, AvgPoolGradAttrs(c.attrs, c.inputs[0].type.shape[2:]), c.dy)]


def _adaptive_gradient(c: GradContext) -> Gradients:
    return [apply(ADAPTIVE_AVG_POOL_GRAD, AdaptiveGradAttrs(c.inputs[0].type.shape[2:]), c.dy)]


def _adaptive_grad_gradient(c: GradContext) -> Gradients:
    return [apply(ADAPTIVE_AVG_POOL, AdaptiveAttrs(c.inputs[0].type.shape[2:]), c.dy)]


AVG_POOL = register(
    OpDef(
        "AvgPool2d",
        _avg_infer,
        _avg_gradient,
        attrs=AvgPoolAttrs,
        batch=merge_batches,
        windowed=True,
        channels_last=True,
        family="pool",
    )
)
AVG_POOL_GRAD = register(
    OpDef(
        "AvgPool2dGrad", _avg_grad_infer, lambda c: [apply(AVG_POOL, c.attrs.pool, c.dy)], attrs=AvgPoolGradAttrs,
        inputs=("dy",), outputs=("dx",), batch=merge_batches, windowed=True, channels_last=True, family="gradient",
    )
)  # fmt: skip
ADAPTIVE_AVG_POOL = register(
    OpDef(
        "AdaptiveAvgPool2d", _adaptive_infer, _adaptive_gradient, attrs=AdaptiveAttrs,
        batch=merge_batches, windowed=True, channels_last=True, family="pool",
    )
)  # fmt: skip
ADAPTIVE_AVG_POOL_GRAD = register(
    OpDef(
        "AdaptiveAvgPool2dGrad", _adaptive_grad_infer, _adaptive_grad_gradient, attrs=AdaptiveGradAttrs,
        inputs=("dy",), outputs=("dx",), batch=merge_batches, windowed=True, channels_last=True, family="gradient",
    )
)  # fmt: skip
#: The position of the maximum of each adaptive window, as row * width + column.
ADAPTIVE_ARG_MAX = register(
    OpDef(
        "AdaptiveArgMax2d",
        _adaptive_arg_infer,
        NO_GRADIENT,
        attrs=AdaptiveAttrs,
        outputs=("index",),
        batch=merge_batches,
        windowed=True,
    )
)


def avg_pool2d(
    x: AbstractTensor,
    kernel_size: object,
    stride: object = None,
    padding: object = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> AbstractTensor:
    """Mean over sliding windows, as ``torch.nn.functional.avg_pool2d``.

    Parameters
    ----------
    x
        Floats of shape (N, C, H, W) or (C, H, W).
    kernel_size, stride, padding
        An int, or two (vertical, horizontal). ``stride=None`` is the kernel size.
    ceil_mode
        Allow a last window that extends beyond the end; elements beyond the padding are never counted.
    count_include_pad
        Count the zeros of the padding in the mean.
    divisor_override
        Divide each sum by this instead of the count.
    """
    x, single = image_batch("avg_pool2d", x)
    attrs = avg_pool_attrs(
        "avg_pool2d", 2, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )
    y = apply(AVG_POOL, attrs, x)
    return squeeze(y, 0) if single else y


def avg_pool_attrs(
    op: str, axes: int, kernel_size: object, stride: object, padding: object, ceil_mode: bool, count_include_pad: bool,
    divisor_override: int | None,
) -> AvgPoolAttrs:  # fmt: skip
    """The attributes for the arguments of a pooling over ``axes`` axes."""
    kernel = per_axis(op, "kernel_size", kernel_size, 1, axes)
    pads = per_axis(op, "padding", padding, 0, axes)
    if divisor_override is not None:
        divisor_override = integer(op, "divisor_override", divisor_override, 1)
    return AvgPoolAttrs(
        kernel,
        strides(op, stride, kernel),
        pads * 2,
        bool(ceil_mode),
        bool(count_include_pad),
        divisor_override,
    )


def output_dims(op: str, output_size: object, x: TensorType) -> tuple[Dim, ...]:
    """The output size of an adaptive pooling as dimensions; None keeps that of the input."""
    axes = x.rank - 2
    sizes = tuple(output_size) if isinstance(output_size, tuple | list) else (output_size,) * axes
    if len(sizes) != axes:
        raise OptionError(f"{op}: output_size must be {OUTPUT_SIZES[axes]}, got {shown(output_size)}")
    dims = [x.shape[2 + i] if s is None else as_dim(s, f"{op}: output_size") for i, s in enumerate(sizes)]
    if any(isinstance(dim, int) and dim < 1 for dim in dims):
        raise OptionError(f"{op}: output_size must be positive, got {shown(output_size)}")
    return tuple(dims)


def _even_windows(x: TensorType, size: tuple[Dim, ...]) -> Numbers | None:
    """The window size if the output size divides the input size, else None."""
    quotients = (exact_quotient(*pair_) for pair_ in zip(x.shape[2:], size, strict=True))
    found = tuple(q for q in quotients if isinstance(q, int) and q > 0)
    return found if len(found) == len(size) else None


def adaptive_avg_pool2d(x: AbstractTensor, output_size: object) -> AbstractTensor:
    """Mean over windows that divide the input into ``output_size`` (int, or height and width; None keeps a size).

    Window i spans floor(i H / H_out) to ceil((i + 1) H / H_out).
    """
    x, single = image_batch("adaptive_avg_pool2d", x)
    attrs = AdaptiveAttrs(output_dims("adaptive_avg_pool2d", output_size, x.type))
    even = _even_windows(x.type, attrs.size)
    if attrs.size == (1, 1):
        _adaptive_infer(attrs, x.type)
        rely_on_something(*x.type.shape[2:])
        y = mean(x, (2, 3), keepdim=True)
    elif even:
        y = avg_pool2d(x, even)
    else:
        y = apply(ADAPTIVE_AVG_POOL, attrs, x)
    return squeeze(y, 0) if single else y


def adaptive_max_pool2d(
    x: AbstractTensor, output_size: object, return_indices: bool = False
) -> AbstractTensor | tuple[AbstractTensor, AbstractTensor]:
    """Maximum over windows that divide the input into ``output_size``, as :func:`adaptive_avg_pool2d`.

    With ``return_indices`` also the positions of the maxima, as int64 ``row * W + column``.
    """
    x, single = image_batch("adaptive_max_pool2d", x)
    attrs = AdaptiveAttrs(output_dims("adaptive_max_pool2d", output_size, x.type))
    even = _even_windows(x.type, attrs.size)
    index: AbstractTensor | None
    if even:
        pooled = max_pool2d(x, even, even, return_indices=return_indices)
        y, index = pooled if isinstance(pooled, tuple) else (pooled, None)
    else:
        index = apply(ADAPTIVE_ARG_MAX, attrs, x)
        batch, made = x.type.shape[:2], index.type.shape
        flat = reshape(x, (*batch, product(x.type.shape[2:])))
        y = reshape(gather(flat, 2, reshape(index, (*batch, product(made[2:])))), made)
    if single:
        y, index = squeeze(y, 0), None if index is None else squeeze(index, 0)
    return (y, index) if return_indices and index is not None else y
