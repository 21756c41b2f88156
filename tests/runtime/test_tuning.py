"""Tuning takes what it measured to be quickest, and the saved file keeps it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.errors import FileError
from lucid.formats import serialize
from lucid.graph.ops.conv_pool import CONV_POOL
from lucid.runtime import tuning
from lucid.runtime.planning import registry
from lucid.runtime.planning.registry import Lowering, Way
from lucid.runtime.planning.work import Work
from lucid.runtime.program import printer as codegen
from lucid.runtime.program.emitter import Emitter
from lucid.runtime.tuning import Tuned, resolve


def network() -> nn.Module:
    lucid.manual_seed(0)
    layers = (nn.Conv2d(4, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, 2))
    return nn.Sequential(*layers, nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()).eval()


class Clock:
    """Stands for the machine's: what is measured is drawn, the same at every run and however busy the machine is."""

    def __init__(self) -> None:
        self.now, self.rng = 0.0, np.random.default_rng(0)

    def read(self) -> float:
        self.now += float(self.rng.uniform(1e-6, 1e-5))
        return self.now

    def nap(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    drawn = Clock()
    monkeypatch.setattr(tuning, "WARM", 0.0)
    monkeypatch.setattr(tuning, "TURNS", 3)
    for module in (tuning, codegen):
        monkeypatch.setattr(module, "perf_counter", drawn.read)
    return drawn


X = np.random.default_rng(0).standard_normal((2, 4, 12, 12), dtype=np.float32)


def choices(net: Any) -> list[str]:
    return [str(s.choice) for s in net.plan.steps if s.node.op is CONV_POOL]


def slow(low: Lowering, seconds: float, clock: Clock) -> Lowering:
    """The lowering, promising to be the quickest, with a nap in its program."""

    def emit(k: Emitter) -> None:
        k.line(f"{k.use(clock.nap)}({seconds})")
        low.emit(k)

    def ways(*given: Any) -> list[Way]:
        return [Way(Work(calls=1e-3), way.block) for way in low.ways(*given)][:1]

    return replace(low, name="slow", emit=emit, ways=ways)


def test_what_is_measured_counts_not_what_is_predicted(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    (im2col,) = (low for low in registry.lowerings(CONV_POOL) if low.name == "im2col")
    monkeypatch.setattr(tuning, "SLOWEST", 1e9)
    monkeypatch.setitem(registry._KERNELS, CONV_POOL, [slow(im2col, 0.01, clock), im2col])
    usual = lucid.compile(network())
    expected = usual(X)
    tuned = lucid.compile(network(), tune=True)
    result = tuned(X)
    assert [c.split()[0] for c in choices(usual)] == ["slow"] * 3
    assert [c.split()[0] for c in choices(tuned)] == ["im2col"] * 3
    np.testing.assert_allclose(result.numpy(), expected.numpy(), rtol=1e-4, atol=1e-5)


def test_a_tuned_model_computes_the_same_and_says_what_it_measured() -> None:
    net = network()
    tuned = lucid.compile(net, tune=True)
    # tuning may take Winograd's lowerings, which are right to some 1e-5 in each of the three layers
    np.testing.assert_allclose(tuned(X).numpy(), net(lucid.tensor(X)).numpy(), rtol=1e-3, atol=1e-4)
    header, *rows = str(tuned.plan).splitlines()
    column = slice(header.index("measured us"), header.index("output"))
    assert all(float(row[column]) > 0 for row in rows if "ConvPool2d" in row)
    tuned.profile(X, repeat=2)
    assert len(tuned.plan.measured) == len(tuned.plan.steps)


def test_nodes_that_are_alike_share_measurements() -> None:
    tuned = lucid.compile(network(), tune=True)
    tuned(X)
    ((found,),) = [list(one.values()) for one in [tuned._current().programs.tuned]]
    assert len(found) == 3
    graph = tuned.plan.graph
    alike = tuning._alike(graph)
    assert sum(len(names) for key, names in alike.items() if key[0] == "ConvPool2d") == 3


def test_the_file_keeps_what_was_learnt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = lucid.compile(network(), tune=True)
    expected = net(X).numpy()
    net.save(tmp_path / "net.lucid")
    monkeypatch.setattr("lucid.compiler.programs.tune", lambda *given, **options: pytest.fail("tuned again"))
    loaded = lucid.load(tmp_path / "net.lucid")
    np.testing.assert_array_equal(loaded(X).numpy(), expected)
    assert choices(loaded) == choices(net)
    assert all(
        loaded.plan.measured[name] == one.seconds
        for name, one in next(iter(net._current().programs.tuned.values())).items()
    )


def test_choices_of_another_machine_are_left_out() -> None:
    net = lucid.compile(network())
    net(X)
    graph = net.plan.graph
    names = [s.name for s in net.plan.steps if s.node.op is CONV_POOL]
    known = choices(net)[0]
    tuned = {names[0]: Tuned(known, 1.0), names[1]: Tuned("im2col (-3 pixels)", 1.0), "gone": Tuned(known, 1.0)}
    assert list(resolve(graph, tuned, net.plan.threads, False)) == [names[0]]


@pytest.mark.parametrize("bad", [3, [3], [{"sizes": {}, "threads": "x", "nodes": {}}], [{"sizes": 1}], {"a": 1}])
def test_a_file_with_nonsense_in_it_is_refused(bad: Any, tmp_path: Path) -> None:
    net = lucid.compile(network())
    net(X)
    net.save(tmp_path / "net.lucid")
    archive = serialize.load(tmp_path / "net.lucid")
    serialize.save(tmp_path / "bad.lucid", archive.graphs, archive.arrays, {**archive.extra, "tuned": bad})
    with pytest.raises(FileError, match="tuning"):
        lucid.load(tmp_path / "bad.lucid")


def test_exact_stays_exact() -> None:
    net = lucid.compile(network(), tune=True, exact=True)
    net(X)
    inexact = {low.name for low in registry.lowerings(CONV_POOL) if not low.exact}
    assert not any(choice.split()[0] in inexact for choice in choices(net))
