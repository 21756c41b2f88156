"""How many workers there may be: by the machine, by the environment, by what is set; and BLAS's threads with them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import threadpoolctl

import lucid
from lucid import models
from lucid.runtime.workers import blas, cores
from lucid.runtime.workers.settings import get_num_threads, set_num_threads

from ...machines import untold

ROOT = Path(__file__).parents[3]


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/", {}, float("inf")),
        ("0::/", {"cpu.max": "max 100000"}, float("inf")),
        ("0::/", {"cpu.max": "150000 100000"}, 1.5),
        ("0::/a/b", {"a/b/cpu.max": "400000 100000", "a/cpu.max": "50000 100000"}, 0.5),
        ("0::/a/b", {"a/b/cpu.max": "max 100000", "cpu.max": "300000 100000"}, 3.0),
        ("0::/not/mounted/here", {"cpu.max": "200000 100000"}, 2.0),
        ("0::/../..", {"cpu.max": "200000 100000"}, 2.0),
        ("4:cpu,cpuacct:/a", {"cpu,cpuacct/a/cpu.cfs_quota_us": "7", "cpu,cpuacct/a/cpu.cfs_period_us": "2"}, 3.5),
        ("4:cpu:/a/b", {"cpu/a/cpu.cfs_quota_us": "250000", "cpu/a/cpu.cfs_period_us": "50000"}, 5.0),
        ("4:cpu:/a", {"cpu/a/cpu.cfs_quota_us": "-1", "cpu/a/cpu.cfs_period_us": "100000"}, float("inf")),
        ("4:memory:/a", {"memory/a/cpu.max": "100000 100000"}, float("inf")),
        ("0::/a", {"unified/a/cpu.max": "100000 100000"}, 1.0),
        ("nonsense", {"cpu.max": "nonsense"}, float("inf")),
        ("0::/", {"cpu.max": "0 0"}, float("inf")),
    ],
)  # fmt: skip
def test_quotas_of_all_groups_are_kept(tmp_path: Path, membership: str, files: dict[str, str], expected: float) -> None:
    write(tmp_path / "membership", membership + "\n")
    for name, text in files.items():
        write(tmp_path / "root" / name, text + "\n")
    assert cores.quota(str(tmp_path / "root"), str(tmp_path / "membership")) == pytest.approx(expected)


def test_without_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert cores.quota(str(tmp_path / "none"), str(tmp_path / "neither")) == float("inf")


def test_cores_are_those_of_affinity_and_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda task: {0, 1, 2, 5, 6, 7}, raising=False)
    for limit, expected in ((float("inf"), 6), (2.5, 2), (0.3, 1), (64.0, 6)):
        monkeypatch.setattr(cores, "quota", lambda limit=limit: limit)
        assert cores.available_cores() == expected


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, 8),
        ({"OMP_NUM_THREADS": "3"}, 3),
        ({"OPENBLAS_NUM_THREADS": "1"}, 1),
        ({"OMP_NUM_THREADS": "4,2", "MKL_NUM_THREADS": "5"}, 4),
        ({"OMP_NUM_THREADS": "64"}, 8),
        ({"OMP_NUM_THREADS": "0", "OPENBLAS_NUM_THREADS": "", "MKL_NUM_THREADS": "many"}, 8),
    ],
)
def test_the_environment_says_how_many_threads(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: int
) -> None:
    monkeypatch.setattr(cores, "available_cores", lambda: 8)
    assert cores.default_threads(environment) == expected


def test_a_program_starts_with_what_the_environment_says() -> None:
    said = subprocess.run(
        [sys.executable, "-c", "import lucid; print(lucid.get_num_threads())"],
        env={**untold(), "OMP_NUM_THREADS": "1"}, cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert said.stdout.split() == ["1"]


# ---------------------------------------------------------------- BLAS


def blas_threads() -> set[int]:
    return {c["num_threads"] for c in threadpoolctl.threadpool_info() if c["user_api"] == "blas"}


@pytest.fixture
def two() -> Iterator[None]:
    """Two threads for BLAS, whatever the machine has, and for programs."""
    before = get_num_threads()
    set_num_threads(2, processes=False)
    with threadpoolctl.threadpool_limits(limits=2, user_api="blas"):
        yield
        set_num_threads(2, processes=False)
        assert blas_threads() == {2}
    set_num_threads(before)


@pytest.mark.usefixtures("two")
def test_one_thread_is_one_between_runs_too() -> None:
    set_num_threads(1)
    assert blas_threads() == {1}
    blas.hold.begin()
    blas.hold.finish()
    assert blas_threads() == {1}
    set_num_threads(2)
    assert blas_threads() == {2}


@pytest.mark.parametrize(("width", "holds"), [(64, 0), (65, 1)])
def test_arrays_that_blas_shares_no_work_on_need_no_hold(
    monkeypatch: pytest.MonkeyPatch, width: int, holds: int
) -> None:
    """A weight of 64 x 64 is as large as an array of such a run may be."""
    net = lucid.compile(models.mlp((64, width)).eval(), threads=1)
    x, calls = np.zeros((2, 64), np.float32), []
    with lucid.no_grad():
        net(x)
        monkeypatch.setattr(blas.hold, "begin", lambda: calls.append(1))
        net(x)
    assert len(calls) == holds


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("threads", [1, 2])
def test_every_run_holds_blas(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    """Also that of a program that shares nothing, if its arrays are such that BLAS would."""
    seen: list[set[int]] = []
    net = lucid.compile(models.mlp((784, 512, 10)).eval(), threads=threads)
    x = np.zeros((4, 784), np.float32)
    with lucid.no_grad():
        net(x)
        begin = blas.hold.begin

        def begun() -> None:
            begin()
            seen.append(blas_threads())

        monkeypatch.setattr(blas.hold, "begin", begun)
        net(x)
    assert seen and all(one == {1} for one in seen) and blas_threads() == {2}


@pytest.mark.usefixtures("two")
def test_a_run_that_never_finished_holds_blas_until_the_next() -> None:
    for _ in range(3):
        blas.hold.begin()  # and an exception out of a handler
        assert blas_threads() == {1}
    blas.hold.finish()
    assert blas_threads() == {2}


@pytest.mark.usefixtures("two")
def test_a_thread_that_is_gone_holds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    thread = threading.Thread(target=blas.hold.begin)
    thread.start()
    thread.join()
    assert blas_threads() == {1}
    monkeypatch.setattr(blas, "LONG", -1.0)
    blas.hold.begin()
    blas.hold.finish()
    assert blas_threads() == {2}


@pytest.mark.usefixtures("two")
def test_many_threads_leave_blas_as_it_was() -> None:
    end = time.monotonic() + 0.5

    def hold() -> None:
        while time.monotonic() < end:
            blas.hold.begin()
            blas.hold.finish()

    threads = [threading.Thread(target=hold) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert blas_threads() == {2}
