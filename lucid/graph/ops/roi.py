"""Region pooling, and deformable convolution: pixels at computed positions."""

from __future__ import annotations

import math

from ...errors import ShapeError
from ..opdef import AbstractTensor
from ..types import int64, product
from .bounds import clip
from .composite import ge, logical_and, lt
from .elementwise import floor, where
from .grid_sample import sampled, taps
from .indexing import index_with
from .linalg import matmul
from .promotion import cast
from .put import counted
from .reduce import amax
from .shape import concat, expand, reshape


def max_roi_pool(x: AbstractTensor, rois: AbstractTensor, size: tuple[int, int], scale: float) -> AbstractTensor:
    """The largest pixels of parts of regions (Girshick, 2015): (R, C, *size), 0 where a part has no pixel.

    Parameters
    ----------
    x
        Images (N, C, H, W).
    rois
        For each region the number of its image, and its corners (x1, y1, x2, y2).
    size, scale
        How high and wide a result is; how large a pixel of the coordinates is in ``x``.
    """
    if rois.type.rank != 2 or rois.type.shape[1] != 5:
        raise ShapeError(f"max_roi_pool: regions are (R, 5), the number of an image and its corners; got {rois.type}")
    corners = [floor(rois[:, i] * scale + 0.5) for i in range(1, 5)]
    y = index_with(x, (0,), [cast(rois[:, 0], int64)])
    for axis, bins in enumerate(size):
        start, end = corners[1 - axis], corners[3 - axis]
        y = _largest_of_parts(y, 2 + axis, start, clip(end - start + 1, 1.0, None) / float(bins), bins)
    return where(y == -math.inf, 0.0, y)


def _largest_of_parts(
    x: AbstractTensor, axis: int, start: AbstractTensor, step: AbstractTensor, bins: int
) -> AbstractTensor:  # fmt: skip
    """Along one axis the largest of each part: from ``start`` on in steps, of each region its own."""
    shape = tuple(-1 if i == axis else 1 for i in range(x.type.rank))
    place = cast(reshape(counted(x, x.type.shape[axis]), shape), x.type.dtype)
    found = []
    for number in range(bins):
        first = floor(step * float(number)) + start
        after = -floor(-(step * float(number + 1))) + start
        first, after = (reshape(one, (-1, *(1,) * (x.type.rank - 1))) for one in (first, after))
        seen = logical_and(ge(place, first), lt(place, after))
        found.append(amax(where(seen, x, -math.inf), axis, keepdim=True))
    return concat(found, axis)


def deform_conv2d(
    x: AbstractTensor, offset: AbstractTensor, weight: AbstractTensor, bias: AbstractTensor | None = None,
    stride: tuple[int, int] = (1, 1), padding: tuple[int, int] = (0, 0), dilation: tuple[int, int] = (1, 1),
    mask: AbstractTensor | None = None, groups: int = 1,
) -> AbstractTensor:  # fmt: skip
    """A convolution each tap of which is moved by an offset of its own at each pixel (Zhu et al., 2019).

    Parameters
    ----------
    x, weight, bias
        Images (N, C, H, W), kernels (O, C / groups, kh, kw), and a number for each output or None.
    offset
        (N, G 2 kh kw, H', W'): down and to the right, for each of G groups of channels.
    stride, padding, dilation
        Two numbers each; the padding is that before the image.
    mask
        (N, G kh kw, H', W'): what each tap is multiplied with, or None.
    groups
        Of channels that are convolved for themselves.
    """
    kernel = weight.type.shape[2:]
    batch, channels, *image = x.type.shape
    outputs, each = weight.type.shape[:2]
    numbers = [n for n in (channels, outputs, each, offset.type.shape[1], *kernel) if isinstance(n, int)]
    words = f"deform_conv2d: {x.type}, {offset.type} and {weight.type} do not go together"
    if len(numbers) != 6 or offset.type.rank != 4:
        raise ShapeError(words)
    channels, outputs, each, offsets, *_ = numbers
    taps_count, made = numbers[4] * numbers[5], offset.type.shape[2:]
    parts = offsets // max(1, 2 * taps_count)
    if channels != each * groups or not parts or channels % parts or outputs % groups:
        raise ShapeError(words)
    moved = reshape(offset, (batch * parts, taps_count, 2, *made))
    places = []
    for axis in range(2):
        at = reshape(counted(x, made[axis]) * stride[axis] - padding[axis], (-1, 1) if axis == 0 else (1, -1))
        tap = reshape(counted(x, kernel[axis]) * dilation[axis], (-1, 1) if axis == 0 else (1, -1))
        tap = reshape(expand(tap, kernel), (taps_count, 1, 1))
        places.append(cast(at + tap, x.type.dtype) + moved[:, :, axis])
    along = [taps(place, size, "bilinear", "zeros", False) for place, size in zip(places, image, strict=True)]
    flat = reshape(x, (batch * parts, channels // parts, *image))
    columns = reshape(sampled(flat, along), (batch, parts, channels // parts, taps_count, product(made)))
    if mask is not None:
        columns = columns * reshape(mask, (batch, parts, 1, taps_count, product(made)))
    columns = reshape(columns, (batch, groups, each * taps_count, product(made)))
    kernels = reshape(weight, (groups, outputs // groups, each * taps_count))
    y = reshape(matmul(kernels, columns), (batch, outputs, *made))
    return y if bias is None else y + reshape(bias, (outputs, 1, 1))
