"""Samplers: each number as often as it is said, in an order that follows from a seed."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

import lucid
from lucid.data import BatchSampler, RandomSampler, SequentialSampler, SubsetRandomSampler, WeightedRandomSampler
from lucid.errors import LucidError

DATA = list("abcdefghij")


def test_all_in_order_and_at_random() -> None:
    assert list(SequentialSampler(DATA)) == list(range(10)) and len(SequentialSampler(DATA)) == 10
    sampler = RandomSampler(DATA)
    first, second = list(sampler), list(sampler)
    assert sorted(first) == sorted(second) == list(range(10)) and first != second
    lucid.manual_seed(0)
    assert list(sampler) == first  # as each test begins with that seed
    own = RandomSampler(DATA, generator=lucid.Generator().manual_seed(1))
    state = own.state_dict()
    order, here = list(own), lucid.get_rng_state().item()
    own.load_state_dict(state)
    assert list(own) == order and lucid.get_rng_state().item() == here  # which it left alone
    more = list(RandomSampler(DATA, num_samples=25))
    assert len(more) == 25 and set(Counter(more).values()) <= {2, 3}
    assert sorted(SubsetRandomSampler([5, 7, 9])) == [5, 7, 9]
    assert list(RandomSampler([])) == [] and list(SubsetRandomSampler([])) == []


def test_every_order_is_as_likely() -> None:
    places = np.zeros((4, 4))
    for order in (list(RandomSampler(DATA[:4])) for _ in range(2000)):
        places[range(4), order] += 1
    assert np.abs(places - 500).max() < 5 * np.sqrt(2000 * 3 / 16)  # five standard deviations


def test_with_replacement_and_by_weight() -> None:
    drawn = np.bincount(list(RandomSampler(DATA, replacement=True, num_samples=100_000)), minlength=10)
    assert drawn.sum() == 100_000 and np.abs(drawn - 10_000).max() < 5 * np.sqrt(100_000 * 0.09)
    weights = [0.0, 1.0, 3.0, 4.0]
    often = np.bincount(list(WeightedRandomSampler(weights, 80_000)), minlength=4)
    assert often[0] == 0 and np.abs(often - np.array(weights) * 10_000).max() < 5 * np.sqrt(20_000)
    assert sorted(WeightedRandomSampler(weights, 3, replacement=False)) == [1, 2, 3]


def test_lists_of_numbers() -> None:
    assert list(BatchSampler(range(5), 2, False)) == [[0, 1], [2, 3], [4]]
    assert list(BatchSampler(range(5), 2, True)) == [[0, 1], [2, 3]]
    lengths = [len(BatchSampler(SequentialSampler(DATA), 4, last)) for last in (False, True)]
    assert lengths == [3, 2] and len(BatchSampler(SequentialSampler([]), 4, False)) == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: RandomSampler(3), lambda: RandomSampler(DATA, num_samples=0),
        lambda: RandomSampler(DATA, replacement=1),
        lambda: RandomSampler(DATA, generator=3), lambda: iter(RandomSampler([], num_samples=2)),
        lambda: WeightedRandomSampler([1, -1], 1), lambda: WeightedRandomSampler([0, 0], 1),
        lambda: WeightedRandomSampler([1, float("nan")], 1), lambda: WeightedRandomSampler([1, 1], -1),
        lambda: WeightedRandomSampler([[1, 1]], 1), lambda: WeightedRandomSampler([1, 0], 2, replacement=False),
        lambda: WeightedRandomSampler([], 1), lambda: WeightedRandomSampler("ab", 1), lambda: SubsetRandomSampler(3),
        lambda: BatchSampler(3, 1, False), lambda: BatchSampler([1], 0, False), lambda: BatchSampler([1], 1, None),
        lambda: BatchSampler([1], True, False), lambda: RandomSampler(DATA).load_state_dict({"generator": 1}),
        lambda: BatchSampler([1], 1, False).load_state_dict({"generator": 1}),
    ],
)  # fmt: skip
def test_what_makes_no_sense(make: object) -> None:
    with pytest.raises(LucidError):
        make()  # type: ignore[operator]
