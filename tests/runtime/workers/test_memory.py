"""The memory that workers reach: where it lies, and on which pages."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Iterator
from queue import SimpleQueue

import numpy as np
import pytest

from lucid.runtime.workers import heap
from lucid.runtime.workers.heap import LARGE, Heap, map_file
from lucid.runtime.workers.settings import POSSIBLE

pytestmark = pytest.mark.skipif(not POSSIBLE, reason="there are no processes to share memory with on such a system")


@pytest.fixture
def made() -> Iterator[Heap]:
    found = Heap(SimpleQueue[object]().put)
    yield found
    heap.libc().munmap(found.base, found.size)
    os.close(found.file)


def on_large_pages(memory: Heap) -> int:
    """Bytes of it that lie on large pages, as this process reaches them."""
    total, inside = 0, False
    with open("/proc/self/smaps") as file:
        for line in file:
            name, *rest = line.split()
            if "-" in name:
                inside = memory.base <= int(name.split("-")[0], 16) < memory.base + memory.size
            elif inside and name == "ShmemPmdMapped:":
                total += int(rest[0]) << 10
    return total


def gives_large_pages() -> bool:
    """Whether the system gives shared memory a large page where all of it is there and asked for."""
    file = os.memfd_create("probe")
    os.ftruncate(file, LARGE)
    place = map_file(file, LARGE)
    ctypes.memset(place, 1, LARGE)
    given = bool(heap.libc().madvise(place, LARGE, 25) == 0)
    heap.libc().munmap(place, LARGE)
    os.close(file)
    return given


def test_the_heap_begins_where_a_large_page_may() -> None:
    size, places = 1 << 24, []
    file = os.memfd_create("test")
    os.ftruncate(file, size)
    try:
        for odd in (1, 3, 7):
            with mmap.mmap(-1, odd * mmap.PAGESIZE):  # so that the next addresses that are free begin anywhere
                places.append(map_file(file, size))
                assert places[-1] % LARGE == 0
        first, last = (np.asarray(heap.HeapPlace(place, size)) for place in (places[0], places[-1]))
        first[:: 1 << 20] = np.arange(16)
        assert (last[:: 1 << 20] == np.arange(16)).all()
    finally:
        for place in places:
            heap.libc().munmap(place, size)
        os.close(file)


def test_memory_lies_on_as_many_large_pages_as_it_fills(made: Heap) -> None:
    if not gives_large_pages():
        pytest.skip("the system gives none")
    small = made.take(LARGE - 1)
    assert on_large_pages(made) == 0
    large = made.take(3 * LARGE + LARGE // 2)
    assert on_large_pages(made) == 3 * LARGE
    assert small is not None
    assert large is not None
    assert os.fstat(made.file).st_blocks * 512 == 3 * LARGE  # and no memory beyond these


def test_memory_is_zero_at_first_and_again(made: Heap) -> None:
    for _ in range(2):
        found = made.take(2 * LARGE + 5)
        assert found is not None
        assert not found.any()
        found.fill(7)
        place = found.ctypes.data
        (ref,) = made._places
        del found
        made.give_back(ref)
    again = made.take(3 * LARGE)
    assert again is not None
    assert again.ctypes.data == place


def test_a_system_without_large_pages_is_none_the_worse(made: Heap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap, "_COLLAPSE", 1 << 20)  # advice that no system knows
    found = made.take(2 * LARGE)
    assert found is not None
    assert not found.any()
    found.fill(1)
    assert found.all()
