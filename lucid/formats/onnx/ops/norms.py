"""Normalisations and softmax."""

from __future__ import annotations

from collections.abc import Callable

from ....errors import GraphError
from ....graph.dims import exact_quotient
from ....graph.opdef import AbstractTensor
from ....graph.ops import norm, shape
from ....graph.ops.composite import eq
from ....graph.ops.composite import norm as norm_of
from ....graph.ops.elementwise import where
from ....graph.ops.promotion import cast
from ....graph.ops.put import counted
from ....graph.ops.reduce import argmax, mean
from ....graph.ops.rms_norms import by_neighbours, by_root_mean_square
from ....graph.types import product
from ..registry import Call, Value, converter


@converter("BatchNormalization", names=("", "weight", "bias", "running_mean", "running_var"), state=(3, 4))
def batch_norm(
    call: Call, x: Value, scale: Value, shift: Value, average: Value, variance: Value
) -> AbstractTensor | list[AbstractTensor]:  # fmt: skip
    """As the node says; in a module that is being trained, as PyTorch's, including running statistics."""
    values, average, variance, scale, shift = call.tensors(x, average, variance, scale, shift)
    eps, kept = float(call.attribute("epsilon", 1e-5)), float(call.attribute("momentum", 0.9))
    own = call.attribute("training_mode", 0) or any(call.node.outputs[1:])
    if own or (call.node.version < 7 and not call.attribute("is_test", 0)):
        axes = tuple(axis for axis in range(values.type.rank) if axis != 1)
        _, centre, spread = norm.standardize(values, axes, eps)
        y = norm.batch_norm(values, None, None, scale, shift, True, 0.0, eps)
        found = [shape.reshape(one, (-1,)) for one in (centre, spread)]
        moved = [old * kept + new * (1 - kept) for old, new in zip((average, variance), found, strict=True)]
        return [y, *moved, *found][: call.outputs]
    return norm.batch_norm(values, average, variance, scale, shift, call.training, 1 - kept, eps)


@converter("InstanceNormalization", names=("", "weight", "bias"))
def instance_norm(call: Call, x: Value, scale: Value, shift: Value) -> AbstractTensor:
    x, scale, shift = call.tensors(x, scale, shift)
    return norm.instance_norm(x, None, None, scale, shift, eps=call.attribute("epsilon", 1e-5))


@converter("LayerNormalization", names=("", "weight", "bias"))
def layer_norm(
    call: Call, x: Value, scale: Value, shift: Value = None
) -> AbstractTensor | list[AbstractTensor]:  # fmt: skip
    (values, weight), bias = call.tensors(x, scale), call.optional(shift)
    axis, eps = call.attribute("axis", -1) % values.type.rank, call.attribute("epsilon", 1e-5)
    if any(call.node.outputs[1:]):
        y, average, variance = norm.standardize(values, tuple(range(axis, values.type.rank)), eps)
        y = y * weight
        return [y if bias is None else y + bias, average, (variance + eps) ** -0.5]
    sizes = values.type.shape[axis:]
    weight, bias = shape.expand(weight, sizes), None if bias is None else shape.expand(bias, sizes)
    return norm.layer_norm(values, sizes, weight, bias, eps)


@converter("RMSNormalization", names=("", "weight"))
def rms_norm(call: Call, x: Value, scale: Value) -> AbstractTensor:
    values: AbstractTensor = call.tensor(x)
    axis = call.attribute("axis", -1) % values.type.rank
    weight: AbstractTensor = call.tensor(scale)
    axes, eps = tuple(range(axis, values.type.rank)), float(call.attribute("epsilon", 1e-5))
    return by_root_mean_square(values, axes, eps) * weight


@converter("GroupNormalization", since=18, names=("", "weight", "bias"))
def group_norm(call: Call, x: Value, scale: Value, shift: Value) -> AbstractTensor:
    values: AbstractTensor
    values, weight, bias = call.tensors(x, scale, shift)
    groups = call.required("num_groups")
    if call.node.version < 21:  # a weight for each group
        each = exact_quotient(values.type.shape[1], groups)
        if each is None:
            raise GraphError(f"the channels of {values.type} do not divide into {groups} groups")
        weight, bias = (shape.repeat_interleave(one, each) for one in (weight, bias))  # type: ignore[arg-type]
    y: AbstractTensor = norm.group_norm(values, groups, weight, bias, call.attribute("epsilon", 1e-5))
    return y


@converter("LpNormalization")
def lp_norm(call: Call, x: Value) -> AbstractTensor:
    values: AbstractTensor = call.tensor(x)
    p = call.attribute("p", 2)
    if p not in (1, 2):
        raise GraphError(f"p is 1 or 2, got {p}")
    size = norm_of(values, float(p), call.attribute("axis", -1), keepdim=True)
    return values / where(eq(size, 0), 1.0, size)


def _along(
    call: Call, x: AbstractTensor, function: Callable[[AbstractTensor, int], AbstractTensor]
) -> AbstractTensor:  # fmt: skip
    """Along an axis; before version 13, along all axes from that one on."""
    if call.node.version >= 13:
        return function(x, call.attribute("axis", -1))
    axis = call.attribute("axis", 1) % max(1, x.type.rank)
    if axis == x.type.rank - 1:
        return function(x, axis)
    sizes = x.type.shape
    rows = shape.reshape(x, (product(sizes[:axis]), product(sizes[axis:])))
    return shape.reshape(function(rows, 1), sizes)


@converter("Softmax")
def softmax(call: Call, x: Value) -> AbstractTensor:
    return _along(call, call.tensor(x), norm.softmax)


@converter("LogSoftmax")
def log_softmax(call: Call, x: Value) -> AbstractTensor:
    return _along(call, call.tensor(x), norm.log_softmax)


@converter("Hardmax")
def hardmax(call: Call, x: Value) -> AbstractTensor:
    def of(values: AbstractTensor, axis: int) -> AbstractTensor:
        axis %= values.type.rank
        places = counted(values, values.type.shape[axis])
        for _ in range(values.type.rank - axis - 1):
            places = shape.unsqueeze(places, -1)
        return cast(eq(argmax(values, axis, keepdim=True), places), values.type.dtype)

    return _along(call, call.tensor(x), of)


MOST_NEIGHBOURS = 1 << 12
"""The most channels over which a local normalisation may extend."""


@converter("LRN")
def lrn(call: Call, x: Value) -> AbstractTensor:
    size = call.required("size")
    alpha, beta, bias = call.attribute("alpha", 1e-4), call.attribute("beta", 0.75), call.attribute("bias", 1.0)
    if not 1 <= size <= MOST_NEIGHBOURS:
        raise GraphError(f"a window of {size} channels; {MOST_NEIGHBOURS} are the most")
    before = (size - 1) // 2
    return by_neighbours(call.tensor(x), before, size - 1 - before, alpha, beta, bias)


@converter("MeanVarianceNormalization")
def mean_variance(call: Call, x: Value) -> AbstractTensor:
    x, axes = call.tensor(x), tuple(call.attribute("axes", (0, 2, 3)))
    centred = x - mean(x, axes, keepdim=True)
    return centred / (mean(centred * centred, axes, keepdim=True) ** 0.5 + 1e-9)
