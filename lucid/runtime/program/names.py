"""Names in programs: checked identifiers, and comments that cannot be anything but comments."""

from __future__ import annotations

import builtins
import keyword
from functools import lru_cache
from typing import Any

import numpy as np

from .statement import marked

RESERVED = (
    "np", "parameters", "kept", "packed", "workspace", "stale",
    "program", "prepare", "arena", "sharing", "bind", "share", "worker", "run",
    "whole", "results", "complete",
    "added", "call", "edge", "entry", "group", "matrix", "mine", "own", "part", "target", "value",
)  # fmt: skip
"""Names that the program's own functions use, or that expressions of kernels use as loop variables."""

LONGEST_NAME = 60


@lru_cache(maxsize=4096)
def identifier(text: str) -> str:
    """A Python identifier that reads like ``text``: ASCII letters, digits and underscores, no keyword or builtin.

    Python takes many other letters for one another (it normalises identifiers), so none of them are used.
    """
    name = "".join([sign if sign.isascii() and sign.isalnum() else "_" for sign in text])
    if len(name) > LONGEST_NAME:
        name = f"{name[: LONGEST_NAME - 21]}_{name[-20:]}"
    name = name.lstrip("_") if name.startswith("__") else name
    if not name or name[0].isdigit() or name[0] == "_":
        name = f"_{name.lstrip('_') or 'v'}"
    return f"{name}_" if keyword.iskeyword(name) or hasattr(builtins, name) else name


def quoted(text: str) -> str:
    """A string as source: printable ASCII on a single line, whatever it holds."""
    return ascii(str(text))


def remark(text: str) -> str:
    """Words for a comment: printable ASCII on a single line."""
    return quoted(text)[1:-1]


class Names:
    """Unique Python identifiers, the objects some of them stand for, and the functions that workers share."""

    def __init__(self) -> None:
        self.namespace: dict[str, Any] = {"np": np}
        self.regions: list[tuple[str, int]] = []
        self.early = 0
        """The number of regions, first in the list, that overwrite no parameter."""
        self._taken = dict.fromkeys(RESERVED, 0)
        self._by_id: dict[int, str] = {}

    def fresh(self, base: str) -> str:
        """:meth:`unique`, marked as a name in lines."""
        return marked(self.unique(base))

    def unique(self, base: str) -> str:
        """An identifier like ``base`` that no other object has."""
        base = identifier(base)
        if base not in self._taken:
            self._taken[base] = 0
            return base
        while True:
            self._taken[base] += 1
            name = f"{base}_{self._taken[base]}"
            if name not in self._taken:
                self._taken[name] = 0
                return name

    def use(self, thing: object, base: str | None = None) -> str:
        """The identifier by which the program's lines call ``thing`` (a function, an array of constants)."""
        if id(thing) not in self._by_id:
            name = self.unique(base or str(getattr(thing, "__name__", "c")))
            self.namespace[name] = thing
            self._by_id[id(thing)] = name
        return marked(self._by_id[id(thing)])
