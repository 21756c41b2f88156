"""Sums over the ranks of a group within the graph of a step, in buckets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ..graph.opdef import AbstractTensor, apply_all
from ..graph.ops.exchange import BEGIN, END, BeginAttrs, EndAttrs
from ..graph.ops.promotion import cast
from ..graph.ops.source import constant, full
from ..graph.types import float64, is_float

LARGE = 16
"""A value of at least one part in this many of a bucket's bytes is a bucket by itself."""


class Place(NamedTuple):
    """The rank that a step is compiled for.

    Attributes
    ----------
    rank, size
        Its number, and the number of ranks.
    bucket_bytes
        How many bytes are summed at a time.
    """

    rank: int
    size: int
    bucket_bytes: int


class Sums:
    """Sums over ranks, in the order in which they are requested, which is the same in all ranks.

    Parameters
    ----------
    place
        This rank.
    flags
        How many numbers at the start of the last sum are reserved for the ranks' own communication.

    Attributes
    ----------
    buckets
        The element type and size of each sum.
    """

    def __init__(self, place: Place, flags: int) -> None:
        self.place, self.flags = place, flags
        self.buckets: list[tuple[np.dtype[np.generic], int]] = []

    def of(self, values: Sequence[AbstractTensor]) -> list[AbstractTensor]:
        """The sum of each over all ranks."""
        found: dict[int, AbstractTensor] = {}
        for bucket in self._buckets(values):
            found.update(zip(bucket, self._sum([values[i] for i in bucket]), strict=True))
        return [found[i] for i in range(len(values))]

    def of_first(self, values: Sequence[AbstractTensor]) -> list[AbstractTensor]:
        """The values of each in rank 0."""
        return self.of(values if self.place.rank == 0 else [full(value, 0) for value in values])

    def last(self, values: Sequence[AbstractTensor]) -> list[AbstractTensor]:
        """The means of numbers over all ranks, by the last sum; in it, ranks also report failures."""
        flags: AbstractTensor = constant(values[0], np.zeros(self.flags))
        shares = [cast(value, float64) / self.place.size for value in values]
        found = self._sum([flags, *shares])[1:]
        return [cast(mean, value.type.dtype) for mean, value in zip(found, values, strict=True)]

    def _sum(self, values: Sequence[AbstractTensor]) -> Sequence[AbstractTensor]:
        number = len(self.buckets)
        flat_values = [value.reshape(-1) for value in values] if len(values) == 1 else values
        (flat,) = apply_all(BEGIN, BeginAttrs(number), *flat_values)
        self.buckets.append((flat.type.dtype, flat.type.concrete[0]))
        return apply_all(END, EndAttrs(number, tuple(value.type.shape for value in values)), flat)

    def _buckets(self, values: Sequence[AbstractTensor]) -> Iterator[list[int]]:
        """Indices of the values that are summed together; a large one alone, as it then need not be copied."""
        bucket: list[int] = []
        room = self.place.bucket_bytes
        for i, value in enumerate(values):
            if value.type.nbytes * LARGE >= self.place.bucket_bytes:
                yield [i]
                continue
            if bucket and (value.type.nbytes > room or value.type.dtype != values[bucket[0]].type.dtype):
                yield bucket
                bucket, room = [], self.place.bucket_bytes
            bucket.append(i)
            room -= value.type.nbytes
        if bucket:
            yield bucket


def averaged(value: AbstractTensor) -> bool:
    """Whether a value has a mean over ranks: it is of floats, and has the same shape in all."""
    return is_float(value.type.dtype) and all(isinstance(dim, int) for dim in value.type.shape)
