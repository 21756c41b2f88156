"""Views for what follows a convolution's products: results, products in scratch, and the steps of the pooling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ....base.arrays import Array
from ...program.views import as_view
from ..shared.cut import Block, Deal, Steps, of_each, per_block
from ..shared.halving_views import halving
from ..shared.pooling_views import padding_steps, window_steps
from .geometry import Layer


def bind_results(work: Deal[Block], y: Array, last: bool) -> list[list[Array]]:
    """Each block of ``y`` as a matrix (pixels, outputs) if it is channels last, else as (images, outputs, pixels)."""

    def result(block: Block) -> Array:
        part = y[block.images, block.channels, block.rows]
        if last:
            return as_view(part.transpose(0, 2, 3, 1), -1, part.shape[1])
        return as_view(part, *part.shape[:2], -1)

    return per_block(result, work)


def bind_biases(work: Deal[Block], bias: Array, last: bool) -> list[list[Array]]:
    """The bias of each block, in a shape that broadcasts to its results."""
    return per_block(lambda block: bias[block.channels] if last else bias[block.channels, None], work)


def bind_runs(matrices: Deal[Array], length: int) -> list[list[Array]]:
    """Matrices reshaped to rows of ``length`` numbers, of several pixels."""
    return of_each(lambda matrix: as_view(matrix, -1, length), matrices)


def bind_held(layer: Layer, work: Deal[Block], memory: Sequence[Array]) -> list[list[Array]]:
    """The products of each block in scratch, as a matrix (pixels, outputs)."""
    return per_block(lambda block, own: own[: layer.held(block)], work, memory)


def _images(layer: Layer, block: Block, held: Array) -> Array:
    """The products of a block in scratch, viewed as (images, outputs, rows, columns)."""
    inner, outputs = layer.convolved(block), held.shape[1]
    images = as_view(held[: layer.held(block)], block.n1 - block.n0, -1, layer.pitch, outputs).transpose(0, 3, 1, 2)
    return images[:, :, : inner.r1 - inner.r0, : layer.conv.cols.count]


def bind_copies(layer: Layer, work: Deal[Block], memory: Sequence[Array], y: Array) -> list[list[tuple[Array, Array]]]:
    """For each block, its part of the output and its products in scratch."""
    return per_block(
        lambda block, held: (y[block.images, block.channels, block.rows], _images(layer, block, held)), work, memory
    )


class PoolingSteps(NamedTuple):
    """The steps of a block's pooling, its results as a matrix, its part of the output, and the results like that."""

    steps: Steps
    final: Array
    place: Array
    value: Array


def bind_halves(
    layer: Layer, work: Deal[Block], memory: Sequence[Array], y: Array, straight: bool
) -> list[list[PoolingSteps]]:
    """The steps of each block that take the maximum over the taps; with ``straight``, the last writes to ``y``."""
    taps = layer.taps[0] * layer.taps[1]

    def halves(block: Block, held: Array) -> PoolingSteps:
        place = y[block.images, block.channels, block.rows].transpose(0, 2, 3, 1)
        by_taps = as_view(held[: layer.held(block)], taps, -1, held.shape[1])
        final = as_view(place, by_taps.shape[1:]) if straight else by_taps[0]
        steps = [(out, a, b) for a, b, out in halving(by_taps, final[None])]
        return PoolingSteps(steps, final, place, as_view(final, place.shape))

    return per_block(halves, work, memory)


def bind_finals(halves: Deal[PoolingSteps]) -> list[list[Array]]:
    """The results of each block."""
    return of_each(lambda one: one.final, halves)


def bind_pooling(
    layer: Layer, work: Deal[Block], memory: Sequence[Array], buffers: Sequence[Array], y: Array, least: Array
) -> list[list[list[tuple[Array, ...]]]]:
    """For each block, the steps ``maximum(a, b, out=out)`` of its pooling; ``buffers`` are scratch for rows."""

    def steps(block: Block, held: Array, row: Array) -> list[tuple[Array, ...]]:
        arrays = (_images(layer, block, held), row, y, least)
        (rows, cols), shift = layer.pool, (block.n0, block.c0, layer.convolved(block).r0)
        return [tuple(arrays[i][at] for i, at in step) for step in window_steps(rows, cols, block, shift)]

    return per_block(steps, work, memory, buffers)


def bind_padding(layer: Layer, work: Deal[Block], y: Array, pad: Array) -> list[list[list[tuple[Array, ...]]]]:
    """For each block, the steps that take the maximum with the padding."""

    def steps(block: Block) -> list[tuple[Array, ...]]:
        rows, cols = layer.pool
        arrays: tuple[Any, ...] = None, None, y, None, pad
        return [tuple(arrays[i][at] for i, at in step) for step in padding_steps(rows, cols, block)]

    return per_block(steps, work)
