"""Losses as modules."""

from __future__ import annotations

from typing import TypeAlias

import numpy.typing as npt

from ..tensor.tensor import Tensor
from . import functional as F
from .checks import choice, flag, real, size
from .module import Module

Given: TypeAlias = "Tensor | npt.ArrayLike | None"


class _Loss(Module):
    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = choice(self, "reduction", reduction, "mean", "sum", "none")


class MSELoss(_Loss):
    """Squared differences; ``reduction`` is "mean", "sum" or "none"."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(input, target, reduction=self.reduction)


class L1Loss(_Loss):
    """Absolute differences; ``reduction`` is "mean", "sum" or "none"."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.l1_loss(input, target, reduction=self.reduction)


class SmoothL1Loss(_Loss):
    """Squared differences over ``2 beta`` where below ``beta``, absolute ones less ``beta / 2`` elsewhere."""

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        self.beta = real(self, "beta", beta, 0.0)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


class HuberLoss(_Loss):
    """Half the squared difference up to ``delta``, and linear beyond (Huber, 1964)."""

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        self.delta = real(self, "delta", delta, 0.0)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.huber_loss(input, target, reduction=self.reduction, delta=self.delta)


class _Weighted(_Loss):
    def __init__(self, weight: Given, reduction: str) -> None:
        super().__init__(reduction)
        self.register_buffer("weight", weight if weight is None or isinstance(weight, Tensor) else Tensor(weight))


class NLLLoss(_Weighted):
    """Negative log-likelihood of classes, given log-probabilities (N, C, …).

    Parameters
    ----------
    weight
        Weight of each class, or None.
    ignore_index
        A target that counts for nothing.
    reduction
        "mean" (over the weights that count), "sum" or "none".
    """

    def __init__(self, weight: Given = None, ignore_index: int = -100, reduction: str = "mean") -> None:
        super().__init__(weight, reduction)
        self.ignore_index = size(self, "ignore_index", ignore_index, -(1 << 62))

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.nll_loss(input, target, weight=self.weight, ignore_index=self.ignore_index, reduction=self.reduction)


class CrossEntropyLoss(_Weighted):
    """Cross entropy of classes, or class probabilities, given logits (N, C, …).

    Parameters
    ----------
    weight
        Weight of each class, or None.
    ignore_index
        A target that counts for nothing.
    reduction
        "mean" (over the weights that count), "sum" or "none".
    label_smoothing
        Share of the target that is spread evenly over all classes.
    """

    def __init__(
        self,
        weight: Given = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight, reduction)
        self.ignore_index = size(self, "ignore_index", ignore_index, -(1 << 62))
        self.label_smoothing = real(self, "label_smoothing", label_smoothing, 0.0, 1.0)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(
            input,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class BCELoss(_Weighted):
    """Binary cross entropy of probabilities; ``weight`` multiplies each element's loss."""

    def __init__(self, weight: Given = None, reduction: str = "mean") -> None:
        super().__init__(weight, reduction)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy(input, target, weight=self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(_Weighted):
    """Binary cross entropy of logits; ``pos_weight`` multiplies the loss of positive targets."""

    def __init__(
        self,
        weight: Given = None,
        reduction: str = "mean",
        pos_weight: Given = None,
    ) -> None:
        super().__init__(weight, reduction)
        tensor = pos_weight if pos_weight is None or isinstance(pos_weight, Tensor) else Tensor(pos_weight)
        self.register_buffer("pos_weight", tensor)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(
            input, target, weight=self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )


class KLDivLoss(_Loss):
    """Kullback-Leibler divergence of log-probabilities from a target; "batchmean" divides the sum by the batch."""

    def __init__(self, reduction: str = "mean", log_target: bool = False) -> None:
        Module.__init__(self)
        self.reduction = choice(self, "reduction", reduction, "mean", "batchmean", "sum", "none")
        self.log_target = flag(self, "log_target", log_target)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)
