"""Communication between the ranks of a step: first whether all will do the same, then sums, bucket by bucket.

An interrupt may come at any moment of a call but one: a rank whose last sum has begun has promised to update as the
others do. All else that has begun is known from lists that only grow in C, between two lines of Python, so that what is
left to be said can be said at the end of a call, however that ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..base.arrays import Array
from ..errors import ExecutionError
from . import mpi
from .group import Group

FLAGS = 2
"""How many numbers the last sum begins with: how many ranks have failed, and the sum of their numbers."""

Bucket = tuple[np.dtype[np.generic], int]
"""What is added up at a time: of which type, and how many numbers."""


class Talk:
    """Something that ranks do together, and of which it is known how much of it has begun."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self._communicator = group.communicator.Dup()  # what is said here does not mix with what is said elsewhere
        self.requests: list[mpi.Request] = []
        self.arrays: list[Array] = []
        self.lost = False
        """Whether others were waited for in vain."""

    def begin(self, array: Array, op: object) -> None:
        """Begin to reduce an array over all ranks, in place."""
        del self.arrays[len(self.requests) :]  # which an interrupt has left
        self.arrays.append(array)
        self.requests.extend(map(self._communicator.Iallreduce, (self.group.library.IN_PLACE,), (array,), (op,)))

    def end(self, number: int) -> Array:
        """Wait for a sum, given by its number in order of beginning."""
        try:
            mpi.wait(self.requests[number], self.group.timeout, f"rank {self.group.rank}, a training step")
        except ExecutionError:
            self.lost = True
            raise
        return self.arrays[number]

    def clear(self) -> None:
        """Forget what has ended."""
        self.requests, self.arrays = [], []


class StepExchange:
    """The sums of a step, call after call. All ranks make as many calls, and begin the same sums in the same order.

    A rank that fails in a call tells the others: it gives them what they wait for, and its failure with the last sum.
    So no rank is left waiting, and none has updated anything.

    Parameters
    ----------
    group
        The ranks.

    Attributes
    ----------
    failure
        What other ranks have said of the present call.
    """

    def __init__(self, group: Group) -> None:
        self.group = group
        self._agreement, self._sums = Talk(group), Talk(group)
        self._asked: tuple[Array, Sequence[bool], Sequence[Bucket]] = np.zeros(0, np.int64), (), ()
        self._expected: Sequence[Bucket] = ()
        self._ended = 0
        self._kept: dict[int, Array] = {}
        self._promise: Callable[[], None] = lambda: None
        self.failure: ExecutionError | None = None

    # ------------------------------------------------------------ agreement

    def open(self, count: int) -> None:
        """A call begins, in which :meth:`agree` will be asked of so many numbers."""
        self._agreement.clear()
        self._sums.clear()
        self._asked = np.array([self.group.rank + 1, *([-(1 << 62)] * (2 * count))], np.int64), (), ()
        self._expected, self._ended, self._kept, self.failure = (), 0, {}, None

    def agree(
        self, digests: Mapping[str, int], held: Sequence[bool] = (), buckets: Sequence[Bucket] = ()
    ) -> tuple[list[str], Sequence[bool]]:
        """Wait for all ranks, and then expect these sums.

        Returns which of the numbers, from 0 to 2**62, are not the same in all ranks, and what is held in any. Where
        another number than the last differs, no sums are expected; the last one is for what is held.
        """
        signed = [sign * one for one in digests.values() for sign in (1, -1)]
        self._asked = np.array([0, *signed], np.int64), held, buckets
        failed, differ, anywhere = self._answer()
        self._raise_failed(failed)
        return [name for name, one in zip(digests, differ, strict=True) if one], anywhere

    def _answer(self) -> tuple[int, list[bool], Sequence[bool]]:
        """What all ranks have asked comes to; it may be asked for again where it was interrupted."""
        talk, (pairs, held, buckets) = self._agreement, self._asked
        if not talk.requests:
            talk.begin(pairs, self.group.library.MAX)
        failed, *found = talk.end(0).tolist()
        differ = [most != -least for most, least in zip(found[::2], found[1::2], strict=True)]
        if failed or any(differ[:-1]):
            return failed, differ, held
        if differ[-1] and held:
            if len(talk.requests) < 2:
                talk.begin(np.array(held, np.int64), self.group.library.MAX)
            held = talk.end(1).astype(bool).tolist()
        self._expected = self._expected or buckets
        return 0, differ, held

    def expect(self, buckets: Sequence[Bucket]) -> None:
        """Expect other sums than those that were agreed on, as all ranks do."""
        self._expected = buckets

    # ------------------------------------------------------------ a run

    def promising(self, promise: Callable[[], None]) -> None:
        """What to call before the last sum begins, so that no interrupt comes before the parameters are written."""
        self._promise = promise

    def begin(self, number: int, array: Array) -> None:
        if number in self._kept:
            array[...] = self._kept.pop(number)
            self._sums.arrays[number] = array
            return
        if number == len(self._expected) - 1:
            self._promise()
        self._sums.begin(array, self.group.library.SUM)
        self.go_on()

    def go_on(self) -> None:
        for request in self._sums.requests[self._ended :]:
            request.Test()

    def end(self, number: int) -> None:
        while self._ended <= number:
            self._sums.end(self._ended)
            self._ended += 1
        if number == len(self._expected) - 1:
            count, ranks = map(int, self._sums.arrays[number][:FLAGS])
            self._raise_failed(ranks if count < 2 else -1)

    def again(self) -> None:
        for number in range(len(self._sums.requests)):
            self._kept[number] = self._sums.end(number).copy()
        self._ended = len(self._sums.requests)

    def finish(self) -> None:
        """A call is over. Where an error has ended it, the other ranks are told, if they are there."""
        if self._agreement.lost or self._sums.lost:
            return
        self._answer()
        last = len(self._expected) - 1
        for number in range(len(self._sums.requests), len(self._expected)):
            dtype, count = self._expected[number]
            zeros = np.zeros(count, dtype)
            if number == last:
                zeros[:FLAGS] = 1, self.group.rank + 1
            self._sums.begin(zeros, self.group.library.SUM)
        for number in range(self._ended, len(self._sums.requests)):
            self._sums.end(number)

    def _raise_failed(self, rank: int) -> None:
        """Raise where another rank (by its number and 1; less than 0 where several) has failed."""
        if rank:
            who = f"rank {rank - 1} has" if rank > 0 else "other ranks have"
            self.failure = ExecutionError(f"{who} failed in this step, so nothing was updated; see the error there")
            raise self.failure
