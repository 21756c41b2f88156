"""The record, in a file, of the distributions that provide its ops."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ..base import plugins
from ..errors import FileError, PluginError
from ..graph.opdef import added_ops, all_ops, find_op
from .container import JSON, canonical, parse_json

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""Valid names of ops and distributions, as names from files appear in messages."""


def encode_plugins(graphs: Mapping[str, JSON]) -> dict[str, str]:
    """The field of the metadata for encoded graphs; empty if all ops are Lucid's own.

    For an op that no distribution announces, it holds only the name.
    """
    added = added_ops()
    held = added.intersection(_texts(graphs)) if added else ()
    homes = {one.name: one.distribution for one in plugins.announced("op")} if held else {}
    return {"plugins": canonical({name: homes.get(name, "") for name in held})} if held else {}


def _texts(data: JSON) -> Iterator[str]:
    """All strings in the data: fused nodes contain names of ops too, each in its own way."""
    stack = [data]
    while stack:
        one = stack.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict | list):
            stack.extend(one.values() if isinstance(one, dict) else one)


def check_plugins(metadata: Mapping[str, str]) -> None:
    """Load the installed plug-ins that a file needs; raise if any are missing.

    Raises
    ------
    PluginError
        Names the missing ops, with their distributions.
    """
    said = parse_json(metadata.get("plugins", "{}"))
    texts = (*said, *filter(None, said.values())) if isinstance(said, dict) else (None,)
    if not all(isinstance(text, str) and _NAME.fullmatch(text) for text in texts):
        raise FileError("what it says of plug-ins is not readable")
    wanted = said.keys() - {op.name for op in all_ops()}
    there = {plugin.name for plugin in plugins.announced("op")} if wanted else set()
    of = {name: f" of the distribution {home}" if home else "" for name, home in said.items()}
    missing = [f"{name!r}{of[name]}" for name in sorted(wanted - there)]
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise PluginError(
            f"it holds the op {', '.join(missing[:5])}{more}, which is not installed here: install what brings it, if "
            f"you trust that, or import the module that defines it, and load the file again"
        )
    for name in wanted:
        find_op(name)
