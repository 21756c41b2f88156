"""How tensors record the operations that computed them, and how gradients are computed from these records."""

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
from .hooks import GradientHooks, TensorCallee

eager = LazyModule("lucid.runtime.eager")


class _Held(Protocol):
    """The attributes of a tensor that this module uses."""

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
    """The op that computed a tensor, with its inputs and the arrays of its outputs (no tensors, to avoid cycles).

    ``sources`` holds for each input its record (None for a leaf), which output of that it was, and its version, all at
    the time of the op: an input that is changed in place later has other ones. ``made`` is the time of the record.
    """

    op: OpDef
    attrs: Attrs
    inputs: tuple[Any, ...]
    sources: tuple[tuple[Record | None, int, int], ...]
    made: int
    arrays: tuple[Array, ...]
    types: tuple[TensorType, ...]
    hooks: dict[int, GradientHooks] | None = None
    """Hooks of the gradients of outputs, by the number of the output."""

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
    """The last of the arrays, the number of references to it, and that of references to the owner of its memory."""
    array = arrays.pop()
    owner = array.base
    return array, getrefcount(array), getrefcount(owner)


_ALONE = _counts([np.empty((2, 2))])[1]
_OWNER_ALONE = _counts([np.empty((2, 2)).T])[2]
"""These counts if there are no other references; they differ between versions of Python."""


def _pop(arrays: list[Array]) -> tuple[Array, bool]:
    """The last of the arrays, and whether nothing else refers to it or to its memory."""
    array, count, owners = _counts(arrays)
    owner: object = array.base
    own = count <= _ALONE
    if owner is not None:
        own = own and isinstance(owner, np.ndarray) and owner.nbytes == array.nbytes and owners <= _OWNER_ALONE
    return array, own


def borrows_memory(array: Array) -> bool:
    """Whether the memory of an array is owned by another array that is referred to elsewhere."""
    return isinstance(array.base, np.ndarray) and getrefcount(array.base) > _BASE_ALONE


_BASE_ALONE = (lambda array: getrefcount(array.base))(np.empty((2, 2)).T)
"""This count if there are no other references."""


class _Gather(Generic[T]):
    """The recorded ops behind some tensors, as a graph under construction whose values are known."""

    def __init__(self) -> None:
        self.builder = Builder()
        self.known: dict[Value, Array] = {}
        self.read: dict[Value, T] = {}
        """Tensors that ops have read, if they are leaves or were written since their record."""
        self.stale: set[Value] = set()
        """Values whose memory has been written since they were read or computed."""
        self.leaves: list[tuple[T, Value]] = []
        self.made: dict[Value, tuple[Record, int]] = {}
        """The record of a value, and which output of it that is."""
        self._records: dict[int, str] = {}
        """The nodes of the records, by their ids."""
        self._ops: dict[str, str] = {}
        """The names of the records' nodes in error messages."""
        self._sources: dict[tuple[int, int], Value] = {}
        """The values of leaves, by the tensor's id and its version."""

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
        called = record.attrs.callee if isinstance(record.attrs, CallAttrs) else record.op
        self._ops[values[0].node] = called.name
        for value, array in zip(values, record.arrays, strict=True):
            self.known[value], self.made[value] = array, (record, value.output)
            if changes.writes.last(array) > record.made:
                self.stale.add(value)

    def _input(self, reader: Record, x: T, source: Record | None, output: int, version: int) -> Value:
        if source is None:
            return self._leaf(x, version)
        return self._as_read(x, self.value(source, output), version, source.made)

    def _as_read(self, x: T, value: Value, version: int, made: int) -> Value:
        """The value that was read: that of the record, or the content after a write that is not in the history."""
        overwritten = version > made
        if not overwritten and (value not in self.stale or self.known[value] is x._array or x.version > version):
            return value
        (read,) = self.builder.add(Node(RESHAPE, ShapeAttrs(x.type.shape), (x.type,)), (value,), "before")
        self.known[read], self.read[read] = x._array, x
        if x.version > version:
            self.stale.add(read)
        return read

    def end(self, output: T) -> Value:
        """The value of a tensor to differentiate; everything behind it is added first."""
        record = output._record
        if record is None:
            return self._leaf(output, output.version)
        self.add(record)
        return self.value(record, output._output)

    def places(self, tensors: Sequence[T]) -> list[tuple[T, Value]]:
        """Those of the tensors that have been added, with their values."""
        ids = {id(x) for x in tensors}
        made = [
            (x, self.value(x._record, x._output))
            for x in tensors
            if x._record is not None and id(x._record) in self._records
        ]
        return [(leaf, value) for leaf, value in self.leaves if id(leaf) in ids] + made

    def value(self, record: Record, output: int) -> Value:
        """The value of an output of a record."""
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
        """Raise if a gradient needs a value that has been overwritten."""
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
"""Runs an op eagerly, and records it."""
Made: TypeAlias = Callable[[Array, TensorType, "Record | None", int], T]
"""Makes a tensor around an array: of a type, and an output of a record if there is one."""


class _GradientGraph(Generic[T]):
    """A graph that computes gradients of some tensors.

    Parameters
    ----------
    outputs
        Tensors that require a gradient, each with its cotangent.
    wanted
        The tensors to differentiate with respect to, leaves or not; None for all leaves. Those on which the outputs do
        not depend are left out, and a leaf occurs once for each value that it had.

    Attributes
    ----------
    graph
        Its results are the gradients of ``tensors``.
    gather
        The graph's known values.
    seeds
        The values of the cotangents.
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
    """For each value with hooks, the function through which its gradient passes."""
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
    """For each tensor that is differentiated: itself, its gradient, and whether nothing else refers to that array.

    Parameters are those of :class:`_GradientGraph`.
    """
    backward = _GradientGraph(outputs, wanted)
    arrays = eager.evaluate_from(backward.graph, backward.gather.known)
    return [(tensor, *_pop(arrays)) for tensor in reversed(backward.tensors)]


@collection_paused()
def gradients_with_history(
    outputs: Sequence[tuple[T, T]],
    wanted: Sequence[T] | None,
    run: Run[T],
    made: Made[T],
) -> list[tuple[T, T]]:
    """As :func:`gradients_of`, with gradients as tensors that have a history themselves.

    Parameters
    ----------
    outputs, wanted
        As for :func:`gradients_of`, but cotangents are tensors.
    run
        Runs an op, and records it.
    made
        Makes a tensor around an array: of a type, and an output of a record if there is one.
    """
    backward = _GradientGraph([(output, seed._array) for output, seed in outputs], wanted)
    gather, graph = backward.gather, backward.graph
    known: dict[Value, T] = {}
    for value, (record, output) in gather.made.items():
        type_ = record.types[output]
        known[value] = made(gather.known[value], type_, record if is_float(type_.dtype) else None, output)
    known |= gather.read | dict(zip(backward.seeds, [seed for _, seed in outputs], strict=True))
    return list(zip(backward.tensors, _replayed(graph, known, run, made), strict=True))


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
        if callee is not None and not isinstance(callee, TensorCallee):
            raise GradientError(
                "create_graph: what a compiled model gives has no second gradient; ask for it in the model that is "
                "compiled, where lucid.autograd.grad and lucid.grad are recorded too, or call the model itself"
            )
        outputs: tuple[T, ...]
        if callee is not None:
            outputs = callee.call_on_tensors([values[value] for value in graph.inputs_of(name)])
        elif isinstance(node.attrs, ConstantAttrs):
            outputs = (made(node.attrs.value.array, node.outputs[0], None, 0),)
        else:
            outputs = run(node.op, node.attrs, tuple([values[value] for value in graph.inputs_of(name)]))
        values |= {Value(name, i): output for i, output in enumerate(outputs)}
    return [values[value] for value in graph.results]
