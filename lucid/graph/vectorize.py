"""Vectorisation: the graph of a function of one row becomes the graph of that function of a batch of rows.

The graph is emitted again, node by node. A value that depends on a batched input gets the batch axis in front: by the
batching rule of its op (:mod:`.batching`), else by the op's decomposition, else by a loop over the rows around this one
node. All other values are computed once, as they were.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import GraphError
from .batching import Batch, Outputs, broadcast_rows, with_batch_axis
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
    """Emits graphs of one row for ``size`` rows at once."""

    def __init__(self, tracer: Tracer, size: Dim) -> None:
        self._tracer, self._size = tracer, size

    def run(self, region: Region, inputs: Outputs, batched: Sequence[bool]) -> list[AbstractTensor]:
        """The results of a region for all rows; those that :func:`depends` marks have the batch axis."""
        graph = region.graph
        known = dict(zip(map(Value, graph.inputs), zip(inputs, batched, strict=True), strict=True))
        for name, node in graph.nodes():
            if node.op.source == "input":
                continue
            operands = [known[value] for value in graph.inputs_of(name)]
            values, flags = [x for x, _ in operands], [flag for _, flag in operands]
            with self._tracer.at(node.origin):
                outputs = (
                    self._batched(node, values, flags) if any(flags) else self._tracer.emit(node.op, node.attrs, values)
                )
            known.update((Value(name, i), (y, any(flags))) for i, y in enumerate(outputs))
        return [known[value][0] for value in graph.outputs]

    def whole(self, region: Region, inputs: Outputs, batched: Sequence[bool]) -> list[AbstractTensor]:
        """As :meth:`run`, with the batch axis on every result."""
        flags = depends(region, batched)
        results = zip(self.run(region, inputs, batched), flags, strict=True)
        return [with_batch_axis(y, flag, self._size) for y, flag in results]

    def region(
        self, region: Region, types: Sequence[TensorType], batched: Sequence[bool], wanted: Sequence[bool]
    ) -> Region:
        """The vectorised region, for inputs of these types; its ``wanted`` outputs have the batch axis."""
        inner = Vectorizer(Tracer(Builder()), self._size)
        inputs = [inner._tracer.input(type_, name) for type_, name in zip(types, region.graph.inputs, strict=True)]
        outputs = zip(inner.run(region, inputs, batched), depends(region, batched), wanted, strict=True)
        results = [with_batch_axis(y, flag, self._size) if want else y for y, flag, want in outputs]
        return Region(inner._tracer.builder.finish([y.value for y in results if isinstance(y, Symbol)]))

    def _batched(self, node: Node, inputs: Sequence[AbstractTensor], batched: Sequence[bool]) -> Outputs:
        batch = Batch(
            node.op, node.attrs, tuple(map(self._own, inputs)), tuple(batched), node.outputs, self._size,
            self.run, self.region, depends,  # type: ignore[arg-type]  # of the regions of this graph
        )  # fmt: skip
        rule = node.op.batch or (broadcast_rows if node.op.elementwise and node.op.decompose is None else None)
        results = rule(batch) if rule is not None else None
        if results is None:
            results = self._one_by_one(batch) if node.op.decompose is None else self._decomposed(batch)
        for y, row in zip(results, node.outputs, strict=True):
            if not y.type.same_value(row.with_shape((self._size, *row.shape))):
                raise GraphError(f"the batching rule of {node.op.name} gave {y.type} for {self._size} rows of {row}")
        return results

    def _own(self, x: AbstractTensor) -> AbstractTensor:
        assert isinstance(x, Symbol)
        return self._tracer.own(x)

    def _decomposed(self, batch: Batch) -> Outputs:
        types = [x.type.with_shape(batch.row(i)) if x.type.rank else x.type for i, x in enumerate(batch.inputs)]
        return self.whole(Region(decomposition(batch.op, batch.attrs, types)), batch.inputs, batch.batched)

    def _one_by_one(self, batch: Batch) -> Outputs:
        rows = [x if x.type.rank else x + cast(counted(x, self._size), x.type.dtype) for x in batch.inputs]

        def one_row(*slices: AbstractTensor) -> Outputs:
            remaining = iter(slices)
            operands = [next(remaining) if flag else x for x, flag in zip(batch.inputs, batch.batched, strict=True)]
            return slices[0].apply(batch.op, batch.attrs, operands)

        return scan(one_row, [], [x for x, flag in zip(rows, batch.batched, strict=True) if flag], self._size)


def vectorized(
    tracer: Tracer, region: Region, inputs: Outputs, batched: Sequence[bool], size: Dim, chunk: int | None = None
) -> list[AbstractTensor]:
    """The results of a region for all rows; those that :func:`depends` marks have the batch axis.

    Where there are more than ``chunk`` rows, a loop computes that many at a time, and the rest after it.
    """
    outputs = Vectorizer(tracer, size).run(region, inputs, batched)
    if chunk is None or (isinstance(size, int) and size <= chunk):
        return outputs
    flags = depends(region, batched)
    chunked = iter(_in_chunks(region, inputs, batched, size, chunk))
    return [next(chunked) if flag else y for y, flag in zip(outputs, flags, strict=True)]


def _in_chunks(region: Region, inputs: Outputs, batched: Sequence[bool], size: Dim, chunk: int) -> list[AbstractTensor]:
    """The batched results of a region, in a loop over chunks of the rows."""
    flags, chunks = depends(region, batched), size // chunk
    sliced = [flag and x.type.rank > 0 for flag, x in zip(batched, inputs, strict=True)]
    rows = [x for x, flag in zip(inputs, sliced, strict=True) if flag]

    def part(number: AbstractTensor, slices: Outputs, count: Dim) -> Outputs:
        """The batched results for ``count`` rows; the number of the chunk makes its random keys differ from others'."""
        remaining = iter(slices)
        operands = [
            next(remaining) if of_rows else x + cast(number, x.type.dtype) if flag else x
            for x, of_rows, flag in zip(inputs, sliced, batched, strict=True)
        ]
        assert isinstance(number, Symbol)
        outputs = Vectorizer(number.tracer, count).run(region, operands, batched)
        return [y for y, flag in zip(outputs, flags, strict=True) if flag]

    slices = [x.piece(0, 0, chunks * chunk).reshape((chunks, chunk, *x.type.shape[1:])) for x in rows]
    stacked = scan(lambda number, *given: part(number, given, chunk), [], [counted(rows[0], chunks), *slices], chunks)
    results = [y.reshape((chunks * chunk, *y.type.shape[2:])) for y in stacked]
    rest = size - chunks * chunk
    if isinstance(rest, SymDim) or rest:
        number = counted(rows[0], chunks + 1).piece(0, chunks, 1).reshape(())
        last = part(number, [x.piece(0, chunks * chunk, rest) for x in rows], rest)
        results = [concat([y, z]) for y, z in zip(results, last, strict=True)]
    return results


def depends(region: Region, batched: Sequence[bool]) -> tuple[bool, ...]:
    """For each output of a region, whether it depends on a batched input."""
    found = dependents(region, batched)
    return tuple(value.node in found for value in region.graph.outputs)


def dependents(region: Region, batched: Sequence[bool]) -> set[str]:
    """The names of the batched inputs of a region and of all nodes that depend on them."""
    graph = region.graph
    found = {name for name, one in zip(graph.inputs, batched, strict=True) if one}
    for name in graph.order:
        if any(value.node in found for value in graph.inputs_of(name)):
            found.add(name)
    return found
