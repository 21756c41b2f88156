"""``lucid diff``: what differs between two models."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
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
from .answer import GOOD, WRONG, Answer
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
    parts = list(_lines(named(a), named(b), found)) if found else [f"the same {what}"]
    return Answer(data, parts, WRONG if found else GOOD)


def _lines(a: str, b: str, found: Sequence[Difference]) -> Iterator[str]:
    """As in a patch: what is only in the first model, or other there, and then what is in the second."""
    yield f"- {a}"
    yield f"+ {b}"
    for one in found:
        yield f"\n{one.what}"
        yield from (f"{sign} {named(said)}" for sign, said in (("-", one.a), ("+", one.b)) if said)


def _ends(a: Graph, b: Graph) -> Iterator[Difference]:
    for what, ours, theirs in (
        ("inputs", map(str, a.input_types), map(str, b.input_types)),
        ("outputs", map(str, a.output_types), map(str, b.output_types)),
    ):
        left, right = ", ".join(ours), ", ".join(theirs)
        if left != right:
            yield Difference(what, left, right)


def _nodes(a: Graph, b: Graph) -> Iterator[Difference]:
    """Compare nodes by name; where the two have few names in common, as they follow one another."""
    if _share_names(a, b):
        for name in dict.fromkeys((*a.order, *b.order)):
            said = [_said(graph, name) if name in graph else "" for graph in (a, b)]
            if said[0] != said[1]:
                yield Difference(f"node {name}", *said)
        return
    ours, theirs = ([(name, _said(graph, name, whence=False)) for name in graph.order] for graph in (a, b))
    matcher = difflib.SequenceMatcher(None, [said for _, said in ours], [said for _, said in theirs], autojunk=False)
    for tag, i, j, k, m in matcher.get_opcodes():
        if tag != "equal":
            for one, other in zip_longest(ours[i:j], theirs[k:m], fillvalue=("", "")):
                names = dict.fromkeys(name for name, _ in (one, other) if name)
                yield Difference(f"node {' / '.join(names)}", one[1], other[1])


def _share_names(a: Graph, b: Graph) -> bool:
    """Whether most nodes of the smaller graph, those that have inputs, are called as in the other."""
    ours, theirs = ({name for name in graph.order if graph.inputs_of(name)} for graph in (a, b))
    return 2 * len(ours & theirs) >= min(len(ours), len(theirs))


def _said(graph: Graph, name: str, *, whence: bool = True) -> str:
    """What a node is; of its inputs only the operators, unless it is asked ``whence`` they come."""
    node = graph.node(name)
    feeds = ", ".join(str(one) if whence else graph.node(one.node).op.name for one in graph.inputs_of(name))
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
