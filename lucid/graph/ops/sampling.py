"""Random choices by weight: categorical samples, and smooth ones through which gradients flow."""

from __future__ import annotations

import math

from ...errors import DTypeError, OptionError, ShapeError
from ..assume import is_at_least
from ..opdef import AbstractTensor
from ..types import is_float
from . import elementwise as ew
from .composite import all_, eq, ge, gt, logical_and, lt
from .expect import expect
from .norm import softmax
from .promotion import cast, floating
from .put import counted
from .random import rand_like
from .reduce import argmax, cumsum
from .reduce import sum as total
from .searching import searchsorted
from .shape import normal_axis, reshape, stop_gradient
from .slices import piece
from .sorting import topk


def _gumbel(x: AbstractTensor) -> AbstractTensor:
    """Numbers of Gumbel's distribution: the largest of logits with these is chosen as the softmax says."""
    return ew.neg(ew.log(ew.neg(ew.log(rand_like(x)))))


def gumbel_softmax(
    x: AbstractTensor, tau: float = 1.0, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> AbstractTensor:
    """Random choices by logits, smoothed so that gradients flow (Jang et al., 2016; Maddison et al., 2016).

    Parameters
    ----------
    x
        Logits: the softmax of them is how likely each choice is.
    tau
        The temperature; the smaller, the nearer to a choice of one.
    hard
        Whether the result is 1 for what is chosen and 0 elsewhere, with the gradients of the smooth one.
    eps
        Makes no difference, as in PyTorch.
    dim
        The axis of the choices.
    """
    if not tau > 0:
        raise OptionError(f"gumbel_softmax: tau must be positive, got {tau}")
    x = floating(x)
    smooth = softmax(ew.div(ew.add(x, _gumbel(x)), tau), dim)
    if not hard:
        return smooth
    axis = normal_axis("gumbel_softmax", dim, x.type.rank)
    size = x.type.shape[axis]
    numbers = reshape(counted(x, size), (size, *(1,) * (x.type.rank - 1 - axis)))
    chosen = cast(eq(numbers, argmax(smooth, axis, True)), x.type.dtype)
    return ew.add(ew.sub(chosen, stop_gradient(smooth)), smooth)


def multinomial(x: AbstractTensor, num_samples: int, replacement: bool = False) -> AbstractTensor:
    """Numbers of the weights in each row of ``x``, drawn as often as the weights say.

    Parameters
    ----------
    x
        Weights that are not negative, in a vector or in the rows of a matrix; their sum need not be 1.
    num_samples
        How many to draw for each row.
    replacement
        Whether one number may be drawn again.
    """
    if x.type.rank not in (1, 2):
        raise ShapeError(f"multinomial: needs a vector or matrix of weights, got {x.type}")
    if not is_float(x.type.dtype):
        raise DTypeError(f"multinomial: needs floating-point weights, got {x.type}")
    size = x.type.shape[-1]
    if num_samples < 1 or not (replacement or is_at_least(size, num_samples)):
        raise OptionError(f"multinomial: cannot draw {num_samples} of the {size} numbers of a row")
    enough = total(gt(x, 0), -1) >= (1 if replacement else num_samples)
    fine = logical_and(all_(logical_and(ge(x, 0), lt(x, math.inf))), all_(enough))
    x = expect(x, fine, True, "multinomial: weights must not be negative, and as many not 0 as are drawn")
    if not replacement:
        return topk(ew.add(ew.log(x), _gumbel(x)), num_samples).indices
    sums = cumsum(x, -1)
    most = piece(sums, x.type.rank - 1, size - 1, 1)
    drawn = ew.mul(rand_like(x, (*x.type.shape[:-1], num_samples)), most)
    # rounding may make a number the whole sum, after which there is nothing
    return ew.minimum(searchsorted(sums, drawn, right=True), searchsorted(sums, most))
