"""Comparing two models, value by value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ..base import checks
from ..base.arrays import Array
from ..base.checks import shown
from ..base.structs import struct
from ..base.texts import encoded, is_array_of_texts
from ..errors import OptionError, ShapeError
from ..graph.ir import Graph, Node
from ..graph.public import as_array
from ..proof.sampling import difference
from .trails import Trail, like, trail

TOLERANCE = 1e-4
"""The largest difference that counts as rounding, relative to the largest value."""

SMALLEST = 1e-3
"""If all values are smaller, differences are relative to this."""


@struct(frozen=True)
class Pair:
    """One value as computed by both models.

    Attributes
    ----------
    name
        The node's name in the graph of the model that has one; ``result 0`` and so on for results.
    place
        Where the node comes from: module and the user's line.
    difference
        The largest difference, in units of the value; infinity if the shapes or kinds differ.
    scale
        The largest magnitude.
    agrees
        Whether the difference is no more than rounding.
    """

    name: str
    place: str
    difference: float
    scale: float
    agrees: bool

    def __str__(self) -> str:
        place = f" ({self.place})" if self.place else ""
        return f"{self.name}{place}: off by {self.difference:.3g} where the largest is {self.scale:.3g}"


@struct(frozen=True)
class Comparison:
    """What two models have in common, and where they diverge.

    It is true if all results agree.

    Attributes
    ----------
    what
        What was compared.
    results
        The results, one by one.
    steps
        The values that both models have, in order of computation.
    first
        The first value that differs and leads to a differing result without passing through a value that agrees; None
        if the results agree, or if both models have no values in common besides the results.
    """

    what: tuple[str, str]
    results: tuple[Pair, ...]
    steps: tuple[Pair, ...]
    first: Pair | None

    def __bool__(self) -> bool:
        return all(pair.agrees for pair in self.results)

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        agree = sum(pair.agrees for pair in self.steps)
        seen = f"{agree} of {len(self.steps)} values that both have agree"
        if self:
            yield f"{self.what[0]} and {self.what[1]} agree; {seen}"
            return
        yield f"{self.what[0]} and {self.what[1]} differ; {seen}"
        yield from (f"  {pair}" for pair in self.results if not pair.agrees)
        if self.first is not None:
            yield f"they part at {self.first}"


def compare(
    a: object,
    b: object,
    *inputs: object,
    tolerance: float = TOLERANCE,
    parameters: Mapping[str, Array] | None = None,
) -> Comparison:
    """Find where two models that should compute the same diverge.

    Parameters
    ----------
    a, b
        Each a compiled model, a module, a function, a graph, the path of a ``.lucid`` file or of an ``.onnx`` file (run
        by ONNX Runtime), or a PyTorch module. Values are matched by the names of nodes and the paths of modules; at
        least one of the two must be Lucid's.
    *inputs
        What both are called with: arrays or tensors, strings, and dicts, lists and tuples of them. A single dict with
        the input names of an ONNX file supplies these inputs.
    tolerance
        The largest difference that counts as rounding, relative to the largest value.
    parameters
        Arrays by name, if one is a graph with parameters.

    Returns
    -------
    Comparison
        True if the results agree; prints what was found.

    Raises
    ------
    OptionError
        If one of them is none of the above.
    ShapeError
        If they return different numbers of results.
    """
    tolerance = checks.number("compare", "tolerance", tolerance, 0.0)
    if parameters is not None and not isinstance(parameters, Mapping):
        raise OptionError(f"compare: parameters are a dict of arrays, got {shown(parameters)}")
    given = [_given(x) for x in inputs]
    trails = [trail(one, given, parameters or {}) for one in (a, b)]
    own = next((one for one in trails if one.graph is not None), None)
    if own is None or own.graph is None:
        raise OptionError("compare: at least one of the two must be a model, a graph or a file of Lucid's")
    other = trails[1] if own is trails[0] else trails[0]
    counts = [len(one.results) for one in trails]
    if counts[0] != counts[1]:
        raise ShapeError(f"compare: {trails[0].what} gives {counts[0]} results, {trails[1].what} {counts[1]}")
    results = tuple(_pair(name, "", mine, theirs, tolerance) for name, mine, theirs in _matched(own, other))
    steps = {
        name: _pair(name, str(own.graph.node(name).origin), mine, theirs, tolerance)
        for name, mine, theirs in _common(own, own.graph, other)
    }
    first = _first(own.graph, results, steps)
    return Comparison((trails[0].what, trails[1].what), results, tuple(steps.values()), first)


def _given(value: object) -> object:
    """An input with array-like values as arrays, within its dicts and lists."""
    if isinstance(value, str) or is_array_of_texts(value):
        return value
    if isinstance(value, dict):
        return {key: _given(one) for key, one in value.items()}
    if isinstance(value, list | tuple) and any(map(_is_apart, value)):
        return like(value, [_given(one) for one in value])
    return as_array("compare", value)


def _is_apart(value: object) -> bool:
    """Whether an item of a list is an input by itself rather than a row of an array."""
    return isinstance(value, dict | str) or (hasattr(value, "__array__") and not isinstance(value, np.generic))


def _matched(own: Trail, other: Trail) -> Iterator[tuple[str, Array, Array]]:
    """The results of both, matched by name if both have the same names, otherwise by position."""
    same = set(own.names) == set(other.names)
    if not own.names or (not same and not (own.keyed and other.keyed)):
        numbered = enumerate(zip(own.results, other.results, strict=True))
        yield from ((f"result {i}", mine, theirs) for i, (mine, theirs) in numbered)
        return
    if not same:
        lists = [", ".join(map(shown, names)) for names in (own.names, other.names)]
        raise ShapeError(f"compare: {own.what} gives {lists[0]}, and {other.what} {lists[1]}")
    theirs = dict(zip(other.names, other.results, strict=True))
    yield from (
        (f"result {shown(name)}", mine, theirs[name]) for name, mine in zip(own.names, own.results, strict=True)
    )


def _pair(name: str, place: str, a: Array, b: Array, tolerance: float) -> Pair:
    if is_array_of_texts(b):  # which are code points in a graph
        a, b = _as_wide(a, encoded(b))
    if a.shape != b.shape or a.dtype.kind != b.dtype.kind:
        return Pair(name, place, float("inf"), 0.0, agrees=False)
    off = difference(a, b)
    scale = float(np.abs(a.astype(np.float64)).max(initial=0.0, where=np.isfinite(a)))
    if a.dtype.kind != "f":
        return Pair(name, place, off, scale, agrees=bool(np.array_equal(a, b)))
    same = np.array_equal(np.isnan(a), np.isnan(b))
    return Pair(name, place, off, scale, agrees=same and off <= tolerance * max(scale, SMALLEST))


def _as_wide(a: Array, b: Array) -> Sequence[Array]:
    """Code points of strings, padded with zeros to a common width."""
    width = max(a.shape[-1:] + b.shape[-1:])
    return [np.pad(x, [*[(0, 0)] * (x.ndim - 1), (0, width - x.shape[-1])]) if x.ndim else x for x in (a, b)]


def _common(own: Trail, graph: Graph, other: Trail) -> Iterator[tuple[str, Array, Array]]:
    """The values that both have, with the names of nodes of the graph, in order."""
    paths = {name: path for path, name in own.last.items()}
    theirs = () if other.graph is None else other.graph.outputs
    ends = {mine.node for mine, end in zip(graph.outputs, theirs, strict=False) if mine == end}
    for name in (name for name in graph.order if name in own.steps):
        if name in other.steps:
            if name in ends or _means_the_same(own.nodes[name], other.nodes[name]):
                yield name, own.steps[name], other.steps[name]
        elif name in paths and paths[name] in other.modules:
            yield name, own.steps[name], other.modules[paths[name]]


def _means_the_same(a: Node, b: Node) -> bool:
    """Whether nodes of one name have the same value: a pass may give a node's name to one that replaces it."""
    return a.op is b.op and a.origin.history == b.origin.history


def _first(graph: Graph, results: Sequence[Pair], steps: Mapping[str, Pair]) -> Pair | None:
    """The first value that differs, going from the results that differ towards the inputs until values agree."""
    stack = [value.node for value, pair in zip(graph.outputs, results, strict=False) if not pair.agrees]
    seen: set[str] = set()
    while stack:
        name = stack.pop()
        if name not in seen and not (name in steps and steps[name].agrees):
            seen.add(name)
            stack.extend(value.node for value in graph.inputs_of(name))
    return next((steps[name] for name in graph.order if name in seen and name in steps), None)
