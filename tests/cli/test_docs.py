"""The commands of docs/cli.md run, and all there are stand in it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from lucid.cli import commands

from .conftest import Call

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text("utf-8")


def test_the_blocks_run(call: Call) -> None:
    """Line by line, as far as Lucid goes: not into pipes and files."""
    lines = "".join(re.findall(r"```sh\n(.*?)```", PAGE, re.S)).splitlines()
    assert len(lines) > 10
    for line in lines:
        fails, command = re.fullmatch(r"(! )?lucid (.*?)(?: [|>] .*)?", line).groups()  # type: ignore[union-attr]
        found = call(*shlex.split(command))
        assert found.code == (2 if fails else 0), (line, found.err)
    assert Path("lenet.svg").stat().st_size > 0


def test_every_command_is_listed() -> None:
    assert set(re.findall(r"^\| `lucid (\w+)", PAGE, re.M)) == set(commands.HOMES)
