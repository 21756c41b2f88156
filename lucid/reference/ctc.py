"""Connectionist temporal classification: a sum over all paths of each sequence, one path after another."""

from __future__ import annotations

import itertools

import numpy as np

from ..base.arrays import Array
from ..graph.ops.ctc import CTC_LOSS, CtcAttrs
from .evaluator import reference


@reference(CTC_LOSS)
def ctc_loss(
    attrs: CtcAttrs, log_probs: Array, targets: Array, steps: Array, lengths: Array
) -> tuple[Array, Array]:  # fmt: skip
    losses, shares = np.zeros(log_probs.shape[1], log_probs.dtype), np.zeros_like(log_probs)
    for n in range(log_probs.shape[1]):
        probs, wanted = np.exp(log_probs[: steps[n], n]), [int(c) for c in targets[n, : lengths[n]]]
        total, by_class = 0.0, np.zeros_like(probs)
        for path in itertools.product(sorted({attrs.blank, *wanted}), repeat=int(steps[n])):
            if [c for c, _ in itertools.groupby(path) if c != attrs.blank] == wanted:
                likely = np.prod([probs[t, c] for t, c in enumerate(path)])
                total += likely
                for t, c in enumerate(path):
                    by_class[t, c] += likely
        if total or not attrs.forgiving:
            with np.errstate(all="ignore"):
                losses[n], shares[: steps[n], n] = -np.log(total), by_class / total
    return losses, shares
