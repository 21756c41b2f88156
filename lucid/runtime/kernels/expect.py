"""Kernel of what is there on a condition."""

from __future__ import annotations

from ...graph.ops.expect import EXPECT, ExpectAttrs
from ..planning.registry import kernel
from ..program.emitter import Emitter
from ..program.names import quoted
from .calls import check_expected


@kernel(EXPECT)
def expect(k: Emitter[ExpectAttrs]) -> None:
    (x, condition), (y,) = k.ins, k.outs
    k.line(f"{k.use(check_expected)}({condition}, {k.attrs.value}, {quoted(k.attrs.message)})")
    k.alias(0, f"{x}[...]", contiguous=x.contiguous and x.type.order == y.type.order)
