"""Fused element-wise programs. A pass makes them; here they are written by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.graph.opdef import NoAttrs, apply
from lucid.graph.ops.bounds import ClipAttrs
from lucid.graph.ops.fused import FUSED_ELEMENTWISE, FUSED_LOOP, FusedAttrs, Instruction, LoopAttrs, Result
from lucid.graph.ops.reduce import ReduceAttrs

from .case import Case

#: clip(sigmoid(x + b) * x, None, 0.9), and x again.
_PROGRAM = FusedAttrs(
    2,
    (
        Instruction("Add", NoAttrs(), (0, 1)),
        Instruction("Sigmoid", NoAttrs(), (2,)),
        Instruction("Mul", NoAttrs(), (3, 0)),
        Instruction("Clip", ClipAttrs(None, 0.9), (4,)),
        Instruction("Sub", NoAttrs(), (5, 0)),
    ),
)


def _fused(x: Any, b: Any) -> Any:
    return apply(FUSED_ELEMENTWISE, _PROGRAM, x, b)


def _torch(torch: Any, x: Any, b: Any) -> Any:
    return torch.clamp(torch.sigmoid(x + b) * x, max=0.9) - x


def _loop(*axes: int, keep: bool = False) -> Any:
    """What there is to be had of (x + b) * x: itself, x + b, and sums and means of x and of it over these axes."""
    a = ReduceAttrs(axes, keep)
    program = (Instruction("Add", NoAttrs(), (0, 1)), Instruction("Mul", NoAttrs(), (2, 0)))
    results = (Result(3), Result(2), Result(0, "Sum", a), Result(3, "Mean", a), Result(3, "Sum", ReduceAttrs((0,))))
    return lambda x, b: apply(FUSED_LOOP, LoopAttrs(2, program, results), x, b)


def _torch_loop(*axes: int, keep: bool = False) -> Any:
    def expected(torch: Any, x: Any, b: Any) -> Any:
        y = (x + b) * x
        return y, x + b, x.sum(axes, keepdim=keep), y.mean(axes, keepdim=keep), y.sum(0)

    return expected


def _make(*shapes: tuple[int, ...]) -> Any:
    return lambda rng, dtype: tuple(rng.standard_normal(shape).astype(dtype) for shape in shapes)


def _transposed(rng: np.random.Generator, dtype: str) -> tuple[Any, ...]:
    return rng.standard_normal((4, 3)).astype(dtype).T, rng.standard_normal((3, 1)).astype(dtype)


_LOOP = ("FusedLoop",)
CASES: list[Case] = [
    Case("fused-elementwise", _fused, _make((3, 4), (3, 4)), _torch, ops=("FusedElementwise",)),
    Case("fused-elementwise-broadcast", _fused, _make((2, 3, 4, 5), (3, 1, 1)), _torch, ops=("FusedElementwise",)),
    Case("fused-elementwise-scalar", _fused, _make((7,), ()), _torch, ops=("FusedElementwise",)),
    Case("fused-elementwise-strided", _fused, _transposed, _torch, ops=("FusedElementwise",)),
    Case("fused-loop", _loop(0, 2, 3), _make((2, 3, 4, 5), (3, 1, 1)), _torch_loop(0, 2, 3), ops=_LOOP),
    Case("fused-loop-rows", _loop(1, keep=True), _make((6, 5), (5,)), _torch_loop(1, keep=True), ops=_LOOP),
    Case("fused-loop-blocks", _loop(0, 2), _make((2, 5, 40_000), (5, 1)), _torch_loop(0, 2), False, ops=_LOOP),
    Case("fused-loop-tall", _loop(0), _make((9_000, 8), (1, 8)), _torch_loop(0), False, ops=_LOOP),
    Case("fused-loop-outer", _loop(0, 2), _make((70, 3, 600), (1, 1, 600)), _torch_loop(0, 2), False, ops=_LOOP),
    Case("fused-loop-vector", _loop(0), _make((100_001,), (1,)), _torch_loop(0), False, ops=_LOOP),
    Case("fused-loop-empty", _loop(1), _make((0, 3), (1,)), _torch_loop(1), ops=_LOOP),
    Case("fused-elementwise-empty", _fused, _make((0, 4), (4,)), _torch, ops=("FusedElementwise",)),
]
