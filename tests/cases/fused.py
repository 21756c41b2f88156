"""Fused element-wise programs. A pass makes them; here they are written by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.graph.opdef import NoAttrs, apply
from lucid.graph.ops.bounds import ClipAttrs
from lucid.graph.ops.fused import FUSED_ELEMENTWISE, FusedAttrs, Instruction

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


def _make(*shapes: tuple[int, ...]) -> Any:
    return lambda rng, dtype: tuple(rng.standard_normal(shape).astype(dtype) for shape in shapes)


def _transposed(rng: np.random.Generator, dtype: str) -> tuple[Any, ...]:
    return rng.standard_normal((4, 3)).astype(dtype).T, rng.standard_normal((3, 1)).astype(dtype)


CASES: list[Case] = [
    Case("fused-elementwise", _fused, _make((3, 4), (3, 4)), _torch, ops=("FusedElementwise",)),
    Case("fused-elementwise-broadcast", _fused, _make((2, 3, 4, 5), (3, 1, 1)), _torch, ops=("FusedElementwise",)),
    Case("fused-elementwise-scalar", _fused, _make((7,), ()), _torch, ops=("FusedElementwise",)),
    Case("fused-elementwise-strided", _fused, _transposed, _torch, ops=("FusedElementwise",)),
    Case("fused-elementwise-empty", _fused, _make((0, 4), (4,)), _torch, ops=("FusedElementwise",)),
]
