"""The graph of a training step: forward, loss, backward and update."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from functools import reduce
from itertools import starmap
from operator import add
from typing import TypeAlias

import numpy as np

from ..autodiff.reverse import emit_gradients
from ..base.garbage import collection_paused
from ..base.structs import struct
from ..distributed.exchange import FLAGS, Bucket
from ..errors import GradientError
from ..graph.builder import Builder
from ..graph.ir import Graph, Value
from ..graph.opdef import AbstractTensor, ParameterAttrs
from ..graph.ops.composite import isfinite
from ..graph.ops.elementwise import maximum, minimum, sqrt
from ..graph.ops.expect import expect
from ..graph.ops.promotion import cast
from ..graph.ops.shape import stop_gradient
from ..graph.ops.source import PARAMETER, full
from ..graph.trace import Symbol, Tracer
from ..graph.types import float64
from ..optim.optimizer import Group, Optimizer
from ..tensor.tensor import Tensor
from .accumulated import Accumulated
from .step_average import Averages
from .step_form import Form
from .step_sums import Place, Sums, averaged

NOT_FINITE = "the loss or a gradient is not finite"
"""The message of a step that detects this."""

Gradients: TypeAlias = "dict[Tensor, AbstractTensor]"
"""Gradients of the loss, by parameter."""


@struct
class Holders:
    """What the graph of a step reads besides the model, and which parameters it has gradients for.

    Attributes
    ----------
    scalars
        The numbers that may change between calls, by name in the graph: the parameter group (None for the step itself)
        and the name of the number.
    slots
        The optimizer's state by name in the graph: the parameter, the number of its group and the name of the slot.
    params
        The parameters of the optimizer.
    given
        Those on which the loss depends.
    missing
        Those that require a gradient, but on which the loss does not depend.
    added
        Those whose gradients are summed over the ranks of a group.
    buckets, plain
        The sums over ranks: all of them, and those of anything but gradients.
    """

    scalars: dict[str, tuple[int | None, str]] = field(default_factory=dict)
    slots: dict[str, tuple[Tensor, int, str]] = field(default_factory=dict)
    params: list[Tensor] = field(default_factory=list)
    given: frozenset[int] = frozenset()
    missing: Sequence[Tensor] = ()
    added: frozenset[int] = frozenset()
    buckets: Sequence[Bucket] = ()
    plain: Sequence[Bucket] = ()


@collection_paused()
def step_graph(
    graph: Graph, state: dict[str, Tensor], optimizer: Optimizer, form: Form, accumulated: Accumulated,
    named: Mapping[int, str], metrics: int = 0, averages: Averages | None = None,
) -> tuple[Graph, Holders]:  # fmt: skip
    """The graph of a step, made from that of the model and its loss.

    Parameters
    ----------
    graph
        As recorded; its first output is the loss.
    state
        The tensors behind the graph's parameters, by name; those that the step reads in addition are added.
    optimizer, form
        How parameters are updated.
    accumulated
        The sums of gradients of earlier calls.
    named
        The names of the parameters in the model, by ``id``.
    metrics
        How many of the last outputs are metrics.
    averages
        The averages of the weights, which are updated too.

    Returns
    -------
    The graph, and what it reads besides the model.
    """
    return _Writer(graph, state, optimizer, form, accumulated, named).written(metrics, averages)


class _Writer:
    def __init__(
        self, graph: Graph, state: dict[str, Tensor], optimizer: Optimizer, form: Form, accumulated: Accumulated,
        named: Mapping[int, str],
    ) -> None:  # fmt: skip
        self.graph, self.state, self.optimizer, self.form, self.accumulated = graph, state, optimizer, form, accumulated
        self.tracer = Tracer(Builder.extending(graph))
        params = [p for group in optimizer.param_groups for p in group["params"]]
        self.holders = Holders(params=params)
        self.updates: list[tuple[str, Value]] = list(graph.updates)
        self.names = {id(tensor): name for name, tensor in state.items()}
        self.known = {name: self.tracer.symbol(Value(node)) for name, node in graph.parameters.items()}
        prefix = "optimizer"
        while any(name.startswith(f"{prefix}.") for name in state):
            prefix += "_"
        self.prefix = prefix
        self.symbols = {p: self.known[self.names[id(p)]] for p in params if self.names.get(id(p)) in self.known}
        for p in params:
            if id(p) in form.gathered | form.also and p not in self.symbols:  # the loss of another call uses it
                self.names[id(p)] = named.get(id(p), f"{prefix}.parameter")
                self.symbols[p] = self._held(self.names[id(p)], p)

    def written(self, metrics: int, averages: Averages | None) -> tuple[Graph, Holders]:
        gradients = self._gradients()
        found = {p: g for p, g in gradients.items() if g is not None}
        self.holders.missing = [p for p, g in gradients.items() if g is None]
        if not found:
            raise GradientError(
                "a training step: the loss does not depend on any parameter of the optimizer that requires a gradient"
            )
        self.holders.given = frozenset(map(id, found))
        loss = self.graph.outputs[0] if not self.form.finite else self._finite(found.values())
        found = self._gathered(found)
        values: Sequence[Value] = (loss, *self.graph.outputs[1:])
        if self.form.place is not None:
            found, values = self._over_ranks(self.form.place, found, values, metrics)
        if self.form.updates:
            found = self._clipped(found)
            for number, group in enumerate(self.optimizer.param_groups):
                self._group(number, group, found)
            if averages is not None:
                self._average(averages)
        outputs = [stop_gradient(self.tracer.symbol(value)).value for value in values]
        return self.tracer.builder.finish(outputs, self.updates, self.graph.names), self.holders

    def _gradients(self) -> dict[Tensor, AbstractTensor | None]:
        """Gradients of the loss by parameter of the optimizer; None if the loss does not depend on it."""
        members = [member for members in self.form.members for member in members]
        wanted = [p for p, member in zip(self.holders.params, members, strict=True) if member.trains]
        read = [p for p in wanted if self.names.get(id(p)) in self.graph.parameters]
        written = {label for label, _ in self.graph.updates}
        for p in read:
            if self.names[id(p)] in written:
                raise GradientError(f"a training step: the model writes its parameter {self.names[id(p)]!r} itself")
        loss = self.tracer.symbol(self.graph.outputs[0])
        ranks = 1 if self.form.place is None else self.form.place.size
        seeds = {loss.value: full(loss, 1 / (self.form.share * ranks))}
        found = emit_gradients(self.tracer, seeds, [self.symbols[p].value for p in read])
        return dict.fromkeys(wanted) | dict(zip(read, found, strict=True))

    def _finite(self, gradients: Iterable[AbstractTensor]) -> Value:
        """The loss, behind a check that it and all gradients are finite."""
        loss = self.tracer.symbol(self.graph.outputs[0])
        zeros = [cast((x * 0).sum(), float64) for x in (loss, *gradients)]  # NaN where x is not finite
        return _value(expect(loss, isfinite(reduce(add, zeros)), True, NOT_FINITE))

    # ------------------------------------------------------------ what is read

    def _parameter(self, name: str, tensor: Tensor) -> Symbol:
        """A tensor of the step's own as a parameter of the graph."""
        return self._held(f"{self.prefix}.{name}", tensor)

    def _held(self, name: str, tensor: Tensor) -> Symbol:
        while name in self.state:
            name += "_"
        self.state[name] = tensor
        attrs = ParameterAttrs(tensor.type.shape, tensor.type.dtype, name, False)
        made = self.known[name] = self.tracer.emit(PARAMETER, attrs, name=name)[0]
        return made

    def _scalar(self, group: int | None, name: str) -> Symbol:
        """A number that may change between calls."""
        symbol = self._parameter(name if group is None else f"{group}.{name}", Tensor(np.zeros((), float64)))
        self.holders.scalars[self._called(symbol)] = group, name
        return symbol

    def _called(self, symbol: AbstractTensor) -> str:
        attrs = self.tracer.builder.dag.nodes[_value(symbol).node]["node"].attrs
        assert isinstance(attrs, ParameterAttrs)
        return attrs.name

    def _update(self, old: AbstractTensor, new: AbstractTensor) -> None:
        self.updates.append((self._called(old), _value(new)))

    # ------------------------------------------------------------ gradients

    def _gathered(self, gradients: Mapping[Tensor, AbstractTensor]) -> Gradients:
        """The gradients plus those of earlier calls; kept for later calls if there is no update yet."""
        form = self.form
        if form.share == 1:
            return dict(gradients)
        found: Gradients = {}
        for p in self.holders.params:
            g, gathered = gradients.get(p), id(p) in form.gathered
            if g is None and not gathered:
                continue
            if gathered and self.accumulated.sums[p].type != p.type:
                raise GradientError(f"a training step: a parameter is {p.type} now, its gradients were of another type")
            held = self._parameter(f"{self.names[id(p)]}.grad", self.accumulated.hold(p))
            found[p] = held if g is None else held + g if gathered else g
            if g is not None and not form.updates:
                self._update(held, found[p])
        return found

    def _over_ranks(
        self, place: Place, gradients: Gradients, values: Sequence[Value], metrics: int
    ) -> tuple[Gradients, Sequence[Value]]:
        """The sums of the gradients over all ranks, and the outputs with means of the loss and the metrics.

        Updates of the model's buffers become those of rank 0.
        """
        sums = Sums(place, FLAGS)
        written = {label: self.tracer.symbol(value) for label, value in self.graph.updates}  # by the model
        floats = {label: new for label, new in written.items() if averaged(new)}
        firsts = dict(zip(floats, sums.of_first(list(floats.values())), strict=True))
        self.updates = [(label, _value(firsts[label]) if label in firsts else value) for label, value in self.updates]
        self.holders.plain = list(sums.buckets)
        found: Gradients = {}
        if self.form.updates:
            order = [p for p in reversed(self.holders.params) if p in gradients or id(p) in self.form.also]
            own = [gradients[p] if p in gradients else full(self.symbols[p], 0) for p in order]
            found = dict(zip(order, sums.of(own), strict=True))
            self.holders.added = frozenset(map(id, found))
        symbols = [self.tracer.symbol(value) for value in values]
        told = [i for i, x in enumerate(symbols) if i == 0 or (i >= len(symbols) - metrics and averaged(x))]
        means = dict(zip(told, sums.last([symbols[i] for i in told]), strict=True))
        self.holders.buckets = sums.buckets
        self.holders.plain = [*self.holders.plain, sums.buckets[-1]]
        return found, [_value(means[i]) if i in means else value for i, value in enumerate(values)]

    def _clipped(self, gradients: Gradients) -> Gradients:
        by_value, by_norm = self.form.clips
        if by_value:
            most = self._scalar(None, "clip_grad")
            gradients = {p: _clamped(g, cast(most, g.type.dtype)) for p, g in gradients.items()}
        if by_norm:
            most = self._scalar(None, "clip_norm")
            norm = sqrt(reduce(add, (_squares(g) for g in gradients.values())))
            scale = minimum(most / (norm + 1e-6), 1.0)
            gradients = {p: g * cast(scale, g.type.dtype) for p, g in gradients.items()}
        return gradients

    # ------------------------------------------------------------ updates

    def _group(self, number: int, group: Group, gradients: Mapping[Tensor, AbstractTensor]) -> None:
        """The updates of a parameter group. Coefficients are computed once per cohort."""
        optimizer, flags = self.optimizer, dict(self.form.flags[number])
        cohorts: dict[int, list[Tensor]] = {}
        for p, member in zip(group["params"], self.form.members[number], strict=True):
            if member.cohort is not None and p in gradients:
                cohorts.setdefault(member.cohort, []).append(p)
        scalars = {name: self._scalar(number, name) for name in optimizer.scalars(group)} if cohorts else {}
        for params in cohorts.values():
            counts = [self._slots(p, number, ("step", *optimizer.carried)) for p in params]
            step = counts[0]["step"] + 1
            values = optimizer.coefficients(step, {**scalars, **{k: counts[0][k] for k in optimizer.carried}})
            for count in counts:
                for name, old in count.items():
                    self._update(old, step if name == "step" else values[name])
            for p in params:
                self._one(p, number, gradients[p], {**values, **flags}, flags)

    def _one(
        self, p: Tensor, group: int, g: AbstractTensor, values: Mapping[str, object], flags: Mapping[str, int]
    ) -> None:
        hyper = {k: cast(v, p.type.dtype) if isinstance(v, Symbol) else v for k, v in values.items()}
        old = self.symbols[p]
        slots = self._slots(p, group, self.optimizer.shapes_of(flags, p.shape))
        new, changed = self.optimizer.update(old, g, slots, hyper)
        for slot, value in changed.items():
            self._update(slots[slot], value)
        self._update(old, new)

    def _average(self, averages: Averages) -> None:
        """The updates of the averages, from the weights as they are after their update."""
        now = {label: self.tracer.symbol(value) for label, value in self.updates}
        count = self._parameter("average.n_averaged", averages.of.n_averaged)

        def found(old: Tensor, of: Tensor) -> tuple[Symbol, Symbol]:
            label = self.names.get(id(of), "")
            value = now.get(label, self.known.get(label))
            value = self._parameter("average.of", of) if value is None else value
            return self._parameter(f"average.{label}", old), value

        for old, value in starmap(found, averages.averaged):
            self._update(old, averages.new(old, value, count))
        for old, value in starmap(found, averages.copied):
            self._update(old, cast(value, old.type.dtype))
        self._update(count, count + 1)

    def _slots(self, p: Tensor, group: int, slots: Iterable[str]) -> dict[str, Symbol]:
        """The named state of a parameter."""
        state, found = self.optimizer.state_of(p, self.optimizer.param_groups[group]), {}
        for slot in slots:
            symbol = found[slot] = self._parameter(f"{self.names[id(p)]}.{slot}", state[slot])
            self.holders.slots[self._called(symbol)] = p, group, slot
        return found


def _value(x: AbstractTensor) -> Value:
    assert isinstance(x, Symbol)
    return x.value


def _clamped(g: AbstractTensor, most: AbstractTensor) -> AbstractTensor:
    """Each element clipped to between ``-most`` and ``most``; NaN stays."""
    return maximum(minimum(g, most), -most)


def _squares(g: AbstractTensor) -> AbstractTensor:
    """The sum of the squares of all elements."""
    return cast((g * g).sum(), float64)
