"""The page on reports names the views and keys that there are."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "report.md"
MAIN = Path(__file__).parents[2] / "lucid" / "report" / "assets" / "js" / "main.js"


def test_it_names_the_views() -> None:
    text, script = PAGE.read_text("utf-8"), MAIN.read_text("utf-8")
    views = re.findall(r'^  \["\w+", "(\w+)", \w+Panel\]|, \["\w+", "(\w+)", \w+Panel\]', script, re.M)
    assert re.findall(r"^\| ([A-Z]\w+) \|", text, re.M) == [a or b for a, b in views]
    for key in ["/", "1", "↑", "←", "Enter", "c", "+", "Esc", "?"]:
        assert f"`{key}`" in text
        assert f'["{key}' in script or f"{key} " in script
