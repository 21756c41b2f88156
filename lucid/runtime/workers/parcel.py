"""Regions as bytes: their code, and what they read and write as places in the heap."""

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
"""A function of the worker's number, and how many workers there is work for."""

CONSTANTS = 1 << 24
"""Bytes of an array outside the heap up to which workers get a copy of it."""


PLAIN = frozenset({("builtins", "getattr"), ("builtins", "slice"), ("functools", "partial")})
"""What regions may be made of besides NumPy's functions and our own: methods, slices and calls that are prepared."""


class NotPortableError(Exception):
    """A region reads what only this process has."""


class Packer(pickle.Pickler):
    """Describes arrays by where in the heap they lie; those that lie elsewhere (constants) are copied there first.

    Parameters
    ----------
    heap
        What workers reach.
    constants
        Arrays that never change: workers get copies of them. What reads others outside the heap is not for workers.
    copies
        Those made so far, by the identity of the array they are of.
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
    """The addresses of the array's first byte and of the one after its last."""
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
    """Notes where the arrays lie that it meets."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), pickle.HIGHEST_PROTOCOL)
        self.found: list[tuple[int, int]] = []

    def persistent_id(self, thing: object) -> object:
        if isinstance(thing, np.ndarray):
            self.found.append(bounds(thing))
            return 0
        return 0 if isinstance(thing, ModuleType) else None


def spans(regions: Sequence[Region]) -> list[list[tuple[int, int]]]:
    """Where the arrays lie that each of the regions adds to those before it: their :func:`bounds`."""
    reader, found = _ArrayFinder(), list[list[tuple[int, int]]]()
    for function, count in regions:
        with contextlib.suppress(NotPortableError, pickle.PicklingError, TypeError, AttributeError, ValueError):
            reader.dump(_parts(function, count)[1:3])
        found.append(reader.found)
        reader.found = []
    return found


def meeting(places: Iterable[tuple[int, int]], arrays: Sequence[Array]) -> frozenset[int]:
    """The indices of those of the arrays that share a byte with one of these places."""
    full = [(low, high) for low, high in places if low < high]
    lows, highs = sorted(low for low, _ in full), sorted(high for _, high in full)
    # as many meet as have begun by its end and have not ended by its beginning
    return frozenset(
        i
        for i, (low, high) in enumerate(map(bounds, arrays))
        if low < high and bisect_left(lows, high) > bisect_right(highs, low)
    )


def pack(regions: Sequence[Region], heap: Heap, constants: Sequence[Array]) -> tuple[bytes, list[int], list[Array]]:
    """Those of the regions that a worker can do: their description, which they are, and memory it needs meanwhile."""
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
    """The globals (and attributes) that a function and those within it name."""
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= _names(constant)
    return found
