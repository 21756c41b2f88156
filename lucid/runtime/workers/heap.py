"""Memory that this process and its workers reach: arenas, packed weights, and copies of what else a region reads.

One file without a name (``memfd_create``), far larger than memory, of which only what is written to takes any. All
map it once, so a place in it is a number that means the same to everybody, and a worker that is started later reaches
what was there before it. Each power of two has a part of the file of its own; a place is taken by counting, or from
those that were given back. Both are single operations: a signal's handler that raises in between loses some addresses,
no memory.
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
"""Binary logarithms of the bytes of the smallest and the largest place."""
SIZES = tuple(1 << bits for bits in range(44, 35, -2))
"""Bytes of the file that are tried, the first that can be had is taken."""
LARGE = 1 << 21
"""Bytes of a large page."""
_PROT, _SHARED, _PRIVATE, _FIXED, _ANONYMOUS, _NORESERVE = 3, 0x1, 0x2, 0x10, 0x20, 0x4000
_REMOVE, _HUGE, _DONTDUMP, _COLLAPSE = 9, 14, 16, 25
_FAILED = ctypes.c_void_p(-1).value


@cache
def libc() -> Any:
    """The system's functions, called with the interpreter lock held; ``ctypes`` makes classes for them, once."""
    functions = ctypes.PyDLL(None, use_errno=True)
    functions.mmap.restype = ctypes.c_void_p
    functions.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_int64]
    functions.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    functions.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return functions


def map_file(file: int, size: int) -> int:
    """The address at which the file is mapped now; a forked child has it too, a dump of the process does not.

    It begins where a large page may: addresses for one more are taken, and what is over at both ends is given back.
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
    """These bytes, as numbers of 64 bits."""
    return memoryview((ctypes.c_char * nbytes).from_address(address)).cast("B").cast("q")


def enlarge(memory: Array) -> None:
    """Have new memory on large pages, as many as it fills: a quicker way to have it, and to reach it.

    Most systems give shared memory none unless each is asked for (which Linux takes from 6.1 on), and then for pages
    that are partly there. Where it gives none, all is as it was.
    """
    whole = memory.nbytes - memory.nbytes % LARGE
    memory[:whole:LARGE] = 0
    libc().madvise(memory.ctypes.data, whole, _COLLAPSE)


class HeapPlace:
    """A place in the heap; the array made of it keeps it."""

    __slots__ = ("__array_interface__", "__weakref__")

    def __init__(self, address: int, nbytes: int) -> None:
        self.__array_interface__ = {"version": 3, "data": (address, False), "shape": (nbytes,), "typestr": "|u1"}


Lasting: TypeAlias = "list[tuple[HeapPlace, Array]]"


class Heap:
    """The memory itself.

    Parameters
    ----------
    freed
        Called with a weak reference when a place is no longer used, possibly in the middle of anything: a function
        written in C. Give the reference to :meth:`give_back` later.

    Raises
    ------
    OSError
        Where there is no such memory.
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
        """So many zero bytes; None where none are left. What is ``lasting`` is there in a forked child too."""
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
        """The place that the reference stood for may be used again; its memory goes back to the system."""
        self._lasting.pop(ref, None)
        found = self._places.pop(ref, None)
        if found is not None:
            place, kind = found
            size = 1 << (kind + SMALLEST)
            if libc().madvise(self.base + place, size, _REMOVE) == 0:  # so it is zero when it is taken again
                self._again[kind].append(place)

    def offset(self, address: int) -> int | None:
        """Where in the heap an address is."""
        return address - self.base if self.base <= address < self.base + self.size else None

    def reaches(self, array: Array) -> bool:
        """Whether an array lies in it."""
        return self.offset(int(array.__array_interface__["data"][0])) is not None

    def lasting(self) -> Lasting:
        """What is in the places that last, as it is now: whoever has a child next goes on to write to them."""
        places = [ref() for ref in tuple(self._lasting.values())]
        return [(place, np.array(place)) for place in places if place is not None]

    def leave(self, lasting: Lasting | None) -> None:
        """In a forked child: private memory takes its place, and nothing is kept but what lasts, as it was before.

        What was not noted, as another thread has just taken it, is kept as it is.
        """
        noted = {id(place) for place, _ in lasting or ()}
        lasting = [*(lasting or ()), *(one for one in self.lasting() if id(one[0]) not in noted)]
        libc().mmap(self.base, self.size, _PROT, _PRIVATE | _FIXED | _ANONYMOUS | _NORESERVE, -1, 0)
        for block, content in lasting:
            np.copyto(np.asarray(block), content)
