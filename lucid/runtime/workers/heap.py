"""Memory that this process shares with its workers: arenas, packed weights, and copies of other arrays of a region.

It is one anonymous file (``memfd_create``), far larger than memory; only pages that are written to take any. Every
process maps it once, so an offset means the same to all of them, and a worker that is started later can read what was
allocated before. Each power of two has a part of the file for places of that size. A place is allocated by counting, or
taken from those given back. Both are single operations, so a signal handler that raises in between loses some
addresses, but no memory.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from collections import deque
from collections.abc import Callable
from functools import cache
from itertools import count
from typing import Any, TypeAlias

import numpy as np

from ...base.arrays import Array

SMALLEST, LARGEST = 16, 35
"""Binary logarithms of the sizes (bytes) of the smallest and the largest place."""
SIZES = tuple(1 << bits for bits in range(44, 35, -2))
"""Sizes (bytes) of the file to try, in this order."""
LARGE = 1 << 21
"""Bytes of a large page."""
_PROT, _SHARED, _PRIVATE, _FIXED, _ANONYMOUS, _NORESERVE = 3, 0x1, 0x2, 0x10, 0x20, 0x4000
_REMOVE, _HUGE, _DONTDUMP, _COLLAPSE = 9, 14, 16, 25
_FAILED = ctypes.c_void_p(-1).value


@cache
def libc() -> Any:
    """The C library, whose functions are called with the interpreter lock held; loaded once."""
    functions = ctypes.PyDLL(None, use_errno=True)
    functions.mmap.restype = ctypes.c_void_p
    functions.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_int64]
    functions.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    functions.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return functions


def map_file(file: int, size: int) -> int:
    """Map the file and return the address; forked children inherit the mapping, core dumps exclude it.

    It is aligned to large pages: the reserved range is larger by one page, and the excess at both ends is unmapped.
    """
    functions = libc()
    found = functions.mmap(None, size + LARGE, 0, _PRIVATE | _ANONYMOUS | _NORESERVE, -1, 0)
    if found in (None, _FAILED):
        raise OSError(ctypes.get_errno(), "no addresses for shared memory")
    before = -found % LARGE
    address = int(found + before)
    if functions.mmap(address, size, _PROT, _SHARED | _NORESERVE | _FIXED, file, 0) != address:
        functions.munmap(found, size + LARGE)
        raise OSError(ctypes.get_errno(), "no addresses for shared memory")
    for over, nbytes in ((found, before), (address + size, LARGE - before)):
        if nbytes:
            functions.munmap(over, nbytes)
    functions.madvise(address, size, _DONTDUMP)
    return address


def memory_at(address: int, nbytes: int) -> memoryview:
    """A view of these bytes as 64-bit numbers."""
    return memoryview((ctypes.c_char * nbytes).from_address(address)).cast("B").cast("q")


def enlarge(memory: Array) -> None:
    """Put new memory on large pages, as far as it fills them, which makes allocating and accessing it faster.

    Most systems use none for shared memory unless asked to collapse each range (Linux from 6.1 on), which must be
    partly allocated. If the system refuses, nothing changes.
    """
    whole = memory.nbytes - memory.nbytes % LARGE
    memory[:whole:LARGE] = 0
    libc().madvise(memory.ctypes.data, whole, _COLLAPSE)


class HeapPlace:
    """A place in the heap; an array made from it keeps it alive."""

    __slots__ = ("__array_interface__", "__weakref__")

    def __init__(self, address: int, nbytes: int) -> None:
        self.__array_interface__ = {"version": 3, "data": (address, False), "shape": (nbytes,), "typestr": "|u1"}


Lasting: TypeAlias = "list[tuple[HeapPlace, Array]]"


class Heap:
    """The shared memory.

    Parameters
    ----------
    freed
        Called with a weak reference when a place is no longer used, possibly at any moment, so it must be written in C.
        Pass the reference to :meth:`give_back` later.

    Raises
    ------
    OSError
        If there is no such memory.
    """

    def __init__(self, freed: Callable[[Any], object]) -> None:
        self._freed = freed
        self.file = os.memfd_create("lucid", os.MFD_CLOEXEC)
        try:
            self.size = self._extend()
            self.base = map_file(self.file, self.size)
        except BaseException:
            os.close(self.file)
            raise
        self._zone = self.size // (LARGEST - SMALLEST + 1) >> 21 << 21
        self._next = [count(int(bits == SMALLEST)) for bits in range(SMALLEST, LARGEST + 1)]  # the first is the board
        self._again: list[deque[int]] = [deque() for _ in range(SMALLEST, LARGEST + 1)]
        self._places: dict[object, tuple[int, int]] = {}
        self._lasting: dict[object, weakref.ref[HeapPlace]] = {}

    def _extend(self) -> int:
        for size in SIZES[:-1]:
            try:
                os.ftruncate(self.file, size)
                address = map_file(self.file, size)
            except OSError:
                continue
            libc().munmap(address, size)
            return size
        os.ftruncate(self.file, SIZES[-1])
        return SIZES[-1]

    def take(self, nbytes: int, lasting: bool = False) -> Array | None:
        """Allocate zeroed bytes, or return None if none are left. ``lasting`` memory exists in forked children too."""
        bits = max(SMALLEST, (max(nbytes, 1) - 1).bit_length())
        place = self._place(bits - SMALLEST, 1 << bits) if bits <= LARGEST else None
        if place is None:
            return None
        block = HeapPlace(self.base + place, nbytes)
        ref = weakref.ref(block, self._freed)
        self._places[ref] = place, bits - SMALLEST
        if lasting:
            self._lasting[ref] = ref
        found = np.asarray(block)
        if nbytes >= 1 << 22:
            libc().madvise(self.base + place, 1 << bits, _HUGE)
        if nbytes >= LARGE:
            enlarge(found)
        return found

    def _place(self, kind: int, size: int) -> int | None:
        try:
            return self._again[kind].pop()
        except IndexError:
            place = next(self._next[kind]) * size
        return kind * self._zone + place if place + size <= self._zone else None

    def give_back(self, ref: object) -> None:
        """Make the place that the reference stood for available again, and return its memory to the system."""
        self._lasting.pop(ref, None)
        found = self._places.pop(ref, None)
        if found is not None:
            place, kind = found
            size = 1 << (kind + SMALLEST)
            if libc().madvise(self.base + place, size, _REMOVE) == 0:  # so it is zero when it is next allocated
                self._again[kind].append(place)

    def offset(self, address: int) -> int | None:
        """The offset of an address in the heap; None if it is outside."""
        return address - self.base if self.base <= address < self.base + self.size else None

    def reaches(self, array: Array) -> bool:
        """Whether an array is in the heap."""
        return self.offset(int(array.__array_interface__["data"][0])) is not None

    def lasting(self) -> Lasting:
        """A copy of the present content of lasting places, for a forked child; the parent goes on to write to them."""
        places = [ref() for ref in tuple(self._lasting.values())]
        return [(place, np.array(place)) for place in places if place is not None]

    def leave(self, lasting: Lasting | None) -> None:
        """In a forked child, replace the shared mapping by private memory with the former content of lasting places.

        A lasting place that is not recorded, as another thread has just allocated it, keeps its present content.
        """
        noted = {id(place) for place, _ in lasting or ()}
        lasting = [*(lasting or ()), *(one for one in self.lasting() if id(one[0]) not in noted)]
        libc().mmap(self.base, self.size, _PROT, _PRIVATE | _FIXED | _ANONYMOUS | _NORESERVE, -1, 0)
        for block, content in lasting:
            np.copyto(np.asarray(block), content)
