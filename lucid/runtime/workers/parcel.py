"""Regions serialised as bytes: their code, with arrays as offsets in the heap."""

from __future__ import annotations

import contextlib
import ctypes
import io
import marshal
import pickle
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any, TypeAlias

import numpy as np

from ...base.arrays import Array
from .heap import Heap

Region: TypeAlias = "tuple[Callable[[int], object], int]"
"""A function of the worker's number, and the number of workers that share it."""

CONSTANTS = 1 << 24
"""The most bytes of an array outside the heap that is copied for workers."""


PLAIN = frozenset({("builtins", "getattr"), ("builtins", "slice"), ("functools", "partial")})
"""Objects that regions may refer to besides NumPy's functions and our own: methods, slices and partial calls."""


class NotPortableError(Exception):
    """A region refers to something that exists only in this process."""


class Packer(pickle.Pickler):
    """A pickler that writes arrays as offsets in the heap; constants outside it are copied there first.

    Parameters
    ----------
    heap
        The shared memory.
    constants
        Arrays that never change, of which workers get copies. A region that reads other arrays outside the heap cannot
        run on workers.
    copies
        The copies made so far, by the id of the original array.
    """

    def __init__(self, out: io.BytesIO, heap: Heap, constants: Sequence[Array], copies: dict[int, Array]) -> None:
        super().__init__(out, pickle.HIGHEST_PROTOCOL)
        self._heap = heap
        self._constants = {id(array) for array in constants}
        self.copies = copies

    def persistent_id(self, thing: Any) -> object:
        kind = type(thing)
        if kind is np.ndarray:
            return self._place(thing), thing.shape, thing.strides, thing.dtype.str
        if kind is ModuleType:
            if thing.__name__.partition(".")[0] != "numpy":
                raise NotPortableError(thing.__name__)
            return thing.__name__
        if isinstance(thing, np.ndarray) or (kind in (FunctionType, BuiltinFunctionType, type) and not _ours(thing)):
            raise NotPortableError(repr(thing))
        return None

    def _place(self, array: Array) -> int:
        address = int(array.__array_interface__["data"][0])
        place = self._heap.offset(address)
        if place is not None:
            return place
        root = array
        while id(root) not in self._constants:
            if not isinstance(root.base, np.ndarray):
                raise NotPortableError("an array that may change")
            root = root.base
        low, high = bounds(root)
        if id(root) not in self.copies:
            copy = self._heap.take(high - low) if high - low <= CONSTANTS and not root.dtype.hasobject else None
            if copy is None:
                raise NotPortableError("a large constant")
            ctypes.memmove(copy.ctypes.data, low, high - low)
            self.copies[id(root)] = copy
        place = self._heap.offset(self.copies[id(root)].ctypes.data)
        assert place is not None
        return place + address - low


def _ours(thing: object) -> bool:
    owner = getattr(thing, "__self__", None)
    module = getattr(thing, "__module__", None) or ""
    known = module.partition(".")[0] in ("numpy", "lucid") or (module, getattr(thing, "__qualname__", "")) in PLAIN
    return known or isinstance(owner, np.ndarray | np.ufunc)


def bounds(array: Array) -> tuple[int, int]:
    """The addresses of an array's first byte, and of the one after its last."""
    low = high = int(array.__array_interface__["data"][0])
    if array.flags.c_contiguous:
        high += array.nbytes
    elif array.size:
        for n, stride in zip(array.shape, array.strides, strict=True):
            low += min(0, (n - 1) * stride)
            high += max(0, (n - 1) * stride)
        high += array.itemsize
    return low, high


class _ArrayFinder(pickle.Pickler):
    """A pickler that records the addresses of all arrays."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), pickle.HIGHEST_PROTOCOL)
        self.found: list[tuple[int, int]] = []

    def persistent_id(self, thing: object) -> object:
        if isinstance(thing, np.ndarray):
            self.found.append(bounds(thing))
            return 0
        return 0 if isinstance(thing, ModuleType) else None


def spans(regions: Sequence[Region]) -> list[list[tuple[int, int]]]:
    """For each region, the :func:`bounds` of arrays that no region before it refers to."""
    reader, found = _ArrayFinder(), list[list[tuple[int, int]]]()
    for function, count in regions:
        with contextlib.suppress(NotPortableError, pickle.PicklingError, TypeError, AttributeError, ValueError):
            reader.dump(_parts(function, count)[1:3])
        found.append(reader.found)
        reader.found = []
    return found


def meeting(places: Iterable[tuple[int, int]], arrays: Sequence[Array]) -> frozenset[int]:
    """The indices of the arrays that overlap one of these address ranges."""
    full = [(low, high) for low, high in places if low < high]
    lows, highs = sorted(low for low, _ in full), sorted(high for _, high in full)
    # those overlap that begin before its end and do not end before its beginning
    return frozenset(
        i
        for i, (low, high) in enumerate(map(bounds, arrays))
        if low < high and bisect_left(lows, high) > bisect_right(highs, low)
    )


def pack(regions: Sequence[Region], heap: Heap, constants: Sequence[Array]) -> tuple[bytes, list[int], list[Array]]:
    """The regions that workers can run: their serialised form, their indices, and memory to keep alive with them."""
    described: dict[int, bytes] = {}
    copies: dict[int, Array] = {}
    for index, (function, count) in enumerate(regions):
        out = io.BytesIO()
        packer = Packer(out, heap, constants, copies)
        try:
            parts = _parts(function, count)
            packer.dump(parts)
        except (NotPortableError, pickle.PicklingError, ValueError, TypeError, AttributeError, RecursionError):
            continue
        described[index] = out.getvalue()
    return pickle.dumps(described), list(described), list(copies.values())


def _parts(function: Any, count: int) -> tuple[bytes, tuple[object, ...], dict[str, object], int]:
    code = function.__code__
    cells = tuple(cell.cell_contents for cell in function.__closure__ or ())
    names = {name: function.__globals__[name] for name in sorted(_names(code)) if name in function.__globals__}
    if function.__defaults__ or function.__kwdefaults__:
        raise NotPortableError("defaults")
    return marshal.dumps(code), cells, names, count


def _names(code: CodeType) -> set[str]:
    """The names of globals and attributes that a function, and functions nested in it, use."""
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= _names(constant)
    return found
