"""Samplers: the order in which, and how often, the samples of a dataset are used."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from typing import Generic, TypeVar

import numpy as np

from ..base import checks
from ..base.arrays import Array
from ..base.checks import shown
from ..distributed.group import get_rank, get_world_size
from ..errors import OptionError
from ..graph import rng
from ..graph.public import as_array
from ..graph.types import float64
from ..tensor.generator import Generator, keys_of

T_co = TypeVar("T_co", covariant=True)

_DRAWN = 1 << 16
"""How many numbers are drawn at once."""


class Sampler(Generic[T_co]):
    """Base class of samplers: a subclass defines ``__iter__()``, and ``__len__()`` if the length is known.

    What it draws in ``__iter__`` through Lucid's random numbers, such as :func:`lucid.randperm`, is drawn again when
    training is resumed. A sampler with other state defines ``state_dict()`` and ``load_state_dict(state)``: a loader
    saves the state at the start of the epoch.
    """

    generator: Generator | None = None

    def __iter__(self) -> Iterator[T_co]:
        raise OptionError(f"{type(self).__name__} does not define __iter__()")

    def state_dict(self) -> dict[str, object]:
        """What decides what comes next: where its generator is, if it has one."""
        return {} if self.generator is None else {"generator": self.generator.keys.state}

    def load_state_dict(self, state_dict: Mapping[str, object]) -> None:
        """Restore what :meth:`state_dict` returned."""
        name = type(self).__name__
        own = self.state_dict()
        if set(checks.mapping(name, "a state", state_dict)) != set(own):
            raise OptionError(f"{name}: a state has {sorted(own)}, got {shown(state_dict)}")
        if self.generator is not None:
            self.generator.keys.state = checks.integer(name, "generator", state_dict["generator"], 0, (1 << 64) - 1)

    def _draws(self) -> np.random.Generator:
        """The random numbers of one pass."""
        return rng.generator(keys_of(type(self).__name__, self.generator).next())


def _sized(owner: str, source: object) -> Sized:
    if not isinstance(source, Sized):
        raise OptionError(f"{owner}: data_source has a length, got {shown(source)}")
    return source


class SequentialSampler(Sampler[int]):
    """All samples in order."""

    def __init__(self, data_source: Sized) -> None:
        self.data_source = _sized("SequentialSampler", data_source)

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler[int]):
    """All samples in random order.

    Parameters
    ----------
    data_source
        The dataset.
    replacement
        Draw each sample from all samples, so that some occur several times and others not at all.
    num_samples
        The number of samples to draw, by default that of the dataset. If it is larger, without ``replacement``, every
        sample occurs once before any is repeated.
    generator
        The generator of the order; by default the one that :func:`lucid.manual_seed` seeds.
    """

    def __init__(
        self,
        data_source: Sized,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Generator | None = None,
    ) -> None:
        self.data_source = _sized("RandomSampler", data_source)
        self.replacement = checks.flag("RandomSampler", "replacement", replacement)
        self._count = None if num_samples is None else checks.integer("RandomSampler", "num_samples", num_samples)
        keys_of("RandomSampler", generator)
        self.generator = generator

    @property
    def num_samples(self) -> int:
        """The number of samples to draw."""
        return len(self.data_source) if self._count is None else self._count

    def __iter__(self) -> Iterator[int]:
        size, draws, left = len(self.data_source), self._draws(), self.num_samples
        if left and not size:
            raise OptionError(f"RandomSampler: {left} samples of a dataset that has none")
        return self._numbers(draws, size, left)

    def _numbers(self, draws: np.random.Generator, size: int, left: int) -> Iterator[int]:
        while left:
            some = draws.integers(size, size=min(left, _DRAWN)) if self.replacement else draws.permutation(size)[:left]
            yield from some.tolist()
            left -= len(some)

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler[int]):
    """The samples at the given indices, in random order; ``generator`` as for :class:`RandomSampler`."""

    def __init__(self, indices: Sequence[int], generator: Generator | None = None) -> None:
        self.indices: list[int] = checks.several("SubsetRandomSampler", "indices", indices)
        keys_of("SubsetRandomSampler", generator)
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        order = self._draws().permutation(len(self.indices)).tolist()
        return (self.indices[i] for i in order)

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler[int]):
    """Samples drawn at random, with given weights.

    Parameters
    ----------
    weights
        One for each sample of the dataset, none negative; they need not add up to 1.
    num_samples
        The number of samples to draw.
    replacement
        Whether a sample may be drawn repeatedly.
    generator
        As for :class:`RandomSampler`.
    """

    def __init__(
        self, weights: Sequence[float], num_samples: int, replacement: bool = True, generator: Generator | None = None
    ) -> None:
        name = "WeightedRandomSampler"
        self.weights: Array = as_array(name, weights, float64)
        if self.weights.ndim != 1:
            raise OptionError(f"{name}: weights must be one number for each sample, got the shape {self.weights.shape}")
        total = float(self.weights.sum()) if (self.weights >= 0).all() else math.nan
        if not 0 < total < math.inf:
            raise OptionError(f"{name}: weights must be finite, not negative, and not all zero, got {shown(weights)}")
        self.num_samples = checks.integer(name, "num_samples", num_samples)
        self.replacement = checks.flag(name, "replacement", replacement)
        there = int(np.count_nonzero(self.weights))
        if not self.replacement and self.num_samples > there:
            raise OptionError(
                f"{name}: {there} samples have a weight, {num_samples} cannot be drawn without replacement"
            )
        keys_of(name, generator)
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        share = self.weights / self.weights.sum()
        drawn = self._draws().choice(len(share), self.num_samples, replace=self.replacement, p=share)
        numbers: list[int] = drawn.tolist()
        return iter(numbers)

    def __len__(self) -> int:
        return self.num_samples


class DistributedSampler(Sampler[int]):
    """One rank's part of a dataset: every ``num_replicas``-th sample, equally many for each rank.

    Parameters
    ----------
    dataset
        All samples.
    num_replicas, rank
        The number of ranks, and the number of this one; by default those that ``mpiexec`` has started.
    shuffle
        Whether each epoch has a new order. It is derived from ``seed`` and the epoch, so all ranks agree.
    seed
        The same in all ranks.
    drop_last
        Leave out samples to make the parts equal; otherwise the first samples are repeated.

    Notes
    -----
    Call :meth:`set_epoch` before each epoch; :func:`lucid.fit` does so itself.
    """

    def __init__(
        self, dataset: Sized, num_replicas: int | None = None, rank: int | None = None, shuffle: bool = True,
        seed: int = 0, drop_last: bool = False,
    ) -> None:  # fmt: skip
        name = "DistributedSampler"
        self.dataset = _sized(name, dataset)
        size = get_world_size() if num_replicas is None else num_replicas
        self.num_replicas = checks.integer(name, "num_replicas", size)
        number = get_rank() if rank is None else rank
        self.rank = checks.integer(name, "rank", number, 0, self.num_replicas - 1)
        self.shuffle = checks.flag(name, "shuffle", shuffle)
        self.seed = checks.integer(name, "seed", seed, 0)
        self.drop_last = checks.flag(name, "drop_last", drop_last)
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the next epoch; each has an order of its own."""
        self.epoch = checks.integer("DistributedSampler", "epoch", epoch, 0)

    def __iter__(self) -> Iterator[int]:
        size, total = len(self.dataset), len(self) * self.num_replicas
        draws = rng.generator(rng.derived_key(self.seed, self.epoch))
        order = draws.permutation(size).tolist() if self.shuffle else range(size)
        return itertools.islice(itertools.cycle(order), self.rank, total, self.num_replicas)

    def __len__(self) -> int:
        whole, rest = divmod(len(self.dataset), self.num_replicas)
        return whole + bool(rest and not self.drop_last)

    def state_dict(self) -> dict[str, object]:
        """The epoch."""
        return {"epoch": self.epoch}

    def load_state_dict(self, state_dict: Mapping[str, object]) -> None:
        given = checks.mapping("DistributedSampler", "a state", state_dict)
        if set(given) != {"epoch"}:
            raise OptionError(f"DistributedSampler: a state has the epoch, got {shown(state_dict)}")
        self.set_epoch(given["epoch"])


class BatchSampler(Sampler[list[int]]):
    """The indices of another sampler, in lists.

    Parameters
    ----------
    sampler
        A sampler or another iterable.
    batch_size
        The length of a list.
    drop_last
        Leave out a shorter last list.
    """

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool) -> None:
        if not isinstance(sampler, Iterable):
            raise OptionError(f"BatchSampler: sampler is a sampler or another iterable, got {shown(sampler)}")
        self.sampler = sampler
        self.batch_size = checks.integer("BatchSampler", "batch_size", batch_size)
        self.drop_last = checks.flag("BatchSampler", "drop_last", drop_last)

    def __iter__(self) -> Iterator[list[int]]:
        return self._lists(iter(self.sampler))

    def _lists(self, numbers: Iterator[int]) -> Iterator[list[int]]:
        while batch := list(itertools.islice(numbers, self.batch_size)):
            if len(batch) == self.batch_size or not self.drop_last:
                yield batch

    def __len__(self) -> int:
        count = len(self.sampler)  # type: ignore[arg-type]  # a TypeError, as of anything without a length
        whole, rest = divmod(count, self.batch_size)
        return whole + bool(rest and not self.drop_last)

    def state_dict(self) -> dict[str, object]:
        """The state of the sampler."""
        return self.sampler.state_dict() if isinstance(self.sampler, Sampler) else {}

    def load_state_dict(self, state_dict: Mapping[str, object]) -> None:
        """Restore the state of the sampler."""
        if isinstance(self.sampler, Sampler):
            self.sampler.load_state_dict(state_dict)
        elif checks.mapping("BatchSampler", "a state", state_dict):
            raise OptionError(f"BatchSampler: its sampler has no state, got {shown(state_dict)}")
