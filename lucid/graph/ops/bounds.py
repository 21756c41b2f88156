"""Holding values between bounds: ``clip`` by numbers or tensors, and PyTorch's ``hardtanh``."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import OptionError
from ..opdef import AbstractTensor, OpDef, T, apply
from .elementwise import CLIP, GREATER, LESS, ClipAttrs, compare, isnan, where
from .promotion import cast, promote, result_dtype


def clip(x: T, min: Any = None, max: Any = None) -> T:
    """``x`` held between ``min`` and ``max`` (numbers or tensors); a bound of None is absent, NaN stays NaN.

    At a bound ``x`` takes the gradient.
    """
    if min is None and max is None:
        raise OptionError("clip: give min, max or both")
    if any(isinstance(bound, AbstractTensor | np.ndarray) for bound in (min, max)):
        raised: Any = x if min is None else _held(LESS, x, min)
        bounded: T = raised if max is None else _held(GREATER, raised, max)
        return bounded
    low, high = (bound.item() if isinstance(bound, np.generic) else bound for bound in (min, max))
    return _between(x, low, high, flat=False)


def flat_clip(x: T, low: float, high: float) -> T:
    """As :func:`clip`, but no gradient flows at the bounds themselves, as in PyTorch's ``hardtanh``."""
    return _between(x, low, high, flat=True)


def _between(x: T, low: float | None, high: float | None, *, flat: bool) -> T:
    dtype = result_dtype([x, *(bound for bound in (low, high) if bound is not None)])
    result: T = apply(CLIP, ClipAttrs(low, high, flat), cast(x, dtype))
    return result


def _held(beyond: OpDef, x: Any, bound: Any) -> Any:
    """The bound where ``x`` is beyond it, or where it is NaN; else ``x``, which takes the gradient of equal ones."""
    x, bound = promote(x, bound)
    return where(compare(beyond, x, bound) | isnan(bound), bound, x)
