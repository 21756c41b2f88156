"""Kernel of connectionist temporal classification."""

from __future__ import annotations

from ...graph.ops.ctc import CTC_LOSS, CtcAttrs
from ..planning.registry import kernel
from ..program.emitter import Emitter
from .ctc_calls import check_sequences, ctc_loss


@kernel(CTC_LOSS)
def ctc(k: Emitter[CtcAttrs]) -> None:
    (log_probs, targets, steps, lengths), (losses, shares), a = k.ins, k.outs, k.attrs
    k.line(f"{k.use(check_sequences)}({log_probs}, {targets}, {steps}, {lengths})")
    found = k.scratch((log_probs.shape[1],), log_probs.dtype, "losses") if losses is None else losses
    sequences = f"{log_probs}, {targets}, {steps}, {lengths}, {a.blank}, {a.forgiving}"
    k.line(f"{k.use(ctc_loss)}({sequences}, {found}, {shares})")
