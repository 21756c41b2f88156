"""Two-dimensional convolution, its two gradients (closed under differentiation), and transposed convolution."""

from __future__ import annotations

from dataclasses import replace

from ...base.checks import integer, per_axis, shown
from ...errors import DTypeError, OptionError, ShapeError
from ..batching import Batch, Outputs, apply_merged
from ..dims import Dim
from ..opdef import AbstractTensor, Attrs, GradContext, Gradients, OpDef, apply, attributes, register
from ..types import Shape, TensorType, format_shape, is_float
from ..windows import Window
from .pad import pad
from .shape import reshape, squeeze
from .windows import (
    AXES,
    HEIGHT_AND_WIDTH,
    Numbers,
    check_numbers,
    check_rank,
    count_windows,
    image_batch,
    windows_along,
)


@attributes
class ConvAttrs(Attrs):
    """The windows of a convolution, with a number for each axis of the image.

    ``padding`` lists the zeros before each axis, then those after each: (top, left, bottom, right). If ``exact``, only
    kernels may run it that round as a plain sum of products does, which rules out Winograd's method.
    """

    stride: Numbers = (1, 1)
    padding: Numbers = (0, 0, 0, 0)
    dilation: Numbers = (1, 1)
    groups: int = 1
    exact: bool = False


@attributes
class OfConvAttrs(Attrs):
    """Attributes of an op that belongs to a convolution, such as its gradients."""

    conv: ConvAttrs


@attributes
class ConvInputAttrs(OfConvAttrs):
    """A convolution and the size of its input."""

    size: Shape

    joined = HEIGHT_AND_WIDTH


@attributes
class ConvWeightAttrs(OfConvAttrs):
    """A convolution and the size of its kernel."""

    kernel: Numbers


@attributes
class ConvTransposeAttrs(OfConvAttrs):
    """Transposed convolution; ``output_padding``, less than the stride, is added at the end of each axis."""

    output_padding: Numbers = (0, 0)


def _windows(op: str, a: ConvAttrs, kernel: Numbers) -> tuple[Window, ...]:
    integer(op, "groups", a.groups)
    return windows_along(op, len(kernel), kernel, a.stride, a.padding, a.dilation)


def _check_types(op: str, x: TensorType, w: TensorType, axes: int = 2) -> None:
    rank = axes + 2
    if x.rank != rank or w.rank != rank:
        raise ShapeError(f"{op}: needs an image batch {AXES[axes]} and a weight of rank {rank}, got {x} and {w}")
    if x.dtype != w.dtype or not is_float(x.dtype):
        raise DTypeError(f"{op}: needs input and weight of one floating-point type, got {x} and {w}")


def _kernel(op: str, w: TensorType) -> Numbers:
    """The size of the kernel along each axis; raises unless all are known and positive."""
    sizes = tuple(k for k in w.shape[2:] if isinstance(k, int) and k > 0)
    if len(sizes) != w.rank - 2:
        raise ShapeError(f"{op}: the kernel of the weight {w} must have a positive size")
    return sizes


def _check_groups(op: str, channels: Dim, outputs: Dim, groups: int) -> None:
    if isinstance(channels, int) and isinstance(outputs, int) and (channels % groups or outputs % groups):
        raise ShapeError(f"{op}: {groups} groups do not divide {channels} input and {outputs} output channels")


def conv_output(attrs: ConvAttrs, x: TensorType, w: TensorType, axes: int = 2) -> TensorType:
    """The result type of a convolution of images with ``axes`` axes; raises if input and weight do not match."""
    op = f"conv{axes}d"
    _check_types(op, x, w, axes)
    windows = _windows(op, attrs, _kernel(op, w))
    _check_groups(op, x.shape[1], w.shape[0], attrs.groups)
    if x.shape[1] != w.shape[1] * attrs.groups:
        raise ShapeError(
            f"{op}: the input {format_shape(x.shape)} has {x.shape[1]} channels, the weight {format_shape(w.shape)} "
            f"with groups={attrs.groups} takes {w.shape[1] * attrs.groups}",
            unequal=(x.shape[1:2], [w.shape[1] * attrs.groups]),
        )
    if w.shape[0] == 0:
        raise ShapeError(f"{op}: the weight {w} must have at least one output channel")
    return x.with_shape((x.shape[0], w.shape[0], *count_windows(op, x, windows)))


def check_bias(op: str, bias: TensorType, outputs: Dim, like: TensorType) -> None:
    if bias.shape != (outputs,) or bias.dtype != like.dtype:
        raise ShapeError(f"{op}: the bias must be {like.dtype.name}[{outputs}], got {bias}")


def _conv_infer(attrs: ConvAttrs, x: TensorType, w: TensorType, b: TensorType | None = None) -> TensorType:
    y = conv_output(attrs, x, w)
    if b is not None:
        check_bias("conv2d", b, w.shape[0], x)
    return y


def _input_infer(attrs: ConvInputAttrs, dy: TensorType, w: TensorType) -> TensorType:
    _check_types("Conv2dGradInput", dy, w)
    x = dy.with_shape((dy.shape[0], w.shape[1] * attrs.conv.groups, *attrs.size))
    y = conv_output(attrs.conv, x, w)
    if y.shape != dy.shape:
        raise ShapeError(f"Conv2dGradInput: needs a gradient of shape {format_shape(y.shape)}, got {dy}")
    return x


def _weight_infer(attrs: ConvWeightAttrs, x: TensorType, dy: TensorType) -> TensorType:
    check_rank("Conv2dGradWeight", dy)
    _check_types("Conv2dGradWeight", x, dy)
    _check_groups("Conv2dGradWeight", x.shape[1], dy.shape[1], attrs.conv.groups)
    w = x.with_shape((dy.shape[1], x.shape[1] // attrs.conv.groups, *attrs.kernel))
    y = conv_output(attrs.conv, x, w)
    if y.shape != dy.shape:
        raise ShapeError(f"Conv2dGradWeight: needs a gradient of shape {format_shape(y.shape)}, got {dy}")
    return w


def _grad_input(conv: ConvAttrs, dy: AbstractTensor, w: AbstractTensor, size: Shape) -> AbstractTensor:
    return apply(CONV_GRAD_INPUT, ConvInputAttrs(conv, size), dy, w)


def _grad_weight(conv: ConvAttrs, x: AbstractTensor, dy: AbstractTensor, kernel: Shape) -> AbstractTensor:
    return apply(CONV_GRAD_WEIGHT, ConvWeightAttrs(conv, kernel), x, dy)  # type: ignore[arg-type]  # of any size


def _conv_gradient(c: GradContext[ConvAttrs]) -> Gradients:
    x, w = c.inputs[:2]
    gradients = [
        _grad_input(c.attrs, c.dy, w, x.type.shape[2:]) if c.wanted[0] else None,
        _grad_weight(c.attrs, x, c.dy, w.type.shape[2:]) if c.wanted[1] else None,
    ]
    if len(c.inputs) == 3:
        gradients.append(c.dy.sum((0, *range(2, x.type.rank))) if c.wanted[2] else None)
    return gradients


def _input_gradient(c: GradContext[ConvInputAttrs]) -> Gradients:
    dy, w = c.inputs
    return [
        apply(CONV, c.attrs.conv, c.dy, w) if c.wanted[0] else None,
        _grad_weight(c.attrs.conv, c.dy, dy, w.type.shape[2:]) if c.wanted[1] else None,
    ]


def _weight_gradient(c: GradContext[ConvWeightAttrs]) -> Gradients:
    x, dy = c.inputs
    return [
        _grad_input(c.attrs.conv, dy, c.dy, x.type.shape[2:]) if c.wanted[0] else None,
        apply(CONV, c.attrs.conv, x, c.dy) if c.wanted[1] else None,
    ]


def _transposed_size(op: str, attrs: ConvTransposeAttrs, x: TensorType, w: TensorType) -> Shape:
    """The size of the images that a transposed convolution returns."""
    windows = _windows(op, attrs.conv, _kernel(op, w))
    check_numbers(op, "output_padding", attrs.output_padding, len(windows), 0)
    along = zip(x.shape[2:], windows, attrs.output_padding, strict=True)
    return tuple((size - 1) * w.stride + w.extent - w.before - w.after + more for size, w, more in along)


def _transpose_infer(
    attrs: ConvTransposeAttrs, x: TensorType, w: TensorType, b: TensorType | None = None
) -> TensorType:
    return transposed_output(attrs, x, w, b)


def transposed_output(
    attrs: ConvTransposeAttrs, x: TensorType, w: TensorType, b: TensorType | None, axes: int = 2
) -> TensorType:
    """The result type of a transposed convolution of images with ``axes`` axes; raises if the operands do not match."""
    op = f"conv_transpose{axes}d"
    _check_types(op, x, w, axes)
    if x.shape[1] != w.shape[0]:
        raise ShapeError(
            f"{op}: the input {format_shape(x.shape)} has {x.shape[1]} channels, the weight {format_shape(w.shape)} "
            f"takes {w.shape[0]}",
            unequal=(x.shape[1:2], w.shape[:1]),
        )
    size = _transposed_size(op, attrs, x, w)
    if any(more >= stride for more, stride in zip(attrs.output_padding, attrs.conv.stride, strict=True)):
        raise OptionError(
            f"{op}: output_padding {attrs.output_padding} must be smaller than the stride {attrs.conv.stride}"
        )
    if any(isinstance(dim, int) and dim < 1 for dim in size):
        given = " x ".join(map(str, size))
        raise ShapeError(f"{op}: the output of {x} with the weight {w} would be {given}; use less padding")
    if b is not None:
        check_bias(op, b, w.shape[1] * attrs.conv.groups, x)
    y = x.with_shape((x.shape[0], w.shape[1] * attrs.conv.groups, *size))
    conv_output(attrs.conv, y, w, axes)
    return y


def _transpose_decompose(
    attrs: ConvTransposeAttrs, x: AbstractTensor, w: AbstractTensor, b: AbstractTensor | None = None
) -> AbstractTensor:
    y = _grad_input(attrs.conv, x, w, _transposed_size("conv_transpose2d", attrs, x.type, w.type))
    return y if b is None else y + along_channels(b, y)


def _more_groups(conv: ConvAttrs, by: Dim) -> ConvAttrs | None:
    """The convolution of several rows, their channels side by side; None where that is no number of groups."""
    return replace(conv, groups=conv.groups * by) if isinstance(by, int) and by else None


def _conv_batch(batch: Batch[ConvAttrs]) -> Outputs | None:
    """One larger batch of images; with a weight for each row, more groups of channels."""
    rest = len(batch.inputs) - 1
    if not any(batch.batched[1:]):
        return apply_merged(batch, (0, *(None,) * rest), (0,))
    grouped = _more_groups(batch.attrs, batch.size)
    return None if grouped is None else apply_merged(batch, (1, *(0,) * rest), (1,), grouped)


def _input_batch(batch: Batch[ConvInputAttrs]) -> Outputs | None:
    if not batch.batched[1]:
        return apply_merged(batch, (0, None), (0,))
    grouped = _more_groups(batch.attrs.conv, batch.size)
    return None if grouped is None else apply_merged(batch, (1, 0), (1,), replace(batch.attrs, conv=grouped))


def _weight_batch(batch: Batch[ConvWeightAttrs]) -> Outputs | None:
    grouped = _more_groups(batch.attrs.conv, batch.size)
    return None if grouped is None else apply_merged(batch, (1, 1), (0,), replace(batch.attrs, conv=grouped))


def along_channels(bias: AbstractTensor, like: AbstractTensor) -> AbstractTensor:
    """A bias reshaped so that it broadcasts along the channels of images."""
    return reshape(bias, 1, -1, *(1,) * (like.type.rank - 2))


CONV = register(
    OpDef(
        "Conv2d", _conv_infer, _conv_gradient, attrs=ConvAttrs, inputs=("x", "weight", "bias?"),
        batch=_conv_batch, convolution=True, windowed=True, channels_last=True, family="conv",
    )
)  # fmt: skip
#: Gradient of a convolution with respect to its input.
CONV_GRAD_INPUT = register(
    OpDef(
        "Conv2dGradInput", _input_infer, _input_gradient, attrs=ConvInputAttrs, inputs=("dy", "weight"),
        outputs=("dx",), batch=_input_batch, windowed=True, channels_last=True, family="gradient",
    )
)  # fmt: skip
#: Gradient of a convolution with respect to its weight.
CONV_GRAD_WEIGHT = register(
    OpDef(
        "Conv2dGradWeight", _weight_infer, _weight_gradient, attrs=ConvWeightAttrs, inputs=("x", "dy"),
        outputs=("dw",), batch=_weight_batch, windowed=True, family="gradient",
    )
)  # fmt: skip
#: The input gradient of a convolution as an operation of its own; ``weight`` is (C_in, C_out / groups, kh, kw).
CONV_TRANSPOSE = register(
    OpDef(
        "ConvTranspose2d", _transpose_infer, None, _transpose_decompose, attrs=ConvTransposeAttrs,
        inputs=("x", "weight", "bias?"), windowed=True, channels_last=True, family="conv",
    )
)  # fmt: skip


def _padding(op: str, padding: object, stride: Numbers, dilation: Numbers, kernel: Shape) -> Numbers:
    if isinstance(padding, str):
        if padding == "valid":
            return (0,) * 2 * len(kernel)
        if padding != "same":
            raise OptionError(f'{op}: padding is a number, "same" or "valid", got {shown(padding)}')
        if any(step != 1 for step in stride):
            raise OptionError(f'{op}: padding="same" needs stride 1, got {stride}; give the padding as numbers')
        sizes = [k for k in kernel if isinstance(k, int)]
        if len(sizes) < len(kernel):
            raise ShapeError(f'{op}: padding="same" needs a kernel of known size, got {format_shape(kernel)}')
        total = [d * (k - 1) for d, k in zip(dilation, sizes, strict=True)]
        return (*(t // 2 for t in total), *(t - t // 2 for t in total))
    axes = len(kernel)
    if isinstance(padding, tuple | list) and len(padding) == 2 * axes:
        return tuple(integer(op, "padding", p, 0) for p in padding)
    return per_axis(op, "padding", padding, 0, axes) * 2


def conv_attrs(
    op: str, axes: int, weight: TensorType, stride: object, padding: object, dilation: object, groups: object
) -> ConvAttrs:
    """The attributes for the arguments of a convolution over ``axes`` axes."""
    if weight.rank != axes + 2:
        raise ShapeError(f"{op}: the weight must have rank {axes + 2}, got {weight}")
    strides, dilations = per_axis(op, "stride", stride, 1, axes), per_axis(op, "dilation", dilation, 1, axes)
    pads = _padding(op, padding, strides, dilations, weight.shape[2:])
    return ConvAttrs(strides, pads, dilations, integer(op, "groups", groups, 1))


def conv2d(
    x: AbstractTensor,
    weight: AbstractTensor,
    bias: AbstractTensor | None = None,
    stride: object = 1,
    padding: object = 0,
    dilation: object = 1,
    groups: int = 1,
) -> AbstractTensor:
    """Two-dimensional cross-correlation, as ``torch.nn.functional.conv2d``.

    Parameters
    ----------
    x
        Shape (N, C, H, W) or (C, H, W).
    weight
        Shape (K, C / groups, kh, kw), of the dtype of ``x``.
    bias
        Shape (K,), or None.
    stride, dilation
        An int, or two (vertical, horizontal).
    padding
        Zeros around the input: an int, two (vertical, horizontal), four (top, left, bottom, right), "valid" or "same".
    groups
        The number of groups of channels, each convolved separately.

    Returns
    -------
    Shape (N, K, H_out, W_out), H_out = floor((H + top + bottom - dilation (kh - 1) - 1) / stride) + 1.
    """
    x, single = image_batch("conv2d", x)
    attrs = conv_attrs("conv2d", 2, weight.type, stride, padding, dilation, groups)
    y = apply(CONV, attrs, *((x, weight) if bias is None else (x, weight, bias)))
    return squeeze(y, 0) if single else y


def conv_transpose2d(
    x: AbstractTensor,
    weight: AbstractTensor,
    bias: AbstractTensor | None = None,
    stride: object = 1,
    padding: object = 0,
    output_padding: object = 0,
    groups: int = 1,
    dilation: object = 1,
) -> AbstractTensor:
    """Transposed convolution, as ``torch.nn.functional.conv_transpose2d``.

    Parameters
    ----------
    x
        Shape (N, C, H, W) or (C, H, W).
    weight
        Shape (C, K / groups, kh, kw).
    bias
        Shape (K,), or None.
    stride, padding, dilation, groups
        Those of the convolution of which this is the input gradient.
    output_padding
        Rows and columns added at the bottom and right, fewer than the stride or the dilation.

    Returns
    -------
    Shape (N, K, H_out, W_out), H_out = (H - 1) stride - 2 padding + dilation (kh - 1) + output_padding + 1.
    """
    x, single = image_batch("conv_transpose2d", x)
    attrs, beyond = transpose_attrs(2, weight.type, stride, padding, output_padding, groups, dilation)
    y = apply(CONV_TRANSPOSE, attrs, *((x, weight) if bias is None or any(beyond) else (x, weight, bias)))
    y = with_rest(y, beyond, bias)
    return squeeze(y, 0) if single else y


def with_rest(y: AbstractTensor, beyond: Numbers, bias: AbstractTensor | None) -> AbstractTensor:
    """Append ``beyond`` zeros to each axis of a transposed convolution, where no window reaches; then add the bias."""
    if not any(beyond):
        return y
    y = pad(y, [amount for more in reversed(beyond) for amount in (0, more)])
    if bias is None:
        return y
    check_bias(f"conv_transpose{len(beyond)}d", bias.type, y.type.shape[1], y.type)
    return y + along_channels(bias, y)


def transpose_attrs(
    axes: int, weight: TensorType, stride: object, padding: object, output_padding: object, groups: object,
    dilation: object,
) -> tuple[ConvTransposeAttrs, Numbers]:  # fmt: skip
    """The attributes of a transposed convolution, and how many zeros to add at the end of each axis afterwards.

    A convolution can leave over at most ``stride - 1`` elements at the end of its input, so the op can only produce so
    much output padding. Any more first undoes the padding at the end of the axis; the rest are zeros.
    """
    op = f"conv_transpose{axes}d"
    if isinstance(padding, str):
        raise OptionError(f"{op}: padding must be a number, got {shown(padding)}")
    conv = conv_attrs(op, axes, weight, stride, padding, dilation, groups)
    asked = per_axis(op, "output_padding", output_padding, 0, axes)
    pads, left, beyond = list(conv.padding), [], []
    for axis, (more, step, apart) in enumerate(zip(asked, conv.stride, conv.dilation, strict=True)):
        if more >= max(step, apart):
            raise OptionError(
                f"{op}: output_padding {asked} must be smaller than the stride {conv.stride} "
                f"or the dilation {conv.dilation}"
            )
        left.append(min(more, step - 1))
        given_back = min(more - left[-1], pads[axes + axis])
        pads[axes + axis] -= given_back
        beyond.append(more - left[-1] - given_back)
    return ConvTransposeAttrs(replace(conv, padding=tuple(pads)), tuple(left)), tuple(beyond)
