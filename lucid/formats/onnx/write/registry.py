"""The ops that can be written as ONNX, and how: by a function that writes one use of an op.

A writer is registered for ops, and returns the results in the file::

    @writer(ew.SILU)
    def silu(use: Use) -> Item:
        (x,) = use.inputs
        return use.emit("Mul", x, use.emit("Sigmoid", x))

``use.emit`` adds an ONNX node to the file, ``use.number`` and ``use.array`` add constants, ``use.size`` and
``use.shape`` sizes, which may be symbolic. If ONNX has no suitable operator but several of Lucid's ops together are
equivalent, ``use.inline`` writes these. An op that is defined by others (``OpDef.decompose``) needs no writer: its
definition is written. What cannot be expressed raises :class:`.UnwritableError` with the reason; the user sees it with
the node's place in the model.

The files of ``write/ops`` contain the writers by family; importing the package registers them. All are tested with the
draws of ``tests/draws`` (``tests/onnx/test_written.py``), so a new writer needs no test of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Generic, Protocol, TypeAlias

import numpy as np

from ....base.structs import struct
from ....graph.builder import Builder
from ....graph.decomposition import decomposition
from ....graph.dims import Dim
from ....graph.ir import Graph, Node, Origin, Value
from ....graph.opdef import A, AbstractTensor, OpDef, TypeAttrs
from ....graph.ops.source import INPUT
from ....graph.trace import Symbol, Tracer
from ....graph.types import DTYPES, DType, TensorType, bool_, float64, int64
from ..host import KINDS
from .draft import Draft, Item, Part, Setting, UnwritableError
from .sizes import Sizes

Written: TypeAlias = "Item | Sequence[Item | None]"
"""The results of a node: a single one, or all in order, None for one that the file lacks."""


Settings: TypeAlias = "Mapping[str, Setting | None]"


class GraphWriter(Protocol):
    """Writes graphs."""

    def nodes(self, graph: Graph, given: Sequence[Item | None], around: Origin | None) -> list[Item | None]:
        """Write the nodes of a graph with these inputs; returns its results."""

    def part(self, graph: Graph, handed: int, captures: Sequence[Item | None], origin: Origin) -> Part:
        """A graph that a node runs: its first inputs are passed to it, the others are values of the graph around it."""


Write: TypeAlias = "Callable[[Use[A]], Written]"


@struct(frozen=True)
class Use(Generic[A]):
    """One node of the graph to be written.

    Attributes
    ----------
    writer, draft, sizes
        The writer of graphs, the file, and the sizes in it.
    graph, key, node
        The graph of the node, its name there, and the node.
    inputs
        Its inputs, as values in the file.
    types
        Their types in the graph.
    origin
        Its origin, or that of the node that it helps define.
    """

    writer: GraphWriter
    draft: Draft
    sizes: Sizes
    graph: Graph
    key: str
    node: Node[A]
    inputs: tuple[Item, ...]
    types: tuple[TensorType, ...]
    origin: Origin

    @property
    def attrs(self) -> A:
        """The node's attributes."""
        return self.node.attrs

    @property
    def type(self) -> TensorType:
        """The type of its first result."""
        return self.node.outputs[0]

    @property
    def scope(self) -> str:
        """The path of its module, with which names of nodes begin: ``/layer1/conv``."""
        path = self.origin.modules[0] if self.origin.modules else ""
        return "".join(f"/{part}" for part in path.split(".") if part)

    @property
    def opset(self) -> int:
        """The version of the operators in the file."""
        return self.draft.opset

    @property
    def value(self) -> Value:
        """Its first result in the graph."""
        return Value(self.key)

    def part(self, graph: Graph, handed: int, captures: Sequence[Item]) -> Part:
        """A graph that it runs: its first inputs are passed to it, the others are values of the graph around it."""
        return self.writer.part(graph, handed, captures, self.origin)

    def is_read(self, output: int) -> bool:
        """Whether one of its results is read."""
        return self.graph.reads[Value(self.key, output)] > 0

    def readers(self, output: int) -> set[OpDef | None]:
        """The ops that read one of its results, and None if it is a result of the graph."""
        value = Value(self.key, output)
        found: set[OpDef | None] = {self.graph.node(name).op for name, _ in self.graph.users(value)}
        return found | ({None} if value in self.graph.results else set())

    # ------------------------------------------------------------ nodes

    def emit(
        self, op: str, *inputs: Item | None, dtype: DType | None = None, settings: Settings | None = None,
        **attributes: Setting | None,
    ) -> Item:  # fmt: skip
        """A node with one result, by default of the element type of its first input."""
        dtypes = [dtype or _first(inputs).dtype]
        return self.emit_all(op, *inputs, dtypes=dtypes, settings=settings, **attributes)[0]

    def emit_all(
        self, op: str, *inputs: Item | None, dtypes: Sequence[DType | None], settings: Settings | None = None,
        **attributes: Setting | None,
    ) -> tuple[Item, ...]:  # fmt: skip
        """A node with several results; the type of one that is left out is None.

        Attributes are given by name and in ``settings``; those that are None are left out. If ONNX, or the usual
        runtimes, lack the operator for an element type, it is used for a wider one.
        """
        narrow = wide = None
        own = _first(inputs[op == "Where" :]).dtype if inputs else None
        if own is not None and own in WIDENED.get(op, {}):
            narrow, wide = own, WIDENED[op][own]
            inputs = tuple(x if x is None or x.dtype != own else self.cast(x, wide) for x in inputs)
        given = {name: value for name, value in {**(settings or {}), **attributes}.items() if value is not None}
        made = self.draft.emit(
            op, inputs, [wide if one == narrow and wide else one for one in dtypes], given, self.scope
        )
        if narrow is None:
            return made
        return tuple(x if one is None else self.cast(x, one) for x, one in zip(made, dtypes, strict=True))

    def define(self) -> Sequence[Item | None]:
        """The results of the op's definition, written in its place."""
        return self.writer.nodes(decomposition(self.node.op, self.attrs, self.types), self.inputs, self.origin)

    def is_said(self, number: float) -> bool:
        """Whether an attribute of ONNX, a float32, represents a number as precisely as the op's element type."""
        return self.type.dtype != float64 or float(np.float32(number)) == number

    def need(self, since: int, what: str) -> None:
        """Refuse something that the file's version of the operators lacks."""
        if self.opset < since:
            raise UnwritableError(f"{what} is there since version {since} of the operators: give opset={since} or more")

    def cast(self, x: Item, dtype: DType) -> Item:
        """The value as another element type."""
        if x.dtype == dtype:
            return x
        made = self.draft.emit("Cast", [x], [dtype], {"to": KIND_OF[dtype]}, self.scope)
        return made[0]

    def inline(
        self,
        function: Callable[..., AbstractTensor | Sequence[AbstractTensor]],
        *inputs: Item,
        types: Sequence[TensorType] | None = None,
    ) -> Sequence[Item]:
        """The results of a function of symbols, whose ops are written; ``types`` are those of the inputs."""
        tracer = Tracer(Builder())
        tracer.origin = self.origin
        given = types or self.types
        symbols: list[Symbol] = [
            tracer.emit(INPUT, TypeAttrs(t.shape, t.dtype), name=f"x{i}")[0] for i, t in enumerate(given)
        ]
        made = function(*symbols)
        results = [made] if isinstance(made, AbstractTensor) else made
        graph = tracer.builder.finish([tracer.own(y).value for y in results if isinstance(y, Symbol)])
        found = self.writer.nodes(graph, inputs or self.inputs, self.origin)
        return [item for item in found if item is not None]

    # ------------------------------------------------------------ constants and sizes

    def array(self, values: object, dtype: DType = int64) -> Item:
        """A constant with these values."""
        return self.draft.constant(np.asarray(values, dtype), f"{self.scope}/constant")

    def number(self, value: bool | float, dtype: DType | None = None) -> Item:
        """A scalar constant, by default of the element type of the first input."""
        return self.array(value, dtype or self.inputs[0].dtype)

    def size(self, dim: Dim) -> Item:
        """A size as a scalar."""
        return self.sizes.scalar(dim)

    def shape(self, dims: Sequence[Dim]) -> Item:
        """Sizes as a vector."""
        return self.sizes.shape(dims)

    def reshape(self, x: Item, shape: Sequence[Dim]) -> Item:
        """The value in another shape."""
        return self.emit("Reshape", x, self.shape(shape), allowzero=1)


def _first(inputs: Sequence[Item | None]) -> Item:
    found = next((x for x in inputs if x is not None), None)
    assert found is not None, "a node without inputs is told its element type"
    return found


KIND_OF: Mapping[DType, int] = {dtype: KINDS[name] for name, dtype in DTYPES.items()}
"""The numbers of element types in the format."""

_SMALL = {DTYPES[name]: DTYPES["int32"] for name in ("bool", "int8", "int16", "uint8", "uint16")}
_INTEGERS = {**_SMALL, DTYPES["uint32"]: int64}
_WRAPPED = {**_INTEGERS, DTYPES["uint64"]: int64}

WIDENED: Mapping[str, Mapping[DType, DType]] = {
    **dict.fromkeys(
        ("Add", "Sub", "Mul", "Sum", "ReduceSum", "ReduceProd", "CumSum", "MatMul", "Gemm", "Einsum"), _WRAPPED
    ),
    "Unique": {x: int64 for x in (*_INTEGERS, DTYPES["int32"]) if x != DTYPES["int8"]},
    "Pow": _WRAPPED,
    "Where": {x: y for x, y in _WRAPPED.items() if x not in (bool_, DTYPES["uint8"])},
    **dict.fromkeys(("Div", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Max", "Min", "TopK"), _INTEGERS),
    **dict.fromkeys(("ReduceMax", "ReduceMin", "ArgMax", "ArgMin", "Neg", "Clip", "Equal", "Abs", "Sign"), _INTEGERS),
}
"""For each operator the element types for which it is not used, and the wider type that is used instead.

ONNX lacks some of them, the usual runtimes lack others. Sums and products of 64 bits have the same bits with and
without a sign.
"""

_TABLE: dict[OpDef, Write] = {}


def writer(*ops: OpDef[A]) -> Callable[[Write[A]], Write[A]]:
    """Register the decorated function for ops: it takes a :class:`Use`, and returns the results."""

    def decorate(function: Write[A]) -> Write[A]:
        for op in ops:
            assert op not in _TABLE, f"{op.name} has a writer already"
            _TABLE[op] = function  # type: ignore[assignment]  # called with nodes of its op
        return function

    return decorate


def find(op: OpDef) -> Write | None:
    """The writer of an op; None if there is none."""
    return _TABLE.get(op)


def known() -> frozenset[OpDef]:
    """The ops that have a writer."""
    return frozenset(_TABLE)
