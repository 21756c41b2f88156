"""Showing answers, on a terminal, in a file or as JSON; and progress, on a terminal only."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, TypeVar

from rich import box, table
from rich.console import Console
from rich.progress import Progress, track
from rich.text import Text

from ..base.checks import named
from .answer import Answer, Table

T = TypeVar("T")

WIDE = 4096
"""Columns of output to a file or a pipe, so that lines are not cut."""


def show(answer: Answer, *, as_json: bool) -> None:
    """Print an answer to standard output."""
    out = Console(highlight=False)
    if as_json:
        _write(out.file, json.dumps(_plain(answer.data), indent=2, allow_nan=False) + "\n")
        return
    if not out.is_terminal:
        out = Console(highlight=False, width=WIDE)
    with out.capture() as printed:  # errors of standard output must not be handled by rich
        for number, part in enumerate(answer.parts):
            if isinstance(part, Table):
                if number:
                    out.print()
                out.print(_table(part))
            else:
                out.print(Text(part), soft_wrap=True)
    _write(out.file, printed.get())


def _write(file: IO[str], text: str) -> None:
    """Write a text; letters that the file's encoding does not have are escaped."""
    encoding = getattr(file, "encoding", None) or "utf-8"
    file.write(text.encode(encoding, "backslashreplace").decode(encoding))


def _table(part: Table) -> table.Table:
    titled = any(part.head)
    made = table.Table(
        title=Text(part.title, style="bold") if part.title else None, title_justify="left", box=box.SIMPLE_HEAD,
        show_header=titled, pad_edge=False, show_edge=False,
    )  # fmt: skip
    for head in part.head:
        number = head.startswith(">")
        made.add_column(Text(head.removeprefix(">")), justify="right" if number else "left", overflow="fold")
    for row in part.rows:
        made.add_row(*(Text(named(cell)) for cell in row))
    return made


def _plain(value: object) -> object:
    """The value as JSON data; NaN and infinities, which JSON lacks, become strings."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value


def progress(steps: Sequence[T], label: str) -> Iterable[T]:
    """The steps one after another, with a progress bar on a terminal."""
    console = Console(stderr=True)
    steps_: Iterable[T] = track(steps, label, console=console, transient=True, disable=not console.is_terminal)
    return steps_


@contextmanager
def working(label: str) -> Iterator[None]:
    """While inside, a bar moves back and forth on a terminal."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        bar.add_task(label, total=None)
        yield
