"""Pictures as files: SVG, PDF and PNG by any installed Graphviz."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ...base import checks
from ...base.checks import integer, named, shown
from ...errors import DrawError
from ...graph.ir import Graph, Value
from ..files import checked_path, write_atomically
from . import style
from .columns import in_columns
from .dot import DIRECTIONS, dot_of
from .focus import focused
from .graph_view import DrawOptions, view_of
from .merging import dense, with_tails
from .modules import closed, separated
from .pairs import beside, compared, joined
from .repeats import with_repeats
from .view import View

#: Suffixes that :func:`draw` writes.
SUFFIXES = (".svg", ".pdf", ".png", ".dot")
DETAILS = ("auto", "full")
SCHEMES = ("http", "https", "file")
IN_A_NOTEBOOK = 120
"""The most boxes in a notebook; in larger pictures modules are closed."""
CELL = 720
"""The width of a notebook's cell in points; wider pictures are scaled down."""


def draw(
    graph: Graph,
    path: str | os.PathLike[str],
    *,
    title: str | None = None,
    highlight: Iterable[str] | Mapping[str, str] = (),
    depth: int | None = None,
    focus: str | None = None,
    direction: str = "down",
    detail: str = "auto",
    columns: int | None = None,
    notes: Mapping[str, Sequence[str]] | None = None,
    links: Mapping[str, str] | None = None,
    max_nodes: int = 2000,
) -> None:
    """Draw a graph to a file, in the format given by its suffix: .svg, .pdf, .png or .dot.

    Parameters
    ----------
    graph
        Any graph.
    path
        The file to write; an existing one is replaced.
    title, highlight, depth, focus, direction, detail, columns, notes, links
        As for :func:`to_dot`.
    max_nodes
        The most boxes to lay out, as Graphviz takes minutes for more. A .dot file may have any number.

    Raises
    ------
    DrawError
        If a suffix or option is unknown, there are too many boxes, or no Graphviz is found.
    FileError
        If the path cannot be written.
    """
    path = checked_path(path, "drawn")
    max_nodes = integer("draw", "max_nodes", max_nodes, 0)
    view = picture(
        graph, highlight=highlight, depth=depth, focus=focus, detail=detail, columns=columns, notes=notes, links=links
    )
    write(view, path, title=title, direction=direction, max_nodes=max_nodes)


def to_dot(
    graph: Graph,
    *,
    title: str | None = None,
    highlight: Iterable[str] | Mapping[str, str] = (),
    depth: int | None = None,
    focus: str | None = None,
    direction: str = "down",
    detail: str = "auto",
    columns: int | None = None,
    notes: Mapping[str, Sequence[str]] | None = None,
    links: Mapping[str, str] | None = None,
) -> str:
    """The picture of a graph as DOT text, without any library; equal graphs give equal text.

    Parameters
    ----------
    graph
        Any graph.
    title
        Heading of the picture.
    highlight
        Names of nodes to frame, or a mapping from such names to colours.
    depth
        How many levels of modules to show: with 1, each module of the model is one box. By default all.
    focus
        A module, a node or a parameter to show; of its neighbours only names are shown, and all else is left out.
    direction
        ``"down"`` or ``"right"``; Graphviz's ``"TB"`` and ``"LR"`` mean the same.
    detail
        ``"auto"`` writes nodes that depend on parameters only, and values that a backward graph reads from the forward
        one, into the box that reads them, and draws repeated blocks once; ``"full"`` gives each node its own box.
    columns
        The number of columns of a long picture; by default as many as the height of an A4 page requires.
    notes
        By name of a node, lines to show when the mouse is over it.
    links
        By name of a node, the address that a click on it opens: a path or a web address.

    Raises
    ------
    DrawError
        If an option is unknown, or a name is not in the graph.
    """
    view = picture(
        graph, highlight=highlight, depth=depth, focus=focus, detail=detail, columns=columns, notes=notes, links=links
    )
    return text(view, title=title, direction=direction)


def picture(
    graph: Graph,
    *,
    highlight: Iterable[str] | Mapping[str, str] = (),
    depth: int | None = None,
    focus: str | None = None,
    detail: str = "auto",
    columns: int | None = None,
    notes: Mapping[str, Sequence[str]] | None = None,
    links: Mapping[str, str] | None = None,
) -> View:
    """The view of a graph that :func:`to_dot` writes, with the same options."""
    options = _options([graph], detail, highlight, notes, links)
    return arranged(view_of(graph, options), depth=depth, focus=focus, full=options.full, columns=columns)


def arranged(
    view: View, *, depth: int | None = None, focus: str | None = None, full: bool = False, columns: int | None = None
) -> View:
    """A view with repeated blocks drawn once, modules closed, and set in columns."""
    if depth is not None:
        depth = integer("draw", "depth", depth, 1)
    if columns is not None:
        columns = integer("draw", "columns", columns, 1)
    if focus is not None:
        view = focused(view, checks.text("draw", "focus", focus))
    view = separated(view)
    if not full:
        view = dense(with_repeats(with_tails(view)))
    if depth is not None:
        view = closed(view, depth)
    return in_columns(view, columns)


def draw_changes(
    before: Graph, after: Graph, path: str | os.PathLike[str], headings: Sequence[str] = ("before", "after"), *,
    detail: str = "auto", focus: str | None = None, depth: int | None = None, max_nodes: int = 2000,
) -> None:  # fmt: skip
    """Draw two graphs side by side, and mark what is only in one of them and what has changed.

    The options are those of :func:`draw`.
    """
    options = DrawOptions(full=_full(detail))
    sides = compared(view_of(before, options), view_of(after, options))
    views = [arranged(view, depth=depth, focus=focus, full=options.full, columns=1) for view in sides]
    write(beside(views, headings), path, max_nodes=max_nodes)


def draw_training(
    forward: Graph, backward: Graph, results: int, kept: Sequence[Value], path: str | os.PathLike[str], *,
    title: str | None = None, highlight: Iterable[str] | Mapping[str, str] = (), depth: int | None = None,
    focus: str | None = None, direction: str = "down", detail: str = "auto",
    notes: Mapping[str, Sequence[str]] | None = None, links: Mapping[str, str] | None = None, max_nodes: int = 2000,
) -> None:  # fmt: skip
    """Draw the halves of training side by side, with arrows from kept values to the gradients that read them.

    Parameters
    ----------
    forward, backward, results, kept
        As for :func:`~.pairs.joined`.
    path, title, highlight, depth, focus, direction, detail, notes, links, max_nodes
        As for :func:`draw`; names are those of either half.
    """
    options = _options([forward, backward], detail, highlight, notes, links)
    view = joined(forward, backward, results, kept, options)
    view = arranged(view, depth=depth, focus=focus, full=options.full, columns=1)
    write(view, path, title=title, direction=direction, max_nodes=max_nodes)


def notebook(graph: Graph) -> str | None:
    """A graph as SVG that fits a notebook's cell, with modules closed if it would be too large.

    None if it cannot be drawn, or has too many boxes even so.
    """
    best: tuple[float, str] | None = None
    for depth in (None, 3, 2, 1):
        view = picture(graph, depth=depth)
        if len(view.boxes) > IN_A_NOTEBOOK:
            continue
        try:
            svg = render(text(view), "svg").decode()
        except DrawError:  # without Graphviz, a notebook shows what a terminal does
            return None
        svg = svg[svg.index("<svg") :].replace("<svg", '<svg style="max-width:100%;height:auto"', 1)
        width = float(re.findall(r'width="([0-9.]+)pt"', svg)[0])
        if width <= CELL:
            return svg
        best = min(best or (width, svg), (width, svg))
    return best and best[1]


def _options(
    graphs: Sequence[Graph], detail: str, highlight: Iterable[str] | Mapping[str, str],
    notes: Mapping[str, Sequence[str]] | None, links: Mapping[str, str] | None,
) -> DrawOptions:  # fmt: skip
    """The options as one object, checked."""
    return DrawOptions(_full(detail), _frames(graphs, highlight), _notes(graphs, notes), _links(links))


def _full(detail: str) -> bool:
    if detail not in DETAILS:
        raise DrawError(f"draw: detail is 'auto' or 'full', got {shown(detail)}")
    return detail == "full"


def _notes(graphs: Sequence[Graph], notes: Mapping[str, Sequence[str]] | None) -> dict[str, tuple[str, ...]]:
    """Nodes and lines, checked."""
    found = {}
    for name, lines in checks.mapping("draw", "notes", {} if notes is None else notes).items():
        if not any(name in graph for graph in graphs):
            raise DrawError(f"cannot add notes to {shown(name)}: there is no such node")
        found[name] = tuple(
            checks.text("draw", f"a note with {shown(name)}", line)
            for line in checks.several("draw", f"notes[{shown(name)}]", lines)
        )
    return found


def _links(links: Mapping[str, str] | None) -> dict[str, str]:
    """Nodes and addresses, checked to be paths or web addresses, and nothing that a browser would run."""
    found = {}
    for name, to in checks.mapping("draw", "links", {} if links is None else links).items():
        address = checks.text("draw", f"the link of {shown(name)}", to)
        scheme = re.match(r"\s*([^/?#]*?):", address)
        if not address.isprintable() or (scheme and scheme[1].lower() not in SCHEMES):
            raise DrawError(f"draw: {shown(name)} cannot lead to {shown(to)}: a link is a path or a web address")
        found[name] = address
    return found


def text(view: View, *, title: str | None = None, direction: str = "down") -> str:
    """A view as DOT text."""
    if title is not None:
        checks.text("draw", "title", title)
    if direction not in DIRECTIONS:
        raise DrawError(f"draw: direction is 'down' or 'right', got {shown(direction)}")
    return dot_of(view, title=title, direction=direction)


def write(
    view: View,
    path: str | os.PathLike[str],
    *,
    title: str | None = None,
    direction: str = "down",
    max_nodes: int = 2000,
) -> None:
    """Write a view to a file; the parameters are those of :func:`draw`."""
    path = checked_path(path, "drawn")
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise DrawError(f"{named(path)}: a picture's name ends in {', '.join(SUFFIXES)}")
    if suffix != ".dot" and len(view.boxes) > max_nodes:
        raise DrawError(
            f"the picture has {len(view.boxes)} boxes; laying out more than {max_nodes} may take minutes. "
            f"Pass depth=1 to close modules, max_nodes={len(view.boxes)} to draw it all the same, or write a .dot file"
        )
    dot = text(view, title=title, direction=direction)
    write_atomically(path, [dot.encode() if suffix == ".dot" else render(dot, suffix[1:])])


def _frames(graphs: Sequence[Graph], highlight: Iterable[str] | Mapping[str, str]) -> dict[str, str]:
    """Nodes and colours, checked."""
    wanted = (
        highlight.items()
        if isinstance(highlight, Mapping)
        else [(name, style.HIGHLIGHT) for name in checks.several("draw", "highlight", highlight)]
    )
    for name, colour in wanted:
        if not any(name in graph for graph in graphs):
            raise DrawError(f"cannot highlight {shown(name)}: there is no such node")
        if not isinstance(colour, str) or not re.fullmatch("#[0-9a-fA-F]{6}|[a-zA-Z]+[0-9]*", colour):
            raise DrawError(f"cannot highlight {shown(name)} in {shown(colour)}: a colour is '#rrggbb' or a name")
    return dict(wanted)


def render(dot: str, form: str) -> bytes:
    """DOT text laid out as ``svg``, ``pdf`` or ``png``, by the ``dot`` program or otherwise by pygraphviz.

    Raises
    ------
    DrawError
        If neither is installed, or Graphviz failed.
    """
    if shutil.which("dot"):
        import graphviz

        try:
            picture: bytes = graphviz.Source(dot).pipe(format=form)
        except (graphviz.CalledProcessError, graphviz.ExecutableNotFound, OSError) as error:
            raise DrawError(f"Graphviz could not make the picture: {error}") from error
        return picture
    try:
        import pygraphviz
    except ImportError as error:
        raise DrawError(
            "no Graphviz was found. Either install the program (apt install graphviz, brew install graphviz), "
            "or the library with it inside (pip install lucid[dot]); a .dot file needs neither"
        ) from error
    try:
        picture = pygraphviz.AGraph(string=dot).draw(format=form, prog="dot")
    except (ValueError, OSError, pygraphviz.DotError) as error:
        raise DrawError(f"Graphviz could not make the picture: {error}") from error
    return picture
