"""Liveness and offsets: nothing that lives at the same time shares memory, and the arena is near its lower bound."""

from __future__ import annotations

import random

import numpy as np
import pytest

from lucid.graph.builder import Builder
from lucid.graph.opdef import TypeAttrs
from lucid.graph.ops.source import INPUT, PARAMETER, ParameterAttrs
from lucid.graph.trace import Symbol, Tracer
from lucid.graph.types import float32, spec
from lucid.runtime.executable import Executable
from lucid.runtime.liveness import Interval
from lucid.runtime.memory import ALIGNMENT, _by_size, _by_time, aligned, assign_offsets, largest_live_set
from lucid.runtime.plan import make_plan


def random_intervals(rng: random.Random, count: int) -> list[Interval]:
    starts = sorted(rng.randrange(count) for _ in range(count))
    return [Interval([], s, s + rng.randrange(1 + count // 4), rng.randrange(1, 5000)) for s in starts]


def overlaps(intervals: list[Interval], offsets: list[int]) -> bool:
    placed = list(zip(intervals, offsets, strict=True))
    return any(
        a.start <= b.stop and b.start <= a.stop and x < y + aligned(b.nbytes) and y < x + aligned(a.nbytes)
        for i, (a, x) in enumerate(placed)
        for b, y in placed[:i]
    )


@pytest.mark.parametrize("place", [_by_size, _by_time])
def test_random_intervals_never_overlap(place: object) -> None:
    rng = random.Random(1)
    for count in [1, 2, 3, 10, 40, 80] * 5:
        intervals = random_intervals(rng, count)
        offsets = place(intervals)  # type: ignore[operator]
        assert not overlaps(intervals, offsets)
        assert all(offset % ALIGNMENT == 0 for offset in offsets)


def test_the_overlap_check_can_fail() -> None:
    assert overlaps([Interval([], 0, 2, 100), Interval([], 2, 3, 10)], [0, 64])


def test_the_arena_is_near_the_largest_live_set() -> None:
    rng = random.Random(2)
    ratios = []
    for _ in range(30):
        intervals = random_intervals(rng, 60)
        layout = assign_offsets(intervals)
        assert layout.size >= layout.lower_bound == largest_live_set(intervals)
        ratios.append(layout.size / layout.lower_bound)
    assert np.median(ratios) < 1.05 and max(ratios) < 1.2


def chain(length: int) -> tuple[Tracer, Symbol, Symbol]:
    tracer = Tracer(Builder())
    (x,) = tracer.emit(INPUT, TypeAttrs((4, 64), float32), name="x")
    y: Symbol = x
    for _ in range(length):
        y = y.tanh()
    return tracer, x, y


def test_a_chain_of_elementwise_ops_runs_in_one_buffer() -> None:
    tracer, _, y = chain(20)
    plan = make_plan(tracer.builder.finish([(y + 0).value]))
    assert plan.arena_bytes == 4 * 64 * 4


def test_a_value_that_is_read_later_is_not_overwritten() -> None:
    tracer, _, y = chain(1)
    z = y.exp() + y  # y lives on, so exp may not take its place
    graph = tracer.builder.finish([z.value])
    run = Executable(graph)
    data = np.random.default_rng(0).standard_normal((4, 64)).astype(np.float32)
    (out,) = run(data)
    t = np.tanh(data)
    np.testing.assert_array_equal(out, np.exp(t) + t)


def test_views_keep_their_base_alive() -> None:
    tracer, x, y = chain(2)
    v = y.reshape(64, 4).transpose(0, 1)
    z = (x * 2).exp() + v
    run = Executable(tracer.builder.finish([z.value]))
    data = np.random.default_rng(0).standard_normal((4, 64)).astype(np.float32)
    (out,) = run(data)
    want = np.exp(data * 2) + np.tanh(np.tanh(data)).reshape(64, 4).T
    np.testing.assert_allclose(out, want, rtol=1e-6)


def test_outputs_are_fresh_memory() -> None:
    tracer, x, y = chain(2)
    graph = tracer.builder.finish([y.value, y.reshape(256).value, x.value, y.value])
    run = Executable(graph)
    data = np.ones((4, 64), np.float32)
    first = run(data)
    copies = [a.copy() for a in first]
    second = run(data * 2)
    for a, b, c in zip(first, copies, second, strict=True):
        np.testing.assert_array_equal(a, b)
        assert not any(np.shares_memory(a, other) for other in (*second, data))
        assert not np.array_equal(a, c)
    assert not np.shares_memory(first[0], first[3])


def test_what_depends_on_parameters_only_runs_once() -> None:
    tracer = Tracer(Builder())
    type_ = spec(3, 3)
    (x,) = tracer.emit(INPUT, TypeAttrs(type_.shape, type_.dtype), name="x")
    (w,) = tracer.emit(PARAMETER, ParameterAttrs(type_.shape, type_.dtype, "w"))
    run = Executable(tracer.builder.finish([(x @ (w * 2).exp()).value]))
    program = run.source.text
    assert program.index("np.exp") < program.index("def bind")
    weight, data = np.eye(3, dtype=np.float32), np.ones((3, 3), np.float32)
    run.load([weight], 0)
    (a,) = run(data)
    weight *= 3
    run.load([weight], 0)
    np.testing.assert_array_equal(run(data)[0], a)  # same version: not packed again
    run.load([weight], 1)
    np.testing.assert_allclose(run(data)[0], data @ np.exp(weight * 2), rtol=1e-6)
