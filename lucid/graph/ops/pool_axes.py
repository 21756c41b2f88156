"""One- and three-dimensional pooling, composed of two-dimensional pooling.

A signal is pooled as an image of one row. A volume is pooled over height and width, with its planes as channels, and
then over depth, with the planes of that result as rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from ..dims import Dim
from ..opdef import AbstractTensor, apply
from ..types import product
from .avgpool import (
    AVG_POOL,
    AvgPoolAttrs,
    adaptive_avg_pool2d,
    adaptive_max_pool2d,
    average_output,
    avg_pool_attrs,
    output_dims,
)
from .conv import ConvAttrs
from .conv_axes import convolve
from .elementwise import floor_divide
from .indexing import gather
from .pad import pad
from .pool import Maxima, MaxPoolAttrs, max_pool_attrs, maxima, of_one, pool_output
from .shape import reshape, squeeze, unsqueeze
from .slices import take_slice
from .source import full
from .windows import Numbers, called, image_batch


def max_pool(attrs: MaxPoolAttrs, x: AbstractTensor, positions: bool) -> Maxima:
    """The maxima of the windows of images of one to three axes, and their positions if wanted."""
    axes = len(attrs.kernel)
    pool_output(f"max_pool{axes}d", axes, attrs, x.type)
    if axes == 2:
        return maxima(attrs, x, positions)
    if axes == 1:
        row = replace(
            attrs, kernel=(1, *attrs.kernel), stride=(1, *attrs.stride), padding=_row_sides(attrs.padding),
            dilation=(1, *attrs.dilation),
        )  # fmt: skip
        y, places = maxima(row, unsqueeze(x, 2), positions)
        return squeeze(y, 2), None if places is None else squeeze(places, 2)
    first = replace(
        attrs, kernel=attrs.kernel[1:], stride=attrs.stride[1:], padding=_plane_sides(attrs.padding),
        dilation=attrs.dilation[1:],
    )  # fmt: skip
    second = replace(
        attrs, kernel=(attrs.kernel[0], 1), stride=(attrs.stride[0], 1), padding=_depth_sides(attrs.padding),
        dilation=(attrs.dilation[0], 1),
    )  # fmt: skip
    inner = maxima(first, _planes(x), positions)
    return _joined(x, inner, maxima(second, _rows(x, inner[0]), positions))


def average_pool(attrs: AvgPoolAttrs, x: AbstractTensor, dilation: Numbers) -> AbstractTensor:
    """The means over the windows of images of one to three axes, also over windows with gaps."""
    axes = len(attrs.kernel)
    average_output(f"avg_pool{axes}d", dilation, attrs, x.type)
    if any(d > 1 for d in dilation):
        return _with_gaps(attrs, x, dilation)
    if axes == 2:
        return apply(AVG_POOL, attrs, x)
    if axes == 1:
        row = replace(
            attrs, kernel=(1, *attrs.kernel), stride=(1, *attrs.stride), padding=_row_sides(attrs.padding)
        )  # fmt: skip
        return squeeze(apply(AVG_POOL, row, unsqueeze(x, 2)), 2)
    # the count of a window's elements is the product of those along each axis, so a mean of means is right
    first = replace(
        attrs, kernel=attrs.kernel[1:], stride=attrs.stride[1:], padding=_plane_sides(attrs.padding),
        divisor_override=None if attrs.divisor_override is None else 1,
    )  # fmt: skip
    second = replace(
        attrs, kernel=(attrs.kernel[0], 1), stride=(attrs.stride[0], 1), padding=_depth_sides(attrs.padding)
    )  # fmt: skip
    inner = apply(AVG_POOL, first, _planes(x))
    return _volumes(x, inner, apply(AVG_POOL, second, _rows(x, inner)))


def _with_gaps(attrs: AvgPoolAttrs, x: AbstractTensor, dilation: Numbers) -> AbstractTensor:
    """Means of windows with gaps: convolutions with a kernel of ones, divided by the counts of elements."""
    axes, spatial = len(dilation), x.type.shape[2:]
    made = average_output(f"avg_pool{axes}d", dilation, attrs, x.type).shape
    before, after = attrs.padding[:axes], attrs.padding[axes:]
    hanging = tuple(s - 1 if attrs.ceil_mode else 0 for s in attrs.stride)  # the most that a last window overhangs
    ones = full(x, 1, (1, 1, *attrs.kernel), x.type.dtype)

    def sums(images: AbstractTensor, pads: Numbers) -> AbstractTensor:
        found = convolve(ConvAttrs(attrs.stride, pads, dilation), images, ones)
        return take_slice(found, (0,) * (axes + 2), (*found.type.shape[:2], *made[2:]))

    pads = (*before, *(a + h for a, h in zip(after, hanging, strict=True)))
    total = reshape(sums(reshape(x, (product(x.type.shape[:2]), 1, *spatial)), pads), made)
    if attrs.divisor_override is not None:
        return total / attrs.divisor_override
    if attrs.count_include_pad and not any(hanging):
        return total / math.prod(attrs.kernel)
    image = full(x, 1, (1, 1, *spatial), x.type.dtype)
    if attrs.count_include_pad:
        sides = [amount for b, a in zip(reversed(before), reversed(after), strict=True) for amount in (b, a)]
        image, pads = pad(image, sides, value=1.0), (*(0,) * axes, *hanging)
    return total / sums(image, pads)


def _row_sides(padding: Numbers) -> Numbers:
    before, after = padding
    return 0, before, 0, after


def _plane_sides(padding: Numbers) -> Numbers:
    return *padding[1:3], *padding[4:]


def _depth_sides(padding: Numbers) -> Numbers:
    return padding[0], 0, padding[3], 0


def _planes(x: AbstractTensor) -> AbstractTensor:
    """Volumes as images, with each plane as a channel."""
    batch, channels, depth, *plane = x.type.shape
    return reshape(x, (batch, channels * depth, *plane))


def _rows(x: AbstractTensor, planes: AbstractTensor) -> AbstractTensor:
    """The pooled planes of the volumes ``x``, rearranged with each plane as a row."""
    return reshape(planes, (*x.type.shape[:3], product(planes.type.shape[2:])))


def _volumes(x: AbstractTensor, planes: AbstractTensor, rows: AbstractTensor) -> AbstractTensor:
    """The pooled rows, rearranged as volumes."""
    return reshape(rows, (*x.type.shape[:2], rows.type.shape[2], *planes.type.shape[2:]))


def _joined(x: AbstractTensor, inner: Maxima, outer: Maxima) -> Maxima:
    """The maxima of volumes and their positions, from those within planes and those of these along the depth."""
    (planes, inside), (rows, chosen) = inner, outer
    y = _volumes(x, planes, rows)
    if inside is None or chosen is None:
        return y, None
    batch, width = x.type.shape[:2], product(planes.type.shape[2:])
    flat = reshape(inside, (*batch, x.type.shape[2] * width))
    places = reshape(chosen, (*batch, product(chosen.type.shape[2:])))
    within = gather(flat, 2, places) + floor_divide(places, width) * product(x.type.shape[3:])
    return y, _volumes(x, planes, reshape(within, chosen.type.shape))


def _max_pool(axes: int, doc: str) -> Callable[..., AbstractTensor | tuple[AbstractTensor, AbstractTensor]]:
    def pool(
        x: AbstractTensor,
        kernel_size: object,
        stride: object = None,
        padding: object = 0,
        dilation: object = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> AbstractTensor | tuple[AbstractTensor, AbstractTensor]:
        op = f"max_pool{axes}d"
        x, single = image_batch(op, x, axes)
        attrs = max_pool_attrs(kernel_size, stride, padding, dilation, ceil_mode, -math.inf, op, axes)
        return of_one(max_pool(attrs, x, return_indices), single)

    return called(pool, f"max_pool{axes}d", doc)


max_pool1d = _max_pool(
    1,
    """Maximum over windows of signals (N, C, L) or (C, L), as ``torch.nn.functional.max_pool1d``.

    As there, padding never wins, and a stride that is left out is the kernel size. With ``return_indices`` also where
    each maximum stands.
    """,
)
max_pool3d = _max_pool(
    3,
    """Maximum over windows of volumes (N, C, D, H, W) or (C, D, H, W), as ``torch.nn.functional.max_pool3d``.

    As there, padding never wins, and a stride that is left out is the kernel size. With ``return_indices`` also where
    each maximum stands, as int64 ``(plane * H + row) * W + column``.
    """,
)


def avg_pool1d(
    x: AbstractTensor,
    kernel_size: object,
    stride: object = None,
    padding: object = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> AbstractTensor:
    """Mean over windows of signals (N, C, L) or (C, L), as ``torch.nn.functional.avg_pool1d``.

    Parameters are those of :func:`avg_pool2d`, with one number for the one axis.
    """
    return _avg_pool(1, x, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def avg_pool3d(
    x: AbstractTensor,
    kernel_size: object,
    stride: object = None,
    padding: object = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> AbstractTensor:
    """Mean over windows of volumes (N, C, D, H, W) or (C, D, H, W), as ``torch.nn.functional.avg_pool3d``.

    Parameters are those of :func:`avg_pool2d`, with one number or three.
    """
    return _avg_pool(3, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def _avg_pool(
    axes: int, x: AbstractTensor, kernel_size: object, stride: object, padding: object, ceil_mode: bool,
    count_include_pad: bool, divisor_override: int | None,
) -> AbstractTensor:  # fmt: skip
    op = f"avg_pool{axes}d"
    x, single = image_batch(op, x, axes)
    attrs = avg_pool_attrs(op, axes, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    y = average_pool(attrs, x, (1,) * axes)
    return squeeze(y, 0) if single else y


def adaptive_avg_pool1d(x: AbstractTensor, output_size: object) -> AbstractTensor:
    """Mean over windows that divide signals (N, C, L) or (C, L) into ``output_size``."""
    x, single = image_batch("adaptive_avg_pool1d", x, 1)
    size = output_dims("adaptive_avg_pool1d", output_size, x.type)
    y = squeeze(adaptive_avg_pool2d(unsqueeze(x, 2), (1, *size)), 2)
    return squeeze(y, 0) if single else y


def adaptive_avg_pool3d(x: AbstractTensor, output_size: object) -> AbstractTensor:
    """Mean over windows that divide volumes (N, C, D, H, W) or (C, D, H, W) into ``output_size`` (an int or three;
    None keeps a size)."""
    x, single = image_batch("adaptive_avg_pool3d", x, 3)
    depth, *plane = output_dims("adaptive_avg_pool3d", output_size, x.type)
    inner = adaptive_avg_pool2d(_planes(x), tuple(plane))
    y = _volumes(x, inner, adaptive_avg_pool2d(_rows(x, inner), (depth, None)))
    return squeeze(y, 0) if single else y


def adaptive_max_pool1d(
    x: AbstractTensor, output_size: object, return_indices: bool = False
) -> AbstractTensor | tuple[AbstractTensor, AbstractTensor]:
    """Maximum over windows that divide signals (N, C, L) or (C, L) into ``output_size``.

    With ``return_indices`` also the positions of the maxima.
    """
    x, single = image_batch("adaptive_max_pool1d", x, 1)
    size = output_dims("adaptive_max_pool1d", output_size, x.type)
    y, places = _adaptive_max(unsqueeze(x, 2), (1, *size), return_indices)
    return of_one((squeeze(y, 2), None if places is None else squeeze(places, 2)), single)


def adaptive_max_pool3d(
    x: AbstractTensor, output_size: object, return_indices: bool = False
) -> AbstractTensor | tuple[AbstractTensor, AbstractTensor]:
    """Maximum over windows that divide volumes (N, C, D, H, W) or (C, D, H, W) into ``output_size`` (an int or three;
    None keeps a size).

    With ``return_indices`` also the positions of the maxima, as int64 ``(plane * H + row) * W + column``.
    """
    x, single = image_batch("adaptive_max_pool3d", x, 3)
    depth, *plane = output_dims("adaptive_max_pool3d", output_size, x.type)
    inner = _adaptive_max(_planes(x), tuple(plane), return_indices)
    outer = _adaptive_max(_rows(x, inner[0]), (depth, None), return_indices)
    return of_one(_joined(x, inner, outer), single)


def _adaptive_max(x: AbstractTensor, size: tuple[Dim | None, ...], positions: bool) -> Maxima:
    found = adaptive_max_pool2d(x, size, positions)
    return found if isinstance(found, tuple) else (found, None)
