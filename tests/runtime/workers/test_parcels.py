"""What workers share can be told to processes: nothing of it is this process's alone, so that threads must do it."""

from __future__ import annotations

import ctypes
import mmap
import resource
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn, optim
from lucid.runtime.workers import hiring
from lucid.runtime.workers.parcel import bounds, meeting, pack
from lucid.runtime.workers.processes import WorkerProcesses
from lucid.runtime.workers.serve import PAGE, POPULATE_READ, populate

Net = Callable[[], nn.Module]


class Last(nn.Module):
    """A recurrent layer whose last output counts."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: lucid.Tensor) -> Any:
        return self.layer(x)[0][:, -1]


def convolutions() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2), nn.BatchNorm2d(16), nn.ReLU(),
        nn.MaxPool2d(3, stride=2, padding=1, pad_value=-np.inf), nn.Conv2d(16, 16, 3, padding=1, groups=16),
        nn.Conv2d(16, 64, 1), nn.MaxPool2d(2, stride=2), nn.AvgPool2d(2), nn.Flatten(1),
    )  # fmt: skip


def attention() -> nn.Module:
    return nn.Sequential(nn.TransformerEncoderLayer(64, 4, 256, dropout=0.0, batch_first=True), nn.Flatten(1))


NETS: dict[str, tuple[Net, tuple[int, ...]]] = {
    "convolutions": (convolutions, (12, 3, 64, 64)),
    "lstm": (lambda: Last(nn.LSTM(32, 128, batch_first=True)), (48, 24, 32)),
    "gru": (lambda: Last(nn.GRU(32, 128, batch_first=True, bidirectional=True)), (48, 24, 32)),
    "attention": (attention, (12, 64, 64)),
}


@pytest.mark.parametrize("name", NETS)
@pytest.mark.usefixtures("usual_machine", "workers")
def test_a_step_is_shared_with_processes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[list[str], list[str]]] = []

    def noted(regions: Sequence[Any], *args: Any) -> Any:
        found = pack(regions, *args)
        names = [function.__name__ for function, _ in regions]
        told.append((names, [names[i] for i in found[1]]))
        return found

    monkeypatch.setattr(hiring, "pack", noted)
    build, shape = NETS[name]
    lucid.manual_seed(0)
    model = build()
    step = lucid.compile_step(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.01), threads=3)
    x, y = np.random.default_rng(0).standard_normal(shape, np.float32), np.arange(shape[0]) % 3
    for _ in range(3):
        step(x, y)
    assert WorkerProcesses.patient and told
    for names, known in told:
        assert names and known == names


def test_memory_is_mapped_before_a_region_runs() -> None:
    pages = 64
    memory = mmap.mmap(-1, (pages + 2) * PAGE)
    array = np.frombuffer(memory, np.uint8)
    low = array.ctypes.data
    advice = ctypes.CDLL(None, use_errno=True).madvise(ctypes.c_void_p(low), ctypes.c_size_t(PAGE), POPULATE_READ)
    if advice:
        pytest.skip("a kernel that maps nothing beforehand")
    populate([(low + 3 * PAGE, low + pages * PAGE - 5), (low + 7, low + 3 * PAGE + 9)])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    array[: pages * PAGE : PAGE] = 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < pages // 2


def test_which_arrays_meet_which_places() -> None:
    rng, memory = np.random.default_rng(0), np.zeros(200, np.uint8)
    begin = int(memory.ctypes.data)
    met = []
    for _ in range(200):
        arrays = [memory[low : low + size : step] for low, size, step in rng.integers((0, 0, 1), (150, 9, 4), (12, 3))]
        places = [(begin + int(low), begin + int(low + size)) for low, size in rng.integers((0, 0), (190, 9), (5, 2))]
        ends = [(low, high) for low, high in places if low < high]
        want = {
            i
            for i, array in enumerate(arrays)
            if array.size and any(bounds(array)[0] < high and low < bounds(array)[1] for low, high in ends)
        }
        assert meeting(places, arrays) == want
        met.append(len(want))
    assert 0 < sum(met) < 200 * 12


@pytest.mark.parametrize("array", [np.zeros((3, 4)), np.zeros((3, 4)).T, np.zeros(9)[::-2], np.zeros((0, 4))])
def test_an_array_lies_between_its_bounds(array: Any) -> None:
    first = int(array.ctypes.data)
    places = [first + sum(i * s for i, s in zip(at, array.strides, strict=True)) for at in np.ndindex(array.shape)]
    assert bounds(array) == ((min(places), max(places) + array.itemsize) if places else (first, first))
