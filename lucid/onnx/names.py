"""Converting names in a file to module paths and symbols of sizes."""

from __future__ import annotations

import re
from collections.abc import Collection
from keyword import iskeyword

from ..formats.onnx.model import OWN, ModelDef

DEEPEST = 64
"""How deep modules may be nested."""


def path_of(name: str) -> tuple[str, ...]:
    """A name as a path: its parts between slashes and dots, without the prefixes that exporters repeat."""
    found: list[str] = []
    for part in filter(None, name.split("/")):
        names = [identifier(one) for one in part.split(".") if one]
        above = found[-(len(names) - 1) :] if len(names) > 1 else []
        found += names[len(above) :] if above and names[: len(above)] == above else names
    return tuple(found[:DEEPEST])


def identifier(text: str) -> str:
    return re.sub(r"\W", "_", text, flags=re.ASCII) or "_"


def symbol_of(key: str, taken: Collection[str]) -> str:
    """An identifier that resembles the name of a dimension."""
    name = identifier(key)[:40]
    name += "_" * iskeyword(name)
    return numbered(f"d{name}" if name[0].isdigit() else name, taken)


def numbered(name: str, taken: Collection[str]) -> str:
    """The name, with a number appended if it is taken."""
    fresh, number = name, 0
    while fresh in taken:
        number += 1
        fresh = f"{name}_{number}"
    return fresh


def state_of(model: ModelDef) -> frozenset[str] | None:
    """For a file written by Lucid, the names of its weights: those without a leading slash; None for others."""
    if model.producer != OWN:
        return None
    return frozenset(name for name in model.graph.constants if not name.startswith("/"))
