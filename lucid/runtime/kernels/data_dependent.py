"""Kernels of the ops with data-dependent sizes."""

from __future__ import annotations

from ...graph.ops.data_dependent import FOUND, NONZERO, SUPPRESSION, UNIQUE, FoundAttrs, SuppressionAttrs, UniqueAttrs
from ..planning.registry import kernel
from ..program.emitter import Emitter
from .data_dependent_calls import different_first, nonzero_places, suppressed


@kernel(FOUND)
def found(k: Emitter[FoundAttrs]) -> None:
    x = k.ins[0]
    k.alias(0, f"{x}[:{k.attrs.size}]", contiguous=x.contiguous and x.type.order is None)


@kernel(NONZERO)
def nonzero(k: Emitter) -> None:
    (x,), (places, count) = k.ins, k.outs
    if places is None:
        k.line(f"{count}[...] = np.count_nonzero({x})")
        return
    found = f"{k.use(nonzero_places)}({x}, {places})"
    k.line(found if count is None else f"{count}[...] = {found}")


@kernel(UNIQUE)
def unique(k: Emitter[UniqueAttrs]) -> None:
    (x,), outs, a = k.ins, k.outs, k.attrs
    k.line(f"{k.use(different_first)}({x}, {a.axis}, {a.ordered}, {a.nan_alike}, {', '.join(map(str, outs))})")


@kernel(SUPPRESSION)
def suppression(k: Emitter[SuppressionAttrs]) -> None:
    (rows, count), a = k.outs, k.attrs
    k.line(f"{k.use(suppressed)}({rows}, {count}, {a.centred}, {a.most}, {', '.join(map(str, k.ins))})")
