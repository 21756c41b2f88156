"""Rewriting graphs: a single walk, in order, with a rule that may replace each node.

A pass is a rule and a call of :func:`rebuild`::

    def drop_double_negation(graph: Graph) -> Graph:
        def rule(site: Site) -> Symbol | None:
            inner = site.made_by(site.inputs[0]) if site.op is NEG else None
            return inner.inputs[0] if inner is not None and inner.op is NEG else None

        return rebuild(graph, rule, "drop_double_negation")

Rules build their replacements with the same functions and operators as models.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

from ..base.checks import shown
from ..base.garbage import collection_paused
from ..base.keys import Key
from ..errors import PassError, from_handler
from ..graph.builder import Builder, snake_case
from ..graph.facts import drawn, finding, needed
from ..graph.ir import Graph, Node, Origin, Value
from ..graph.opdef import OpDef
from ..graph.ops.source import INPUT
from ..graph.region import structure
from ..graph.trace import Symbol, Tracer
from ..graph.types import TensorType

Replacement: TypeAlias = "Symbol | Sequence[Symbol | None] | Declined | None"
Rule: TypeAlias = "Callable[[Site], Replacement]"

NAMED = 40
"""The most merged nodes that the history of a node names."""


class Declined:
    """Returned by a rule that almost applies but must not: the reason, in words, and the nodes that it refers to."""

    __slots__ = ("nodes", "reason")

    def __init__(self, reason: str, *nodes: View) -> None:
        self.reason = reason
        self.nodes = tuple(node.name for node in nodes)


class Decline(NamedTuple):
    """Why a pass left a node as it is.

    Attributes
    ----------
    label, reason
        The pass, and its reason.
    nodes
        The node, and the others that the reason refers to.
    path
        The path of their graph, if a node holds it: the name of the node, the name of its attribute, and so on.
    """

    label: str
    nodes: tuple[str, ...]
    reason: str
    path: tuple[str, ...] = ()


_noting: ContextVar[dict[Decline, None] | None] = ContextVar("noting", default=None)


@contextmanager
def noted() -> Iterator[dict[Decline, None]]:
    """While inside, the reasons of rules that decline are collected in this dict, in order."""
    found: dict[Decline, None] = {}
    token = _noting.set(found)
    try:
        yield found
    finally:
        _noting.reset(token)


@contextmanager
def noted_at(*path: str) -> Iterator[None]:
    """While inside, these reasons are collected as belonging to the graph at ``path``."""
    outside = _noting.get()
    if outside is None:
        yield
        return
    with noted() as inside:
        yield
    outside.update((one._replace(path=(*path, *one.path)), None) for one in inside)


def note(label: str, name: str, declined: Declined, *others: str) -> None:
    """Note, if reasons are collected, that a pass leaves a node as it is, and which others its reason refers to."""
    noting = _noting.get()
    if noting is not None:
        noting[Decline(label, (name, *declined.nodes, *others), declined.reason)] = None


def joined_origin(label: str, parts: Sequence[tuple[str, Origin]]) -> Origin:
    """The origin of a node that the pass ``label`` makes from parts, given by name and origin."""
    origin = parts[0][1].merge(*(origin for _, origin in parts[1:]))
    names = list(dict.fromkeys(name for name, _ in parts))
    rest = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return replace(origin, history=(*origin.history, f"{label}: from {', '.join(names[:NAMED])}{rest}"))


def unfixed(nodes: Iterable[View], fixed: Container[str]) -> Declined | None:
    """Why weights cannot be folded: the first of these nodes that is not ``fixed`` by parameters; None if all are."""
    moving = next((node for node in nodes if node.name not in fixed), None)
    if moving is None:
        return None
    return Declined(f"{moving.name} depends on the input, and what is folded is fixed", moving)


class View:
    """A node as a rule sees it.

    Attributes
    ----------
    name
        Its key.
    node
        Its op, attributes, types and origin.
    """

    __slots__ = ("_overlay", "_tracer", "name", "node")

    def __init__(self, tracer: Tracer, name: str, node: Node | None = None) -> None:
        self._tracer = tracer
        self._overlay: Overlay = tracer.builder  # type: ignore[assignment]
        self.name = name
        self.node: Node = self._overlay.node(name) if node is None else node

    @property
    def op(self) -> OpDef:
        return self.node.op

    @property
    def attrs(self) -> Any:
        return self.node.attrs

    @property
    def type(self) -> TensorType:
        """Type of the first output."""
        return self.node.outputs[0]

    @property
    def inputs(self) -> tuple[Symbol, ...]:
        """Its inputs in the new graph."""
        return self._feeds()

    def _feeds(self) -> tuple[Symbol, ...]:
        return tuple(map(self._tracer.symbol, self._overlay.inputs_of(self.name)))

    @property
    def symbol(self) -> Symbol:
        """Its first output in the new graph."""
        return self.symbols[0]

    @property
    def symbols(self) -> tuple[Symbol, ...]:
        """Its outputs in the new graph (for a site, its own until it is replaced)."""
        return tuple(self._tracer.symbol(Value(self.name, i)) for i in range(len(self.node.outputs)))

    def producer(self, slot: int) -> View:
        """The node of the original graph that feeds an input (of a node of the original graph)."""
        return View(self._tracer, self._overlay.feeds[self.name][slot].node)

    def view(self, name: str) -> View:
        """Another node of the original graph."""
        return View(self._tracer, name)

    def symbol_of(self, value: Value) -> Symbol:
        """A value of the original graph in the new one."""
        return self._tracer.symbol(self._overlay.mapped.get(value, value))

    def uses(self, output: int = 0) -> int:
        """How often an output is read in the original graph: by nodes, as a result, as an update."""
        return self._overlay.graph.reads.get(Value(self.name, output), 0)

    def shared(self) -> Declined:
        """The reason why it cannot be merged into one of its readers: it has several."""
        count = sum(self.uses(i) for i in range(len(self.node.outputs)))
        asked = any(value.node == self.name for value in self._overlay.graph.results)
        how = "asked for as a result" if asked else f"read {count} times"
        return Declined(f"{self.name} is {how}, and what goes into one of its readers is gone", self)

    @property
    def single_use(self) -> bool:
        """Whether the first output is read once, and no other is read."""
        return self.uses() == 1 and not any(self.uses(i) for i in range(1, len(self.node.outputs)))

    def made_by(self, symbol: Symbol) -> View:
        """The node of the new graph that computes ``symbol``."""
        return View(self._tracer, symbol.value.node)


class Site(View):
    """The node that a rule may replace. Its name goes to the node that computes the new first output."""

    __slots__ = ("_inputs", "absorbed", "left")

    def __init__(self, tracer: Tracer, name: str, node: Node) -> None:
        super().__init__(tracer, name, node)
        self.absorbed: tuple[View, ...] = ()
        self.left: tuple[Declined, ...] = ()
        self._inputs: tuple[Symbol, ...] | None = None

    def _feeds(self) -> tuple[Symbol, ...]:
        if self._inputs is None:  # its producers have been visited, so its inputs no longer change
            self._inputs = super()._feeds()
        return self._inputs

    def leave(self, declined: Declined | None) -> None:
        """Note why something stays as it is (if there is a reason), although the node itself may be replaced."""
        if declined is not None:
            self.left = (*self.left, declined)

    def absorb(self, *others: View) -> None:
        """Let the replacement take over the origins of these nodes, which are merged into it."""
        self.absorbed = (*self.absorbed, *others)

    def call(self, symbol: Symbol, name: str) -> None:
        """Give the node emitted for ``symbol`` this name, unless the node that has it survives."""
        self._overlay.titles[symbol.value.node] = name


class Overlay(Builder):
    """The new graph under construction: the unchanged original, and the emitted nodes on top of it.

    Nothing is copied before :meth:`finish`, so a rule that never fires costs one walk. The tracer and the sites refer
    to it, but it does not refer back: without cycles, memory is freed as soon as a pass ends.
    """

    def __init__(self, graph: Graph, label: str) -> None:
        super().__init__()
        self.graph = graph
        self.label = label
        self.mapped: dict[Value, Value] = {}
        self.added: dict[str, tuple[Node, tuple[Value, ...]]] = {}
        self.emitted: dict[str, list[str]] = {}
        self.titles: dict[str, str] = {}
        self.merged: dict[str, list[tuple[str, Origin]]] = {}
        """Names and origins of the nodes that were merged into existing nodes."""
        self.site = ""
        self.feeds, self.table = graph.feeds, graph.table

    def node(self, name: str) -> Node:
        added = self.added.get(name)
        return added[0] if added is not None else self.table[name]

    def inputs_of(self, name: str) -> tuple[Value, ...]:
        added = self.added.get(name)
        if added is not None:
            return added[1]
        feeds, mapped = self.feeds[name], self.mapped
        return feeds if mapped.keys().isdisjoint(feeds) else tuple([mapped.get(v, v) for v in feeds])

    def type(self, value: Value) -> TensorType:
        return self.node(value.node).outputs[value.output]

    def add(self, node: Node, inputs: Sequence[Value], name: str) -> tuple[Value, ...]:
        key = f"{self.site}'{len(self.added)}"
        while key in self.graph:
            key += "'"
        self.added[key] = (node, tuple(inputs))
        self.emitted.setdefault(self.site, []).append(key)
        return tuple(Value(key, i) for i in range(len(node.outputs)))

    def replace(self, site: Site, replacement: Symbol | Sequence[Symbol | None]) -> None:
        """Replace the outputs of ``site`` by these values, for all nodes that follow."""
        outputs = [replacement] if isinstance(replacement, Symbol) else list(replacement)
        for index, old in enumerate(site.node.outputs):
            new = outputs[index] if index < len(outputs) else None
            if new is None:
                if site.uses(index):
                    raise PassError(f"output {index} is used and has no replacement")
                continue
            if not new.type.same_value(old):
                raise PassError(f"output {index} was {old}, its replacement is {new.type}")
            self.mapped[Value(site.name, index)] = new.value
        fresh = self.emitted.get(site.name, ())
        parts = [(part.name, part.node.origin) for part in (*site.absorbed, site)]
        origin = joined_origin(self.label, parts) if fresh else Origin()
        for key in fresh:
            node, inputs = self.added[key]
            self.added[key] = (node.with_origin(origin), inputs)
        root = next((new.value.node for new in outputs if new is not None), "")
        if root in fresh:
            self.titles.setdefault(root, site.name)
        elif root and site.absorbed:
            self.merged.setdefault(root, []).extend(parts)

    def finish(
        self, outputs: Iterable[Value], updates: Iterable[tuple[str, Value]] = (), names: Iterable[str] = (), *,
        prune: bool = True,
    ) -> Graph:  # fmt: skip
        """Copy the nodes that are needed into a new graph."""
        outputs = [self.mapped.get(v, v) for v in outputs]
        updates = [(p, self.mapped.get(v, v)) for p, v in updates]
        results = [v.node for v in (*outputs, *(v for _, v in updates))]
        live = needed([*self.graph.inputs, *results, *drawn(self.graph)], self._sources, self.node, self._finding())
        final, called = Builder(), dict[str, str]()
        for name in self.graph.order:
            for key in (*self.emitted.get(name, ()), name):
                if key in live:
                    node = self.node(key)
                    if key in self.merged:
                        node = node.with_origin(joined_origin(self.label, self.merged[key]))
                    feeds = tuple([v if called[v.node] == v.node else v._replace(node=called[v.node])
                                   for v in self.inputs_of(key)])  # fmt: skip
                    called[key] = self._name(key, name, live, final)
                    final.place(node, feeds, called[key])
        return final.freeze(
            self.graph.inputs,
            tuple(Value(called[v.node], v.output) for v in outputs),
            tuple((p, Value(called[v.node], v.output)) for p, v in updates),
            tuple(names),
        )

    def _sources(self, name: str) -> list[str]:
        return [value.node for value in self.inputs_of(name)]

    def _finding(self) -> list[str]:
        """Nodes, old and new, that may determine a data-dependent size."""
        return [*finding(self.graph), *(name for name, (node, _) in self.added.items() if node.op.finds)]

    def _name(self, key: str, site: str, live: set[str], final: Builder) -> str:
        """The name in the new graph: survivors keep theirs, a new node takes its title unless a survivor has it."""
        if key == site:
            return key
        title = self.titles.get(key)
        if title is not None and title not in live and title not in final.dag:
            return title
        name = base = f"{site}.{snake_case(self.node(key).op.name)}"
        count = 0
        while name in self.graph or name in final.dag:
            count += 1
            name = f"{base}_{count}"
        return name


@collection_paused()
def rebuild(graph: Graph, rule: Rule, label: str, *, at: Container[OpDef] | None = None) -> Graph:
    """Walk the nodes in order and let ``rule`` replace them; linear in the size of the graph.

    Parameters
    ----------
    graph
        The graph; it is not changed.
    rule
        Called with the :class:`Site` of every node except inputs. It returns None to keep the node, or replacements
        for its outputs: one symbol, or one per output (None for an output that nothing reads), of equal shape and
        element type; or a :class:`Declined`, which says why the node is kept.
    label
        The name of the pass, for the history of new nodes and for errors.
    at
        The ops whose nodes the rule may replace; it is not called for others.

    Returns
    -------
    The new graph, without nodes that are no longer needed; ``graph`` itself if no rule fired.

    Raises
    ------
    PassError
        If the rule fails or returns an unsuitable replacement; it names the node.
    """
    if not isinstance(graph, Graph):
        raise PassError(f"rebuild: the first argument is the graph that the pass was given, got {shown(graph)}")
    if at is not None and not any(op in at for op in graph.ops):
        return graph
    overlay, noting = Overlay(graph, label), _noting.get()
    tracer = Tracer(overlay)
    tracer.origin = Origin()
    for name, node in graph.nodes():
        if node.op is INPUT or (at is not None and node.op not in at):
            continue
        overlay.site = name
        site = Site(tracer, name, node)
        try:
            replacement = rule(site)
            if isinstance(replacement, Declined):
                site.leave(replacement)
            elif replacement is not None:
                overlay.replace(site, replacement)
            if noting is not None:
                noting.update((Decline(label, (name, *one.nodes), one.reason), None) for one in site.left)
        except Exception as error:
            if from_handler(error):
                raise
            raise PassError(f"{label}: at node {name!r} ({site.op.name}): {error}") from error
    if not overlay.mapped:
        return graph
    return overlay.finish(graph.outputs, graph.updates, graph.names)


def fixed_point(step: Callable[[Graph], Graph], graph: Graph, limit: int = 10, *, label: str) -> Graph:
    """Apply ``step`` until it returns the same object, at most ``limit`` times.

    Raises
    ------
    PassError
        If the step returns to an earlier graph; ``label`` names the pass.
    """
    left: list[Graph] = []
    seen: set[Key] = set()
    for _ in range(limit):
        after = step(graph)
        if after is graph:
            break
        left.append(graph)
        if len(left) > 2:  # most steps change a graph once or twice, which needs no comparison
            seen = seen or {Key(structure(one)) for one in left}
            mark = Key(structure(after))
            if mark in seen:
                raise PassError(f"{label} goes in circles: it undoes what it did before ({after!r})")
            seen.add(mark)
        graph = after
    return graph
