"""What is planned depends on the machine that is described, and on nothing else about this one."""

from __future__ import annotations

import argparse
import contextlib
import functools
import gc
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import lucid
from lucid.graph.ir import Node, Origin
from lucid.graph.ops.conv import CONV, ConvAttrs
from lucid.graph.types import TensorType
from lucid.runtime.eager import op_call
from lucid.runtime.planning import machine as machines
from lucid.runtime.planning import registry
from lucid.runtime.planning.machine import described, this_machine
from lucid.runtime.program.plan import make_plan
from lucid.runtime.program.printer import generate
from lucid.runtime.workers.cores import LIMITS, available_cores

from .. import everywhere, shares
from ..machines import MACHINES, USUAL, environment, untold
from ..nets import NETS

SMALL = replace(USUAL, l2=1 << 16)


def program(name: str, batch: int = 64) -> str:
    """The plan and the source text of a network, planned anew."""
    graph = lucid.compile(NETS[name].model(), lucid.spec("N", *NETS[name].image)).graph
    plan = make_plan(graph.bind({"N": batch}), threads=this_machine().cores)
    return f"{plan}\n{generate(plan).text}"


def test_a_description_holds_until_it_ends() -> None:
    here = this_machine()
    with described(SMALL) as given:
        assert this_machine() is given is SMALL
        with contextlib.suppress(ZeroDivisionError), described(USUAL):
            assert this_machine() is USUAL
            1 / 0  # noqa: B018
        assert this_machine() is SMALL
    assert this_machine() == here


def test_this_machine_is_found_where_none_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "_described", None)
    found = this_machine()
    assert found.cores >= 1 and 1 << 10 <= found.l1 <= found.l2 <= found.l3


def test_nothing_worked_out_for_one_machine_is_used_for_another() -> None:
    """The same programs as after all caches were emptied, whichever they are."""
    every = (SMALL, USUAL, MACHINES["64core"])
    fresh = {}
    for machine in every:
        for kept in gc.get_objects():
            if type(kept) is functools._lru_cache_wrapper and str(kept.__module__).startswith("lucid."):
                kept.cache_clear()
        with described(machine):
            fresh[machine] = program("lenet")
    assert len(set(fresh.values())) == 3
    for machine in every:
        with described(machine):
            assert program("lenet") == fresh[machine]


def test_eager_calls_are_made_for_the_machine_too() -> None:
    lucid.ones(3).relu()
    assert op_call.cache_info().currsize
    with described(SMALL):
        assert not op_call.cache_info().currsize


@pytest.mark.parametrize("name", ["lenet", "mobilenet"])
def test_graphs_and_files_are_the_same_on_every_machine(name: str, tmp_path: Path) -> None:
    seen = set()
    model = NETS[name].model()
    for machine in (SMALL, MACHINES["1core"], MACHINES["64core"]):
        with described(machine):
            net = lucid.compile(model, lucid.spec("N", *NETS[name].image), threads=machine.cores)
            net.save(tmp_path / "net.lucid")
            seen.add((net.traced.text(), net.graph.text(), (tmp_path / "net.lucid").read_bytes()))
    assert len(seen) == 1


@pytest.mark.usefixtures("each_machine")
def test_every_machine_computes_the_same() -> None:
    """To rounding: lowerings differ."""
    net = NETS["lenet"]
    model, x = net.model(), net.batch()
    with lucid.no_grad():
        want = model(lucid.tensor(x)).numpy()
        for threads in (1, this_machine().cores):
            np.testing.assert_allclose(lucid.compile(model, threads=threads)(x).numpy(), want, rtol=1e-4, atol=1e-5)


def test_processes_that_tests_start_are_told() -> None:
    """Of the machine and how many threads share the work; and nothing loads earlier for it."""
    code = (
        "import lucid; print(lucid.get_num_threads());"
        "from lucid.runtime.planning import machine; print(machine.this_machine())"
    )
    for machine in (SMALL, MACHINES["64core"]):
        told = subprocess.run([sys.executable, "-c", code], env=environment(machine), capture_output=True, text=True)
        assert told.stdout == f"{machine.cores}\n{machine}\n", told.stderr


def test_a_program_uses_the_cores_that_it_may() -> None:
    """All of them, or as many threads as the environment says; whatever this process was told."""
    code = "import lucid, lucid.runtime.planning.machine as m; print(lucid.get_num_threads(), m.this_machine().cores)"
    free = {name: value for name, value in untold().items() if name not in LIMITS}
    for limits, threads in (({}, available_cores()), ({"OMP_NUM_THREADS": "1"}, 1)):
        told = subprocess.run([sys.executable, "-c", code], env={**free, **limits}, capture_output=True, text=True)
        assert (told.stdout, told.stderr) == (f"{threads} {available_cores()}\n", "")


# ---------------------------------------------------------------- the run of all tests


def test_busy_processes_end_with_what_they_stand_beside() -> None:
    with contextlib.suppress(ZeroDivisionError), everywhere.busy() as processes:
        assert [process.poll() for process in processes] == [None, None]
        1 / 0  # noqa: B018
    assert [process.poll() for process in processes] == [-signal.SIGKILL] * 2


def test_busy_processes_end_when_nobody_ends_them() -> None:
    code = "from tests.everywhere import busy\nwith busy(): print(flush=True); input()"
    runner = subprocess.Popen(
        [sys.executable, "-c", code], cwd=everywhere.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert runner.stdin is not None and runner.stdout is not None
    with runner.stdin, runner.stdout:
        assert runner.stdout.readline() == b"\n"
        runner.kill()
        runner.wait()
        assert runner.stdout.read() == b""  # the end, as nobody has it any more


def test_every_machine_has_its_turn_and_one_failure_is_one_of_the_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands: list[list[str]] = []
    codes = iter([0, 0, 1, 0, 0, 0])

    def run(command: list[str], **options: object) -> SimpleNamespace:
        commands.append(command)
        if command[-1].startswith("--note-asking="):
            Path(command[-1].partition("=")[2]).touch()
        return SimpleNamespace(returncode=next(codes, 0))

    monkeypatch.setattr(everywhere.subprocess, "run", run)
    assert everywhere.main([]) == 1
    told = [command[command.index("auto") + 1 :] for command in commands]
    assert [options[0].partition("=")[0] for options in told] == ["--note-asking", *["--machine"] * 5]
    assert [options[1] for options in told[1:]] == list(MACHINES)
    assert [options[2].partition("=")[0] for options in told[2:]] == ["--only-asking"] * 4 and len(told[1]) == 2
    assert capsys.readouterr().out.count("FAILED") == 1
    assert everywhere.main(["1core", "--", "tests/runtime/test_conv.py"]) == 0
    assert commands[-1][-3:] == ["tests/runtime/test_conv.py", "--machine", "1core"]
    with pytest.raises(SystemExit):
        everywhere.main(["2cores"])
    assert "2cores: expected some of busy, 1core" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        everywhere.main(["--shares", "0"])
    monkeypatch.setattr(everywhere, "whose_turn", lambda of, root: shares.Share(3, of))
    assert everywhere.main(["--shares", "7"]) == 0
    assert {command[command.index("--share") + 1] for command in commands[-6:]} == {"3/7"}  # the same on all of them
    assert "share 3/7 of the tests\n" in capsys.readouterr().out


def test_shares_take_turns_until_all_tests_were_run(tmp_path: Path) -> None:
    def git(*command: str) -> None:
        who = dict.fromkeys(("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME", "EMAIL"), "nobody")
        subprocess.run(["git", *command], cwd=tmp_path, env={**os.environ, **who}, check=True)

    assert shares.whose_turn(5, tmp_path).of == 5  # by the day, as it is no repository
    git("init", "-q")
    turns = []
    for _ in range(3):
        git("commit", "-q", "--allow-empty", "-m", "One more")
        turns.append(shares.whose_turn(3, tmp_path))
    assert {share.number for share in turns} == {1, 2, 3}
    names = [f"tests/test_it.py::test_case[{number}]" for number in range(300)]
    left_out: list[SimpleNamespace] = []
    config = SimpleNamespace(hook=SimpleNamespace(pytest_deselected=lambda items: left_out.extend(items)))
    parts = []
    for share in turns:
        items = [SimpleNamespace(nodeid=name) for name in names]
        share.pytest_collection_modifyitems(config, items)  # type: ignore[arg-type]
        parts.append({item.nodeid for item in items})
    assert len(left_out) == 600
    assert sum(map(len, parts)) == len(set.union(*parts)) == 300 and min(map(len, parts)) > 70
    for wrong in ("0/3", "4/3", "3", "-1/3", "a/b"):
        with pytest.raises(argparse.ArgumentTypeError, match="expected a share as 3/16"):
            shares.Share.parse(wrong)


ASKING = """
import functools, os, subprocess, sys
import pytest
import lucid
from lucid.runtime.planning.machine import described, this_machine
from tests.machines import USUAL
@pytest.fixture(scope="module")
def shared():
    return this_machine()
def test_machine():
    this_machine()
def test_kept():
    lucid.nn.functional.conv2d(lucid.ones(1, 3, 8, 8), lucid.ones(4, 3, 3, 3))
def test_kept_by_another():
    test_kept()
def test_threads():
    lucid.get_num_threads()
def test_process():
    subprocess.run([sys.executable, "-c", ""])
def test_fork():
    if not os.fork():
        os._exit(0)
    os.wait()
def test_fixture(shared): ...
def test_fixture_again(shared): ...
@pytest.mark.parametrize("asks", [True, False])
def test_case(asks):
    asks and this_machine()
def test_text():
    assert str(lucid.spec(2))
def test_described():
    with described(USUAL):
        this_machine()
"""


def test_tests_that_do_not_ask_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "test_them.py").write_text(ASKING)
    notes = tmp_path / "notes"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.conftest", "-c", os.devnull]
    command += ["--rootdir", str(tmp_path), str(tmp_path), "-rA"]

    def run(*options: str) -> set[str]:
        done = subprocess.run(
            [*command, *options], cwd=everywhere.ROOT, env=untold(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return set(re.findall(r"PASSED .*::test_(.*)", done.stdout))

    every = run(f"--note-asking={notes}")
    assert len(every) == 12
    silent = {"case[False]", "text", "described"}
    assert run(f"--only-asking={notes}") == every - silent
    notes.write_text("".join(line for line in notes.read_text().splitlines(True) if "text" not in line))
    assert run(f"--only-asking={notes}") == every - silent | {"text"}


def test_what_can_run_a_node_is_reckoned_once_for_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the node comes from; again for another machine or number of threads, or where there is a kernel more."""
    x, w = TensorType((1, 3, 16, 16), lucid.float32), TensorType((8, 3, 3, 3), lucid.float32)
    node = Node(CONV, ConvAttrs(), CONV.infer_types(ConvAttrs(), (x, w)))
    lowering, asked = registry.lowerings(CONV)[0], []

    def accepts(*given: object) -> bool:
        asked.append(given)
        return True

    monkeypatch.setitem(registry._KERNELS, CONV, [replace(lowering, accepts=accepts)])
    for machine in (SMALL, USUAL):
        with described(machine):
            for origin in ("here", "there"):
                registry.choices(replace(node, origin=Origin((origin,))), (x, w))
    assert len(asked) == 2
    with described(USUAL):
        registry.choices(node, (x, w)), registry.choices(node, (x, w), threads=2)
        assert len(asked) == 4
        monkeypatch.setattr(registry, "_KERNELS", dict(registry._KERNELS))
        registry.kernel(CONV, lowering="another")(lowering.emit)
        registry.choices(node, (x, w))
        assert len(asked) == 5
