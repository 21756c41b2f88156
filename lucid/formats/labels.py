"""The words of a picture: what stands in a node's box and beside its edges, safe within DOT."""

from __future__ import annotations

import dataclasses
import html
import re
from collections.abc import Iterator, Sequence

from ..errors import GraphError
from ..graph.ir import Node
from ..graph.opdef import Attrs, ConstArray, TypeAttrs
from ..graph.region import Region
from ..graph.types import TensorType, float32
from .text import format_value


def escape(text: str) -> str:
    """For HTML-like labels."""
    return html.escape("".join(c if c.isprintable() else " " for c in text))


def quote(text: str) -> str:
    """As a quoted DOT string; a newline becomes a line break."""
    safe = "".join(c if c.isprintable() or c == "\n" else " " for c in text)
    return '"' + safe.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _shorten(text: str, most: int = 44) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def type_label(type_: TensorType) -> str:
    """A type as read across a picture: float32 goes without saying."""
    shape = " × ".join(str(dim) if re.fullmatch(r"\w+", str(dim)) else f"({dim})" for dim in type_.shape) or "scalar"
    return shape if type_.dtype == float32 else f"{shape} {type_.dtype.name}"


def slot_name(node: Node, slot: int) -> str:
    """What a node calls its input."""
    names = node.op.inputs
    name = names[slot] if slot < len(names) else names[-1] if names else "?"
    return f"{name[1:]}[{slot - len(names) + 1}]" if name[0] == "*" else name.rstrip("?")


def output_name(node: Node, output: int) -> str:
    """What a node calls its output, or its number."""
    names = node.op.outputs
    return names[output] if names is not None and output < len(names) else str(output)


def attribute_lines(node: Node) -> Iterator[str]:
    """The attributes worth a line: those that differ from their defaults and that the type does not tell."""
    if node.op.source in ("input", "parameter"):
        return
    told = {"shape", "dtype"} if isinstance(node.attrs, TypeAttrs) else set()
    if node.outputs and getattr(node.attrs, "shape", None) == node.outputs[0].shape:
        told.add("shape")
    yield from _fields(node.attrs, "", told)


def _fields(attrs: Attrs, prefix: str, told: set[str]) -> Iterator[str]:
    defaults = {f.name: f.default for f in dataclasses.fields(attrs)}
    for name, value in attrs.items():
        if name in told or isinstance(value, Region) or value == defaults[name]:
            continue
        if isinstance(value, Attrs):
            yield from _fields(value, f"{prefix}{name}.", set())
        elif isinstance(value, ConstArray):
            if 0 < value.array.size <= 4:
                yield _shorten(", ".join(map(str, value.array.reshape(-1).tolist())))
        elif isinstance(value, tuple) and value and all(hasattr(item, "op") for item in value):
            yield from _wrap([str(item.op) for item in value])
        else:
            yield _shorten(f"{prefix}{name} = {_value_text(value)}")


def _wrap(words: Sequence[str], most: int = 40) -> Iterator[str]:
    """A chain of words with arrows between them, on as many lines as it takes."""
    line = words[0]
    for word in words[1:]:
        if len(line) + len(word) > most:
            yield line + " →"
            line = word
        else:
            line += f" → {word}"
    yield line


def _value_text(value: object) -> str:
    try:
        return format_value(value, elide=True)
    except GraphError:
        return type(value).__name__  # something that only lives in memory, such as what a Call calls


def small(text: str, colour: str = "#374151", size: int = 9) -> str:
    """A line in small print."""
    return f'<FONT POINT-SIZE="{size}" COLOR="{colour}">{escape(text) or " "}</FONT>'
