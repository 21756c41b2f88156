"""Operators with given positions: unpooling, regions of interest, deformable convolution; and determinants."""

from __future__ import annotations

from collections.abc import Sequence

from ....errors import GraphError
from ....graph.dims import Dim
from ....graph.opdef import AbstractTensor
from ....graph.ops import determinant, pad, roi, roi_align, unpool
from ....graph.ops.elementwise import remainder
from ....graph.types import product
from ..registry import Call, Value, converter
from .windows import numbers, spatial


@converter("MaxUnpool", since=9, host=(2,))
def max_unpool(call: Call, x: Value, places: Value, size: Value = None) -> AbstractTensor:
    """Positions count through all images; a larger requested size adds zeros at the ends."""
    maxima, indices = call.tensors(x, places)
    axes = spatial(maxima)
    stride, pads = numbers(call, "strides", axes), numbers(call, "pads", 2 * axes, 0)
    kernel = call.required("kernel_shape")
    sizes: list[Dim] = [
        (n - 1) * stride[i] - pads[i] - pads[i + axes] + kernel[i] for i, n in enumerate(maxima.type.shape[2:])
    ]
    y = unpool.unpool(maxima, remainder(indices, product(sizes)), sizes)
    if size is None:
        return y
    asked = call.dims(size, "the output's shape")[2:]
    more = [after - before for after, before in zip(asked, sizes, strict=True)]
    return pad.pad(y, [amount for one in reversed(more) for amount in (0, one)])


@converter("RoiAlign", since=10)
def roi_align_(call: Call, x: Value, rois: Value, batch: Value) -> AbstractTensor:
    image, corners, of = call.tensors(x, rois, batch)
    mode, usual = call.attribute("mode", "avg"), "half_pixel" if call.node.version >= 16 else "output_half_pixel"
    coordinates = call.attribute("coordinate_transformation_mode", usual)
    if mode not in ("avg", "max") or coordinates not in ("half_pixel", "output_half_pixel"):
        raise GraphError(f"unknown mode {mode!r} with coordinates of {coordinates!r}")
    size = call.attribute("output_height", 1), call.attribute("output_width", 1)
    return roi_align.roi_align(
        image, corners, of, size, call.attribute("spatial_scale", 1.0), max(0, call.attribute("sampling_ratio", 0)),
        centred=coordinates == "half_pixel", largest=mode == "max",
    )  # fmt: skip


@converter("MaxRoiPool")
def max_roi_pool(call: Call, x: Value, rois: Value) -> AbstractTensor:
    image, corners = call.tensors(x, rois)
    high, wide = call.required("pooled_shape")
    return roi.max_roi_pool(image, corners, (high, wide), call.attribute("spatial_scale", 1.0))


@converter("DeformConv", since=19, names=("", "weight", "", "bias"))
def deform_conv(
    call: Call, x: Value, weight: Value, offset: Value, bias: Value = None, mask: Value = None
) -> AbstractTensor:  # fmt: skip
    image, kernels, moved = call.tensors(x, weight, offset)
    if spatial(image) != 2:
        raise GraphError(f"a convolution whose taps move is for images, not {image.type}")
    pads: Sequence[int] = numbers(call, "pads", 4, 0)
    stride, dilation = numbers(call, "strides", 2), numbers(call, "dilations", 2)
    return roi.deform_conv2d(
        image, moved, kernels, call.optional(bias), (stride[0], stride[1]), (pads[0], pads[1]),
        (dilation[0], dilation[1]), call.optional(mask), call.attribute("group", 1),
    )  # fmt: skip


@converter("Det", since=11)
def det(call: Call, x: Value) -> AbstractTensor:
    return determinant.det(call.tensor(x))
