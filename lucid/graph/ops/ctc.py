"""Connectionist temporal classification: the likelihood of a sequence over all alignments (Graves et al., 2006)."""

from __future__ import annotations

from ...base.checks import integer
from ...errors import DTypeError, OptionError, ShapeError
from ..batching import apply_merged
from ..dims import Dim
from ..opdef import AbstractTensor, Attrs, GradContext, Gradients, OpDef, apply_all, attributes, register
from ..types import TensorType, int64, is_float
from .bounds import clip
from .composite import lt
from .elementwise import where
from .indexing import index_with
from .loss import check_reduction, reduce_loss
from .promotion import cast
from .put import counted
from .reduce import cumsum
from .shape import reshape, unsqueeze


@attributes
class CtcAttrs(Attrs):
    """``blank`` is the class of the blank; if ``forgiving``, sequences that do not fit their time steps cost 0."""

    blank: int = 0
    forgiving: bool = False


def _infer(
    attrs: CtcAttrs, log_probs: TensorType, targets: TensorType, steps: TensorType, lengths: TensorType
) -> tuple[TensorType, TensorType]:  # fmt: skip
    if log_probs.rank != 3 or not is_float(log_probs.dtype):
        raise ShapeError(f"CtcLoss: needs log-probabilities (T, N, C) of floats, got {log_probs}")
    batch, classes = log_probs.shape[1:]
    if targets.rank != 2 or targets.shape[0] != batch or any(one.shape != (batch,) for one in (steps, lengths)):
        raise ShapeError(f"CtcLoss: targets {targets} and lengths {steps}, {lengths} are not of the batch {log_probs}")
    if any(one.dtype != int64 for one in (targets, steps, lengths)):
        raise DTypeError(f"CtcLoss: targets and lengths are int64, got {targets}, {steps} and {lengths}")
    if attrs.blank < 0 or (isinstance(classes, int) and attrs.blank >= classes):
        raise OptionError(f"CtcLoss: blank is a class from 0 to {classes}, got {attrs.blank}")
    return TensorType((batch,), log_probs.dtype), TensorType(log_probs.shape, log_probs.dtype)


def _gradient(c: GradContext[CtcAttrs]) -> Gradients:
    """Minus the probability that a step stands for a class, of the sequence that is known."""
    return [-(unsqueeze(unsqueeze(c.dy, 0), -1) * c.outputs[1]), None, None, None]


#: Minus the logarithm of the probability of each target, and of each step and class the probability that it stands for
#: that class, given the target.
CTC_LOSS = register(
    OpDef(
        "CtcLoss", _infer, _gradient, attrs=CtcAttrs, inputs=("log_probs", "targets", "steps", "lengths"),
        outputs=("losses", "shares"), batch=lambda batch: apply_merged(batch, (1, 0, 0, 0), (0, 1)), kept=1,
        family="loss",
    )
)  # fmt: skip


def ctc_loss(
    log_probs: AbstractTensor,
    targets: AbstractTensor,
    input_lengths: AbstractTensor,
    target_lengths: AbstractTensor,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> AbstractTensor:
    """Negative log-likelihood of sequences whose alignment in time is not known.

    Parameters
    ----------
    log_probs
        Log-probabilities (T, N, C) of the classes at each time step, or (T, C).
    targets
        Classes (N, S), of which the first ``target_lengths`` count, or those of all sequences concatenated.
    input_lengths, target_lengths
        The numbers of time steps and of classes of each sequence: (N), or a scalar.
    blank
        The class of the blank.
    reduction
        "none", "sum" or "mean": of the losses divided by the lengths of their targets.
    zero_infinity
        Whether sequences with too few time steps cost 0, rather than infinity.
    """
    check_reduction("ctc_loss", reduction)
    single = log_probs.type.rank == 2
    log_probs = unsqueeze(log_probs, 1) if single else log_probs
    if log_probs.type.rank != 3:
        raise ShapeError(f"ctc_loss: needs log-probabilities (T, N, C) or (T, C), got {log_probs.type}")
    batch = log_probs.type.shape[1]
    steps, lengths = (_lengths(name, x, batch) for name, x in (("input", input_lengths), ("target", target_lengths)))
    if targets.type.dtype.kind not in "iu":
        raise DTypeError(f"ctc_loss: targets must be integers, got {targets.type}")
    rows = unsqueeze(targets, 0) if single and targets.type.rank == 1 else targets
    if rows.type.rank == 1:
        rows = _apart(rows, lengths)
    attrs = CtcAttrs(integer("ctc_loss", "blank", blank, 0), zero_infinity)
    losses, _ = apply_all(CTC_LOSS, attrs, log_probs, cast(rows, int64), steps, lengths)
    if reduction == "mean":
        return (losses / clip(cast(lengths, losses.type.dtype), 1.0)).mean()
    return reshape(losses, ()) if single and reduction == "none" else reduce_loss(losses, reduction)


def _lengths(name: str, x: AbstractTensor, batch: Dim) -> AbstractTensor:
    if x.type.dtype.kind not in "iu":
        raise DTypeError(f"ctc_loss: {name}_lengths must be integers, got {x.type}")
    x = unsqueeze(x, 0) if x.type.rank == 0 else x
    if x.type.shape != (batch,):
        raise ShapeError(f"ctc_loss: {name}_lengths must have shape ({batch},), got {x.type}")
    return cast(x, int64)


def _apart(targets: AbstractTensor, lengths: AbstractTensor) -> AbstractTensor:
    """Split concatenated sequences into the rows of a matrix."""
    total = targets.type.shape[0]
    begins = cumsum(lengths, 0) - lengths
    places = unsqueeze(begins, 1) + unsqueeze(counted(targets, total), 0)
    return index_with(targets, (0,), [where(lt(places, total), places, 0)])
