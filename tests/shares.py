"""A share of the suite, where there is no time for all of it: ``python -m pytest --share 3/16``.

A test belongs to the share that a hash of its id gives, whatever else there is and wherever it runs. With each commit
it is the next one's turn, so after as many commits as there are shares every test has been run.
"""

from __future__ import annotations

import subprocess
import time
import zlib
from argparse import ArgumentTypeError
from pathlib import Path
from typing import NamedTuple

import pytest

DAY = 86_400


class Share(NamedTuple):
    """One of so many, counted from 1."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Share:
        """``3/16``"""
        number, _, of = text.partition("/")
        if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
            raise ArgumentTypeError(f"{text}: expected a share as 3/16, which is the third of sixteen")
        return cls(int(number), int(of))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def has(self, name: str) -> bool:
        return zlib.crc32(name.encode()) % self.of == self.number - 1

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        left_out = [item for item in items if not self.has(item.nodeid)]
        items[:] = [item for item in items if self.has(item.nodeid)]
        config.hook.pytest_deselected(items=left_out)


def whose_turn(of: int, root: Path) -> Share:
    """By the number of commits; by the day, where git does not know it (a shallow clone, or no clone at all)."""

    def git(*command: str) -> str:
        return subprocess.run(["git", *command], cwd=root, capture_output=True, text=True, check=True).stdout.strip()

    try:
        shallow = git("rev-parse", "--is-shallow-repository") != "false"
        count = int(time.time()) // DAY if shallow else int(git("rev-list", "--count", "HEAD"))
    except (OSError, subprocess.CalledProcessError):
        count = int(time.time()) // DAY
    return Share(count % of + 1, of)
