"""What the programs of a model keep: packed parameters once, within a limit, and right whatever is packed when."""

from __future__ import annotations

import functools
import gc
import importlib
import pkgutil
import sys
import threading
import tracemalloc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.errors import OptionError
from lucid.graph.builder import Builder
from lucid.graph.opdef import ConstArray
from lucid.graph.ops.source import CONSTANT, ConstantAttrs
from lucid.graph.trace import Tracer
from lucid.runtime.eager import evaluate
from lucid.runtime.planning.machine import described
from lucid.runtime.program import store
from lucid.runtime.program.compilation import Compilation
from lucid.runtime.program.executable import Executable
from lucid.runtime.program.plan import make_plan
from lucid.runtime.program.printer import generate
from lucid.runtime.workers.settings import private_bytes

from ..machines import USUAL


def network() -> nn.Module:
    lucid.manual_seed(0)
    layers = (nn.Conv2d(4, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1))
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 300)).eval()
    for buffer in model.buffers():
        if buffer.shape:
            buffer.copy_(np.linspace(0.5, 1.5, buffer.numel(), dtype=np.float32))
    return model


@pytest.fixture(autouse=True)
def no_limit() -> Iterator[None]:
    before = lucid.get_cache_limit()
    lucid.set_cache_limit(1 << 40)
    yield
    lucid.set_cache_limit(before)


def images(n: int, size: int = 12) -> Any:
    return np.random.default_rng(n).standard_normal((n, 4, size, size), dtype=np.float32)


def kept(net: Any) -> int:
    """Bytes of what is packed, all programs together."""
    return sum(one.memory.nbytes for one in net._store.all())


def plans(net: Any) -> list[Any]:
    return [e.plan for e in net._latest.specialization.programs.made.values()]


def test_sizes_that_pack_alike_keep_it_once() -> None:
    net = lucid.compile(network(), lucid.spec("N", 4, "H", "H"), exact=True, threads=1)
    with lucid.no_grad():
        for n, size in ((4, 12), (5, 12), (6, 12), (6, 14), (7, 16)):
            net(images(n, size))
    alone = [sum(p.nbytes for p in plan.packings.all) for plan in plans(net)]
    assert len(alone) == 5 and min(alone) > 100_000
    assert kept(net) < 1.5 * max(alone) < sum(alone) / 2


def test_answers_are_the_same_bit_by_bit_as_alone() -> None:
    model = network()
    net = lucid.compile(model, lucid.spec("N", 4, "H", "H"))
    with lucid.no_grad():
        for turn in range(2):
            for n, size in ((1, 12), (4, 12), (9, 12), (2, 16), (5, 8)):
                alone = lucid.compile(model, lucid.spec("N", 4, "H", "H"))
                np.testing.assert_array_equal(net(images(n, size)).numpy(), alone(images(n, size)).numpy())
            model[0].weight.data.copy_(model[0].weight.numpy() * (turn + 2))


def test_training_and_inference_share_what_they_pack_alike() -> None:
    model = nn.Sequential(nn.Conv2d(4, 32, 3), nn.Tanh(), nn.Conv2d(32, 32, 3))
    with described(USUAL):
        net, x = lucid.compile(model, exact=True), images(3)  # exact: there is one way to pack
        net(x).sum().backward()
        before = kept(net)
        with lucid.no_grad():
            net(x)
    assert kept(net) == before > 4 * 32 * 32 * 9


def test_what_is_packed_is_not_packed_again_under_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program of the same packing is made: nothing is written to memory that runs may be reading."""
    packed: list[frozenset[int]] = []
    before = Compilation.guard
    monkeypatch.setattr(
        Compilation, "guard", lambda self, f: (packed.extend(getattr(f, "args", ())), before(self, f))[1]
    )
    model = network()
    net = lucid.compile(model, lucid.spec("N", 4, 12, 12), exact=True, threads=1)
    with lucid.no_grad():
        net(images(4))
        (first,) = packed
        assert len(first) >= 3
        net(images(8))
        assert sum(map(len, packed[1:])) < len(first), "the large ones are there already"
        model[6].bias.copy_(np.ones(300, np.float32))
        packed.clear()
        net(images(8))
        assert sum(map(len, packed)) <= 1, "only what is made of the bias"


def test_two_parameters_that_are_equal_now_are_not_one() -> None:
    first, second = nn.Conv2d(4, 4, 3, bias=False), nn.Conv2d(4, 4, 3, bias=False)
    for layer in (first, second):
        layer.weight.data.copy_(np.zeros(layer.weight.shape, np.float32))
    net, x = lucid.compile(nn.Sequential(first, nn.Tanh(), second)), images(2)
    with lucid.no_grad():
        net(x)
        first.weight.copy_(np.ones(first.weight.shape, np.float32))
        assert (net(x).numpy() == 0).all()
        second.weight.copy_(np.ones(second.weight.shape, np.float32))
        np.testing.assert_allclose(net(x).numpy(), net.model(lucid.tensor(x)).numpy(), rtol=1e-4, atol=1e-5)


def test_a_replaced_parameter_has_memory_of_its_own() -> None:
    model = network()
    net = lucid.compile(model, lucid.spec("N", 4, 12, 12))
    with lucid.no_grad():
        for n in (1, 4):
            net(images(n))
        model[3].weight = nn.Parameter(model[3].weight.numpy() * 3)
        for n in (1, 4, 6):
            np.testing.assert_allclose(
                net(images(n)).numpy(), model(lucid.tensor(images(n))).numpy(), rtol=1e-3, atol=1e-4
            )


def test_it_goes_with_the_last_program() -> None:
    net = lucid.compile(network(), lucid.spec("N", 4, 12, 12))
    with lucid.no_grad():
        net(images(2))
    held = net._store
    assert held.nbytes > 100_000
    gc.disable()  # it does not wait for the collector
    try:
        del net
        assert held.nbytes == 0
    finally:
        gc.enable()


def test_beyond_the_limit_what_was_not_called_of_late_is_given_back() -> None:
    model = network()
    net = lucid.compile(model, lucid.spec("N", 4, "H", "H"))
    lucid.set_cache_limit(400_000)
    with lucid.no_grad():
        for turn in range(2):
            for n in (*range(1, 9), 3, 2):
                want = model(lucid.tensor(images(n))).numpy()
                np.testing.assert_allclose(net(images(n)).numpy(), want, rtol=1e-3, atol=1e-4, err_msg=f"{turn}")
                (own,) = (e for e in net._latest.specialization.programs.made.values() if e._runs and e.called)
                assert net._store.nbytes <= 400_000 + own.held_bytes + sum(
                    one.memory.nbytes for one in own._memory.packed
                )
    lucid.set_cache_limit(0)
    with lucid.no_grad():
        net(images(1))
    loaded = [e for e in net._latest.specialization.programs.made.values() if e._runs is not None]
    assert len(loaded) == 1, "the one that was called stays"


def test_the_limit_follows_the_weights_unless_it_is_set() -> None:
    lucid.set_cache_limit(None)
    model = network()
    net = lucid.compile(model, lucid.spec("N", 4, 12, 12))
    with lucid.no_grad():
        net(images(1))
    weights = sum(t.numpy().nbytes for t in (*model.parameters(), *model.buffers()))
    assert store.BESIDES < net._store.limit <= store.TIMES * 3 * weights + store.BESIDES
    for wrong in (-1, 1.5, True, "1"):
        with pytest.raises(OptionError, match="set_cache_limit"):
            lucid.set_cache_limit(wrong)  # type: ignore[arg-type]


def test_many_threads_many_sizes_and_a_tight_limit() -> None:
    model = network()
    net = lucid.compile(model, lucid.spec("N", 4, 12, 12), threads=1)
    want = {n: model(lucid.tensor(images(n))).numpy() for n in range(1, 7)}
    lucid.set_cache_limit(300_000)
    wrong: list[Any] = []

    def work(seed: int) -> None:
        try:
            with lucid.no_grad():
                for n in np.random.default_rng(seed).integers(1, 7, 40):
                    got = net(images(int(n))).numpy()
                    if not np.allclose(got, want[int(n)], rtol=1e-3, atol=1e-4):
                        wrong.append(int(n))
        except Exception as error:  # noqa: BLE001 - shown below
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_only_what_is_stale_is_packed() -> None:
    """Steps that hand on what nobody keeps run for whoever needs it."""
    model = network()
    graph = lucid.compile(model, lucid.spec("N", 4, 12, 12)).graph.bind({"N": 2})
    plan = make_plan(graph)
    arrays = [np.asarray(model.state_dict()[name]) for name in plan.parameters]
    program = Executable(graph)
    program.load(arrays, 0)
    (want,) = program(images(2))
    for number in range(len(plan.packings.all)):
        memory = [np.full(p.nbytes, 255, np.uint8) for p in plan.packings.all]
        some, _ = generate(plan).load("program")(arrays, [*memory, np.full(plan.workspace_bytes, 255, np.uint8)])
        some(frozenset([number]))
        for other, block in enumerate(memory):
            assert other == number or (block == 255).all()
    assert np.isfinite(want).all()


def test_no_code_of_ours_runs_as_memory_goes() -> None:
    """An exception out of a signal's handler would be lost there."""
    net = lucid.compile(network(), lucid.spec("N", 4, 12, 12), threads=1)
    with lucid.no_grad():
        net(images(2))
    of_the_model, ours = net._store, list[str]()
    several = of_the_model.all()
    assert several
    del net
    gc.collect()
    before = sys.getprofile()
    sys.setprofile(lambda frame, event, _: ours.append(frame.f_code.co_qualname) if event == "call" else None)
    try:
        several.clear()
    finally:
        sys.setprofile(before)
    assert not ours and not of_the_model.all()


def test_all_that_sizes_cost_stays_below_the_limit() -> None:
    """Everything that Python and NumPy allocate, plans and programs included: as much for 24 sizes as for 6."""
    net = lucid.compile(network(), lucid.spec("N", 4, "H", "H"), threads=1)
    lucid.set_cache_limit(1_500_000)
    sizes = [(n, size) for size in range(6, 18) for n in (1, 2)]
    with lucid.no_grad():
        net(images(3, 6))
        started, grown = tracemalloc.is_tracing(), []
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for number, (n, size) in enumerate(sizes, 1):
            net(images(n, size))
            if not number % 6:
                own = list(net._latest.specialization.programs.made.values())[-1]
                assert net._store.nbytes <= 1_500_000 + own.held_bytes + sum(
                    one.memory.nbytes for one in own._memory.packed
                )
                grown.append(tracemalloc.get_traced_memory()[0] - before - own.plan.arena_bytes)
        if not started:
            tracemalloc.stop()
    assert max(grown) < 2_500_000, grown
    planned = [e.compilation.planned for e in net._latest.specialization.programs.made.values()]
    assert len(planned) == len(sizes) + 1 and sum(planned) < len(sizes) // 2


def test_a_plan_that_was_given_back_is_made_again() -> None:
    model = network()
    net = lucid.compile(model, lucid.spec("N", 4, "H", "H"), tune=True)
    with lucid.no_grad():
        want = [net(images(n)).numpy() for n in (2, 3)]
        first, second = net._latest.specialization.programs.made.values()
        plan = first.plan
        first.unplan()
        assert first.plan is plan, "it is loaded"
        lucid.set_cache_limit(0)
        net(images(5))
        assert not first.compilation.planned and not second.compilation.planned
        assert str(first.plan) == str(plan)
        assert first.plan is not plan and first.plan.measured == plan.measured != {}
        for _ in range(2):
            np.testing.assert_array_equal(net(images(2)).numpy(), want[0])
            np.testing.assert_array_equal(net(images(3)).numpy(), want[1])


def test_traces_count() -> None:
    net = lucid.compile(network(), threads=1)
    before = net._store.nbytes
    with lucid.no_grad():
        for n in (1, 2, 3):
            net(images(n))
    specializations = [trace.specialization for trace in net._traces.values()]
    assert len(specializations) == 3 and all(one.held_bytes > 10_000 for one in specializations)
    assert net._store.nbytes - before > sum(one.held_bytes for one in specializations)
    held = specializations[0].held_bytes
    net(images(1)).sum().backward()
    assert specializations[0].held_bytes > held, "the graphs of training"


def test_working_memory_of_many_calls_at_once_does_not_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    net = lucid.compile(network(), lucid.spec("N", 4, 12, 12), threads=1)
    with lucid.no_grad():
        net(images(4))
        (program,) = net._latest.specialization.programs.made.values()
        looks: list[Any] = []
        monkeypatch.setattr(net._store, "used", looks.append)
        busy = [program._runs.free.pop()]  # as while others run
        net(images(4))
        busy.append(program._runs.free.pop())
        net(images(4))
        program._runs.free.extend(busy)
        assert looks == [program] * 2, "the store is told of what was made"
        monkeypatch.undo()
        net._store.used(program)
        assert len(program._runs.free) == 3, "there is room"
        lucid.set_cache_limit(0)
        net._store.used(program)
        assert len(program._runs.free) == 1
        want = net.model(lucid.tensor(images(4))).numpy()
        np.testing.assert_allclose(net(images(4)).numpy(), want, rtol=1e-3, atol=1e-4)


WITHOUT_LIMIT = {
    "lucid.graph.attrs", "lucid.graph.fields", "lucid.runtime.kernels.conv.filtering", "lucid.runtime.planning.machine",
    "lucid.runtime.workers.blas", "lucid.runtime.workers.heap",
}  # fmt: skip
"""Modules with caches of what there is only so much of: kinds of attributes, filters, machines, libraries."""


def is_cache(thing: object) -> bool:
    """What is watched for whether it is asked (``tests/asking.py``) has one within."""
    return isinstance(thing, functools._lru_cache_wrapper)


def test_no_cache_grows_with_the_shapes_that_a_program_meets() -> None:
    found = {}
    for _, name, _ in pkgutil.walk_packages(lucid.__path__, "lucid."):
        if not name.endswith("__main__"):
            found.update({(name, key): thing for key, thing in vars(importlib.import_module(name)).items()})
    found.update(
        {where: thing.__wrapped__ for where, thing in found.items() if is_cache(getattr(thing, "__wrapped__", 0))}
    )
    caches = {where: thing for where, thing in found.items() if is_cache(thing)}
    own = {where: cache for where, cache in caches.items() if cache.__module__ == where[0]}
    assert len(own) > 10
    assert {name for (name, _), cache in own.items() if cache.cache_parameters()["maxsize"] is None} == WITHOUT_LIMIT


def test_constants_that_were_evaluated_go() -> None:
    tracer = Tracer(Builder())
    (x,) = tracer.emit(CONSTANT, ConstantAttrs(ConstArray(np.ones(1000, np.float32))))
    graph = tracer.builder.finish([(x * 2).value])
    array = weakref.ref(graph.node(graph.order[0]).attrs.value.array)  # type: ignore[attr-defined]
    assert evaluate(graph, ())[0][0] == 2
    del x, tracer, graph
    assert array() is None


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere memory is NumPy's")
def test_the_system_has_large_memory_back_at_once() -> None:
    def mapped(address: int) -> bool:
        parts = [line.split()[0].split("-") for line in Path("/proc/self/maps").read_text().splitlines()]
        return any(int(low, 16) <= address < int(high, 16) for low, high in parts)

    memory = private_bytes(50_000_000)
    address = memory.ctypes.data
    assert memory.shape == (50_000_000,) and address % 64 == 0 and memory.flags.writeable
    memory[:] = 1
    assert mapped(address)
    del memory
    assert not mapped(address)
    with pytest.raises(MemoryError):
        private_bytes(1 << 60)


def test_graphs_that_add_up_gradients_by_turns_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Linear(4, 3)
    step = lucid.compile_step(model, nn.CrossEntropyLoss(), lucid.optim.SGD(model.parameters(), lr=0.1), accumulate=3)
    x, target = np.ones((2, 4), np.float32), np.array([0, 1])

    def plans() -> list[int]:
        for _ in range(3):
            step(x, target)
        return sorted(id(program().compilation._plan) for program in step._store._programs.values())  # type: ignore[union-attr, attr-defined]

    before = plans()
    lucid.set_cache_limit(None)
    monkeypatch.setattr(store, "BESIDES", step._store.nbytes // 2)
    assert len(before) == 3 and plans() == before
