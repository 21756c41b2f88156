"""Every test draws the same random numbers in each run, whatever ran before it, on the machine that is described."""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import lucid
from lucid.runtime.planning import machine
from lucid.runtime.planning.machine import Machine, described
from lucid.runtime.workers import settings

from . import asking, machines
from .shares import Share


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--machine", choices=machines.MACHINES, help="run all tests as if on this machine")
    parser.addoption("--note-asking", type=Path, metavar="FILE", help="write there which tests ask what the machine is")
    parser.addoption("--only-asking", type=Path, metavar="FILE", help="leave out tests that were noted not to ask")
    parser.addoption("--share", type=Share.parse, metavar="K/N", help="run the tests that belong to one of N shares")


def pytest_configure(config: pytest.Config) -> None:
    name = config.getoption("--machine")
    if name is not None:
        machines.use(name)
    for option, plugin in (("--note-asking", asking.Noting), ("--only-asking", asking.Choosing)):
        path = config.getoption(option)
        if path is not None:
            config.pluginmanager.register(plugin(path))
    share = config.getoption("--share")
    if share is not None:
        config.pluginmanager.register(share)


def pytest_report_header(config: pytest.Config) -> str:
    return f"machine: {config.getoption('--machine') or 'this one'}"


def pytest_collection_finish() -> None:
    """All tests together are a million objects that stay, so they are not looked through so often for garbage."""
    young, middle, old = gc.get_threshold()
    gc.set_threshold(young, middle, 10 * old)


@pytest.fixture
def usual_machine() -> Iterator[Machine]:
    """For tests of what is chosen: the machine that they were written for."""
    with described(machines.USUAL) as usual:
        yield usual


@pytest.fixture(params=machines.MACHINES.values(), ids=machines.MACHINES)
def each_machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """For tests of what is chosen on every machine: one after the other."""
    with described(request.param) as each:
        yield each


@pytest.fixture
def without_workers() -> Iterator[None]:
    """Threads only: nothing is started or told in the background."""
    before = lucid.get_num_threads(), settings._asked[0]
    lucid.set_num_threads(before[0], processes=False)
    yield
    lucid.set_num_threads(before[0], processes=before[1])


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """SIGINT interrupts, also where the tests run in the background of a shell, which has them ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


_STATES: dict[str, object] = {}
"""Of modules that draw from an ``RNG`` of their own, its state before their first test."""


@pytest.fixture(autouse=True)
def seeded(request: pytest.FixtureRequest) -> Iterator[None]:
    before = machine._described
    lucid.manual_seed(0)
    own = getattr(request.module, "RNG", None)
    if own is not None:
        own.bit_generator.state = _STATES.setdefault(request.module.__name__, own.bit_generator.state)
    yield
    assert machine._described is before, "it leaves a machine described"
