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
from lucid.runtime import tuning
from lucid.runtime.planning.registry import Choice
from lucid.runtime.program.executable import Executable, watched
from lucid.runtime.program.marks import Marks
from lucid.runtime.program.plan import Plan, make_plan
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
    return re.sub(r"\n *(end(_\d+)? = clock\(\)|runs(_\d+)?\.append\(|values\[).*", "", executable.source.text)


@pytest.fixture
def tuned(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """Tuning measures nothing, and finds the usual program best; the plans that it would have measured."""
    made: list[Plan] = []

    def program(bench: Any, chosen: Mapping[str, Choice]) -> None:
        made.append(make_plan(bench.graph, threads=bench.threads, exact=bench.exact, chosen=chosen))

    monkeypatch.setattr(tuning, "_inputs", lambda trial, parameters: [])
    monkeypatch.setattr(tuning._Bench, "program", program)
    monkeypatch.setattr(tuning._Bench, "compare", lambda *programs: (defaultdict(float), defaultdict(lambda: [1.0])))
    return made


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models are made with whatever lies in memory: a program is planned without them."""
    for name in ("uniform_", "normal_"):
        monkeypatch.setattr(lucid.nn.init, name, lambda tensor, *_: tensor)


def check(model: lucid.nn.Module, shape: tuple[int, ...], tuned: list[Plan], threads: int, exact: bool = False) -> None:
    run, tune = (
        lucid.compile(model, lucid.spec(*shape), threads=threads, exact=exact, tune=tune) for tune in (False, True)
    )
    plan, source = run.plan, run.source
    assert text(watched(plan, marks=Marks())) == source
    assert [str(step.choice) for step in watched(plan, values={}).plan.steps] == [str(s.choice) for s in plan.steps]
    assert tune.source == source
    usual, *others = tuned
    assert generate(usual).text == source
    for other in others:
        assert other.graph is usual.graph and other.threads == plan.threads
    again = make_plan(plan.graph, threads=threads, exact=exact)
    assert again.graph is plan.graph and generate(again).text == source, "what is decided stays"


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize("name", MODELS)
def test_a_model_has_one_program(name: str, tuned: list[Plan]) -> None:
    make, shape = MODELS[name]
    check(make().eval(), (1, *shape), tuned, 2)


@pytest.mark.parametrize("seed", range(16))
def test_a_random_net_has_one_program(seed: int, tuned: list[Plan]) -> None:
    model = RandomModel(seed).eval()
    check(model, (3, *model.input_shape), tuned, 1 + seed % 2, seed % 4 < 2)


@pytest.mark.parametrize("size", [6, 24, 96])
def test_a_convolution_has_one_program_however_its_result_lies(size: int, tuned: list[Plan]) -> None:
    check(lucid.nn.Conv2d(3, 8, 3, padding=1).eval(), (1, 3, size, size), tuned, 2)


def test_a_step_is_profiled_as_it_runs_and_trains_nothing() -> None:
    """Weights that a step changes are packed at each run: a profile of one that changes none would leave that out."""
    lucid.manual_seed(0)
    model = lucid.nn.Sequential(
        lucid.nn.Conv2d(3, 16, 3), lucid.nn.Dropout(), lucid.nn.Conv2d(16, 16, 3), lucid.nn.Flatten(),
        lucid.nn.Linear(16 * 20 * 20, 4),
    )  # fmt: skip
    optimizer = lucid.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    step = lucid.compile_step(model, lucid.nn.CrossEntropyLoss(), optimizer, threads=2)
    x, y = np.random.default_rng(0).standard_normal((4, 3, 24, 24), dtype=np.float32), np.arange(4)
    step(x, y)
    assert text(watched(step.plan, marks=Marks())) == step.source
    before = {name: value.numpy().copy() for name, value in step.state_dict().items()}
    drawn = lucid.get_rng_state().numpy()
    found = step.profile(x, y, repeat=2)
    np.testing.assert_array_equal(lucid.get_rng_state().numpy(), drawn)
    assert {name for name, _, seconds in found.steps if seconds} >= {one.name for one in step.plan.final}
    for name, value in step.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name], name)


def test_a_result_that_lies_in_rows_does_so_under_the_profiler_too() -> None:
    """The layout of a convolution that is a result was left undecided where choices were given."""
    net = lucid.compile(lucid.nn.Conv2d(3, 8, 3, padding=1).eval(), threads=1)
    x = np.random.default_rng(0).standard_normal((1, 3, 96, 96), dtype=np.float32)
    with lucid.no_grad():
        net(x)
    before = net.source
    net.profile(x, repeat=1)
    assert net.source == before
    assert text(watched(net.plan, marks=Marks())) == before
