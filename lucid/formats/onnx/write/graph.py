"""Converting a graph to ONNX nodes: each op by its writer, or by the ops that define it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ....base.checks import named
from ....base.structs import struct
from ....errors import GraphError
from ....graph.assume import Assumption
from ....graph.decomposition import decomposition
from ....graph.dims import SymDim
from ....graph.ir import Graph, Node, Origin, Value
from ....graph.opdef import OpDef, ParameterAttrs
from ....graph.stages import depths, found_sizes
from ....graph.types import TensorType
from ..model import Array
from . import ops as ops  # which register themselves
from .draft import Draft, Item, Part, UnwritableError
from .guards import guarded, restricts
from .reasons import REASONS
from .registry import Use, find
from .sizes import Sizes


@struct(frozen=True)
class Fault:
    """A node that cannot be expressed in ONNX."""

    op: OpDef
    key: str
    origin: Origin
    reason: str

    def __str__(self) -> str:
        where = f", in {self.origin}" if str(self.origin) else ""
        return f"{self.op.name} (node {named(self.key)}{where}): {self.reason}"


class Writer:
    """Writes graphs into a draft.

    Attributes
    ----------
    faults
        The nodes that could not be written; all others are, so that all faults are found.
    made
        The results of the whole graph, None for those that the file lacks.
    """

    def __init__(self, draft: Draft, arrays: Mapping[str, Array]) -> None:
        self.draft = draft
        self.sizes = Sizes(draft)
        self.arrays = arrays
        self.faults: list[Fault] = []
        self.made: Sequence[Item | None] = ()
        self._weights: dict[str, Item] = {}

    def whole(
        self, graph: Graph, input_names: Sequence[str], output_names: Sequence[str], taken: Sequence[Assumption] = ()
    ) -> None:
        """Write the graph of the file, with checks of the assumptions ``taken`` about its sizes."""
        for name in graph.parameters:
            self._weights[name] = self.draft.weight(name, self.arrays[name])
        part = self.draft.part
        for names, types, ends in (
            (input_names, graph.input_types, part.inputs), (output_names, graph.output_types, part.outputs)
        ):  # fmt: skip
            ends += [
                (Item(self.draft.fresh(name), type_.dtype), written_shape(type_))
                for name, type_ in zip(names, types, strict=True)
            ]
        for (item, _), type_ in zip(part.inputs, graph.input_types, strict=True):
            self.sizes.learn(item, type_)
        self.made = self.nodes(graph, [item for item, _ in part.inputs], None)
        self.draft.give(guarded(self.draft, self.sizes, graph, self.made, [one for one in taken if restricts(one)]))

    def nodes(self, graph: Graph, given: Sequence[Item | None], around: Origin | None) -> list[Item | None]:
        """Write the nodes of a graph with these inputs; returns its results, None for those that the file lacks."""
        items: dict[Value, Item | None] = dict(zip(map(Value, graph.inputs), given, strict=True))
        sizes = found_sizes(graph)
        says = {count: symbol for symbol, count in sizes.items()}
        order = list(graph.order)
        if sizes:  # what only a size leads to comes after the number that says it
            after = depths(graph, sizes)[0]
            order.sort(key=after.__getitem__)
        for key in order:
            node = graph.node(key)
            if node.op.source == "input":
                continue
            made = self._node(graph, key, node, [items[value] for value in graph.inputs_of(key)], around)
            for i, item in enumerate(made):
                value = Value(key, i)
                items[value] = item
                if value in says and item is not None:
                    self.sizes.found(says[value], item)
        return [items[value] for value in graph.outputs]

    def _node(
        self, graph: Graph, key: str, node: Node, feeds: Sequence[Item | None], around: Origin | None
    ) -> Sequence[Item | None]:
        """The results of a node."""
        if isinstance(node.attrs, ParameterAttrs):
            return [self._weights[node.attrs.name]]
        nothing: list[Item | None] = [None] * len(node.outputs)
        origin = node.origin if around is None else around
        try:
            found = self._written(graph, key, node, feeds, origin)
        except UnwritableError as fault:
            self.faults.append(Fault(node.op, key, origin, str(fault)))
            return nothing
        return [*found, *nothing[len(found) :]]

    def _written(
        self, graph: Graph, key: str, node: Node, feeds: Sequence[Item | None], origin: Origin
    ) -> Sequence[Item | None]:
        """The results of a node, by the writer or the definition of its op; raises if there is neither."""
        types = tuple(graph.type(value) for value in graph.inputs_of(key))
        write = find(node.op)
        if write is None and node.op.decompose is not None:
            return self.nodes(decomposition(node.op, node.attrs, types), feeds, origin)
        if write is None:
            raise UnwritableError(
                REASONS.get(node.op.name, "it is not one of Lucid's own, and has neither a writer nor a decomposition")
            )
        given = tuple(item for item in feeds if item is not None)
        if len(given) < len(feeds):
            if self.faults:
                return []  # what it reads could not be written, which is said already
            raise UnwritableError("it reads what another op keeps for its gradient, which ONNX does not have")
        made = write(Use(self, self.draft, self.sizes, graph, key, node, given, types, origin))
        return [made] if isinstance(made, Item) else list(made)

    def part(self, graph: Graph, handed: int, captures: Sequence[Item | None], origin: Origin) -> Part:
        """A graph that a node runs: its first inputs are passed to it, the others are values of the graph around it."""
        around = self.draft.part
        part = self.draft.part = Part(around)
        try:
            for name, type_ in zip(graph.inputs[:handed], graph.input_types, strict=False):
                part.inputs.append((Item(self.draft.fresh(name), type_.dtype), written_shape(type_)))
            made = self.nodes(graph, [*(item for item, _ in part.inputs), *captures], origin)
            for number, type_ in enumerate(graph.output_types):
                part.outputs.append((Item(self.draft.fresh(f"result_{number}"), type_.dtype), written_shape(type_)))
            self.draft.give(made)
        finally:
            self.draft.part = around
        return part


def written_shape(type_: TensorType) -> tuple[int | str, ...]:
    """Dimensions as written in a file: numbers, names and formulas."""
    return tuple(str(dim) if isinstance(dim, SymDim) else dim for dim in type_.shape)


def refuse(faults: Sequence[Fault], what: str) -> None:
    """Raise a single error that names everything that cannot be written."""
    if faults:
        raise GraphError(f"{what} cannot be written as ONNX: {'; '.join(map(str, faults))}")
