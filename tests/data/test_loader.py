"""Batches: their order, what they are made of, threads that make them ahead, and going on where one was."""

from __future__ import annotations

import threading
import time
import traceback
from collections import OrderedDict, namedtuple
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import lucid
from lucid.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    TensorDataset,
    default_convert,
    get_worker_info,
)
from lucid.errors import LucidError, OptionError, ShapeError

Pair = namedtuple("Pair", "a b")


class Noisy(Dataset[Any]):
    """Slow where the number is even, and with random numbers of its own."""

    def __init__(self, size: int = 11, slow: float = 0.0) -> None:
        self.size, self.slow = size, slow

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Any:
        time.sleep(self.slow * (index % 2 == 0))
        return index, lucid.rand(2)


class Lines(IterableDataset[Any]):
    """The numbers below one, shared over the workers, with random numbers."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __iter__(self) -> Iterator[Any]:
        info = get_worker_info()
        mine = range(self.size) if info is None else range(info.id, self.size, info.num_workers)
        return ((i, lucid.rand(1)) for i in mine)


def listed(loader: Any) -> list[Any]:
    return [[one.tolist() for one in batch] for batch in loader]


# ---------------------------------------------------------------- batches


def test_batches_in_order() -> None:
    data = TensorDataset(np.arange(5.0), np.arange(5))
    loader = DataLoader(data, batch_size=2)
    assert listed(loader) == [[[0.0, 1.0], [0, 1]], [[2.0, 3.0], [2, 3]], [[4.0], [4]]] and len(loader) == 3
    short = DataLoader(data, 2, drop_last=True)
    assert listed(short) == listed(loader)[:2] and len(short) == 2
    assert len(list(DataLoader(data, 9))) == 1 and list(DataLoader(data, 9, drop_last=True)) == []
    assert [[t.item() for t in sample] for sample in DataLoader(data, None)] == [[i, i] for i in range(5)]
    assert listed(DataLoader(data, batch_sampler=[[4], [0, 1]])) == [[[4.0], [4]], [[0.0, 1.0], [0, 1]]]
    assert listed(DataLoader(data, 2, sampler=[3, 3, 1]))[0][1] == [3, 3]
    for empty in (DataLoader([], 2), DataLoader([], 2, shuffle=True), DataLoader(TensorDataset(np.ones((0, 3))), 2)):
        assert list(empty) == [] and len(empty) == 0
    assert list(DataLoader("abc", 2)) == [["a", "b"], ["c"]]  # type: ignore[arg-type]
    assert DataLoader([1, 2, 3], 3, collate_fn=sum).__iter__().__next__() == 6  # type: ignore[arg-type]


def test_what_samples_are_made_of() -> None:
    sample = {"x": np.ones(2, np.float32), "y": 3, "z": 1.5, "on": True, "name": "a", "raw": b"b", "l": [1, (2.0, "c")]}
    (batch,) = DataLoader([sample, sample], 2)
    kinds = {key: str(batch[key].dtype) for key in ("x", "y", "z", "on")}
    assert kinds == {"x": "float32", "y": "int64", "z": "float64", "on": "bool"}
    assert batch["x"].shape == (2, 2) and batch["name"] == ["a", "a"] and batch["raw"] == [b"b", b"b"]
    assert (
        batch["l"][0].tolist() == [1, 1] and batch["l"][1][0].tolist() == [2.0, 2.0] and batch["l"][1][1] == ("c", "c")
    )
    (pairs,) = DataLoader([Pair(1, lucid.ones(2)), Pair(2, lucid.zeros(2))], 2)
    assert type(pairs) is Pair and pairs.a.tolist() == [1, 2] and pairs.b.shape == (2, 2)
    (ordered,) = DataLoader([OrderedDict(a=1), OrderedDict(a=2)], 2)
    assert type(ordered) is OrderedDict and ordered["a"].tolist() == [1, 2]
    converted = default_convert({"x": np.ones(1), "y": [np.float32(1), "s", None], "p": Pair(np.ones(1), 2)})
    assert isinstance(converted["x"], lucid.Tensor) and converted["y"][1:] == ["s", None]  # type: ignore[index]


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        ([np.ones(2), np.ones(3)], r"sample has the shapes \[\(2,\), \(3,\)\]"), ([object()], "sample is <object"),
        ([{"a": 1}, {"b": 1}], "lacks a key"), ([(1, 2), (1,)], "2 parts"),
        ([{"a": [1, None]}], r"sample\['a'\]\[1\] is None"),
        ([1, "a"], "something else"), ([1, None], "something else"), ([1 << 70], "64 bits"), ([np.array(["a"])], "<U1"),
        ([[1], 3], "1 parts"), ([{"a": 1}, 3], "lacks a key"), ([np.array([None])], "object"),
    ],
)  # fmt: skip
def test_samples_that_make_no_batch(samples: Any, words: str) -> None:
    with pytest.raises(LucidError, match=words):
        list(DataLoader(samples, len(samples)))


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 0}, {"batch_size": -1}, {"batch_size": 1.5}, {"batch_size": True}, {"num_workers": -1},
        {"shuffle": 1}, {"shuffle": True, "sampler": [1]}, {"batch_sampler": [[1]], "batch_size": 2},
        {"batch_sampler": [[1]], "drop_last": True}, {"batch_size": None, "drop_last": True}, {"timeout": -1},
        {"timeout": 1},
        {"prefetch_factor": 2}, {"prefetch_factor": 0, "num_workers": 1}, {"collate_fn": 3}, {"worker_init_fn": 3},
        {"generator": 3}, {"sampler": 3}, {"batch_sampler": 3}, {"pin_memory": True}, {"persistent_workers": True},
        {"drop_last": None}, {"no_such": 1}, {"dataset": 3}, {"dataset": Lines(2), "shuffle": True},
        {"dataset": Lines(2), "sampler": [1]}, {"dataset": Lines(2), "batch_sampler": [[1]]},
        {"sampler": iter([1])}, {"batch_sampler": iter([[1]])},
    ],
)  # fmt: skip
def test_options_that_make_no_sense(options: Any) -> None:
    with pytest.raises(OptionError, match="DataLoader"):
        DataLoader(**{"dataset": [1, 2], **options})


# ---------------------------------------------------------------- shuffled, and made ahead


def test_shuffled_from_a_seed_or_a_generator() -> None:
    loader = DataLoader(Noisy(), 3, shuffle=True)
    first, second = listed(loader), listed(loader)
    assert sorted(i for batch in first for i in batch[0]) == list(range(11)) and first != second
    lucid.manual_seed(0)
    assert [listed(loader), listed(loader)] == [first, second]
    here = lucid.get_rng_state().item()
    own = [listed(DataLoader(Noisy(), 3, True, generator=lucid.Generator().manual_seed(s))) for s in (1, 1, 2)]
    assert own[0] == own[1] != own[2] and lucid.get_rng_state().item() == here


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_change_nothing(workers: int) -> None:
    alone = listed(DataLoader(Noisy(), 2, shuffle=True))
    seed = lucid.get_rng_state()
    lucid.manual_seed(0)
    loader = DataLoader(Noisy(slow=0.002), 2, shuffle=True, num_workers=workers, prefetch_factor=3)
    assert listed(loader) == alone and lucid.get_rng_state().item() == seed.item()


def test_workers_of_an_iterable_dataset() -> None:
    def numbers(workers: int, **options: Any) -> list[list[int]]:
        return [batch[0].tolist() for batch in DataLoader(Lines(9), num_workers=workers, **options)]

    assert numbers(0, batch_size=4) == [[0, 1, 2, 3], [4, 5, 6, 7], [8]]
    assert numbers(2, batch_size=2) == [[0, 2], [1, 3], [4, 6], [5, 7], [8]]
    assert numbers(4, batch_size=2, drop_last=True) == [[0, 4], [1, 5], [2, 6], [3, 7]]
    assert [sample[0] for sample in DataLoader(Lines(3), None)] == [0, 1, 2]
    lucid.manual_seed(0)
    first = listed(DataLoader(Lines(9), 2, num_workers=2))
    lucid.manual_seed(0)
    assert listed(DataLoader(Lines(9), 2, num_workers=2, prefetch_factor=7)) == first
    with pytest.raises(TypeError, match="len"):
        len(DataLoader(Lines(9)))


def test_what_a_worker_knows() -> None:
    class Asks(Noisy):
        def __getitem__(self, index: int) -> Any:
            info = get_worker_info()
            assert info is not None and info.dataset is self
            return info.id, info.num_workers, info.seed % 1000

    began: list[int] = []
    loader = DataLoader(Asks(8), 2, num_workers=2, worker_init_fn=began.append)
    batches = listed(loader)
    assert sorted(began) == [0, 1] and [batch[0] for batch in batches] == [[0, 0], [1, 1]] * 2
    assert batches[0][2] != batches[1][2] and listed(loader)[0][2] != batches[0][2] and get_worker_info() is None


def threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith("lucid-data")]


class Breaks(Noisy):
    def __getitem__(self, index: int) -> Any:
        if index == 5:
            raise ZeroDivisionError("sample five")
        return super().__getitem__(index)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_of_the_data_comes_out_where_it_is_due(workers: int) -> None:
    batches = iter(DataLoader(Breaks(), 2, num_workers=workers))
    assert [next(batches)[0].tolist() for _ in range(2)] == [[0, 1], [2, 3]]
    with pytest.raises(ZeroDivisionError, match="sample five") as caught:
        next(batches)
    shown = "".join(traceback.format_exception(caught.value))
    assert 'raise ZeroDivisionError("sample five")' in shown and ("worker 0 of a DataLoader, batch 2" in shown) == (
        workers > 0
    )
    assert threads() == []

    class Ends(Noisy):
        def __getitem__(self, index: int) -> Any:
            return next(iter([])) if index == 5 else super().__getitem__(index)

    with pytest.raises(RuntimeError, match="StopIteration"):  # which would end the loop as if nothing were left
        list(DataLoader(Ends(), 2, num_workers=workers))


def test_threads_end() -> None:
    loader = DataLoader(Noisy(100), 2, num_workers=3)
    for _ in loader:
        break
    assert threads() == []
    kept = iter(loader)
    next(kept)
    assert len(threads()) == 3
    del kept
    assert threads() == []
    list(loader)
    assert threads() == []
    with pytest.raises(ZeroDivisionError):
        [1 / 0 for _ in loader]
    assert threads() == []


def test_a_batch_that_does_not_come() -> None:
    release = threading.Event()

    class Hangs(Noisy):
        def __getitem__(self, index: int) -> Any:
            release.wait()

    threading.Timer(0.3, release.set).start()
    with pytest.raises(LucidError, match=r"no batch came for 0\.05 seconds"):
        list(DataLoader(Hangs(), 2, num_workers=1, timeout=0.05))


def test_only_so_many_are_made_ahead() -> None:
    asked: list[int] = []

    class Watched(Noisy):
        def __getitem__(self, index: int) -> Any:
            asked.append(index)
            return index

    kept = iter(DataLoader(Watched(100), 1, num_workers=2, prefetch_factor=3))
    next(kept)
    late = time.monotonic() + 60
    while len(asked) < 7 and time.monotonic() < late:
        time.sleep(0.01)
    time.sleep(0.05)  # in which one more would be made
    assert sorted(asked) == list(range(7))
    del kept


# ---------------------------------------------------------------- going on


class Shuffles(Sampler[int]):
    """One that draws as it goes."""

    def __iter__(self) -> Iterator[int]:
        return (int(lucid.randint(11, (1,)).item()) for _ in range(11))

    def __len__(self) -> int:
        return 11


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["plain", "generator", "sampler", "own sampler", "iterable", "ordered"])
def test_a_loader_goes_on_where_it_was(kind: str, workers: int) -> None:
    def make() -> DataLoader[Any]:
        g = lucid.Generator().manual_seed(1)
        options: dict[str, Any] = {
            "plain": {"shuffle": True}, "generator": {"shuffle": True, "generator": g},
            "sampler": {"sampler": RandomSampler(Noisy(), generator=g)}, "own sampler": {"sampler": Shuffles()},
            "iterable": {}, "ordered": {},
        }[kind]  # fmt: skip
        return DataLoader(Lines(11) if kind == "iterable" else Noisy(), 2, num_workers=workers, **options)

    for passes, taken in ((0, 0), (0, 3), (1, 0), (1, 6)):
        lucid.manual_seed(4)
        loader = make()
        for _ in range(passes):
            list(loader)
        going = iter(loader)
        for _ in range(taken):
            next(going)
        state, random = loader.state_dict(), lucid.get_rng_state()
        wanted = [[b.tolist() for b in batch] for batch in going], listed(loader)
        lucid.manual_seed(99)
        other = make()
        other.load_state_dict(state)
        lucid.set_rng_state(random)
        assert other.state_dict() == state
        assert (listed(other), listed(other)) == wanted, (passes, taken)


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": 3}, {"epoch": {"key": 1}}, {"epoch": {"key": -1, "taken": 0, "batch_size": 1}},
        {"epoch": {"key": 1, "taken": "0", "batch_size": 1}}, {"epoch": {"key": 1 << 64, "taken": 0, "batch_size": 1}},
        {"epoch": {"key": 1, "taken": -1, "batch_size": 1}}, {"epoch": {"key": 1, "taken": 0, "batch_size": 2}},
        {"generator": 1}, {"more": 1},
        {"sampler": {"generator": 1}}, {"sampler": 3},
    ],
)  # fmt: skip
def test_states_that_are_none(change: Any) -> None:
    loader = DataLoader([1, 2, 3], shuffle=True)
    with pytest.raises(OptionError):
        loader.load_state_dict({**loader.state_dict(), **change})
    with pytest.raises(OptionError):
        loader.load_state_dict(change)


def test_a_sample_of_another_shape_is_named() -> None:
    with pytest.raises(ShapeError, match=r"sample\[0\]"):
        list(DataLoader([(np.ones(1), 1), (np.ones(2), 1)], 2, num_workers=1))
