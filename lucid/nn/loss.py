"""Losses as modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, TypeAlias

import numpy.typing as npt

from ..tensor.tensor import Tensor
from . import functional as F
from .checks import choice, flag, real, size
from .module import Module

Given: TypeAlias = "Tensor | npt.ArrayLike | None"


class Loss(Module):
    """A loss calls its ``function`` on tensors, with the reduction and the attributes that ``options`` names."""

    function: ClassVar[Callable[..., Tensor]]
    options: ClassVar[tuple[str, ...]] = ()

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = choice(self, "reduction", reduction, "mean", "sum", "none")

    def forward(self, *tensors: Tensor, **named: Tensor) -> Tensor:
        given = {name: getattr(self, name) for name in self.options}
        return type(self).function(*tensors, reduction=self.reduction, **given, **named)


class MSELoss(Loss):
    """Squared differences; ``reduction`` is "mean", "sum" or "none"."""

    function = F.mse_loss


class L1Loss(Loss):
    """Absolute differences; ``reduction`` is "mean", "sum" or "none"."""

    function = F.l1_loss


class SmoothL1Loss(Loss):
    """Squared differences over ``2 beta`` where below ``beta``, absolute ones less ``beta / 2`` elsewhere."""

    function, options = F.smooth_l1_loss, ("beta",)

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        self.beta = real(self, "beta", beta, 0.0)


class HuberLoss(Loss):
    """Half the squared difference up to ``delta``, and linear beyond (Huber, 1964)."""

    function, options = F.huber_loss, ("delta",)

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        self.delta = real(self, "delta", delta, 0.0)


class Weighted(Loss):
    """A loss of classes or elements that may have weights."""

    def __init__(self, weight: Given, reduction: str) -> None:
        super().__init__(reduction)
        self.register_buffer("weight", weight if weight is None or isinstance(weight, Tensor) else Tensor(weight))


class NLLLoss(Weighted):
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

    function, options = F.nll_loss, ("weight", "ignore_index")

    def __init__(self, weight: Given = None, ignore_index: int = -100, reduction: str = "mean") -> None:
        super().__init__(weight, reduction)
        self.ignore_index = size(self, "ignore_index", ignore_index, -(1 << 62))


class CrossEntropyLoss(Weighted):
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

    function, options = F.cross_entropy, ("weight", "ignore_index", "label_smoothing")

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


class BCELoss(Weighted):
    """Binary cross entropy of probabilities; ``weight`` multiplies each element's loss."""

    function, options = F.binary_cross_entropy, ("weight",)

    def __init__(self, weight: Given = None, reduction: str = "mean") -> None:
        super().__init__(weight, reduction)


class BCEWithLogitsLoss(Weighted):
    """Binary cross entropy of logits; ``pos_weight`` multiplies the loss of positive targets."""

    function, options = F.binary_cross_entropy_with_logits, ("weight", "pos_weight")

    def __init__(
        self,
        weight: Given = None,
        reduction: str = "mean",
        pos_weight: Given = None,
    ) -> None:
        super().__init__(weight, reduction)
        tensor = pos_weight if pos_weight is None or isinstance(pos_weight, Tensor) else Tensor(pos_weight)
        self.register_buffer("pos_weight", tensor)


class KLDivLoss(Loss):
    """Kullback-Leibler divergence of log-probabilities from a target; "batchmean" divides the sum by the batch."""

    function, options = F.kl_div, ("log_target",)

    def __init__(self, reduction: str = "mean", log_target: bool = False) -> None:
        Module.__init__(self)
        self.reduction = choice(self, "reduction", reduction, "mean", "batchmean", "sum", "none")
        self.log_target = flag(self, "log_target", log_target)
