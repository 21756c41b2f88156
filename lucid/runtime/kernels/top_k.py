"""Kernel of the largest elements along an axis."""

from __future__ import annotations

from ...graph.ops.top_k import TOP_K, TopKAttrs
from ...graph.types import int64
from ..planning.registry import kernel
from ..program.emitter import Emitter
from .calls import places_of_largest


@kernel(TOP_K)
def top_k(k: Emitter[TopKAttrs]) -> None:
    (x,), (values, indices), a = k.ins, k.outs, k.attrs
    found = k.scratch(values.shape, int64, "places") if indices is None else indices
    k.line(f"{found}[...] = {k.use(places_of_largest)}({x}, {a.axis}, {a.k}, {a.largest})")
    if values is not None:
        k.line(f"{values}[...] = np.take_along_axis({x}, {found}, {a.axis})")
