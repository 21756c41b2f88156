"""Normalisations."""

from __future__ import annotations

import numpy as np

from .....graph.ops.norm import BATCH_NORM, LAYER_NORM, STANDARDIZE, BatchNormAttrs, LayerNormAttrs, StandardizeAttrs
from ..draft import Item
from ..registry import Use, Written, writer


@writer(BATCH_NORM)
def batch_norm(use: Use[BatchNormAttrs]) -> Written:
    if not use.is_said(use.attrs.eps):
        return use.define()
    x, mean, var, *affine = use.inputs
    channels = use.types[0].shape[1]
    weight, bias = (affine[i] if len(affine) > i else _constant(use, channels, 1 - i) for i in (0, 1))
    return use.emit("BatchNormalization", x, weight, bias, mean, var, epsilon=use.attrs.eps)


def _constant(use: Use, size: object, value: float) -> Item:
    """A vector of ones or zeros."""
    dtype = use.type.dtype
    if isinstance(size, int):
        return use.array(np.full(size, value), dtype)
    return use.emit("Expand", use.number(value), use.shape(use.types[1].shape), dtype=dtype)


@writer(LAYER_NORM)
def layer_norm(use: Use[LayerNormAttrs]) -> Written:
    if not use.is_said(use.attrs.eps):
        return use.define()
    x, *affine = use.inputs
    if not affine:
        shape = use.types[0].shape[-use.attrs.rank :]
        affine = [use.emit("Expand", use.number(1), use.shape(shape), dtype=x.dtype)]
    return use.emit("LayerNormalization", x, *affine, axis=-use.attrs.rank, epsilon=use.attrs.eps)


@writer(STANDARDIZE)
def standardize(use: Use[StandardizeAttrs]) -> Written:
    (x,), axes = use.inputs, use.attrs.axes

    def mean(y: Item) -> Item:
        if use.opset < 18:
            return use.emit("ReduceMean", y, axes=list(axes), keepdims=1)
        return use.emit("ReduceMean", y, use.array(axes), keepdims=1)

    if not axes:
        mean = _itself
    middle = mean(x)
    apart = use.emit("Sub", x, middle)
    var = mean(use.emit("Mul", apart, apart))
    spread = use.emit("Sqrt", use.emit("Add", var, use.number(use.attrs.eps)))
    return use.emit("Div", apart, spread), middle, var


def _itself(y: Item) -> Item:
    return y
