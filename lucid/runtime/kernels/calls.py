"""Functions that programs call where NumPy has none: they check numbers, and do what takes several steps."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from ...errors import ExecutionError, ShapeError
from ..program.views import as_view

Array: TypeAlias = "np.ndarray[Any, Any]"


def check_divisor(divisor: Array) -> None:
    """Raise where an integer would be divided by 0, as in PyTorch: NumPy gives 0."""
    if not divisor.all():
        raise ExecutionError("integers are divided by 0; take lucid.where(b == 0, 1, b) as the divisor, or floats")


def check_range(index: Array, size: int, op: str, axis: int, wrap: bool) -> None:
    """Raise where an index lies outside an axis of ``size`` elements; ``wrap`` allows negative ones."""
    if index.size == 0:
        return
    low, high = int(index.min()), int(index.max())
    if high >= size or low < (-size if wrap else 0):
        wrong = high if high >= size else low
        hint = "" if wrap or wrong >= size else "; negative indices are not allowed here"
        raise ShapeError(f"{op}: index {wrong} is out of range for axis {axis} of size {size}{hint}")


def check_expected(condition: Array, value: bool, message: str) -> None:
    """Raise where a condition is not what it must be."""
    if bool(condition) != value:
        raise ExecutionError(message)


def check_probabilities(name: str, x: Array) -> None:
    """Raise where an array holds anything but numbers from 0 to 1."""
    if x.size and not (x.min() >= 0 and x.max() <= 1):  # of NaN neither is true
        hint = "; of logits take binary_cross_entropy_with_logits" if name == "input" else ""
        raise ExecutionError(
            f"binary_cross_entropy: the {name} must lie between 0 and 1 everywhere, got {x.min():.6g} to "
            f"{x.max():.6g}{hint}"
        )


def integer_power(a: Array, b: Array, out: Array) -> None:
    """``a ** b`` of integers; a negative power is the reciprocal without its fraction, and 0 for 0, as in PyTorch."""
    np.power(a, np.maximum(b, 0), out=out)
    odd = np.where(b % 2 == 0, 1, -1)
    np.copyto(out, np.where(a == 1, 1, np.where(a == -1, odd, 0)), where=b < 0, casting="unsafe")


def add_along_axis(y: Array, index: Array, values: Array, axis: int) -> None:
    """Add each value to ``y`` at its index along the axis."""
    places: list[Array] = list(np.ogrid[tuple(slice(0, size) for size in index.shape)])
    places[axis] = index
    np.add.at(y, tuple(places), values)


def add_rows(y: Array, index: Array, values: Array) -> None:
    """Add each slice of ``values`` to the slice of (row-major) ``y`` at its index along the first axis.

    One flat ``np.add.at`` is two to four times as fast as one over rows.
    """
    if values.size:
        width = y.size // len(y)
        places = np.add.outer(index.reshape(-1) % len(y) * width, np.arange(width))
        np.add.at(as_view(y, -1), places.reshape(-1), values.reshape(-1))
