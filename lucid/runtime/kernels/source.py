"""Kernels of constants and filled tensors. Inputs and parameters need none."""

from __future__ import annotations

from ...graph.ops import source
from ..planning.registry import kernel
from ..program.emitter import Emitter


@kernel(source.FULL)
def full(k: Emitter) -> None:
    k.outs[0].value = k.attrs.value
    k.line(f"{k.outs[0]}.fill({k.number(k.attrs.value)})")
