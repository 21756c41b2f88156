"""Datasets: samples by index, or one after another."""

from __future__ import annotations

import bisect
import itertools
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

import numpy as np

from ..base import checks
from ..base.arrays import Array
from ..base.checks import shown
from ..errors import LucidError, OptionError, PositionError, ShapeError
from ..tensor.creation import as_tensor, randperm
from ..tensor.generator import Generator
from ..tensor.tensor import Tensor
from .collate import default_collate

T_co = TypeVar("T_co", covariant=True)


class Numbered(Protocol):
    """Anything with samples by index: a :class:`Dataset`, a list, an array."""

    def __getitem__(self, index: int, /) -> object:
        """The sample with this number."""


class Dataset(Generic[T_co]):
    """Base class of datasets with samples by index.

    A subclass defines ``__getitem__(index)`` and ``__len__()``. It may define ``__getitems__(indices)``, which returns
    a list of samples, and ``__getbatch__(indices)``, which returns a whole batch and is used by loaders without a
    ``collate_fn``: the place for work on many samples at once, such as randomly shifting images.
    """

    def __getitem__(self, index: int) -> T_co:
        """The sample with this number."""
        raise LucidError(f"{type(self).__name__} does not define __getitem__(index)")

    def __add__(self, other: Dataset[T_co]) -> Dataset[T_co]:
        """One after the other."""
        return ConcatDataset([self, other])


class IterableDataset(Dataset[T_co]):
    """Base class of datasets that yield samples one after another: a subclass defines ``__iter__()``.

    Each worker of a loader iterates separately: :func:`get_worker_info` says which part is its own.
    """

    def __iter__(self) -> Iterator[T_co]:
        """The samples."""
        raise LucidError(f"{type(self).__name__} does not define __iter__()")

    def __add__(self, other: Dataset[T_co]) -> Dataset[T_co]:
        """One after the other."""
        return ChainDataset([self, other])


def size_of(owner: str, dataset: object) -> int:
    """The number of samples of a dataset."""
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        raise OptionError(f"{owner}: needs a dataset with __getitem__ and __len__, got {shown(dataset)}")
    return len(dataset)


def _place(owner: str, index: object, size: int) -> int:
    found = checks.integer(owner, "index", index, -checks.LARGEST)
    if not -size <= found < size:
        raise PositionError(f"{owner}: there is no sample {found}, it has {size}")
    return found % size


class TensorDataset(Dataset[tuple[Tensor, ...]]):
    """Tensors or arrays with equally many rows; sample ``i`` is the tuple of their rows ``i``.

    Parameters
    ----------
    tensors
        Arrays are not copied.
    """

    def __init__(self, *tensors: Tensor | Array) -> None:
        if not tensors:
            raise OptionError("TensorDataset: needs at least one tensor")
        self.tensors = tuple(as_tensor(t) for t in tensors)
        shapes = [t.shape for t in self.tensors]
        if () in shapes or len({shape[0] for shape in shapes}) > 1:
            raise ShapeError(
                f"TensorDataset: all tensors must have the same number of rows, got the shapes {shown(shapes)}"
            )
        self._rows = len(self.tensors[0])

    def __len__(self) -> int:
        return self._rows

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        place = _place("TensorDataset", index, self._rows)
        return tuple(Tensor.wrap(np.array(t.numpy()[place])) for t in self.tensors)

    def __getbatch__(self, indices: Sequence[int]) -> list[Tensor]:
        """The rows with these numbers."""
        places = [_place("TensorDataset", index, self._rows) for index in indices]
        return [Tensor.wrap(t.numpy()[places]) for t in self.tensors]


class StackDataset(Dataset[object]):
    """Several datasets of equal length, whose samples are combined into tuples, or dicts if given by name."""

    def __init__(self, *args: Dataset[object], **kwargs: Dataset[object]) -> None:
        if bool(args) == bool(kwargs):
            raise OptionError("StackDataset: give datasets by position or by name, and at least one")
        self.datasets: tuple[Dataset[object], ...] | dict[str, Dataset[object]] = args or kwargs
        sizes = {size_of("StackDataset", one) for one in (args or kwargs.values())}
        if len(sizes) > 1:
            raise OptionError(f"StackDataset: all datasets must have the same number of samples, got {sorted(sizes)}")
        self._size = sizes.pop()

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: int) -> object:
        place = _place("StackDataset", index, self._size)
        if isinstance(self.datasets, dict):
            return {name: one[place] for name, one in self.datasets.items()}
        return tuple(one[place] for one in self.datasets)


class ConcatDataset(Dataset[T_co]):
    """The samples of several datasets, one dataset after another.

    Attributes
    ----------
    cumulative_sizes
        For each dataset, the number of samples up to its end.
    """

    def __init__(self, datasets: Iterable[Dataset[T_co]]) -> None:
        self.datasets: list[Dataset[T_co]] = checks.several("ConcatDataset", "datasets", datasets)
        if not self.datasets:
            raise OptionError("ConcatDataset: needs at least one dataset")
        self.cumulative_sizes = list(itertools.accumulate(size_of("ConcatDataset", one) for one in self.datasets))

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, index: int) -> T_co:
        place = _place("ConcatDataset", index, len(self))
        which = bisect.bisect_right(self.cumulative_sizes, place)
        return self.datasets[which][place - (self.cumulative_sizes[which - 1] if which else 0)]


class ChainDataset(IterableDataset[T_co]):
    """The samples of several iterable datasets, one dataset after another."""

    def __init__(self, datasets: Iterable[Dataset[T_co]]) -> None:
        self.datasets: list[IterableDataset[T_co]] = checks.several("ChainDataset", "datasets", datasets)
        for one in self.datasets:
            if not isinstance(one, IterableDataset):
                raise OptionError(f"ChainDataset: needs an IterableDataset, got {shown(one)}")

    def __iter__(self) -> Iterator[T_co]:
        return itertools.chain.from_iterable(self.datasets)


class Subset(Dataset[T_co]):
    """The samples of a dataset at the given indices, in this order."""

    def __init__(self, dataset: Dataset[T_co], indices: Sequence[int]) -> None:
        size_of("Subset", dataset)
        self.dataset = dataset
        given = indices.tolist() if isinstance(indices, Tensor | np.ndarray) else indices
        kept = isinstance(given, list | tuple | range)
        self.indices: Sequence[int] = given if kept else checks.several("Subset", "indices", given)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> T_co:
        return self.dataset[self.indices[_place("Subset", index, len(self))]]

    def numbers(self, indices: Sequence[int]) -> list[int]:
        """The indices of these samples in the whole dataset."""
        return [self.indices[_place("Subset", index, len(self))] for index in indices]


def random_split(
    dataset: Dataset[T_co], lengths: Sequence[float], generator: Generator | None = None
) -> list[Subset[T_co]]:
    """Randomly split a dataset into disjoint parts.

    Parameters
    ----------
    dataset
        The dataset to split.
    lengths
        The number of samples of each part, or its fraction of them: fractions add up to 1, and left-over samples go to
        the first parts, one each.
    generator
        The generator of the order; by default the one that :func:`lucid.manual_seed` seeds.
    """
    size = size_of("random_split", dataset)
    given = checks.several("random_split", "lengths", lengths)
    numbers = [checks.number("random_split", "a length", n, 0.0, below=math.inf) for n in given]
    shares = math.isclose(sum(numbers), 1) or any(n % 1 for n in numbers)
    counts = _shared(size, numbers) if shares else [checks.integer("random_split", "a length", n, 0) for n in given]
    if sum(counts) != size:
        raise OptionError(f"random_split: the lengths {shown(given)} add up to {sum(counts)}, the dataset has {size}")
    for i, count in enumerate(counts):
        if count == 0:
            warnings.warn(f"random_split: part {i} has no samples", stacklevel=2)
    order = randperm(size, generator=generator).tolist()
    ends = list(itertools.accumulate(counts))
    return [Subset(dataset, order[end - count : end]) for count, end in zip(counts, ends, strict=True)]


def _shared(size: int, shares: Sequence[float]) -> list[int]:
    """The number of samples of each fraction."""
    if not math.isclose(sum(shares), 1):
        raise OptionError(f"random_split: the shares {shown(shares)} add up to {sum(shares):g}, not to 1")
    counts = [math.floor(size * share) for share in shares]
    for i in range(size - sum(counts)):
        counts[i % len(counts)] += 1
    return counts


def samples_of(dataset: Numbered, indices: Sequence[int]) -> Sequence[object]:
    """The samples at these indices, by the dataset's ``__getitems__`` if it has one."""
    if type(dataset) is Subset:
        return samples_of(dataset.dataset, dataset.numbers(indices))
    several = overriding(dataset, "__getitems__")
    if several is not None:
        found: Sequence[object] = several(indices)
        if len(found) != len(indices):
            name = type(dataset).__name__
            raise OptionError(f"{name}.__getitems__: {len(found)} samples for {len(indices)} numbers")
        return found
    return [dataset[index] for index in indices]


def batch_of(dataset: Numbered, indices: Sequence[int]) -> object:
    """The collated batch of these samples, by the dataset's ``__getbatch__`` if it has one."""
    if type(dataset) is Subset:
        return batch_of(dataset.dataset, dataset.numbers(indices))
    whole = overriding(dataset, "__getbatch__")
    return default_collate(samples_of(dataset, indices)) if whole is None else whole(indices)


def overriding(dataset: object, name: str) -> Callable[[Sequence[int]], Sequence[object]] | None:
    """A method that replaces ``__getitem__``, unless a subclass overrides ``__getitem__``."""
    for kind in type(dataset).__mro__:
        if name in vars(kind):
            found: Callable[[Sequence[int]], Sequence[object]] = getattr(dataset, name)
            return found
        if "__getitem__" in vars(kind):
            return None
    return None
