"""All commands stand in docs/cli.md."""

from __future__ import annotations

import re
from pathlib import Path

from lucid.cli import commands

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text("utf-8")


def test_every_command_is_listed() -> None:
    assert set(re.findall(r"^\| `lucid (\w+)", PAGE, re.M)) == set(commands.HOMES)
