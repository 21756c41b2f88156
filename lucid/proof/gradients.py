"""Checking gradient rules against finite differences of the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..autodiff.reverse import Joint, differentiate
from ..base.arrays import Array
from ..base.structs import struct
from ..errors import GradientError, LucidError, RuleError
from ..graph.assume import Assumption
from ..graph.builder import Builder
from ..graph.cut import part
from ..graph.facts import read_values
from ..graph.ir import Graph, Node, Value
from ..graph.opdef import Attrs, OpDef, TypeAttrs
from ..graph.ops.source import INPUT
from ..graph.stages import found_sizes
from ..graph.trace import Tracer
from ..graph.types import TensorType
from ..reference import evaluate_reference
from . import evidence
from .sampling import UNFIT, evaluated, given, sizes_of

APART = 1e-3
"""By how much numbers are moved at first, relative to the largest: where two are equal, a maximum has no slope."""


@struct(frozen=True)
class _Fineness:
    """The precision of a comparison.

    Attributes
    ----------
    step
        How far numbers are moved to each side, relative to the largest of them.
    tolerance
        The largest difference, relative to the sum of the contributions of all numbers.
    rounding
        The relative error of results.
    """

    step: float
    tolerance: float
    rounding: float


FINE, COARSE = _Fineness(1e-6, 1e-5, 4 * 2.0**-53), _Fineness(1e-2, 3e-2, 4 * 2.0**-24)
"""For ops in double precision, and for those that compute fewer digits in any case."""


@struct(frozen=True)
class _Alone:
    """An op by itself, with its gradients."""

    graph: Graph
    joint: Joint

    @property
    def fineness(self) -> _Fineness:
        floats = [t.dtype for t in self.graph.output_types if t.dtype.kind == "f"]
        return FINE if all(dtype == np.float64 for dtype in floats) else COARSE


def check_gradients(
    graph: Graph,
    parameters: Mapping[str, Array],
    assumptions: Sequence[Assumption] = (),
    folder: evidence.Folder = None,
    inputs: Sequence[Array] | None = None,
) -> None:
    """Compare the gradient rule of each op of a graph with finite differences of the reference.

    Parameters
    ----------
    graph
        The graph whose gradients are to be computed.
    parameters
        Arrays by name.
    assumptions
        Assumptions about its symbolic sizes.
    folder
        Where the smallest graph that shows a fault is written.
    inputs
        Inputs to use instead of random numbers; only for a graph without symbolic sizes.

    Raises
    ------
    RuleError
        Names the op and the node.
    """
    try:
        tried = evaluated(graph, given(graph, parameters), sizes_of(graph, assumptions), inputs)
    except UNFIT:
        if found_sizes(graph):  # sizes found in random numbers may violate the assumptions of the trace
            return
        raise
    seen: set[tuple[OpDef, Attrs, tuple[TensorType, ...], tuple[int, ...]]] = set()
    read = read_values(tried.concrete)
    for name, node in tried.concrete.nodes():
        feeds = [tried.values[value] for value in tried.concrete.inputs_of(name)]
        outputs = tuple(i for i in range(len(node.outputs) - node.op.kept) if Value(name, i) in read)
        case = node.op, node.attrs, tuple(TensorType(x.shape, x.dtype) for x in feeds), outputs
        if node.op.source or node.op.random or not node.op.has_slope(node.attrs) or not outputs or case in seen:
            continue
        seen.add(case)
        wrong = _wrong(node, feeds, outputs)
        if wrong:
            said = f"the gradient rule of {node.op.name} is wrong at {name}: {wrong}"
            place = f" ({node.origin})" if str(node.origin) else ""
            alone = part(tried.concrete, {name})
            fed = evidence.as_inputs(tried.values[value] for value in alone.inputs)
            call = "lucid.proof.check_gradients(graph, arrays, inputs=lucid.proof.inputs_of(arrays))"
            stem, arrays = f"gradient_of_{node.op.name}", {**parameters, **fed}
            script = evidence.write(folder, stem, alone.graph, arrays, title=said, call=call)
            raise RuleError(f"{said}{place}", graph=alone.graph, script=script)


def _wrong(node: Node, feeds: Sequence[Array], outputs: Sequence[int]) -> str | None:
    """What is wrong with the gradients of a node at these inputs; None if they are right, or there are none."""
    rng = np.random.default_rng(0)
    for prepare in (_apart, _doubled):  # an op may not be defined for numbers that were moved
        arrays = [prepare(x, rng) if x.dtype.kind == "f" else x for x in feeds]
        alone = _alone(node, arrays, outputs)
        if alone is None:
            return None
        if all(np.isfinite(y).all() for y in evaluate_reference(alone.graph, arrays) if y.dtype.kind == "f"):
            return _differs(alone, arrays, rng)
    return None


def _apart(x: Array, rng: np.random.Generator) -> Array:
    moved: Array = x.astype(np.float64) + APART * _scale(x) * rng.uniform(0.5, 1.0, x.shape)
    return moved


def _doubled(x: Array, rng: np.random.Generator) -> Array:
    return x.astype(np.float64)


def _scale(x: Array) -> float:
    return float(np.max(np.abs(x), initial=0.0, where=np.isfinite(x))) or 1.0


def _alone(node: Node, arrays: Sequence[Array], outputs: Sequence[int]) -> _Alone | None:
    """The op by itself; None if it does not take double precision, or has nothing to differentiate."""
    tracer = Tracer(Builder())
    try:
        inputs = [tracer.emit(INPUT, TypeAttrs(x.shape, x.dtype), name=f"x{i}")[0] for i, x in enumerate(arrays)]
        results = tracer.emit(node.op, node.attrs, inputs)
    except LucidError:
        return None
    graph = tracer.builder.finish([results[i].value for i in outputs])
    wanted = [name for name, x in zip(graph.inputs, arrays, strict=True) if x.dtype.kind == "f" and x.size]
    try:
        return _Alone(graph, differentiate(graph, wanted)) if wanted else None
    except GradientError:  # a rule may say that there is no gradient of such shapes
        return None


def _differs(alone: _Alone, arrays: Sequence[Array], rng: np.random.Generator) -> str | None:
    """How gradients differ from the slopes found by moving each input along a random direction; None if they agree."""
    seeds = [rng.standard_normal(t.concrete) for t in alone.joint.graph.input_types[len(arrays) :]]
    seeded = [t.dtype.kind == "f" for t in alone.graph.output_types]
    with np.errstate(all="ignore"):
        found = evaluate_reference(alone.joint.graph, [*arrays, *seeds])
    gradients = dict(zip(alone.joint.wanted, found[alone.joint.forward_outputs :], strict=True))
    for slot, name in enumerate(alone.graph.inputs):
        if name not in gradients:
            continue
        x, fineness = arrays[slot], alone.fineness
        direction = rng.standard_normal(x.shape)
        step = fineness.step * _scale(x)
        moved = []
        for side in (-1.0, 0.0, 1.0):
            near = [*arrays[:slot], x + side * step * direction, *arrays[slot + 1 :]]
            results = [y for y, kept in zip(evaluate_reference(alone.graph, near), seeded, strict=True) if kept]
            moved.append([y.astype(np.float64) * c for y, c in zip(results, seeds, strict=True)])
        sides = [[(b - a) / step for a, b in zip(*pair, strict=True)] for pair in (moved[:2], moved[1:])]
        if not all(np.isfinite(part).all() for side in sides for part in side):
            continue
        slopes = sorted(float(sum(part.sum() for part in side)) for side in sides)
        terms = gradients[name].astype(np.float64) * direction
        given = float(terms.sum())
        size = float(np.abs(terms).sum()) + max(float(sum(np.abs(part).sum() for part in side)) for side in sides)
        rounded = sum(float(np.abs(y).sum()) for y in moved[1]) * fineness.rounding / step
        room = fineness.tolerance * size + rounded + (slopes[1] - slopes[0])  # the slopes differ at a kink
        if not slopes[0] - room <= given <= slopes[1] + room:
            return f"of its input {slot} it says {given:.6g}, and the slope is {slopes[0]:.6g} to {slopes[1]:.6g}"
    return None
