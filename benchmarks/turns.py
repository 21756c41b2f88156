"""Contestants in processes of their own, which wait for their turns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from memory import peak


class Process:
    """A contestant that waits for its turn: it says in a line what it has to say, then one for each that it reads.

    Parameters
    ----------
    command
        What this interpreter is to run.
    before
        What starts the interpreter, if that is another program.
    environment
        What is other there than here.
    """

    def __init__(
        self, command: Sequence[str], before: Sequence[str] = (), environment: Mapping[str, str] | None = None
    ) -> None:
        self.process = subprocess.Popen(
            [*before, sys.executable, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, env={**os.environ, **(environment or {})},
        )  # fmt: skip

    @cached_property
    def first(self) -> dict[str, Any]:
        """What it says when it is ready, for which it is waited; nothing where it cannot take part."""
        return self.answer()

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        return json.loads(line) if line else {}

    def tell(self, what: int | Mapping[str, str]) -> None:
        """What it is to do: a number of steps, say."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{json.dumps(what)}\n")
        self.process.stdin.flush()

    def ask(self, what: int | Mapping[str, str]) -> dict[str, Any]:
        self.tell(what)
        return self.answer()

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def timed(step: Callable[[], float], before: int) -> None:
    """Seconds of as many steps as each line asks for, and the memory that the process has taken since."""
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            start = time.perf_counter()
            step()
            times.append(time.perf_counter() - start)
        print(json.dumps({"best": min(times), "all": sum(times), "peak": peak() - before}), flush=True)


def in_turns(running: Mapping[str, Process], steps: Mapping[str, int], rounds: int) -> dict[str, list[dict[str, Any]]]:
    """What each has answered in each round; the i-th entries of all lists were measured one after another."""
    turns: dict[str, list[dict[str, Any]]] = {who: [] for who in running}
    for _ in range(rounds):
        for who, one in running.items():
            turns[who].append(one.ask(steps[who]))
    return turns
