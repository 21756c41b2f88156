"""Max pooling. The second output of ``MaxPool2d`` is the tap that won in each window, which the gradient needs."""

from __future__ import annotations

import math
import warnings
from typing import Final, TypeAlias

import numpy as np

from ...base.checks import number, per_axis, user_stacklevel
from ...errors import DTypeError, OptionError, ShapeError
from ..batching import merge_batches
from ..dims import Dim
from ..opdef import (
    NO_GRADIENT,
    AbstractTensor,
    Attrs,
    GradContext,
    Gradients,
    OpDef,
    apply,
    apply_all,
    attributes,
    register,
)
from ..types import DType, TensorType, as_dtype, bool_, format_shape, int64, is_float
from .shape import squeeze
from .windows import (
    HEIGHT_AND_WIDTH,
    Numbers,
    check_rank,
    count_windows,
    image_batch,
    refuse_empty_windows,
    resized,
    strides,
    windows_along,
)

Maxima: TypeAlias = "tuple[AbstractTensor, AbstractTensor | None]"
"""Maxima, and their positions or None."""


@attributes
class MaxPoolAttrs(Attrs):
    """Windows of a max pooling, with a number for each axis of the image.

    ``padding`` lists the elements before each axis, then those after each: (top, left, bottom, right). They are
    ``pad_value``: 0 competes with the elements of the input, -inf never wins.
    """

    kernel: Numbers
    stride: Numbers
    padding: Numbers = (0, 0, 0, 0)
    dilation: Numbers = (1, 1)
    ceil_mode: bool = False
    pad_value: float = 0.0


@attributes
class MaxPoolGradAttrs(Attrs):
    """A pooling and the size of its input images."""

    pool: MaxPoolAttrs
    size: tuple[Dim, ...]

    joined = HEIGHT_AND_WIDTH


def index_dtype(kernel: Numbers) -> DType:
    """The smallest unsigned type for the numbers of a window's taps and one more, for padding."""
    codes = math.prod(kernel) + 1
    return as_dtype("uint8" if codes <= 1 << 8 else "uint16" if codes <= 1 << 16 else "uint32")


def _pool_infer(attrs: MaxPoolAttrs, x: TensorType) -> tuple[TensorType, TensorType]:
    y = pool_output("max_pool2d", 2, attrs, x)
    return y, y.with_dtype(index_dtype(attrs.kernel))


def pool_output(op: str, axes: int, attrs: MaxPoolAttrs, x: TensorType) -> TensorType:
    """The type of the maxima, for images with ``axes`` axes; raises if the windows do not fit."""
    check_rank(op, x, axes)
    windows = windows_along(op, axes, attrs.kernel, attrs.stride, attrs.padding, attrs.dilation)
    if x.dtype == bool_:
        raise DTypeError(f"{op}: not defined for bool; convert to uint8 first")
    pad_constant(attrs.pad_value, x.dtype)
    counts = count_windows(op, x, windows, attrs.ceil_mode)
    refuse_empty_windows(op, x.shape[2:], counts, windows)
    return x.with_shape((*x.shape[:2], *counts))


def pad_constant(pad_value: float, dtype: DType) -> np.generic:
    """``pad_value`` as a number of ``dtype``; for integers, -inf is the least one."""
    if math.isnan(pad_value):
        raise OptionError("max_pool2d: pad_value must be a number or -inf, got nan")
    if is_float(dtype):
        with np.errstate(over="ignore"):  # too large for float32 becomes infinity
            return dtype.type(pad_value)
    limits = np.iinfo(dtype.name)
    if pad_value == -math.inf:
        return dtype.type(limits.min)
    if pad_value != int(pad_value if math.isfinite(pad_value) else 0) or not limits.min <= pad_value <= limits.max:
        raise OptionError(
            f"max_pool2d: pad_value {pad_value} is not a value of {dtype.name}; use an integer in its range or -inf"
        )
    return dtype.type(int(pad_value))


def _pooled(op: str, attrs: MaxPoolGradAttrs, like: TensorType) -> tuple[TensorType, TensorType]:
    """The pooling's input and output types, with the batch size and channels of ``like``."""
    check_rank(op, like)
    x = resized(op, like, attrs.size)
    return x, _pool_infer(attrs.pool, x)[0]


def _check_index(op: str, attrs: MaxPoolGradAttrs, index: TensorType, y: TensorType) -> None:
    if index.dtype != index_dtype(attrs.pool.kernel) or index.shape != y.shape:
        raise ShapeError(f"{op}: the index must be {y.with_dtype(index_dtype(attrs.pool.kernel))}, got {index}")


def _grad_infer(attrs: MaxPoolGradAttrs, dy: TensorType, index: TensorType) -> TensorType:
    x, y = _pooled("MaxPool2dGrad", attrs, dy)
    if dy.shape != y.shape or not is_float(dy.dtype):
        raise ShapeError(f"MaxPool2dGrad: needs a gradient of shape {format_shape(y.shape)}, got {dy}")
    _check_index("MaxPool2dGrad", attrs, index, y)
    return x


def _gather_infer(attrs: MaxPoolGradAttrs, x: TensorType, index: TensorType) -> TensorType:
    expected, y = _pooled("MaxPool2dGather", attrs, x)
    if x.shape != expected.shape or not is_float(x.dtype):
        raise ShapeError(f"MaxPool2dGather: needs a tensor of shape {format_shape(expected.shape)}, got {x}")
    _check_index("MaxPool2dGather", attrs, index, y)
    return y


def _positions_infer(attrs: MaxPoolGradAttrs, index: TensorType) -> TensorType:
    _, y = _pooled("MaxPool2dPositions", attrs, index.with_dtype(int64))
    _check_index("MaxPool2dPositions", attrs, index, y)
    return y


def _pool_gradient(c: GradContext[MaxPoolAttrs]) -> Gradients:
    return [apply(MAX_POOL_GRAD, MaxPoolGradAttrs(c.attrs, c.inputs[0].type.shape[2:]), c.dy, c.outputs[1])]


def _grad_gradient(c: GradContext) -> Gradients:
    return [apply(MAX_POOL_GATHER, c.attrs, c.dy, c.inputs[1]), None]


MAX_POOL = register(
    OpDef(
        "MaxPool2d", _pool_infer, _pool_gradient, attrs=MaxPoolAttrs, outputs=("y", "index"),
        batch=merge_batches, windowed=True, channels_last=True, family="pool",
    )
)  # fmt: skip
#: Adds each element of ``dy`` to the element that won its window; nothing is added for padding.
MAX_POOL_GRAD = register(
    OpDef(
        "MaxPool2dGrad", _grad_infer, _grad_gradient, attrs=MaxPoolGradAttrs, inputs=("dy", "index"), outputs=("dx",),
        batch=merge_batches, windowed=True, channels_last=True, family="gradient",
    )
)  # fmt: skip
#: The element of each window that the index selects, 0 for padding: the transpose of ``MaxPool2dGrad``.
MAX_POOL_GATHER = register(
    OpDef(
        "MaxPool2dGather", _gather_infer, lambda c: [apply(MAX_POOL_GRAD, c.attrs, c.dy, c.inputs[1]), None],
        attrs=MaxPoolGradAttrs, inputs=("x", "index"), batch=merge_batches, windowed=True, channels_last=True,
        family="pool",
    )
)  # fmt: skip
#: Positions of the winners, row * width + column, -1 for padding.
MAX_POOL_POSITIONS = register(
    OpDef(
        "MaxPool2dPositions", _positions_infer, NO_GRADIENT, attrs=MaxPoolGradAttrs, inputs=("index",),
        batch=merge_batches, windowed=True, family="pool",
    )
)  # fmt: skip


class _Omitted(int):
    """The default stride, distinguishable from a 1 that the caller gave."""


OMITTED: Final = _Omitted(1)


def warn_of_omitted_stride(owner: str, kernel: Numbers) -> None:
    """Warn if the stride is omitted for a window larger than 1: the default is 1 here, elsewhere the kernel size."""
    if max(kernel) == 1:
        return
    size = kernel[0] if len(set(kernel)) == 1 else kernel
    warnings.warn(
        f"{owner}: the stride is left out, and is 1. Write stride=1 to say so, or stride={size} (or stride=None) for "
        f"windows side by side, which is what PyTorch takes when it is left out",
        stacklevel=user_stacklevel(),
    )


def max_pool2d(
    x: AbstractTensor,
    kernel_size: object = 1,
    stride: object = OMITTED,
    padding: object = 0,
    dilation: object = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    pad_value: float = 0.0,
) -> AbstractTensor | tuple[AbstractTensor, AbstractTensor]:
    """Maximum over sliding windows.

    Parameters
    ----------
    x
        Shape (N, C, H, W) or (C, H, W); floats or integers.
    kernel_size, stride, padding, dilation
        An int, or two (vertical, horizontal). ``stride`` is 1 when omitted, with a warning for larger windows, and
        ``stride=None`` the kernel size.
    ceil_mode
        Allow a last window that extends beyond the end, if it starts in the input or the padding before it. There are
        no elements beyond the padding.
    pad_value
        The elements of the padding. 0.0 competes with the input; -inf (PyTorch's padding) does not.
    return_indices
        Also return the positions of the maxima, as int64 ``row * W + column``; -1 where padding won.

    Returns
    -------
    Shape (N, C, H_out, W_out) with H_out = floor((H + 2 padding - dilation (kernel_size - 1) - 1) / stride) + 1,
    or the pair with the positions. The first maximum in row-major order wins, an element of the input before
    padding, and NaN before any number.

    Raises
    ------
    OptionError
        An argument that is not positive (padding: negative), not an int, or of the wrong length; padding so large that
        a window sees nothing else.
    ShapeError
        A tensor of another rank; a window larger than the padded input.
    """
    x, single = image_batch("max_pool2d", x)
    attrs = max_pool_attrs(kernel_size, stride, padding, dilation, ceil_mode, pad_value)
    found = maxima(attrs, x, return_indices)
    if stride is OMITTED:
        warn_of_omitted_stride("max_pool2d", attrs.kernel)
    return of_one(found, single)


def of_one(pooled: Maxima, single: bool) -> AbstractTensor | tuple[AbstractTensor, AbstractTensor]:
    """The result for the caller: maxima, with positions if there are any; without the batch axis if ``single``."""
    y, positions = (squeeze(x, 0) if single and x is not None else x for x in pooled)
    assert y is not None
    return y if positions is None else (y, positions)


def maxima(attrs: MaxPoolAttrs, x: AbstractTensor, positions: bool) -> Maxima:
    """The maxima of the windows of images, and their positions if wanted."""
    y, index = apply_all(MAX_POOL, attrs, x)
    return y, apply(MAX_POOL_POSITIONS, MaxPoolGradAttrs(attrs, x.type.shape[2:]), index) if positions else None


def max_pool_attrs(
    kernel_size: object = 1, stride: object = 1, padding: object = 0, dilation: object = 1, ceil_mode: bool = False,
    pad_value: float = 0.0, op: str = "max_pool2d", axes: int = 2,
) -> MaxPoolAttrs:  # fmt: skip
    """The attributes for the arguments of a pooling over ``axes`` axes."""
    kernel = per_axis(op, "kernel_size", kernel_size, 1, axes)
    pads = per_axis(op, "padding", padding, 0, axes)
    pad_value = number(op, "pad_value", pad_value)
    return MaxPoolAttrs(
        kernel,
        strides(op, stride, kernel),
        pads * 2,
        per_axis(op, "dilation", dilation, 1, axes),
        bool(ceil_mode),
        float(pad_value),
    )
