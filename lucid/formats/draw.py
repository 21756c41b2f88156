"""Pictures of graphs as files: SVG, PDF and PNG through whichever Graphviz is there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..base.checks import integer, named
from ..errors import DrawError
from ..graph.ir import Graph
from .dot import to_dot
from .files import checked_path, write_atomically

#: Suffixes that :func:`draw` writes.
SUFFIXES = (".svg", ".pdf", ".png", ".dot")


def draw(
    graph: Graph,
    path: str | os.PathLike[str],
    *,
    title: str | None = None,
    highlight: Iterable[str] | Mapping[str, str] = (),
    max_nodes: int = 2000,
) -> None:
    """Draw a graph into a file whose suffix tells the format: .svg, .pdf, .png or .dot.

    Parameters
    ----------
    graph
        Any graph.
    path
        Where to; an existing file is replaced.
    title, highlight
        As for :func:`to_dot`.
    max_nodes
        Most nodes that are laid out; Graphviz takes minutes for more. A .dot file may have any number.

    Raises
    ------
    DrawError
        An unknown suffix, too many nodes, or no Graphviz to be found.
    FileError
        The path cannot be written.
    """
    path = checked_path(path, "drawn")
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise DrawError(f"{named(path)}: a picture's name ends in {', '.join(SUFFIXES)}")
    max_nodes = integer("draw", "max_nodes", max_nodes, 0)
    if suffix != ".dot" and len(graph) > max_nodes:
        raise DrawError(
            f"the graph has {len(graph)} nodes; laying out more than {max_nodes} may take minutes. "
            f"Pass max_nodes={len(graph)} to draw it all the same, or write a .dot file"
        )
    dot = to_dot(graph, title=title, highlight=highlight)
    write_atomically(path, [dot.encode() if suffix == ".dot" else render(dot, suffix[1:])])


def render(dot: str, form: str) -> bytes:
    """DOT text laid out as ``svg``, ``pdf`` or ``png``, by the ``dot`` program or else by pygraphviz.

    Raises
    ------
    DrawError
        Neither is there, or Graphviz failed.
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
