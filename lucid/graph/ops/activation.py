"""Activation functions that are a few other ops together."""

from __future__ import annotations

from ...errors import ShapeError
from ..dims import exact_quotient
from ..opdef import AbstractTensor
from . import elementwise as ew
from .bounds import flat_clip
from .composite import le, lt
from .norm import softmax
from .shape import normal_axis
from .slices import narrow

SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


def celu(x: AbstractTensor, alpha: float = 1.0) -> AbstractTensor:
    """``x`` where positive, else ``alpha * (exp(x / alpha) - 1)`` (Barron, 2017)."""
    return ew.elu(x) if alpha == 1.0 else ew.elu(x / alpha) * alpha


def selu(x: AbstractTensor, alpha: float = SELU_ALPHA, scale: float = SELU_SCALE) -> AbstractTensor:
    """``scale * x`` where positive, else ``scale * alpha * (exp(x) - 1)`` (Klambauer et al., 2017)."""
    return ew.elu(x, alpha) * scale


def hardsigmoid(x: AbstractTensor, slope: float = 1 / 6, shift: float = 0.5) -> AbstractTensor:
    """``slope * x + shift`` held between 0 and 1; the slope at either is 0."""
    return flat_clip(x * slope + shift, 0.0, 1.0)


def hardswish(x: AbstractTensor) -> AbstractTensor:
    """``x * hardsigmoid(x)`` (Howard et al., 2019)."""
    return ew.hardswish(x)


def mish(x: AbstractTensor) -> AbstractTensor:
    """``x * tanh(softplus(x))`` (Misra, 2019)."""
    return x * ew.tanh(ew.softplus(x))


def swish(x: AbstractTensor, alpha: float) -> AbstractTensor:
    """``x * sigmoid(alpha * x)``."""
    return ew.silu(x) if alpha == 1.0 else x * ew.sigmoid(x * alpha)


def logsigmoid(x: AbstractTensor) -> AbstractTensor:
    """``log(sigmoid(x))``, without overflow."""
    return -ew.softplus(-x)


def softsign(x: AbstractTensor) -> AbstractTensor:
    """``x / (1 + |x|)``."""
    return x / (1.0 + ew.abs_(x))


def softmin(x: AbstractTensor, dim: int = -1, dtype: object = None) -> AbstractTensor:
    """Softmax of ``-x`` along ``dim``, in ``dtype``."""
    return softmax(-x, dim, dtype)


def tanhshrink(x: AbstractTensor) -> AbstractTensor:
    """``x - tanh(x)``."""
    return x - ew.tanh(x)


def shrink(x: AbstractTensor, edge: float, bias: float) -> AbstractTensor:
    """``x`` moved by ``bias`` towards 0 where it is farther from it than ``edge``, else 0; NaN stays."""
    return ew.where(lt(x, -edge), x + bias, ew.where(le(x, edge), 0.0, x - bias))


def hardshrink(x: AbstractTensor, lambd: float = 0.5) -> AbstractTensor:
    """``x`` where it is farther from 0 than ``lambd``, else 0."""
    return ew.where(le(ew.abs_(x), lambd), 0.0, x)


def softshrink(x: AbstractTensor, lambd: float = 0.5) -> AbstractTensor:
    """``x`` moved by ``lambd`` towards 0 where it is farther from it than that, else 0."""
    return shrink(x, lambd, lambd)


def threshold(x: AbstractTensor, threshold: float, value: float) -> AbstractTensor:
    """``x`` where it is more than ``threshold``, else ``value``."""
    return ew.where(le(x, threshold), value, x)


def glu(x: AbstractTensor, dim: int = -1) -> AbstractTensor:
    """The first half of ``x`` along ``dim`` times the sigmoid of the second (Dauphin et al., 2017)."""
    axis = normal_axis("glu", dim, x.type.rank)
    half = exact_quotient(x.type.shape[axis], 2)
    if half is None:
        raise ShapeError(f"glu: axis {axis} of {x.type} does not divide into two halves")
    return narrow(x, axis, 0, half) * ew.sigmoid(narrow(x, axis, half, half))


def prelu(x: AbstractTensor, weight: AbstractTensor) -> AbstractTensor:
    """``x`` where positive, else ``weight * x``; the weight has one element, or one for each channel (axis 1)."""
    count = (*weight.type.shape, 1)[0] if weight.type.rank < 2 else None
    channels = x.type.shape[1] if x.type.rank > 1 else 1
    if count not in (1, channels):
        raise ShapeError(f"prelu: the weight {weight.type} has neither one element nor one per channel of {x.type}")
    if count != 1:
        weight = weight.reshape(count, *(1,) * (x.type.rank - 2))
    return ew.where(x > 0, x, weight * x)
