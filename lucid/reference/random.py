"""Random ops: the numbers that the key determines, in logical order."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..base.arrays import Array
from ..graph.opdef import Attrs
from ..graph.ops import random as ops
from ..graph.ops.random import DropoutAttrs
from ..graph.rng import generator, next_key
from .evaluator import reference


@reference(ops.RANDOM_KEY)
def random_key(attrs: Attrs) -> Array:
    return np.array(next_key())


@reference(ops.RANDOM_UNIFORM)
def uniform(attrs: Any, key: Array) -> Array:
    return np.asarray(generator(key).random(attrs.type.concrete, attrs.dtype.type))


@reference(ops.RANDOM_NORMAL)
def normal(attrs: Any, key: Array) -> Array:
    return np.asarray(generator(key).standard_normal(attrs.type.concrete, attrs.dtype.type))


@reference(ops.DROPOUT)
def dropout(attrs: DropoutAttrs, x: Array, key: Array) -> Array:
    draws = generator(key).random(x.shape, np.float32)
    y = np.zeros(x.shape)
    for place, u in np.ndenumerate(draws):
        if u >= np.float32(attrs.p) and attrs.p < 1:
            y[place] = x[place] / (1 - attrs.p)
    return y
