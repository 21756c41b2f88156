"""What the tests of ops share: the table's rows, tracing a row, running it in every way, comparing."""

from __future__ import annotations

import importlib
import pkgutil
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from lucid.autodiff.reverse import differentiate
from lucid.compiler.options import has_kernel
from lucid.errors import LucidError
from lucid.graph.assume import Assumption, assuming
from lucid.graph.builder import Builder, with_nodes
from lucid.graph.dims import symbol
from lucid.graph.ir import Graph, Value
from lucid.graph.opdef import TypeAttrs
from lucid.graph.ops.shape import CONCAT, AxisAttrs
from lucid.graph.ops.source import INPUT, PARAMETER, ParameterAttrs
from lucid.graph.trace import Symbol, Tracer
from lucid.graph.types import CHANNELS_LAST, TensorType, as_dtype, is_float
from lucid.passes.lower import lower
from lucid.reference import evaluate_reference
from lucid.runtime import eager as eager  # it says where kernels are
from lucid.runtime.program.plan import make_plan
from lucid.runtime.program.printer import generate
from lucid.runtime.workers import blas
from lucid.runtime.workers.sharing import Sharing

from . import cases
from .cases.case import Case

Array: TypeAlias = "np.ndarray[Any, Any]"
Function: TypeAlias = "Callable[..., Any]"

#: Relative tolerance of a kernel against the reference, by the result's element type; the scale is the largest element.
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
EXACT = {"float32": 0.0, "float64": 0.0}

#: Of a gradient, the chain of a forward and a backward op.
GRADIENT_TOLERANCE = {"float32": 1e-4, "float64": 1e-11}


def all_cases() -> list[Case]:
    """The rows of every module in tests/cases."""
    rows: list[Case] = []
    for info in sorted(pkgutil.iter_modules(cases.__path__), key=lambda info: info.name):
        rows += getattr(importlib.import_module(f"{cases.__name__}.{info.name}"), "CASES", [])
    names = [row.name for row in rows]
    repeated = {name for name in names if names.count(name) > 1}
    assert not repeated, f"two rows have the same name: {sorted(repeated)}"
    return rows


def inputs_of(case: Case, dtype: str) -> tuple[Array, ...]:
    """The row's arrays, the same at every run."""
    made = case.make(np.random.default_rng(zlib.crc32(case.name.encode())), dtype)
    arrays = tuple(np.asarray(x) for x in made)
    wrong = [a.dtype for a in arrays if a.dtype.kind == "f" and a.dtype != dtype]
    assert not wrong, f"{case.name}: make() returned {wrong} where {dtype} was asked for"
    return arrays


# ---------------------------------------------------------------- tracing


def types_of(arrays: Iterable[Array]) -> list[TensorType]:
    return [TensorType(a.shape, as_dtype(a.dtype)) for a in arrays]


def _tuple(results: Any) -> tuple[Any, ...]:
    return tuple(results) if isinstance(results, tuple | list) else (results,)


def _input(tracer: Tracer, index: int, type_: TensorType, parameter: bool) -> Symbol:
    name = f"x{index}"
    if parameter:
        return tracer.emit(PARAMETER, ParameterAttrs(type_.shape, type_.dtype, name), name=name)[0]
    return tracer.emit(INPUT, TypeAttrs(type_.shape, type_.dtype), name=name)[0]


def trace(
    function: Function,
    types: Sequence[TensorType],
    parameters: Sequence[int] = (),
    noted: dict[Assumption, None] | None = None,
) -> Graph:
    """The graph of ``function`` on inputs ``x0``, ``x1``…, of which some may be parameters.

    What it takes for granted of symbolic sizes is put into ``noted``.
    """
    tracer = Tracer(Builder())
    symbols = [_input(tracer, i, t, i in parameters) for i, t in enumerate(types)]
    with assuming({} if noted is None else noted):
        return tracer.builder.finish([y.value for y in _tuple(function(*symbols))])


def trace_in_arena(function: Function, types: Sequence[TensorType]) -> Graph:
    """As :func:`trace`, but what ``function`` reads and writes lies in the arena: its inputs and outputs are copied."""
    return trace(lambda *xs: tuple(map(_copied, _tuple(function(*map(_copied, xs))))), types)


def _copied(x: Any) -> Any:
    flat = x if x.type.rank else x.reshape(1)
    return flat.apply(CONCAT, AxisAttrs(0), (flat,))[0].reshape(x.type.shape)


def channels_last(graph: Graph) -> Graph:
    """The graph with every four-dimensional value that is not an input laid out with its channels innermost.

    Where there is no such value it is the graph itself.
    """
    changed = {}
    for name, node in graph.nodes():
        if node.op not in (INPUT, PARAMETER) and any(t.rank == 4 for t in node.outputs):
            outputs = tuple(t.with_order(CHANNELS_LAST) if t.rank == 4 else t for t in node.outputs)
            changed[name] = replace(node, outputs=outputs)
    return with_nodes(graph, changed) if changed else graph


def trace_symbolic(function: Function, types: Sequence[TensorType]) -> tuple[Graph, int] | None:
    """The graph for a first axis of unknown size ``N``, and that size here; None where no axis can be unknown,
    or where the graph is for other sizes.

    ``N`` is the first axis of all inputs that share its size, or of the first input alone, or every axis of that size.
    """
    size = types[0].shape[0] if types and types[0].rank else 0
    if not isinstance(size, int) or size < 2:
        return None
    unknown = symbol("N")
    first = [t.with_shape((unknown, *t.shape[1:])) if t.rank and t.shape[0] == size else t for t in types]
    every = [t.with_shape(unknown if dim == size else dim for dim in t.shape) for t in types]
    problem: LucidError | None = None
    for attempt in (first, [first[0], *types[1:]], every):
        noted: dict[Assumption, None] = {}
        try:
            graph = trace(function, attempt, noted=noted)
            return (graph, size) if all(one.holds({"N": size}) for one in noted) else None
        except LucidError as error:
            problem = error
    raise AssertionError(
        "the function does not trace with a symbolic first axis; if it fixes its sizes, give the row the tag 'static'"
    ) from problem


def joint_graph(graph: Graph) -> Graph:
    """The graph with its gradients with respect to all floating-point inputs and parameters."""
    sources = [*graph.inputs, *graph.parameters.values()]
    return differentiate(graph, [name for name in sources if is_float(graph.type(Value(name)).dtype)]).graph


def ops_of(graph: Graph) -> set[str]:
    return {node.op.name for _, node in graph.nodes()}


# ---------------------------------------------------------------- running


def garbage_arena(nbytes: int, rng: np.random.Generator | None) -> Array:
    """An aligned arena full of NaN, or of random bytes."""
    block = np.full(nbytes + 64, 255, np.uint8) if rng is None else rng.integers(0, 256, nbytes + 64, np.uint8)
    start = -block.ctypes.data % 64
    return block[start : start + nbytes]


def threads_only(threads: int = 1) -> Sharing:
    """Workers for a program whose arena no other process sees."""
    return Sharing(1)


@contextmanager
def blas_alone() -> Iterator[None]:
    """BLAS has one thread, as while a program runs: on busy cores its own would wait for one another."""
    blas.hold.begin()
    try:
        yield
    finally:
        blas.hold.finish()


def run_compiled(
    graph: Graph, inputs: Sequence[Array], parameters: Sequence[Array] = (), also: Sequence[Array] | None = None
) -> list[list[Array]]:
    """Three runs of the compiled program, in two arenas that were full of garbage.

    As many of the same program with other inputs, where there are ``also`` some.
    """
    plan = make_plan(lower(graph, has_kernel))
    prepare, bind = generate(plan).load("program")(list(parameters))
    results = []
    with np.errstate(all="ignore"), blas_alone():
        prepare()
        for given in (inputs,) if also is None else (inputs, also):
            for rng in (None, np.random.default_rng(1)):
                run = threads_only(plan.threads).bind(bind, garbage_arena(plan.arena_bytes, rng))
                results.append(list(run(*given)))
            results.append(list(run(*given)))
    return results


def strided(x: Array) -> Array:
    """An equal array that is anything but contiguous: axes reversed in memory, with gaps, the last one backwards."""
    if not x.ndim:
        return x
    room = np.zeros([2 * d + 1 for d in reversed(x.shape)], x.dtype).T
    view = room[tuple(slice(1, None, 2) for _ in x.shape)]
    view = view[..., ::-1]
    np.copyto(view, x)
    return view


# ---------------------------------------------------------------- comparing


def assert_close(actual: Array, expected: Array, what: str, tolerance: Mapping[str, float] = TOLERANCE) -> None:
    """Same type, same NaNs and infinities, the rest within the tolerance of the largest element (of 1 at least)."""
    assert isinstance(actual, np.ndarray), f"{what}: a {type(actual).__name__} is no array"
    assert actual.shape == expected.shape, f"{what}: shape {actual.shape}, not {expected.shape}"
    assert actual.dtype == expected.dtype, f"{what}: {actual.dtype}, not {expected.dtype}"
    if expected.dtype.kind != "f":
        np.testing.assert_array_equal(actual, expected, err_msg=what)
        return
    finite = np.abs(expected[np.isfinite(expected)])
    scale, rtol = max(1.0, float(finite.max(initial=0.0))), tolerance[expected.dtype.name]
    with np.errstate(all="ignore"):  # most are close, and this says so sooner; NaN and infinities are not
        close = np.abs(actual - expected) <= rtol * scale + rtol * np.abs(expected)
    if not close.all():
        np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol * scale, equal_nan=True, err_msg=what)


def assert_all_close(
    actual: Sequence[Array], expected: Sequence[Array], what: str, tolerance: Mapping[str, float] = TOLERANCE
) -> None:
    assert len(actual) == len(expected), f"{what}: {len(actual)} results, not {len(expected)}"
    for i, (a, e) in enumerate(zip(actual, expected, strict=True)):
        assert_close(a, e, f"{what}, result {i}", tolerance)


# ---------------------------------------------------------------- finite differences


def float_outputs(graph: Graph) -> list[Value]:
    """The distinct floating-point outputs: each has one cotangent."""
    return [v for v in dict.fromkeys(graph.outputs) if is_float(graph.type(v).dtype)]


def projection_seeds(graph: Graph, seed: int = 0) -> list[Array]:
    """A random cotangent for every distinct floating-point output."""
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.standard_normal(graph.type(v).concrete)) for v in float_outputs(graph)]


def check_gradient(graph: Graph, inputs: Sequence[Array], gradients: Sequence[Array], seeds: Sequence[Array]) -> None:
    """Directional derivatives of the reference by central differences against the gradients, in float64.

    The objective is the outputs' product with ``seeds``; each floating-point input moves alone, in three
    random directions.
    """
    rng, h = np.random.default_rng(7), 1e-6

    def change(ahead: Sequence[Array], behind: Sequence[Array]) -> float:
        total = 0.0
        first, last = (dict(zip(graph.outputs, evaluate_reference(graph, x), strict=True)) for x in (ahead, behind))
        for value, seed in zip(float_outputs(graph), seeds, strict=True):
            with np.errstate(invalid="ignore"):  # a constant inf in an output does not change
                total += float(np.sum(seed * np.where(first[value] == last[value], 0.0, first[value] - last[value])))
        return total

    sources = [i for i, x in enumerate(inputs) if x.dtype.kind == "f"]
    for i, gradient in zip(sources, gradients, strict=True):
        for _ in range(3):
            direction = rng.standard_normal(inputs[i].shape)
            ahead, behind = list(inputs), list(inputs)
            ahead[i], behind[i] = inputs[i] + h * direction, inputs[i] - h * direction
            slope = change(ahead, behind) / (2 * h)
            claimed = float(np.sum(gradient * direction))
            scale = max(1.0, abs(slope), float(np.abs(gradient).max(initial=0.0)))
            assert abs(slope - claimed) < 1e-6 * scale, f"input {i}: slope {slope}, the gradient says {claimed}"
