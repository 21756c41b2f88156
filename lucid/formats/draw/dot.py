"""Views as DOT text, written without any library."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field
from itertools import count

from ...base.structs import struct
from . import style
from .style import EDGES, FACES, FRAMES, LOOKS, MARKS, ROWS, SIGNS, Look
from .view import Box, Edge, Path, Place, View, lines_of, module_of
from .words import escape, quote, shorten

DIRECTIONS: Mapping[str, str] = {"down": "TB", "TB": "TB", "right": "LR", "LR": "LR"}
"""Directions of arrows, in words and in Graphviz's terms, with Graphviz's term for each."""

LONGEST = 4000
"""The most characters of a tooltip: Graphviz reads no text of more than 16384 bytes."""


def dot_of(view: View, *, title: str | None = None, direction: str = "down") -> str:
    """A view as DOT text; equal views give equal text."""
    return Writing(view, DIRECTIONS[direction]).text(title)


@struct
class _Frame:
    """A frame, with its own boxes and the frames inside it."""

    place: Place
    boxes: list[Box] = field(default_factory=list)
    inner: dict[object, _Frame] = field(default_factory=dict)

    def child(self, key: object, path: Path) -> _Frame:
        return self.inner.setdefault(key, _Frame((self.place[0], path)))


class Writing:
    """Writes one view, and remembers the names that it used in the text.

    Attributes
    ----------
    ids
        The DOT nodes of the boxes.
    types
        For each value whose type is shown, the DOT node that shows it (Graphviz loses labels of arrows in columns).
    words
        For each box its lines, as kind and text.
    frames
        The clusters, each with its place, its kind and its label.
    arrows
        For each arrow its ends, its edge, and whether it leads to a type, so that it has no head.
    """

    def __init__(self, view: View, rankdir: str) -> None:
        self.view, self.rankdir = view, rankdir
        self.words: dict[str, list[tuple[str, str]]] = {}
        self.frames: dict[str, tuple[Place, str, str]] = {}
        self.arrows: list[tuple[str, str, Edge, bool]] = []
        self.ids = {box.key: f"n{i}" for i, box in enumerate(view.boxes)}
        self.columns = {box.key: box.column for box in view.boxes}
        self.sections = {box.key: box.section for box in view.boxes}
        self.framed = view.framed()
        self.numbers = count(1)
        self.types: dict[tuple[str, int], tuple[str, Edge]] = {}
        for edge in view.edges:
            if edge.label and (edge.source, edge.output) not in self.types:
                self.types[edge.source, edge.output] = f"t{len(self.types)}", edge
        self.said: dict[str, list[tuple[str, Edge]]] = {}
        for (source, _), node in self.types.items():
            self.said.setdefault(source, []).append(node)

    def text(self, title: str | None = None) -> str:
        """The whole text."""
        return "\n".join(self._lines(title)) + "\n"

    def _lines(self, title: str | None) -> Iterator[str]:
        yield "digraph lucid {"
        near, far = style.GAP
        patience = style.PATIENCE[len(self.view.boxes) > style.LARGE]
        yield (
            f'  graph [rankdir={self.rankdir}, fontname="{style.FONT}", fontsize={style.FRAME_SIZE}, bgcolor="white", '
            f"nodesep={near / 72:.3f}, ranksep={far / 72:.3f}, pad={style.MARGIN / 72:.3f}, {patience}];"
        )
        if max(self.columns.values(), default=0):
            yield f'  graph [pack={far}, packmode="array_tu{max(self.columns.values()) + 1}"];'
        if title:
            yield f"  graph [label={quote(title)}, labelloc=t, fontsize={style.HEADING_SIZE}];"
        yield f"  node [fontname={quote(style.FONT)}, {style.BOX}];"
        yield f"  edge [{style.ARROW}];"
        for number in range(max(self.columns.values(), default=0) + 1):
            roots: dict[str, _Frame] = {}
            for box in self.view.boxes:
                if box.column == number:
                    frame = roots.setdefault(box.section, _Frame((box.section, ())))
                    for depth, part in enumerate(box.path):
                        frame = frame.child(part, box.path[: depth + 1])
                    frame.boxes.append(box)
            for root in roots.values():
                yield from self._frame(root, "", "  ")
        yield from self._edges()
        yield "}"

    # ------------------------------------------------------------ frames

    def _frame(self, frame: _Frame, around: str, indent: str) -> Iterator[str]:
        """The content of a frame, and the frame itself if it is worth drawing."""
        section, path = frame.place
        times = self.view.times.get(frame.place)
        heading = self.view.headings.get(section) if not path else None
        wanted = heading is not None or frame.place in self.framed
        if wanted:
            kind = (
                "section"
                if heading
                else "region"
                if path[-1].kind == "region"
                else "gradient"
                if section == "gradient"
                else "module"
            )
            name, label = f"cluster_{next(self.numbers)}", heading or self._label(frame.place, kind)
            self.frames[name] = frame.place, kind, label
            yield f"{indent}subgraph {name} {{"
            yield f"{indent}  {self._look(kind, label, times is not None)}"
            around = module_of(path) or around
        inside = indent + "  " * wanted
        for box in frame.boxes:
            yield f"{inside}{self._box(box, around)}"
            for node, edge in self.said.get(box.key, ()):
                yield f"{inside}{self._type(node, edge)}"
        for inner in frame.inner.values():
            yield from self._frame(inner, around, inside)
        if wanted:
            yield f"{indent}}}"

    def _label(self, place: Place, kind: str) -> str:
        path = place[1]
        times = self.view.times.get(place)
        name = times.label if times else path[-1].name if kind == "region" else module_of(path)
        sign = "∇ " if kind == "gradient" else ""
        return f"{sign}{name} × {times.count}" if times else f"{sign}{name}"

    def _look(self, kind: str, label: str, repeats: bool) -> str:
        ink, fill, shape, words = FRAMES[kind]
        size = style.HEADING_SIZE if kind == "section" else style.FRAME_SIZE
        return (
            f'label={quote(label)}; labeljust=l; fontsize={size}; fontcolor="{words}"; style="{shape}"; color="{ink}"; '
            f'fillcolor="{fill}"; penwidth={style.REPEAT_LINE if repeats else 0.7}; margin={style.FRAME_MARGIN};'
        )

    # ------------------------------------------------------------ boxes

    def _box(self, box: Box, around: str) -> str:
        look = self._colours(box)
        self.words[box.key] = words = list(self._words(box, around))
        cells = "".join(f"<TR><TD>{cell}</TD></TR>" for cell in self._cells(box, words, look))
        table = f'<<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0">{cells}</TABLE>>'
        options = [f"label={table}", f'fillcolor="{look.fill}"', f'color="{look.ink}"', *FACES.get(box.kind, ())]
        if box.times > 1:
            options.append("peripheries=2")
        if box.mark in MARKS:
            options += [f'color="{MARKS[box.mark]}"', "penwidth=2.4"]
        if box.frame:
            options += [f"color={quote(box.frame)}", "penwidth=3"]
        if box.column:
            options.append(f"sortv={box.column}")
        options.append(_tooltip(box.hover or " "))
        if box.link:
            options.append(f"URL={quote(box.link)}")
        return f"{self.ids[box.key]} [{', '.join(options)}];"

    def _type(self, node: str, edge: Edge) -> str:
        """The node that shows the type of a value, on the way of its arrows."""
        colour, options = EDGES[edge.kind]
        line = self._arrow(edge, self.ids[edge.source], node, options or "weight=6", said=True)
        return f'{node} [label={quote(edge.label)}, {style.TYPE}, fontcolor="{colour}"]; {line};'

    def _colours(self, box: Box) -> Look:
        if box.mark == "faint":
            return Look(*style.FAINT)
        look = LOOKS[box.kind]
        return look._replace(ink=LOOKS["gradient"].ink) if box.gradient and box.kind != "given" else look

    def _words(self, box: Box, around: str) -> Iterator[tuple[str, str]]:
        for number, (kind, words) in enumerate(lines_of(box, around)):
            if kind == "title":
                words += f"  × {box.times}" if box.times > 1 else ""
                words = f"{SIGNS[box.mark]} {words}" if box.mark in SIGNS and number == 0 else words
            yield kind, words

    def _cells(self, box: Box, lines: list[tuple[str, str]], look: Look) -> Iterator[str]:
        for kind, words in lines:
            size, colour = ROWS[kind]
            text = escape(words)
            if kind == "title":
                text = f"<B>{text}</B>"
            ink = look.title if kind == "title" or box.mark == "faint" or look.title == style.ON_DARK else colour
            yield f'<FONT POINT-SIZE="{size}" COLOR="{ink}">{text}</FONT>'

    # ------------------------------------------------------------ arrows

    def _edges(self) -> Iterator[str]:
        for edge in self.view.edges:
            said = self.types.get((edge.source, edge.output))
            source = self.ids[edge.source] if said is None else said[0]
            words = ", ".join(filter(None, [EDGES[edge.kind][1], _tooltip(edge.hover)]))
            yield f"  {self._arrow(edge, source, self.ids[edge.target], words)};"

    def _arrow(self, edge: Edge, source: str, target: str, options: str, *, said: bool = False) -> str:
        """An arrow; within a section whose arrows go up, its ends are swapped for Graphviz."""
        colour, head = EDGES[edge.kind][0], "none" if said else "normal"
        self.arrows.append((source, target, edge, said))
        if self.sections[edge.source] == self.sections[edge.target] in self.view.upward:
            return f'{target} -> {source} [dir=back, arrowtail={head}, color="{colour}", {options}]'
        return f'{source} -> {target} [{"arrowhead=none, " * said}color="{colour}", {options}]'


def _tooltip(text: str) -> str:
    return f"tooltip={quote(shorten(text, LONGEST))}"
