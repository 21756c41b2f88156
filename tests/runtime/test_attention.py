"""Attention and its gradient in tiles of every size against the definition; no tile is as large as all scores."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import lucid
from lucid.graph.opdef import Attrs, OpDef, apply_all
from lucid.graph.ops.attention_op import ATTENTION, ATTENTION_GRAD, AttentionAttrs
from lucid.nn import functional as F
from lucid.reference.evaluator import run_reference
from lucid.runtime import eager
from lucid.runtime.kernels.attention import backward, forward
from lucid.runtime.kernels.attention.tiles import Sizes, Tiling
from lucid.runtime.planning.registry import lowerings
from lucid.runtime.program.plan import make_plan
from lucid.runtime.program.printer import generate

from ..draws.attention import attention, gradient
from ..op_checks import (
    GRADIENT_TOLERANCE,
    assert_all_close,
    garbage_arena,
    threads_only,
    trace,
    trace_in_arena,
    types_of,
)
from .test_conv import force

Array = np.ndarray[Any, Any]
TILINGS = [(1, 1, 1), (1, 2, 3), (1, 3, 100), (2, 5, 2), (2, 100, 4), (100, 100, 2), (100, 100, 100)]


def check(op: OpDef, attrs: Attrs, arrays: Sequence[Array], threads: int) -> None:
    """Eager and compiled against the reference."""
    with np.errstate(all="ignore"):
        wanted = run_reference(op, attrs, arrays)

        def function(*xs: Any) -> Any:
            return apply_all(op, attrs, *xs)

        made = eager.evaluate(trace(function, types_of(arrays)), arrays)
        assert_all_close(made, wanted, f"eager {attrs}", GRADIENT_TOLERANCE)
        plan = make_plan(trace_in_arena(function, types_of(arrays)), threads=threads)
        prepare, bind = generate(plan).load("program")([])
        prepare()
        run = threads_only(threads).bind(bind, garbage_arena(plan.arena_bytes, None))
        for _ in range(2):
            assert_all_close(run(*arrays), wanted, f"compiled {attrs}", GRADIENT_TOLERANCE)


@pytest.fixture(params=TILINGS, ids=str)
def tiling(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let both be cut so."""
    heads, rows, keys = request.param

    def tilings(s: Sizes, threads: int, attrs: AttentionAttrs, buffers: int, *, alone: bool = False) -> list[Tiling]:
        most = s.keys if attrs.dropout else min(keys, s.keys)
        cut = min(rows, s.queries) if rows < s.queries else min(rows, s.rows)
        return [Tiling(heads if cut == s.rows else 1, cut, most, 1 if alone else threads)]

    for module in (forward, backward):
        monkeypatch.setattr(module, "tilings", tilings)
    for op in (ATTENTION, ATTENTION_GRAD):
        force(monkeypatch, op, lowerings(op)[0])


@pytest.mark.parametrize("seed", range(24))
def test_it_is_the_definition(seed: int, tiling: None) -> None:
    for op, drawn in ((ATTENTION, attention(seed)), (ATTENTION_GRAD, gradient(seed))):
        check(op, drawn.attrs, drawn.arrays, 1 + seed % 2)


def test_hostile_numbers_are_as_the_definition_has_them(tiling: None) -> None:
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((3, 5, 4)).astype(np.float32) for _ in range(3))
    q[0, 1, 0], k[1, 2, 0], v[2, 3, 0] = np.nan, np.inf, np.inf
    lowest = np.where(rng.random((5, 5)) > 0.5, 0, np.finfo(np.float32).min).astype(np.float32)
    lowest[1] = np.finfo(np.float32).min
    check(ATTENTION, AttentionAttrs(0.5), [q, k, v], 1)
    check(ATTENTION, AttentionAttrs(0.5, masked=True), [q[:1] * 0, k[:1], v[:1], lowest], 1)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("sizes", [(0, 3, 4, 2), (2, 0, 4, 2), (0, 0, 4, 2), (2, 3, 0, 2), (2, 3, 4, 0)], ids=str)
def test_there_may_be_none(sizes: tuple[int, int, int, int], threads: int) -> None:
    queries, keys, features, values = sizes
    rng = np.random.default_rng(0)
    shapes = (2, 4, queries, features), (2, 2, keys, features), (2, 2, keys, values), (queries, keys)
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    for masked in (False, True):
        mine, attrs = arrays[: 3 + masked], AttentionAttrs(0.5, masked=masked)
        check(ATTENTION, attrs, mine, threads)
        results = run_reference(ATTENTION, attrs, mine)
        check(ATTENTION_GRAD, attrs, [*mine, *results, np.ones_like(results[0])], threads)


@pytest.mark.parametrize("lead", [(0, 2), (2, 0), (0,), (1, 0, 2)], ids=str)
@pytest.mark.parametrize("kind", [bool, np.float32])
def test_there_may_be_no_heads(kind: type, lead: tuple[int, ...]) -> None:
    shapes = (*lead, 4, 3), (*lead, 5, 3), (*lead, 5, 2)
    arrays = [*(np.zeros(shape, np.float32) for shape in shapes), np.ones((4, 5), kind)]
    check(ATTENTION, AttentionAttrs(0.5, masked=True), arrays, 1)
    results = run_reference(ATTENTION, AttentionAttrs(0.5, masked=True), arrays)
    check(ATTENTION_GRAD, AttentionAttrs(0.5, masked=True), [*arrays, *results, np.ones_like(results[0])], 1)


LONG = [np.random.default_rng(i).standard_normal((1, 2, 2048, 8)).astype(np.float32) for i in range(3)]
"""Queries, keys and values of two heads, whose scores would take 32 MB."""


@pytest.mark.usefixtures("usual_machine")
def test_a_program_holds_the_scores_nowhere() -> None:
    """Each thread holds a block of them."""
    types = [lucid.spec(*x.shape) for x in LONG]
    net = lucid.compile(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True), *types, threads=2)
    net(*LONG)
    assert net.plan.arena_bytes < 8 << 20


def test_nor_does_a_gradient_with_dropout() -> None:
    q, k, v = (lucid.tensor(x, requires_grad=True) for x in LONG)
    tracemalloc.start()
    try:
        F.scaled_dot_product_attention(q, k, v, np.tri(2048, dtype=bool), 0.1).sum().backward()
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 24 << 20
