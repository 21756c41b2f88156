"""The page on reports: its code runs, and it names the views and keys that there are."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "report.md"
MAIN = Path(__file__).parents[2] / "lucid" / "report" / "assets" / "js" / "main.js"


def test_its_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    assert (result.attempted, result.failed) == (6, 0)


def test_it_names_the_views() -> None:
    text, script = PAGE.read_text("utf-8"), MAIN.read_text("utf-8")
    views = re.findall(r'^  \["\w+", "(\w+)", \w+Panel\]|, \["\w+", "(\w+)", \w+Panel\]', script, re.M)
    assert re.findall(r"^\| ([A-Z]\w+) \|", text, re.M) == [a or b for a, b in views]
    for key in ["/", "1", "↑", "←", "Enter", "c", "+", "Esc", "?"]:
        assert f"`{key}`" in text
        assert f'["{key}' in script or f"{key} " in script
