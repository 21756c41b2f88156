"""Clamping: ``clip`` by numbers or tensors, and ``hardtanh``."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np

from ...base.arrays import Array
from ...errors import DTypeError, OptionError
from ..opdef import AbstractTensor, Attrs, GradContext, Gradients, OpDef, Operand, T, apply, attributes
from ..types import TensorType, is_float
from .elementwise import GREATER_EQUAL, LESS_EQUAL, NUMBERS, check_kind, compare, isnan, unary, where
from .promotion import cast, check_fits, promote, result_dtype


@attributes
class ClipAttrs(Attrs):
    """Bounds; None is no bound. The slope at the bounds themselves is 0 if ``flat``, else 1."""

    low: float | None = None
    high: float | None = None
    flat: bool = False


def _clip_gradient(c: GradContext[ClipAttrs]) -> Gradients:
    """As in PyTorch, NaN passes no gradient in ``clamp``, and all of it in ``hardtanh``."""
    (x,), dy, a = c.inputs, c.dy, c.attrs
    if a.low is not None:
        dy = where(x <= a.low, 0.0, dy) if a.flat else where(x >= a.low, dy, 0.0)
    if a.high is not None:
        dy = where(x >= a.high, 0.0, dy) if a.flat else where(x <= a.high, dy, 0.0)
    return [dy]


def _clip_infer(attrs: ClipAttrs, x: TensorType) -> TensorType:
    check_kind("Clip", NUMBERS, x)
    for bound in (attrs.low, attrs.high):
        if isinstance(bound, float) and not is_float(x.dtype):
            raise DTypeError(f"Clip: the bound {bound} needs a floating-point tensor, got {x}")
        check_fits(bound, x.dtype)
    return TensorType(x.shape, x.dtype)


CLIP = unary(
    "Clip", _clip_gradient, attrs=ClipAttrs, infer=_clip_infer, monotone=True, activation=True, idempotent=True
)


Bound: TypeAlias = "AbstractTensor | Array | float | np.generic | None"


def clip(x: AbstractTensor, min: Bound = None, max: Bound = None) -> AbstractTensor:
    """``x`` clamped to between ``min`` and ``max`` (numbers or tensors, None for no bound); NaN stays NaN.

    At a bound the gradient goes to ``x``.
    """
    if min is None and max is None:
        raise OptionError("clip: give min, max or both")
    if isinstance(min, AbstractTensor | np.ndarray) or isinstance(max, AbstractTensor | np.ndarray):
        raised = x if min is None else _held(GREATER_EQUAL, x, min)
        return raised if max is None else _held(LESS_EQUAL, raised, max)
    low = min.item() if isinstance(min, np.generic) else min
    high = max.item() if isinstance(max, np.generic) else max
    return _between(x, low, high, flat=False)


def clamp_min(x: AbstractTensor, min: Bound) -> AbstractTensor:
    """``x``, but at least ``min``."""
    return clip(x, min)


def clamp_max(x: AbstractTensor, max: Bound) -> AbstractTensor:
    """``x``, but at most ``max``."""
    return clip(x, None, max)


def flat_clip(x: T, low: float, high: float) -> T:
    """As :func:`clip`, but no gradient flows at the bounds themselves, as in PyTorch's ``hardtanh``."""
    return _between(x, low, high, flat=True)


def _between(x: T, low: float | None, high: float | None, *, flat: bool) -> T:
    low, high = (int(bound) if isinstance(bound, bool) else bound for bound in (low, high))
    dtype = result_dtype([x, *(bound for bound in (low, high) if bound is not None)])
    result: T = apply(CLIP, ClipAttrs(low, high, flat), cast(x, dtype))
    return result


def _held(within: OpDef, x: AbstractTensor, bound: Operand) -> AbstractTensor:
    """``x`` where it is within the bound, else the bound. NaN in either gives NaN; a NaN in ``x`` has slope 0."""
    x, bound = promote(x, bound)
    beyond = where(isnan(x), math.nan, bound) if is_float(x.type.dtype) else bound
    return where(compare(within, x, bound), x, beyond)
