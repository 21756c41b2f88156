"""A rank that ends, however, ends the others: soon, with words, and what was saved is whole."""

from __future__ import annotations

from pathlib import Path

import lucid
from lucid import optim

from .programs import mlp
from .ranks import ended


def test_a_rank_that_is_killed(tmp_path: Path) -> None:
    assert "Killed (signal 9)" in ended("killed", 2, tmp_path, 20)
    model = mlp()
    found = lucid.load_checkpoint(tmp_path / "last.lucid", model=model, optimizer=optim.Adam(model.parameters()))
    assert found.step > 1
    left = {path.name for path in tmp_path.iterdir()} - {"last.lucid"}
    assert len(left) <= 1 and all(name.endswith(".tmp") for name in left)  # one that was being written as it ended


def test_an_error_that_nobody_catches(tmp_path: Path) -> None:
    output = ended("raising", 3, tmp_path, 20)
    assert "OSError: the disk is full" in output
    assert "rank 1 has failed, which ends all 3" in output


def test_a_rank_that_makes_fewer_steps(tmp_path: Path) -> None:
    assert "the other ranks have not come within 1 s" in ended("fewer", 2, tmp_path, 20)
