"""Losses of distances and margins, and negative log-likelihoods, as modules."""

from __future__ import annotations

from collections.abc import Callable

from ..base import checks
from ..errors import OptionError
from ..tensor.tensor import Tensor
from . import functional as F
from .checks import flag, real, size
from .distance import PairwiseDistance
from .loss import Given, Loss, Weighted


class SoftMarginLoss(Loss):
    """``log(1 + exp(-target * input))``, where the target is 1 or -1."""

    function = F.soft_margin_loss


class HingeEmbeddingLoss(Loss):
    """The distance itself for targets of 1, and the shortfall from ``margin`` for targets of -1."""

    function, options = F.hinge_embedding_loss, ("margin",)

    def __init__(self, margin: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin = real(self, "margin", margin)


class MultiLabelMarginLoss(Loss):
    """The shortfall of each right class's score from 1 above every wrong one's, as a mean over classes.

    The target has the shape of the input, (N, C) or (C): the right classes, and -1 after the last of them.
    """

    function = F.multilabel_margin_loss


class MultiLabelSoftMarginLoss(Weighted):
    """The cross-entropy of ``sigmoid(input)``, as a mean over classes; ``weight`` multiplies that of each class."""

    function, options = F.multilabel_soft_margin_loss, ("weight",)

    def __init__(self, weight: Given = None, reduction: str = "mean") -> None:
        super().__init__(weight, reduction)


class MultiMarginLoss(Weighted):
    """The shortfall of the target's score from ``margin`` above that of each other class, as a mean over classes.

    Parameters
    ----------
    p
        1, or 2 to square the shortfall.
    margin
        The margin.
    weight
        The weight of each target's class, or None.
    reduction
        "mean", "sum" or "none".
    """

    function, options = F.multi_margin_loss, ("p", "margin", "weight")

    def __init__(self, p: int = 1, margin: float = 1.0, weight: Given = None, reduction: str = "mean") -> None:
        super().__init__(weight, reduction)
        if real(self, "p", p) not in (1, 2):
            raise OptionError(f"MultiMarginLoss: p is 1 or 2, got {checks.shown(p)}")
        self.p, self.margin = int(p), real(self, "margin", margin)


class PoissonNLLLoss(Loss):
    """Negative log-likelihood of counts with a Poisson distribution.

    Parameters
    ----------
    log_input
        Whether the input is the logarithm of the expected count.
    full
        Whether to add Stirling's approximation of the factorial, for targets above 1.
    eps
        Added to an expected count before taking its logarithm.
    reduction
        "mean", "sum" or "none".
    """

    function, options = F.poisson_nll_loss, ("log_input", "full", "eps")

    def __init__(self, log_input: bool = True, full: bool = False, eps: float = 1e-8, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.log_input, self.full = flag(self, "log_input", log_input), flag(self, "full", full)
        self.eps = real(self, "eps", eps, 0.0)


class GaussianNLLLoss(Loss):
    """Negative log-likelihood of normally distributed numbers; called with input, target and variance.

    Parameters
    ----------
    full
        Whether to add the constant term.
    eps
        The least variance.
    reduction
        "mean", "sum" or "none".
    """

    function, options = F.gaussian_nll_loss, ("full", "eps")

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.full, self.eps = flag(self, "full", full), real(self, "eps", eps, 0.0)


class MarginRankingLoss(Loss):
    """``max(0, margin - target * (x1 - x2))``: for a target of 1 the first should be larger, for -1 the second."""

    function, options = F.margin_ranking_loss, ("margin",)

    def __init__(self, margin: float = 0.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin = real(self, "margin", margin)


class CosineEmbeddingLoss(Loss):
    """``1 - cos`` for targets of 1, and the excess of ``cos`` over ``margin`` for targets of -1."""

    function, options = F.cosine_embedding_loss, ("margin",)

    def __init__(self, margin: float = 0.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin = real(self, "margin", margin)


class _Triplet(Loss):
    def __init__(self, margin: float, swap: bool, reduction: str) -> None:
        super().__init__(reduction)
        self.margin, self.swap = real(self, "margin", margin), flag(self, "swap", swap)
        if self.margin <= 0:
            raise OptionError(f"{type(self).__name__}: margin must be positive, got {margin}")


class TripletMarginLoss(_Triplet):
    """How far an anchor is from being ``margin`` nearer to the positive than to the negative; called with all three.

    Parameters
    ----------
    margin
        A number above 0.
    p, eps
        As for :class:`PairwiseDistance`.
    swap
        Use the distance from positive to negative if it is smaller (Balntas et al., 2016).
    reduction
        "mean", "sum" or "none".
    """

    function, options = F.triplet_margin_loss, ("margin", "p", "eps", "swap")

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__(margin, swap, reduction)
        self.p, self.eps = real(self, "p", p, 0.0), real(self, "eps", eps)


class TripletMarginWithDistanceLoss(_Triplet):
    """As :class:`TripletMarginLoss`, with a given distance function of two tensors."""

    function, options = F.triplet_margin_with_distance_loss, ("distance_function", "margin", "swap")

    def __init__(
        self,
        *,
        distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
        margin: float = 1.0,
        swap: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__(margin, swap, reduction)
        given = PairwiseDistance() if distance_function is None else distance_function
        self.distance_function = checks.function(type(self).__name__, "distance_function", given)


class CTCLoss(Loss):
    """Negative log-likelihood of sequences over all alignments in time (Graves et al., 2006).

    Called with log-probabilities (T, N, C), targets (N, S) or concatenated, and the lengths of both.

    Parameters
    ----------
    blank
        The class of the blank.
    reduction
        "none", "sum" or "mean": of the losses divided by the lengths of their targets.
    zero_infinity
        Whether sequences with too few time steps cost nothing, rather than infinity.
    """

    function, options = F.ctc_loss, ("blank", "zero_infinity")

    def __init__(self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False) -> None:
        super().__init__(reduction)
        self.blank = size(self, "blank", blank, 0)
        self.zero_infinity = flag(self, "zero_infinity", zero_infinity)
