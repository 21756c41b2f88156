"""Pictures of what a compiler did: what the passes changed, and what is known of each node."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Protocol

from ..base.checks import shown
from ..errors import OptionError
from ..formats.draw import draw_changes
from ..graph.ir import Graph
from ..passes.pipeline import Pass, run_passes
from ..runtime.program.plan import Plan


class _Options(Protocol):
    @property
    def inference_passes(self) -> Sequence[Pass]: ...


class Compiled(Protocol):
    """What there is of a compiled model."""

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
    """Draw the graph before and after the passes side by side, with marks on what has changed.

    Parameters
    ----------
    net
        A compiled model.
    path
        Where to; the suffix is .svg, .pdf, .png or .dot.
    only
        The name of a pass, of which alone to see what it did; all of them, when omitted.
    depth, focus, detail, max_nodes
        As for :func:`lucid.formats.draw.draw`.

    Raises
    ------
    OptionError
        No compiled model, or no such pass.
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
        raise OptionError(f"draw_passes: no pass is called {shown(only)}; there are {', '.join(known)}")
    found: list[tuple[Graph, Graph]] = []

    def observe(one: Pass, before: Graph, after: Graph) -> None:
        if one.name == only and (before is not after or not found):
            found.append((before, after))

    run_passes(net.traced, passes, observe=observe, verify=False)
    return found[-1]


def notes(plan: Plan) -> Mapping[str, tuple[str, ...]]:
    """For each node that a plan runs what is known of it, as lines for whoever points at it."""
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
