"""Loss functions, with the signatures and semantics of ``torch.nn.functional``."""

from __future__ import annotations

from ...base.checks import shown
from ...errors import DTypeError, OptionError, ShapeError
from ..opdef import AbstractTensor, Attrs, GradContext, Gradients, NoAttrs, OpDef, apply, register
from ..types import TensorType, broadcast_shapes, format_shape, int64, is_float, product
from .bounds import clip
from .composite import eq, logical_and
from .elementwise import abs_, cast, exp, log, maximum, reduced, softplus, where
from .indexing import gather, index_with
from .norm import log_softmax
from .shape import reshape, unsqueeze
from .source import full

REDUCTIONS = ("none", "mean", "sum")


def _bce_infer(attrs: Attrs, x: TensorType, target: TensorType) -> TensorType:
    if not is_float(x.dtype) or x.dtype != target.dtype:
        raise DTypeError(f"BinaryCrossEntropy: needs two floating-point tensors of one type, got {x} and {target}")
    return TensorType(broadcast_shapes("BinaryCrossEntropy", x.shape, target.shape), x.dtype)


def _bce_gradient(c: GradContext) -> Gradients:
    """Finite at probabilities of 0 and 1 too, as in PyTorch."""
    x, target = c.inputs
    gradients = (
        lambda: c.dy * (x - target) / maximum(x * (1 - x), 1e-12),
        lambda: c.dy * (maximum(log(1 - x), -100.0) - maximum(log(x), -100.0)),
    )
    return reduced(c, *gradients)


#: ``-(t log x + (1 - t) log(1 - x))``, with each logarithm clamped to at least -100.
BINARY_CROSS_ENTROPY = register(
    OpDef("BinaryCrossEntropy", _bce_infer, _bce_gradient, inputs=("x", "target"), elementwise=True, family="loss")
)


# ---------------------------------------------------------------- what they share


def reduce_loss(loss: AbstractTensor, reduction: str) -> AbstractTensor:
    """All losses ("none"), their mean or their sum."""
    return loss if reduction == "none" else loss.mean() if reduction == "mean" else loss.sum()


def check_reduction(op: str, reduction: str, allowed: tuple[str, ...] = REDUCTIONS) -> None:
    """Raise unless the reduction is one of those allowed."""
    if reduction not in allowed:
        raise OptionError(f"{op}: reduction is one of {', '.join(allowed)}, got {shown(reduction)}")


def paired(op: str, input: AbstractTensor, target: AbstractTensor) -> tuple[AbstractTensor, AbstractTensor]:
    """Two tensors, checked to have the same shape, with the target in the input's element type."""
    for what, x in (("input", input), ("target", target)):
        if not isinstance(x, AbstractTensor):
            raise DTypeError(f"{op}: the {what} must be a tensor, got {type(x).__name__}")
    if input.type.shape != target.type.shape:
        raise ShapeError(
            f"{op}: input {format_shape(input.type.shape)} and target {format_shape(target.type.shape)} differ in "
            f"shape; reshape or expand one of them"
        )
    if not is_float(input.type.dtype):
        raise DTypeError(f"{op}: the input must be floating-point, got {input.type}")
    return input, cast(target, input.type.dtype)


# ---------------------------------------------------------------- regression


def mse_loss(input: AbstractTensor, target: AbstractTensor, reduction: str = "mean") -> AbstractTensor:
    """Squared difference."""
    check_reduction("mse_loss", reduction)
    input, target = paired("mse_loss", input, target)
    difference = input - target
    return reduce_loss(difference * difference, reduction)


def l1_loss(input: AbstractTensor, target: AbstractTensor, reduction: str = "mean") -> AbstractTensor:
    """Absolute difference."""
    check_reduction("l1_loss", reduction)
    input, target = paired("l1_loss", input, target)
    return reduce_loss(abs_(input - target), reduction)


def smooth_l1_loss(
    input: AbstractTensor, target: AbstractTensor, reduction: str = "mean", beta: float = 1.0
) -> AbstractTensor:
    """``d**2 / (2 beta)`` for differences ``d`` below ``beta``, else ``|d| - beta / 2``."""
    check_reduction("smooth_l1_loss", reduction)
    if not beta >= 0:
        raise OptionError(f"smooth_l1_loss: beta must not be negative, got {beta}")
    if beta == 0:
        return l1_loss(input, target, reduction)
    input, target = paired("smooth_l1_loss", input, target)
    d = input - target
    small = clip(d, -beta, beta)  # large differences are not squared: their slope might be infinite
    return reduce_loss(small * (d - 0.5 * small) / beta, reduction)


def huber_loss(
    input: AbstractTensor, target: AbstractTensor, reduction: str = "mean", delta: float = 1.0
) -> AbstractTensor:
    """``d**2 / 2`` for differences ``d`` up to ``delta``, else ``delta (|d| - delta / 2)`` (Huber, 1964)."""
    check_reduction("huber_loss", reduction)
    if not delta > 0:
        raise OptionError(f"huber_loss: delta must be positive, got {delta}")
    input, target = paired("huber_loss", input, target)
    d = input - target
    small = clip(d, -delta, delta)
    return reduce_loss(small * (d - 0.5 * small), reduction)


# ---------------------------------------------------------------- probabilities


def binary_cross_entropy(
    input: AbstractTensor, target: AbstractTensor, weight: AbstractTensor | None = None, reduction: str = "mean"
) -> AbstractTensor:
    """``-(t log x + (1 - t) log(1 - x))`` of probabilities ``x``; each logarithm is clamped to at least -100.

    Numbers outside [0, 1] are an error, eagerly and when a compiled model runs.
    """
    check_reduction("binary_cross_entropy", reduction)
    input, target = paired("binary_cross_entropy", input, target)
    loss = apply(BINARY_CROSS_ENTROPY, NoAttrs(), input, target)
    return reduce_loss(weighted_loss("binary_cross_entropy", loss, weight), reduction)


def binary_cross_entropy_with_logits(
    input: AbstractTensor,
    target: AbstractTensor,
    weight: AbstractTensor | None = None,
    reduction: str = "mean",
    pos_weight: AbstractTensor | None = None,
) -> AbstractTensor:
    """Binary cross-entropy of ``sigmoid(input)``, stable for logits of any size.

    Parameters
    ----------
    input, target
        Of one shape.
    weight
        Multiplies the losses (broadcast).
    reduction
        "none", "mean" or "sum".
    pos_weight
        Multiplies the term of the positive targets (broadcast).
    """
    op = "binary_cross_entropy_with_logits"
    check_reduction(op, reduction)
    input, target = paired(op, input, target)
    # log(1 + exp(-x)); exact in float64 too, as exp(-50) is far below its precision
    negative_log = softplus(-input, 1.0, 50.0)
    if pos_weight is not None:
        negative_log = weighted_loss(op, negative_log, (pos_weight - 1) * target + 1)
    return reduce_loss(weighted_loss(op, (1 - target) * input + negative_log, weight), reduction)


def weighted_loss(op: str, loss: AbstractTensor, weight: AbstractTensor | None) -> AbstractTensor:
    """The losses times a weight, which is broadcast to them."""
    if weight is None:
        return loss
    result = loss * weight
    if result.type.shape != loss.type.shape:
        raise ShapeError(f"{op}: the weight {weight.type} does not broadcast to {format_shape(loss.type.shape)}")
    return result


def kl_div(
    input: AbstractTensor, target: AbstractTensor, reduction: str = "mean", log_target: bool = False
) -> AbstractTensor:
    """``t (log t - x)`` of log-probabilities ``x``; "batchmean" divides the sum by the batch size.

    Where ``t`` is 0, the loss and its slope are 0.
    """
    check_reduction("kl_div", reduction, (*REDUCTIONS, "batchmean"))
    input, target = paired("kl_div", input, target)
    if log_target:
        loss = exp(target) * (target - input)
    else:
        nothing = logical_and(eq(target, 0), eq(input, input))  # but NaN stays NaN
        loss = where(nothing, 0.0, target * (log(where(nothing, 1.0, target)) - input))
    if reduction == "batchmean":
        return loss.sum() / input.type.shape[0] if input.type.rank else loss
    return reduce_loss(loss, reduction)


# ---------------------------------------------------------------- classification


def nll_loss(
    input: AbstractTensor,
    target: AbstractTensor,
    weight: AbstractTensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> AbstractTensor:
    """Negative log-likelihood: minus the log-probability of the target class.

    Parameters
    ----------
    input
        Log-probabilities (C), (N, C) or (N, C, d1, ...).
    target
        Class indices (integers) of the same shape without C.
    weight
        Weight of each class (C); the mean is then weighted.
    ignore_index
        Targets of this value are ignored.
    reduction
        "none", "mean" or "sum".
    """
    check_reduction("nll_loss", reduction)
    axis = _check_classes("nll_loss", input, target, weight)
    losses, weights = _picked(input, target, weight, ignore_index, axis)
    return _class_mean(losses, weights, reduction)


def cross_entropy(
    input: AbstractTensor,
    target: AbstractTensor,
    weight: AbstractTensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> AbstractTensor:
    """Cross-entropy of logits with class indices or with class probabilities.

    Parameters
    ----------
    input
        Logits (C), (N, C) or (N, C, d1, ...).
    target
        Class indices (integers) of the same shape without C, or probabilities of the same shape.
    weight
        Weight of each class (C); with class indices the mean is then weighted.
    ignore_index
        Class indices of this value are ignored.
    reduction
        "none", "mean" or "sum".
    label_smoothing
        Between 0 and 1: this much of the target is spread evenly over the classes.
    """
    check_reduction("cross_entropy", reduction)
    if isinstance(label_smoothing, bool) or not 0 <= label_smoothing <= 1:
        raise OptionError(f"cross_entropy: label_smoothing must be between 0 and 1, got {shown(label_smoothing)}")
    if isinstance(target, AbstractTensor) and is_float(target.type.dtype):
        return _soft_cross_entropy(input, target, weight, reduction, label_smoothing)
    axis = _check_classes("cross_entropy", input, target, weight)
    log_probability = log_softmax(input, axis)
    losses, weights = _picked(log_probability, target, weight, ignore_index, axis)
    if label_smoothing:
        classes = input.type.shape[axis]
        spread = -log_probability if weight is None else -log_probability * _along(weight, axis, input.type.rank)
        spread = where(cast(target, int64) == ignore_index, 0.0, spread.sum(axis))
        losses = losses * (1 - label_smoothing) + spread * label_smoothing / classes
    return _class_mean(losses, weights, reduction)


def _soft_cross_entropy(
    input: AbstractTensor, target: AbstractTensor, weight: AbstractTensor | None, reduction: str, label_smoothing: float
) -> AbstractTensor:
    input, target = paired("cross_entropy", input, target)
    axis = _class_axis("cross_entropy", input, weight)
    classes = input.type.shape[axis]
    if label_smoothing:
        target = target * (1 - label_smoothing) + full(target, label_smoothing, ()) / classes
    terms = log_softmax(input, axis) * target
    if weight is not None:
        terms = terms * _along(weight, axis, input.type.rank)
    losses = -terms.sum(axis)
    if reduction == "mean":
        return losses.sum() / product(losses.type.shape)
    return reduce_loss(losses, reduction)


def _class_axis(op: str, input: AbstractTensor, weight: AbstractTensor | None) -> int:
    if not isinstance(input, AbstractTensor) or not is_float(input.type.dtype):
        raise DTypeError(f"{op}: the input must be a floating-point tensor")
    if input.type.rank == 0:
        raise ShapeError(f"{op}: the input needs a class axis: (C), (N, C) or (N, C, d1, ...), got {input.type}")
    axis = 0 if input.type.rank == 1 else 1
    if weight is not None and weight.type.shape != (input.type.shape[axis],):
        raise ShapeError(f"{op}: the weight {weight.type} must have one element for each class of {input.type}")
    return axis


def _check_classes(op: str, input: AbstractTensor, target: AbstractTensor, weight: AbstractTensor | None) -> int:
    """The class axis; raises if input, target and weight do not match."""
    axis = _class_axis(op, input, weight)
    if not isinstance(target, AbstractTensor) or target.type.dtype.kind not in "iu":
        raise DTypeError(f"{op}: class indices must be an integer tensor, got {getattr(target, 'type', target)}")
    wanted = tuple(dim for i, dim in enumerate(input.type.shape) if i != axis)
    if target.type.shape != wanted:
        raise ShapeError(
            f"{op}: for input {input.type} the target must have shape {format_shape(wanted)}, got {target.type}"
        )
    return axis


def _along(weight: AbstractTensor, axis: int, rank: int) -> AbstractTensor:
    """Class weights, reshaped to broadcast along the class axis."""
    return reshape(weight, (weight.type.shape[0], *(1,) * (rank - axis - 1)))


def _picked(
    log_probability: AbstractTensor, target: AbstractTensor, weight: AbstractTensor | None, ignore_index: int, axis: int
) -> tuple[AbstractTensor, AbstractTensor]:
    """The losses of all targets, and the weight of each (0 if it is ignored)."""
    target = cast(target, int64)
    ignored = target == ignore_index
    safe = where(ignored, 0, target)
    try:
        picked = reshape(gather(log_probability, axis, unsqueeze(safe, axis)), target.type.shape)
    except ShapeError as error:  # eagerly; a compiled program names the node and the line
        count = log_probability.type.shape[axis]
        raise ShapeError(f"the target holds classes that are not among the {count} of the input: {error}") from error
    if weight is None:
        return where(ignored, 0.0, -picked), cast(~ignored, log_probability.type.dtype)
    weights = where(ignored, 0.0, index_with(weight, (0,), [safe]))
    return where(ignored, 0.0, -picked * weights), weights


def _class_mean(losses: AbstractTensor, weights: AbstractTensor, reduction: str) -> AbstractTensor:
    return losses.sum() / weights.sum() if reduction == "mean" else reduce_loss(losses, reduction)
