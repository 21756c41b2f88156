"""Copies that join arrays, or reshape what lies apart, are shared by workers where they are large."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lucid
from lucid.graph.ir import Graph
from lucid.graph.ops.shape import CONCAT, RESHAPE
from lucid.graph.types import TensorType, float32
from lucid.runtime.program.executable import Executable
from lucid.runtime.workers.processes import WorkerProcesses

from ...op_checks import trace

pytestmark = pytest.mark.usefixtures("usual_machine")

LARGE, SMALL = (17, 8, 32, 32), (17, 2, 2, 2)


def heads(x: Any) -> Any:
    """What is computed apart, side by side, as the heads of attention are put."""
    return lucid.cat([(x * n).permute(0, 2, 1, 3) for n in (2, 3)], dim=2)


def lengths(x: Any) -> Any:
    """Parts of different lengths one behind another, the first as long as the last."""
    y = x * 2
    return lucid.cat([y[:5], y[3:14], y[1:6]], dim=0)


def flat(x: Any) -> Any:
    return (x * 2).permute(0, 2, 1, 3).reshape(x.shape[0] * x.shape[2], x.shape[1] * x.shape[3])


FUNCTIONS = pytest.mark.parametrize("function", [heads, lengths, flat])


def _graph(function: Callable[[Any], Any], shape: tuple[int, ...]) -> Graph:
    return trace(lambda x: function(x) + 1, [TensorType(shape, float32)])  # results are the caller's


def _sharing(made: Executable) -> list[int]:
    """How many share each copy."""
    return [step.workers for step in made.plan.steps if step.node.op in (CONCAT, RESHAPE)]


@FUNCTIONS
def test_workers_share_a_large_copy(function: Callable[[Any], Any], workers: WorkerProcesses) -> None:
    made = Executable(_graph(function, LARGE), threads=3)
    assert _sharing(made) == [3]
    made.load([], 0)
    x = np.random.default_rng(0).standard_normal(LARGE).astype(np.float32)
    for number in range(4):
        (result,) = made(x + number)
        assert (result == function(lucid.tensor(x + number)).numpy() + 1).all()


@FUNCTIONS
def test_a_small_copy_is_not_handed_out(function: Callable[[Any], Any]) -> None:
    assert _sharing(Executable(_graph(function, SMALL), threads=3)) == [1]


def test_what_is_the_callers_is_copied_by_the_caller() -> None:
    """Workers do not reach what comes with the call, nor what is made at it."""
    for function in (lambda x: lucid.cat([x, x * 2], dim=0) + 1, heads):
        assert _sharing(Executable(trace(function, [TensorType(LARGE, float32)]), threads=3)) == [1]


def test_a_few_long_rows_are_copied_by_the_caller() -> None:
    assert _sharing(Executable(_graph(lambda x: lucid.cat([x * 2, x * 3], dim=1), (2, 1 << 20)), threads=3)) == [1]
