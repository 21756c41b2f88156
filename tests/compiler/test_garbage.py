"""What a step, a compilation or a model leaves behind goes at once: nothing waits for the cyclic collector."""

from __future__ import annotations

import contextlib
import gc
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Generator
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.nn import functional as F


def network() -> nn.Module:
    lucid.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2, 2), nn.Flatten(), nn.Linear(72, 10)
    )


ROOT = Path(__file__).parents[2]
LABELS = np.array([1, 2])


def images(n: int) -> Any:
    return np.random.default_rng(n).standard_normal((n, 3, 8, 8), dtype=np.float32)


X = images(2)


def garbage(run: Callable[[], object]) -> int:
    """Objects that only the collector finds after a run that is like those before it."""
    run(), run()
    gc.collect()
    gc.disable()
    try:
        run()
        return gc.collect()
    finally:
        gc.enable()


def step(model: nn.Module, called: Callable[..., lucid.Tensor]) -> Callable[[], None]:
    optimizer = lucid.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def run() -> None:
        optimizer.zero_grad()
        F.cross_entropy(called(lucid.tensor(X)), lucid.tensor(LABELS)).backward()
        optimizer.step()

    return run


def eager() -> Callable[[], object]:
    model = network()
    return step(model, model)


def compiled() -> Callable[[], object]:
    model = network()
    return step(model, lucid.compile(model))


def call() -> Callable[[], object]:
    net = lucid.compile(network().eval())

    def run() -> None:
        with lucid.no_grad():
            net(X)

    return run


STEPS = {"eager": eager, "compiled": compiled, "call": call}


@pytest.mark.parametrize("kind", STEPS)
def test_a_step_leaves_none(kind: str) -> None:
    assert alone()[kind] == 0


@cache
def alone() -> dict[str, Any]:
    """What each step and each life leaves, in an interpreter of their own: here others may leave some meanwhile."""
    script = "import json; from tests.compiler import test_garbage; print(json.dumps(test_garbage.left()))"
    found = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    told: dict[str, Any] = json.loads(found.stdout)
    return told


def left() -> dict[str, Any]:
    return {kind: garbage(make()) for kind, make in STEPS.items()} | {life: stages(life) for life in LIVES}


# ------------------------------------------------------------ the life of a compiled model, stage by stage

SPEC = lucid.spec("N", 3, 8, 8)
Life = Generator[str, None, None]


def infer(net: Any, n: int = 2) -> None:
    with lucid.no_grad():
        net(images(n))


def train(net: Any, n: int = 2) -> None:
    F.cross_entropy(net(images(n)), lucid.tensor(np.arange(n))).backward()


def called() -> Life:
    model = network().eval()
    net = lucid.compile(model)
    yield "compiled"
    infer(net)
    yield "traced and called"
    infer(net, 3)
    yield "traced anew"
    del net
    yield "dropped"
    del model
    yield "its model dropped"


def specialised(**options: Any) -> Life:
    net = lucid.compile(network().eval(), SPEC, **options)
    yield "compiled"
    infer(net)
    yield "called"
    infer(net, 3)
    yield "called at another size"
    str(net.plan), str(net.graph), net.source, net.explain()
    yield "looked at"
    net.profile(X, repeat=1)
    yield "profiled"
    del net
    yield "dropped"


def trained(**options: Any) -> Life:
    net = lucid.compile(network(), SPEC, **options)
    yield "compiled"
    train(net)
    yield "trained"
    train(net, 3)
    yield "trained at another size"
    str(net.backward_graph)
    yield "looked at"
    del net
    yield "dropped"


def drawn() -> Life:
    net = lucid.compile(network().eval(), SPEC)
    with TemporaryDirectory() as folder:
        net.backward_graph.draw(Path(folder) / "net.dot")
    yield "drawn"
    del net
    yield "dropped"


def stored() -> Life:
    net = lucid.compile(network().eval(), SPEC)
    with TemporaryDirectory() as folder:
        net.save(Path(folder) / "net.lucid")
        yield "saved"
        loaded = lucid.load(Path(folder) / "net.lucid")
        yield "loaded"
    infer(loaded)
    train(loaded)
    yield "the loaded one called and trained"
    del loaded
    yield "the loaded one dropped"


def changed() -> Life:
    model = network().eval()
    net = lucid.compile(model, SPEC)
    infer(net)
    model[0].weight = nn.Parameter(model[0].weight.numpy())
    infer(net)
    yield "a parameter replaced"
    model.train()
    infer(net)
    yield "traced in another mode"
    lucid.set_cache_limit(0)
    infer(net, 3)
    lucid.set_cache_limit(None)
    yield "programs released"


def refused() -> Life:
    net = lucid.compile(network().eval(), SPEC)
    for wrong in (np.ones((2, 4, 8, 8), np.float32), np.ones((2, 3, 8, 8))):
        with contextlib.suppress(lucid.LucidError):
            net(wrong)
    yield "wrong calls"
    with contextlib.suppress(lucid.LucidError):
        lucid.compile(lambda x: x if x.sum() > 0 else -x)(X)
    yield "what cannot be traced"


def differentiated() -> Life:
    function = lucid.value_and_grad(lambda x: (x * x).sum())
    function(lucid.tensor(X))
    yield "called"
    del function
    yield "dropped"


LIVES: dict[str, Callable[[], Life]] = {
    "called": called,
    "specialised": specialised,
    "verified": partial(specialised, verify=True),
    "tuned": partial(specialised, tune=True),
    "exact": partial(specialised, exact=True, threads=1),
    "trained": trained,
    "training verified": partial(trained, verify=True),
    "drawn": drawn,
    "stored": stored,
    "changed": changed,
    "refused": refused,
    "differentiated": differentiated,
}


def stages(life: str) -> dict[str, dict[str, int]]:
    """For each stage of a life that leaves objects which only the collector finds: how many, by type."""
    for _ in LIVES[life]():  # what is loaded and made once for all
        pass
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    found = {}
    for stage in LIVES[life]():
        if gc.collect():
            found[stage] = dict(Counter(type(thing).__name__ for thing in gc.garbage))
            gc.garbage.clear()
            gc.set_debug(0)
            gc.collect()
            gc.set_debug(gc.DEBUG_SAVEALL)
    gc.set_debug(0)
    gc.enable()
    return found


@pytest.mark.parametrize("life", LIVES)
def test_a_stage_of_life_leaves_none(life: str) -> None:
    assert alone()[life] == {}
