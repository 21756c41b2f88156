"""Kernel of the exponential of matrices."""

from __future__ import annotations

from ...graph.ops.matrix_exponential import MATRIX_EXP
from ..planning.registry import kernel
from ..program.emitter import Emitter
from .matrix_exponential_calls import exponential


@kernel(MATRIX_EXP)
def matrix_exp(k: Emitter) -> None:
    (x,), (y,) = k.ins, k.outs
    k.line(f"{y}[...] = {k.use(exponential)}({x})")
