"""Kernel of the determinant."""

from __future__ import annotations

from ...graph.ops.determinant import DET
from ..planning.registry import kernel
from ..program.emitter import Emitter
from .calls import determinants


@kernel(DET)
def det(k: Emitter) -> None:
    (x,), (y,) = k.ins, k.outs
    k.line(f"{k.use(determinants)}({x}, {y})")
