"""Which tests can tell one described machine from another: those that ask what the machine is.

A description reaches what runs by three ways alone: :func:`lucid.runtime.planning.machine.this_machine`, the number of
threads, and the processes that are started. A test that takes none of them does the same on each machine.
``pytest --note-asking FILE`` takes down which tests take one; ``pytest --only-asking FILE`` leaves out those that were
seen to take none, so one that was never seen is run.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import pytest

from lucid.runtime.planning import machine
from lucid.runtime.workers import settings, threads

T = TypeVar("T")

PROCESSES = ("subprocess.Popen", "os.fork", "os.posix_spawn", "os.exec", "os.system")
"""Audit events of a process that begins."""


class Noting:
    """Takes down each test that was run, and whether it asked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked = 0
        self.shared: set[str] = set()
        """Names of the fixtures that asked when they were made, and files that did when they were read."""
        for module, name in ((machine, "_found"), (threads, "pool"), (settings, "pool")):
            setattr(module, name, self.watched(getattr(module, name)))
        sys.addaudithook(self.audit)

    def watched(self, function: Callable[..., T]) -> Callable[..., T]:
        @wraps(function)
        def call(*arguments: Any) -> T:
            self.asked += 1
            return function(*arguments)

        return call

    def audit(self, event: str, _: Any) -> None:
        if event in PROCESSES:
            self.asked += 1

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> Generator[None, Any, Any]:
        return (yield from self._share(str(collector.path)))

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Generator[None, Any, Any]:
        return (yield from self._share(fixturedef.argname if fixturedef.scope != "function" else ""))

    def _share(self, name: str) -> Generator[None, Any, Any]:
        before = self.asked
        made = yield
        if name and self.asked > before:
            self.shared.add(name)
        return made

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: Any) -> Generator[None, Any, Any]:
        machine.describe(machine._described)  # what an earlier test made the planner keep, this one asks for itself
        before = self.asked
        done = yield
        asked = self.asked > before or not self.shared.isdisjoint([str(item.path), *item.fixturenames])
        with self.path.open("a", encoding="utf-8") as notes:
            notes.write(f"{int(asked)} {item.nodeid}\n")
        return done


class Choosing:
    """Leaves out the tests that were seen not to ask."""

    def __init__(self, path: Path) -> None:
        seen: dict[str, set[str]] = {"0": set(), "1": set()}
        for line in path.read_text("utf-8").splitlines():
            seen[line[0]].add(line[2:])
        self.silent = seen["0"] - seen["1"]

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        left_out = [item for item in items if item.nodeid in self.silent]
        items[:] = [item for item in items if item.nodeid not in self.silent]
        config.hook.pytest_deselected(items=left_out)
