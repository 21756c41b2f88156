"""Pictures of compilation: what the passes changed, and details of each node."""

from __future__ import annotations

import html
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from ..base.checks import named, shown
from ..errors import OptionError
from ..formats.draw import draw_changes
from ..formats.files import checked_path, write_atomically
from ..graph.ir import Graph
from ..passes.pipeline import Pass, run_passes
from ..runtime.program.plan import Plan
from ..runtime.program.printer import Source


class _Options(Protocol):
    @property
    def inference_passes(self) -> Sequence[Pass]: ...


class Compiled(Protocol):
    """The part of a compiled model that is needed here."""

    @property
    def options(self) -> _Options: ...
    @property
    def traced(self) -> Graph: ...
    @property
    def graph(self) -> Graph: ...


def draw_passes(
    net: Compiled, path: str | os.PathLike[str], *, only: str | None = None, depth: int | None = None,
    focus: str | None = None, detail: str = "auto", max_nodes: int = 2000,
) -> None:  # fmt: skip
    """Draw the graph before and after the passes side by side, with the changes marked.

    Parameters
    ----------
    net
        A compiled model.
    path
        The file to write; its suffix is .svg, .pdf, .png or .dot.
    only
        The name of a pass, to show its changes only; by default those of all passes.
    depth, focus, detail, max_nodes
        As for :func:`lucid.formats.draw.draw`.

    Raises
    ------
    OptionError
        If ``net`` is not a compiled model, or there is no such pass.
    """
    if not hasattr(net, "traced"):
        raise OptionError(
            f"draw_passes: takes a compiled model, got {shown(net)}; lucid.compile(model, lucid.spec(...)) makes one"
        )
    before, after = (net.traced, net.graph) if only is None else _one_pass(net, only)
    headings = ("as traced", "after the passes") if only is None else (f"before {only}", f"after {only}")
    draw_changes(before, after, path, headings, depth=depth, focus=focus, detail=detail, max_nodes=max_nodes)


def _one_pass(net: Compiled, only: str) -> tuple[Graph, Graph]:
    """The graph before and after the pass of this name, the last time that it changed something."""
    passes = net.options.inference_passes
    known = dict.fromkeys(one.name for one in passes)
    if only not in known:
        raise OptionError(f"draw_passes: there is no pass named {shown(only)}; there are {', '.join(known)}")
    found: list[tuple[Graph, Graph]] = []

    def observe(one: Pass, before: Graph, after: Graph) -> None:
        if one.name == only and (before is not after or not found):
            found.append((before, after))

    run_passes(net.traced, passes, observe=observe, verify=False)
    return found[-1]


def notes(plan: Plan) -> Mapping[str, tuple[str, ...]]:
    """For each node that a plan runs, lines about it to show when the mouse is over it."""
    found: dict[str, tuple[str, ...]] = {}
    for step in plan.steps:
        measured = plan.measured.get(step.name)
        took = "" if measured is None else f", measured {measured * 1e6:.1f} µs"
        size = sum(y.type.nbytes for y in step.outs if y is not None)
        found[step.name] = (
            f"lowering: {step.choice}, {step.workers} worker{'s' if step.workers > 1 else ''}",
            f"predicted {step.choice.way.seconds * 1e6:.1f} µs{took}{', once per change of parameters' * step.fixed}",
            f"{size:,} bytes of results",
        )
    return found


def write_source(source: Source, name: str | os.PathLike[str], picture: str | os.PathLike[str]) -> dict[str, str]:
    """Write a program to a file next to a picture, and return the link for each of its nodes.

    Parameters
    ----------
    source
        The program.
    name
        Name of the file, relative to the picture's folder. A ``.html`` file opens at the line; ``.py`` is for viewers
        that number lines.
    picture
        Path of the picture.
    """
    given, folder = Path(checked_path(name, "written")), Path(checked_path(picture, "drawn")).parent
    if given.suffix.lower() not in (".py", ".html"):
        raise OptionError(f"draw: the program that nodes link to is a .py or .html file, got {named(str(given))}")
    page = _page(source.text) if given.suffix.lower() == ".html" else source.text
    write_atomically(folder / given, [page.encode()])
    address = given.absolute().as_uri() if given.is_absolute() else quote(given.as_posix())
    return {node: f"{address}#L{lines[0]}" for node, lines in source.lines.items()}


def _page(source: str) -> str:
    """A program as a page with an anchor for each line."""
    lines = "\n".join(
        f'<span id="L{number}"><a href="#L{number}">{number:>5}</a>  {html.escape(line)}</span>'
        for number, line in enumerate(source.splitlines(), 1)
    )
    head = f'<!DOCTYPE html>\n<html lang="en"><meta charset="utf-8"><title>Program</title>{_STYLE}'
    return f"{head}<pre>{lines}</pre></html>\n"


_STYLE = (
    "<style>:root{color-scheme:light dark} a{color:GrayText;text-decoration:none} "
    ":target{background:Mark;color:MarkText;scroll-margin:40vh}</style>"
)
