"""Operators that draw random numbers, by the keys of the program; seeds in files are ignored.

:func:`lucid.manual_seed` makes runs reproducible.
"""

from __future__ import annotations

import numpy as np

from ....errors import GraphError
from ....graph.dims import Dim
from ....graph.opdef import AbstractTensor
from ....graph.ops import random
from ....graph.ops.composite import ge, lt
from ....graph.ops.elementwise import where
from ....graph.ops.norm import softmax
from ....graph.ops.promotion import cast
from ....graph.ops.reduce import cumsum
from ....graph.ops.reduce import sum as sum_of
from ....graph.ops.shape import unsqueeze
from ....graph.ops.source import full
from ....graph.types import DType, as_dtype, bool_, float32, is_float
from ..host import ELEMENT_TYPES
from ..registry import Call, Value, converter


def _type(call: Call, default: DType) -> DType:
    asked = call.attribute("dtype")
    if asked is None:
        return default
    if asked not in ELEMENT_TYPES:
        raise GraphError(f"there is no element type {asked} here")
    return as_dtype(ELEMENT_TYPES[asked])


def _drawn(call: Call, shape: tuple[Dim, ...], dtype: DType) -> AbstractTensor:
    kind = dtype if is_float(dtype) else float32
    if "Uniform" in call.node.op:
        low, high = call.attribute("low", 0.0), call.attribute("high", 1.0)
        return cast(random.rand_like(call.world, shape, kind) * (high - low) + low, dtype)
    mean, scale = call.attribute("mean", 0.0), call.attribute("scale", 1.0)
    return cast(random.randn_like(call.world, shape, kind) * scale + mean, dtype)


@converter("RandomUniform", "RandomNormal")
def drawn(call: Call) -> AbstractTensor:
    return _drawn(call, tuple(call.required("shape")), _type(call, float32))


@converter("RandomUniformLike", "RandomNormalLike")
def drawn_like(call: Call, x: Value) -> AbstractTensor:
    like = call.tensor(x).type
    return _drawn(call, like.shape, _type(call, like.dtype))


@converter("Bernoulli", since=15)
def bernoulli(call: Call, x: Value) -> AbstractTensor:
    p = call.tensor(x)
    return cast(lt(random.rand_like(p), p), _type(call, p.type.dtype))


@converter("Multinomial", since=7)
def multinomial(call: Call, x: Value) -> AbstractTensor:
    """Classes drawn by their log-probabilities: the number of cumulative probabilities below a uniform number."""
    ends = cumsum(softmax(call.tensor(x), 1), 1)
    draws = random.rand_like(ends, (ends.type.shape[0], call.attribute("sample_size", 1)))
    passed = ge(unsqueeze(draws * ends[:, -1:], 2), unsqueeze(ends[:, :-1], 1))
    return cast(sum_of(passed, 2), _type(call, as_dtype(np.int32)))


@converter("Dropout", host=(1, 2))
def dropout(call: Call, x: Value, ratio: Value = None, training: Value = None) -> list[AbstractTensor]:
    """In training mode, according to the node, elements become 0; the second result says which were kept."""
    data = call.tensor(x)
    rate = call.attribute("ratio", 0.5) if ratio is None else call.scalar(ratio, "the ratio")
    rate = random.probability("Dropout", rate, "the ratio")
    drops = training is not None and bool(call.scalar(training, "training_mode")) and rate > 0
    if call.outputs < 2:
        return [random.dropout(data, rate) if drops else data]
    if not drops:
        return [data, full(data, True, data.type.shape, bool_)]
    kept = ge(random.rand_like(data, dtype=float32), rate)
    return [where(kept, data / (1 - rate or 1.0), 0.0), kept]
