"""``lucid diff``: what differs between two models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

import click
import numpy as np

from ..base.arrays import Array
from ..base.checks import named
from ..compiler.arguments import flatten
from ..compiler.compiled import CompiledModel
from ..errors import OptionError
from ..graph.ir import Graph
from ..tensor.grad_mode import no_grad
from . import options
from .answer import GOOD, WRONG, Answer, Table
from .inputs import Inputs
from .models import open_model
from .sources import kind_of

PARAMETERS = (
    options.model("a"), options.model("b"), options.INPUTS,
    click.Option(["--random"], is_flag=True, help="Compare results on inputs that are drawn."),
    click.Option(
        ["--tolerance"], type=options.Number(0), default=1e-4, show_default=True,
        help="Results are the same up to this part of the greatest.",
    ),
    options.SEED, *options.SETTINGS,
)  # fmt: skip


class Difference(NamedTuple):
    """Something that differs, and what it is in each model."""

    what: str
    a: str
    b: str


def run(
    a: str, b: str, inputs: tuple[str, ...], random: bool, tolerance: float, seed: int, settings: options.Settings,
) -> Answer:  # fmt: skip
    """Graphs as traced are compared, and weights; with --input or --random results too. The exit code is 1 for any."""
    given = Inputs(inputs)
    one, other = (
        open_model(name, settings if kind_of(name) == "python" else replace(settings, specs=()), given.alone)
        for name in (a, b)
    )
    found = [*_ends(one.traced, other.traced), *_nodes(one.traced, other.traced), *_weights(one, other)]
    compared = bool(inputs) or random
    if compared:
        found += _results(one, other, given.arrays(one, settings.sizes_to_draw(a), seed, draw=random), tolerance)
    listed = [one._asdict() for one in found]
    data = {"a": a, "b": b, "same": not found, "results_compared": compared, "differences": listed}
    what = "structure, weights and results" if compared else "structure and weights"
    parts: list[str | Table] = [f"the same {what}"] if not found else [Table(("", named(a), named(b)), found)]
    return Answer(data, parts, WRONG if found else GOOD)


def _ends(a: Graph, b: Graph) -> Iterator[Difference]:
    for what, ours, theirs in (
        ("inputs", map(str, a.input_types), map(str, b.input_types)),
        ("outputs", map(str, a.output_types), map(str, b.output_types)),
    ):
        left, right = ", ".join(ours), ", ".join(theirs)
        if left != right:
            yield Difference(what, left, right)


def _nodes(a: Graph, b: Graph) -> Iterator[Difference]:
    """Compare nodes by name; if few names are in both graphs, by the number of nodes of each operator."""
    names = dict.fromkeys((*a.order, *b.order))
    if sum(name in a and name in b for name in names) * 2 < min(len(a), len(b)):
        counts = [Counter(node.op.name for _, node in graph.nodes()) for graph in (a, b)]
        for op in dict.fromkeys((*counts[0], *counts[1])):
            if counts[0][op] != counts[1][op]:
                yield Difference(f"nodes of {op}", str(counts[0][op]), str(counts[1][op]))
        return
    for name in names:
        said = [_said(graph, name) if name in graph else "" for graph in (a, b)]
        if said[0] != said[1]:
            yield Difference(f"node {name}", *said)


def _said(graph: Graph, name: str) -> str:
    node = graph.node(name)
    feeds = ", ".join(map(str, graph.inputs_of(name)))
    return f"{node.op.name}({feeds}) {node.attrs} -> {', '.join(map(str, node.outputs))}"


def _weights(a: CompiledModel, b: CompiledModel) -> Iterator[Difference]:
    ours, theirs = _state(a), _state(b)
    for name in dict.fromkeys((*ours, *theirs)):
        kinds = [f"{one[name].dtype}{list(one[name].shape)}" if name in one else "" for one in (ours, theirs)]
        if kinds[0] != kinds[1]:
            yield Difference(f"weight {name}", *kinds)
        elif not np.array_equal(ours[name], theirs[name], equal_nan=ours[name].dtype.kind == "f"):
            yield Difference(f"weight {name}", kinds[0], f"differs by {_distance(ours[name], theirs[name]):.3g}")


def _state(net: CompiledModel) -> Mapping[str, Array]:
    """The weights that the graph reads, by name."""
    return {name: one.numpy() for name, one in net.state_dict().items() if name in net.traced.parameters}


def _results(a: CompiledModel, b: CompiledModel, arrays: list[Array], tolerance: float) -> Iterator[Difference]:
    if len(a.traced.inputs) != len(b.traced.inputs):
        raise OptionError("the two take different numbers of inputs: their results cannot be compared")
    found = []
    for net in (a, b):
        args, kwargs = net.arguments(arrays)
        with no_grad():
            found.append([np.asarray(leaf) for leaf in flatten(net(*args, **kwargs), results=True)[0]])
    for number, (ours, theirs) in enumerate(zip(*found, strict=False)):
        kinds = [f"{one.dtype}{list(one.shape)}" for one in (ours, theirs)]
        if kinds[0] != kinds[1]:
            yield Difference(f"result {number}", *kinds)
            continue
        off = _distance(ours, theirs)
        if not off <= tolerance * max(1.0, float(np.abs(ours[np.isfinite(ours)]).max(initial=0.0))):
            yield Difference(f"result {number}", kinds[0], f"differs by {off:.3g}")


def _distance(a: Array, b: Array) -> float:
    """The greatest difference between elements; infinite if only one of them is finite, or NaN."""
    with np.errstate(all="ignore"):
        apart = np.abs(a.astype(np.float64) - b.astype(np.float64))
    same = (a == b) | ((a != a) & (b != b))
    return float(np.where(same, 0.0, np.nan_to_num(apart, nan=np.inf)).max(initial=0.0))
