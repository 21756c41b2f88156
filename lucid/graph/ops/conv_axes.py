"""One- and three-dimensional convolutions, composed of two-dimensional ones.

A signal is an image of one row. A convolution of volumes is a sum, over the taps of its depth, of convolutions of
images, in which all the planes that a tap sees form a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

from ...errors import OptionError
from ..dims import Dim
from ..opdef import AbstractTensor, apply
from ..windows import Window
from .conv import (
    CONV,
    CONV_TRANSPOSE,
    ConvAttrs,
    ConvTransposeAttrs,
    along_channels,
    check_bias,
    conv_attrs,
    conv_output,
    transpose_attrs,
    transposed_output,
    with_rest,
)
from .pad import pad
from .shape import permute, reshape, squeeze, unsqueeze
from .slices import piece, take_slice
from .windows import called, image_batch, rely_on_something

MOST_PLANES = 1 << 10
"""The largest depth of a kernel, as each of its planes becomes nodes."""


def convolve(
    attrs: ConvAttrs, x: AbstractTensor, weight: AbstractTensor, bias: AbstractTensor | None = None
) -> AbstractTensor:
    """The convolution of images with one to three axes, as many as the attributes have strides."""
    axes = len(attrs.stride)
    y = conv_output(attrs, x.type, weight.type, axes)
    if bias is not None:
        check_bias(f"conv{axes}d", bias.type, y.shape[1], y)
    added = () if bias is None else (bias,)
    if axes == 2:
        return apply(CONV, attrs, x, weight, *added)
    if axes == 1:
        return squeeze(apply(CONV, _of_rows(attrs), unsqueeze(x, 2), unsqueeze(weight, 2), *added), 2)
    rely_on_something(x.type.shape[2], y.shape[2])
    depth, of_planes = _depth(attrs, weight), _of_planes(attrs)
    planes = permute(x, 2, 0, 1, 3, 4)
    if depth.before or depth.after:
        planes = pad(planes, (0,) * 8 + (depth.before, depth.after))
    count, batch = y.shape[2], planes.type.shape[1:]
    total: AbstractTensor | None = None
    for tap in _taps(depth, x.type.shape[2], count):
        seen = take_slice(
            planes, (tap * depth.dilation, 0, 0, 0, 0), (count, *batch), (depth.stride, 1, 1, 1, 1)
        )  # fmt: skip
        images = reshape(seen, (count * batch[0], *batch[1:]))
        part = apply(CONV, of_planes, images, _at_depth(weight, tap), *(added if total is None else ()))
        total = part if total is None else part + total
    assert total is not None
    return permute(reshape(total, (count, y.shape[0], y.shape[1], *y.shape[3:])), 1, 2, 0, 3, 4)


def _taps(depth: Window, size: Dim, count: Dim) -> Iterable[int]:
    """The taps along the depth that see any plane, each of which becomes nodes; if none does, one of them."""
    if not isinstance(size, int) or not isinstance(count, int):
        return _few("conv3d", range(depth.kernel))
    return _few("conv3d", depth.along(size, count).taps() or [0])


def _few(op: str, taps: Collection[int]) -> Iterable[int]:
    if len(taps) > MOST_PLANES:
        raise OptionError(f"{op}: a kernel is at most {MOST_PLANES:,} planes deep, got {len(taps)}")
    return taps


def convolve_transposed(
    attrs: ConvTransposeAttrs, x: AbstractTensor, weight: AbstractTensor, bias: AbstractTensor | None = None
) -> AbstractTensor:
    """The transposed convolution of images with one to three axes, as many as the attributes have strides."""
    axes = len(attrs.conv.stride)
    y = transposed_output(attrs, x.type, weight.type, None if bias is None else bias.type, axes)
    added = () if bias is None else (bias,)
    if axes == 2:
        return apply(CONV_TRANSPOSE, attrs, x, weight, *added)
    if axes == 1:
        of_rows = ConvTransposeAttrs(_of_rows(attrs.conv), (0, *attrs.output_padding))
        return squeeze(apply(CONV_TRANSPOSE, of_rows, unsqueeze(x, 2), unsqueeze(weight, 2), *added), 2)
    rely_on_something(x.type.shape[2], y.shape[2])
    depth = _depth(attrs.conv, weight)
    of_planes = ConvTransposeAttrs(_of_planes(attrs.conv), attrs.output_padding[1:])
    planes = permute(x, 2, 0, 1, 3, 4)
    count, batch = planes.type.shape[0], planes.type.shape[1:]
    images = reshape(planes, (count * batch[0], *batch[1:]))
    made = (y.shape[0], y.shape[1], *y.shape[3:])
    total: AbstractTensor | None = None
    for tap in _few("conv_transpose3d", range(depth.kernel)):
        part = apply(CONV_TRANSPOSE, of_planes, images, _at_depth(weight, tap))
        if depth.stride > 1:  # zeros between the planes
            apart = pad(reshape(part, (count, 1, *made)), (0,) * 8 + (0, depth.stride - 1))
            part = reshape(apart, (count * depth.stride, *made))
        else:
            part = reshape(part, (count, *made))
        first = tap * depth.dilation
        part = pad(part, (0,) * 8 + (first, depth.extent + attrs.output_padding[0] - depth.stride - first))
        total = part if total is None else part + total
    assert total is not None
    result = permute(piece(total, 0, depth.before, y.shape[2]), 1, 2, 0, 3, 4)
    return result if bias is None else result + along_channels(bias, result)


def _of_rows(attrs: ConvAttrs) -> ConvAttrs:
    """The convolution of images of one row that corresponds to that of signals."""
    before, after = attrs.padding
    return replace(
        attrs, stride=(1, *attrs.stride), padding=(0, before, 0, after), dilation=(1, *attrs.dilation)
    )  # fmt: skip


def _of_planes(attrs: ConvAttrs) -> ConvAttrs:
    """The convolution of volumes, reduced to height and width."""
    pads = attrs.padding
    return replace(
        attrs, stride=attrs.stride[1:], padding=(*pads[1:3], *pads[4:]), dilation=attrs.dilation[1:]
    )  # fmt: skip


def _depth(attrs: ConvAttrs, weight: AbstractTensor) -> Window:
    """The window of a convolution of volumes along the depth."""
    kernel = weight.type.shape[2]
    assert isinstance(kernel, int)
    return Window(kernel, attrs.stride[0], attrs.padding[0], attrs.padding[3], attrs.dilation[0])


def _at_depth(weight: AbstractTensor, tap: int) -> AbstractTensor:
    return squeeze(piece(weight, 2, tap, 1), 2)


def _convolution(axes: int, doc: str) -> Callable[..., AbstractTensor]:
    def conv(
        x: AbstractTensor,
        weight: AbstractTensor,
        bias: AbstractTensor | None = None,
        stride: object = 1,
        padding: object = 0,
        dilation: object = 1,
        groups: int = 1,
    ) -> AbstractTensor:
        op = f"conv{axes}d"
        x, single = image_batch(op, x, axes)
        y = convolve(conv_attrs(op, axes, weight.type, stride, padding, dilation, groups), x, weight, bias)
        return squeeze(y, 0) if single else y

    return called(conv, f"conv{axes}d", doc)


conv1d = _convolution(
    1,
    """Cross-correlation of signals (N, C, L) or (C, L), as ``torch.nn.functional.conv1d``.

    Parameters are those of :func:`conv2d`, with one number for the one axis (padding may also be two: before, after).
    """,
)
conv3d = _convolution(
    3,
    """Cross-correlation of volumes (N, C, D, H, W) or (C, D, H, W), as ``torch.nn.functional.conv3d``.

    Parameters are those of :func:`conv2d`, with one number or three (padding may also be six: before the axes, then
    after them).
    """,
)


def _transposed(axes: int, doc: str) -> Callable[..., AbstractTensor]:
    def conv_transpose(
        x: AbstractTensor,
        weight: AbstractTensor,
        bias: AbstractTensor | None = None,
        stride: object = 1,
        padding: object = 0,
        output_padding: object = 0,
        groups: int = 1,
        dilation: object = 1,
    ) -> AbstractTensor:
        x, single = image_batch(f"conv_transpose{axes}d", x, axes)
        attrs, beyond = transpose_attrs(axes, weight.type, stride, padding, output_padding, groups, dilation)
        y = with_rest(convolve_transposed(attrs, x, weight, None if any(beyond) else bias), beyond, bias)
        return squeeze(y, 0) if single else y

    return called(conv_transpose, f"conv_transpose{axes}d", doc)


conv_transpose1d = _transposed(
    1,
    """Transposed convolution of signals (N, C, L) or (C, L), as ``torch.nn.functional.conv_transpose1d``.

    Parameters are those of :func:`conv_transpose2d`, with one number for the one axis.
    """,
)
conv_transpose3d = _transposed(
    3,
    """Transposed convolution of volumes (N, C, D, H, W) or (C, D, H, W), as ``torch.nn.functional.conv_transpose3d``.

    Parameters are those of :func:`conv_transpose2d`, with one number or three.
    """,
)
