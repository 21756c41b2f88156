"""How tensors record the operations that made them, and compute gradients from that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from sys import getrefcount
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import numpy as np

from ..autodiff.reverse import emit_gradients
from ..base import changes
from ..base.arrays import Array
from ..base.garbage import collection_paused
from ..base.lazy import LazyModule
from ..errors import GradientError
from ..graph.builder import Builder
from ..graph.ir import Graph, Node, Value
from ..graph.opdef import Attrs, OpDef, TypeAttrs
from ..graph.ops.call import CALL, CallAttrs
from ..graph.ops.shape import RESHAPE, ShapeAttrs
from ..graph.ops.source import INPUT, ConstantAttrs
from ..graph.trace import Symbol, Tracer
from ..graph.types import TensorType, is_float
from .hooks import GradientHooks

eager = LazyModule("lucid.runtime.eager")


class _Held(Protocol):
    """A tensor, as far as this module knows it."""

    _array: Array
    _record: Record | None
    _output: int
    _requires_grad: bool
    _hooks: GradientHooks | None

    @property
    def type(self) -> TensorType: ...
    @property
    def version(self) -> int: ...
    @property
    def is_leaf(self) -> bool: ...


T = TypeVar("T", bound=_Held)


@dataclass(slots=True)
class Record:
    """How a tensor came to be: the node, what fed it, and its outputs' arrays (not tensors: no cycles).

    ``sources`` says of each input where it came from and when it was last written, as that was then: an input that is
    changed in place goes on as another value. ``made`` is the time of the record.
    """

    op: OpDef
    attrs: Attrs
    inputs: tuple[Any, ...]
    sources: tuple[tuple[Record | None, int, int], ...]
    made: int
    arrays: tuple[Array, ...]
    types: tuple[TensorType, ...]
    hooks: dict[int, GradientHooks] | None = None
    """Those of its outputs' gradients."""

    @classmethod
    def of(
        cls,
        op: OpDef,
        attrs: Attrs,
        inputs: tuple[Any, ...],
        arrays: tuple[Array, ...],
        types: tuple[TensorType, ...],
    ) -> Record:
        """The record of an op that has just run."""
        last = changes.writes.last
        sources = tuple([(x._record if x._requires_grad else None, x._output, last(x._array)) for x in inputs])
        return cls(op, attrs, inputs, sources, changes.of_contents.now, arrays, types)


def _counts(arrays: list[Array]) -> tuple[Array, int, int]:
    """The last of the arrays, with the number of references to it and to the array whose memory it shares."""
    array = arrays.pop()
    owner = array.base
    return array, getrefcount(array), getrefcount(owner)


_ALONE = _counts([np.empty((2, 2))])[1]
_OWNER_ALONE = _counts([np.empty((2, 2)).T])[2]
"""What these numbers are where nobody else refers to the two; they differ between versions of Python."""


def _pop(arrays: list[Array]) -> tuple[Array, bool]:
    """The last of the arrays, and whether nothing else refers to it or to its memory."""
    array, count, owners = _counts(arrays)
    owner: object = array.base
    own = count <= _ALONE
    if owner is not None:
        own = own and isinstance(owner, np.ndarray) and owner.nbytes == array.nbytes and owners <= _OWNER_ALONE
    return array, own


def lies_in_anothers(array: Array) -> bool:
    """Whether the memory of an array is that of another one, which somebody refers to."""
    return isinstance(array.base, np.ndarray) and getrefcount(array.base) > _BASE_ALONE


_BASE_ALONE = (lambda array: getrefcount(array.base))(np.empty((2, 2)).T)
"""What this number is where only the one array refers to the other."""


class _Gather(Generic[T]):
    """The remembered nodes behind one tensor, as a graph under construction whose values are known."""

    def __init__(self) -> None:
        self.builder = Builder()
        self.known: dict[Value, Array] = {}
        self.read: dict[Value, T] = {}
        """Tensors that ops have read, where no record made them or they are copies of what it made."""
        self.stale: set[Value] = set()
        """Values whose memory has been written since they were read or made."""
        self.leaves: list[tuple[T, Value]] = []
        self.made: dict[Value, tuple[Record, int]] = {}
        """Which output of which record a value is."""
        self._records: dict[int, str] = {}
        self._ops: dict[str, str] = {}
        """What errors call the nodes of the records."""
        self._sources: dict[tuple[int, int], Value] = {}

    def add(self, record: Record) -> None:
        """Add a record and everything behind it, without recursion."""
        stack = [record]
        while stack:
            top = stack[-1]
            waiting = [source for source, _, _ in top.sources if source is not None and id(source) not in self._records]
            if id(top) in self._records:
                stack.pop()
            elif waiting:
                stack.extend(waiting)
            else:
                stack.pop()
                self._add(top)

    def _add(self, record: Record) -> None:
        inputs = [self._input(record, x, *source) for x, source in zip(record.inputs, record.sources, strict=True)]
        values = self.builder.add(Node(record.op, record.attrs, record.types), inputs, record.op.name)
        self._records[id(record)] = values[0].node
        self._ops[values[0].node] = "a compiled model" if record.op is CALL else record.op.name
        for value, array in zip(values, record.arrays, strict=True):
            self.known[value], self.made[value] = array, (record, value.output)
            if changes.writes.last(array) > record.made:
                self.stale.add(value)

    def _input(self, reader: Record, x: T, source: Record | None, output: int, version: int) -> Value:
        if source is None:
            return self._leaf(x, version)
        return self._as_read(x, self.value(source, output), version, source.made)

    def _as_read(self, x: T, value: Value, version: int, made: int) -> Value:
        """The value that was read: what was made, or what stood there since it was written past the history."""
        past = version > made
        if not past and (value not in self.stale or self.known[value] is x._array or x.version > version):
            return value
        (read,) = self.builder.add(Node(RESHAPE, ShapeAttrs(x.type.shape), (x.type,)), (value,), "before")
        self.known[read], self.read[read] = x._array, x
        if x.version > version:
            self.stale.add(read)
        return read

    def end(self, output: T) -> Value:
        """Where a tensor stands whose gradients are asked for, after everything behind it has been added."""
        record = output._record
        if record is None:
            return self._leaf(output, output.version)
        self.add(record)
        return self.value(record, output._output)

    def places(self, tensors: Sequence[T]) -> list[tuple[T, Value]]:
        """Where those of the tensors stand that have been added."""
        ids = {id(x) for x in tensors}
        made = [
            (x, self.value(x._record, x._output))
            for x in tensors
            if x._record is not None and id(x._record) in self._records
        ]
        return [(leaf, value) for leaf, value in self.leaves if id(leaf) in ids] + made

    def value(self, record: Record, output: int) -> Value:
        """Where an output of a record stands in the graph."""
        return Value(self._records[id(record)], output)

    def _leaf(self, x: T, version: int) -> Value:
        key = (id(x), version)
        if key not in self._sources:
            type_ = x.type
            node = Node(INPUT, TypeAttrs(type_.shape, type_.dtype), (type_,))
            (value,) = self.builder.add(node, (), "x")
            self._sources[key] = value
            self.known[value], self.read[value] = x._array, x
            if x.version != version:
                self.stale.add(value)
            if x._requires_grad and x.is_leaf:
                self.leaves.append((x, value))
        return self._sources[key]

    def check(self, graph: Graph) -> None:
        """Raise where a gradient needs a value that is no longer there."""
        for reader, value in eager.values_read(graph, self.known):
            if value in self.stale:
                needs, made = self._differentiated(graph, reader), self._ops.get(value.node)
                by = "" if made is None else f" that {made} made"
                raise GradientError(
                    f"backward: the gradient of {needs} needs a tensor of type {self.builder.type(value)}{by}, which "
                    f"has been changed in place since{changes.writes.where(self.known[value])}; compute the result "
                    f"again, or make the change after backward"
                )

    def _differentiated(self, graph: Graph, reader: str | None) -> str:
        """The op whose gradient a node belongs to."""
        history = () if reader is None else graph.node(reader).origin.history
        names = [entry.removeprefix("autodiff: ") for entry in history if entry.startswith("autodiff: ")]
        return self._ops[names[0]] if names else "the result"


Run: TypeAlias = Callable[[OpDef, Attrs, tuple[T, ...]], tuple[T, ...]]
"""What runs an op now, and remembers it."""
Made: TypeAlias = Callable[[Array, TensorType, "Record | None", int], T]
"""What makes a tensor around an array."""


class _Asked(Generic[T]):
    """Gradients that are asked for, as a graph.

    Parameters
    ----------
    outputs
        Tensors that require a gradient, and by what each is weighted.
    wanted
        The tensors to tell of, leaves or not; None for all leaves. Those that are not behind the outputs are left out,
        and a leaf stands there once for each value that it had.
    """

    def __init__(self, outputs: Sequence[tuple[T, Array]], wanted: Sequence[T] | None) -> None:
        self.gather = gather = _Gather[T]()
        ends = [gather.end(output) for output, _ in outputs]
        tracer, starts = Tracer(gather.builder), dict[Value, Symbol]()
        self.seeds: list[Value] = []
        for end, (_, seed) in zip(ends, outputs, strict=True):
            symbol = tracer.input(gather.builder.type(end), "seed")
            gather.known[symbol.value] = seed
            self.seeds.append(symbol.value)
            starts[end] = starts[end] + symbol if end in starts else symbol
        places = gather.leaves if wanted is None else gather.places(wanted)
        gradients = emit_gradients(tracer, starts, [value for _, value in places], through=_through(gather, tracer))
        found = [(tensor, g.value) for (tensor, _), g in zip(places, gradients, strict=True) if g is not None]
        self.tensors = [tensor for tensor, _ in found]
        self.graph = gather.builder.finish([value for _, value in found])
        if gather.stale:
            gather.check(self.graph)


def _through(gather: _Gather[T], tracer: Tracer) -> dict[Value, Callable[[Symbol], Symbol]]:
    """What the gradients of values with hooks go through."""
    found: dict[Value, GradientHooks] = {}
    for value, (record, output) in gather.made.items():
        if record.hooks is not None and output in record.hooks:
            found[value] = record.hooks[output]
    found |= {value: leaf._hooks for leaf, value in gather.leaves if leaf._hooks is not None}

    def called(hooks: GradientHooks) -> Callable[[Symbol], Symbol]:
        return lambda gradient: tracer.emit(CALL, CallAttrs(hooks), (gradient,))[0]

    return {value: called(hooks) for value, hooks in found.items() if not hooks.idle}


@collection_paused()
def gradients_of(outputs: Sequence[tuple[T, Array]], wanted: Sequence[T] | None = None) -> list[tuple[T, Array, bool]]:
    """The tensors behind some outputs, their gradients, and whether nobody else has that array; see :class:`_Asked`."""
    asked = _Asked(outputs, wanted)
    arrays = eager.evaluate_from(asked.graph, asked.gather.known)
    return [(tensor, *_pop(arrays)) for tensor in reversed(asked.tensors)]


@collection_paused()
def gradients_with_history(
    outputs: Sequence[tuple[T, T]],
    wanted: Sequence[T] | None,
    run: Run[T],
    made: Made[T],
) -> list[tuple[T, T]]:
    """The same as tensors that have gradients themselves.

    Parameters
    ----------
    outputs, wanted
        As of :func:`gradients_of`, but for the weights, which are tensors.
    run
        Runs an op, and remembers it.
    made
        A tensor of a type around an array, which an output of a record gave if there is one.
    """
    asked = _Asked([(output, seed._array) for output, seed in outputs], wanted)
    gather, graph = asked.gather, asked.graph
    known: dict[Value, T] = {}
    for value, (record, output) in gather.made.items():
        type_ = record.types[output]
        known[value] = made(gather.known[value], type_, record if is_float(type_.dtype) else None, output)
    known |= gather.read | dict(zip(asked.seeds, [seed for _, seed in outputs], strict=True))
    return list(zip(asked.tensors, _replayed(graph, known, run, made), strict=True))


def _replayed(
    graph: Graph,
    known: Mapping[Value, T],
    run: Run[T],
    made: Made[T],
) -> list[T]:
    """The graph's results, computed from the known values op by op."""
    values = dict(known)
    for name in eager.needed(graph, known):
        node = graph.node(name)
        callee = node.attrs.callee if isinstance(node.attrs, CallAttrs) else None
        if callee is not None and not isinstance(callee, GradientHooks):
            raise GradientError(
                "create_graph: what a compiled model gives has no second gradient; ask for it in the model that is "
                "compiled, where lucid.autograd.grad and lucid.grad are recorded too, or call the model itself"
            )
        outputs: tuple[T, ...]
        if callee is not None:
            outputs = callee.replayed([values[value] for value in graph.inputs_of(name)])
        elif isinstance(node.attrs, ConstantAttrs):
            outputs = (made(node.attrs.value.array, node.outputs[0], None, 0),)
        else:
            outputs = run(node.op, node.attrs, tuple([values[value] for value in graph.inputs_of(name)]))
        values |= {Value(name, i): output for i, output in enumerate(outputs)}
    return [values[value] for value in graph.results]
