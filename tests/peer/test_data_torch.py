"""Datasets, samplers and loaders beside PyTorch's: the same batches, and as many samples where they are drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils import data as td

import lucid
from lucid import data as ld


class Plain:
    def __init__(self, samples: list[Any]) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        return self.samples[index]


def plain(value: Any) -> Any:
    """A batch of either as lists, with the element types."""
    if isinstance(value, lucid.Tensor | torch.Tensor):
        return str(value.dtype).removeprefix("torch."), value.tolist()
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    return [type(value).__name__, *map(plain, value)] if isinstance(value, list | tuple) else value


SAMPLES: dict[str, list[Any]] = {
    "numbers": [1, 2, 3, 4, 5],
    "floats": [1.5, 2.5, 3.5],
    "bools": [True, False, True],
    "texts": ["a", "bc", ""],
    "arrays": [np.ones(2, np.float32), np.zeros(2, np.float32)],
    "tuples": [(np.ones(2), 1), (np.zeros(2), 2), (np.ones(2), 3)],
    "dicts": [{"a": 1, "b": (1.0, "x")}, {"a": 2, "b": (2.0, "y")}],
    "lists": [[1, [2.0]], [3, [4.0]]],
    "numpy's": [np.float32(1), np.float32(2)],
    "nothing": [],
}


@pytest.mark.parametrize("what", SAMPLES)
@pytest.mark.parametrize(
    "options", [{}, {"batch_size": 2}, {"batch_size": 2, "drop_last": True}, {"batch_size": 9}, {"batch_size": None}]
)
def test_batches(what: str, options: dict[str, Any]) -> None:
    data: Any = Plain(SAMPLES[what])
    ours, theirs = ld.DataLoader(data, **options), td.DataLoader(data, **options)
    assert len(ours) == len(theirs)
    assert [plain(batch) for batch in ours] == [plain(batch) for batch in theirs]


@pytest.mark.parametrize("lengths", [[3, 7], [0.5, 0.5], [0.3, 0.3, 0.4], [0.1] * 10, [0.05, 0.95], [1.0]])
def test_parts(lengths: list[float]) -> None:
    data: Any = Plain(list(range(10)))
    with torch.no_grad():
        theirs = [len(part) for part in td.random_split(data, lengths)]
    assert [len(part) for part in ld.random_split(data, lengths)] == theirs


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("SequentialSampler", ([1, 2, 3],)), ("BatchSampler", (range(7), 3, False)),
        ("BatchSampler", (range(7), 3, True)),
        ("BatchSampler", (range(6), 3, True)),
    ],
)  # fmt: skip
def test_samplers_in_order(name: str, args: Any) -> None:
    assert list(getattr(ld, name)(*args)) == list(getattr(td, name)(*args))


@pytest.mark.parametrize(
    ("name", "args", "options"),
    [
        ("RandomSampler", ([0] * 5,), {}), ("RandomSampler", ([0] * 5,), {"num_samples": 12}),
        ("RandomSampler", ([0] * 5,), {"num_samples": 3}), ("RandomSampler", ([0] * 5,), {"replacement": True}),
        ("SubsetRandomSampler", ([4, 2, 7],), {}), ("WeightedRandomSampler", ([1.0, 0.0, 2.0], 2, False), {}),
    ],
)  # fmt: skip
def test_how_many_random_samplers_give(name: str, args: Any, options: Any) -> None:
    ours, theirs = list(getattr(ld, name)(*args, **options)), list(getattr(td, name)(*args, **options))
    assert len(ours) == len(theirs)
    if "replacement" not in options:
        assert max(map(ours.count, ours)) == max(map(theirs.count, theirs))


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 0}, {"batch_size": -1}, {"num_workers": -1}, {"timeout": -1}, {"shuffle": True, "sampler": [0]},
        {"batch_sampler": [[0]], "shuffle": True}, {"batch_sampler": [[0]], "drop_last": True},
        {"batch_size": None, "drop_last": True}, {"prefetch_factor": 2},
    ],
)  # fmt: skip
def test_what_both_refuse(options: Any) -> None:
    data: Any = Plain([1, 2])
    with pytest.raises(ValueError):  # noqa: PT011 - of either
        td.DataLoader(data, **options)
    with pytest.raises(ValueError, match="DataLoader"):
        ld.DataLoader(data, **options)


def test_concatenated_and_split_by_number() -> None:
    a: Any = ld.TensorDataset(np.arange(3))
    b: Any = td.TensorDataset(torch.arange(3))
    ours, theirs = ld.Subset(ld.ConcatDataset([a, a]), [5, 0]), td.Subset(td.ConcatDataset([b, b]), [5, 0])
    assert [one.item() for (one,) in (ours[i] for i in range(2))] == [theirs[i][0].item() for i in range(2)]  # type: ignore[index]
