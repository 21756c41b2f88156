"""Workers for tests: as many as are asked for, whatever the machine has, and waited for, however busy it is."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from lucid.runtime.workers import settings
from lucid.runtime.workers.processes import WorkerProcesses
from lucid.runtime.workers.settings import get_num_threads, helpers, set_num_threads, worker_processes


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerProcesses]:
    """Two workers that have begun. Callers wait for them in every region."""
    if not helpers():
        pytest.skip("there are no processes to help here")
    before = get_num_threads(), settings._asked[0]
    monkeypatch.setattr(WorkerProcesses, "patient", True)
    monkeypatch.setattr(WorkerProcesses, "modest", False)
    set_num_threads(3)
    found = worker_processes()
    assert found is not None
    if any(
        not found.pid(link) for link in found.links
    ):  # they wait for time that nobody else wants, as the tests may not
        set_num_threads(3, processes=False)
        while found.links:
            time.sleep(0.001)
        set_num_threads(3)
    assert found.settle()
    yield found
    set_num_threads(before[0], processes=before[1])
