"""Losses."""

from __future__ import annotations

from ....errors import GraphError
from ....graph.opdef import AbstractTensor
from ....graph.ops import loss, norm
from ..registry import Call, Value, converter

NOWHERE = -(1 << 62)
"""A class that no target has, for losses that ignore none."""


def _reduction(call: Call) -> str:
    found: str = call.attribute("reduction", "mean")
    if found not in ("none", "mean", "sum"):
        raise GraphError(f"unknown reduction {found!r}")
    return found


@converter("NegativeLogLikelihoodLoss")
def nll_loss(call: Call, x: Value, target: Value, weight: Value = None) -> AbstractTensor:
    (known, classes), weights = call.tensors(x, target), call.optional(weight)
    return loss.nll_loss(known, classes, weights, call.attribute("ignore_index", NOWHERE), _reduction(call))


@converter("SoftmaxCrossEntropyLoss")
def cross_entropy(call: Call, x: Value, target: Value, weight: Value = None) -> list[AbstractTensor]:
    (known, classes), weights = call.tensors(x, target), call.optional(weight)
    shares = norm.log_softmax(known, 1)
    return [loss.nll_loss(shares, classes, weights, call.attribute("ignore_index", NOWHERE), _reduction(call)), shares]
