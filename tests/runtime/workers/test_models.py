"""Compiled models whose work is shared with worker processes."""

from __future__ import annotations

import gc
import linecache
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import Tensor, nn, optim
from lucid.runtime.workers.board import DONE, TURN
from lucid.runtime.workers.processes import WorkerProcesses

Array = np.ndarray[Any, Any]


def make_model() -> nn.Sequential:
    lucid.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(16, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1), nn.Flatten(),
        nn.Linear(64 * 1600, 16),
    )  # fmt: skip


def images(seed: int = 0) -> Array:
    """As many as there are workers in these tests, so that on any machine all of them share the last region."""
    return np.random.default_rng(seed).standard_normal((3, 16, 40, 40), np.float32)


def answer(model: Any, x: Array) -> Array:
    with lucid.no_grad():
        return np.array(model(Tensor(x)))


def helped(workers: WorkerProcesses) -> list[bool]:
    """Whether each worker did its part of the last region."""
    board = workers.board
    return [board[link.by + DONE] == 2 * board[TURN] for link in workers.links]


@pytest.fixture(scope="module")
def expected() -> list[Array]:
    """What a program of one thread answers."""
    compiled = lucid.compile(make_model(), threads=1)
    return [answer(compiled, images(seed)) for seed in range(4)]


@pytest.mark.parametrize("threads", [2, 3])
def test_a_model_answers_as_with_one_thread(workers: WorkerProcesses, expected: list[Array], threads: int) -> None:
    compiled = lucid.compile(make_model(), threads=threads)
    before, calls = workers.board[TURN], [0, 1, 2, 3, 0, 1]
    for seed in calls:
        np.testing.assert_allclose(answer(compiled, images(seed)), expected[seed], rtol=1e-4, atol=1e-4)
    regions = compiled.plan.names.regions
    assert regions
    # the first run is what they are told of afterwards; each region of the others was posted once
    assert workers.board[TURN] - before == len(regions) * (len(calls) - 1)
    assert helped(workers)[: threads - 1] == [True] * (threads - 1)


def test_weights_are_never_stale(workers: WorkerProcesses) -> None:
    """And who the workers are does not change."""
    model = make_model()
    compiled = lucid.compile(model, threads=2)
    first, second = model[0], model[2]
    sgd = optim.SGD(model.parameters(), lr=1e-4)
    other = {name: np.array(value) * -0.7 for name, value in model.state_dict().items()}

    def step() -> None:
        model(Tensor(images())).sum().backward()
        sgd.step()

    def replace() -> None:
        second.weight = nn.Parameter(Tensor(np.array(second.weight.numpy()[::-1])))

    changes: list[Callable[[], object]] = [
        lambda: first.weight.copy_(first.weight.numpy() * 0.5 + 0.02),
        lambda: model.load_state_dict(other),
        step,
        replace,
        lambda: nn.init.constant_(model[4].bias, 7.0),
    ]
    pids, seen = [workers.pid(link) for link in workers.links], []
    for change in changes:
        for _ in range(2):
            answer(compiled, images(0))
        found = answer(compiled, images(1))
        assert helped(workers)[0]
        np.testing.assert_array_equal(found, answer(lucid.compile(model, threads=2), images(1)))
        np.testing.assert_allclose(found, answer(model, images(1)), rtol=1e-3, atol=1e-3 * np.abs(found).max())
        assert all(np.abs(found - before).max() > 1e-2 * np.abs(found).max() for before in seen)
        seen.append(found)
        change()
    assert np.isfinite(seen[-1]).all()
    assert [workers.pid(link) for link in workers.links] == pids


def test_training_is_shared_too(workers: WorkerProcesses) -> None:
    def train(threads: int) -> list[Array]:
        model = make_model()
        compiled, sgd, losses = lucid.compile(model, threads=threads), optim.SGD(model.parameters(), lr=1e-7), []
        for seed in range(4):
            sgd.zero_grad()
            loss = (compiled(Tensor(images(seed))) ** 2).mean()
            loss.backward()
            sgd.step()
            losses.append(np.array(loss))
        return [*losses, *(p.grad.numpy() for p in model.parameters())]

    alone, before = train(1), workers.board[TURN]
    for found, want in zip(train(2), alone, strict=True):
        np.testing.assert_allclose(found, want, rtol=1e-3, atol=1e-4 * np.abs(want).max())
    assert workers.board[TURN] > before and helped(workers)[0]


def test_what_a_model_had_is_given_back(workers: WorkerProcesses) -> None:
    """Its regions in the workers, and the memory."""
    gc.collect()
    assert workers.settle()
    before = set(workers._jobs), set(workers.heap._places)
    compiled = lucid.compile(make_model(), threads=3)
    for _ in range(3):
        answer(compiled, images())
    assert set(workers._jobs) > before[0] and set(workers.heap._places) > before[1]
    gc.disable()  # it does not wait for the collector
    try:
        del compiled
        assert workers.settle()
        assert (set(workers._jobs), set(workers.heap._places)) == before
    finally:
        gc.enable()


def test_what_a_program_had_is_given_back_with_it(workers: WorkerProcesses) -> None:
    """Beyond the limit of what a model keeps: regions, memory, and the source that tracebacks show."""
    compiled = lucid.compile(make_model(), lucid.spec("N", *images().shape[1:]), threads=3)
    gc.collect()
    assert workers.settle()
    before, limit = set(workers._jobs), lucid.get_cache_limit()
    try:
        answer(compiled, images()), answer(compiled, images())
        assert workers.settle()
        mine, places = set(workers._jobs) - before, set(workers.heap._places)
        (first,) = compiled._latest.specialization.programs.made.values()
        source = first.source.filename
        assert mine and source in linecache.cache
        lucid.set_cache_limit(0)
        answer(compiled, images()[:1])
        assert workers.settle()
        assert not mine & set(workers._jobs) and not places <= set(workers.heap._places)
        assert source not in linecache.cache and first._runs is None and first._memory is None
    finally:
        lucid.set_cache_limit(limit)


def test_the_host_has_no_children(workers: WorkerProcesses) -> None:
    compiled = lucid.compile(make_model(), threads=2)
    answer(compiled, images())
    for link in workers.links:
        with pytest.raises(ChildProcessError):
            os.waitpid(workers.pid(link), os.WNOHANG)
