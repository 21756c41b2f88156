"""Properties of poolings, and of layers with a pooling in them, that follow from their attributes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ....base.arrays import Array
from ....graph.ops.pool import MaxPoolAttrs, pad_constant
from ....graph.types import DType, is_float
from ....graph.windows import Axis, axes_of


def lowest(dtype: DType) -> Array:
    """The neutral element of the maximum."""
    return np.array(-math.inf if is_float(dtype) else np.iinfo(dtype.name).min, dtype)


def pooling_axes(a: MaxPoolAttrs, shape: Sequence[int], counts: Sequence[int]) -> tuple[Axis, Axis]:
    """The axes of an image of that shape along which there are this many windows."""
    rows, cols = axes_of(shape, a.kernel, a.stride, a.padding, a.dilation, counts)
    return rows, cols


def competing(a: MaxPoolAttrs, dtype: DType) -> Array | None:
    """The value of the padding, as an array; None if it is the lowest, which never wins, or there is no padding."""
    pad = pad_constant(a.pad_value, dtype)
    return np.array(pad) if pad != lowest(dtype) and any(a.padding) else None
