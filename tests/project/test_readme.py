"""What README.md says of commands and installations holds; that its tour runs is seen in test_pages.py."""

from __future__ import annotations

import re
from pathlib import Path

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")


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
