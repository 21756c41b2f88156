"""Views for convolution by gathered windows, block by block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ....base.arrays import Array
from ...program.views import as_view, strided
from ..shared.cut import Block, Deal, Steps, of_each, per_block
from ..shared.panels_views import small_products
from .geometry import Conv, Layer

SHORT_ROW = 512
"""Bytes of a window's row up to which it is copied as a single element."""


class Gather(NamedTuple):
    """The views for gathering the windows of a block; the names are those of the loop's variables.

    Attributes
    ----------
    edges, inside
        The parts of a padded image to clear, and the part to copy the input to.
    seen, windows
        The (overlapping) windows in the image, and the memory to copy them to.
    matrix
        That memory as a matrix (pixels, taps).
    """

    edges: Sequence[Array]
    inside: Array | None
    seen: Array
    windows: Array
    matrix: Array


def bind_gather(layer: Layer, work: Deal[Block], memory: Sequence[Array], x: Array) -> list[list[Gather]]:
    """The views of each block; ``x`` has channels last, and no padding."""
    nhwc, conv = x.transpose(0, 2, 3, 1), layer.conv

    def gather(block: Block, own: Array) -> Gather:
        inner = layer.convolved(block)
        image = nhwc[block.images, inner.r0 * conv.rows.stride :, :, conv.read(block)]
        return Gather((), None, *_windows(layer, inner, image, own))

    return per_block(gather, work, memory)


def bind_padded(
    layer: Layer, work: Deal[Block], memory: Sequence[Array], images: Sequence[Array], turned: bool
) -> list[list[Gather]]:
    """The views of each block, by way of a padded image (images, rows, columns, channels) of each worker.

    With ``turned``, the pixels of a tap are adjacent in the matrix, rather than the taps of a pixel.
    """
    rows, right = layer.conv.rows, layer.conv.across.places

    def gather(block: Block, own: Array, image: Array) -> Gather:
        inner = layer.convolved(block)
        image = image[: block.n1 - block.n0]
        down = rows.seen(inner.r0, inner.r1)
        edges = image[:, : down.low], image[:, down.high : rows.held(inner.r1 - inner.r0)]
        inside = image[:, down.places, right]
        return Gather([e for e in edges if e.size], inside, *_windows(layer, inner, image, own, turned))

    return per_block(gather, work, memory, images)


def bind_sources(layer: Layer, work: Deal[Block], x: Array) -> list[list[Array]]:
    """The part of the input that each block reads."""
    nhwc, rows, right = x.transpose(0, 2, 3, 1), layer.conv.rows, layer.conv.across.source

    def source(block: Block) -> Array:
        inner = layer.convolved(block)
        return nhwc[block.images, rows.seen(inner.r0, inner.r1).source, right, layer.conv.read(block)]

    return per_block(source, work)


class Turned(NamedTuple):
    """Scratch for a block's matrix in the shape of its source, the source, and the scratch as the matrix."""

    target: Array
    source: Array
    matrix: Array


def bind_by_channel(conv: Conv, gathered: Deal[Gather], memory: Sequence[Array]) -> list[list[Turned]]:
    """For each block, a copy of its window matrix with the taps of a channel adjacent, as in the weights."""

    def turned(gather: Gather, own: Array) -> Turned:
        pixels = len(gather.matrix)
        source = as_view(gather.matrix, pixels, conv.kernel, conv.group_in).transpose(0, 2, 1)
        matrix = as_view(own[: pixels * conv.taps], pixels, conv.taps)
        return Turned(as_view(matrix, source.shape), source, matrix)

    return per_block(turned, gathered, memory)


def matrices_of(gathered: Deal[Gather] | Deal[Turned]) -> list[list[Array]]:
    """The matrix of each block."""
    return [[one.matrix for one in mine] for mine in gathered]


def _windows(
    layer: Layer, inner: Block, image: Array, memory: Array, turned: bool = False
) -> tuple[Array, Array, Array]:
    """The windows of an image (images, rows, columns, channels), the memory to copy them to, and that as a matrix."""
    conv, (down, right) = layer.conv, layer.taps
    v, h, images, rows = conv.rows, conv.cols, inner.n1 - inner.n0, inner.r1 - inner.r0
    pixels = images * rows * h.count
    whole = memory[: pixels * conv.taps]
    matrix = as_view(whole, conv.taps, pixels).T if turned else as_view(whole, pixels, conv.taps)
    shape = (down, right, images, rows // down, h.count // right, v.kernel, h.kernel, conv.group_in)
    s0, s1, s2, s3 = image.strides
    s_row, s_col = v.stride * s1, h.stride * s2
    strides = (s_row, s_col, s0, down * s_row, right * s_col, v.dilation * s1, h.dilation * s2, s3)
    if turned:
        return (
            strided(image, shape, strides),
            as_view(matrix.T, *shape[5:], *shape[:5]).transpose(*range(3, 8), 0, 1, 2),
            matrix,
        )
    return *whole_runs(image, as_view(matrix, shape), strides), matrix


def whole_runs(image: Array, held: Array, strides: Sequence[int]) -> tuple[Array, Array]:
    """The windows of an image, viewed with these strides, and ``held``, to which they are copied, row by row.

    The last axes are the columns and channels of a window's row. NumPy starts a loop for each run of numbers that it
    copies; with a short row as a single element, copying takes half the time.
    """
    shape, run = held.shape, held.shape[-2] * held.shape[-1]
    size = run * image.itemsize
    if not 0 < size <= SHORT_ROW or tuple(strides[-2:]) != (shape[-1] * image.itemsize, image.itemsize):
        return strided(image, shape, strides), held
    rows_seen = strided(image, (*shape[:-2], run), (*strides[:-2], image.itemsize))
    rows_held = as_view(held, (*shape[:-2], run))
    return rows_seen.view(f"V{size}")[..., 0], rows_held.view(f"V{size}")[..., 0]


# ---------------------------------------------------------------- products


def bind_window_products(
    conv: Conv, work: Deal[Block], matrices: Deal[Array], packed: Array, outputs: Deal[Array], rows: int
) -> list[list[Steps]]:
    """For each block, the products of its windows, ``rows`` pixels at a time, with the weight's panels or matrix.

    If outputs are (images, outputs, pixels), it is one product of the weight's matrix with the transposed windows.
    """

    def products(block: Block, matrix: Array, out: Array) -> Steps:
        weights = packed[conv.group(block)]
        if out.ndim == 3:
            return [(weights, as_view(matrix, out.shape[0], out.shape[2], conv.taps).transpose(0, 2, 1), out)]
        return [(matrix, weights.T, out)] if weights.ndim == 2 else list(small_products(matrix, weights, out, rows))

    return of_each(products, work, matrices, outputs)
