"""``lucid passes``: the list of passes, and what they do to a model."""

from __future__ import annotations

import time
from collections import Counter
from functools import partial

import click

from ..base.checks import named, shown
from ..compiler.options import Options
from ..errors import OptionError
from ..graph.ir import Graph
from ..passes.editing import default
from ..passes.pipeline import Pass, run_passes
from . import options
from .answer import Answer, Table, duration
from .models import open_model

PARAMETERS = (
    click.Argument(["model"], required=False),
    click.Option(["--only"], metavar="NAME", help="Run this pass alone."),
    click.Option(["--also"], metavar="NAME", multiple=True, help="Run this pass of a plug-in too, where it goes."),
    click.Option(["--output", "-o"], type=click.Path(dir_okay=False), help="Draw what comes of it."),
    options.SPECS, options.SIZES, options.EXACT,
)  # fmt: skip


def run(
    model: str | None, only: str | None, also: tuple[str, ...], output: str | None, settings: options.Settings,
) -> Answer:  # fmt: skip
    """Without a MODEL, the passes in order; with one, how many nodes each leaves, adds and removes."""
    passes = Options(exact=settings.exact, passes=default().add(*also)).inference_passes
    if only is not None:
        alone = [one for one in passes if one.name == only]
        if not alone:
            names = ", ".join(dict.fromkeys(one.name for one in passes))
            raise OptionError(f"there is no pass named {shown(only)}; there are {names}")
        passes = tuple(alone[:1])
    if model is None:
        listed = [{"name": one.name, "does": _does(one)} for one in passes]
        return Answer({"passes": listed}, [Table(("pass", "what it does"), [(p["name"], p["does"]) for p in listed])])
    graph = open_model(model, settings).traced
    seen: list[dict[str, object]] = []
    clock = [time.perf_counter()]

    def observe(one: Pass, before: Graph, after: Graph) -> None:
        clock.append(time.perf_counter())
        seen.append({
            "pass": one.name, "nodes": len(after), "seconds": clock[-1] - clock[-2],
            "gone": _more(before, after), "new": _more(after, before),
        })  # fmt: skip

    after = run_passes(graph, passes, observe=observe)
    if output is not None:
        after.draw(output)
    rows: list[tuple[str, ...]] = [("as traced", str(len(graph)), "", "", "")]
    rows += [_row(one) for one in seen]
    parts: list[str | Table] = [Table(("pass", ">nodes", ">time", "gone", "new"), rows)]
    parts += [f"drawn: {named(output)}"] if output is not None else []
    return Answer({"model": model, "nodes": len(graph), "passes": seen, "written": output}, parts)


def _more(a: Graph, b: Graph) -> dict[str, int]:
    """The operators of which the first graph has more nodes than the second, with the difference."""
    counts = [Counter(node.op.name for _, node in graph.nodes()) for graph in (a, b)]
    return dict(sorted((counts[0] - counts[1]).items()))


def _row(seen: dict[str, object]) -> tuple[str, ...]:
    changes = [", ".join(f"{count} {op}" for op, count in dict(seen[key]).items()) for key in ("gone", "new")]  # type: ignore[call-overload]
    return (str(seen["pass"]), str(seen["nodes"]), duration(float(str(seen["seconds"]))), *changes)


def _does(one: Pass) -> str:
    function = one.run.func if isinstance(one.run, partial) else one.run
    return (function.__doc__ or "").strip().split("\n")[0]
