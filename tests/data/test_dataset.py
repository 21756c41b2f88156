"""Datasets: samples by number, parts of them, and several put together."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import lucid
from lucid.data import (
    ChainDataset,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    StackDataset,
    Subset,
    TensorDataset,
    random_split,
)
from lucid.errors import LucidError, OptionError, PositionError, ShapeError


class Squares(Dataset[int]):
    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> int:
        return index * index


class Counts(IterableDataset[int]):
    def __init__(self, *numbers: int) -> None:
        self.numbers = numbers

    def __iter__(self) -> Iterator[int]:
        return iter(self.numbers)


def test_tensors_by_row() -> None:
    x, y = np.arange(6.0).reshape(3, 2), lucid.tensor([7, 8, 9])
    data = TensorDataset(x, y)
    assert len(data) == 3 and len(data.tensors) == 2
    row, label = data[-1]
    assert row.tolist() == [4.0, 5.0] and label.item() == 9 and label.shape == ()
    assert [len(sample) for sample in data] == [2, 2, 2]  # type: ignore[attr-defined]  # an IndexError ends it
    x[0, 0] = 5.0
    assert data[0][0].tolist() == [5.0, 1.0]  # arrays are not copied
    for wrong in (3, -4):
        with pytest.raises(PositionError, match=f"no sample {wrong}, it has 3"):
            data[wrong]
    with pytest.raises(ShapeError, match=r"\(3, 2\), \(2,\)"):
        TensorDataset(x, np.ones(2))
    with pytest.raises(ShapeError):
        TensorDataset(np.float32(1))  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="at least one"):
        TensorDataset()
    with pytest.raises(OptionError, match="index must be"):
        data["x"]  # type: ignore[index]


def test_several_datasets_are_one() -> None:
    both = Squares(3) + Squares(2)
    assert isinstance(both, ConcatDataset) and both.cumulative_sizes == [3, 5]
    assert [both[i] for i in range(-5, 5)] == [0, 1, 4, 0, 1] * 2
    assert len(ConcatDataset([Squares(0), Squares(2), Squares(0)])) == 2
    chain = Counts(1, 2) + Counts(3)
    assert isinstance(chain, ChainDataset) and list(chain) == [1, 2, 3]
    stack = StackDataset(Squares(2), both if len(both) == 2 else Subset(both, [1, 2]))  # type: ignore[arg-type]
    assert stack[1] == (1, 4) and len(stack) == 2
    assert StackDataset(a=Squares(2), b=Squares(2))[1] == {"a": 1, "b": 1}
    for wrong in (
        lambda: ConcatDataset([]), lambda: ConcatDataset([Counts(1)]), lambda: ChainDataset([Squares(1)]),
        lambda: StackDataset(), lambda: StackDataset(Squares(1), Squares(2)),
        lambda: StackDataset(Squares(1), a=Squares(1)),
        lambda: Subset(Counts(1), [0]), lambda: Subset(3, [0]), lambda: Subset(Squares(1), "0"),
        lambda: ConcatDataset(Counts), lambda: Dataset()[0], lambda: iter(IterableDataset()),
    ):  # fmt: skip
        with pytest.raises(LucidError):
            wrong()  # type: ignore[no-untyped-call]


def test_subsets() -> None:
    part = Subset(Squares(9), [2, 4, 8])
    assert [part[i] for i in range(3)] == [4, 16, 64] and part[-1] == 64
    assert Subset(part, lucid.tensor([2, 0]))[0] == 64  # type: ignore[arg-type]
    with pytest.raises(PositionError):
        part[3]


def test_parts_at_random_share_no_sample() -> None:
    g = lucid.Generator().manual_seed(3)
    parts = random_split(Squares(10), [0.5, 0.25, 0.25], g)
    assert [len(part) for part in parts] == [6, 2, 2]  # what is left over goes to the first
    assert sorted(i for part in parts for i in part.indices) == list(range(10))
    again = random_split(Squares(10), [6, 2, 2], lucid.Generator().manual_seed(3))
    assert [part.indices for part in again] == [part.indices for part in parts]
    lucid.manual_seed(1)
    first = random_split(Squares(50), [25, 25])[0].indices
    assert first != random_split(Squares(50), [25, 25])[0].indices
    lucid.manual_seed(1)
    assert first == random_split(Squares(50), [25, 25])[0].indices
    with pytest.warns(UserWarning, match="part 1 has no samples"):
        random_split(Squares(2), [2, 0])
    for lengths, words in (
        ([5, 4], "add up to 9, the dataset has 10"), ([0.5, 0.4], "add up to 0.9"), ([-1, 11], "length must"),
        (["5", 5], "length is a number"), (10, "list"), ([float("nan")], "length must"),
        ([2.5, 7.5], "add up to 10, not"),
    ):  # fmt: skip
        with pytest.raises(OptionError, match=words):
            random_split(Squares(10), lengths)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=r"lucid\.Generator"):
        random_split(Squares(10), [10], np.random.default_rng(0))  # type: ignore[arg-type]


def test_what_makes_whole_batches_is_asked_for_them() -> None:
    class Whole(TensorDataset):
        def __getbatch__(self, indices: Any) -> Any:
            return [-one for one in super().__getbatch__(indices)]

    class Sampled(TensorDataset):
        def __getitem__(self, index: int) -> Any:
            return (super().__getitem__(index)[0] * 2,)

    class Listed(Squares):
        def __getitems__(self, indices: Any) -> list[int]:
            return [100 + i for i in indices]

    x = np.arange(4.0)
    assert next(iter(DataLoader(Whole(x), 4)))[0].tolist() == [-0.0, -1.0, -2.0, -3.0]
    assert next(iter(DataLoader(Subset(Whole(x), [3]), 4)))[0].tolist() == [-3.0]
    assert next(iter(DataLoader(Sampled(x), 4)))[0].tolist() == [0.0, 2.0, 4.0, 6.0]  # not the batch of its base
    assert next(iter(DataLoader(Whole(x), 4, collate_fn=len))) == 4  # type: ignore[arg-type]
    assert next(iter(DataLoader(Subset(Listed(9), [8, 1]), 2))).tolist() == [108, 101]
    Listed.__getitems__ = lambda self, indices: [1]  # type: ignore[method-assign]
    with pytest.raises(OptionError, match="1 samples for 2"):
        next(iter(DataLoader(Listed(9), 2)))


def test_a_generator_is_a_sequence_of_its_own() -> None:
    g = lucid.Generator().manual_seed(5)
    first = lucid.randperm(20, generator=g).tolist()
    state, second = g.get_state(), lucid.randperm(20, generator=g).tolist()
    assert first != second and g.initial_seed() == 5
    g.set_state(state)
    assert lucid.randperm(20, generator=pickle.loads(pickle.dumps(g))).tolist() == second
    assert lucid.randperm(20, generator=g).tolist() == second
    assert lucid.Generator().get_state().tolist() == lucid.Generator().get_state().tolist()
    assert g.seed() != 5
    here = lucid.get_rng_state()
    drawn = lucid.rand(3).tolist()
    lucid.set_rng_state(here)
    assert lucid.rand(3).tolist() == drawn
    for wrong in (3, lucid.ones(1), lucid.zeros(2, dtype=lucid.uint64)):
        with pytest.raises(OptionError, match="a state is what"):
            lucid.set_rng_state(wrong)
    with pytest.raises(OptionError, match="seed is an int"):
        g.manual_seed(1.5)  # type: ignore[arg-type]
