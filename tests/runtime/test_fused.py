"""Blocks of fused element-wise ops: rows that are the same for all are repeated, so that runs are long."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from lucid.graph.ir import Graph
from lucid.graph.opdef import NoAttrs, apply
from lucid.graph.ops.fused import FUSED_ELEMENTWISE, FUSED_LOOP, FusedAttrs, Instruction, LoopAttrs, Result
from lucid.graph.ops.reduce import ReduceAttrs
from lucid.graph.types import TensorType, float32
from lucid.reference import evaluate_reference
from lucid.runtime.kernels.fused import iteration_space
from lucid.runtime.planning.machine import Machine, described
from lucid.runtime.planning.phase import Phase
from lucid.runtime.program.emitter import Operand
from lucid.runtime.program.plan import make_plan
from lucid.runtime.program.printer import generate

from ..machines import USUAL
from ..op_checks import channels_last, run_compiled, trace_in_arena, types_of

SCALED = (Instruction("Sub", NoAttrs(), (0, 1)), Instruction("Mul", NoAttrs(), (3, 2)))


def scaled(*axes: int) -> Any:
    """``(x - a) * b``, and what that and its square add up to over these axes."""
    program = (*SCALED, Instruction("Mul", NoAttrs(), (4, 4)))
    results = (Result(4), *(Result(value, "Mean", ReduceAttrs(axes)) for value in (4, 5, 0) if axes))
    if not axes:
        return lambda *xs: apply(FUSED_ELEMENTWISE, FusedAttrs(3, SCALED), *xs)
    return lambda *xs: apply(FUSED_LOOP, LoopAttrs(3, program, results), *xs)


def drawn(*shapes: tuple[int, ...], dtype: str = "float32") -> list[Any]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def source(graph: Graph) -> str:
    return generate(make_plan(graph)).text


@pytest.fixture
def short_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of few numbers, and runs that few rows make long enough."""
    for name, value in {
        "BLOCK_BYTES": 1 << 10,
        "THREAD_BYTES": 1 << 11,
        "LONG_RUN": 24,
        "LEAST_RUNS": 1,
        "LONGEST_ROW": 64,
    }.items():
        monkeypatch.setattr(iteration_space, name, value)


CASES: dict[str, tuple[tuple[int, ...], tuple[tuple[int, ...], ...], bool]] = {
    "rows": ((0,), ((96, 8), (8,), (1, 8)), True),
    "rows of images": ((0, 2, 3), ((6, 8, 4, 5), (8, 1, 1), (1, 8, 1, 1)), True),
    "a last block of fewer": ((0,), ((130, 8), (8,), ()), True),
    "nothing added up": ((), ((300, 7), (7,), (1,)), True),
    "all of it added up": ((0, 1), ((96, 8), (8,), (8,)), True),
    "a number for each part, too": ((1,), ((3, 96, 8), (3, 1, 1), (8,)), True),
    "no number of rows that divides": ((0,), ((101, 8), (8,), ()), False),
    "a number for each row": ((0,), ((96, 8), (8,), (96, 1)), False),
    "rows that are added up each": ((1,), ((96, 8), (8,), ()), False),
    "long rows": ((0,), ((96, 40), (40,), ()), False),
    "no row": ((0,), ((96, 8), (), ()), False),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.usefixtures("short_runs")
def test_rows_are_repeated(case: str) -> None:
    axes, shapes, repeated = CASES[case]
    for dtype, tolerance in (("float32", 1e-5), ("float64", 1e-12)):
        arrays = drawn(*shapes, dtype=dtype)
        graph = trace_in_arena(scaled(*axes), types_of(arrays))
        graphs = [graph, channels_last(graph)] if len(shapes[0]) == 4 else [graph]
        for each in graphs:
            for results in run_compiled(each, arrays):
                for made, wanted in zip(results, evaluate_reference(graph, arrays), strict=True):
                    assert_allclose(made, wanted, tolerance, tolerance)
        assert ("_rows" in source(graphs[-1])) is repeated


def test_few_rows_are_not_repeated() -> None:
    for rows, repeated in ((8192, True), (256, False)):
        arrays = drawn((rows, 64), (64,), ())
        assert ("_rows" in source(trace_in_arena(scaled(0), types_of(arrays)))) is repeated


@pytest.mark.parametrize(
    ("l2", "l3", "inputs", "threads", "wanted"),
    [
        (19, 25, 1, 2, 1 << 17),
        (20, 25, 1, 2, (1 << 20) // 6),
        (21, 25, 1, 2, 1 << 18),
        (21, 25, 6, 2, 1 << 17),
        (24, 25, 1, 2, 1 << 18),
        (20, 25, 1, 1, 1 << 19),  # too small to be worth a call
        (20, 22, 1, 1, (1 << 20) // 6),  # 1.5 MB are more than half of a core's share
        (21, 25, 3, 1, (1 << 21) // 10),
        (21, 25, 4, 1, 1 << 19),
        (21, 25, 15, 1, 1 << 17),
    ],
)
def test_blocks_of_all_operands_take_half_of_a_cache(l2: int, l3: int, inputs: int, threads: int, wanted: int) -> None:
    """Within bounds: of a core's own cache or, if that makes short blocks, of its share of the last."""
    x, row = (Operand("x", TensorType((size,), float32), Phase.ARENA) for size in (1 << 20, 1))
    k: Any = SimpleNamespace(ins=[x] * inputs + [row], threads=threads)
    with described(Machine(cores=2, l1=1 << 15, l2=1 << l2, l3=1 << l3)):
        assert iteration_space.block_bytes(k, x, 1) == wanted


def test_workers_share_a_chain_that_is_worth_it_however_small() -> None:
    """One alone takes it at once, as its caches hold all of it."""
    program = (*SCALED[:1], *(Instruction("Mul", NoAttrs(), (value, 1)) for value in range(3, 9)))
    types = types_of(drawn((256, 192), (256, 1), (256, 192)))
    graph = trace_in_arena(lambda *xs: apply(FUSED_ELEMENTWISE, FusedAttrs(3, program), *xs), types)
    with described(USUAL):
        alone, shared = (generate(make_plan(graph, threads=threads)).text for threads in (1, 2))
    assert "share(" not in alone
    assert shared.count("share(") == 1
    assert "range(0, 128, 128)" in shared
    assert "range(128, 256, 128)" in shared
