"""Tracing: a model runs once on :class:`~lucid.tensor.traced.TracedTensor`s, and what it does is recorded.

A :class:`Recorder` is active in its thread while a model is traced. Every op then adds a node instead of
computing; tensors of the model's state become ``Parameter`` nodes that the compiled program reads
afresh, so that nothing they hold is frozen into the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any, Protocol

import numpy as np

from ..base.arrays import Array
from ..base.garbage import collection_paused
from ..errors import TraceError
from ..graph.assume import Assumption, assuming
from ..graph.builder import Builder
from ..graph.dims import Dim
from ..graph.ir import Graph
from ..graph.opdef import Attrs, ConstArray, OpDef
from ..graph.ops.shape import OVERWRITTEN, RESHAPE, STOP_GRADIENT, ShapeAttrs
from ..graph.ops.source import CONSTANT, PARAMETER, ConstantAttrs, ParameterAttrs
from ..graph.region import Recorded
from ..graph.trace import Symbol, Tracer, active_trace, united, user_location
from ..graph.types import TensorType, is_float
from .grad_mode import enable_grad, is_grad_enabled, no_grad
from .tensor import Tensor
from .traced import Memory, TracedTensor

_serials = count(1)


class Observer(Protocol):
    """What watches the code that is traced (see :mod:`lucid.compiler.guards`)."""

    def entered(self, module: object) -> None: ...
    def captured(self, tensor: Tensor) -> None: ...
    def pause(self) -> None: ...
    def go_on(self) -> None: ...


class Recorder:
    """Records one run of a model.

    Parameters
    ----------
    names
        The model's parameters and buffers, by the id of the tensor; other tensors it reads are
        named ``captured.0`` and so on.
    paths
        Module paths by the id of the module, for the nodes' origin.
    watch
        Told of the modules that are entered; not needed while an op is recorded.

    Attributes
    ----------
    state
        The tensors that were read, by name.
    modules
        The modules that were called, by id.
    assumptions
        What has been taken for granted of symbolic sizes.
    """

    def __init__(
        self,
        names: Mapping[int, str] | None = None,
        paths: Mapping[int, str] | None = None,
        watch: Observer | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self.watch = watch
        self.serial = next(_serials)
        self.tracer = self._root = tracer or Tracer(Builder(), locate=True)
        self._repeated = False
        self.names = dict(names or {})
        self.paths = dict(paths or {})
        self.state: dict[str, Tensor] = {}
        self.modules: dict[int, Any] = {}
        self.assumptions: dict[Assumption, None] = {}
        self._lifted: dict[int, tuple[Tensor, Symbol]] = {}
        self._bases: dict[int, tuple[Tensor, Tensor]] = {}
        self._updates: dict[str, Symbol] = {}
        self._memories: dict[int, tuple[Memory, int]] = {}
        """The memory that views share of tensors that are no values of the graph."""

    @contextmanager
    def active(self, grad: bool = True) -> Iterator[Recorder]:
        """While inside, ops of this thread are recorded here.

        Whether gradients are recorded is asked again at each call of the compiled model; while it is traced, ``grad``
        says so.
        """
        token, left = active_trace.set(self), grad
        try:
            with (enable_grad if grad else no_grad)(), collection_paused(), assuming(self.assumptions):
                yield self
                left = is_grad_enabled()
        finally:
            active_trace.reset(token)
        if left != grad:
            raise TraceError(
                "set_grad_enabled() is called in the traced function and not taken back, which later calls of the "
                "compiled one would not do again: write 'with lucid.set_grad_enabled(...):', or call it outside"
            )

    def enter(self, module: object) -> None:
        """The traced code calls a module: what it computes depends on the module's state, and nodes are the module's
        until :meth:`leave`."""
        self.modules.setdefault(id(module), module)
        if self.watch is not None:
            self.watch.pause()
            try:
                self.watch.entered(module)
            finally:
                self.watch.go_on()
        self.tracer.scopes.append(self.paths.get(id(module), ""))

    def leave(self) -> None:
        """The module that was entered last has returned, or raised."""
        self.tracer.scopes.pop()

    def input(self, type_: TensorType, name: str) -> TracedTensor:
        """A new input of the graph."""
        made = TracedTensor(self.tracer.input(type_, name))
        made.shared = f"the caller handed over as {name!r}"
        return made

    def apply(self, op: OpDef, attrs: Attrs, inputs: Sequence[object]) -> tuple[Tensor, ...]:
        """Record one op."""
        if self.watch is None:
            return self._apply(op, attrs, inputs)
        self.watch.pause()
        try:
            return self._apply(op, attrs, inputs)
        finally:
            self.watch.go_on()

    def _apply(self, op: OpDef, attrs: Attrs, inputs: Sequence[object]) -> tuple[Tensor, ...]:
        if op.random:
            outputs: tuple[Symbol, ...] = (self.tracer.own(self._draw(op, attrs)),)
        else:
            outputs = self.tracer.emit(op, attrs, [self.lift(x) for x in inputs])
        if not is_grad_enabled():
            outputs = tuple(
                self.tracer.emit(STOP_GRADIENT, STOP_GRADIENT.attrs(), (y,))[0] if is_float(y.type.dtype) else y
                for y in outputs
            )
        made = tuple(map(TracedTensor, outputs))
        if op.view:
            for x in inputs:
                self.share(x, made)
        return made

    def share(self, x: object, views: Sequence[TracedTensor]) -> None:
        """Note that ``views`` have the memory of ``x``."""
        if isinstance(x, TracedTensor):
            x.memory = memory = x.memory or Memory()
            seen, shared = x.seen, x.shared
        elif isinstance(x, Tensor):
            x = self._bases.get(id(x), (x, x))[1]
            memory, seen = self._memories.setdefault(id(x), (Memory(), 0))
            shared = "" if self._made_here(x) else "shares its memory with a parameter, buffer or tensor from outside"
        else:
            return
        for view in views:
            view.memory, view.seen, view.shared = memory, seen, shared

    def _made_here(self, x: Tensor) -> bool:
        return x.made_in(self.serial) and id(x) not in self.names

    # ------------------------------------------------------------ regions

    def record(self, types: Sequence[TensorType], *functions: Callable[..., Sequence[object]]) -> Recorded:
        """Functions as regions of a node of the graph; one that is handed values is for a loop."""
        regions, captures = united([self._inside(function, types) for function in functions])
        return Recorded(regions, tuple(TracedTensor(x) for x in captures if isinstance(x, Symbol)))

    def _inside(
        self, function: Callable[..., Sequence[object]], types: Sequence[TensorType]
    ) -> tuple[Tracer, Sequence[object]]:
        outside, repeated = self.tracer, self._repeated
        self.tracer = inner = outside.nested()
        self._repeated = repeated or bool(types)
        try:
            given = [TracedTensor(inner.input(type_, f"x{number}")) for number, type_ in enumerate(types)]
            return inner, [self.lift(y) for y in function(*given)]
        finally:
            self.tracer, self._repeated = outside, repeated
            self._lifted = {key: one for key, one in self._lifted.items() if one[1].tracer is not inner}

    def traces(self, symbol: Symbol) -> bool:
        """Whether a symbol is of the graph or region that is recorded, or of one around it."""
        tracer: Tracer | None = self.tracer
        while tracer is not None and tracer is not symbol.tracer:
            tracer = tracer.outer
        return tracer is not None

    def is_own(self, x: Tensor) -> bool:
        """Whether all that depends on a tensor is in the graph or region that is recorded."""
        return self.tracer is self._root or (isinstance(x, TracedTensor) and x.symbol.tracer is self.tracer)

    def refuse_within(self, symbol: Symbol | None, name: str) -> None:
        """Raise where a branch or a loop changes something from outside it."""
        if self.tracer is not self._root and (symbol is None or symbol.tracer is not self.tracer):
            raise TraceError(
                f"{name} within a branch or a loop changes a tensor from outside it ({user_location()}), which a graph "
                f"cannot follow: compute a new tensor and return it"
            )

    def _draw(self, op: OpDef, attrs: Attrs) -> Symbol:
        """A random number: before the branch that reads it."""
        if self._repeated:
            raise TraceError(
                f"random numbers are drawn within a loop ({user_location()}), where each turn would need others: draw "
                f"those of all turns before, and scan over them"
            )
        return self._root.emit(op, attrs)[0]

    def constant(self, array: Array) -> TracedTensor:
        """An array as a value of the graph: the same at every call."""
        return TracedTensor(self.lift(array))

    def as_size(self, x: Tensor) -> tuple[Dim, TracedTensor]:
        """A scalar as a size of its own (see :meth:`lucid.graph.opdef.AbstractTensor.as_size`)."""
        size, count = self.tracer.as_size(self.lift(x))
        return size, TracedTensor(count)

    def lift(self, x: object) -> Symbol:
        """The symbol of whatever an op is applied to."""
        if isinstance(x, TracedTensor):
            if not self.traces(x.symbol):
                raise x.left()
            if x.memory is not None:
                x.memory.check(x.seen, x.type)
            return self.tracer.own(x.symbol)
        if not isinstance(x, Tensor):
            (constant,) = self.tracer.emit(CONSTANT, ConstantAttrs(ConstArray(np.asarray(x))))
            return constant
        if id(x) in self._bases:  # the content as it is by now, without history
            return self.tracer.emit(STOP_GRADIENT, STOP_GRADIENT.attrs(), (self.lift(self._bases[id(x)][1]),))[0]
        if id(x) in self._memories:
            memory, seen = self._memories[id(x)]
            memory.check(seen, x.type)
        if id(x) not in self._lifted:
            self._lifted[id(x)] = (x, self._source(x))
        return self.tracer.own(self._lifted[id(x)][1])

    def read(self, x: Tensor) -> TracedTensor:
        """What a tensor holds at this point of the run, as a value of its own: gradients of the two may differ."""
        y = self.lift(x)
        return TracedTensor(self.tracer.emit(RESHAPE, ShapeAttrs(y.type.shape), (y,))[0])

    def alias(self, x: Tensor, base: Tensor) -> None:
        """Note that ``x``, made while tracing, shares the memory of ``base``, from before."""
        base = self._bases.get(id(base), (x, base))[1]
        if base.is_leaf:
            self._bases[id(x)] = x, base

    def _source(self, x: Tensor) -> Symbol:
        if self._made_here(x):  # made while tracing: the same at every call
            return self.tracer.emit(CONSTANT, ConstantAttrs(ConstArray(x._array)))[0]
        if not x.is_leaf:
            raise TraceError(
                f"a tensor computed outside ({x.type}) is used inside the traced model ({user_location()}); it would "
                f"be frozen at its present value. Pass it as an input, or detach() and keep it as a buffer"
            )
        if self.watch is not None and id(x) not in self.names:
            self.watch.captured(x)
        name = self.names.get(id(x)) or f"captured.{sum(n.startswith('captured.') for n in self.state)}"
        self.state[name] = x
        attrs = ParameterAttrs(x.type.shape, x.type.dtype, name, x.requires_grad)
        return self._root.emit(PARAMETER, attrs, name=name)[0]

    def update(self, target: Tensor, value: Tensor) -> None:
        """Record that every run writes ``value``, of the same type, into ``target``."""
        target = self._bases.get(id(target), (target, target))[1]
        self.refuse_within(None, "a change in place")
        symbol = self.lift(target)
        name = next((n for n, tensor in self.state.items() if tensor is target), None)
        if id(target) in self._memories:
            memory = self._memories[id(target)][0]
            self._memories[id(target)] = memory, memory.write()
        if name is None and self._made_here(target):
            self._lifted[id(target)] = (
                target,
                self.lift(value),
            )  # made in this trace: the new value is what it stands for now
            return
        if name is None:
            raise TraceError(f"only parameters, buffers and captured tensors can be updated ({user_location()})")
        new = kept = self.lift(value)
        if is_float(new.type.dtype):  # the next call knows nothing of this one's history
            (kept,) = self.tracer.emit(STOP_GRADIENT, STOP_GRADIENT.attrs(), (new,))
        if target.requires_grad:
            (new,) = self.tracer.emit(OVERWRITTEN, OVERWRITTEN.attrs(), (kept, symbol))
        self._lifted[id(target)] = (target, new)
        self._updates[name] = kept

    def finish(self, outputs: Sequence[object]) -> Graph:
        """The graph of what was recorded, returning ``outputs``."""
        values = [self.lift(y).value for y in outputs]
        return self.tracer.builder.finish(values, [(name, y.value) for name, y in self._updates.items()])
