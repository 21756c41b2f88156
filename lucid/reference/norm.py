"""Softmax and standardisation, from their formulas; the composite normalisations are defined by them."""

from __future__ import annotations

import math

import numpy as np

from ..base.arrays import Array
from ..graph.ops import norm as ops
from ..graph.ops.norm import StandardizeAttrs
from ..graph.ops.shape import AxisAttrs
from .evaluator import reference


def _shifted(x: Array, axis: int) -> Array:
    return x - x.max(axis, keepdims=True) if x.shape[axis] else x


@reference(ops.SOFTMAX)
def softmax(attrs: AxisAttrs, x: Array) -> Array:
    powers = np.exp(_shifted(x.astype(np.float64), attrs.axis))
    return np.asarray(powers / powers.sum(attrs.axis, keepdims=True))


@reference(ops.LOG_SOFTMAX)
def log_softmax(attrs: AxisAttrs, x: Array) -> Array:
    shifted = _shifted(x.astype(np.float64), attrs.axis)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(attrs.axis, keepdims=True)))


@reference(ops.STANDARDIZE)
def standardize(attrs: StandardizeAttrs, x: Array) -> tuple[Array, ...]:
    wide = x.astype(np.float64)
    count = np.float64(math.prod(x.shape[axis] for axis in attrs.axes))  # the mean of no numbers is NaN
    mean = wide.sum(attrs.axes, keepdims=True) / count
    var = ((wide - mean) ** 2).sum(attrs.axes, keepdims=True) / count
    return (wide - mean) / np.sqrt(var + attrs.eps), mean, var
