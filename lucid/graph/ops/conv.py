"""Two-dimensional convolution, its two gradients (closed under differentiation), and transposed convolution."""

from __future__ import annotations

from dataclasses import replace

from ...base.checks import shown
from ...errors import DTypeError, OptionError, ShapeError
from ..dims import Dim
from ..opdef import AbstractTensor, Attrs, GradContext, Gradients, OpDef, apply, attributes, register
from ..types import Shape, TensorType, format_shape, is_float
from .pad import pad
from .pool import image_batch
from .shape import reshape, squeeze
from .windows import Pads, Pair, check_rank, count_windows, pair, whole


@attributes
class ConvAttrs(Attrs):
    """How the windows lie; ``padding`` is (top, left, bottom, right)."""

    stride: Pair = (1, 1)
    padding: Pads = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1


@attributes
class OfConvAttrs(Attrs):
    """What is asked about a convolution."""

    conv: ConvAttrs


@attributes
class ConvInputAttrs(OfConvAttrs):
    """A convolution and the height and width of its input."""

    height: Dim
    width: Dim


@attributes
class ConvWeightAttrs(OfConvAttrs):
    """A convolution and the height and width of its kernel."""

    kernel: Pair


@attributes
class ConvTransposeAttrs(OfConvAttrs):
    """Transposed convolution; ``output_padding``, less than the stride, is (bottom, right)."""

    output_padding: Pair = (0, 0)


def _check_attrs(a: ConvAttrs) -> None:
    if min(*a.stride, *a.dilation, a.groups) < 1 or min(a.padding) < 0:
        raise OptionError(f"conv2d: no such convolution: {a}")


def _check_types(op: str, x: TensorType, w: TensorType) -> None:
    if x.rank != 4 or w.rank != 4:
        raise ShapeError(f"{op}: needs an image batch (N, C, H, W) and a weight of rank 4, got {x} and {w}")
    if x.dtype != w.dtype or not is_float(x.dtype):
        raise DTypeError(f"{op}: needs input and weight of one floating-point type, got {x} and {w}")


def _check_groups(op: str, channels: Dim, outputs: Dim, groups: int) -> None:
    if isinstance(channels, int) and isinstance(outputs, int) and (channels % groups or outputs % groups):
        raise ShapeError(f"{op}: {groups} groups do not divide {channels} input and {outputs} output channels")


def conv_output(attrs: ConvAttrs, x: TensorType, w: TensorType) -> TensorType:
    """Type of ``conv2d(x, w)``; raises where they do not fit."""
    _check_attrs(attrs)
    _check_types("conv2d", x, w)
    _check_groups("conv2d", x.shape[1], w.shape[0], attrs.groups)
    if x.shape[1] != w.shape[1] * attrs.groups:
        raise ShapeError(
            f"conv2d: the input {format_shape(x.shape)} has {x.shape[1]} channels, the weight {format_shape(w.shape)} "
            f"with groups={attrs.groups} takes {w.shape[1] * attrs.groups}"
        )
    if w.shape[0] == 0:
        raise ShapeError(f"conv2d: the weight {w} must have at least one output channel")
    if not all(isinstance(k, int) and k > 0 for k in w.shape[2:]):
        raise ShapeError(f"conv2d: the kernel of the weight {w} must have a positive size")
    counts = count_windows("conv2d", x, w.shape[2:], attrs.stride, attrs.padding, attrs.dilation)  # type: ignore[arg-type]
    return x.with_shape((x.shape[0], w.shape[0], *counts))


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
    x = dy.with_shape((dy.shape[0], w.shape[1] * attrs.conv.groups, attrs.height, attrs.width))
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


def _grad_input(conv: ConvAttrs, dy: AbstractTensor, w: AbstractTensor, height: Dim, width: Dim) -> AbstractTensor:
    return apply(CONV_GRAD_INPUT, ConvInputAttrs(conv, height, width), dy, w)


def _grad_weight(conv: ConvAttrs, x: AbstractTensor, dy: AbstractTensor, kernel: Shape) -> AbstractTensor:
    return apply(CONV_GRAD_WEIGHT, ConvWeightAttrs(conv, kernel), x, dy)  # type: ignore[arg-type]  # two, of any size


def _conv_gradient(c: GradContext[ConvAttrs]) -> Gradients:
    x, w = c.inputs[:2]
    gradients = [
        _grad_input(c.attrs, c.dy, w, *x.type.shape[2:]) if c.wanted[0] else None,
        _grad_weight(c.attrs, x, c.dy, w.type.shape[2:]) if c.wanted[1] else None,
    ]
    if len(c.inputs) == 3:
        gradients.append(c.dy.sum((0, 2, 3)) if c.wanted[2] else None)
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
        _grad_input(c.attrs.conv, dy, c.dy, *x.type.shape[2:]) if c.wanted[0] else None,
        apply(CONV, c.attrs.conv, x, c.dy) if c.wanted[1] else None,
    ]


def _transpose_input_size(attrs: ConvTransposeAttrs, x: TensorType, w: TensorType) -> tuple[Dim, Dim]:
    """Height and width of the transposed convolution's output."""
    conv, sizes = attrs.conv, []
    for axis in (0, 1):
        extent = conv.dilation[axis] * (w.shape[2 + axis] - 1) + 1
        pads = conv.padding[axis] + conv.padding[2 + axis]
        sizes.append((x.shape[2 + axis] - 1) * conv.stride[axis] - pads + extent + attrs.output_padding[axis])
    return sizes[0], sizes[1]


def _transpose_infer(
    attrs: ConvTransposeAttrs, x: TensorType, w: TensorType, b: TensorType | None = None
) -> TensorType:
    op = "conv_transpose2d"
    _check_attrs(attrs.conv)
    _check_types(op, x, w)
    if x.shape[1] != w.shape[0]:
        raise ShapeError(
            f"{op}: the input {format_shape(x.shape)} has {x.shape[1]} channels, the weight {format_shape(w.shape)} "
            f"takes {w.shape[0]}"
        )
    if any(not 0 <= more < stride for more, stride in zip(attrs.output_padding, attrs.conv.stride, strict=True)):
        raise OptionError(
            f"{op}: output_padding {attrs.output_padding} must be smaller than the stride {attrs.conv.stride}"
        )
    height, width = _transpose_input_size(attrs, x, w)
    if any(isinstance(size, int) and size < 1 for size in (height, width)):
        raise ShapeError(f"{op}: the output of {x} with the weight {w} would be {height} x {width}; use less padding")
    if b is not None:
        check_bias(op, b, w.shape[1] * attrs.conv.groups, x)
    return _input_infer(ConvInputAttrs(attrs.conv, height, width), x, w)


def _transpose_decompose(
    attrs: ConvTransposeAttrs, x: AbstractTensor, w: AbstractTensor, b: AbstractTensor | None = None
) -> AbstractTensor:
    y = _grad_input(attrs.conv, x, w, *_transpose_input_size(attrs, x.type, w.type))
    return y if b is None else y + reshape(b, 1, -1, 1, 1)


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


def _padding(op: str, padding: object, stride: Pair, dilation: Pair, kernel: Shape) -> Pads:
    if isinstance(padding, str):
        if padding == "valid":
            return 0, 0, 0, 0
        if padding != "same":
            raise OptionError(f'{op}: padding is a number, "same" or "valid", got {shown(padding)}')
        if stride != (1, 1):
            raise OptionError(f'{op}: padding="same" needs stride 1, got {stride}; give the padding as numbers')
        sizes = [k for k in kernel if isinstance(k, int)]
        if len(sizes) < len(kernel):
            raise ShapeError(f'{op}: padding="same" needs a kernel of known size, got {format_shape(kernel)}')
        total = [d * (k - 1) for d, k in zip(dilation, sizes, strict=True)]
        top, left = total[0] // 2, total[1] // 2
        return top, left, total[0] - top, total[1] - left
    if isinstance(padding, tuple | list) and len(padding) == 4:
        top, left, bottom, right = (whole(op, "padding", p, 0) for p in padding)
        return top, left, bottom, right
    top, left = pair(op, "padding", padding, 0)
    return top, left, top, left


def conv_attrs(
    op: str, weight: TensorType, stride: object = 1, padding: object = 0, dilation: object = 1, groups: object = 1
) -> ConvAttrs:
    """The attributes that a convolution's arguments stand for."""
    if weight.rank != 4:
        raise ShapeError(f"{op}: the weight must have rank 4, got {weight}")
    strides, dilations = pair(op, "stride", stride, 1), pair(op, "dilation", dilation, 1)
    pads = _padding(op, padding, strides, dilations, weight.shape[2:])
    return ConvAttrs(strides, pads, dilations, whole(op, "groups", groups, 1))


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
            y = y + reshape(bias, 1, -1, 1, 1)
    else:
        y = apply(CONV_TRANSPOSE, attrs, *((x, weight) if bias is None else (x, weight, bias)))
    return squeeze(y, 0) if single else y


def _transpose_attrs(conv: ConvAttrs, output_padding: Pair) -> tuple[ConvTransposeAttrs, Pair]:
    """The attributes, and how many more rows and columns of zeros stand at the end.

    A stride less one can be left over of the input of a convolution. What ``output_padding`` asks for beyond that
    is first what the padding at the bottom and right had taken away.
    """
    pads, left, beyond = list(conv.padding), [], []
    for axis, (more, stride, dilation) in enumerate(zip(output_padding, conv.stride, conv.dilation, strict=True)):
        if more >= max(stride, dilation):
            raise OptionError(
                f"conv_transpose2d: output_padding {output_padding} must be smaller than the stride {conv.stride} "
                f"or the dilation {conv.dilation}"
            )
        left.append(min(more, stride - 1))
        given_back = min(more - left[-1], pads[2 + axis])
        pads[2 + axis] -= given_back
        beyond.append(more - left[-1] - given_back)
    top, left_side, bottom, right = pads
    attrs = ConvTransposeAttrs(replace(conv, padding=(top, left_side, bottom, right)), (left[0], left[1]))
    return attrs, (beyond[0], beyond[1])
