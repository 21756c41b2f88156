"""Who did which part of a region is noted by the parts themselves."""

from __future__ import annotations

from threading import Thread
from time import perf_counter

import numpy as np

import lucid
from lucid.runtime.workers.parts import BEGAN, ENDED, helped, note
from lucid.runtime.workers.processes import WorkerProcesses

from .test_models import images, make_model


def test_what_this_thread_did_is_no_help() -> None:
    parts, since = np.zeros((3, 3)), perf_counter()

    def work(worker: int) -> None:
        note(parts, worker, BEGAN)
        note(parts, worker, ENDED)

    other = Thread(target=work, args=(1,))
    work(0)
    other.start()
    other.join()
    own, by_other, by_nobody = helped(parts, since)
    assert own == by_nobody == 0.0
    assert 0.0 < by_other == parts[1, ENDED] - parts[1, BEGAN]
    assert helped(parts, perf_counter()) == [0.0] * 3  # of an earlier run


def test_a_profile_tells_helpers_apart(workers: WorkerProcesses) -> None:
    net = lucid.compile(make_model(), threads=3)
    found = net.profile(images(), repeat=3)
    shared = [step for step in found.timed if step.workers > 1]
    assert shared and all(len(step.helpers) == step.workers - 1 for step in shared)
    assert all(0.0 < seconds <= step.seconds * 1.5 for step in shared for seconds in step.helpers)
    assert all(step.helpers == () for step in found.timed if step.workers == 1)
    assert "helpers worked" in str(found)
    assert {event["tid"] for event in found._events()} == {1, 2, 3}
