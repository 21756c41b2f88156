"""Recomputation (rematerialization): a value that is idle for long is dropped, and computed again when it is read.

At the step with the most live bytes, the idle value is dropped that frees the most bytes per second of recomputation;
this is repeated for the step that then has the most. The criterion is that of Kirisame et al., "Dynamic tensor
rematerialization" (2021), applied when a plan is made. Chains of layers come out as in Chen et al., "Training deep nets
with sublinear memory cost" (2016): some values are kept, and those in between are recomputed in the backward pass.

A value with no early reader is simply computed later, such as the gradient of a weight from two smaller arrays. A node
that draws random numbers never runs twice; nodes that compute with these numbers may.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace

from ...base.structs import struct
from ...graph.builder import Builder
from ...graph.facts import RECOMPUTE
from ...graph.ir import Graph, Value
from ..planning.machine import this_machine
from ..planning.work import Work, seconds
from .emitter import Operand
from .liveness import in_arena, intervals
from .memory import aligned, live_bytes
from .step import Step

_LEAST = 1 / 500
"""Values smaller than this fraction of the largest live set are not freed."""
_TRIES = 32
"""The number of offers that are tried before giving up."""


@struct(frozen=True)
class Recomputed:
    """A node that repeats another.

    Attributes
    ----------
    name, of
        Names of the repeated and of the original node.
    seconds
        Its predicted time.
    """

    name: str
    of: str
    seconds: float


def cost(step: Step) -> float:
    """Predicted seconds of a step; without a prediction, of reading its inputs and writing its outputs."""
    if step.choice.way.seconds or not any(y is not None and y.base is None for y in step.outs):
        return step.choice.way.seconds
    moved = sum(y.type.nbytes for y in (*step.ins, *step.outs) if y is not None)
    return seconds(Work(calls=1, far=moved / max(1, step.workers)), this_machine())


@struct(frozen=True)
class _Offer:
    """A way to free a value at one step, and its price.

    Attributes
    ----------
    before
        The step before which the value is computed again.
    wanted
        The value and the views of it that are read from there on.
    made
        The steps that run again there, by node.
    given
        The existing operands that they read.
    moved
        Steps that ran again later, and now run earlier instead.
    price
        Seconds per byte.
    """

    before: int
    wanted: tuple[Operand, ...]
    made: Mapping[str, Step]
    given: Mapping[Value, Operand]
    moved: tuple[Step, ...]
    price: float


@struct(frozen=True)
class _Terms:
    """The limits of an offer.

    Attributes
    ----------
    stretch
        Values of at most this part of the freed bytes may be kept for longer; others are recomputed too.
    early
        Whether a step that runs again later may do so earlier instead, rather than twice.
    """

    stretch: float
    early: bool = True


_TERMS = _Terms(0.0), _Terms(0.25), _Terms(1.0), _Terms(0.0, early=False)


class Course:
    """An order of execution, in which some steps run again.

    Parameters
    ----------
    steps
        In order. Steps that run again occur several times.
    graph
        The graph that the steps compute without recomputation.
    results
        The operands that are read when all have run.
    last
        How many of the steps write over parameters: none is put among them.

    Attributes
    ----------
    peak
        The largest live set.
    """

    def __init__(self, steps: Sequence[Step], graph: Graph, results: Sequence[Operand], last: int) -> None:
        self.steps, self.graph, self.results, self.last = list(steps), graph, results, last
        self.live = live_bytes(intervals(self.steps, results), len(self.steps))
        self.peak = max(self.live, default=0)
        self._tables = _Tables.of(self)

    def lower(self) -> Course | None:
        """The same computation with less memory at the first step of the peak; None if there is none."""
        at = self.live.index(self.peak)
        offers = [offer for root in self._idle(at) for offer in self._offers(root, at)]
        for offer in sorted(offers, key=lambda offer: offer.price)[:_TRIES]:
            found = self._with(offer)
            if found.height < self.height:
                return found
        return None

    @property
    def height(self) -> tuple[int, int]:
        """The peak, and the number of steps that reach it."""
        return self.peak, self.live.count(self.peak)

    def _idle(self, at: int) -> Iterator[Operand]:
        """Values in the arena that this step neither reads nor writes, and that are read later."""
        kept = {y.root for y in self.results}
        for root, touched in self._tables.touched.items():
            idle = touched[0] < at < touched[-1] and at not in touched and root not in kept and not root.kept
            if idle and in_arena(root) and root in self._tables.values and root.type.nbytes > _LEAST * self.peak:
                yield root

    def _offers(self, root: Operand, at: int) -> Iterator[_Offer]:
        following = next(index for index in self._tables.touched[root] if index > at)
        before = min(following, len(self.steps) - self.last)
        if before > at:
            found = (_Search(self, root, at, before, terms).offer() for terms in _TERMS)
            yield from (offer for offer in found if offer is not None)

    def _with(self, offer: _Offer) -> Course:
        fresh: dict[Value, Operand] = {}
        names = sorted(offer.made, key=self._tables.position.__getitem__)
        steps = [self._again(offer.made[name], offer, fresh) for name in names]
        swapped: dict[Operand, Operand] = {}
        for y in offer.wanted:
            value = self._tables.values[y]
            swapped[y] = fresh.get(value) or offer.given[value]
        for step in offer.moved:
            swapped.update((y, fresh[Value(step.name, i)]) for i, y in enumerate(step.outs) if y is not None)
        gone = set(offer.moved)
        after = [_swapped(step, swapped) for step in self.steps[offer.before :] if step not in gone]
        course = [*_read_later(self.steps[: offer.before], [*steps, *after], self.results), *steps, *after]
        return Course(course, self.graph, self.results, self.last)

    def _again(self, step: Step, offer: _Offer, fresh: dict[Value, Operand]) -> Step:
        swapped: dict[Operand, Operand] = {}
        for x in step.ins:
            value = self._tables.values.get(x)
            if value is not None:
                swapped[x] = fresh.get(value) or offer.given.get(value, x)
        copy = _copied(step, swapped)
        fresh.update((Value(step.name, i), y) for i, y in enumerate(copy.outs) if y is not None)
        return copy

    def written(self) -> tuple[Graph, list[Recomputed]]:
        """The graph that computes this, in this order; and what runs again."""
        graph, builder = self.graph, Builder()
        values: dict[Operand, Value] = {}
        first: dict[Value, Value] = {}  # value of the old graph -> the value of its first occurrence in the new one
        again = []
        for name, node in graph.nodes():
            if node.op.source is not None:
                first[Value(name)] = builder.add(node, (), name)[0]
        for step in self.steps:
            read = zip(step.ins, graph.inputs_of(step.name), strict=True)
            feeds = [values.get(x) or first[value] for x, value in read]
            node = graph.node(step.name)
            if Value(step.name) in first:
                origin = first[Value(step.name)].node
                history = (*node.origin.history, f"{RECOMPUTE}: from {origin}")
                node = node.with_origin(replace(node.origin, history=history))
                made = builder.add(node, feeds, f"{step.name}.again")
                again.append(Recomputed(made[0].node, origin, cost(step)))
            else:
                made = builder.add(node, feeds, step.name)
                first.update((Value(step.name, i), value) for i, value in enumerate(made))
            values.update((y, value) for y, value in zip(step.outs, made, strict=True) if y is not None)
        outputs = tuple(first[value] for value in graph.outputs)
        updates = tuple((name, first[value]) for name, value in graph.updates)
        return builder.freeze(graph.inputs, outputs, updates, graph.names), again


@struct
class _Tables:
    """Tables about an order of execution.

    Attributes
    ----------
    position
        Of each node, in the graph's order.
    values
        What each operand is in the graph, if a step has computed it.
    versions
        The operands of each value, in order, each with the number of its step.
    read
        By operand, the steps that read it.
    views
        By operand with memory of its own, it and the views of it.
    touched
        By the same, the steps that read or write it or a view of it, in order; one more step reads the results.
    """

    position: dict[str, int] = field(default_factory=dict)
    values: dict[Operand, Value] = field(default_factory=dict)
    versions: dict[Value, list[tuple[int, Operand]]] = field(default_factory=dict)
    read: dict[Operand, list[int]] = field(default_factory=dict)
    views: dict[Operand, list[Operand]] = field(default_factory=dict)
    touched: dict[Operand, list[int]] = field(default_factory=dict)

    @classmethod
    def of(cls, course: Course) -> _Tables:
        found = cls({name: index for index, name in enumerate(course.graph.order)})
        for index, step in enumerate(course.steps):
            for x in step.ins:
                found.read.setdefault(x, []).append(index)
                found.touched.setdefault(x.root, []).append(index)
            for output, y in enumerate(step.outs):
                if y is not None:
                    value = found.values[y] = Value(step.name, output)
                    found.versions.setdefault(value, []).append((index, y))
                    found.views.setdefault(y.root, []).append(y)
                    found.touched.setdefault(y.root, []).append(index)
        for y in course.results:
            found.touched.setdefault(y.root, []).append(len(course.steps))
        return found


class _Search:
    """Finds how the value of ``root``, dropped at step ``at``, can be recomputed in time for step ``before``."""

    def __init__(self, course: Course, root: Operand, at: int, before: int, terms: _Terms) -> None:
        self.course, self.root, self.at, self.before, self.terms = course, root, at, before, terms
        self.made: dict[str, Step] = {}
        self.given: dict[Value, Operand] = {}
        self.moved: list[Step] = []
        self.kept: set[Operand] = set()

    def offer(self) -> _Offer | None:
        """The offer; None if there is none, or nothing would be freed."""
        tables = self.course._tables
        views = [y for y in tables.views[self.root] if y in tables.read and tables.read[y][-1] >= self.before]
        wanted = tuple(y for y in views if self._born(y) < self.before)
        queue = list(wanted)
        while queue:
            inputs = self._find(queue.pop())
            if inputs is None:
                return None
            queue += inputs
        freed = aligned(self.root.type.nbytes) - sum(aligned(y.type.nbytes) for y in self.kept)
        if freed <= 0:
            return None
        took = sum(cost(step) for step in self.made.values()) - sum(map(cost, (*self.moved, *self._postponed())))
        return _Offer(self.before, wanted, self.made, self.given, tuple(self.moved), took / freed)

    def _postponed(self) -> Iterator[Step]:
        """The step that computes the value, if none of its results is read before."""
        tables = self.course._tables
        step = self.course.steps[tables.touched[self.root][0]]
        read = (index for y in step.outs if y is not None for index in tables.touched[y.root][1:])
        if all(index >= self.before for index in read):
            yield step

    def _born(self, y: Operand) -> int:
        """The number of the step that computes it."""
        tables = self.course._tables
        return next(index for index, version in tables.versions[tables.values[y]] if version is y)

    def _find(self, y: Operand) -> Iterable[Operand] | None:
        """Find where to take a value from; return the operands needed for that, or None if there is no way."""
        value = self.course._tables.values.get(y)
        if value is None or not in_arena(y.root) or value in self.given or value.node in self.made:
            return ()
        touched, versions = self.course._tables.touched, self.course._tables.versions[value]
        there = [(index, x) for index, x in versions if index < self.before and x.root is not self.root]
        for index, x in reversed(there):
            if touched[x.root][-1] >= self.before or index > self.at:
                self.given[value] = x
                return ()
        later = [index for index, _ in versions if index >= self.before]
        if later and self.terms.early:
            self.moved.append(self.course.steps[later[0]])
            return self._run(self.moved[-1])
        if there:
            x = there[-1][1]
            step = self.course.steps[there[-1][0]]
            if x.type.nbytes <= self.terms.stretch * self.root.type.nbytes or not _repeatable(step):
                self.given[value] = x
                if touched[x.root][-1] < self.at:
                    self.kept.add(x.root)
                return ()
            return self._run(step)
        step = self.course.steps[versions[0][0]]
        return self._run(step) if _repeatable(step) else None

    def _run(self, step: Step) -> Iterable[Operand]:
        self.made[step.name] = step
        return step.ins


def _repeatable(step: Step) -> bool:
    """Whether a step may run twice, with the same result."""
    return step.node.op.pure and not step.node.op.random and not step.node.op.regions


def _read_later(steps: Sequence[Step], later: Iterable[Step], results: Iterable[Operand]) -> list[Step]:
    """The steps whose results ``later`` or ``results`` read, directly or through others of these steps."""
    read = {x for step in later for x in step.ins} | set(results)
    found = []
    for step in reversed(steps):
        if any(y in read for y in step.outs):
            read.update(step.ins)
            found.append(step)
    return found[::-1]


def _copied(step: Step, swapped: Mapping[Operand, Operand]) -> Step:
    """The step on other operands, with results and working memory of its own."""
    outs = tuple(None if y is None else replace(y, base=y.base and swapped.get(y.base, y.base)) for y in step.outs)
    buffers = tuple(y if y.base is not None else replace(y) for y in step.buffers)
    return replace(step, ins=tuple(swapped.get(x, x) for x in step.ins), outs=outs, buffers=buffers)


def _swapped(step: Step, swapped: dict[Operand, Operand]) -> Step:
    """The step with other operands as inputs; outputs that are views of replaced operands are replaced too."""
    if not any(x in swapped for x in step.ins):
        return step
    outs = []
    for y in step.outs:
        if y is not None and y.base in swapped:
            swapped[y] = replace(y, base=swapped[y.base])
        outs.append(y if y is None else swapped.get(y, y))
    return replace(step, ins=tuple(swapped.get(x, x) for x in step.ins), outs=tuple(outs))
