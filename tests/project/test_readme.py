"""The tour of README.md runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")


def test_the_tour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    tour, _ = re.findall(r"```python\n(.*?)```", README, re.S)  # the other needs a model: tests/real/test_tour.py
    monkeypatch.chdir(tmp_path)
    exec(compile(tour, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "ConvPool2d" in printed
    assert "def run(" in printed
    assert "MaxPool2dGrad" in (tmp_path / "back.svg").read_text("utf-8")
    assert (tmp_path / "net.lucid").stat().st_size > 0


def test_the_tour_needs_what_its_line_installs() -> None:
    """Pictures are drawn without Graphviz on the path by what the extra brings."""
    (extra,) = re.findall(r"^    python -m pip install '\.\[(\w+)\]'$", README, re.M)
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8")
    assert re.search(rf'^{extra} = \["pygraphviz', project, re.M)
    assert README.index("pip install") < README.index("```python")


def test_it_names_the_commands() -> None:
    makefile = (Path(__file__).parents[2] / "Makefile").read_text("utf-8")
    for target in re.findall(r"^    make (\w+)", README, re.M):
        assert re.search(rf"^{target}:", makefile, re.M), target
