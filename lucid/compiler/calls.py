"""Calls of a specialization: choosing the program, and wrapping it as an op that eager code can differentiate."""

from __future__ import annotations

import copy
from collections.abc import Callable, Container, Iterator, Sequence
from functools import cached_property, partial
from typing import Any, TypeAlias

import numpy as np

from ..autodiff.halves import Used, Wanted
from ..base import changes
from ..base.arrays import Array
from ..base.recent import Recent
from ..errors import GradientError
from ..graph.ir import Value
from ..graph.ops.call import CALL, BackwardCallee, CallAttrs
from ..graph.types import TensorType
from ..runtime.eager import evaluate
from ..tensor.grad_mode import is_grad_enabled
from ..tensor.tensor import Record, Tensor
from ..tensor.views import copied
from .programs import PLANS, Program
from .results import Results, check_arguments
from .sizes import Orders, Sizes, orders_of
from .specialization import Specialization

OfTensors: TypeAlias = "Callable[..., object]"


class Calls:
    """Calls a specialization, and remembers the run for each kind of arguments.

    The specialization holds no reference back, so both are freed as soon as they are unused.

    Attributes
    ----------
    specialization
        What is called.
    """

    def __init__(self, specialization: Specialization) -> None:
        self.specialization = specialization
        self._known: Recent[Any, Forward] = Recent(PLANS)

    def prepare(self, leaves: Sequence[Any]) -> tuple[Forward, list[Tensor], list[Array]]:
        """The run for these tensors or arrays; and they themselves, as tensors and as arrays."""
        results = self.specialization.results
        if results.changed or results.rows:
            check_arguments(results, leaves, self.specialization.state.values())
        tensors = [leaf if isinstance(leaf, Tensor) else Tensor.wrap(leaf) for leaf in leaves]
        arrays = [t._array for t in tensors]
        wanted = tuple(t.requires_grad for t in tensors)
        orders = orders_of(arrays)
        key = (tuple(a.shape for a in arrays), tuple(a.dtype for a in arrays), wanted, is_grad_enabled(), orders)
        call = self._known.use(key)
        if call is None:
            call = self._forward(arrays, wanted, orders)
            self._known.keep(key, call)
        if call.tracked:
            # backward reads the arguments again: a tensor detects that it was changed meanwhile, an array is copied
            pairs = zip(leaves, tensors, strict=True)
            tensors = [t if leaf is t else Tensor.wrap(np.array(leaf)) for leaf, t in pairs]
            for i, _ in results.changed:
                tensors[i] = tensors[i].clone() if tensors[i].is_leaf else copied(tensors[i])
            arrays = [t._array for t in tensors]
        return call, tensors, arrays

    def _recorded(self) -> bool:
        return is_grad_enabled() or self.specialization.of_mode

    def result(self, outputs: Sequence[Tensor], leaves: Sequence[object]) -> Any:
        """The outputs of a run on ``leaves``, in the structure that the model returns."""
        results = self.specialization.results
        return outputs[0] if results.alone else results.of(outputs, leaves)

    def of_tensors(self, call: Forward) -> OfTensors | None:
        """A shortcut for further calls with tensors; None if a call has effects besides its results.

        If the results have gradients, there is a shortcut only for one tensor with one result.
        """
        made = self.specialization
        if made.traced.updates or made.found or any(call.wanted) or made.results.changed or made.results.rows:
            return None
        alone = made.results.alone and len(call.wanted) == 1
        if not call.tracked:
            return call.run_one if alone else partial(call.run_all, made.results)
        if not alone:
            return None
        # attributes that refer to the call are kept here: kept by the call, they would be a cycle
        return partial(call.run_recorded, CallAttrs(call), made.traced.input_types[0].bind(dict(call.sizes)))

    def _forward(self, arrays: Sequence[Array], wanted: Wanted, orders: Orders) -> Forward:
        made = self.specialization
        sizes = made.sizes(arrays)
        tracked = self._recorded() and any(made.halves.differentiable(wanted))
        keeping = tracked and (made.training or not made.repeatable) and made.options.backend is None
        if made.found:
            return _Unsized(made, sizes, wanted, orders, tracked, keeping=False)
        return Forward(made, sizes, wanted, orders, tracked, keeping)


class Forward:
    """A run for given sizes: the callee of a ``Call`` node, with a backward run (:class:`~.graph.ops.call.Callee`)."""

    name = "a compiled model"

    def __init__(
        self, owner: Specialization, sizes: Sizes, wanted: Wanted, orders: Orders, tracked: bool, keeping: bool
    ) -> None:
        self.owner, self.sizes, self.wanted, self.keeping, self.tracked = owner, sizes, wanted, keeping, tracked
        self.results = len(owner.traced.outputs)
        self.program = self._program(orders)
        self.updates = 0 if owner.in_place else len(owner.traced.updates)
        self.all_types = tuple(t.with_order(None) for t in self.program.output_types)
        self.names = (*owner.trainable, *(name for name in owner.traced.parameters if name not in owner.trainable))
        self.parameters = [owner.state[name] for name in self.names]  # also those that only backward reads
        self.differentiable = owner.halves.differentiable(wanted)
        self._sources: tuple[int, tuple[tuple[None, int, int], ...]] = (-1, ())
        self.before: dict[str, Array] = {}
        """State that a run has overwritten and its backward run reads, by name."""

    def _program(self, orders: Orders) -> Program:
        kind, wanted = ("forward", self.wanted) if self.keeping else ("inference", ())
        return self.owner.program(kind, self.sizes, wanted, orders)

    def output_types(self, inputs: Sequence[TensorType]) -> tuple[TensorType, ...]:
        return self.all_types

    def __call__(self, *arrays: Array) -> tuple[Array, ...]:
        """Run on the arrays of the inputs. Those of the state follow and are ignored: the state itself is read."""
        inputs = arrays[: len(self.wanted)]
        return self.owner.run(self._program(orders_of(inputs)), inputs)

    def run(self, tensors: Sequence[Tensor], arrays: Sequence[Array]) -> Sequence[Tensor]:
        before = {name: self.owner.state[name]._array.copy() for name in self.rewritten} if self.tracked else {}
        produced = self.owner.run(self.program, arrays)
        if self.updates:
            self.owner.update_state(produced[-self.updates :])
            produced = produced[: -self.updates]
        if not self.tracked:
            return [Tensor.wrap(array) for array in produced]
        call = self
        if before:
            call = copy.copy(self)
            call.before = before
        return call._recorded(tensors, produced)

    @cached_property
    def rewritten(self) -> tuple[str, ...]:
        """Names of the state that a run overwrites and its backward run reads."""
        updated = [name for name, _ in self.owner.traced.updates] if self.updates else []
        if not updated or not any(self.differentiable):
            return ()
        half = self.owner.halves.backward(self.wanted, self.differentiable, self.keeping)
        return tuple(name for name in updated if name in half.graph.parameters)

    def _recorded(self, tensors: Sequence[Tensor], produced: tuple[Array, ...]) -> list[Tensor]:
        """The outputs of a run, as tensors that have gradients."""
        held = [
            Tensor.wrap(self.before[name]) if name in self.before and not x.requires_grad else x
            for name, x in zip(self.names, self.parameters, strict=True)
        ]
        record = Record.of(CALL, CallAttrs(self), (*tensors, *held), produced, self.all_types)
        return [self._result(record, i) for i in range(self.results)]

    def _result(self, record: Record, index: int) -> Tensor:
        array, type_ = record.arrays[index], self.all_types[index]
        return Tensor.made(array, type_, record, index) if self.differentiable[index] else Tensor.made(array, type_)

    def run_one(self, x: Array | Tensor) -> Tensor:
        """As :meth:`Calls.prepare` and :meth:`run`, for a call that differs from an earlier one in values only."""
        array = x._array if isinstance(x, Tensor) else x
        return Tensor.made(self.owner.run(self.program, (array,))[0], self.all_types[0])

    def run_recorded(self, attrs: CallAttrs, takes: TensorType, x: Array | Tensor) -> Tensor:
        """As :meth:`run_one`, for a result that has a gradient."""
        version = 0
        if isinstance(x, Tensor):
            version = x.version
        else:
            x = Tensor.made(np.array(x), takes)
        now, sources = self._sources
        if now != changes.of_contents.now:
            now = changes.of_contents.now
            sources = tuple((None, 0, p.version) for p in self.parameters)
            self._sources = now, sources
        produced = self.owner.run(self.program, (x._array,))
        sources = ((None, 0, version), *sources)
        record = Record(CALL, attrs, (x, *self.parameters), sources, now, tuple(produced), self.all_types)
        return self._result(record, 0)

    def run_all(self, results: Results, *leaves: Array | Tensor) -> object:
        """As :meth:`run_one`, for several tensors or results."""
        produced = self.owner.run(self.program, [x._array if isinstance(x, Tensor) else x for x in leaves])
        made = [Tensor.made(array, type_) for array, type_ in zip(produced, self.all_types, strict=True)]
        return made[0] if results.alone else results.of(made, leaves)

    def backward(self, used: Used) -> _Backward:
        if self.owner.options.backend is not None:
            raise GradientError(str(self.owner.options.refusal("gradient")))
        return _Backward(self, used)


class _Unsized(Forward):
    """A run with data-dependent sizes: its results differ in type from run to run, and backward recomputes it."""

    def _recorded(self, tensors: Sequence[Tensor], produced: tuple[Array, ...]) -> list[Tensor]:
        sized = copy.copy(self)
        sized.all_types = tuple(
            TensorType(y.shape, type_.dtype) for y, type_ in zip(produced, self.all_types, strict=True)
        )
        return super(_Unsized, sized)._recorded(tensors, produced)

    def backward(self, used: Used) -> _Backward:
        if not self.owner.repeatable:
            raise GradientError(
                "data decides sizes of this model, so its gradient computes all again, and it would draw other random "
                "numbers: put it into evaluation mode, or pass what is drawn in"
            )
        return super().backward(used)


class _Backward:
    """The gradient of a run, for cotangents of some results (see :class:`lucid.graph.ops.call.BackwardCallee`)."""

    name = "a compiled model"

    results = 0

    def __init__(self, forward: Forward, used: Used) -> None:
        self.forward, self.used = forward, used
        owner = forward.owner
        self.kind = "backward" if forward.keeping else "recompute"
        half = owner.halves.backward(forward.wanted, used, forward.keeping)
        self.kept = half.kept
        nodes = owner.traced.parameters
        sources = [*owner.traced.inputs, *(nodes[name] for name in forward.names)]
        self.reached = tuple(name in half.wanted for name in sources)
        self.reads = tuple(self._reads(half.graph.parameters))

    def _reads(self, parameters: Container[str]) -> Iterator[bool]:
        """Whether the backward run reads each of the inputs, the state and the outputs of the forward run."""
        f = self.forward
        yield from (not f.keeping or ("input", i) in self.kept for i in range(len(f.wanted)))
        yield from (name in parameters for name in f.names)
        yield from (f.keeping and ("output", i) in self.kept for i in range(len(f.all_types)))

    def output_types(self, inputs: Sequence[TensorType]) -> tuple[TensorType, ...]:
        f = self.forward
        given = [type_.bind(dict(f.sizes)).with_order(None) for type_ in f.owner.traced.input_types]
        arguments = (*given, *(tensor.type for tensor in f.parameters))
        return tuple(type_ for type_, reached in zip(arguments, self.reached, strict=True) if reached)

    def __call__(self, *arrays: Array) -> tuple[Array, ...]:
        f = self.forward
        cotangents, rest = arrays[: sum(self.used)], iter(arrays[sum(self.used) :])
        values: list[Any] = [next(rest) if read else None for read in self.reads]
        inputs, outputs = values[: len(f.wanted)], values[len(self.reached) :]
        seeds = self._seeds(cotangents)
        if f.keeping:
            feeds = [*seeds, *((inputs if source == "input" else outputs)[i] for source, i in self.kept)]
        else:
            feeds = [*inputs, *seeds]
        if f.before:  # not by a program: that would read the state as it is now
            graph = f.owner.halves.backward(f.wanted, self.used, f.keeping).graph.bind(dict(f.sizes))
            held = {name: f.owner.state[name]._array for name in graph.parameters}
            return tuple(evaluate(graph, feeds, held | f.before))
        run = f.owner.program(self.kind, f.sizes, f.wanted, orders_of(feeds), self.used)
        return f.owner.run(run, feeds)

    def _seeds(self, cotangents: Sequence[Array]) -> list[Array]:
        """One cotangent for each distinct output that is used, in the order of the outputs."""
        outputs = self.forward.owner.traced.outputs
        given = iter(cotangents)
        found = [(value, next(given)) for value, use in zip(outputs, self.used, strict=True) if use]
        seeds: dict[Value, Array] = {}
        for value, cotangent in sorted(found, key=lambda one: outputs.index(one[0])):
            seeds[value] = seeds[value] + cotangent if value in seeds else cotangent
        return list(seeds.values())

    def backward(self, used: Used) -> BackwardCallee:
        raise GradientError(
            "the backward run of a compiled model has no gradient of its own; "
            "use lucid.grad inside the compiled function"
        )
