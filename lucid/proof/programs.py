"""Checking that a program computes what its graph says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

import numpy as np

from ..base.arrays import Array, read_only
from ..base.structs import struct
from ..errors import ExecutionError, LoweringError, LucidError, ProofError
from ..graph.cut import Part
from ..graph.facts import drawn
from ..graph.ir import Graph, Value
from ..graph.opdef import Attrs, OpDef
from ..graph.ops.source import ConstantAttrs
from ..graph.region import has_regions, regions_of, spelled
from ..graph.rng import Keys, keys_from
from ..graph.types import TensorType
from ..graph.verify import describe
from ..reference import evaluate_reference, run_reference
from ..runtime.backends import BackendProgram
from ..runtime.program.executable import Executable, watched
from ..runtime.program.plan import Plan
from ..runtime.program.printer import Values
from ..runtime.program.step import Step
from . import evidence
from .sampling import TOLERANCE, UNFIT, close, difference, sample
from .smallest import smallest

NUDGES = 4
"""How often the inputs of a step are perturbed, to see how much its result changes."""


@struct(frozen=True)
class _Wrong:
    """A step of a program whose result is wrong, with the message, and the values in the program."""

    said: str
    step: str
    values: Mapping[Value, Array]


def check_program(
    plan: Plan, parameters: Sequence[Array], inputs: Sequence[Array], folder: evidence.Folder = None
) -> None:
    """Compare each step of a plan's program with the reference, given the program's own inputs to the step.

    The program runs with the chosen lowerings, memory and layout, first on other numbers and then on these. So a wrong
    view, or memory that is reused too soon, is detected as well as a wrong sum.

    Parameters
    ----------
    plan, parameters, inputs
        The program, and the arrays that it runs on.
    folder
        Where the smallest graph whose program is wrong is written.

    Raises
    ------
    LoweringError
        Names the node and the lowering that compute something else.
    """
    wrong = _wrong(plan, parameters, inputs)
    if wrong is None:
        _check_regions(plan, folder)
        return
    arrays = dict(zip(plan.parameters, parameters, strict=True))
    found = smallest(
        plan.graph, lambda part: _fails(plan, part, arrays, wrong.values) is not None, [wrong.step], elsewhere=False
    )
    call = (
        f"inputs = lucid.proof.inputs_of(arrays)\nlucid.compile(graph, parameters=arrays, passes=[], "
        f"threads={plan.threads}, exact={plan.exact}, verify=True)(*inputs)"
    )
    kept = {**arrays, **evidence.as_inputs(wrong.values[value] for value in found.inputs)}
    script = evidence.write(folder, f"program_of_{wrong.step}", found.graph, kept, title=wrong.said, call=call)
    raise LoweringError(wrong.said, graph=found.graph, script=script)


def _check_regions(plan: Plan, folder: evidence.Folder) -> None:
    """Check each graph that a node holds, by itself on sampled inputs, as the whole graph may never run it."""
    for name, node in plan.graph.nodes() if has_regions(plan.graph) else ():
        for label, region in regions_of(node.attrs).items() if node.op.regions else ():
            inputs = [_laid(type_) for type_ in region.graph.input_types]
            try:
                alone = Executable(region.graph, threads=plan.threads, exact=plan.exact, lasting=plan.lasting)
                check_program(alone.plan, (), inputs, folder)
            except ProofError as error:
                where = spelled((name, label))
                raise LoweringError(f"in {where}: {error.args[0]}", graph=error.graph, script=error.script) from error
            except UNFIT:  # it does not take such numbers: it may need indices or probabilities
                continue


def _laid(type_: TensorType) -> Array:
    """Sampled numbers of a type, in its memory order."""
    x, order = sample(np.random.default_rng(0), type_), type_.order
    return x if order is None else np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))


def check_results(program: BackendProgram, parameters: Sequence[Array], inputs: Sequence[Array]) -> None:
    """Compare the results of a back end with the reference.

    Raises
    ------
    LoweringError
        Names the back end, and the node whose value differs.
    """
    graph = program.graph
    if drawn(graph):  # other numbers at each run
        return
    wanted = evaluate_reference(graph, inputs, dict(zip(program.parameters, parameters, strict=True)))
    for value, want, have in zip(graph.results, wanted, program(*inputs), strict=True):
        if not close(want, have, *inputs):
            node = describe(value.node, graph.node(value.node))
            raise LoweringError(
                f"the back end {program.backend.name!r} gives another value of {node} than the reference: it differs "
                f"by {difference(want, have):.3g}"
            )


def _fails(plan: Plan, part: Part, parameters: Mapping[str, Array], values: Mapping[Value, Array]) -> _Wrong | None:
    """What the program of a part of the graph computes wrongly, given its inputs in the whole program."""
    try:
        alone = Executable(part.graph, threads=plan.threads, exact=plan.exact, lasting=plan.lasting)
        return _wrong(alone.plan, [parameters[name] for name in alone.parameters], [values[v] for v in part.inputs])
    except (LucidError, KeyError):  # a value that the program does not keep
        return None


def step_values(
    plan: Plan, parameters: Sequence[Array], inputs: Sequence[Array], others: Sequence[Array] | None = None
) -> tuple[dict[Value, Array], Sequence[Array]]:
    """The values that a program reads and computes, and its results; it runs on the inputs ``others`` before."""
    values: Values = {}
    inputs = [read_only(x) for x in inputs]  # a kernel that writes to what it reads fails
    program = watched(plan, parameters, values=values)
    with keys_from(Keys(0)):
        if others is not None:
            with suppress(ExecutionError):  # the model may not take other numbers: it may need probabilities
                program(*others)
        results = program(*inputs)
    named = dict(zip(plan.parameters, parameters, strict=True))
    known = {Value(name): array for name, array in zip(plan.graph.inputs, inputs, strict=True)}
    known |= {Value(node): named[name] for name, node in plan.graph.parameters.items()}
    for name, made in values.items():
        known.update((Value(name, i), array) for i, array in enumerate(made) if array is not None)
    return known, results


def _wrong(plan: Plan, parameters: Sequence[Array], inputs: Sequence[Array]) -> _Wrong | None:
    known, results = step_values(plan, parameters, inputs, [_others(x) for x in inputs])
    for step in plan.steps:
        said = _wrong_step(step, plan.graph, known)
        if said is not None:
            return _Wrong(said, step.name, known)
    for number, (value, result) in enumerate(zip(plan.graph.results, results, strict=True)):
        if value in known and not np.array_equal(known[value], result, equal_nan=result.dtype.kind == "f"):
            said = f"result {number} is not what node {value.node} made: it was written over later"
            return _Wrong(said, value.node, known)
    return None


def _wrong_step(step: Step, graph: Graph, known: Mapping[Value, Array]) -> str | None:
    node, values = step.node, graph.inputs_of(step.name)
    if node.op.random or any(value not in known and not _constant(value, graph) for value in values):
        return None  # a program does not compute values that it never reads, as for an empty batch
    feeds = [_known(value, graph, known) for value in values]
    if not step.choice.lowering.exact and not all(np.isfinite(x).all() for x in feeds):
        return None  # an infinity or NaN may spread to numbers that are computed together
    for output, want in enumerate(run_reference(node.op, node.attrs, feeds)):
        have = known.get(Value(step.name, output))
        if have is None or close(want, have, *feeds):
            continue
        if not _within_rounding_of_inputs(node.op, node.attrs, feeds, output, want, have):
            place = f" ({node.origin})" if str(node.origin) else ""
            by = difference(want, have)
            return f"{step.name}: {node.op.name} by {step.choice} differs from the reference by {by:.3g}{place}"
    return None


def _constant(value: Value, graph: Graph) -> bool:
    return isinstance(graph.node(value.node).attrs, ConstantAttrs)


def _known(value: Value, graph: Graph, known: Mapping[Value, Array]) -> Array:
    attrs = graph.node(value.node).attrs
    return attrs.value.array if isinstance(attrs, ConstantAttrs) else known[value]


def _others(x: Array) -> Array:
    """Other numbers in the same memory order; indices are unchanged."""
    return x if x.dtype.kind != "f" else x * x.dtype.type(-0.5)


def _within_rounding_of_inputs(
    op: OpDef, attrs: Attrs, feeds: Sequence[Array], output: int, want: Array, have: Array
) -> bool:
    """Whether a centred op is off by no more than the reference would be if its inputs were rounded.

    The standard deviation of a uniform image is 0 apart from rounding, and a result divided by it is only rounding.
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
    """Each number increased or decreased by the tolerance, relative to the largest."""
    if x.dtype.kind != "f" or not x.size:
        return x
    steps = TOLERANCE[x.dtype.name] * np.abs(x).max() * rng.choice([-1.0, 1.0], x.shape)
    nudged: Array = (x + steps).astype(x.dtype)
    return nudged
