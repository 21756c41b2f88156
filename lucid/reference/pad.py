"""Padding, element by element: the origin of each is looked up."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..base.arrays import Array
from ..graph.ops import pad as ops
from ..graph.ops.pad import PadAttrs, PadGradAttrs
from .evaluator import known, reference


def _origin(i: int, size: int, mode: str) -> int | None:
    """The position of the element that is at ``i`` (0 is the first element of the input); None for the constant."""
    if 0 <= i < size:
        return i
    if mode == "reflect":
        return -i if i < 0 else 2 * (size - 1) - i
    if mode == "replicate":
        return 0 if i < 0 else size - 1
    return i % size if mode == "circular" else None


def _origins(
    attrs: PadAttrs | PadGradAttrs, shape: tuple[int, ...]
) -> Iterator[tuple[tuple[int, ...], tuple[int | None, ...]]]:
    before = known(attrs.before)
    for place in np.ndindex(*_padded(attrs, shape)):
        yield place, tuple(_origin(i - b, size, attrs.mode) for i, b, size in zip(place, before, shape, strict=True))


def _padded(attrs: PadAttrs | PadGradAttrs, shape: tuple[int, ...]) -> list[int]:
    return [b + size + a for b, size, a in zip(known(attrs.before), shape, known(attrs.after), strict=True)]


@reference(ops.PAD)
def pad(attrs: PadAttrs, x: Array) -> Array:
    y = np.empty(_padded(attrs, x.shape), x.dtype)
    for place, source in _origins(attrs, x.shape):
        y[place] = attrs.value if None in source else x[source]
    return y


@reference(ops.PAD_GRAD)
def pad_grad(attrs: PadGradAttrs, dy: Array) -> Array:
    dx = np.zeros(known(attrs.shape), dy.dtype)
    for place, target in _origins(attrs, dx.shape):
        if None not in target:
            dx[target] += dy[place]
    return dx
