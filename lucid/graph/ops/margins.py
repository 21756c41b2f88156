"""Losses on distances, margins and likelihoods, with the semantics of ``torch.nn.functional``."""

from __future__ import annotations

import math
from collections.abc import Callable

from ...base.checks import function, shown
from ...errors import OptionError, ShapeError
from ..opdef import AbstractTensor
from ..types import broadcast_shapes, format_shape, int64, is_float
from .activation import logsigmoid
from .bounds import clip
from .composite import all_, eq, ge, gt, ne
from .distance import pairwise_distance
from .elementwise import exp, log, minimum, relu, softplus, where
from .expect import expect
from .indexing import gather, index_with, one_hot
from .loss import check_reduction, paired, reduce_loss, weighted_loss
from .promotion import cast
from .reduce import cumsum, mean, sum
from .shape import stop_gradient, unsqueeze
from .source import full as full_like

Distance = Callable[[AbstractTensor, AbstractTensor], AbstractTensor]


# ---------------------------------------------------------------- distances


def triplet_margin_loss(
    anchor: AbstractTensor,
    positive: AbstractTensor,
    negative: AbstractTensor,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: str = "mean",
) -> AbstractTensor:
    """``max(0, d(anchor, positive) - d(anchor, negative) + margin)`` for the distance ``d``.

    Parameters
    ----------
    anchor, positive, negative
        Vectors along the last axis, broadcast together.
    margin
        A number above 0.
    p, eps
        Those of :func:`pairwise_distance`.
    swap
        Use the distance from positive to negative where it is smaller (Balntas et al., 2016).
    reduction
        "none", "mean" or "sum".
    """

    def distance(a: AbstractTensor, b: AbstractTensor) -> AbstractTensor:
        return pairwise_distance(a, b, p, eps)

    return _triplet("triplet_margin_loss", anchor, positive, negative, distance, margin, swap, reduction)


def triplet_margin_with_distance_loss(
    anchor: AbstractTensor,
    positive: AbstractTensor,
    negative: AbstractTensor,
    *,
    distance_function: Distance | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> AbstractTensor:
    """As :func:`triplet_margin_loss`, with a given distance function of two tensors."""
    op, given = "triplet_margin_with_distance_loss", distance_function
    distance = pairwise_distance if given is None else function(op, "distance_function", given)
    return _triplet(op, anchor, positive, negative, distance, margin, swap, reduction)


def _triplet(
    op: str, anchor: AbstractTensor, positive: AbstractTensor, negative: AbstractTensor, distance: Distance,
    margin: float, swap: bool, reduction: str,
) -> AbstractTensor:  # fmt: skip
    check_reduction(op, reduction)
    if not margin > 0:
        raise OptionError(f"{op}: margin must be positive, got {margin}")
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = minimum(far, distance(positive, negative))
    return reduce_loss(clip(near - far + margin, 0.0), reduction)


def margin_ranking_loss(
    input1: AbstractTensor,
    input2: AbstractTensor,
    target: AbstractTensor,
    margin: float = 0.0,
    reduction: str = "mean",
) -> AbstractTensor:
    """``max(0, margin - target * (input1 - input2))``: 1 means that the first should be larger, -1 the second."""
    check_reduction("margin_ranking_loss", reduction)
    return reduce_loss(clip((input2 - input1) * target + margin, 0.0), reduction)


def hinge_embedding_loss(
    input: AbstractTensor, target: AbstractTensor, margin: float = 1.0, reduction: str = "mean"
) -> AbstractTensor:
    """The distance itself for targets of 1, its shortfall from ``margin`` for targets of -1; the sum for others."""
    check_reduction("hinge_embedding_loss", reduction)
    short = where(ne(target, 1), clip(margin - input, 0.0), 0.0)
    return reduce_loss(where(ne(target, -1), input, 0.0) + short, reduction)


def cosine_embedding_loss(
    input1: AbstractTensor,
    input2: AbstractTensor,
    target: AbstractTensor,
    margin: float = 0.0,
    reduction: str = "mean",
) -> AbstractTensor:
    """``1 - cos`` for targets of 1, and the excess of ``cos`` over ``margin`` for targets of -1."""
    op = "cosine_embedding_loss"
    check_reduction(op, reduction)
    if target.type.rank + 1 != max(input1.type.rank, input2.type.rank) or target.type.rank > 1:
        shapes = "(N, D), (N, D) and (N), or (D), (D) and ()"
        raise ShapeError(f"{op}: needs {shapes}, got {input1.type}, {input2.type} and {target.type}")
    first, second = (sum(x * x, -1) + 1e-12 for x in (input1, input2))
    cosine = sum(input1 * input2, -1) / (first * second) ** 0.5
    far = where(eq(target, -1), clip(cosine - margin, 0.0), 0.0)
    return reduce_loss(where(eq(target, 1), 1.0 - cosine, far), reduction)


# ---------------------------------------------------------------- classes


def multi_margin_loss(
    input: AbstractTensor,
    target: AbstractTensor,
    p: float = 1,
    margin: float = 1.0,
    weight: AbstractTensor | None = None,
    reduction: str = "mean",
) -> AbstractTensor:
    """The shortfall of the target's score from ``margin`` above that of each other class, as a mean over classes.

    Parameters
    ----------
    input
        Scores (N, C) or (C).
    target
        Class indices (N), or one.
    p
        1, or 2 to square the shortfall.
    margin
        The margin.
    weight
        Weight of each target's class (C).
    reduction
        "none", "mean" or "sum".
    """
    op = "multi_margin_loss"
    check_reduction(op, reduction)
    if p not in (1, 2):
        raise OptionError(f"{op}: p is 1 or 2, got {shown(p)}")
    _check_scores(op, input)
    if target.type.dtype.kind not in "iu" or target.type.shape != input.type.shape[:-1]:
        raise ShapeError(f"{op}: for scores {input.type} the target must be as many class indices, got {target.type}")
    classes = input.type.shape[-1]
    if weight is not None and weight.type.shape != (classes,):
        raise ShapeError(f"{op}: the weight {weight.type} must have one element for each class of {input.type}")
    short = relu(input - gather(input, -1, unsqueeze(target, -1)) + margin)
    short = short if p == 1 else short * short
    if weight is not None:
        short = short * unsqueeze(index_with(weight, (0,), [target]), -1)
    others = eq(one_hot(target, classes), 0)
    return reduce_loss(sum(where(others, short, 0.0), -1) / classes, reduction)


def multilabel_margin_loss(input: AbstractTensor, target: AbstractTensor, reduction: str = "mean") -> AbstractTensor:
    """The shortfall of each right class's score from 1 above every wrong one's, as a mean over classes.

    ``target`` has the shape of ``input``, (N, C) or (C): the right classes, and -1 after the last of them.
    """
    op = "multilabel_margin_loss"
    check_reduction(op, reduction)
    _check_scores(op, input)
    if target.type.dtype.kind not in "iu" or target.type.shape != input.type.shape:
        raise ShapeError(f"{op}: the target must hold class indices in the shape of {input.type}, got {target.type}")
    classes = input.type.shape[-1]
    counts = eq(cumsum(cast(eq(target, -1), int64), -1), 0)
    right = where(counts, target, 0)
    hits = where(unsqueeze(counts, -1), one_hot(right, classes), 0)
    wrong = eq(unsqueeze(sum(hits, -2), -2), 0)
    own = unsqueeze(gather(input, -1, right), -1)
    short = relu(unsqueeze(input, -2) - own + 1.0)
    return reduce_loss(sum(where(wrong & unsqueeze(counts, -1), short, 0.0), (-2, -1)) / classes, reduction)


def _check_scores(op: str, input: AbstractTensor) -> None:
    if input.type.rank not in (1, 2) or not is_float(input.type.dtype):
        raise ShapeError(f"{op}: needs floating-point scores (N, C) or (C), got {input.type}")


def multilabel_soft_margin_loss(
    input: AbstractTensor, target: AbstractTensor, weight: AbstractTensor | None = None, reduction: str = "mean"
) -> AbstractTensor:
    """The cross-entropy of ``sigmoid(input)``, times ``weight``, as a mean over classes (the last axis)."""
    op = "multilabel_soft_margin_loss"
    check_reduction(op, reduction)
    input, target = paired(op, input, target)
    loss = weighted_loss(op, -(target * logsigmoid(input) + (1.0 - target) * logsigmoid(-input)), weight)
    return reduce_loss(mean(loss, -1), reduction)


def soft_margin_loss(input: AbstractTensor, target: AbstractTensor, reduction: str = "mean") -> AbstractTensor:
    """``log(1 + exp(-target * input))``, where the target is 1 or -1."""
    check_reduction("soft_margin_loss", reduction)
    input, target = paired("soft_margin_loss", input, target)
    return reduce_loss(softplus(-target * input, 1.0, 50.0), reduction)


# ---------------------------------------------------------------- likelihoods


def poisson_nll_loss(
    input: AbstractTensor,
    target: AbstractTensor,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> AbstractTensor:
    """Negative log-likelihood of counts with a Poisson distribution, up to terms independent of the input.

    Parameters
    ----------
    input, target
        The expected counts, or their logarithms, and the counts; broadcast together.
    log_input
        Whether the input is the logarithm of the expected count.
    full
        Whether to add Stirling's approximation of the factorial, for targets above 1.
    eps
        Added to an expected count before taking its logarithm.
    reduction
        "none", "mean" or "sum".
    """
    check_reduction("poisson_nll_loss", reduction)
    target = cast(target, input.type.dtype)
    loss = exp(input) - target * input if log_input else input - target * log(input + eps)
    if full:
        many = gt(target, 1)
        safe = where(many, target, 2.0)
        stirling = safe * log(safe) - safe + 0.5 * log(safe * (2 * math.pi))
        loss = loss + where(many, stirling, 0.0)
    return reduce_loss(loss, reduction)


def gaussian_nll_loss(
    input: AbstractTensor,
    target: AbstractTensor,
    var: AbstractTensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> AbstractTensor:
    """Negative log-likelihood of normally distributed numbers, up to a constant.

    Parameters
    ----------
    input, target
        The means and the numbers; broadcast together.
    var
        The variance: a number, or a tensor of the shape of ``input``, without its last axis, or with that of size 1.
    full
        Whether to add the constant term.
    eps
        The least variance; the gradient ignores this bound.
    reduction
        "none", "mean" or "sum".
    """
    op = "gaussian_nll_loss"
    check_reduction(op, reduction)
    if not eps > 0:
        raise OptionError(f"{op}: eps must be positive, got {eps}")
    given = var if isinstance(var, AbstractTensor) else full_like(input, var)
    shape = input.type.shape
    if given.type.shape != shape:
        given = unsqueeze(given, -1) if given.type.shape == shape[:-1] else given
        if given.type.rank != len(shape) or broadcast_shapes(op, shape, given.type.shape) != shape:
            raise ShapeError(f"{op}: the variance {given.type} does not fit {format_shape(shape)}")
    given = expect(given, all_(ge(given, 0)), True, f"{op}: a variance is less than 0")
    held = given + stop_gradient(clip(given, eps) - given)
    difference = input - target
    loss = 0.5 * (log(held) + difference * difference / held)
    return reduce_loss(loss + 0.5 * math.log(2 * math.pi) if full else loss, reduction)
