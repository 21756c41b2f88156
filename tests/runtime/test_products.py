"""The lowerings of products of matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn, optim
from lucid.graph.ir import Node
from lucid.graph.opdef import Attrs, NoAttrs, OpDef
from lucid.graph.ops.einsum import EINSUM, EinsumAttrs
from lucid.graph.ops.fused_linear import FUSED_LINEAR
from lucid.graph.ops.linalg import LINEAR, MATMUL
from lucid.graph.types import TensorType, float32
from lucid.reference.evaluator import run_reference
from lucid.runtime.kernels.linear.parts import Part, PartCut
from lucid.runtime.planning.machine import described
from lucid.runtime.planning.registry import Choice, choices, lowerings
from lucid.runtime.program.plan import make_plan

from ..machines import MACHINES
from ..op_checks import assert_close, run_compiled, trace
from .test_conv import check, force

PARTS = {op: next(low for low in lowerings(op) if low.name == "parts") for op in (MATMUL, EINSUM, LINEAR)}


def _all_ways(op: OpDef, attrs: Attrs, arrays: list[Any], threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each way to cut the work, against the reference."""
    force(monkeypatch, op, PARTS[op])
    for _ in range(arrays[0].ndim + 1):  # each plan takes the next
        check(op, attrs, arrays, threads=threads)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((37, 21), (21, 50)), ((1, 9), (9, 40)), ((5, 9), (9, 1)), ((3, 0), (0, 4)), ((0, 3), (3, 4)), ((3, 4), (4, 0)),
        ((2, 3, 7, 5), (5, 33)), ((2, 3, 7, 5), (2, 3, 5, 6)), ((3, 7, 5), (2, 1, 5, 6)), ((7, 5), (4, 5, 17)),
        ((1, 7, 5), (1, 5, 40)), ((0, 7, 5), (1, 5, 4)),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("threads", [1, 3])
def test_workers_make_matrices_rows_or_columns(
    left: tuple[int, ...], right: tuple[int, ...], threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    rng = np.random.default_rng(len(left))
    dtype = np.float64 if threads == 3 else np.float32
    arrays = [rng.standard_normal(shape).astype(dtype) for shape in (left, right)]
    _all_ways(MATMUL, NoAttrs(), arrays, threads, monkeypatch)


@pytest.mark.parametrize(
    ("equation", "left", "right"),
    [
        ("bhqd,bkhd->bhqk", (2, 3, 7, 5), (2, 9, 3, 5)), ("ij,jk->ki", (9, 8), (8, 40)), ("bi,bj->ij", (8, 5), (8, 9)),
        ("bi,bi->b", (8, 5), (8, 5)), ("ij,jk->ik", (0, 8), (8, 4)),
    ],
)  # fmt: skip
def test_workers_share_sums_of_products(
    equation: str, left: tuple[int, ...], right: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    rng = np.random.default_rng(2)
    operands, result = equation.split("->")
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in (left, right)]
    _all_ways(EINSUM, EinsumAttrs(tuple(operands.split(",")), result), arrays, 2, monkeypatch)


def test_turned_operands_are_read_as_they_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weight gradients, and scores of heads that lie within the rows of a token."""
    force(monkeypatch, MATMUL, PARTS[MATMUL])
    rng = np.random.default_rng(3)
    for shapes, axes in (
        (((40, 21), (40, 50)), ((1, 0), (0, 1))),
        (((2, 9, 3, 5), (2, 7, 3, 5)), ((0, 2, 1, 3), (0, 2, 3, 1))),
    ):
        arrays = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
        turned = [x.transpose(axis) for x, axis in zip(arrays, axes, strict=True)]
        (expected,) = run_reference(MATMUL, NoAttrs(), turned)
        types = [TensorType(shape, float32) for shape in shapes]
        graph = trace(lambda a, b, axes=axes: a.permute(*axes[0]) @ b.permute(*axes[1]), types)
        for threads in (2, 2, 2, 2, 1):
            source = make_plan(graph, threads=threads)
            assert not any("packed" in buffer.name for step in source.steps for buffer in step.memory)
            for result in run_compiled(graph, arrays)[0]:
                assert_close(result, expected, str(axes))


def _best(op: OpDef, *shapes: tuple[int, ...]) -> Choice:
    types = tuple(TensorType(shape, float32) for shape in shapes)
    node = Node(op, NoAttrs(), op.infer_types(NoAttrs(), types))
    return choices(node, types, threads=2, lasting=False)[0]


@pytest.mark.usefixtures("usual_machine")
def test_products_are_shared_where_that_is_worth_handing_out() -> None:
    """A training step's: a layer's, whose weights stay only for a run, and the gradients of both.

    These by rows where either would do: nodes before and after share rows, so less goes from one core to another.
    """
    assert _best(LINEAR, (256, 784), (512, 784)).way.block == PartCut((Part(1, 0, 256), Part(1, 256, 512)), 2)
    assert str(_best(MATMUL, (512, 256), (256, 784))) == "parts (256 rows)"
    assert str(_best(MATMUL, (256, 512), (512, 512))) == "parts (128 rows)"
    assert str(_best(MATMUL, (16, 512), (512, 784))) == "parts (400 columns)"
    assert str(_best(MATMUL, (16, 4, 64, 64), (16, 4, 64, 64))) == "parts (8 matrices)"
    assert str(_best(MATMUL, (16, 16), (16, 16))) == str(_best(LINEAR, (4, 4096), (4096, 4096))) == "numpy"
    with described(MACHINES["1core"]):  # whose threads wait for each other
        assert str(_best(MATMUL, (64, 64), (64, 64))) == "numpy"


@pytest.mark.usefixtures("usual_machine")
def test_the_large_products_of_a_step_are_shared() -> None:
    lucid.set_num_threads(2)
    model = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
    step = lucid.compile_step(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1))
    rng = np.random.default_rng(4)
    step(rng.standard_normal((256, 784)).astype(np.float32), rng.integers(0, 10, 256))
    taken = [step for step in step.plan.steps if step.node.op in (MATMUL, LINEAR, FUSED_LINEAR)]
    large = [step.workers for step in taken if min(step.ins[0].shape[-1], *step.outs[0].shape) > 10]  # type: ignore[union-attr]
    assert large == [2] * 5
