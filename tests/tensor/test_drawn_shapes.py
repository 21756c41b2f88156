"""Every op's kernel, eager and compiled, against the reference on drawn attributes, shapes, values and layouts."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from lucid.graph.opdef import NoAttrs, OpDef, all_ops, apply
from lucid.graph.ops.avgpool import AVG_POOL
from lucid.graph.ops.fused import FUSED_ELEMENTWISE, FUSED_LOOP
from lucid.graph.ops.pool import MAX_POOL, MAX_POOL_GRAD
from lucid.graph.ops.random import RANDOM_KEY
from lucid.graph.ops.source import FULL, FullAttrs
from lucid.graph.types import TensorType, float32
from lucid.reference.evaluator import run_reference
from lucid.runtime import eager
from lucid.runtime.kernels.fused import iteration_space as fused
from lucid.runtime.kernels.pool import max as pool
from lucid.tensor.creation import manual_seed

from ..draws import (
    attention,
    control,
    data_dependent,
    elementwise,
    moves,
    recurrent,
    reductions,
    resize,
    sequences,
    trees,
    windows,
)
from ..draws.arrays import LAYOUTS, Drawn, Strategy, subset_of
from ..op_checks import assert_all_close, channels_last, run_compiled, trace, trace_in_arena, types_of

Array: TypeAlias = "np.ndarray[Any, Any]"

_FAMILIES = (
    attention,
    control,
    elementwise,
    data_dependent,
    moves,
    recurrent,
    reductions,
    resize,
    sequences,
    trees,
    windows,
)
DRAWS: dict[OpDef, Strategy] = {op: drawn for family in _FAMILIES for op, drawn in family.DRAWS.items()}
EXACT = elementwise.EXACT | moves.EXACT

#: Bound or called, not computed; what needs other processes (tests/mpi); and what never gives the same twice.
ELSEWHERE = ("Input", "Parameter", "Constant", "Call", "AllReduceBegin", "AllReduceEnd", RANDOM_KEY.name)

#: Of so many examples for each op; the sweep ``drawn`` of tests/soak goes on with others.
ROUNDS, EXAMPLES = 2, 8

#: How a compiled program meets its operands; images are met with their channels innermost as well.
WAYS = ("inputs", "arena", "parameters")

#: Ops that run block by block.
BLOCKED = (FUSED_ELEMENTWISE, FUSED_LOOP, AVG_POOL, MAX_POOL, MAX_POOL_GRAD)


def test_every_op_is_drawn() -> None:
    missing = [op.name for op in all_ops() if op.name not in ELSEWHERE and op not in DRAWS]
    assert not missing, f"tests/draws has no strategy for {', '.join(missing)}"


@pytest.mark.parametrize("op", DRAWS, ids=lambda op: op.name)
def test_kernels_match_the_reference_on_drawn_shapes(op: OpDef) -> None:
    """In rounds of few examples: in a longer one hypothesis soon turns to variations of what it drew before."""
    for number in range(ROUNDS):
        run_round(op, number)


def run_round(op: OpDef, number: int) -> None:
    seed(zlib.crc32(f"{op.name} {number}".encode()))(run_examples)(op=op)


@given(data=st.data())
@settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
def run_examples(op: OpDef, data: st.DataObject) -> None:
    drawn = data.draw(DRAWS[op], op.name)
    layouts = [data.draw(st.sampled_from(list(LAYOUTS)), "layout") for _ in drawn.arrays]
    given = [LAYOUTS[layout](array) for layout, array in zip(layouts, drawn.arrays, strict=True)]
    with np.errstate(all="ignore"):
        expected = run_reference(op, drawn.attrs, drawn.arrays)
    count = data.draw(st.integers(1, len(expected)), "outputs")
    way = data.draw(st.sampled_from(WAYS), "way")
    chosen = data.draw(subset_of(range(len(given))), "parameters") if way == "parameters" and given else ()
    images = any(array.ndim == 4 for array in (*given, *expected))
    with small_blocks(op in BLOCKED and data.draw(st.booleans(), "small blocks")):
        check(op, run_eager(op, drawn, given), expected, "eager")
        for name in (way, "channels last") if images else (way,):
            for results in compiled(op, drawn, given, name, chosen if name == way else (), count):
                check(op, results, expected[:count], name)
    for array, original in zip(given, drawn.arrays, strict=True):
        np.testing.assert_array_equal(array, original, err_msg="an input was changed")


def test_random_keys_are_the_next_ones() -> None:
    def from_the_start(run: Callable[[], Any]) -> Any:
        manual_seed(7)
        return run()

    expected = from_the_start(lambda: [run_reference(RANDOM_KEY, NoAttrs(), []) for _ in range(3)])
    call, _ = eager.op_call(RANDOM_KEY, NoAttrs(), ())
    drawn = Drawn(NoAttrs(), ())
    runs = [from_the_start(lambda: [call() for _ in range(3)])]
    runs += [from_the_start(lambda way=way: compiled(RANDOM_KEY, drawn, [], way, (), 1)) for way in ("inputs", "arena")]
    for results in runs:
        for result, key in zip(results, expected, strict=True):
            assert_all_close(result, key, "keys")


def test_kernels_of_both_zeros_are_kept_apart() -> None:
    for zero in (0.0, -0.0, 0.0):
        (y,) = eager.op_call(FULL, FullAttrs((2,), float32, zero), ())[0]()
        assert np.signbit(y).tolist() == [math.copysign(1, zero) < 0] * 2


# ---------------------------------------------------------------- running


@contextmanager
def small_blocks(wanted: bool) -> Iterator[None]:
    """Let kernels that work block by block take small ones."""
    if not wanted:
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        for module in (fused, pool):
            patch.setattr(module, "BLOCK_BYTES", 64)
        eager.op_call.cache_clear()
        yield
    eager.op_call.cache_clear()


def run_eager(op: OpDef, drawn: Drawn, given: Sequence[Array]) -> Sequence[Array]:
    call, _ = eager.op_call(op, drawn.attrs, tuple(types_of(given)))
    with np.errstate(all="ignore"):
        return call(*given)


def compiled(
    op: OpDef, drawn: Drawn, given: Sequence[Array], way: str, parameters: Sequence[int], outputs: int
) -> list[list[Array]]:
    """Runs of a program of which only the first few outputs are asked for."""

    def function(*xs: Any) -> Any:
        results = apply(op, drawn.attrs, *xs) if drawn.arrays else apply(op, drawn.attrs, like=xs[0])
        return results[:outputs] if isinstance(results, tuple) else results

    if not given:  # an op without inputs still needs a graph to stand in
        given = [np.zeros((), np.float32)]
    types: list[TensorType] = types_of(given)
    if way in ("arena", "channels last"):
        graph = trace_in_arena(function, types)
        return run_compiled(channels_last(graph) if way == "channels last" else graph, given)
    graph = trace(function, types, parameters)
    bound = [drawn.arrays[int(name[1:])] for name in graph.parameters]
    return run_compiled(graph, [a for i, a in enumerate(given) if i not in parameters], bound)


# ---------------------------------------------------------------- comparing


def check(op: OpDef, actual: Sequence[Array], expected: Sequence[Array], way: str) -> None:
    """As far as rounding allows; where there is none, zeros have the same sign too."""
    assert_all_close(actual, expected, way)
    if op in EXACT:
        for result, wanted in zip(actual, expected, strict=True):
            np.testing.assert_array_equal(result, wanted, err_msg=way)
            number = ~np.isnan(wanted) if wanted.dtype.kind == "f" else np.zeros(wanted.shape, bool)
            np.testing.assert_array_equal(np.signbit(result[number]), np.signbit(wanted[number]), err_msg=way)
