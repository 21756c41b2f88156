"""A graph of one row as the graph of a batch of rows.

The graph is emitted again, node by node. What depends on the rows gets the axis of the batch in front: by the rule of
its op (:mod:`.batching`), else by the op's decomposition, else by a loop with this one node. What does not depend on
them stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import GraphError
from .batching import Batch, Outputs, broadcast, widened
from .builder import Builder
from .decomposition import decomposition
from .dims import Dim, SymDim
from .ir import Node, Value
from .opdef import AbstractTensor
from .ops.elementwise import cast
from .ops.loops import scan
from .ops.put import counted
from .ops.shape import concat
from .region import Region
from .trace import Symbol, Tracer
from .types import TensorType


class Vectorizer:
    """Emits the graphs of rows for ``size`` rows at once."""

    def __init__(self, tracer: Tracer, size: Dim) -> None:
        self._tracer, self._size = tracer, size

    def run(self, region: Region, inputs: Outputs, batched: Sequence[bool]) -> list[AbstractTensor]:
        """The results of a region for all rows; those for which :func:`depends` says so have the axis of the batch."""
        graph, known = region.graph, dict[Value, tuple[AbstractTensor, bool]]()
        known.update(zip(map(Value, graph.inputs), zip(inputs, batched, strict=True), strict=True))
        for name, node in graph.nodes():
            if node.op.source == "input":
                continue
            given, differ = (
                zip(*(known[value] for value in graph.inputs_of(name)), strict=True)
                if graph.inputs_of(name)
                else ((), ())
            )
            with self._tracer.at(node.origin):
                outputs = (
                    self._batched(node, given, differ) if any(differ) else self._tracer.emit(node.op, node.attrs, given)
                )
            known.update((Value(name, i), (y, any(differ))) for i, y in enumerate(outputs))
        return [known[value][0] for value in graph.outputs]

    def whole(self, region: Region, inputs: Outputs, batched: Sequence[bool]) -> list[AbstractTensor]:
        """The same, all with the axis of the batch."""
        flags = depends(region, batched)
        return [widened(y, flag, self._size) for y, flag in zip(self.run(region, inputs, batched), flags, strict=True)]

    def region(
        self, region: Region, types: Sequence[TensorType], batched: Sequence[bool], wanted: Sequence[bool]
    ) -> Region:
        """A region of one row as a region of all, for inputs of these types."""
        inner = Vectorizer(Tracer(Builder()), self._size)
        given = [inner._tracer.input(type_, name) for type_, name in zip(types, region.graph.inputs, strict=True)]
        found = zip(inner.run(region, given, batched), depends(region, batched), wanted, strict=True)
        results = [widened(y, flag, self._size) if want else y for y, flag, want in found]
        return Region(inner._tracer.builder.finish([y.value for y in results if isinstance(y, Symbol)]))

    def _batched(self, node: Node, inputs: Sequence[AbstractTensor], batched: Sequence[bool]) -> Outputs:
        b = Batch(
            node.op, node.attrs, tuple(map(self._own, inputs)), tuple(batched), node.outputs, self._size,
            self.run, self.region, depends,  # type: ignore[arg-type]  # of the regions of this graph
        )  # fmt: skip
        rule = node.op.batch or (broadcast if node.op.elementwise and node.op.decompose is None else None)
        found = rule(b) if rule is not None else None
        if found is None:
            found = self._one_by_one(b) if node.op.decompose is None else self._decomposed(b)
        for y, row in zip(found, node.outputs, strict=True):
            if not y.type.same_value(row.with_shape((self._size, *row.shape))):
                raise GraphError(f"the batching rule of {node.op.name} gave {y.type} for {self._size} rows of {row}")
        return found

    def _own(self, x: AbstractTensor) -> AbstractTensor:
        assert isinstance(x, Symbol)
        return self._tracer.own(x)

    def _decomposed(self, b: Batch) -> Outputs:
        types = [x.type.with_shape(b.row(i)) if x.type.rank else x.type for i, x in enumerate(b.inputs)]
        return self.whole(Region(decomposition(b.op, b.attrs, types)), b.inputs, b.batched)

    def _one_by_one(self, b: Batch) -> Outputs:
        rows = [x if x.type.rank else x + cast(counted(x, self._size), x.type.dtype) for x in b.inputs]

        def turn(*slices: AbstractTensor) -> Outputs:
            given = iter(slices)
            operands = [next(given) if batched else x for x, batched in zip(b.inputs, b.batched, strict=True)]
            return slices[0].apply(b.op, b.attrs, operands)

        return scan(turn, [], [x for x, batched in zip(rows, b.batched, strict=True) if batched], self._size)


def vectorized(
    tracer: Tracer, region: Region, inputs: Outputs, batched: Sequence[bool], size: Dim, chunk: int | None = None
) -> list[AbstractTensor]:
    """The results of a region for all rows, in a loop over ``chunk`` of them at once where there are more.

    Those for which :func:`depends` says so have the axis of the batch.
    """
    plain = Vectorizer(tracer, size).run(region, inputs, batched)
    if chunk is None or (isinstance(size, int) and size <= chunk):
        return plain
    flags, turns = depends(region, batched), size // chunk
    cut = [one and x.type.rank > 0 for one, x in zip(batched, inputs, strict=True)]
    rows = [x for x, one in zip(inputs, cut, strict=True) if one]

    def part(number: AbstractTensor, given: Outputs, count: Dim) -> Outputs:
        """Of so many rows, with a random key of their own."""
        each = iter(given)
        operands = [
            next(each) if of_rows else x + cast(number, x.type.dtype) if differs else x
            for x, of_rows, differs in zip(inputs, cut, batched, strict=True)
        ]
        assert isinstance(number, Symbol)
        found = Vectorizer(number.tracer, count).run(region, operands, batched)
        return [y for y, differs in zip(found, flags, strict=True) if differs]

    slices = [x.piece(0, 0, turns * chunk).reshape((turns, chunk, *x.type.shape[1:])) for x in rows]
    found = scan(lambda number, *given: part(number, given, chunk), [], [counted(rows[0], turns), *slices], turns)
    whole = [y.reshape((turns * chunk, *y.type.shape[2:])) for y in found]
    rest = size - turns * chunk
    if isinstance(rest, SymDim) or rest:
        number = counted(rows[0], turns + 1).piece(0, turns, 1).reshape(())
        last = part(number, [x.piece(0, turns * chunk, rest) for x in rows], rest)
        whole = [concat([y, z]) for y, z in zip(whole, last, strict=True)]
    made = iter(whole)
    return [next(made) if differs else y for y, differs in zip(plain, flags, strict=True)]


def depends(region: Region, batched: Sequence[bool]) -> tuple[bool, ...]:
    """For each output of a region, whether it depends on an input for which that holds."""
    found = dependents(region, batched)
    return tuple(value.node in found for value in region.graph.outputs)


def dependents(region: Region, batched: Sequence[bool]) -> set[str]:
    """The nodes of a region that depend on an input for which that holds, and those inputs."""
    graph = region.graph
    found = {name for name, one in zip(graph.inputs, batched, strict=True) if one}
    for name in graph.order:
        if any(value.node in found for value in graph.inputs_of(name)):
            found.add(name)
    return found
