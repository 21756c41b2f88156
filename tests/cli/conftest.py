"""The tests of the command line call it as a user does, in a folder with a Python module of models."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest

from lucid import cli

Call = Callable[..., "Called"]

MINE = """
import lucid
from lucid import nn

lucid.manual_seed(0)
net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(1), nn.Linear(4 * 6 * 6, 2))


def small():
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))


def paint(x):
    return x.sigmoid()


def both(a, b):
    return a + b, {"product": a * b}


def fails():
    raise RuntimeError("of two\\nlines")


class Sized(nn.Module):
    def __init__(self, size):
        super().__init__()


compiled = lucid.compile(both, lucid.spec("N"), b=lucid.spec("N"))
number = 3
"""


class Called(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def extra() -> None:
    """What the command line needs comes with the extra for tests."""
    missing = [name for name in ("click", "rich", "PIL") if find_spec(name) is None]
    if missing:
        pytest.fail(f"there is no package {', '.join(missing)}: python -m pip install -e '.[test]'", pytrace=False)


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    """Runs a command, given word by word, in a folder that holds ``mine.py``."""
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def called(*words: object) -> Called:
        capfd.readouterr()
        return Called(cli.main([str(word) for word in words]), *capfd.readouterr())

    return called
