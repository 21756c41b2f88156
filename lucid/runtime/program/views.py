"""Functions that programs call to make arrays in memory and views of arrays.

A program binds a view once for many runs, so it must share memory with its base: a copy would go stale.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ...base.arrays import Array
from ...errors import ExecutionError

COPIES = (".reshape(", ".ravel(", ".flatten(", ".astype(", ".copy(", "ascontiguousarray(", "np.array(")
"""NumPy functions that copy, or do so silently if they cannot make a view; their results must not be bound."""


def as_view(array: Array, *shape: Any) -> Array:
    """``array.reshape(*shape)`` where that shares the array's memory.

    Raises
    ------
    ExecutionError
        If NumPy would copy: a name bound once would then keep the memory's content of that moment.
    """
    view = array.reshape(*shape)
    if view.size and not np.may_share_memory(view, array):
        raise ExecutionError(
            f"an array of shape {array.shape} and strides {array.strides} cannot be seen in shape {view.shape}"
        )
    return view


def place(
    arena: Array, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any], order: tuple[int, ...] | None
) -> Array:
    """The array of this logical shape at a byte offset of the arena; in memory its axes are in ``order``."""
    memory = shape if order is None else tuple(shape[axis] for axis in order)
    nbytes = math.prod(memory) * np.dtype(dtype).itemsize
    array = as_view(arena[offset : offset + nbytes].view(dtype), memory)
    return array if order is None else array.transpose(np.argsort(order))


def apart(function: Any) -> Callable[..., object]:
    """The function with a fresh copy of its globals at each call, so that its global variables belong to that call."""

    def call(*args: Any) -> object:
        code, defaults, closure = function.__code__, function.__defaults__, function.__closure__
        return FunctionType(code, dict(function.__globals__), argdefs=defaults, closure=closure)(*args)

    return call


def strided(array: Array, shape: Sequence[int], strides: Sequence[int]) -> Array:
    """``as_strided(array, shape, strides)``, but faster for C-contiguous arrays."""
    if array.flags.c_contiguous:
        return np.ndarray(shape, array.dtype, array, 0, strides)
    return as_strided(array, shape, strides)
