"""How workers begin and end: with their host however it ends, holding nothing of it, and missed by nobody."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import lucid
from lucid.runtime.workers.board import DONE
from lucid.runtime.workers.processes import WorkerProcesses
from lucid.runtime.workers.settings import helpers

from .test_models import answer, helped, images, make_model

pytestmark = pytest.mark.skipif(not helpers(), reason="there are no processes to help here")

ROOT = Path(__file__).parents[3]

SCRIPT = """
import os, signal, sys, threading, time
import numpy as np
import lucid
from lucid import nn
from lucid.runtime.workers.processes import WorkerProcesses
from lucid.runtime.workers.settings import worker_processes
from tests.runtime.workers.test_models import answer, helped, images, make_model
WorkerProcesses.patient, WorkerProcesses.modest = True, False
lucid.set_num_threads(2)
workers = worker_processes()
compiled = lucid.compile(make_model(), threads=2)
want = [answer(compiled, images(seed)) for seed in (0, 1)]
assert np.array_equal(answer(compiled, images(0)), want[0])
assert workers.settle() and helped(workers) == [True]
pid = workers.pid(workers.links[0])
def right():
    return all(np.array_equal(answer(compiled, images(seed)), want[seed]) for seed in (0, 1, 0))
def say():
    print(pid, flush=True)
"""
"""A process with one worker that has helped."""


def start(script: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT + script]
    return subprocess.Popen(
        command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def run(script: str, *words: str) -> None:
    """It says these words, nothing on the standard error, and ends well."""
    process = start(script)
    out, err = process.communicate(timeout=120)
    assert (out.split(), err, process.returncode) == (list(words), "", 0)


def until(condition: Callable[[], object], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.002)


def state(task: Path) -> str:
    """The system's letter for what a process or thread does."""
    return (task / "stat").read_text().rpartition(")")[2].split()[0]


def lives(pid: int) -> bool:
    """Whether there is such a process that has not ended."""
    try:
        return state(Path(f"/proc/{pid}")) != "Z"
    except OSError:
        return False


def send(pid: int, number: signal.Signals) -> None:
    """To one process: 0, which is what a worker has for a number before it has begun, would be the tests' own group."""
    assert pid > 0, "it has not begun"
    os.kill(pid, number)


def stop(pid: int) -> None:
    """And wait until all its threads have stopped."""
    send(pid, signal.SIGSTOP)
    until(lambda: all(state(task) == "T" for task in Path(f"/proc/{pid}/task").iterdir()))


ENDS = {
    "error": "say(); raise SystemError",
    "os._exit": "say(); os._exit(3)",
    "os.execv": "say(); os.execv('/bin/sleep', ['sleep', '60'])",
    "killed": "say(); time.sleep(60)",
    "killed while a child lives": "\nif os.fork() == 0:\n    time.sleep(60)\nsay(); time.sleep(60)",
    "killed while a child lives that knows nothing": (
        "import ctypes\nif ctypes.CDLL(None).fork() == 0:\n    time.sleep(60)\nsay(); time.sleep(60)"
    ),
    "killed in a run": "\nwith workers_busy():\n    say(); time.sleep(60)",
}
BUSY = """
import contextlib
@contextlib.contextmanager
def workers_busy():
    workers.board[3] = 1  # more is to come
    workers._wake(workers.links)
    yield
"""


@pytest.mark.parametrize("end", ENDS)
def test_workers_end_with_their_host(end: str) -> None:
    process = start(BUSY + ENDS[end])
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    assert lives(pid) or end in ("error", "os._exit", "os.execv")
    if end.startswith("killed"):
        process.kill()
    try:
        until(lambda: not lives(pid))
        if "exec" not in end:
            process.wait(30)
    finally:
        process.kill()
        subprocess.run(["pkill", "-KILL", "-s", str(process.pid)], check=False)
        for pipe in (process.stdin, process.stdout, process.stderr):
            assert pipe is not None
            pipe.close()
        process.wait()


def test_a_worker_holds_nothing_of_its_host(workers: WorkerProcesses, monkeypatch: pytest.MonkeyPatch) -> None:
    for link in workers.links:
        proc = Path(f"/proc/{workers.pid(link)}")
        files = {os.readlink(file).partition(":")[0] for file in (proc / "fd").iterdir()}
        assert files <= {"/dev/null", "socket", "anon_inode"}, files
        assert len(list((proc / "fd").iterdir())) <= 5
        assert os.readlink(proc / "cwd") == "/"
        assert os.getsid(workers.pid(link)) != os.getsid(0) and os.getpgid(workers.pid(link)) == workers.pid(link)
        (ignored,) = (s for s in (proc / "status").read_text().splitlines() if s.startswith("SigIgn"))
        assert int(ignored.split()[1], 16) >> (signal.SIGINT - 1) & 1


def test_the_host_has_no_children(workers: WorkerProcesses) -> None:
    run("try:\n    os.wait()\nexcept ChildProcessError:\n    print('none')", "none")


def test_a_worker_that_is_killed_is_replaced(workers: WorkerProcesses) -> None:
    compiled = lucid.compile(make_model(), threads=3)
    want = answer(compiled, images())
    assert np.array_equal(answer(compiled, images()), want) and helped(workers) == [True, True]
    first = [workers.pid(link) for link in workers.links]
    send(first[0], signal.SIGKILL)
    until(lambda: not lives(first[0]))
    until(lambda: workers.clerk.ask(workers._tend) and workers.settle() and workers.pid(workers.links[0]) != first[0])
    assert np.array_equal(answer(compiled, images()), want) and helped(workers) == [True, True]
    assert workers.pid(workers.links[1]) == first[1] and workers.pid(workers.links[0]) != first[0]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_nobody_waits_for_a_worker_that_does_not_come(
    workers: WorkerProcesses, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """One that is stopped or killed between two runs, and while it is at its part of one."""
    compiled = lucid.compile(make_model(), threads=3)
    want = answer(compiled, images())
    assert np.array_equal(answer(compiled, images()), want) and helped(workers) == [True, True]
    monkeypatch.setattr(WorkerProcesses, "patient", False)
    for link in workers.links:
        link.trusted = 0.0
    first = [workers.pid(link) for link in workers.links]
    send(first[0], number)
    for _ in range(5):
        assert np.array_equal(answer(compiled, images()), want)
    assert not helped(workers)[0]
    send(first[1], number)
    for _ in range(5):
        assert np.array_equal(answer(compiled, images()), want)
    for pid in filter(lives, first):
        send(pid, signal.SIGKILL)
    until(lambda: not any(map(lives, first)))
    workers.clerk.ask(workers._tend)
    assert workers.settle()


def test_a_worker_that_is_to_go_does_nothing_more(workers: WorkerProcesses) -> None:
    """However late it learns that: who comes after it has a place of its own on the board."""
    compiled = lucid.compile(make_model(), threads=3)
    want = answer(compiled, images())
    assert np.array_equal(answer(compiled, images()), want)  # they are told
    first = workers.links[0]
    stop(workers.pid(first))
    try:
        lucid.set_num_threads(2, processes=False)
        until(lambda: first in workers.leaving)
        lucid.set_num_threads(3)
        assert workers.settle()
        assert first in workers.leaving and first.place not in {link.place for link in workers.links}
        done = workers.board[first.by + DONE]
        assert np.array_equal(answer(compiled, images()), want) and helped(workers) == [True, True]
        send(workers.pid(first), signal.SIGCONT)
        until(lambda: not workers.leaving)
        said = workers.board[first.by + DONE]
        assert said == done or said & 1, "it did something"
    finally:
        if lives(workers.pid(first)):
            send(workers.pid(first), signal.SIGKILL)


def test_workers_that_are_sent_away_as_they_begin(workers: WorkerProcesses) -> None:
    compiled = lucid.compile(make_model(), threads=3)
    want = answer(compiled, images())
    for _ in range(8):
        lucid.set_num_threads(2, processes=False)
        until(lambda: not workers.links)
        lucid.set_num_threads(3)
    assert workers.settle()
    until(lambda: not workers.leaving)
    assert workers.settle() and len({workers.pid(link) for link in workers.links}) == 2
    for _ in range(5):
        assert np.array_equal(answer(compiled, images()), want) and helped(workers) == [True, True]


FORK = """
import warnings
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)  # from Python 3.12 on
child = os.fork()
if not child:
    lucid.set_num_threads(2)
    assert right() and right() and worker_processes() is not workers
    os._exit(0)
for _ in range(10):
    assert right() and helped(workers) == [True]
assert os.waitpid(child, 0)[1] == 0
assert right() and helped(workers) == [True] and workers.pid(workers.links[0]) == pid
print("good")
"""
CLOSED = """
os.closerange(3, 100)
files = [os.open("/dev/null", os.O_RDWR) for _ in range(40)]
WorkerProcesses.patient = False
assert right()
workers.clerk.ask(workers._tend)
workers.settle(5)
assert right()
del compiled
import gc; gc.collect()
time.sleep(0.3)
assert all(os.fstat(file).st_rdev == os.stat("/dev/null").st_rdev for file in files)
print("good")
"""
NO_PROCESSES = """
import resource
os.setgid(65534), os.setuid(65534)
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
WorkerProcesses.patient = False
for _ in range(5):
    assert right()
print("good")
"""
NO_FILES = """
import resource
lucid.set_num_threads(2, processes=False)
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
lucid.set_num_threads(2)
WorkerProcesses.patient = False
again = lucid.compile(make_model(), threads=2)
for _ in range(5):
    assert right() and np.allclose(answer(again, images(0)), want[0])
print("good")
"""
IDENTITY = """
os.setgid(65534), os.setuid(65534)
WorkerProcesses.patient = False
assert right()
end = time.monotonic() + 20
while os.path.exists(f"/proc/{pid}") and time.monotonic() < end:
    time.sleep(0.01)
assert not os.path.exists(f"/proc/{pid}")
assert right()
print("good")
"""


def test_a_child_of_the_users_has_workers_and_memory_of_its_own() -> None:
    run(FORK, "good")


def test_a_program_may_close_all_files() -> None:
    """Ours among them, whose numbers it then uses."""
    run(CLOSED, "good")


@pytest.mark.parametrize("script", [NO_PROCESSES, IDENTITY], ids=["no more processes", "another user"])
@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_a_program_may_drop_what_it_was_allowed(script: str) -> None:
    run(script, "good")


def test_a_program_may_have_no_more_files() -> None:
    run(NO_FILES, "good")


@pytest.mark.parametrize(
    "lines",
    [
        "sys.executable = None",
        "sys.executable = '/usr/sbin/something'",
        "sys.frozen = True",
        "sys.executable = '/nothing/python3'",
    ],
)
def test_a_program_that_is_no_interpreter_has_none(lines: str) -> None:
    script = f"""
import os, sys
{lines}
import lucid
from tests.runtime.workers.test_models import answer, images, make_model
lucid.set_num_threads(2)
compiled = lucid.compile(make_model(), threads=2)
want = answer(compiled, images())
for _ in range(5):
    assert (answer(compiled, images()) == want).all()
"""
    process = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")
