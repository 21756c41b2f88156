"""Profiles: what is told of each step, by a clock that counts how often it is looked at."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.errors import FileError, OptionError
from lucid.inspect.profile import Limits, Profile, StepTime, _batches, _shared_out, profile
from lucid.runtime.program.executable import Executable, watched
from lucid.runtime.program.marks import Marks

X = np.random.default_rng(0).standard_normal((4, 1, 12, 12), dtype=np.float32)


def network() -> lucid.CompiledModel:
    lucid.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2, 2), nn.Flatten(), nn.Linear(200, 10))
    return lucid.compile(model.eval(), lucid.spec("N", 1, 12, 12), threads=1)


class Ticks:
    """A clock that says one second more each time."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def ticked() -> tuple[lucid.CompiledModel, Profile]:
    net = network()
    net(X)
    parameters = [net.state_dict()[name].numpy() for name in net.plan.parameters]
    program = Executable(net.plan.graph)
    program.load(parameters, 0)
    return net, profile(program.plan, program, parameters, [X], 3, Ticks())


def test_every_step_of_a_run_is_timed_and_no_other() -> None:
    net, found = ticked()
    assert [name for name, _, _ in found.steps] == [step.name for step in net.plan.steps]
    assert [step.node for step in found.timed] == [step.name for step in net.plan.steps if not step.fixed]
    assert found.total == 1.0  # the program as it is looks at no clock
    working = [step for step in net.plan.steps if not step.fixed and step.code.run]
    assert 1 < len(working) < len(found.timed)
    assert found.distortion == 1.0  # and the marked one once: by this clock, more marks would be too many
    assert all(step.seconds == 0.0 for step in found.timed)  # which is taken off


def test_what_a_step_does_is_counted() -> None:
    _, found = ticked()
    linear = next(step for step in found.timed if step.op == "Linear")
    assert linear.flops == 2 * 4 * 200 * 10
    assert linear.nbytes >= 4 * (4 * 200 + 200 * 10 + 4 * 10)
    assert linear.least == max(linear.flops / found.limits.flops, linear.nbytes / found.limits.near)
    conv = next(step for step in found.timed if step.op == "ConvPool2d")
    assert conv.flops > 0
    assert "test_profile.py" in conv.where


def test_steps_that_are_marked_together_share_the_time() -> None:
    before = {"a": 1.0, "b": 3.0, "c": 9.0, "d": 0.0, "e": 0.0, "f": 1.0}
    assert _batches(before, 3.5) == ["b", "f"]
    assert _batches(before, 0.5) == ["a", "b", "c", "f"]
    assert _batches(before, 99.0) == ["f"] and _batches({}, 1.0) == []
    batches = {"b": 2.0, "e": 7.0, "f": 0.5}
    assert _shared_out(batches, before) == {"a": 0.5, "b": 1.5, "c": 7.0, "d": 0.0, "e": 0.0, "f": 0.5}
    assert _shared_out({"b": 1.0}, {"a": 0.0, "b": 0.0}) == {"a": 0.0, "b": 0.0}


def test_marks_of_tiny_steps_take_little() -> None:
    def tiny(x: Any) -> Any:
        for _ in range(20):
            x = (x[::-1].transpose(0, 1) @ x).cumsum(0)
        return x

    net = lucid.compile(tiny, lucid.spec(2, 2), threads=1)
    net.profile(np.full((2, 2), 0.01, np.float32), repeat=1)  # which plans
    marked = len(re.findall(r"end\w* = clock", watched(net.plan, marks=Marks(only=[])).source.text))
    assert marked == 0
    found = net.profile(np.full((2, 2), 0.01, np.float32), repeat=20)
    assert len(found.timed) == len(net.plan.steps)
    assert sum(step.seconds > 0 for step in found.timed) >= 40


def made(*seconds: float) -> Profile:
    steps = tuple(
        StepTime(f"node{n}", "Relu", "numpy", 1, one, 1e6, 1000, 1e-5, "model.py:1") for n, one in enumerate(seconds)
    )
    rows = tuple((step.node, step.op, step.seconds) for step in steps)
    return Profile(rows, sum(seconds), steps, 0.01, Limits(1e11, 3e10, 1e10), 2)


def test_the_table_says_where_time_is_to_be_had() -> None:
    lines = str(made(2e-5, 1e-3, 1e-5)).splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["node", "node1", "node0", "node2"]  # the longest first
    assert lines[1].split() == ["node1", "Relu", "numpy", "1", "1000.0", "97.1", "1.0", "0.0", "990.0"]
    assert lines[-1] == (
        "the next millisecond is to be had in node1 (990.0 us: neither products nor bytes), "
        "node0 (10.0 us: 50 of 100 GFLOP/s)"
    )
    assert "+1.0 %" in lines[-3]
    assert "2 threads" in lines[-3]
    assert "100 GFLOP/s" in lines[-2]


def test_a_millisecond_is_to_be_had_in_as_few_steps_as_have_it() -> None:
    found = made(2e-5, 7e-4, 1e-5, 6e-4)
    assert str(found).splitlines()[-1] == (
        "the next millisecond is to be had in node1 (690.0 us: neither products nor bytes), "
        "node3 (590.0 us: neither products nor bytes)"
    )
    far = replace(found.timed[0], nbytes=3 * 10**5, flops=0.0)
    assert found._wanting(far) == "10.0 us: 15 of 30 GB/s"


def test_what_helpers_do_is_told_apart() -> None:
    alone = made(2e-5, 1e-3)
    helped = replace(alone, timed=(alone.timed[0], replace(alone.timed[1], helpers=(9e-4, 8e-4), workers=3)))
    assert "helpers worked 1700.0 us of it" in str(helped) and "helpers worked" not in str(alone)
    assert [(e["name"], e["tid"], round(float(str(e["dur"])), 3)) for e in helped._events()] == [
        ("node0", 1, 20.0), ("node1", 1, 1000.0), ("node1", 2, 900.0), ("node1", 3, 800.0),
    ]  # fmt: skip


def test_a_notebook_shows_the_table() -> None:
    found = made(2e-5, 1e-3, 1e-5)
    table = ElementTree.fromstring(found._repr_html_())
    assert [row[0].text for row in table.iter("tr")] == ["node", "node1", "node0", "node2"]
    assert [line.text for line in table.iter("p")] == str(found).splitlines()[-3:]


def test_a_trace_is_saved(tmp_path: Path) -> None:
    made(2e-5, 1e-3).save(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text("utf-8"))["traceEvents"]
    assert [(e["name"], e["ph"], round(e["ts"], 6), round(e["dur"], 6)) for e in events] == [
        ("node0", "X", 0.0, 20.0), ("node1", "X", 20.0, 1000.0),
    ]  # fmt: skip
    assert events[0]["args"]["lowering"] == "numpy"
    with pytest.raises(FileError, match="no folder"):
        made(1.0).save(tmp_path / "gone" / "trace.json")


def test_arguments_by_keyword_and_by_structure() -> None:
    net = lucid.compile(lambda d, *, m: d["a"] + m, {"a": lucid.spec("N")}, m=lucid.spec("N"))
    found = net.profile({"a": X[0, 0, 0]}, m=X[0, 0, 1], repeat=1)
    assert len(found.timed) == 1
    assert found.total > 0


@pytest.mark.parametrize("repeat", [0, -1, 1.5, True, None, "3"])
def test_runs_are_a_positive_number(repeat: Any) -> None:
    with pytest.raises(OptionError, match="profile: repeat must be"):
        network().profile(X, repeat=repeat)


def test_a_program_without_steps() -> None:
    found = lucid.compile(lambda x: x, lucid.spec("N")).profile(X[0, 0, 0], repeat=1)
    assert "total" in str(found)
    json.dumps(found.data())


def test_its_page_says_what_each_column_is() -> None:
    page = (Path(__file__).parents[2] / "docs" / "profile.md").read_text("utf-8")
    said = re.findall(r"`([^`]+)`", "".join(re.findall(r"^\| (`.*?) \|", page, re.M)))
    assert set(said) == {*made(1.0)._table()[0]} - {"node", "op", "lowering"}
