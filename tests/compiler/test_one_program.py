"""A graph is planned to one program, whatever it is planned for: to run, to be profiled, verified or tuned."""

from __future__ import annotations

import inspect
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

import lucid
from lucid.graph.ir import Graph
from lucid.runtime.planning import tuning
from lucid.runtime.planning.plan import Plan, make_plan
from lucid.runtime.planning.registry import Choice
from lucid.runtime.program.executable import Executable, watched
from lucid.runtime.program.printer import generate

from ..random_models import RandomModel

IMAGE = (3, 32, 32)
MODELS: dict[str, tuple[Callable[[], lucid.nn.Module], tuple[int, ...]]] = {
    "lenet5": (lucid.models.lenet5, (1, 28, 28)),
    "mlp": (lambda: lucid.models.mlp((20, 300, 10)), (20,)),
    **{name: (getattr(lucid.models, name), IMAGE) for name in (
        "mobilenet_v1", "resnet18", "resnet34", "resnet50", "vgg11", "vgg13", "vgg16", "vgg19",
    )},
}  # fmt: skip


def test_every_model_is_here() -> None:
    made = {name for name in dir(lucid.models) if inspect.isfunction(getattr(lucid.models, name))}
    assert made == set(MODELS)


def text(executable: Executable) -> str:
    """The program without what watches it."""
    return re.sub(r"\n *(marks|values)(\.append\(|\[).*", "", executable.source.text)


def tuning_of(graph: Graph, threads: int, exact: bool, monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """The plans that tuning would measure: the usual one, and another."""
    made: list[Plan] = []

    def program(bench: Any, chosen: Mapping[str, Choice]) -> None:
        if len(made) < 2:
            made.append(make_plan(bench.graph, threads=bench.threads, exact=bench.exact, chosen=chosen))

    monkeypatch.setattr(tuning, "_inputs", lambda trial, parameters: [])
    monkeypatch.setattr(tuning._Bench, "program", program)
    monkeypatch.setattr(tuning._Bench, "compare", lambda *programs: (defaultdict(float), defaultdict(lambda: [1.0])))
    tuning.tune(graph, {}, threads=threads, exact=exact)
    return made


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models are made with whatever lies in memory: a program is planned without them."""
    for name in ("uniform_", "normal_"):
        monkeypatch.setattr(lucid.nn.init, name, lambda tensor, *_: tensor)


def check(graph: Graph, threads: int, exact: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Executable(graph, threads=threads, exact=exact)
    plan, source = run.plan, run.source.text
    assert text(watched(plan, marks=[])) == source
    assert [str(step.choice) for step in watched(plan, values={}).plan.steps] == [str(s.choice) for s in plan.steps]
    usual, *others = tuning_of(graph, threads, exact, monkeypatch)
    assert generate(usual).text == source
    for other in others:
        assert other.graph == usual.graph and other.threads == plan.threads
    assert make_plan(plan.graph, threads=plan.threads, exact=exact).graph is plan.graph, "what is settled stays"


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize("name", MODELS)
def test_a_model_has_one_program(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, shape = MODELS[name]
    check(lucid.compile(make().eval(), lucid.spec("N", *shape)).graph.bind({"N": 1}), 2, False, monkeypatch)


@pytest.mark.parametrize("seed", range(16))
def test_a_random_net_has_one_program(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = RandomModel(seed).eval()
    graph = lucid.compile(model, lucid.spec("N", *model.input_shape)).graph.bind({"N": 3})
    check(graph, 1 + seed % 2, seed % 4 < 2, monkeypatch)


def test_a_result_that_lies_in_rows_does_so_under_the_profiler_too() -> None:
    """The layout of a convolution that is a result was left undecided where choices were given."""
    net = lucid.compile(lucid.nn.Conv2d(3, 8, 3, padding=1).eval(), threads=1)
    x = np.random.default_rng(0).standard_normal((1, 3, 96, 96), dtype=np.float32)
    with lucid.no_grad():
        net(x)
    before = net.source
    net.profile(x, repeat=1)
    assert net.source == before
    assert text(watched(net.plan, marks=[])) == before
