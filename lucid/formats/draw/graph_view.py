"""The view of a graph: a box for each node, into which details of other nodes are written."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import field, replace
from itertools import zip_longest
from typing import Final

from ...base.structs import struct
from ...graph.builder import snake_case
from ...graph.facts import is_recomputed, parameter_only, read_values
from ...graph.ir import Graph, Node, Value
from ...graph.opdef import ConstArray, ParameterAttrs
from ...graph.region import regions_of
from ...graph.types import TensorType
from .view import PLACE, Box, Edge, Part, Path, Row, View, path_of, shorten_name
from .words import attribute_words, output_name, shorten, slot_name, type_label

_MOST_FOLDED = 200
"""The most nodes behind a value that depends on parameters only which a row examines."""


@struct(frozen=True)
class DrawOptions:
    """How to show a graph.

    Attributes
    ----------
    full
        Whether every node is a box; otherwise nodes that depend on parameters only, and values that the backward graph
        reads from the forward one, are written into the boxes that read them.
    frames
        Nodes to highlight, and the colours.
    notes
        Further lines to show when the mouse is over a node.
    links
        The address that a click on a node opens; a node of a region is named by its path, as ``loop > body > relu``.
    apart
        Inputs that keep a box of their own.
    """

    full: bool = False
    frames: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    apart: frozenset[str] = frozenset()


USUAL: Final = DrawOptions()


def family(node: Node) -> str:
    """The family of a node's op, which decides its colour."""
    op = node.op
    declared = op.source or op.family
    return declared or ("shape" if op.view else "elementwise" if op.elementwise else "other")


def is_gradient(name: str, node: Node) -> bool:
    """Whether autodiff made the node, or it is an input for a cotangent."""
    made = any(step.startswith("autodiff") for step in node.origin.history)
    return made or (node.op.source == "input" and name.startswith("grad."))


def module_path(node: Node) -> str:
    """The module that a node belongs to; for a parameter, the one that owns it."""
    if isinstance(node.attrs, ParameterAttrs):
        return node.attrs.name.rpartition(".")[0]
    return node.origin.modules[0] if node.origin.modules else ""


def view_of(graph: Graph, options: DrawOptions = USUAL) -> View:
    """The view of a graph.

    Parameters
    ----------
    graph
        Any graph.
    options
        How to show it.
    """
    made = _ViewBuilder(graph, options)
    made.run()
    return View(tuple(made.boxes), tuple(made.edges))


def _scalar(node: Node) -> str | None:
    """The value of a constant that is a single number; None for others."""
    if family(node) != "constant" or node.outputs[0].size != 1:
        return None
    value = next(v for name, v in node.attrs.items() if name == "value")
    if isinstance(value, ConstArray):
        return str(value.array.reshape(-1)[0])
    return f"{value:.6g}" if isinstance(value, float) else str(value)


class _ViewBuilder:
    """Collects the boxes and arrows of one graph; a region is drawn within the frames of the node that runs it."""

    def __init__(
        self,
        graph: Graph,
        options: DrawOptions,
        prefix: str = "",
        around: Path = (),
        handed: Mapping[str, Row] | None = None,
    ) -> None:
        self.graph, self.options, self.prefix, self.around = graph, options, prefix, around
        self.handed = handed or {}
        """For inputs of a region that have no box, the row that describes them."""
        self.boxes: list[Box] = []
        self.edges: list[Edge] = []
        self.nodes = dict(graph.nodes())
        self.read = read_values(graph)
        self.gradient = {name for name, node in self.nodes.items() if is_gradient(name, node)}
        self.owned = {name: self._module(name) for name in self.nodes}
        returned = {value.node for value in graph.results}
        shown = returned | set(options.frames)
        self.numbers = {
            name: text for name, node in self.nodes.items() if name not in shown and (text := _scalar(node)) is not None
        }
        self.folded: set[str] = set() if options.full else self._foldable(shown)
        self.saved: set[str] = (
            set() if options.full else {n for n in self.nodes if self._saved(n)} - shown - options.apart
        )
        self.leaves = set() if options.full else self._leaves()

    def run(self) -> None:
        """Collect all boxes and arrows."""
        hidden = {*self.numbers, *self.folded, *self.saved}
        unread = {n for n in self.graph.inputs if Value(n) not in self.read} if self.around else set()
        results: dict[str, list[tuple[str, str, str, Value]]] = {}
        for kind, key, label, value in self._results():
            results.setdefault(value.node, []).append((kind, key, label, value))
        for name in self.graph.order:
            if name not in hidden and name not in unread:
                self._node(name, [r[2] for r in results.get(name, ()) if name in self.leaves])
            for kind, key, label, value in results.get(name, ()):
                if name not in self.leaves:
                    self._result(kind, key, label, value)

    def inputs(self) -> list[str]:
        """The boxes of a region's inputs, in order."""
        return [self.prefix + name for name in self.graph.inputs]

    def outputs(self) -> list[str]:
        """The boxes of a region's results, in order."""
        return [key for kind, key, _, _ in self._results() if kind == "output"]

    # ------------------------------------------------------------ nodes without a box

    def _foldable(self, shown: set[str]) -> set[str]:
        """Nodes that depend on parameters only and are read by another node."""
        found = parameter_only(self.graph)
        if not self.graph.inputs:  # otherwise nothing would remain
            found = {name for name in found if not self.graph.feeds[name]}
        for name in self.graph.order:
            if name in found and (name in shown or not found.issuperset(self.graph.dag.predecessors(name))):
                found.discard(name)
        return found

    def _saved(self, name: str) -> bool:
        """Whether an input is a value that a backward graph reads from the forward one."""
        readers = list(self.graph.dag.successors(name))
        source = self.nodes[name].op.source == "input" and name not in self.gradient
        return source and bool(readers) and self.gradient.issuperset(readers)

    def _leaves(self) -> set[str]:
        """Nodes whose only reader is the caller, as results with names."""
        known = {value.node for value, label in zip(self.graph.outputs, self.graph.names, strict=False) if label}
        known |= {value.node for _, value in self.graph.updates}
        unnamed = zip_longest(self.graph.outputs, self.graph.names)
        known -= {value.node for value, label in unnamed if not label} | self.folded | self.saved
        dag = self.graph.dag
        return {one for one in known if not list(dag.successors(one)) and len(self.nodes[one].outputs) == 1}

    def _behind(self, name: str) -> list[str]:
        """A folded node, and the nodes behind it."""
        found: dict[str, None] = {}
        stack = [name]
        while stack and len(found) < _MOST_FOLDED:
            one = stack.pop()
            if one not in found:
                found[one] = None
                stack.extend(self.graph.dag.predecessors(one))
        return list(found)

    def _folded_row(self, name: str, slot: int, value: Value) -> Row:
        """The row for a value that depends on parameters only."""
        source, text = self.nodes[value.node], type_label(self.graph.type(value))
        if isinstance(source.attrs, ParameterAttrs):
            return Row("parameter", f"{PLACE} {text}", (source.attrs.name,))
        if family(source) == "constant":
            numbers = "".join(f" = {line}" for line in attribute_words(source))
            return Row("parameter", f"{slot_name(self.nodes[name], slot)} {text}{numbers}")
        behind = (self.nodes[one].attrs for one in reversed(self._behind(value.node)))
        names = [attrs.name for attrs in behind if isinstance(attrs, ParameterAttrs)]
        if len(names) == 1:
            return Row("parameter", f"{PLACE} {text}", tuple(names))
        owners = dict.fromkeys(name.rpartition(".")[0] for name in names)
        own = (self.owned[name], *self.nodes[name].origin.modules)
        others = tuple(owner for owner in owners if owner not in own)
        made = f" with {PLACE}" if others else ""
        return Row("parameter", f"{slot_name(self.nodes[name], slot)} {text}{made}", others)

    # ------------------------------------------------------------ boxes

    def _module(self, name: str) -> str:
        """The module that a node is drawn in: its own or, for a source that only gradients read, its first reader's."""
        own = module_path(self.nodes[name])
        users = list(self.graph.dag.successors(name))
        if not self.graph.feeds[name] and users and name not in self.gradient and self.gradient.issuperset(users):
            return module_path(self.nodes[users[0]])
        return own

    def _frames(self, name: str) -> Path:
        """The frames around a node; within a region, those of the node that runs it, then those of inner modules."""
        module, holder = self.owned[name], ".".join(part.name for part in self.around if part.kind == "module")
        inner = module.removeprefix(holder).lstrip(".") if holder and f"{module}.".startswith(f"{holder}.") else module
        return (*self.around, *path_of(inner))

    def _node(self, name: str, gives: list[str]) -> None:
        node, rows, behind = self.nodes[name], list(self._heading(name)), list[str]()
        rows += [Row("detail", self._number(node, slot, value)) for slot, value in enumerate(self.graph.inputs_of(name))
                 if value.node in self.numbers]  # fmt: skip
        for slot, value in enumerate(self.graph.inputs_of(name)):
            if value.node in self.folded and value.node not in self.numbers:
                rows.append(self._folded_row(name, slot, value))
                behind += self._behind(value.node)
            elif value.node in self.saved:
                text = f"{PLACE} {type_label(self.graph.type(value))}"
                rows.append(Row("kept", text, (self._spoken(value.node),)))
                behind.append(value.node)
        rows += [_given_row(label) for label in gives]
        rows += [self.handed[name]] if name in self.handed else []
        inner = self._regions(name)
        self._inward(name, inner)
        gradient, attrs = name in self.gradient, node.attrs
        read = {one: self.nodes[one].attrs for one in (name, *behind)}
        self.boxes.append(
            Box(
                self.prefix + name, self._kind(name), tuple(dict.fromkeys(rows)), self._frames(name),
                "gradient" if gradient or self._saved(name) else "", self.owned[name], gradient,
                (name, *dict.fromkeys(behind)),
                tuple((a.name, n.outputs[0].size) for o, a in read.items()
                      if isinstance(a, ParameterAttrs) and isinstance((n := self.nodes[o]).outputs[0].size, int)),
                (node.op.name, None if isinstance(attrs, ParameterAttrs) else attrs, node.outputs,
                 tuple((r.kind, r.text) for r in rows if r.kind != "name"), self.options.frames.get(name)),
                frame=self.options.frames.get(name, ""), hover=self._hover(name, behind),
                link=self.options.links.get(name, ""),
            )
        )  # fmt: skip

    def _kind(self, name: str) -> str:
        kind = family(self.nodes[name])
        if name not in self.gradient:
            return kind
        if kind == "input":
            return "given"
        return kind if kind in ("elementwise", "shape", "reduce", "linear", "other", "constant") else "gradient"

    def _heading(self, name: str) -> Iterator[Row]:
        """A node's title, its name and its attributes."""
        node = self.nodes[name]
        if node.op.source in ("input", "parameter"):
            label = node.attrs.name if isinstance(node.attrs, ParameterAttrs) else name
            yield Row("title", PLACE, (shorten_name(label),))
            yield Row("detail", type_label(node.outputs[0], whole=True))
            return
        yield Row("title", node.op.name)
        if is_recomputed(node):
            yield Row("kept", "computed again")
        modules = node.origin.modules
        if len(modules) > 1:
            yield Row("name", PLACE, tuple(map(shorten_name, modules)))
        else:
            yield Row("name", PLACE, (shorten_name(self._spoken(name)),))
        yield from (Row("detail", line) for line in attribute_words(node))

    def _spoken(self, name: str) -> str:
        """A node's name, or that of its module if that is as clear."""
        module, _, last = name.rpartition(".")
        node = self.nodes[name]
        alone = last == snake_case(node.op.name) if node.op.source != "input" else not re.search(r"\d$", last)
        return module if module and alone and module == module_path(node) else name

    def _number(self, node: Node, slot: int, value: Value) -> str:
        """A number that a node reads, with the name of the operand unless it is one of many."""
        several = slot >= len(node.op.inputs) - 1 and node.op.inputs[-1].startswith("*")
        return self.numbers[value.node] if several else f"{slot_name(node, slot)} = {self.numbers[value.node]}"

    def _hover(self, name: str, behind: list[str]) -> str:
        node = self.nodes[name]
        types = ", ".join(map(str, node.outputs))
        lines = [f"{name} : {types}", *filter(None, [str(node.origin)]), *node.origin.history]
        lines += [f"{field} = {shorten(str(value), 80)}" for field, value in node.attrs.items()
                  if not node.op.source and not node.op.regions]  # fmt: skip
        if behind:
            ops = Counter(self.nodes[one].op.name for one in dict.fromkeys(behind))
            lines.append("written into it: " + ", ".join(f"{n} {op}" for op, n in ops.items()))
            lines += [shorten(one, 80) for one in list(dict.fromkeys(behind))[:20]]
        return "\n".join([*lines, *self.options.notes.get(name, ())])

    # ------------------------------------------------------------ arrows

    def _edge(self, value: Value, target: str, tip: str, kind: str = "") -> None:
        node = self.nodes[value.node]
        known = node.op.source in ("input", "parameter") or self.graph.type(value) in self._read_types(value.node)
        label = "" if known else type_label(self.graph.type(value))
        if any(Value(value.node, i) in self.read for i in range(1, len(node.outputs))):
            label = f"{output_name(node, value.output)} {type_label(self.graph.type(value))}"
        if not kind:
            kind = "gradient" if value.node in self.gradient else "value"
            kind = "parameter" if node.op.source in ("parameter", "constant") and kind == "value" else kind
        self.edges.append(Edge(self.prefix + value.node, target, value.output, label, kind, tip))

    def _read_types(self, name: str) -> set[TensorType]:
        """The types of the values that a node reads: a result of such a type needs no label."""
        return {self.graph.type(value) for value in self.graph.inputs_of(name) if not self._hidden(value.node)}

    def _hidden(self, name: str) -> bool:
        """Whether it has no arrows, because its readers name it in words."""
        return name in self.numbers or name in self.folded or name in self.saved

    def _inward(self, name: str, inner: Mapping[str, _ViewBuilder]) -> None:
        """Add the arrows into a node, or into the graphs that it runs."""
        node, feeds = self.nodes[name], self.graph.inputs_of(name)
        for slot, value in enumerate(feeds):
            if self._hidden(value.node):
                continue
            tip = f"{value} → {slot_name(node, slot)} of {name}"
            kept = name in self.gradient and value.node not in self.gradient and not self._source(value.node)
            targets = []
            for one in inner.values():
                at = slot - len(feeds) + len(one.graph.inputs)
                if at >= 0 and Value(one.graph.inputs[at]) in one.read:
                    targets.append(one.inputs()[at])
            for target in targets or [self.prefix + name]:
                self._edge(value, target, tip, "kept" if kept else "")

    def _source(self, name: str) -> bool:
        return self.nodes[name].op.source in ("parameter", "constant")

    def _regions(self, name: str) -> dict[str, _ViewBuilder]:
        """Add the graphs that a node runs, each within a frame, with arrows from their results to the node."""
        node = self.nodes[name]
        found: dict[str, _ViewBuilder] = {}
        feeds = self.graph.inputs_of(name)
        for label, region in regions_of(node.attrs).items() if node.op.regions else ():
            handed: dict[str, Row] = {}
            for inside, value in zip(reversed(region.graph.inputs), reversed(feeds), strict=False):
                if value.node in self.numbers:
                    handed[inside] = Row("detail", f"= {self.numbers[value.node]}")
                elif value.node in self.folded:
                    handed[inside] = self._folded_row(name, feeds.index(value), value)
            around = (*self._frames(name), Part(f"{name}: {label}", 0, "region"))
            inner = _ViewBuilder(
                region.graph,
                replace(self.options, frames={}, notes={}, links=self._links_within(f"{name} > {label} > ")),
                f"{self.prefix}{name}{PLACE}{label}{PLACE}",
                around,
                handed,
            )
            inner.run()
            self.boxes += inner.boxes
            self.edges += inner.edges
            for key in inner.outputs():
                self.edges.append(Edge(key, self.prefix + name, 0, "", "region", f"{label} of {name}"))
            found[label] = inner
        return found

    def _links_within(self, path: str) -> dict[str, str]:
        """The links of the nodes of the region at this path."""
        return {name.removeprefix(path): to for name, to in self.options.links.items() if name.startswith(path)}

    def _results(self) -> Iterator[tuple[str, str, str, Value]]:
        """Kind, key, label and value of each result."""
        outputs, names = self.graph.outputs, self.graph.names
        unnamed = len(outputs) - sum(map(bool, names))
        for i, value in enumerate(outputs):
            numbered = "output" if unnamed == 1 else f"output {i}"
            label = names[i] if i < len(names) and names[i] else numbered
            yield "output", f"{self.prefix}{PLACE}output{i}", label, value
        for i, (label, value) in enumerate(self.graph.updates):
            yield "update", f"{self.prefix}{PLACE}update{i}", f"update {label}", value

    def _result(self, kind: str, key: str, label: str, value: Value) -> None:
        gradient = value.node in self.gradient
        row = _given_row(label)._replace(kind="title")
        last = kind == "output" and not gradient and not list(self.graph.dag.successors(value.node))
        around = self.around if last else self._frames(value.node)
        look = "given" if gradient and kind == "output" else kind
        hover = f"{value} is {label}" if kind == "output" else f"{value}: {label}"
        section, module = "gradient" if gradient else "", self.owned[value.node]
        sign = (kind, row.text)
        self.boxes.append(Box(key, look, (row,), around, section, module, gradient, sign=sign, hover=hover))
        self._edge(value, key, f"{value} → {label}")


def _given_row(label: str) -> Row:
    """The row with the name of a result; ``∂`` and ``update`` are followed by a name."""
    first, space, name = label.partition(" ")
    if space and first in ("∂", "update"):
        return Row("gives", f"{first} {PLACE}", (name,))
    return Row("gives", PLACE, (label,))
