"""Liveness and offsets: nothing that lives at the same time shares memory, and the arena is near its lower bound."""

from __future__ import annotations

import functools
import gc
import itertools
import math
import platform
import random
import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.base.garbage import give_back_freed
from lucid.graph.builder import Builder
from lucid.graph.ir import Graph
from lucid.graph.opdef import TypeAttrs, apply, apply_all
from lucid.graph.ops.conv_pool import CONV_POOL
from lucid.graph.ops.exchange import BEGIN, END, BeginAttrs, EndAttrs
from lucid.graph.ops.pool import MAX_POOL
from lucid.graph.ops.source import INPUT, PARAMETER, ParameterAttrs
from lucid.graph.trace import Symbol, Tracer
from lucid.graph.types import float32, spec
from lucid.runtime.kernels.conv.numbers import convolved
from lucid.runtime.planning.phase import Phase
from lucid.runtime.planning.registry import lowerings
from lucid.runtime.program.emitter import Operand
from lucid.runtime.program.executable import Executable
from lucid.runtime.program.liveness import Interval, in_arena, passing
from lucid.runtime.program.marks import Marks
from lucid.runtime.program.memory import ARENA, WORKSPACE, _by_size, _by_time, aligned, assign_offsets, largest_live_set
from lucid.runtime.program.plan import Plan, make_plan
from lucid.runtime.program.printer import Source
from lucid.runtime.program.statement import Code, Statement, marked
from lucid.runtime.program.step import Step
from lucid.runtime.workers import settings
from lucid.runtime.workers.settings import ALIGNMENT

from ..nets import NETS
from .test_conv import force


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


def extent(intervals: list[Interval], offsets: list[int]) -> int:
    return max(offset + aligned(i.nbytes) for offset, i in zip(offsets, intervals, strict=True))


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


def test_sums_over_processes_stay_while_a_worker_may_be_late() -> None:
    tracer = Tracer(Builder())
    (x,) = tracer.emit(INPUT, TypeAttrs((256, 1024), float32), name="x")
    (total,) = apply_all(END, EndAttrs(0, (x.type.shape,)), apply(BEGIN, BeginAttrs(0), x.tanh()))
    y = total.exp()
    plan = make_plan(tracer.builder.finish([(y @ y.transpose(0, 1)).value]), threads=2)
    assert plan.steps[-1].workers > 1
    offsets = {step.node.op.name: [plan.places.get(value.root) for value in step.outs] for step in plan.steps}
    assert offsets["Exp"] != offsets["AllReduceBegin"]


def test_what_is_added_up_by_itself_is_so_where_it_lies_and_at_once() -> None:
    tracer = Tracer(Builder())
    (x,) = tracer.emit(INPUT, TypeAttrs((4, 64), float32), name="x")
    y = x.tanh()
    z = (x * 3.0).exp()
    sums = []
    for number, value in enumerate((y, z)):
        flat = apply(BEGIN, BeginAttrs(number), value.reshape(-1))
        sums += [total.value for total in apply_all(END, EndAttrs(number, ((4, 64),)), flat)]
    plan = make_plan(tracer.builder.finish(sums))
    at = {step.name: [plan.places.get(value.root) for value in step.outs] for step in plan.steps}
    assert at["tanh"] == at["all_reduce_begin"]
    assert [step.node.op.name for step in plan.steps[:3]] == ["Tanh", "Reshape", "AllReduceBegin"]


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


# ---------------------------------------------------------------- networks


@functools.cache
def graph_of(name: str) -> Graph:
    """The optimised graph of a network, for any batch of images of the published size."""
    return lucid.compile(NETS[name].model(), lucid.spec("N", *NETS[name].image)).graph


def live_sets(plan: Plan) -> list[list[Operand]]:
    """What is in the arena at each step and at the end, told anew from what the steps read and write."""
    born: dict[Operand, int] = {}
    last: dict[Operand, int] = {}
    for i, step in enumerate(plan.steps):
        for y in filter(in_arena, step.memory):
            born[y] = last[y] = i
        last |= {x.root: i for x in step.ins}
    last |= {y.root: len(plan.steps) for y in plan.outputs}
    kept = [y for y in born if y.kept]
    born, last = born | dict.fromkeys(kept, 0), last | dict.fromkeys(kept, len(plan.steps))
    return [[y for y in born if born[y] <= i <= last[y]] for i in range(len(plan.steps) + 1)]


def places(plan: Plan, live: list[Operand], step: Step | None) -> dict[int, int]:
    """Offsets and sizes; only what a step may write over something that it reads shares the place of that."""
    written = [y for y in live if step is not None and y in step.memory]
    over = set() if step is None else {(step.outs[o], step.ins[i].root) for o, i in step.overwritable}
    found: dict[int, Operand] = {}
    for y in sorted(live, key=written.__contains__):
        memory, offset, _ = plan.places[y]
        assert memory == ARENA and (offset not in found or (y, found[offset]) in over)
        found[offset] = y
    sizes = {offset: aligned(y.type.nbytes) for offset, y in sorted(found.items())}
    assert all(a + size <= b for (a, size), b in zip(sizes.items(), list(sizes)[1:], strict=False))
    return sizes


@pytest.mark.parametrize("name", NETS)
def test_the_arena_of_each_network_is_near_its_largest_live_set(name: str) -> None:
    for size, threads, exact in [(1, 1, False), (1, 2, True), (3, 2, False)]:
        plan = make_plan(graph_of(name).bind({"N": size}), threads=threads, exact=exact)
        needed = [
            sum(places(plan, live, step).values())
            for live, step in itertools.zip_longest(live_sets(plan), plan.steps)
        ]  # fmt: skip
        assert plan.layout.lower_bound == max(needed) > 0
        assert plan.arena_bytes <= 1.05 * max(needed), (size, threads, exact)


def test_an_order_that_wastes_is_mended() -> None:
    """A part of ResNet-50: an input, an output, and the scratch of the convolution between them."""
    lives = [(0, 1, 256), (1, 3, 256), (2, 2, 144), (2, 2, 144)]
    intervals = [Interval([], start, stop, 64 * units) for start, stop, units in lives]
    bound = largest_live_set(intervals)
    assert bound == 64 * 544
    unmended = _by_size(intervals, 2 * bound)
    assert min(extent(intervals, unmended), extent(intervals, _by_time(intervals))) > 1.2 * bound
    assert assign_offsets(intervals).size == bound


def block(kernel: int, stride: int, pool: int, channels: int, out: int) -> nn.Module:
    edge = {"padding": 1, "pad_value": -math.inf} if pool > 2 else {}
    conv = nn.Conv2d(channels, out, kernel, stride, kernel // 2)
    return nn.Sequential(conv, nn.ReLU(), nn.MaxPool2d(pool, 2, **edge))


def unpooled(step: Step) -> int:
    """Bytes of a fused convolution's result before it is pooled."""
    return math.prod(convolved(step.node, tuple(x.type for x in step.ins))) * 4


LAYERS = {
    "3x3": (
        (3, 1, 2, 16, 64),
        (32, 16, 112, 112),
        ("chosen", "im2col", "toeplitz", "toeplitz_planes", "winograd2", "winograd4"),
    ),
    "7x7/2": ((7, 2, 3, 3, 64), (32, 3, 224, 224), ("chosen", "im2col")),  # overlapping windows, padded
    "5x5": ((5, 1, 2, 1, 6), (1024, 1, 28, 28), ("chosen", "im2col", "toeplitz", "toeplitz_planes")),
}
"""Layers with the lowerings that accept them."""


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("name", "sizes", "shape"), [(name, sizes, shape) for sizes, shape, names in LAYERS.values() for name in names]
)
def test_what_is_pooled_in_blocks_never_exists(
    name: str, threads: int, sizes: tuple[int, ...], shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no room in the arena for the result before pooling, though it may hold copies of input and output."""
    net = lucid.compile(block(*sizes), lucid.spec("N", *shape[1:]))  # type: ignore[arg-type]
    if name != "chosen":
        force(monkeypatch, CONV_POOL, next(low for low in lowerings(CONV_POOL) if low.name == name))
    plan = make_plan(net.graph.bind({"N": shape[0]}), threads=threads)
    (step,) = plan.steps
    assert name in ("chosen", step.lowering)
    assert step.node.op is CONV_POOL and step.outs == tuple(plan.outputs)
    needed = [y for y in step.memory if in_arena(y)]
    assert all(plan.places[y].offset + y.type.nbytes <= plan.arena_bytes for y in needed)
    outside = sum(x.type.nbytes for x in (*plan.inputs, *plan.outputs))
    assert outside <= unpooled(step) / 2 and plan.arena_bytes < 0.75 * unpooled(step)


@pytest.mark.parametrize("name", ["lenet", "vgg11", "vgg16", "resnet18", "resnet50"])
def test_every_max_pooling_of_a_network_is_fused(name: str) -> None:
    batch = 2048 if name == "lenet" else 16
    plan = make_plan(graph_of(name).bind({"N": batch}), threads=2)
    assert all(step.node.op is not MAX_POOL for step in plan.steps)
    fused = [step for step in plan.steps if step.node.op is CONV_POOL and step.node.attrs.pool]  # type: ignore[attr-defined]
    assert len(fused) == {"lenet": 2, "vgg11": 5, "vgg16": 5}.get(name, 1)
    large = 0
    for step in fused:
        # where weights are larger than an image's result, all images may be one block, to read the weights once
        if step.ins[1].type.nbytes < unpooled(step) / batch:
            assert max(y.type.nbytes for y in step.memory) < unpooled(step) / 3, step.name
            large += 1
    assert large == {"vgg16": 3}.get(name, 1)


class Ending:
    """A clock that counts, at the last step of a run, the bytes of what is no array: the views above all."""

    def __init__(self, marks: Marks) -> None:
        self.marks, self.ended, self.objects = marks, 0, 0

    def __call__(self) -> float:
        self.ended += 1
        if self.ended == len(self.marks.steps):
            self.objects = traced(False)
        return 0.0


def traced(arrays: bool) -> int:
    """Bytes in use, as far as they were taken while tracing: by NumPy for arrays, or by all else."""
    kind = tracemalloc.DomainFilter(arrays, np.lib.tracemalloc_domain)
    return sum(trace.size for trace in tracemalloc.take_snapshot().filter_traces([kind]).traces)


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (lambda: block(3, 1, 2, 64, 64), (8, 64, 56, 56)),
        (NETS["mobilenet"].model, (2, 3, 112, 112)),
    ],
    ids=["block", "mobilenet"],
)
def test_numpy_allocates_what_the_plan_says(
    build: Any, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packed weights when parameters are loaded; beyond them an arena and the outputs, during a run.

    On one thread, and without memory of the system's own: NumPy does not count these.
    """
    monkeypatch.setattr(settings, "MAPPED", 1 << 63)
    model = build()
    plan = lucid.compile(model, lucid.spec(*shape), threads=1).plan
    marks = Marks()
    ending = Ending(marks)
    run = Executable(plan.graph, threads=1, marks=marks, clock=ending)
    state, x = model.state_dict(), np.ones(shape, np.float32)
    np.ones((512, 512), np.float32) @ np.ones((512, 512), np.float32)  # BLAS takes its own memory at the first product
    gc.collect()
    tracemalloc.start()
    try:
        run.load([np.asarray(state[name]) for name in run.parameters], 0)
        packed = traced(True)
        run(x)
        gc.collect()
        tracemalloc.reset_peak()
        (y,) = run(x)
        peak = tracemalloc.get_traced_memory()[1] - ending.objects - packed
    finally:
        tracemalloc.stop()
    assert packed == pytest.approx(plan.packed_bytes + plan.workspace_bytes, rel=0.05)
    assert y.nbytes == sum(o.type.nbytes for o in plan.outputs) and plan.arena_bytes > 500_000
    assert peak == pytest.approx(plan.arena_bytes + y.nbytes, rel=0.05)


def test_what_a_run_reads_by_way_of_views_is_kept() -> None:
    """Also by those that are given their names together."""
    kept, gone = (Operand(name, spec(4), Phase.STATE, persistent=True) for name in ("kept", "gone"))
    view, other, unread = map(marked, ("view", "other", "unread"))
    code = Code(
        state=[
            Statement.assignment(f"({view}, {other})", f"split({kept})", Phase.STATE),
            Statement.assignment(unread, f"{gone}.T", Phase.STATE),
        ],
        prepare=[Statement.of(f"pack({gone}, {kept})", Phase.STATE)],
        run=[Statement.of(f"use({other})", Phase.CALL)],
    )
    step: Any = SimpleNamespace(code=code, memory=[kept, gone])
    assert passing([step], ()) == {gone}
    assert passing([step], [gone]) == set()


def test_what_only_packing_reads_shares_memory() -> None:
    """Weights with a normalisation folded in are needed until they are packed, layer by layer."""
    model = nn.Sequential(
        *(m for _ in range(6) for m in (nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()))
    ).eval()
    net, x = lucid.compile(model), lucid.randn(2, 16, 12, 12)
    with lucid.no_grad():
        net(x)
        plan = net.plan
        passed = [y for y, at in plan.places.items() if at.memory == WORKSPACE]
        assert sum(y.type.nbytes for y in passed) > 4 * plan.workspace_bytes > 0
        for module in model.modules():  # packed anew, over what the first time left there
            if isinstance(module, nn.BatchNorm2d):
                module.running_var.copy_(np.linspace(0.5, 2.0, 16, dtype=np.float32))
        # of values up to 0.2; up to 6e-8 was seen
        np.testing.assert_allclose(net(x).numpy(), model(x).numpy(), rtol=0, atol=1e-6)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="who else keeps what is freed, and how, is not known")
def test_what_compiling_a_long_program_takes_goes_back_to_the_system() -> None:
    def resident() -> int:
        return next(
            int(line.split()[1])
            for line in Path("/proc/self/status").read_text().splitlines()
            if line.startswith("RssAnon:")
        )

    lines = [f"    x.take(x[{i % 7}], out=x, axis={i % 3})" for i in range(5000)]
    give_back_freed()
    before = resident()
    source = Source("\n".join(["def program(x):", *lines, ""]), {}, {}, "<a long program>")
    program = source.load("program")
    assert resident() - before < 10_000, "25 MB were seen, in kB, where nothing is given back"
    assert callable(program)
