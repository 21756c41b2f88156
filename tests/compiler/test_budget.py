"""A training step within a budget of memory: less is kept, some is computed again, and all numbers are the same."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn, optim
from lucid.compiler.archive import archive_bytes, archive_from_bytes
from lucid.compiler.options import Options
from lucid.compiler.step import CompiledStep
from lucid.errors import BudgetError, FileError, OptionError
from lucid.nn import functional as F
from tests.formats.test_serialize import forge

LOSS = nn.CrossEntropyLoss()


class Residual(nn.Module):
    """Convolutions with statistics, a sum of two ways, pooling with one byte an output, and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.one = nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.second, self.two = nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.drop, self.out = nn.Dropout(0.4), nn.Linear(16 * 16, 5)

    def forward(self, x: Any) -> Any:
        x = F.relu(self.one(self.first(x)))
        x = F.relu(self.two(self.second(x)) + x)
        x = F.max_pool2d(self.drop(x), 4, 4)
        return self.out(x.reshape(x.shape[0], -1))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.LSTM(8, 32, batch_first=True), nn.LSTM(32, 32, batch_first=True)
        self.out = nn.Linear(32, 5)

    def forward(self, x: Any) -> Any:
        return self.out(F.dropout(self.two(self.one(x)[0])[0], 0.2)[:, -1])


def attention() -> nn.Module:
    layers = [nn.TransformerEncoderLayer(32, 2, 64, dropout=0.1, batch_first=True) for _ in range(3)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(32 * 32, 5))


def deep(layers: int = 12) -> nn.Module:
    return nn.Sequential(*(one for _ in range(layers) for one in (nn.Linear(32, 32), nn.Tanh())), nn.Linear(32, 5))


def short() -> nn.Module:
    return deep(6)


def normal() -> nn.Module:
    layers = (one for _ in range(4) for one in (nn.Linear(256, 256), nn.LayerNorm(256)))
    return nn.Sequential(*layers, nn.Linear(256, 5))


NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "residual": (Residual, (16, 3, 16, 16)),
    "attention": (attention, (32, 32, 32)),
    "LSTM": (Recurrent, (32, 64, 8)),
    "deep": (deep, (2048, 32)),
    "short": (short, (1024, 32)),
    "normal": (normal, (2048, 256)),
}


def made(name: str, budget: int | None = None, **options: Any) -> tuple[CompiledStep, nn.Module, Any, Any]:
    build, shape = NETS[name]
    lucid.manual_seed(0)
    model = build()
    step = lucid.compile_step(
        model, LOSS, optim.SGD(model.parameters(), lr=0.05, momentum=0.9), memory_budget=budget, **options
    )
    rng = np.random.default_rng(0)
    return step, model, rng.standard_normal(shape).astype(np.float32), rng.integers(0, 5, shape[0])


@cache
def trained(name: str, budget: int | None = None) -> tuple[CompiledStep, list[float], list[Any]]:
    """A step after three calls: its losses, parameters and statistics."""
    step, model, x, y = made(name, budget)
    losses = [step(x, y).item() for _ in range(3)]
    return step, losses, [np.array(t.numpy()) for t in model.state_dict().values()]


@cache
def smallest(name: str) -> int:
    """The budget that the error about one of a byte names."""
    step, _, x, y = made(name, 1)
    with pytest.raises(OptionError, match="memory_budget of 1 bytes is too small") as caught:
        step(x, y)
    return int(re.findall(r"not less than ([\d,]+)$", str(caught.value))[0].replace(",", ""))


@pytest.mark.parametrize("name", ["residual", "attention", "LSTM", "deep"])
def test_all_numbers_are_those_without_a_budget(name: str) -> None:
    usual, losses, state = trained(name)
    least = smallest(name)
    assert usual.recomputed == ()
    assert least < usual.plan.peak
    step, same, now = trained(name, least)
    assert step.plan.peak <= least
    assert step.plan.arena_bytes < usual.plan.arena_bytes
    assert same == losses
    assert all(map(np.array_equal, now, state))


def test_it_says_what_is_computed_again_and_what_that_costs() -> None:
    step = trained("deep", smallest("deep"))[0]
    again, graph = step.recomputed, step.plan.graph
    assert again
    assert all(one.seconds > 0 and one.of in graph and one.name in graph for one in again)
    assert all(graph.node(one.name).op is graph.node(one.of).op for one in again)
    assert f"recomputed {len(again)}, predicted " in str(step.plan)
    told = step.explain(again[0].name)
    assert f"by recompute: from {again[0].of}" in told
    assert "us predicted" in told


def test_pictures_show_it(tmp_path: Path) -> None:
    trained("deep", smallest("deep"))[0].draw(tmp_path / "step.dot", detail="full", max_nodes=10_000)
    trained("deep")[0].draw(tmp_path / "usual.dot", detail="full", max_nodes=10_000)
    assert "computed again" in (tmp_path / "step.dot").read_text()
    assert "computed again" not in (tmp_path / "usual.dot").read_text()


def test_a_chain_keeps_about_the_root_of_its_values() -> None:
    usual, step = trained("deep")[0], trained("deep", smallest("deep"))[0]
    values = 4 * 2048 * 32  # bytes of one of 32
    assert usual.plan.arena_bytes > 12 * values  # one of each layer, all at once
    assert step.plan.arena_bytes < 9 * values
    assert len(step.recomputed) < 30


def test_the_cheapest_are_taken_first() -> None:
    """A normalisation frees as much as a product, for less."""
    step, _, x, y = made("normal", trained("normal")[0].plan.peak - 1_800_000)
    step(x, y)
    assert [one.of.rpartition(".")[2] for one in step.recomputed] == ["layer_norm"]


def test_random_numbers_are_drawn_once() -> None:
    step = trained("residual", smallest("residual"))[0]
    ops = [node.op for _, node in step.plan.graph.nodes()]
    assert sum(op.random for op in ops) == sum(node.op.random for _, node in step.graph.nodes()) == 1


def test_a_large_budget_changes_nothing() -> None:
    usual = trained("residual")[0]
    step, _, x, y = made("residual", usual.plan.peak)
    step(x, y)
    assert step.recomputed == ()
    assert str(step.plan) == str(usual.plan)


def test_each_size_has_a_plan_within_the_budget() -> None:
    budget = smallest("deep") + 100_000
    specs = lucid.spec("N", 32), lucid.spec("N", dtype="int64")
    build, _ = NETS["deep"]
    lucid.manual_seed(0)
    model = build()
    step = lucid.compile_step(model, LOSS, optim.SGD(model.parameters(), lr=0.1), *specs, memory_budget=budget)
    counts = []
    for size in (16, 2048):
        step(np.zeros((size, 32), np.float32), np.zeros(size, np.int64))
        assert step.plan.peak <= budget
        counts.append(len(step.recomputed))
    assert counts[0] == 0 < counts[1]
    with pytest.raises(OptionError, match="too small"):
        step(np.zeros((4096, 32), np.float32), np.zeros(4096, np.int64))
    step(np.zeros((16, 32), np.float32), np.zeros(16, np.int64))


def test_of_several_graphs_one_has_working_memory_at_a_time() -> None:
    step, _, x, y = made("residual", 1 << 30, accumulate=2)
    for _ in range(4):
        step(x, y)
    programs = [one for trace in step._traces.values() for one in trace.specialization.programs.made.values()]
    assert len(programs) > 1
    assert sum(len(one._runs.free) for one in programs if one._runs is not None) == 1  # type: ignore[union-attr]


@pytest.mark.parametrize("accumulate", [2, 3, 5])
@pytest.mark.parametrize("name", ["residual", "short"])
def test_what_is_accepted_at_the_first_call_is_enough_for_the_update(name: str, accumulate: int) -> None:
    """The error names what the call that takes most does, and leaves model, optimizer and sums as they were."""
    step, model, x, y = made(name, 1, accumulate=accumulate)
    before = [np.array(t.numpy()) for t in model.state_dict().values()]
    with pytest.raises(BudgetError) as caught:
        step(x, y)
    assert step.accumulated.position == 0
    assert all(map(np.array_equal, before, (t.numpy() for t in model.state_dict().values())))
    least = caught.value.least
    assert f"not less than {least:,}" in str(caught.value)
    step, _, x, y = made(name, least - 1, accumulate=accumulate)
    for _ in range(2):  # again, too
        with pytest.raises(BudgetError):
            step(x, y)
    usual = made(name, accumulate=accumulate)[0]
    losses = [usual(x, y).item() for _ in range(2 * accumulate)]
    step, _, x, y = made(name, least, accumulate=accumulate)
    peaks = []
    for loss in losses:
        assert step(x, y).item() == loss
        peaks.append(step.plan.peak)
    assert max(peaks) <= least
    assert max(peaks) == peaks[accumulate - 1] > peaks[0]


def test_a_later_batch_may_be_too_large() -> None:
    step, _, x, y = made("short", 2_800_000, accumulate=3)
    step(x[:128], y[:128])
    with pytest.raises(BudgetError):
        step(x, y)
    assert step.accumulated.position == 1
    step(x[:128], y[:128])
    step(x[:128], y[:128])
    assert step.accumulated.position == 0


def test_a_file_keeps_the_budget(tmp_path: Path) -> None:
    least = smallest("deep")
    step, _, x, y = made("deep", least)
    step(x, y)
    step.save(tmp_path / "step.lucid")
    again = lucid.load(tmp_path / "step.lucid")
    assert [again(x, y).item() for _ in range(2)] == [step(x, y).item() for _ in range(2)]
    assert again.plan.recomputed == step.recomputed
    assert again.options.memory_budget == least


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "200MB"])
def test_a_file_with_another_budget_is_refused(wrong: object) -> None:
    step, _, x, y = made("residual", 1 << 30)
    step(x, y)

    def edit(header: Any) -> None:
        extra = json.loads(header["__metadata__"]["extra"])
        assert extra["memory_budget"] == 1 << 30
        header["__metadata__"]["extra"] = json.dumps(extra | {"memory_budget": wrong})

    with pytest.raises(FileError, match="its budget of memory is"):
        archive_from_bytes(forge(archive_bytes(step._current()), edit), Options())


def test_what_verify_proves_holds_of_it_too() -> None:
    step, _, x, y = made("short", smallest("short"), verify=True)
    step(x, y)
    assert step.recomputed


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "200MB"])
def test_what_is_no_number_of_bytes_is_refused(wrong: Any) -> None:
    with pytest.raises(OptionError, match="memory_budget"):
        made("residual", wrong)
