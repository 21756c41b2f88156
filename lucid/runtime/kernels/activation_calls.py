"""Activations of several NumPy calls, part by part so that data stay in the cache; the result may be the input."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...base.arrays import Array
from ...graph.types import DType, float32, float64

PART = 1 << 15
"""Elements computed at a time: starting a part takes as long as computing some thousand elements."""


def _constants(*values: float) -> dict[DType, tuple[Array, ...]]:
    """The numbers for each type, as 0-d arrays, whose type NumPy need not find at every call."""
    return {dtype: tuple(np.array(value, dtype) for value in values) for dtype in (float32, float64)}


_SILU = _constants(1.0, -1.0)
_HARD_SWISH = _constants(1 / 6, 0.5, 0.0, 1.0)


def _parts(x: Array, y: Array, work: Array) -> Iterator[tuple[Array, ...]]:
    """Parts of ``x`` and ``y``, of equal layout, as long as the rows of ``work``, and these in their shape.

    If ``x`` is ``y``, so are their parts: NumPy then does not check for overlaps.
    """
    if not y.size:
        return
    same = x is y
    if not (x.flags.c_contiguous and y.flags.c_contiguous):
        axes = sorted(range(y.ndim), key=lambda axis: -y.strides[axis])
        x, y = x.transpose(axes), y.transpose(axes)
    if x.flags.c_contiguous and y.flags.c_contiguous:
        x, y = x.reshape(-1), y.reshape(-1)
        if y.size <= work.shape[1]:  # the usual case; the code below takes some microseconds
            yield (y if same else x, y, *work[:, : y.size])
            return
    row = y.size // len(y)
    if row > work.shape[1]:
        work = np.empty((len(work), row), y.dtype)
    step = work.shape[1] // row
    rows = tuple(work[:, : step * row].reshape(len(work), step, *y.shape[1:]))
    for start in range(0, len(y), step):
        part = y[start : start + step]
        held = rows if len(part) == step else tuple(memory[: len(part)] for memory in rows)
        yield (part if same else x[start : start + step], part, *held)


def silu(x: Array, y: Array, work: Array) -> None:
    """The SiLU in ``y``, which may be ``x``."""
    one, less = _SILU[x.dtype]
    for part, out, t in _parts(x, y, work):
        np.multiply(part, less, t)  # np.negative is wrong for some strides
        np.exp(t, t)
        np.add(t, one, t)
        np.divide(part, t, out)


def hard_swish(x: Array, y: Array, work: Array) -> None:
    """The HardSwish in ``y``, which may be ``x``."""
    sixth, half, none, one = _HARD_SWISH[x.dtype]
    for part, out, t in _parts(x, y, work):
        np.multiply(part, sixth, t)
        np.add(t, half, t)
        t.clip(none, one, t)
        np.multiply(part, t, out)
