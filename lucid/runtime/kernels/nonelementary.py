"""Kernels of functions that NumPy lacks and no formula gives."""

from __future__ import annotations

from ...graph.ops.nonelementary import (
    BESSEL_I,
    ERFC,
    ERFCX,
    ERFINV,
    LGAMMA,
    NDTRI,
    POLYGAMMA,
    BesselAttrs,
    PolygammaAttrs,
)
from ..planning.registry import kernel
from ..program.emitter import Emitter
from .bessel_calls import bessel_i
from .nonelementary_calls import by_blocks, erfc, erfcx, erfinv, lgamma, ndtri, polygamma

for _op, _function in ((ERFC, erfc), (ERFCX, erfcx), (ERFINV, erfinv), (NDTRI, ndtri), (LGAMMA, lgamma)):

    @kernel(_op)
    def _unary(k: Emitter, function: object = _function) -> None:
        k.line(f"{k.use(by_blocks)}({k.use(function)}, {k.ins[0]}, {k.outs[0]})")


@kernel(POLYGAMMA)
def polygammas(k: Emitter[PolygammaAttrs]) -> None:
    k.line(f"{k.use(by_blocks)}({k.use(polygamma)}, {k.ins[0]}, {k.outs[0]}, {k.attrs.n})")


@kernel(BESSEL_I)
def bessel(k: Emitter[BesselAttrs]) -> None:
    order, scaled = k.attrs.order, int(k.attrs.scaled)
    k.line(f"{k.use(by_blocks)}({k.use(bessel_i)}, {k.ins[0]}, {k.outs[0]}, {order}, {scaled})")
