"""docs/extending.md shows the files of examples/plugin, line by line; ``make plugin`` tests these as installed."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "extending.md").read_text("utf-8")
PLUGIN = ROOT / "examples" / "plugin"
SHOWN = ("op.py", "kernels.py", "branches.py", "tally.py")


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def test_its_blocks_are_the_files() -> None:
    found = dict.fromkeys(SHOWN, "")
    name = ""
    for told, block in re.findall(r"In `(\w+\.py)`:|```python\n(.*?)```", PAGE, re.S):
        name = told or name
        if block:
            found[name] += block
    for name, text in found.items():
        assert lines(text) == lines((PLUGIN / "src" / "lucid_snake" / name).read_text("utf-8")), name


def test_its_entry_points_are_those_of_the_package() -> None:
    shown = re.findall(r'^    (\[project\.entry-points.*\]|\w+ = "lucid_snake:.*")$', PAGE, re.M)
    project = (PLUGIN / "pyproject.toml").read_text("utf-8")
    start = project.index("[project.entry-points")
    assert shown == lines(project[start : project.index("[tool", start)])


def test_its_pass_has_thirty_lines() -> None:
    tree = ast.parse((PLUGIN / "src" / "lucid_snake" / "branches.py").read_text("utf-8"))
    (one,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.decorator_list]
    assert one.end_lineno is not None
    assert one.end_lineno - one.lineno < 30


def test_the_readme_of_the_package_names_the_page() -> None:
    assert "](../../docs/extending.md)" in (PLUGIN / "README.md").read_text("utf-8")
