"""Kernels of functions that NumPy lacks and no formula gives."""

from __future__ import annotations

from ...graph.ops.nonelementary import ERFC, ERFINV, LGAMMA, POLYGAMMA, PolygammaAttrs
from ..planning.registry import kernel
from ..program.emitter import Emitter
from .nonelementary_calls import by_blocks, erfc, erfinv, lgamma, polygamma

for _op, _function in ((ERFC, erfc), (ERFINV, erfinv), (LGAMMA, lgamma)):

    @kernel(_op)
    def _unary(k: Emitter, function: object = _function) -> None:
        k.line(f"{k.use(by_blocks)}({k.use(function)}, {k.ins[0]}, {k.outs[0]})")


@kernel(POLYGAMMA)
def polygammas(k: Emitter[PolygammaAttrs]) -> None:
    k.line(f"{k.use(by_blocks)}({k.use(polygamma)}, {k.ins[0]}, {k.outs[0]}, {k.attrs.n})")
