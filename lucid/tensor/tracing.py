"""Tracing: a model runs once on :class:`~lucid.tensor.traced.TracedTensor`s, and its operations are recorded.

A :class:`Recorder` is active in its thread while a model is traced. Every op then adds a node instead of
computing; tensors of the model's state become ``Parameter`` nodes, which the compiled program reads at every run, so
that their content is not frozen into the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Any, Protocol
from weakref import ref

import numpy as np

from ..base.arrays import Array
from ..base.garbage import collection_paused
from ..errors import OptionError, TraceError
from ..graph.assume import Assumption, assuming
from ..graph.builder import Builder
from ..graph.dims import Dim
from ..graph.ir import Graph
from ..graph.opdef import Attrs, ConstArray, NoGradient, OpDef
from ..graph.ops.shape import OVERWRITTEN, RESHAPE, STOP_GRADIENT, ShapeAttrs
from ..graph.ops.source import CONSTANT, PARAMETER, ConstantAttrs, ParameterAttrs
from ..graph.region import Recorded
from ..graph.trace import Symbol, Tracer, active_trace, united, user_location
from ..graph.types import TensorType, is_float
from .grad_mode import enable_grad, is_grad_enabled, no_grad
from .memory import Memory, past_history
from .tensor import Tensor
from .traced import TracedTensor
from .traced_layout import (
    computed_layout,
    copied_layout,
    is_in_rows,
    is_surely_view,
    is_view,
    layout_of,
    overlaps,
    part_layout,
    view_layout,
)
from .views import Step, Steps, seen, with_part

_serials = count(1)

_IN_LOOPS = "within a loop, where each iteration needs its own: draw those of all iterations before, and scan over them"


class Observer(Protocol):
    """Watches the traced code (see :mod:`lucid.compiler.guards`)."""

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
        Module paths by the id of the module, for the origin of nodes.
    watch
        Is notified of the modules that are entered; paused while an op is recorded.
    hands_back
        Whether arguments may be changed in place; their new values are then returned to the caller.

    Attributes
    ----------
    state
        The tensors that were read, by name.
    modules
        The modules that were called, by id.
    assumptions
        What the trace relies on about symbolic sizes.
    changed
        After :meth:`finish`, for each argument that was changed in place, by its number, whether that was outside
        ``no_grad``.
    """

    def __init__(
        self,
        names: Mapping[int, str] | None = None,
        paths: Mapping[int, str] | None = None,
        watch: Observer | None = None,
        tracer: Tracer | None = None,
        hands_back: bool = False,
    ) -> None:
        self.hands_back = hands_back
        self.watch = watch
        self.serial = next(_serials)
        self.tracer = self._root = tracer or Tracer(Builder(), locate=True)
        self._refusal = ""
        """Why no random numbers are drawn here, for a message; may be empty."""
        self._drawn: list[Symbol] = []
        self.names = dict(names or {})
        self.paths = dict(paths or {})
        self.state: dict[str, Tensor] = {}
        self.modules: dict[int, Any] = {}
        self.assumptions: dict[Assumption, None] = {}
        self._lifted: dict[int, tuple[Tensor, Symbol]] = {}
        self._bases: dict[int, tuple[Tensor, Tensor]] = {}
        self._updates: dict[str, Symbol] = {}
        self._memories: dict[int, Memory] = {}
        """The memories of tensors that are no values of the graph, by id."""
        self._given: list[tuple[TracedTensor, Symbol]] = []
        self._relied: set[str] = set()
        self.changed: list[tuple[int, bool]] = []

    @contextmanager
    def active(self, grad: bool = True) -> Iterator[Recorder]:
        """While inside, ops of this thread are recorded here.

        ``grad`` is the gradient mode during the trace; each call of the compiled model goes by its own.
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
        """Note that the traced code calls a module, to which nodes belong until :meth:`leave`; the trace then depends
        on the module's state."""
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
        if not self.hands_back:
            made.shared = f"the caller handed over as {name!r}, and would see changed"
        self._memory(made)
        self._given.append((made, made.symbol))
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
            self._share(made[0], op, attrs, inputs)
        elif any(layout_of(x) is not None for x in inputs):
            for y in made:
                y.layout = computed_layout(op, y.type.shape, inputs)
        return made

    def _share(self, view: TracedTensor, op: OpDef, attrs: Attrs, inputs: Sequence[object]) -> None:
        """Note that the result of an op shares the memory of its first input, if it does in PyTorch."""
        x, step = inputs[0], Step(op, attrs, [self.lift(other) for other in inputs[1:]])
        memory, steps = self._memory(x)
        if memory is None:
            return
        view.layout, view.several = view_layout(op, attrs, x), isinstance(x, TracedTensor) and x.several
        apart = isinstance(op.gradient, NoGradient) or not is_grad_enabled()
        if apart and is_float(view.type.dtype):
            view.memory = memory.part((*steps, step), view.symbol)
        elif op is RESHAPE and not is_surely_view(x, view.type.shape):
            view.memory = memory.part(
                (*steps, step), view.symbol, partial(_relying, self._relied, is_view, x, view.type.shape)
            )
        else:
            view.memory, view.steps = memory, (*steps, step)
        view.seen = view.memory.writes

    @property
    def rows(self) -> bool:
        """Whether the trace relies on row-major arguments."""
        return bool(self._relied)

    def _memory(self, x: object) -> tuple[Memory | None, Steps]:
        """The memory of a tensor, and the steps by which the tensor is a view of it."""
        if isinstance(x, TracedTensor):
            self.lift(x)
            if x.memory is None:
                x.memory = Memory(x.symbol, x.shared)
            return x.memory, x.steps
        if not isinstance(x, Tensor):
            return None, ()
        if id(x) not in self._memories:
            base = self._bases.get(id(x), (x, None))[1]
            above = None if base is None else self._memory(base)[0]
            made = StateMemory(self, x) if above is None else above.part((), self.lift(x))
            self._memories[id(x)] = made
        return self._memories[id(x)], ()

    def part(self, view: TracedTensor, x: object, step: Step, see: Callable[[Array], Array], several: bool) -> None:
        """Note that ``view`` shares the memory of ``x``; ``several`` of its elements may share one location."""
        memory, steps = self._memory(x)
        if memory is None:
            return
        view.layout = part_layout(x, see)
        view.memory, view.steps, view.seen = memory, (*steps, step), memory.writes
        view.several = several

    def is_at(self, x: Tensor, key: object, value: object) -> bool:
        """Whether ``value`` is the view ``x[key]`` itself."""
        if not isinstance(value, TracedTensor) or value.memory is None or value.memory is not self._memory(x)[0]:
            return False
        part: object = x[key]
        if not isinstance(part, TracedTensor) or part.memory is not value.memory:
            return False
        return [one.key for one in part.steps] == [one.key for one in value.steps]

    def in_rows(self, x: TracedTensor) -> TracedTensor:
        """The tensor itself if it would be row-major in memory, else a copy."""
        memory, steps = self._memory(x)
        found = self.read(x)
        found.layout = None
        assert memory is not None
        same = Step(RESHAPE, ShapeAttrs(x.type.shape), ())
        found.memory = memory.part((*steps, same), found.symbol, partial(_relying, self._relied, is_in_rows, x))
        return found

    def lies_in_rows(self, x: TracedTensor) -> bool:
        """Whether a tensor would be row-major in memory."""
        found = _relying(self._relied, is_in_rows, x)
        if found is None:
            raise TraceError(f"is_contiguous(): how this tensor lies in memory is not known ({user_location()})")
        return found

    def change(self, x: TracedTensor, name: str, result: Tensor) -> None:
        """Record an in-place change: ``x`` and all tensors that share its memory get a new value."""
        old, new = self.lift(x), self.lift(result)
        if not is_grad_enabled():
            new = past_history(new, old)
        self._refuse(x.shared, name)
        if x.memory is None:
            self.refuse_within(old, name)
            x.symbol = new
            return
        if x.several or overlaps(x):
            raise OptionError(
                f"{name}: several elements of this tensor are one place of memory ({user_location()}); change a "
                f"clone() of it"
            )
        memory = x.memory

        def check(memory: Memory) -> None:
            self._refuse(memory.refusal, name)
            self.refuse_within(memory.value, name)

        memory.writable(check)
        memory.write(with_part(memory.value, x.steps, new), is_grad_enabled())
        x.symbol, x.seen = new, memory.writes

    def gave(self, x: TracedTensor) -> bool:
        """Whether a tensor is an argument."""
        return any(x is one for one, _ in self._given)

    def _refuse(self, why: str, name: str) -> None:
        if why:
            raise TraceError(
                f"{name} changes a tensor in place that {why} ({user_location()}), which this graph does not hand "
                f"back: compute a new tensor (x = x + 1 in place of x += 1, no inplace=True), or change a clone() of it"
            )

    def _made_here(self, x: Tensor) -> bool:
        return x.made_in(self.serial) and id(x) not in self.names

    # ------------------------------------------------------------ regions

    def record(self, types: Sequence[TensorType], *functions: Callable[..., Sequence[object]]) -> Recorded:
        """Record functions as regions of a node; a function that takes values is the body of a loop."""
        refusal = _IN_LOOPS if types else ""
        regions, captures = united([self._inside(function, types, refusal) for function in functions])
        return Recorded(regions, tuple(TracedTensor(x) for x in captures if isinstance(x, Symbol)))

    def record_row(
        self, types: Sequence[TensorType], function: Callable[..., Sequence[object]], refusal: str
    ) -> tuple[Recorded, tuple[bool, ...]]:
        """Record a function of one row of a batch, and for each captured value whether it is a key drawn within.

        ``refusal`` says why there must be none; it may be empty.
        """
        before = len(self._drawn)
        recorded = united([self._inside(function, types, refusal, "vmap maps over")])
        drawn = {self.tracer.own(key).value for key in self._drawn[before:]}
        return recorded, tuple(isinstance(x, Symbol) and x.value in drawn for x in recorded.captures)

    def _inside(
        self, function: Callable[..., Sequence[object]], types: Sequence[TensorType], refusal: str, shared: str = ""
    ) -> tuple[Tracer, Sequence[object]]:
        outside, before = self.tracer, self._refusal
        self.tracer = inner = outside.nested()
        self._refusal = before or refusal
        try:
            given = [TracedTensor(inner.input(type_, f"x{number}")) for number, type_ in enumerate(types)]
            for one in given:
                one.shared = shared
            return inner, [self.lift(y) for y in function(*given)]
        finally:
            self.tracer, self._refusal = outside, before
            self._lifted = {key: one for key, one in self._lifted.items() if one[1].tracer is not inner}

    def traces(self, symbol: Symbol) -> bool:
        """Whether a symbol belongs to the graph or region being recorded, or to one around it."""
        tracer: Tracer | None = self.tracer
        while tracer is not None and tracer is not symbol.tracer:
            tracer = tracer.outer
        return tracer is not None

    def is_own(self, x: Tensor) -> bool:
        """Whether all uses of a tensor are in the graph or region being recorded."""
        return self.tracer is self._root or (isinstance(x, TracedTensor) and x.symbol.tracer is self.tracer)

    def refuse_within(self, symbol: Symbol | None, name: str) -> None:
        """Raise if a branch or a loop changes a value from outside it."""
        if self.tracer is not self._root and (symbol is None or symbol.tracer is not self.tracer):
            raise TraceError(
                f"{name} within a branch, a loop or what vmap maps changes a tensor from outside it "
                f"({user_location()}), which a graph cannot follow: compute a new tensor and return it"
            )

    def _draw(self, op: OpDef, attrs: Attrs) -> Symbol:
        """Draw random numbers; inside a branch, they are drawn before it."""
        if self._refusal:
            raise TraceError(f"random numbers are drawn {self._refusal} ({user_location()})")
        (key,) = self._root.emit(op, attrs)
        self._drawn.append(key)
        return key

    def constant(self, array: Array) -> TracedTensor:
        """An array as a value of the graph: the same at every call."""
        return TracedTensor(self.lift(array))

    def as_size(self, x: Tensor) -> tuple[Dim, TracedTensor]:
        """A scalar as a size of its own (see :meth:`lucid.graph.opdef.AbstractTensor.as_size`)."""
        size, count = self.tracer.as_size(self.lift(x))
        return size, TracedTensor(count)

    def lift(self, x: object) -> Symbol:
        """The symbol of an operand."""
        if isinstance(x, TracedTensor):
            if not self.traces(x.symbol):
                raise x.left()
            if x.memory is not None:
                x.memory.catch_up()
                if x.seen != x.memory.writes:
                    x.symbol, x.seen = seen(x.memory.value, x.steps), x.memory.writes
            return self.tracer.own(x.symbol)
        if not isinstance(x, Tensor):
            (constant,) = self.tracer.emit(CONSTANT, ConstantAttrs(ConstArray(np.asarray(x))))
            return constant
        if id(x) in self._bases:  # its current content, without history
            if id(x) in self._memories:
                self._memories[id(x)].catch_up()
                return self.tracer.own(self._memories[id(x)].value)
            return self.tracer.emit(STOP_GRADIENT, STOP_GRADIENT.attrs(), (self.lift(self._bases[id(x)][1]),))[0]
        if id(x) not in self._lifted:
            self._lifted[id(x)] = (x, self._source(x))
        return self.tracer.own(self._lifted[id(x)][1])

    def read(self, x: Tensor) -> TracedTensor:
        """The current content of a tensor as a new value, whose gradient may differ from the tensor's."""
        y = self.lift(x)
        same = (RESHAPE, ShapeAttrs(y.type.shape)) if is_grad_enabled() else (STOP_GRADIENT, STOP_GRADIENT.attrs())
        made = TracedTensor(self.tracer.emit(*same, (y,))[0])
        made.layout = copied_layout(x)
        return made

    def alias(self, x: Tensor, base: Tensor) -> None:
        """Note that ``x``, created while tracing, shares the memory of ``base``, which may be older."""
        base = self._bases.get(id(base), (x, base))[1]
        if base.is_leaf:
            self._bases[id(x)] = x, base

    def _source(self, x: Tensor) -> Symbol:
        if self._made_here(x):  # created while tracing: a constant
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
        self.refuse_within(None, "a change in place")
        memory, _ = self._memory(target)
        assert memory is not None
        new, old = self.lift(value), self.lift(target)
        memory.writable(lambda _: None)
        memory.write(new if is_grad_enabled() or target.requires_grad else past_history(new, old), is_grad_enabled())

    def write(self, target: Tensor, value: Symbol) -> None:
        """As :meth:`update`, without regard to views."""
        symbol = self.lift(target)
        if self._made_here(target):
            self._lifted[id(target)] = target, value  # made in this trace: the new value is what it stands for now
            return
        name = next((n for n, tensor in self.state.items() if tensor is target), None)
        if name is None:
            raise TraceError(f"only parameters, buffers and captured tensors can be updated ({user_location()})")
        new = kept = value
        if is_float(new.type.dtype):  # the next call knows nothing of this one's history
            (kept,) = self.tracer.emit(STOP_GRADIENT, STOP_GRADIENT.attrs(), (new,))
        if target.requires_grad:
            (new,) = self.tracer.emit(OVERWRITTEN, OVERWRITTEN.attrs(), (kept, symbol))
        self._lifted[id(target)] = (target, new)
        self._updates[name] = kept

    def finish(self, outputs: Sequence[object]) -> Graph:
        """The graph of what was recorded, returning ``outputs``, and then the arguments that were changed in place."""
        values = [self.lift(y).value for y in outputs]
        for i, (x, before) in enumerate(self._given):
            now = self.lift(x).value
            if now != before.value:
                assert x.memory is not None
                values.append(now)
                self.changed.append((i, x.memory.tracked))
        return self.tracer.builder.finish(values, [(name, y.value) for name, y in self._updates.items()])


def _relying(relied: set[str], ask: Callable[..., bool | None], *args: object) -> bool | None:
    """What a question about memory is answered with, which relies on how the arguments lie."""
    relied.add("rows")
    return ask(*args)


class StateMemory(Memory):
    """The memory of a tensor that is no value of the graph: part of the model's state, or made while tracing."""

    def __init__(self, recorder: Recorder, target: Tensor) -> None:
        self._recorder, self._target = ref(recorder), target
        super().__init__(recorder.lift(target))

    @property
    def value(self) -> Symbol:
        return self._of().lift(self._target)

    @value.setter
    def value(self, value: Symbol) -> None:
        self._of().write(self._target, value)

    def _of(self) -> Recorder:
        recorder = self._recorder()
        assert recorder is not None
        return recorder
