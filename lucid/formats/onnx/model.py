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
"""A dimension as declared: a number, a name, or neither."""

Attribute: TypeAlias = (
    "float | str | Array | GraphDef | Sequence[int] | Sequence[float] | Sequence[str]"
)  # fmt: skip
"""What an attribute may hold; of which kind each is, the converter of its operator knows."""

DOMAIN, ML, MICROSOFT = "", "ai.onnx.ml", "com.microsoft"


OWN = "lucid"
"""The producer that files which are written here name."""

SMALL = frozenset((17, 18, 19, 20, 21, 22, 23, 24, 25, 26))
"""Numbers in the format of the element types of eight bits and fewer that NumPy does not have."""

NARROW = SMALL | {10, 16}
"""These, float16 and bfloat16: what is cast to one of them has its numbers, and is computed with as a wider one."""


@struct(frozen=True)
class NodeDef:
    """One node.

    Attributes
    ----------
    op, domain, version
        What it applies, and in which version of the domain's set of operators.
    name
        As in the file; may be empty, and need not be unique.
    inputs, outputs
        Names of values; empty where one is left out.
    attributes
        Numbers, text, arrays, graphs, and lists of numbers or texts, by name.
    index
        Its number in its graph.
    made
        What was made of the attributes and constants, to be made once, and these constants.
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
        """The operator with its domain, as people write it."""
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
        Of what type its numbers are here; None where the file does not say.
    shape
        None where the file does not say.
    many
        Whether it is a sequence of such tensors.
    """

    name: str
    dtype: DType | None
    shape: tuple[Size, ...] | None
    many: bool = False


@struct(frozen=True)
class GraphDef:
    """A graph: nodes in an order in which each comes after those it reads."""

    name: str
    inputs: tuple[ValueDef, ...]
    outputs: tuple[ValueDef, ...]
    constants: Mapping[str, Array]
    nodes: tuple[NodeDef, ...]

    def walk(self) -> Iterator[NodeDef]:
        """All nodes, those of graphs within nodes too."""
        pending = [self]
        while pending:
            graph = pending.pop()
            for node in graph.nodes:
                yield node
                pending += [value for value in node.attributes.values() if isinstance(value, GraphDef)]


@struct(frozen=True)
class ModelDef:
    """A model: its graph, and where it came from.

    Attributes
    ----------
    kinds
        Numbers in the format of the element types of values that are computed with as other ones.
    """

    graph: GraphDef
    opsets: Mapping[str, int]
    producer: str = ""
    source: str = field(default="", compare=False)
    kinds: Mapping[str, int] = field(default_factory=dict)
