"""A saved step goes on with what its optimizer holds when it is saved, not with what the latest call has seen."""

from pathlib import Path

import numpy as np
import pytest

import lucid
from lucid import nn, optim
from lucid.errors import OptionError

X, Y = np.ones((2, 3), np.float32), np.zeros((2, 1), np.float32)


def test_a_schedule_after_the_latest_call_reaches_the_file(tmp_path: Path) -> None:
    model = nn.Linear(3, 1)
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    schedule = optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    step = lucid.compile_step(model, nn.MSELoss(), optimizer, clip_norm=1.0)
    step(X, Y)
    schedule.step()
    step.clip_norm = 0.25
    step.save(tmp_path / "step.lucid")
    loaded = lucid.load(tmp_path / "step.lucid")
    assert float(loaded.state_dict()["optimizer.0.lr"]) == 0.05
    assert [float(loaded(X, Y)) for _ in range(3)] == [float(step(X, Y)) for _ in range(3)]


def test_a_state_that_was_loaded_after_the_latest_call_reaches_the_file(tmp_path: Path) -> None:
    model = nn.Linear(3, 1)
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    step = lucid.compile_step(model, nn.MSELoss(), optimizer)
    step(X, Y)
    before = optimizer.state_dict()
    step(X * 9, Y)
    optimizer.load_state_dict(before)
    step.save(tmp_path / "step.lucid")
    loaded = lucid.load(tmp_path / "step.lucid")
    assert [float(loaded(X, Y)) for _ in range(3)] == [float(step(X, Y)) for _ in range(3)]


def test_a_setting_that_asks_for_another_graph_is_refused_until_a_call_has_made_it(tmp_path: Path) -> None:
    model = nn.Linear(3, 1)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    step = lucid.compile_step(model, nn.MSELoss(), optimizer)
    step(X, Y)
    optimizer.param_groups[0]["weight_decay"] = 0.5
    with pytest.raises(OptionError, match="call the step, then save"):
        step.save(tmp_path / "step.lucid")
    step(X, Y)
    step.save(tmp_path / "step.lucid")
    assert float(lucid.load(tmp_path / "step.lucid")(X, Y)) == float(step(X, Y))
