"""Progress of training: a bar for each epoch on a terminal, otherwise a line for each."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TextIO

from ..base import checks
from ..base.lazy import LazyModule
from .history import shown_number
from .run import Run

rich_console = LazyModule("rich.console")
rich_progress = LazyModule("rich.progress")

_REFRESH = 0.1
"""Seconds between two updates of a bar."""


class Display:
    """Shows epochs and batches; this base class shows nothing."""

    def begin(self, run: Run) -> None:
        """Called when an epoch begins."""

    def batch(self, run: Run) -> None:
        """Called after each batch."""

    def end(self, run: Run) -> None:
        """Called when an epoch ends."""

    def close(self) -> None:
        """Called at the end, also after an error."""


class Lines(Display):
    """A line for each epoch."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.began = 0.0

    def begin(self, run: Run) -> None:
        self.began = time.perf_counter()

    def end(self, run: Run) -> None:
        self.write(f"{_epoch(run, run.epoch)}  {_numbers(run.logs)}  {time.perf_counter() - self.began:.1f} s")
        if run.stopped is not None:
            self.write(f"stopped: {run.stopped}")

    def write(self, line: str) -> None:
        """Print a line immediately; if the output is closed, training continues."""
        with suppress(OSError, ValueError):  # a pipe whose reader has gone, a closed file
            self.stream.write(f"{line}\n")
            self.stream.flush()


class Bars(Lines):
    """A bar while an epoch runs, and its line when it ends."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self.console = rich_console.Console(file=stream, highlight=False)
        text = rich_progress.TextColumn
        self.progress = rich_progress.Progress(
            text("{task.description}"), rich_progress.BarColumn(24), rich_progress.MofNCompleteColumn(),
            text("{task.fields[numbers]}", markup=False), console=self.console, transient=True, auto_refresh=False,
        )  # fmt: skip
        self.task = self.progress.add_task("", total=None, numbers="", start=True)
        self.shown = 0.0

    def begin(self, run: Run) -> None:
        super().begin(run)
        self.progress.reset(self.task, description=_epoch(run, run.epoch + 1), total=_count(run.data), numbers="")
        self.progress.start()

    def batch(self, run: Run) -> None:
        now = time.perf_counter()
        if now - self.shown >= _REFRESH:
            self.shown = now
            self.progress.update(self.task, completed=run.batch, numbers=_numbers(run.numbers()))
            self.progress.refresh()

    def end(self, run: Run) -> None:
        self.progress.stop()
        super().end(run)

    def close(self) -> None:
        self.progress.stop()


def display(shown: bool, stream: TextIO | None = None) -> Display:
    """The display for a run: rich's bars on a terminal, if rich is installed, otherwise lines."""
    if not checks.flag("fit", "progress", shown):
        return Display()
    stream = sys.stderr if stream is None else stream
    if stream is None:  # as in a program without a console
        return Display()
    if getattr(stream, "isatty", bool)() and importlib.util.find_spec("rich") is not None:
        return Bars(stream)
    return Lines(stream)


def _count(data: object) -> int | None:
    """The number of batches, if it is known."""
    try:
        return len(data)  # type: ignore[arg-type]
    except TypeError:
        return None


def _epoch(run: Run, number: int) -> str:
    return f"epoch {str(number).rjust(len(str(run.epochs)))}/{run.epochs}"


def _numbers(numbers: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {shown_number(value)}" for name, value in numbers.items())
