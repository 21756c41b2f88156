"""Functions that pack or transform weights, in parts that stay in the cache; workers share the parts."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import prod

import numpy as np

from ....base.arrays import Array
from ...program.views import as_view
from ..shared.cache_lines import apart
from ..shared.cut import evenly, pieces

WRITTEN_PART = 1 << 15
"""Numbers that are written at a time."""
READ_PART = 1 << 17
"""Numbers that are read at a time: in long runs, which stay in the second-level cache."""
OUTPUTS_AT_ONCE = 64
"""Outputs whose weights are copied at a time: with more, their cache lines would evict one another."""


def _parts(sizes: tuple[int, ...], most: tuple[int, ...], worker: int, workers: int) -> Iterator[tuple[slice, ...]]:
    """The parts of one worker: ranges of several axes, at most ``most`` long."""
    cuts = [[slice(*cut) for cut in pieces(size, limit)] for size, limit in zip(sizes, most, strict=True)]
    first, last = evenly(prod(map(len, cuts)), workers)[worker]
    for number, part in enumerate(product(*cuts)):
        if first <= number < last:
            yield part


def pack_weights(groups: int, w: Array, out: Array, flipped: bool, worker: int, workers: int) -> None:
    """The weight of each group as a matrix (outputs, taps), or as panels (panels, taps, outputs of a panel).

    Taps are ordered like the columns of the window matrix. ``flipped`` exchanges inputs and outputs and rotates the
    kernel by 180 degrees, for the input gradient.
    """
    parted = w.reshape(groups, len(w) // groups, *w.shape[1:])
    taps = parted[..., ::-1, ::-1].transpose(0, 3, 4, 1, 2) if flipped else parted.transpose(0, 3, 4, 2, 1)
    _, *kernel, channels, outputs = taps.shape
    width = out.shape[-1] if out.ndim == 4 else outputs
    source = taps.reshape(groups, *kernel, channels, outputs // width, width).transpose(0, 4, 1, 2, 3, 5)
    if out.ndim == 4:
        target = as_view(out, source.shape)
    else:
        target = as_view(out, groups, 1, outputs, *kernel, channels).transpose(0, 1, 3, 4, 5, 2)
    numbers, narrow = prod(kernel), min(width, OUTPUTS_AT_ONCE)
    most = WRITTEN_PART // max(1, numbers * channels * outputs), 1, WRITTEN_PART // (numbers * narrow), narrow
    for group, panel, run, columns in _parts((*source.shape[:2], channels, width), most, worker, workers):
        part = group, panel, slice(None), slice(None), run, columns
        target[part] = apart(source[part])


def transform_weights(both: Array, w: Array, out: Array, worker: int, workers: int) -> None:
    """Transform kernels along both axes, for every pair of channels, in the precision of the transform's matrix."""
    count, panels, channels, width = out.shape
    taps = w.reshape(panels, width, channels, -1).transpose(0, 3, 2, 1)
    kernel, step = taps.shape[1], max(1, WRITTEN_PART // (width * count))
    memory = np.empty(kernel * min(step, channels) * width, both.dtype)
    most = max(step, READ_PART // (kernel * width))
    for panel, several in _parts((panels, channels), (1, most), worker, workers):
        near = apart(taps[panel.start, :, several])
        for first, last in pieces(near.shape[1], step):
            part = as_view(memory[: kernel * (last - first) * width], kernel, last - first, width)
            part[...] = near[:, first:last]
            run = slice(several.start + first, several.start + last)
            np.matmul(both, as_view(part, kernel, -1), out=as_view(out[:, panel, run], count, -1))


def filter_weights(along: Array, w: Array, out: Array, worker: int, workers: int) -> None:
    """Transform kernels along their rows, cut into parts of as many taps as the transform's matrix has columns."""
    count, panels, depth, width = out.shape
    channels, rows, cols = w.shape[1:]
    parts = depth // (cols * channels)
    taps = np.zeros((parts, along.shape[1], cols, channels, width), along.dtype)
    for (panel,) in _parts((panels,), (1,), worker, workers):
        source = w[panel.start * width : panel.stop * width].transpose(2, 3, 1, 0)
        as_view(taps, -1, *taps.shape[2:])[:rows] = source
        lines = as_view(taps, parts, along.shape[1], -1)
        target = as_view(out[:, panel.start], count, parts, -1)
        np.matmul(along, lines, out=target.transpose(1, 0, 2), casting="same_kind")
