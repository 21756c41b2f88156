"""Proof by sampling: a pass must not change what a graph computes, and a program must compute what its graph says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np

from ..base.arrays import Array
from ..errors import ExecutionError, LoweringError, PassError
from ..graph.assume import Assumption, example_sizes
from ..graph.facts import drawn
from ..graph.ir import Graph, Value
from ..graph.opdef import Attrs, OpDef
from ..graph.ops.source import ConstantAttrs
from ..graph.rng import keys_aside
from ..graph.types import TensorType
from ..passes.pipeline import Observer, Pass
from ..reference import reference_values, run_reference
from ..runtime.program.executable import watched
from ..runtime.program.plan import Plan
from ..runtime.program.printer import Values
from ..runtime.program.step import Step
from ..tensor.tensor import Tensor

SYMBOL_SIZE = 2
"""The size that symbolic dimensions get, or the next larger one that the assumptions of the trace allow."""

TOLERANCE = {"float32": 1e-4, "float64": 1e-9}
"""Largest difference allowed, relative to the largest value of the reference: passes may reorder sums."""


NUDGES = 4
"""How often the inputs of a step are moved, to see how far its result moves."""


@dataclass(frozen=True)
class _Evaluated:
    """A graph, and the values of its nodes on the sampled inputs of these sizes."""

    graph: Graph
    sizes: Mapping[str, int]
    concrete: Graph
    values: Mapping[Value, Array]


def check_pass(state: Mapping[str, Tensor], assumptions: Sequence[Assumption] = ()) -> Observer:
    """An observer that compares each pass's graphs on sampled inputs by the reference executor."""
    latest: list[_Evaluated] = []
    """The graph that one pass made is the one that the next is given; it is evaluated once."""

    def evaluated(graph: Graph, sizes: Mapping[str, int]) -> _Evaluated:
        for one in latest:
            if one.graph is graph and one.sizes == sizes:
                return one
        concrete, rng = graph.bind(sizes), np.random.default_rng(0)
        inputs = [_sample(rng, t) for t in concrete.input_types]
        parameters = {name: tensor._array for name, tensor in state.items()}
        return _Evaluated(graph, sizes, concrete, reference_values(concrete, inputs, parameters, _keys(concrete)))

    def observe(applied: Pass, before: Graph, after: Graph) -> None:
        sizes = example_sizes(before.symbols, assumptions, SYMBOL_SIZE)
        pair = [evaluated(before, sizes), evaluated(after, sizes)]
        latest[:] = pair[1:]
        (old, want), (new, have) = ((one.concrete, one.values) for one in pair)
        for index, (a, b) in enumerate(zip(old.results, new.results, strict=True)):
            if not _close(want[a], have[b]):
                culprit = _first_difference(old, new, want, have) or str(b)
                raise PassError(
                    f"pass {applied.name} changed result {index}: node {culprit} differs from the reference by "
                    f"{_difference(want[a], have[b]):.3g}"
                )

    return observe


def check_program(plan: Plan, parameters: Sequence[Array], inputs: Sequence[Array]) -> None:
    """Compare each step of a plan's program with the reference, given what the program itself gave the step.

    It runs the lowerings that were chosen, in the memory and the layout that were decided, on other numbers and then
    on these: a view that does not show what it should, or memory that was given away too soon, is seen as well as a
    wrong sum.

    Raises
    ------
    LoweringError
        Names the node and the lowering that compute something else.
    """
    values: Values = {}
    program = watched(plan, values=values)
    program.load(parameters, 0)
    with keys_aside():
        with suppress(ExecutionError):  # the model may not take other numbers: it may want probabilities
            program(*map(_others, inputs))
        results = program(*inputs)
    named = dict(zip(program.parameters, parameters, strict=True))
    known = {Value(name): array for name, array in zip(plan.graph.inputs, inputs, strict=True)}
    known |= {Value(node): named[name] for name, node in plan.graph.parameters.items()}
    for step in program.plan.steps:
        known.update((Value(step.name, i), array) for i, array in enumerate(values[step.name]) if array is not None)
    for step in program.plan.steps:
        _check_step(step, plan.graph, known)
    for number, (value, result) in enumerate(zip(plan.graph.results, results, strict=True)):
        if value in known and not np.array_equal(known[value], result, equal_nan=result.dtype.kind == "f"):
            raise LoweringError(f"result {number} is not what node {value.node} made: it was written over later")


def _check_step(step: Step, graph: Graph, known: dict[Value, Array]) -> None:
    node, feeds = step.node, [_known(value, graph, known) for value in graph.inputs_of(step.name)]
    if node.op.random:
        return
    if not step.choice.lowering.exact and not all(np.isfinite(x).all() for x in feeds):
        return  # an infinity or NaN may spread over the numbers that are made together
    for output, want in enumerate(run_reference(node.op, node.attrs, feeds)):
        have = known.get(Value(step.name, output))
        if have is None or _close(want, have, *feeds):
            continue
        if not _as_near_as_it_can_be(node.op, node.attrs, feeds, output, want, have):
            raise LoweringError(
                f"{step.name}: {node.op.name} by {step.choice} differs from the reference by "
                f"{_difference(want, have):.3g}{f' ({node.origin})' if str(node.origin) else ''}"
            )


def _known(value: Value, graph: Graph, known: dict[Value, Array]) -> Array:
    attrs = graph.node(value.node).attrs
    return attrs.value.array if isinstance(attrs, ConstantAttrs) else known[value]


def _others(x: Array) -> Array:
    """Other numbers that lie in memory as these; indices stay as they are."""
    return x if x.dtype.kind != "f" else x * x.dtype.type(-0.5)


def _sample(rng: np.random.Generator, type_: TensorType) -> Array:
    if type_.dtype.kind == "f":
        return rng.standard_normal(type_.concrete).astype(type_.dtype)
    return rng.integers(0, 2, type_.concrete).astype(type_.dtype)


def _keys(graph: Graph) -> dict[Value, Array]:
    """A key for every random draw that depends on the node's name alone: both graphs draw the same numbers."""
    return {Value(name): np.array(crc32(name.encode()), np.uint64) for name in drawn(graph)}


def _difference(a: Array, b: Array) -> float:
    with np.errstate(all="ignore"):
        both = np.abs(a.astype(np.float64) - b.astype(np.float64))
    return float(np.nanmax(both, initial=0.0))


def _close(a: Array, b: Array, *made_of: Array) -> bool:
    """Whether two arrays differ by no more than rounding, measured by the largest number in ``a`` and ``made_of``."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.dtype.kind != "f":
        return bool(np.array_equal(a, b))
    sizes = [np.abs(x) for x in (a, *made_of) if x.dtype.kind == "f"]
    scale = max(float(np.max(size, initial=1.0, where=np.isfinite(size))) for size in sizes)
    return bool(np.allclose(a, b, rtol=0.0, atol=TOLERANCE[a.dtype.name] * scale, equal_nan=True))


def _as_near_as_it_can_be(
    op: OpDef, attrs: Attrs, feeds: Sequence[Array], output: int, want: Array, have: Array
) -> bool:
    """Whether a centred op is off by no more than the reference would be after its inputs were rounded.

    An image of one colour has a deviation of 0 but for rounding; divided by that, rounding is all there is to see.
    """
    if not op.centred or want.dtype.kind != "f" or want.shape != have.shape or want.dtype != have.dtype:
        return False
    rng, moved = np.random.default_rng(0), np.zeros(want.shape)
    with np.errstate(all="ignore"):
        for _ in range(NUDGES):
            near = [_nudged(rng, x) for x in feeds]
            moved = np.fmax(moved, np.abs(run_reference(op, attrs, near)[output].astype(np.float64) - want))
        off = np.abs(want.astype(np.float64) - have)
    return bool(np.all((off <= moved) | (want == have) | (np.isnan(want) & np.isnan(have))))


def _nudged(rng: np.random.Generator, x: Array) -> Array:
    """Each number larger or smaller by the tolerance, of the size of the largest."""
    if x.dtype.kind != "f" or not x.size:
        return x
    steps = TOLERANCE[x.dtype.name] * np.abs(x).max() * rng.choice([-1.0, 1.0], x.shape)
    nudged: Array = (x + steps).astype(x.dtype)
    return nudged


def _first_difference(old: Graph, new: Graph, want: Mapping[Value, Any], have: Mapping[Value, Any]) -> str | None:
    """The first node that both graphs have under one name and type, with different values."""
    for name in new.order:
        if (
            name in old
            and new.node(name).outputs == old.node(name).outputs
            and not _close(want[Value(name)], have[Value(name)])
        ):
            return name
    return None
