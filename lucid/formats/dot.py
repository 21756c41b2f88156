"""Graphs as DOT text, which needs no library at all.

Colour tells an op's family, nested boxes the modules it was traced in, dashed ones the graphs that a node runs, violet
what autodiff made. The scalars that a node reads are written into it, and so are the attributes that differ from their
defaults.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count

from ..base import checks
from ..base.checks import shown
from ..errors import DrawError
from ..graph.builder import snake_case
from ..graph.facts import read_values
from ..graph.ir import Graph, Node, Value
from ..graph.opdef import ConstArray, ParameterAttrs
from ..graph.region import regions_of
from ..graph.types import float32
from .labels import attribute_lines, escape, output_name, quote, slot_name, small, type_label

_FONT = "Helvetica,Arial,sans-serif"
_GRADIENT_INK = "#7c4dc4"
_EDGE_INK = "#6b7280"
_REGION_INK = "#9d3b63"


@dataclass(frozen=True)
class Look:
    """Colours of a family of ops."""

    fill: str
    ink: str


_LOOKS = {
    "input": Look("#d8f3e0", "#23804a"),
    "parameter": Look("#fff6d6", "#b8901c"),
    "constant": Look("#f3f4f6", "#9ca3af"),
    "gradient": Look("#ebe1fa", _GRADIENT_INK),
    "loss": Look("#fbd5d5", "#b3322f"),
    "conv": Look("#d6e6fd", "#2563ad"),
    "pool": Look("#cdf0f2", "#14818c"),
    "norm": Look("#e6f5cf", "#66881f"),
    "linear": Look("#dbe1ff", "#4450b8"),
    "reduce": Look("#fcdfea", "#bb3f74"),
    "shape": Look("#eceef2", "#7b8494"),
    "random": Look("#efe3d3", "#8a6234"),
    "elementwise": Look("#ffe6d1", "#cc6f22"),
    "control": Look("#fff1f5", _REGION_INK),
    "other": Look("#ffffff", "#4b5563"),
    "output": Look("#23804a", "#23804a"),
    "update": Look("#b8901c", "#b8901c"),
}


def family(node: Node) -> str:
    """The family of a node's op, which decides its colour."""
    op = node.op
    declared = op.source or op.family
    return declared or ("shape" if op.view else "elementwise" if op.elementwise else "other")


def is_gradient(name: str, node: Node) -> bool:
    """Whether autodiff made the node, or it is a cotangent that comes in."""
    made = any(step.startswith("autodiff") for step in node.origin.history)
    return made or (node.op.source == "input" and name.startswith("grad."))


def to_dot(graph: Graph, *, title: str | None = None, highlight: Iterable[str] | Mapping[str, str] = ()) -> str:
    """The picture of a graph as DOT text; needs no library, and is the same for the same graph.

    Parameters
    ----------
    graph
        Any graph.
    title
        Heading of the picture.
    highlight
        Names of nodes to frame in red, or a mapping from such names to colours.

    Raises
    ------
    DrawError
        A highlighted node is not in the graph.
    """
    if title is not None:
        checks.text("draw", "title", title)
    wanted = (
        highlight.items()
        if isinstance(highlight, Mapping)
        else [(name, "#e11d48") for name in checks.several("draw", "highlight", highlight)]
    )
    for name, colour in wanted:
        if not isinstance(name, str) or name not in graph:
            raise DrawError(f"cannot highlight {shown(name)}: no node is called that")
        if not isinstance(colour, str) or not re.fullmatch("#[0-9a-fA-F]{6}|[a-zA-Z]+[0-9]*", colour):
            raise DrawError(f"cannot highlight {shown(name)} in {shown(colour)}: a colour is '#rrggbb' or a name")
    frames = dict(wanted)
    return "\n".join(_Drawing(graph, frames).lines(title)) + "\n"


def _scalar(node: Node) -> str | None:
    """What a constant holds, if that is a single number."""
    if family(node) != "constant" or node.outputs[0].size != 1:
        return None
    value = next(v for name, v in node.attrs.items() if name == "value")
    if isinstance(value, ConstArray):
        return str(value.array.reshape(-1)[0])
    return f"{value:.6g}" if isinstance(value, float) else str(value)


# ---------------------------------------------------------------- the picture


_DEEPEST = 20  # boxes in boxes


@dataclass
class _Box:
    """A module: its own nodes and the modules inside."""

    path: str
    nodes: dict[str, None] = field(default_factory=dict)
    inner: dict[str, _Box] = field(default_factory=dict)

    def child(self, name: str) -> _Box:
        path = f"{self.path}.{name}" if self.path and self.path != "∇" else f"{self.path} {name}".strip()
        return self.inner.setdefault(name, _Box(path))


class _Drawing:
    """Collects the lines of one DOT text."""

    def __init__(
        self, graph: Graph, frames: Mapping[str, str], prefix: str = "", boxes: Iterator[int] | None = None
    ) -> None:
        self.graph = graph
        self.frames = frames
        self.prefix = prefix
        returned = {value.node for value in graph.results}
        self.inlined = {
            name: text
            for name, node in graph.nodes()
            if name not in returned and name not in frames and (text := _scalar(node)) is not None
        }
        self.ids = {name: f"{prefix}n{i}" for i, name in enumerate(graph.order)}
        self.gradient = {name for name, node in graph.nodes() if is_gradient(name, node)}
        self.read = read_values(graph)
        self.right: set[str] = set()  # sources that stand to the right of what reads them
        self.stacks: dict[str, list[str]] = {}  # sources drawn as one, under the first one's name
        self.stacked: set[str] = set()  # all but the first of each
        self.boxes = count(1) if boxes is None else boxes
        self.regions = {
            (name, label): _Drawing(region.graph, {}, f"{self.ids[name]}_{label}_", self.boxes)
            for name, node in graph.nodes() if node.op.regions for label, region in regions_of(node.attrs).items()
        }  # fmt: skip

    def lines(self, title: str | None) -> Iterator[str]:
        yield "digraph lucid {"
        yield f'  graph [fontname="{_FONT}", fontsize=11, bgcolor="white", nodesep=0.22, ranksep=0.34, pad=0.2];'
        if title:
            yield f"  graph [label={quote(title)}, labelloc=t, fontsize=18];"
        yield (
            f'  node [fontname="{_FONT}", fontsize=11, shape=box, style="rounded,filled", '
            f'margin="0.10,0.05", height=0.3];'
        )
        yield (
            f'  edge [fontname="{_FONT}", fontsize=8, color="{_EDGE_INK}", fontcolor="{_EDGE_INK}", '
            f"arrowsize=0.6, penwidth=0.9];"
        )
        yield from self.content("  ")
        yield "}"

    def content(self, indent: str) -> Iterator[str]:
        """Boxes, nodes and edges."""
        forward, backward = self._modules()
        yield from self._box(forward, "", indent)
        yield from self._box(backward, "", indent)
        for name in self.graph.order:
            if name not in self.inlined:
                yield from self._edges(name)
        yield from self._results()

    def _region(self, holder: str, label: str, indent: str) -> Iterator[str]:
        """A frame around a graph that a node runs; what it gives goes to the node."""
        inner, target = self.regions[holder, label], self.ids[holder]
        yield f"{indent}subgraph cluster_{next(self.boxes)} {{"
        yield (
            f'{indent}  label={quote(f"{holder}: {label}")}; labeljust=l; fontsize=10; fontcolor="{_REGION_INK}"; '
            f'style="rounded,dashed"; color="{_REGION_INK}"; penwidth=0.9; margin=9;'
        )
        yield from inner.content(f"{indent}  ")
        yield f"{indent}}}"
        for number in range(len(inner.graph.outputs)):
            yield f'  {inner.prefix}out{number} -> {target} [style="dashed", color="{_REGION_INK}"];'

    def _modules(self) -> tuple[_Box, _Box]:
        forward, backward = _Box(""), _Box("∇")
        for name in self.graph.order:
            if name in self.inlined:
                continue
            owner = self._owner(name)
            box = backward if owner in self.gradient else forward
            for part in self._module(owner, self.graph.node(owner)):
                box = box.child(part)
            box.nodes[name] = None
        return forward, backward

    def _owner(self, name: str) -> str:
        """Whose module a node is drawn in: its own, or, for a source that only gradients read, its first reader's."""
        users = list(self.graph.dag.successors(name))
        saved = users and not self.graph.feeds[name] and self.gradient.issuperset(users)
        return users[0] if saved and name not in self.gradient else name

    def _module(self, name: str, node: Node) -> list[str]:
        """Parts of the module path; a parameter lies with the module that owns it."""
        if isinstance(node.attrs, ParameterAttrs):
            return node.attrs.name.split(".")[:-1][:_DEEPEST]
        return node.origin.modules[0].split(".")[:_DEEPEST] if node.origin.modules and node.origin.modules[0] else []

    def _box(self, box: _Box, around: str, indent: str) -> Iterator[str]:
        """A frame around a module of at least two things, and its content."""
        framed = box.path not in ("", "∇") and len(box.nodes) + len(box.inner) > 1 and not self._scattered(box)
        inside = indent
        if framed:
            number = next(self.boxes)
            gradient = box.path.startswith("∇")
            ink, tint = (_GRADIENT_INK, "#faf7ff") if gradient else ("#94a3b8", "#f8fafc")
            inside = indent + "  "
            yield f"{indent}subgraph cluster_{number} {{"
            yield (
                f'{inside}label={quote(box.path)}; labeljust=l; fontsize=10; fontcolor="{ink}"; '
                f'style="rounded,filled"; color="{ink}"; fillcolor="{tint}"; penwidth=0.7; margin=9;'
            )
            around = box.path
        rows = [row for name in box.nodes if (row := self._row(name, box))]
        for name in box.nodes:
            if name not in self.stacked:
                yield inside + self._node(name, around)
        for row in rows:
            yield f"{inside}{{rank=same; {'; '.join(self.ids[name] for name in row)};}}"
        for holder, label in [key for key in self.regions if key[0] in box.nodes]:
            yield from self._region(holder, label, inside)
        for inner in box.inner.values():
            yield from self._box(inner, around, inside)
        if framed:
            yield f"{indent}}}"

    def _scattered(self, box: _Box) -> bool:
        """Whether a box holds unconnected calls of one module, which a frame would tear out of order."""
        dag = self.graph.dag
        calls = {name for name in box.nodes if self.graph.feeds[name] and name not in self.gradient}
        return not box.inner and len(calls) > 1 and not any(m in calls for n in calls for m in dag.successors(n))

    def _row(self, name: str, box: _Box) -> list[str]:
        """What stands beside a node: one of its own sources to the left, another to the right; more in a stack."""
        beside = [v.node for v in self.graph.inputs_of(name) if self._beside(v.node, name, box)]
        if len(beside) > 2 and not any(source in self.frames for source in beside):
            self.stacks[beside[0]] = beside
            self.stacked.update(beside[1:])
            beside = beside[:1]
        self.right.update(beside[1:2])
        return [*beside[:2], name] if beside else []

    def _beside(self, name: str, user: str, box: _Box) -> bool:
        """Whether ``name`` is a parameter or saved value that only ``user`` reads, so that it may stand beside it."""
        source = self.graph.node(name).op.source
        return (
            (source == "parameter" or (source == "input" and user in self.gradient and name not in self.gradient))
            and name in box.nodes
            and list(self.graph.dag.successors(name)) == [user]
        )

    def _node(self, name: str, around: str) -> str:
        node = self.graph.node(name)
        kind = family(node)
        if name in self.gradient and kind in ("elementwise", "shape", "reduce", "linear", "other", "constant"):
            look = Look(_LOOKS[kind].fill, _GRADIENT_INK)
        else:
            look = _LOOKS["gradient" if name in self.gradient else kind]
        stack = self.stacks.get(name, [name])
        rows = [
            row
            for n in stack
            for row in self._rows(n, self.graph.node(n), kind, around.removeprefix("∇ "), len(stack) > 1)
        ]
        cells = "".join(f'<TR><TD ALIGN="CENTER">{row}</TD></TR>' for row in rows)
        label = f'<<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0">{cells}</TABLE>>'
        options = [f"label={label}", f'fillcolor="{look.fill}"', f'color="{look.ink}"']
        if kind == "input":
            options += ["shape=oval", 'style="filled"', "penwidth=1.4", 'margin="0.02,0.01"']
        elif kind in ("parameter", "constant"):
            options += ['style="filled"', "penwidth=0.6", 'margin="0.06,0.03"', "height=0.2"]
        if name in self.frames:
            options += [f"color={quote(self.frames[name])}", "penwidth=3"]
        tip = "\n".join(self._tooltip(n, self.graph.node(n)) for n in stack)
        options.append(f"tooltip={quote(tip)}")
        return f"{self.ids[name]} [{', '.join(options)}];"

    def _rows(self, name: str, node: Node, kind: str, around: str, one_line: bool) -> list[str]:
        own = name.removeprefix(around + ".") if around else name
        if kind in ("input", "parameter"):
            rows = [f"<B>{escape(own)}</B>" if kind == "input" else f'<FONT POINT-SIZE="9">{escape(own)}</FONT>']
            dtype = f" {node.outputs[0].dtype.name}" if kind == "input" and node.outputs[0].dtype == float32 else ""
            rows.append(small(type_label(node.outputs[0]) + dtype))
            return ["&nbsp; ".join(rows)] if one_line else rows
        rows = [f"<B>{escape(node.op.name)}</B>"]
        if own != snake_case(node.op.name):
            rows.append(small(own, "#9aa1ad", 8))
        rows += [small(line, "#4b5563", 9) for line in attribute_lines(node)]
        for slot, value in enumerate(self.graph.inputs_of(name)):
            if value.node in self.inlined:
                rows.append(small(f"{slot_name(node, slot)} = {self.inlined[value.node]}", "#4b5563", 9))
        return [*rows, *(small(type_label(t)) for t in node.outputs[:1])]

    def _tooltip(self, name: str, node: Node) -> str:
        types = ", ".join(map(str, node.outputs))
        return "\n".join([f"{name} : {types}", *filter(None, [str(node.origin)]), *node.origin.history])

    def _edges(self, name: str) -> Iterator[str]:
        node = self.graph.node(name)
        for slot, value in enumerate(self.graph.inputs_of(name)):
            if value.node not in self.inlined and value.node not in self.stacked:
                tip = f"{value} → {slot_name(node, slot)} of {name}"
                inner = [one for key, one in self.regions.items() if key[0] == name]
                read = [one.ids[one.graph.inputs[at]] for one in inner if (at := self._given(name, slot, one)) >= 0]
                for target in read or [self.ids[name]]:
                    yield self._edge(value, target, tip, saved=name in self.gradient)

    def _given(self, name: str, slot: int, inner: _Drawing) -> int:
        """Which input of a region an operand of its node is, being the last ones of each; less than 0 for none."""
        return slot - len(self.graph.inputs_of(name)) + len(inner.graph.inputs)

    def _edge(self, value: Value, target: str, tip: str, *, saved: bool = False) -> str:
        """One arrow: thin from parameters, violet for gradients, dashed for what the backward pass reads."""
        node = self.graph.node(value.node)
        options = [f"tooltip={quote(tip)}"]
        if value.node in self.gradient:
            options.append(f'color="{_GRADIENT_INK}", fontcolor="{_GRADIENT_INK}", weight=4')
        elif saved:
            options.append('style="dashed", penwidth=0.7')
        elif node.op.source == "parameter":
            options.append("penwidth=0.6, arrowsize=0.45")
        else:
            options.append("weight=6")
        if any(Value(value.node, i) in self.read for i in range(1, len(node.outputs))):
            label = f" {output_name(node, value.output)}"
            if value.output:
                label += f"\n {type_label(node.outputs[value.output])}"
            options.append(f"label={quote(label)}")
        source = self.ids[value.node]
        if value.node in self.right:
            source, target = target, source
            options.append("dir=back")
        return f"  {source} -> {target} [{', '.join(options)}];"

    def _results(self) -> Iterator[str]:
        single = len(self.graph.outputs) == 1
        violet = f', fillcolor="{_GRADIENT_INK}", color="{_GRADIENT_INK}"'
        for i, value in enumerate(self.graph.outputs):
            label = quote("output" if single else f"output {i}")
            style = _RESULT_STYLE["output"] + (violet if value.node in self.gradient else "")
            yield f"  {self.prefix}out{i} [label={label}, {style}];"
            yield self._edge(value, f"{self.prefix}out{i}", f"{value} is output {i}")
        for i, (label, value) in enumerate(self.graph.updates):
            yield f"  update{i} [label={quote(f'update {label}')}, {_RESULT_STYLE['update']}];"
            yield self._edge(value, f"update{i}", f"{value} becomes {label}")


_RESULT_STYLE = {
    kind: f'shape=oval, style="filled", fontcolor="white", fontsize=10, height=0.25, margin="0.06,0.02", '
    f'fillcolor="{_LOOKS[kind].fill}", color="{_LOOKS[kind].ink}"'
    for kind in ("output", "update")
}
