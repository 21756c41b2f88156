"""Operators with graphs that run repeatedly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ....errors import GraphError, LucidError, TraceError, from_handler
from ....graph.dims import Dim, SymDim
from ....graph.opdef import AbstractTensor
from ....graph.ops import loops
from ....graph.ops.loops import Along
from ....graph.ops.shape import normal_axis, reshape, stack
from ....graph.ops.source import constant, full
from ....graph.trace import active_trace
from ....graph.types import TensorType
from ..model import GraphDef
from ..registry import Call, Value, converter, is_host
from ..sequences import Layout

_TRUE = np.array(True)


@converter("Loop", host=(0, 1))
def loop(call: Call, limit: Value = None, condition: Value = None, *given: Value) -> Sequence[Value]:
    """A loop with a known number of iterations becomes a scan; one that data ends carries values only.

    A loop is unrolled if a carried value changes its type, or the body must know the number of the iteration.
    """
    init = call.movable(given)
    iterations: Dim | None = None
    known = condition is None or is_host(condition)
    begins = not known or condition is None or bool(call.scalar(condition, "the condition"))
    if is_host(limit):
        iterations = call.dims(limit, "the number of iterations")[0]
    try:
        if known and (iterations is not None or not begins) and _only_counts(call):
            return _counted(call, iterations if begins and iterations is not None else 0, init)
        return _while(call, limit, condition, init)
    except LucidError as error:
        if (
            from_handler(error)
            or not known
            or isinstance(iterations, SymDim)
            or not (iterations is not None or limit is None)
        ):
            raise
        return _unroll(call, iterations if begins else 0, init, error)


def _only_counts(call: Call) -> bool:
    """Whether the body never ends the loop by itself."""
    body: GraphDef = call.required("body")
    source = {out: node for node in body.nodes for out in node.outputs if out}
    name = body.outputs[0].name
    while name in source and source[name].op == "Identity":
        name = source[name].inputs[0]
    if name in source or name in body.constants or name in (one.name for one in body.inputs):
        made = name in body.constants or (name in source and source[name].op == "Constant")
        return made or (len(body.inputs) > 1 and name == body.inputs[1].name)
    outside = replace(body, inputs=(), nodes=(), outputs=(replace(body.outputs[0], name=name),))
    return is_host(call.run(outside, [])[0])


def _results(call: Call, given: Sequence[Value]) -> list[Value]:
    """The results of the body: whether to continue, the carried values, the values to stack."""
    body: GraphDef = call.required("body")
    return call.movable(call.run(body, given))


def _counted(call: Call, iterations: Dim, init: Sequence[Value]) -> Sequence[Value]:
    """A scan over nothing but the iteration number."""
    layout = Layout.of(init)

    def iterate(number: AbstractTensor, *values: AbstractTensor) -> Sequence[AbstractTensor]:
        again, *results = _results(call, [number, _TRUE, *layout.restored(values)])
        if not call.scalar(again, "the condition"):
            raise GraphError("it always ends after its first iteration")
        return [number + 1, *layout.flat(results[: len(init)], call.tensor), *map(call.tensor, results[len(init) :])]

    start = constant(call.world, np.array(0))
    given = layout.flat(init, call.tensor)
    _, *found = loops.scan(iterate, [start, *given], [], iterations)
    return [*layout.restored(found[: len(given)]), *found[len(given) :]]


def _while(call: Call, limit: Value, condition: Value, init: Sequence[Value]) -> Sequence[Value]:
    """A loop that data ends."""
    body: GraphDef = call.required("body")
    if len(body.outputs) - 1 > len(init):
        if active_trace.get() is None:
            return _run_eagerly(call, limit, condition, init)
        raise TraceError(
            "the number of its iterations depends on data, and so does the size of the results that it stacks: sizes "
            "must be known before a run; uncompiled, it runs"
        )

    layout = Layout.of(init)

    def iterate(number: AbstractTensor, *values: AbstractTensor) -> Sequence[AbstractTensor]:
        again, *results = _results(call, [number, _TRUE, *layout.restored(values)])
        return [reshape(call.tensor(again), ()), *layout.flat(results, call.tensor)]

    most = constant(call.world, np.array(np.iinfo(np.int64).max)) if limit is None else reshape(call.tensor(limit), ())
    first = constant(call.world, _TRUE) if condition is None else reshape(call.tensor(condition), ())
    return layout.restored(loops.loop(iterate, most, first, layout.flat(init, call.tensor)))


def _unroll(call: Call, iterations: int | None, init: Sequence[Value], why: LucidError) -> Sequence[Value]:
    """The loop unrolled: each iteration knows its number, and may change the types of carried values."""
    body: GraphDef = call.required("body")

    def check(following: Value) -> None:
        if not is_host(following) or not call.room.unroll(len(body.nodes)):
            raise why

    carried, rows = _unrolled(call, iterations, init, check)
    if not rows and len(body.outputs) - 1 > len(init):
        raise why
    return [*carried, *_stacked(call, rows)]


def _run_eagerly(call: Call, limit: Value, condition: Value, init: Sequence[Value]) -> Sequence[Value]:
    """The loop run at once, when nothing is recorded: stacked results are as long as the number of iterations."""
    iterations = None if limit is None else int(call.scalar(limit, "the number of iterations"))
    begins = condition is None or bool(call.scalar(condition, "the condition"))
    carried, rows = _unrolled(call, iterations if begins else 0, init, lambda following: None)
    if rows:
        return [*carried, *_stacked(call, rows)]
    _, *results = _results(call, [np.array(0), _TRUE, *init])  # the body tells the types of the empty results
    given = map(call.tensor, results[len(init) :])
    return [*carried, *(full(y, 0, (0, *y.type.shape)) for y in given)]


def _unrolled(
    call: Call, iterations: int | None, init: Sequence[Value], check: Callable[[Value], None]
) -> tuple[Sequence[Value], list[list[Value]]]:
    """The carried values after the last iteration, and the values to stack; ``check`` sees each condition first."""
    carried, rows, again = list(init), list[list[Value]](), True
    while again and (iterations is None or len(rows) < iterations):
        following, *results = _results(call, [np.array(len(rows)), _TRUE, *carried])
        check(following)
        carried, again = results[: len(init)], bool(call.scalar(following, "the condition"))
        rows.append(results[len(init) :])
    return carried, rows


def _stacked(call: Call, rows: Sequence[Sequence[Value]]) -> Sequence[Value]:
    return [stack(list(map(call.tensor, column))) for column in zip(*rows, strict=True)]


# ---------------------------------------------------------------- scans


@converter("Scan", since=9)
def scan(call: Call, *given: Value) -> Sequence[Value]:
    count = int(call.required("num_scan_inputs"))
    cut = len(given) - count
    values = [call.tensor(one) for one in given]
    axes = call.attribute("scan_input_axes") or [0] * count
    ways = call.attribute("scan_input_directions") or [0] * count
    over = [
        Along(normal_axis("Scan", axis, x.type.rank), way == 1)
        for x, axis, way in zip(values[cut:], axes, ways, strict=True)
    ]

    def lie(types: Sequence[TensorType]) -> Sequence[Along]:
        onto = call.attribute("scan_output_axes") or [0] * len(types)
        back = call.attribute("scan_output_directions") or [0] * len(types)
        each = zip(types, onto, back, strict=True)
        return [Along(normal_axis("Scan", axis, y.rank + 1), way == 1) for y, axis, way in each]

    return _scan(call, values[:cut], values[cut:], over, lie)


def _scan(
    call: Call, init: Sequence[AbstractTensor], xs: Sequence[AbstractTensor], over: Sequence[Along],
    lie: Callable[[Sequence[TensorType]], Sequence[Along]] = lambda types: [Along()] * len(types),
) -> Sequence[AbstractTensor]:  # fmt: skip
    def iterate(*values: AbstractTensor) -> Sequence[AbstractTensor]:
        return [call.tensor(one) for one in _results(call, values)]

    if not xs:
        raise GraphError("it has nothing to iterate over")
    return loops.scan(iterate, init, xs, xs[0].type.shape[over[0].axis], over, lie)


@converter("Scan", since=8)
def scan_of_batch(call: Call, lengths: Value = None, *given: Value) -> Sequence[Value]:
    """A scan for each element of a batch, along the first axis of all inputs."""
    if lengths is not None:
        raise GraphError("sequences with lengths of their own are not supported")
    count = int(call.required("num_scan_inputs"))
    cut = len(given) - count
    ways = call.attribute("directions") or [0] * count
    over = [Along(reverse=way == 1) for way in ways]

    def one(*values: AbstractTensor) -> Sequence[AbstractTensor]:
        return _scan(call, values[:cut], values[cut:], over)

    values = [call.tensor(x) for x in given]
    return loops.scan(one, [], values, values[0].type.shape[0])
