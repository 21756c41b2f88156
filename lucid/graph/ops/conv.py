"""Two-dimensional convolution, its two gradients (closed under differentiation), and transposed convolution."""

from __future__ import annotations

from dataclasses import replace

from ...base.checks import Pair, integer, pair, shown
from ...errors import DTypeError, OptionError, ShapeError
from ..dims import Dim
from ..opdef import AbstractTensor, Attrs, GradContext, Gradients, OpDef, apply, attributes, register
from ..types import Shape, TensorType, format_shape, is_float
from ..windows import Window
from .pad import pad
from .pool import image_batch
from .shape import reshape, squeeze
from .windows import HEIGHT_AND_WIDTH, Numbers, check_numbers, check_rank, count_windows, windows_along


@attributes
class ConvAttrs(Attrs):
    """How the windows lie, with a number for each axis of the image.

    ``padding`` is what stands before each axis, then what stands after: (top, left, bottom, right). Where it is
    ``exact``, nothing that rounds otherwise than a plain sum of products runs it.
    """

    stride: Numbers = (1, 1)
    padding: Numbers = (0, 0, 0, 0)
    dilation: Numbers = (1, 1)
    groups: int = 1
    exact: bool = False


@attributes
class OfConvAttrs(Attrs):
    """What is asked about a convolution."""

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
    """Transposed convolution; ``output_padding``, less than the stride, stands after each axis."""

    output_padding: Numbers = (0, 0)


def _windows(op: str, a: ConvAttrs, kernel: Numbers) -> tuple[Window, ...]:
    integer(op, "groups", a.groups)
    return windows_along(op, len(kernel), kernel, a.stride, a.padding, a.dilation)


def _check_types(op: str, x: TensorType, w: TensorType) -> None:
    if x.rank != 4 or w.rank != 4:
        raise ShapeError(f"{op}: needs an image batch (N, C, H, W) and a weight of rank 4, got {x} and {w}")
    if x.dtype != w.dtype or not is_float(x.dtype):
        raise DTypeError(f"{op}: needs input and weight of one floating-point type, got {x} and {w}")


def _kernel(op: str, w: TensorType) -> Numbers:
    """The size of the kernel, which is a number along each axis."""
    sizes = tuple(k for k in w.shape[2:] if isinstance(k, int) and k > 0)
    if len(sizes) != w.rank - 2:
        raise ShapeError(f"{op}: the kernel of the weight {w} must have a positive size")
    return sizes


def _check_groups(op: str, channels: Dim, outputs: Dim, groups: int) -> None:
    if isinstance(channels, int) and isinstance(outputs, int) and (channels % groups or outputs % groups):
        raise ShapeError(f"{op}: {groups} groups do not divide {channels} input and {outputs} output channels")


def conv_output(attrs: ConvAttrs, x: TensorType, w: TensorType) -> TensorType:
    """Type of ``conv2d(x, w)``; raises where they do not fit."""
    _check_types("conv2d", x, w)
    windows = _windows("conv2d", attrs, _kernel("conv2d", w))
    _check_groups("conv2d", x.shape[1], w.shape[0], attrs.groups)
    if x.shape[1] != w.shape[1] * attrs.groups:
        raise ShapeError(
            f"conv2d: the input {format_shape(x.shape)} has {x.shape[1]} channels, the weight {format_shape(w.shape)} "
            f"with groups={attrs.groups} takes {w.shape[1] * attrs.groups}"
        )
    if w.shape[0] == 0:
        raise ShapeError(f"conv2d: the weight {w} must have at least one output channel")
    return x.with_shape((x.shape[0], w.shape[0], *count_windows("conv2d", x, windows)))


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
    """Size of the transposed convolution's output."""
    windows = _windows(op, attrs.conv, _kernel(op, w))
    check_numbers(op, "output_padding", attrs.output_padding, len(windows), 0)
    along = zip(x.shape[2:], windows, attrs.output_padding, strict=True)
    return tuple((size - 1) * w.stride + w.extent - w.before - w.after + more for size, w, more in along)


def _transpose_infer(
    attrs: ConvTransposeAttrs, x: TensorType, w: TensorType, b: TensorType | None = None
) -> TensorType:
    op = "conv_transpose2d"
    _check_types(op, x, w)
    if x.shape[1] != w.shape[0]:
        raise ShapeError(
            f"{op}: the input {format_shape(x.shape)} has {x.shape[1]} channels, the weight {format_shape(w.shape)} "
            f"takes {w.shape[0]}"
        )
    size = _transposed_size(op, attrs, x, w)
    if any(more >= stride for more, stride in zip(attrs.output_padding, attrs.conv.stride, strict=True)):
        raise OptionError(
            f"{op}: output_padding {attrs.output_padding} must be smaller than the stride {attrs.conv.stride}"
        )
    if any(isinstance(dim, int) and dim < 1 for dim in size):
        made = " x ".join(map(str, size))
        raise ShapeError(f"{op}: the output of {x} with the weight {w} would be {made}; use less padding")
    if b is not None:
        check_bias(op, b, w.shape[1] * attrs.conv.groups, x)
    return _input_infer(ConvInputAttrs(attrs.conv, size), x, w)


def _transpose_decompose(
    attrs: ConvTransposeAttrs, x: AbstractTensor, w: AbstractTensor, b: AbstractTensor | None = None
) -> AbstractTensor:
    y = _grad_input(attrs.conv, x, w, _transposed_size("conv_transpose2d", attrs, x.type, w.type))
    return y if b is None else y + _along_channels(b, y)


def _along_channels(bias: AbstractTensor, like: AbstractTensor) -> AbstractTensor:
    return reshape(bias, 1, -1, *(1,) * (like.type.rank - 2))


CONV = register(
    OpDef(
        "Conv2d", _conv_infer, _conv_gradient, attrs=ConvAttrs, inputs=("x", "weight", "bias?"),
        convolution=True, windowed=True, channels_last=True, family="conv",
    )
)  # fmt: skip
#: Gradient of a convolution with respect to its input.
CONV_GRAD_INPUT = register(
    OpDef(
        "Conv2dGradInput", _input_infer, _input_gradient, attrs=ConvInputAttrs, inputs=("dy", "weight"),
        outputs=("dx",), windowed=True, channels_last=True, family="gradient",
    )
)  # fmt: skip
#: Gradient of a convolution with respect to its weight.
CONV_GRAD_WEIGHT = register(
    OpDef(
        "Conv2dGradWeight", _weight_infer, _weight_gradient, attrs=ConvWeightAttrs, inputs=("x", "dy"),
        outputs=("dw",), windowed=True, family="gradient",
    )
)  # fmt: skip
#: The input gradient of a convolution as an operation of its own; ``weight`` is (C_in, C_out / groups, kh, kw).
CONV_TRANSPOSE = register(
    OpDef(
        "ConvTranspose2d", _transpose_infer, None, _transpose_decompose, attrs=ConvTransposeAttrs,
        inputs=("x", "weight", "bias?"), windowed=True, channels_last=True, family="conv",
    )
)  # fmt: skip


def _padding(op: str, padding: object, stride: Pair, dilation: Pair, kernel: Shape) -> Numbers:
    if isinstance(padding, str):
        if padding == "valid":
            return (0,) * 2 * len(kernel)
        if padding != "same":
            raise OptionError(f'{op}: padding is a number, "same" or "valid", got {shown(padding)}')
        if stride != (1, 1):
            raise OptionError(f'{op}: padding="same" needs stride 1, got {stride}; give the padding as numbers')
        sizes = [k for k in kernel if isinstance(k, int)]
        if len(sizes) < len(kernel):
            raise ShapeError(f'{op}: padding="same" needs a kernel of known size, got {format_shape(kernel)}')
        total = [d * (k - 1) for d, k in zip(dilation, sizes, strict=True)]
        return (*(t // 2 for t in total), *(t - t // 2 for t in total))
    if isinstance(padding, tuple | list) and len(padding) == 2 * len(kernel):
        return tuple(integer(op, "padding", p, 0) for p in padding)
    return pair(op, "padding", padding, 0) * 2


def conv_attrs(
    op: str, weight: TensorType, stride: object = 1, padding: object = 0, dilation: object = 1, groups: object = 1
) -> ConvAttrs:
    """The attributes that a convolution's arguments stand for."""
    if weight.rank != 4:
        raise ShapeError(f"{op}: the weight must have rank 4, got {weight}")
    strides, dilations = pair(op, "stride", stride, 1), pair(op, "dilation", dilation, 1)
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
        The channels fall into so many groups, each convolved on its own.

    Returns
    -------
    Shape (N, K, H_out, W_out), H_out = floor((H + top + bottom - dilation (kh - 1) - 1) / stride) + 1.
    """
    x, single = image_batch("conv2d", x)
    attrs = conv_attrs("conv2d", weight.type, stride, padding, dilation, groups)
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
        Those of the convolution whose input gradient this is.
    output_padding
        Rows and columns added at the bottom and right, fewer than the stride or the dilation.

    Returns
    -------
    Shape (N, K, H_out, W_out), H_out = (H - 1) stride - 2 padding + dilation (kh - 1) + output_padding + 1.
    """
    op = "conv_transpose2d"
    x, single = image_batch(op, x)
    if isinstance(padding, str):
        raise OptionError(f"{op}: padding must be a number, got {shown(padding)}")
    conv = conv_attrs(op, weight.type, stride, padding, dilation, groups)
    attrs, beyond = _transpose_attrs(conv, pair(op, "output_padding", output_padding, 0))
    if any(beyond):  # rows and columns that no window reaches
        y = pad(apply(CONV_TRANSPOSE, attrs, x, weight), (0, beyond[1], 0, beyond[0]))
        if bias is not None:
            check_bias(op, bias.type, y.type.shape[1], y.type)
            y = y + _along_channels(bias, y)
    else:
        y = apply(CONV_TRANSPOSE, attrs, *((x, weight) if bias is None else (x, weight, bias)))
    return squeeze(y, 0) if single else y


def _transpose_attrs(conv: ConvAttrs, output_padding: Numbers) -> tuple[ConvTransposeAttrs, Numbers]:
    """The attributes, and how many more zeros stand at the end of each axis.

    A stride less one can be left over of the input of a convolution. What ``output_padding`` asks for beyond that
    is first what the padding at the bottom and right had taken away.
    """
    pads, left, beyond = list(conv.padding), [], []
    axes = len(output_padding)
    for axis, (more, stride, dilation) in enumerate(zip(output_padding, conv.stride, conv.dilation, strict=True)):
        if more >= max(stride, dilation):
            raise OptionError(
                f"conv_transpose2d: output_padding {output_padding} must be smaller than the stride {conv.stride} "
                f"or the dilation {conv.dilation}"
            )
        left.append(min(more, stride - 1))
        given_back = min(more - left[-1], pads[axes + axis])
        pads[axes + axis] -= given_back
        beyond.append(more - left[-1] - given_back)
    return ConvTransposeAttrs(replace(conv, padding=tuple(pads)), tuple(left)), tuple(beyond)
