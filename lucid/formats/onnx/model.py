"""The content of an ONNX file as plain data, independent of protobuf."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any, TypeAlias

from ...base.arrays import Array as Array
from ...base.checks import named, shown
from ...base.structs import struct
from ...graph.types import DType

Size: TypeAlias = "int | str | None"
"""A dimension as declared: a number, a name, or None."""

Attribute: TypeAlias = (
    "float | str | Array | GraphDef | Sequence[int] | Sequence[float] | Sequence[str]"
)  # fmt: skip
"""The value of an attribute; the converter of its operator knows the kind."""

DOMAIN, ML, MICROSOFT = "", "ai.onnx.ml", "com.microsoft"


OWN = "lucid"
"""The producer named in files that are written here."""

SMALL = frozenset((17, 18, 19, 20, 21, 22, 23, 24, 25, 26))
"""Numbers of the element types of eight bits or fewer that NumPy lacks."""

NARROW = SMALL | {10, 16}
"""These, float16 and bfloat16: values of these types are rounded to them, but computed with as wider types."""


@struct(frozen=True)
class NodeDef:
    """One node.

    Attributes
    ----------
    op, domain, version
        The operator, and the version of the domain's operators.
    name
        As in the file; may be empty, and need not be unique.
    inputs, outputs
        Names of values; empty for one that is left out.
    attributes
        Numbers, strings, arrays, graphs, and lists of numbers or strings, by name.
    index
        Its number in its graph.
    made
        A cached result computed from attributes and constants, and these constants.
    """

    op: str
    domain: str
    version: int
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    index: int
    made: list[object] = field(default_factory=list, compare=False, repr=False)

    @property
    def kind(self) -> str:
        """The operator with its domain, as it is usually written."""
        return named(f"{self.domain}::{self.op}" if self.domain else self.op)

    def __str__(self) -> str:
        called = f" {shown(self.name)}" if self.name else ""
        return f"node {self.index}{called} ({self.kind}, opset {self.version})"


@struct(frozen=True)
class ValueDef:
    """A declared input or output: a tensor, or a sequence of tensors.

    Attributes
    ----------
    name
        Its name.
    dtype
        The type that it is computed with; None if the file does not say.
    shape
        Its shape; None if the file does not say.
    many
        Whether it is a sequence of such tensors.
    """

    name: str
    dtype: DType | None
    shape: tuple[Size, ...] | None
    many: bool = False


@struct(frozen=True)
class GraphDef:
    """A graph, with nodes in topological order."""

    name: str
    inputs: tuple[ValueDef, ...]
    outputs: tuple[ValueDef, ...]
    constants: Mapping[str, Array]
    nodes: tuple[NodeDef, ...]

    def walk(self) -> Iterator[NodeDef]:
        """All nodes, including those of nested graphs."""
        pending = [self]
        while pending:
            graph = pending.pop()
            for node in graph.nodes:
                yield node
                pending += [value for value in node.attributes.values() if isinstance(value, GraphDef)]


@struct(frozen=True)
class ModelDef:
    """A model: its graph, and its origin.

    Attributes
    ----------
    kinds
        Numbers of the element types of values that are computed with as other types.
    """

    graph: GraphDef
    opsets: Mapping[str, int]
    producer: str = ""
    source: str = field(default="", compare=False)
    kinds: Mapping[str, int] = field(default_factory=dict)
