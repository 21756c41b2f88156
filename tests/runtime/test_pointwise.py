"""1x1 convolutions whose weights change from run to run: these are read as they lie, whichever axis that is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lucid.graph.ops.conv import CONV, conv2d
from lucid.reference.evaluator import evaluate_reference
from lucid.runtime import eager
from lucid.runtime.planning.registry import lowerings
from lucid.runtime.program.plan import make_plan
from lucid.runtime.program.printer import generate

from ..op_checks import assert_close, blas_alone, channels_last, garbage_arena, threads_only, trace_in_arena, types_of
from .test_conv import force

POINTWISE = next(lowering for lowering in lowerings(CONV) if lowering.name == "pointwise")

Seen = Callable[[Any], Any]
TURNED: dict[str, tuple[tuple[int, ...], Seen]] = {
    "as it is": ((5, 7, 1, 1), lambda w: w),
    "turned": ((7, 5, 1, 1), lambda w: w.permute(1, 0, 2, 3)),
    "one tap of several": ((5, 7, 3, 2), lambda w: w[:, :, 1:2, 1:]),
    "one tap, turned": ((7, 5, 3, 2), lambda w: w[:, :, 1:2, 1:].permute(1, 0, 2, 3)),
    "every other": ((10, 7, 1, 1), lambda w: w[::2]),
}


@pytest.mark.parametrize("last", [False, True], ids=["channels first", "channels last"])
@pytest.mark.parametrize("how", TURNED)
def test_a_weight_that_changes_is_not_copied(how: str, last: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    shape, seen = TURNED[how]
    rng = np.random.default_rng(len(how))
    arrays = [rng.standard_normal(size).astype(np.float32) for size in ((3, 7, 4, 2), shape)]
    force(monkeypatch, CONV, POINTWISE)
    graph = trace_in_arena(lambda x, w: conv2d(x, seen(w)), types_of(arrays))
    plan = make_plan(channels_last(graph) if last else graph)
    eager.op_call.cache_clear()
    (step,) = (step for step in plan.steps if step.node.op is CONV)
    assert not step.buffers
    prepare, bind = generate(plan).load("program")([])
    with blas_alone():
        prepare()
        run = threads_only().bind(bind, garbage_arena(plan.arena_bytes, None))
        for _ in range(2):
            (result,) = run(*arrays)
            assert_close(result, evaluate_reference(graph, arrays)[0], how)
