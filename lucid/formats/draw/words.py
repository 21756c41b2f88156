"""The text in pictures, and its escaping for DOT."""

from __future__ import annotations

import dataclasses
import html
import re
from collections.abc import Iterator

from ...errors import GraphError
from ...graph.ir import Node
from ...graph.opdef import Attrs, ConstArray, TypeAttrs
from ...graph.region import Region
from ...graph.types import TensorType, float32
from ..text import format_value
from .view import wrap


def escape(text: str) -> str:
    """Text escaped for HTML-like labels."""
    return html.escape("".join(c if c.isprintable() else " " for c in text))


def quote(text: str) -> str:
    """Text as a quoted DOT string; newlines become line breaks."""
    safe = "".join(c if c.isprintable() or c == "\n" else " " for c in text)
    return '"' + safe.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def shorten(text: str, most: int = 44) -> str:
    """The text; if it is long, its beginning and an ellipsis."""
    return text if len(text) <= most else text[: most - 1] + "…"


def type_label(type_: TensorType, *, whole: bool = False) -> str:
    """A type in a picture; without ``whole``, float32 is left out."""
    shape = "×".join(str(dim) if re.fullmatch(r"\w+", str(dim)) else f"({dim})" for dim in type_.shape) or "scalar"
    return shape if type_.dtype == float32 and not whole else f"{shape} {type_.dtype.name}"


def slot_name(node: Node, slot: int) -> str:
    """A node's name of an input."""
    names = node.op.inputs
    name = names[slot] if slot < len(names) else names[-1] if names else "?"
    return f"{name[1:]}[{slot - len(names) + 1}]" if name[0] == "*" else name.rstrip("?")


def output_name(node: Node, output: int) -> str:
    """A node's name of an output, or its number."""
    names = node.op.outputs
    return names[output] if names is not None and output < len(names) else str(output)


def attribute_words(node: Node) -> Iterator[str]:
    """The attributes worth showing, abbreviated: those that are not defaults and do not follow from a type."""
    if node.op.source in ("input", "parameter"):
        return
    told = {"inputs", *({"shape", "dtype"} if isinstance(node.attrs, TypeAttrs) else ())}
    if node.outputs and getattr(node.attrs, "shape", None) == node.outputs[0].shape:
        told.add("shape")
    yield from _fields(node.attrs, told)


def _fields(attrs: Attrs, told: set[str]) -> Iterator[str]:
    defaults = {f.name: f.default for f in dataclasses.fields(attrs)}
    for name, value in attrs.items():
        if name in told or isinstance(value, Region) or value == defaults[name]:
            continue
        if isinstance(value, Attrs):
            inner = list(_fields(value, set()))
            yield from inner if name == "conv" else [f"{name} {inner[0]}", *inner[1:]] if inner else []
        elif isinstance(value, ConstArray):
            if 0 < value.array.size <= 4:
                yield shorten(", ".join(map(str, value.array.reshape(-1).tolist())))
        elif isinstance(value, tuple) and value and all(hasattr(item, "op") for item in value):
            yield from wrap([str(item.op) for item in value], " → ")
        else:
            yield shorten(_attribute(name, value))


def _attribute(name: str, value: object) -> str:
    """An attribute, abbreviated: one number if all axes have the same, and only the name of a flag that is set."""
    if value is True:
        return name
    if name == "activation" and isinstance(value, str):
        return value
    if isinstance(value, tuple) and len(value) > 1 and len(set(value)) == 1:
        value = value[0]
    return f"{name} {value if isinstance(value, str) else _value_text(value)}"


def _value_text(value: object) -> str:
    try:
        return format_value(value, elide=True)
    except GraphError:
        return type(value).__name__  # something that only lives in memory, such as what a Call calls
