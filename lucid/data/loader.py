"""DataLoader: batches of a dataset, in order or shuffled, prefetched by threads, with a state for resuming."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

from ..base import checks
from ..base.checks import shown
from ..base.structs import struct
from ..errors import OptionError
from ..graph.rng import Keys, derived_key, keys_from
from ..tensor.generator import Generator, keys_of
from .collate import default_collate, default_convert
from .dataset import Dataset, IterableDataset, Numbered, batch_of, samples_of
from .sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler
from .workers import END, Crew, Task, WorkerInfo, batches

T = TypeVar("T")

_KEYS = (1 << 64) - 1
_ELSEWHERE = {
    **dict.fromkeys(("pin_memory", "pin_memory_device"), "everything runs on the processor"),
    **dict.fromkeys(("multiprocessing_context", "persistent_workers"), "workers are threads, which start at once"),
    "in_order": "batches come in order",
}
"""Arguments of PyTorch's loader that have no purpose here, and why."""


@struct
class _Epoch:
    """One pass through the data; everything random in it is determined by its key."""

    key: int
    sampler: Mapping[str, object]
    taken: int = 0


class DataLoader(Generic[T]):
    """An iterable over batches of a dataset.

    Parameters
    ----------
    dataset
        A dataset with samples by index, or an :class:`IterableDataset`.
    batch_size
        Samples per batch; None yields samples without batching them.
    shuffle
        Whether each epoch has a new random order.
    sampler
        Instead of ``shuffle``: a sampler or another iterable of indices.
    batch_sampler
        Instead of ``batch_size``, ``shuffle``, ``sampler`` and ``drop_last``: an iterable of lists of indices.
    num_workers
        Threads that prepare batches ahead; with 0 a batch is made on demand. Batches and their order do not depend on
        it. NumPy and file reads release the interpreter lock.
    collate_fn
        Makes a batch from a list of samples; by default the dataset's ``__getbatch__``, or :func:`default_collate`.
    drop_last
        Leave out a smaller last batch.
    timeout
        Seconds to wait for a batch from a worker before it is an error; 0 waits forever.
    worker_init_fn
        Called in each worker at the start of an epoch, with the worker's number.
    generator
        The generator of the order; by default the one that :func:`lucid.manual_seed` seeds.
    prefetch_factor
        The number of batches that each worker prepares ahead, 2 by default.

    Notes
    -----
    Random numbers that a dataset draws through Lucid (``lucid.rand`` and others) are determined by the key of the epoch
    and the number of the batch, so they are the same for any number of workers, and when training is resumed.
    """

    def __init__(
        self,
        dataset: Dataset[T] | Numbered,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[int] | None = None,
        batch_sampler: Iterable[Sequence[int]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[T]], object] | None = None,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], object] | None = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        **others: object,
    ) -> None:
        for name in others:
            why = _ELSEWHERE.get(name, f"there is no such argument; there are {', '.join(_ARGUMENTS)}")
            raise OptionError(f"DataLoader: {name}: {why}; leave it out")
        self.dataset = dataset
        self.num_workers = checks.integer("DataLoader", "num_workers", num_workers, 0)
        self.timeout = checks.number("DataLoader", "timeout", timeout, 0.0, below=math.inf)
        if not num_workers and (prefetch_factor is not None or self.timeout):
            raise OptionError("DataLoader: prefetch_factor and timeout are for num_workers above 0")
        self.prefetch_factor = 2
        if prefetch_factor is not None:
            self.prefetch_factor = checks.integer("DataLoader", "prefetch_factor", prefetch_factor)
        for what, function in (("collate_fn", collate_fn), ("worker_init_fn", worker_init_fn)):
            if function is not None:
                checks.function("DataLoader", what, function)
        self.collate_fn, self.worker_init_fn = collate_fn, worker_init_fn
        keys_of("DataLoader", generator)
        self.generator = generator
        shuffle = False if shuffle is None else checks.flag("DataLoader", "shuffle", shuffle)
        self.drop_last = checks.flag("DataLoader", "drop_last", drop_last)
        self.batch_size = None if batch_size is None else checks.integer("DataLoader", "batch_size", batch_size)
        self._choose(shuffle, sampler, batch_sampler)
        self._epoch: _Epoch | None = None
        self._resumed: _Epoch | None = None

    def _choose(
        self, shuffle: bool, sampler: Iterable[int] | None, batch_sampler: Iterable[Sequence[int]] | None
    ) -> None:
        """Choose what yields the indices of samples, and of batches."""
        if isinstance(self.dataset, IterableDataset):
            if shuffle or sampler is not None or batch_sampler is not None:
                raise OptionError("DataLoader: an IterableDataset has its own order: leave out shuffle and sampler")
        elif not hasattr(self.dataset, "__getitem__"):
            raise OptionError(f"DataLoader: needs a dataset with __getitem__, got {shown(self.dataset)}")
        if sampler is not None and shuffle:
            raise OptionError("DataLoader: give shuffle or a sampler, not both")
        if batch_sampler is not None:
            if self.batch_size != 1 or shuffle or sampler is not None or self.drop_last:
                raise OptionError(
                    "DataLoader: with a batch_sampler leave out batch_size, shuffle, sampler and drop_last"
                )
            self.batch_size = None
        elif self.batch_size is None and self.drop_last:
            raise OptionError("DataLoader: drop_last needs batches, and with batch_size=None there are none")
        for name, given in (("sampler", sampler), ("batch_sampler", batch_sampler)):
            if given is not None and not isinstance(given, Iterable):
                raise OptionError(f"DataLoader: {name} is a sampler or another iterable, got {shown(given)}")
            if isinstance(given, Iterator):
                raise OptionError(
                    f"DataLoader: {name}: an iterator is exhausted after one pass; give a list or a Sampler"
                )
        self.sampler, self.batch_sampler = sampler, batch_sampler
        if self.sampler is None and not isinstance(self.dataset, IterableDataset) and batch_sampler is None:
            source: Dataset[object] = self.dataset  # type: ignore[assignment]
            self.sampler = RandomSampler(source) if shuffle else SequentialSampler(source)  # type: ignore[arg-type]
        if self.sampler is not None and self.batch_size is not None:
            self.batch_sampler = BatchSampler(self.sampler, self.batch_size, self.drop_last)

    def __len__(self) -> int:
        if isinstance(self.dataset, IterableDataset):
            count = len(self.dataset)  # type: ignore[arg-type]  # a TypeError where it has no length
            whole, rest = divmod(count, self.batch_size or 1)
            return whole + bool(rest and not self.drop_last)
        return len(self._numbers)  # type: ignore[arg-type]

    @property
    def _numbers(self) -> Iterable[object]:
        """The source of tasks: lists of indices, or single indices."""
        found = self.batch_sampler if self.batch_sampler is not None else self.sampler
        assert found is not None
        return found

    # ------------------------------------------------------------ a pass

    def __iter__(self) -> Iterator[Any]:
        epoch, resumed = self._resumed, self._resumed is not None
        if epoch is None:
            epoch = _Epoch(keys_of("DataLoader", self.generator).next(), self._sampler_state())
        self._epoch, self._resumed = epoch, None
        own = None if self.generator is None else self.generator.keys.state
        if resumed:
            self._set_sampler(epoch.sampler)
        drawn, numbered = Keys(epoch.key), None
        if not isinstance(self.dataset, IterableDataset):
            with keys_from(drawn):
                numbered = iter(self._numbers)
        if resumed and self.generator is not None and own is not None:
            self.generator.keys.state = own  # which the sampler may draw from too, and has now drawn from twice
        return self._pass(epoch, self._made(epoch, numbered, drawn, epoch.taken))

    def _pass(self, epoch: _Epoch, made: Iterator[object]) -> Iterator[object]:
        """The batches, counting those that were handed out; the epoch is forgotten when it ends."""
        for batch in made:
            epoch.taken += 1
            yield batch
        if self._epoch is epoch:
            self._epoch = None

    def _made(self, epoch: _Epoch, numbered: Iterator[object] | None, drawn: Keys, skipped: int) -> Iterator[object]:
        """The batches of a pass, without the first ``skipped``."""
        if numbered is None:
            tasks: Iterator[Task] = ((number, None) for number in itertools.count())
        else:
            tasks = itertools.islice(_tasks(numbered, drawn), skipped, None)
        begin = self._beginning(epoch)
        if self.num_workers:
            count = self.num_workers
            infos = [WorkerInfo(i, count, derived_key(epoch.key, 0, i), self.dataset) for i in range(count)]
            made = batches(Crew(infos, begin, self.prefetch_factor, self.timeout), tasks)
        else:
            make = begin(None)
            made = itertools.takewhile(lambda batch: batch is not END, (make(task) for task in tasks))
        return made if numbered is not None else itertools.islice(made, skipped, None)

    def _beginning(self, epoch: _Epoch) -> Callable[[WorkerInfo | None], Callable[[Task], object]]:
        """A function that a worker, or the loop itself, calls at the start of a pass; it returns what makes batches."""
        key, dataset = epoch.key, self.dataset

        def begin(info: WorkerInfo | None) -> Callable[[Task], object]:
            own, numbers = 0 if info is None else info.id, itertools.count()
            with keys_from(Keys(derived_key(key, 2, own))):
                if info is not None and self.worker_init_fn is not None:
                    self.worker_init_fn(info.id)
                if not isinstance(dataset, IterableDataset):
                    return lambda task: self._fetch(derived_key(key, 1, task[0]), task[1])
                samples = iter(dataset)
            return lambda _: self._next(derived_key(key, 3, own, next(numbers)), samples)

        return begin

    def _fetch(self, key: int, numbers: object) -> object:
        """The batch of samples at these indices, or the sample at a single one."""
        dataset: Numbered = self.dataset
        with keys_from(Keys(key)):
            if self.batch_sampler is None:
                return self._converted(dataset[numbers])  # type: ignore[index]
            listed = list(numbers)  # type: ignore[call-overload]
            if self.collate_fn is None:
                return batch_of(dataset, listed)
            return self.collate_fn(list(samples_of(dataset, listed)))  # type: ignore[arg-type]

    def _next(self, key: int, samples: Iterator[T]) -> object:
        """The next batch (or sample) of an iterable dataset; :data:`END` if there is none."""
        with keys_from(Keys(key)):
            if self.batch_size is None:
                sample = next(samples, END)
                return sample if sample is END else self._converted(sample)
            batch = list(itertools.islice(samples, self.batch_size))
            if not batch or (self.drop_last and len(batch) < self.batch_size):
                return END
            return default_collate(batch) if self.collate_fn is None else self.collate_fn(batch)

    def _converted(self, sample: object) -> object:
        return default_convert(sample) if self.collate_fn is None else self.collate_fn(sample)  # type: ignore[arg-type]

    # ------------------------------------------------------------ where it is

    def _stateful(self) -> Sampler[object] | None:
        numbers = None if isinstance(self.dataset, IterableDataset) else self._numbers
        return numbers if isinstance(numbers, Sampler) else None

    def _sampler_state(self) -> Mapping[str, object]:
        sampler = self._stateful()
        return {} if sampler is None else sampler.state_dict()

    def _set_sampler(self, state: Mapping[str, object]) -> None:
        sampler = self._stateful()
        if sampler is not None:
            sampler.load_state_dict(state)
        elif state:
            raise OptionError(f"DataLoader: its sampler has no state, got {shown(state)}")

    def state_dict(self) -> dict[str, object]:
        """The position in the epoch that was begun last, unless it has ended, and the state of the order's generator.

        A loop over a loader with this state continues with the next batch.
        """
        own = None if self.generator is None else self.generator.keys.state
        epoch = self._resumed or self._epoch
        sampler = dict(self._sampler_state() if epoch is None else epoch.sampler)
        place = None if epoch is None else {"key": epoch.key, "taken": epoch.taken, "batch_size": self.batch_size}
        return {"generator": own, "sampler": sampler, "epoch": place}

    def load_state_dict(self, state_dict: Mapping[str, object]) -> None:
        """Restore what :meth:`state_dict` returned: the next loop continues from there."""
        name = "DataLoader"
        given = _fields(name, "a state", state_dict, ("epoch", "generator", "sampler"))
        if (given["generator"] is None) != (self.generator is None):
            raise OptionError(f"{name}: the state is of a loader {'without' if self.generator else 'with'} a generator")
        own = None if self.generator is None else checks.integer(name, "generator", given["generator"], 0, _KEYS)
        sampler, found = checks.mapping(name, "sampler of a state", given["sampler"]), None
        if given["epoch"] is not None:
            epoch = _fields(name, "epoch of a state", given["epoch"], ("batch_size", "key", "taken"))
            if repr(epoch["batch_size"]) != repr(self.batch_size):
                its = shown(epoch["batch_size"])
                raise OptionError(f"{name}: the state counts batches of batch_size {its}, here it is {self.batch_size}")
            key = checks.integer(name, "key of a state", epoch["key"], 0, _KEYS)
            found = _Epoch(key, dict(sampler), checks.integer(name, "taken of a state", epoch["taken"], 0))
        self._set_sampler(sampler)
        if self.generator is not None and own is not None:
            self.generator.keys.state = own
        self._resumed, self._epoch = found, None


_ARGUMENTS = DataLoader.__init__.__code__.co_varnames[1:13]


def _fields(owner: str, what: str, state: object, names: Sequence[str]) -> Mapping[str, object]:
    found = checks.mapping(owner, what, state)
    if set(found) != set(names):
        raise OptionError(f"{owner}: {what} has {', '.join(names)}, got {shown(sorted(map(str, found)))}")
    return found


def _tasks(numbered: Iterator[object], drawn: Keys) -> Iterator[Task]:
    """The indices that a sampler yields, numbered; random numbers that it draws come from these keys."""
    for number in itertools.count():
        with keys_from(drawn):
            one = next(numbered, END)
        if one is END:
            return
        yield number, one
