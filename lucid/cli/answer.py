"""The answer of a command: data for scripts, tables and lines for people, and an exit code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field

from ..base.structs import struct

GOOD, WRONG, BAD_INPUT = 0, 1, 2
"""Exit codes: success; something is wrong, or differs; the input is bad."""


@struct(frozen=True)
class Table:
    """Rows of text.

    Attributes
    ----------
    head
        Headings of the columns; those that begin with ``>`` are right-aligned, for numbers.
    """

    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    title: str = ""


@struct(frozen=True)
class Answer:
    """An answer.

    Attributes
    ----------
    data
        The answer as JSON data, for ``--json``.
    parts
        The answer for people, from top to bottom.
    """

    data: Mapping[str, object]
    parts: Sequence[str | Table] = field(default_factory=list)
    code: int = GOOD


def facts(**rows: str) -> Table:
    """A table of names and texts; underscores in names become spaces, and empty texts are left out."""
    return Table(("", ""), [(name.replace("_", " "), text) for name, text in rows.items() if text])


def amount(count: float, unit: str = "B") -> str:
    """``44.7 MB``: a number with the largest prefix that leaves it at least 1."""
    for prefix, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:,.1f} {prefix}{unit}"
    return f"{count:,.0f} {unit}"


def counted(count: int, noun: str) -> str:
    """``1 node``, ``2 nodes``."""
    return f"{count} {noun}{'s' * (count != 1)}"


def duration(seconds: float) -> str:
    """``12.3 ms``."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}" if seconds < 100 * size else f"{seconds / size:,.0f} {unit}"
    return f"{seconds * 1e6:.3g} us"
