"""What the ranks of a step say to each other: first whether all are to do the same, then sums, bucket after bucket."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..base.arrays import Array
from ..errors import ExecutionError
from . import mpi
from .group import Group

FLAGS = 2
"""How many numbers the last sum begins with: how many ranks have failed, and the sum of their numbers."""

Bucket = tuple[np.dtype[np.generic], int]
"""What is added up at a time: of which type, and how many numbers."""


class StepExchange:
    """The sums of a step, call after call. All ranks make as many calls, and begin the same sums in the same order.

    A rank that fails in a call tells the others: it gives them what they wait for, and its failure with the last sum.
    So no rank is left waiting, and none has updated anything.

    Parameters
    ----------
    group
        The ranks. What they say here does not mix with what they say elsewhere.
    """

    def __init__(self, group: Group) -> None:
        self.group = group
        self._communicator = group.communicator.Dup()
        self._requests: list[mpi.Request] = []
        self._arrays: list[Array] = []
        self._ended = 0
        self._kept: dict[int, Array] = {}
        self._expected: Sequence[Bucket] | None = None

    # ------------------------------------------------------------ before a run

    def agree(self, digests: Mapping[str, int]) -> list[str]:
        """Wait for all ranks, and say which of these numbers, from 0 to 2**62, are not the same in all."""
        names = list(digests)
        failed, *pairs = self._largest([0, *(sign * digests[name] for name in names for sign in (1, -1))])
        self._raise_failed(failed)
        return [name for i, name in enumerate(names) if pairs[2 * i] != -pairs[2 * i + 1]]

    def fail(self, count: int) -> None:
        """Tell ranks that :meth:`agree` on so many numbers that this one has failed before."""
        self._largest([self.group.rank + 1, *([-(1 << 62)] * (2 * count))])

    def union(self, held: Sequence[bool]) -> list[bool]:
        """What holds in any rank."""
        return [bool(one) for one in self._largest([int(one) for one in held])]

    def _largest(self, numbers: Sequence[int]) -> list[int]:
        array = np.array(numbers, np.int64)
        self._wait(mpi.summed(self.group.library, self._communicator, array, self.group.library.MAX))
        found: list[int] = array.tolist()
        return found

    # ------------------------------------------------------------ a run

    def expect(self, buckets: Sequence[Bucket]) -> None:
        """A run begins, in which there will be these sums."""
        self._requests, self._arrays, self._ended, self._kept = [], [], 0, {}
        self._expected = buckets

    def begin(self, number: int, array: Array) -> None:
        if number in self._kept:
            array[...] = self._kept.pop(number)
            self._arrays[number] = array
            return
        self._add_up(array)
        self.go_on()

    def _add_up(self, array: Array) -> None:
        """Begin a sum; no code of Python's runs before it stands in the list, so no signal's handler comes between."""
        library = self.group.library
        del self._arrays[len(self._requests) :]  # which an interrupt has left
        self._arrays.append(array)
        self._requests.extend(map(self._communicator.Iallreduce, (library.IN_PLACE,), (array,), (library.SUM,)))

    def go_on(self) -> None:
        for request in self._requests[self._ended :]:
            request.Test()

    def end(self, number: int) -> None:
        while self._ended <= number:
            self._wait(self._requests[self._ended])
            self._ended += 1
        assert self._expected is not None
        if number == len(self._expected) - 1:
            self._check(self._arrays[number])

    def again(self) -> None:
        if self._requests:
            for number, request in enumerate(self._requests):
                self._wait(request)
                self._kept[number] = self._arrays[number].copy()
            self._ended = len(self._requests)

    def finish(self) -> None:
        """A run is over. Where an error has ended it, the other ranks are told."""
        expected, self._expected = self._expected or (), None
        for number in range(len(self._requests), len(expected)):
            dtype, count = expected[number]
            zeros = np.zeros(count, dtype)
            if number == len(expected) - 1:
                zeros[:FLAGS] = 1, self.group.rank + 1
            self._add_up(zeros)
        for request in self._requests[self._ended :]:
            self._wait(request)
        self._requests, self._arrays = [], []

    def _check(self, last: Array) -> None:
        failed, ranks = last[:FLAGS].tolist()
        if failed:
            self._raise_failed(int(ranks) if failed == 1 else -1)

    def _raise_failed(self, rank: int) -> None:
        """Raise where another rank (by its number and 1; less than 0 where several) has failed."""
        if rank:
            who = f"rank {rank - 1} has" if rank > 0 else "other ranks have"
            raise ExecutionError(f"{who} failed in this step, so nothing was updated in any; see the error there")

    def _wait(self, request: mpi.Request) -> None:
        mpi.wait(request, self.group.timeout, f"rank {self.group.rank}, a training step")
