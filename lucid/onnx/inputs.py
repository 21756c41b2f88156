"""The forms in which a model's inputs may be given."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..base.checks import shown
from ..base.texts import as_texts
from ..errors import OptionError
from ..formats.onnx.host import is_evaluated
from ..formats.onnx.model import GraphDef, ValueDef
from ..formats.onnx.registry import find
from ..formats.onnx.sequences import Items


def known(value: Any, declared: ValueDef) -> Any:
    """An input; numbers, and tuples or lists of numbers, are known while the model is built."""
    if declared.many and isinstance(value, tuple | list):
        return Items(value)
    if is_of_texts(declared) and isinstance(value, str | tuple | list):
        return as_texts(value)
    try:
        if isinstance(value, str | bytes | complex | set | dict):
            raise TypeError
        return np.asarray(value, declared.dtype) if isinstance(value, int | float | tuple | list) else value
    except (TypeError, ValueError, OverflowError):
        raise OptionError(f"the input {shown(declared.name)} is an array or numbers, got {shown(value)}") from None


def is_of_texts(declared: ValueDef) -> bool:
    """Whether an input is an array of strings."""
    return declared.dtype is not None and declared.dtype.kind == "O" and not declared.many


def shape_inputs(graph: GraphDef) -> tuple[str, ...]:
    """The inputs of a graph that must be known while it is built."""
    nodes = list(graph.walk())
    source = {name: node for node in nodes for name in node.outputs if name}
    pending = [
        name for node in nodes if (converter := find(node)) is not None
        for slot, name in enumerate(node.inputs) if slot in converter.host
    ]  # fmt: skip
    found: set[str] = set()
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            node = source.get(name)
            if node is not None and node.op not in ("Shape", "Size") and is_evaluated(node):
                pending += node.inputs
    return tuple(one.name for one in graph.inputs if one.name in found)
