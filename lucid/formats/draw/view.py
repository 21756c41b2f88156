"""The content of a picture as data: boxes, arrows and the modules around them, without layout or file format.

:mod:`.graph_view` makes a view of a graph. Functions then transform it: repeated blocks become one (:mod:`.repeats`),
modules are closed (:mod:`.modules`), only the neighbourhood of a module remains (:mod:`.focus`), columns are set
(:mod:`.columns`), two views are put side by side (:mod:`.pairs`). :mod:`.dot` writes the result as text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from itertools import groupby
from typing import NamedTuple, TypeAlias

from ...base.structs import struct

WIDEST = 34
"""The most characters in a line of a box."""
LONGEST_NAME = 100
"""The most characters of a name: Graphviz takes 16384 in a box."""
PLACE = "\0"
"""Stands for a name in the text of a row; of the name, only what the frames around it do not say is shown."""


class Part(NamedTuple):
    """One frame around a box.

    Attributes
    ----------
    name
        The name of the module within the one around it.
    run
        The number of the frame, if a module has several because it is called again after other boxes.
    kind
        ``"module"``; ``"region"`` for a graph that a node runs; ``"repeat"`` for several modules that repeat together.
    """

    name: str
    run: int = 0
    kind: str = "module"


Path: TypeAlias = "tuple[Part, ...]"
Place: TypeAlias = "tuple[str, Path]"
"""A section, and the frames within it."""


def module_of(path: Path) -> str:
    """The module that a box in these frames belongs to."""
    return ".".join(part.name for part in path if part.kind == "module")


def path_of(module: str, deepest: int = 20) -> Path:
    """The frames of a module."""
    return tuple(map(Part, module.split(".")[:deepest])) if module else ()


def joined(names: Sequence[str], most: int = 26) -> str:
    """As many names as fit a line, and the number of remaining ones."""
    line, left = "", len(names)
    for name in names:
        if line and len(line) + len(name) > most:
            return f"{line} + {left} more"
        line, left = f"{line} + {name}" if line else name, left - 1
    return line


def shorten_name(name: str, most: int = 44) -> str:
    """The name; if it is long, an ellipsis and its end, which is more specific than its beginning."""
    return name if len(name) <= most else "…" + name[1 - most :]


class Row(NamedTuple):
    """A line in a box: its kind, a text, and the names to be inserted at the place for them."""

    kind: str
    text: str
    names: tuple[str, ...] = ()

    def words(self, *around: str) -> str:
        """The line, within these modules."""
        names = [relative(name, *around, bare=len(self.names) > 1) for name in self.names]
        parents = Counter(name.rpartition(".")[0] for name in dict.fromkeys(names))
        short = [parent if parents[parent := name.rpartition(".")[0]] > 1 and parent else name for name in names]
        said = [shorten_name(name, LONGEST_NAME) for name in dict.fromkeys(short) if name]
        return self.text.replace(PLACE, joined(said))


def relative(name: str, *around: str, bare: bool = False) -> str:
    """A name relative to the first of these modules that contains it; empty if it is that module.

    A number alone says little, so the name before it is included, unless ``bare``.
    """
    for module in around:
        if module and name == module:
            return ""
        if module and name.startswith(module + "."):
            own = name[len(module) + 1 :]
            return f"{module.rpartition('.')[2]}.{own}" if own.isdigit() and not bare else own
    return name


@struct(frozen=True)
class Box:
    """A box of a picture.

    Attributes
    ----------
    key
        Key of the box in its view.
    kind
        The family of its op, or another kind: ``"output"``, ``"module"``, …
    rows
        The lines in it.
    path, section
        The frames around it; boxes of different sections share none.
    module
        The module that it belongs to, whether or not that has a frame.
    gradient
        Whether autodiff made it.
    members
        The nodes that it stands for.
    weights
        The parameters that it reads, with their numbers of elements.
    sign
        A key that is equal for boxes that compute the same, whatever their names.
    times
        How many equal boxes in a row it stands for.
    mark
        The result of a comparison, or ``"faint"``.
    frame
        A colour to highlight it.
    hover, link
        The tooltip, and the address that a click opens.
    column
        The number of its column.
    """

    key: str
    kind: str
    rows: tuple[Row, ...]
    path: Path = ()
    section: str = ""
    module: str = ""
    gradient: bool = False
    members: tuple[str, ...] = ()
    weights: tuple[tuple[str, int], ...] = ()
    sign: Hashable = ()
    times: int = 1
    mark: str = ""
    frame: str = ""
    hover: str = ""
    link: str = ""
    column: int = 0

    @property
    def place(self) -> Place:
        """Its section and the frames around it."""
        return self.section, self.path


class Edge(NamedTuple):
    """An arrow from a box's output to another box.

    Attributes
    ----------
    label
        The type of the value.
    kind
        ``"value"``, ``"gradient"``, ``"parameter"``, ``"kept"`` for values that the backward graph reads from the
        forward one, or ``"region"`` for results of a graph, which go to the node that runs it.
    """

    source: str
    target: str
    output: int = 0
    label: str = ""
    kind: str = "value"
    hover: str = ""


@struct(frozen=True)
class Times:
    """How often the content of a frame repeats, and the label of the frame."""

    count: int
    label: str


@struct(frozen=True)
class View:
    """The content of a picture.

    Attributes
    ----------
    boxes
        The boxes, in topological order.
    edges
        The arrows, in order of their targets.
    times
        Frames that stand for several equal ones.
    headings
        Headings of sections.
    upward
        Sections whose arrows go up, while those of others go down.
    """

    boxes: tuple[Box, ...]
    edges: tuple[Edge, ...]
    times: Mapping[Place, Times] = field(default_factory=dict)
    headings: Mapping[str, str] = field(default_factory=dict)
    upward: frozenset[str] = frozenset()

    def framed(self) -> set[Place]:
        """The frames that are drawn: not those around a single thing, or around frames only, whose names include it."""
        boxes: Counter[Place] = Counter(box.place for box in self.boxes)
        frames: Counter[Place] = Counter()
        places = {(box.section, box.path[:depth]) for box in self.boxes for depth in range(1, len(box.path) + 1)}
        found: set[Place] = set()
        for section, path in sorted(places, key=lambda place: -len(place[1])):
            place, around = (section, path), (section, path[:-1])
            own, inner = boxes[place], frames[place]
            repeats = path[-1].kind != "module" or place in self.times
            if (own + inner > 1 and own) or (own + inner > 0 and repeats):
                found.add(place)
                frames[around] += 1
            else:  # its content counts as that of the frame around it
                boxes[around] += own
                frames[around] += inner
        return found

    def sources(self) -> dict[str, list[Edge]]:
        """The arrows into each box."""
        found: dict[str, list[Edge]] = {box.key: [] for box in self.boxes}
        for edge in self.edges:
            found[edge.target].append(edge)
        return found


def renamed(edges: Iterable[Edge], new: Mapping[str, str]) -> tuple[Edge, ...]:
    """Arrows with their ends renamed, without those within a box and without duplicates."""
    found: dict[tuple[str, str, str, int], Edge] = {}
    whole = set(new.values())
    for edge in edges:
        source, target = new.get(edge.source, edge.source), new.get(edge.target, edge.target)
        if source == target:
            continue
        several = source in whole or target in whole
        key = (source, target, edge.source if several else edge.hover, edge.output)
        found.setdefault(key, edge._replace(source=source, target=target))
    return tuple(found.values())


def lines_of(box: Box, around: str = "") -> list[tuple[str, str]]:
    """The lines of a box within a module, as kind and text."""
    found: list[tuple[str, str]] = []
    for kind, rows in groupby(box.rows, key=lambda row: row.kind):
        if kind in ("title", "name"):
            words = [row.words(around) or (row.words() if kind == "title" else "") for row in rows]
        else:
            most = 28 if box.gradient else WIDEST + 4 * (kind in ("parameter", "kept"))  # in small print
            words = list(wrap([row.words(*_outward(box.module), around) for row in rows], " · ", most))
        found += [(kind, line) for line in words if line.strip()]
    return found


def _outward(module: str) -> Iterator[str]:
    """A module and those that contain it."""
    while module:
        yield module
        module = module.rpartition(".")[0]


def wrap(words: Iterable[str], between: str, most: int = WIDEST) -> Iterator[str]:
    """Words joined to lines of limited length."""
    line = ""
    for word in words:
        if line and len(line) + len(between) + len(word) > most:
            yield line + between.rstrip() if between.strip() == "→" else line
            line = word
        else:
            line = f"{line}{between}{word}" if line else word
    if line:
        yield line
