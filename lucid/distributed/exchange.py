"""Communication between the ranks of a step: first an agreement that all do the same, then sums, bucket by bucket.

An interrupt may end a call at any time, except once its last sum has begun: from then on the rank has promised to
update like the others. What has begun is recorded in lists that are extended within a single C call, so an interrupt
cannot come in between, and the end of a call, however it comes about, can complete what the other ranks wait for.
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
"""The element type and size of one sum."""


class Reductions:
    """A sequence of reductions over all ranks, which records how many have begun."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self._communicator = group.communicator.Dup()  # keeps its messages apart from others
        self.requests: list[mpi.Request] = []
        self.arrays: list[Array] = []
        self.lost = False
        """Whether waiting for the other ranks has failed."""

    def begin(self, array: Array, op: object) -> None:
        """Begin to reduce an array over all ranks, in place."""
        del self.arrays[len(self.requests) :]  # left over from an interrupt
        self.arrays.append(array)
        self.requests.extend(map(self._communicator.Iallreduce, (self.group.library.IN_PLACE,), (array,), (op,)))

    def end(self, number: int) -> Array:
        """Wait for the reduction that began as number ``number``."""
        try:
            mpi.wait(self.requests[number], self.group.timeout, f"rank {self.group.rank}, a training step")
        except ExecutionError:
            self.lost = True
            raise
        return self.arrays[number]

    def clear(self) -> None:
        """Forget all reductions; they must have ended."""
        self.requests, self.arrays = [], []


class StepExchange:
    """The sums of a step. All ranks must make equally many calls, and begin the same sums in the same order.

    A rank that fails in a call still takes part in the sums that the others wait for, and reports its failure in the
    last one. So no rank is left waiting, and none updates anything.

    Parameters
    ----------
    group
        The ranks.

    Attributes
    ----------
    failure
        The failure of another rank in the present call.
    """

    def __init__(self, group: Group) -> None:
        self.group = group
        self._agreement, self._sums = Reductions(group), Reductions(group)
        self._asked: tuple[Array, Sequence[bool], Sequence[Bucket]] = np.zeros(0, np.int64), (), ()
        self._expected: Sequence[Bucket] = ()
        self._ended = 0
        self._kept: dict[int, Array] = {}
        self._promise: Callable[[], None] = lambda: None
        self.failure: ExecutionError | None = None

    # ------------------------------------------------------------ agreement

    def open(self, count: int) -> None:
        """Begin a call, in which :meth:`agree` will compare ``count`` numbers."""
        self._agreement.clear()
        self._sums.clear()
        self._asked = np.array([self.group.rank + 1, *([-(1 << 62)] * (2 * count))], np.int64), (), ()
        self._expected, self._ended, self._kept, self.failure = (), 0, {}, None

    def agree(
        self, digests: Mapping[str, int], held: Sequence[bool] = (), buckets: Sequence[Bucket] = ()
    ) -> tuple[list[str], Sequence[bool]]:
        """Compare digests with all ranks, and then expect these sums.

        Returns the names of the digests (numbers from 0 to 2**62) that differ between ranks, and what any rank holds.
        If one other than the last differs, no sums are expected; the last is the digest of ``held``.
        """
        signed = [sign * one for one in digests.values() for sign in (1, -1)]
        self._asked = np.array([0, *signed], np.int64), held, buckets
        failed, differ, anywhere = self._answer()
        self._raise_failed(failed)
        return [name for name, one in zip(digests, differ, strict=True) if one], anywhere

    def _answer(self) -> tuple[int, list[bool], Sequence[bool]]:
        """The outcome of the comparison; may be called again after an interrupt."""
        agreement, (pairs, held, buckets) = self._agreement, self._asked
        if not agreement.requests:
            agreement.begin(pairs, self.group.library.MAX)
        failed, *found = agreement.end(0).tolist()
        differ = [most != -least for most, least in zip(found[::2], found[1::2], strict=True)]
        if failed or any(differ[:-1]):
            return failed, differ, held
        if differ[-1] and held:
            if len(agreement.requests) < 2:
                agreement.begin(np.array(held, np.int64), self.group.library.MAX)
            held = agreement.end(1).astype(bool).tolist()
        self._expected = self._expected or buckets
        return 0, differ, held

    def expect(self, buckets: Sequence[Bucket]) -> None:
        """Expect other sums than those agreed on; all ranks do so alike."""
        self._expected = buckets

    # ------------------------------------------------------------ a run

    def promising(self, promise: Callable[[], None]) -> None:
        """Set what is called before the last sum begins, so that interrupts wait until the parameters are written."""
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
        """End a call. If it ended by an error, tell the other ranks, unless they are lost."""
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
        """Raise if another rank has failed: ``rank`` is its number plus 1, or negative for several."""
        if rank:
            who = f"rank {rank - 1} has" if rank > 0 else "other ranks have"
            self.failure = ExecutionError(f"{who} failed in this step, so nothing was updated; see the error there")
            raise self.failure
