"""Fuses a convolution with the following bias, activation and max pooling into a ``ConvPool2d``."""

from __future__ import annotations

import math
from dataclasses import field

from ...base.structs import struct
from ...graph.ir import Graph
from ...graph.opdef import Attrs, NoAttrs, apply
from ...graph.ops import elementwise as ew
from ...graph.ops.conv import CONV
from ...graph.ops.conv_pool import CONV_POOL, ConvPoolAttrs
from ...graph.ops.pool import MAX_POOL, MaxPoolAttrs
from ...graph.ops.shape import RESHAPE
from ...graph.trace import Symbol
from ..rewrite import Declined, Site, View, rebuild


def fuse_conv_pool(graph: Graph) -> Graph:
    """Fuse ``Conv2d`` with any of an added bias, an activation and a ``MaxPool2d`` that follow.

    Values in between must have no other reader, and the pooling's index none. An activation after the pooling is fused
    too, if it is non-decreasing. The node takes the convolution's name.
    """

    def rule(site: Site) -> Symbol | list[Symbol | None] | Declined | None:
        if site.op is not MAX_POOL and site.op is not ew.ADD and not site.op.activation:
            return None
        found = _match(site)
        if isinstance(found, Declined):
            return found
        if found is None or (found.pool is None and found.activation is None and site.op is not ew.ADD):
            return None
        site.absorb(*reversed(found.parts))
        inputs = list(found.conv.inputs)
        if found.bias is not None:
            channels = found.conv.type.shape[1]
            bias = found.bias.reshape(1) if found.bias.type.size == 1 else found.bias.reshape(channels)
            inputs.append(bias.expand(channels))
        if found.pool is None and found.activation is None:
            y: Symbol = apply(CONV, found.conv.attrs, *inputs)
        else:
            activation = None if found.activation is None else found.activation.op.name
            attrs: Attrs = NoAttrs() if found.activation is None else found.activation.attrs
            y = apply(CONV_POOL, ConvPoolAttrs(found.conv.attrs, activation, attrs, found.pool), *inputs)
        site.call(y, found.conv.name)
        return [y, None] if site.op is MAX_POOL else y

    return rebuild(graph, rule, "fuse_conv_pool") if CONV in graph.ops else graph


@struct
class _Found:
    """The parts found between a node and the convolution above it."""

    parts: list[View] = field(default_factory=list)
    pool: MaxPoolAttrs | None = None
    activation: View | None = None
    bias: Symbol | None = None

    @property
    def conv(self) -> View:
        return self.parts[-1]


def _match(site: Site) -> _Found | Declined | None:
    """Climb from the site to a convolution: pooling and activation in either order, then a bias."""
    found = _Found()
    view: View = site
    while view.op is not CONV:
        slot = 0
        if view.op is MAX_POOL and found.pool is None and found.bias is None:
            if view.uses(1):
                return _index_read(view)
            found.pool = _pool_before(view.attrs, found.activation)
            if found.pool is None:
                return _late(view, found.activation)
        elif view.op.activation and found.activation is None and found.bias is None:
            found.activation = view
        elif view.op is ew.ADD and found.bias is None:
            slot = 0 if view.producer(0).op is CONV else 1
            bias = _as_bias(view, slot)
            if not isinstance(bias, Symbol):
                return bias
            found.bias = bias
        else:
            return None
        view = view.producer(slot)
        if not view.single_use:
            return view.shared() if _ends_in_conv(view) else None
        found.parts.append(view)
    return found


def _ends_in_conv(view: View) -> bool:
    """Whether it is a convolution, or activations and poolings behind one."""
    while view.op.activation or view.op is MAX_POOL:
        view = view.producer(0)
    return view.op is CONV


def _index_read(pool: View) -> Declined | None:
    """Why a pooling whose index is read is not fused."""
    if not _ends_in_conv(pool):
        return None
    return Declined(f"where the maxima of {pool.name} were is read too", pool.producer(0))


def _late(pool: View, activation: View | None) -> Declined | None:
    """Why an activation behind the pooling of a convolution is not fused."""
    if activation is None or pool.producer(0).op is not CONV:
        return None
    name = activation.op.name
    if not activation.op.rises(activation.attrs):
        return Declined(f"{name} falls somewhere: the largest of its numbers is not that of the largest", pool)
    return Declined(f"the padding of {pool.name} holds {pool.attrs.pad_value:g}, which {name} changes", pool)


def _pool_before(pool: MaxPoolAttrs, activation: View | None) -> MaxPoolAttrs | None:
    """The pooling, if the activation found after it may come before it; otherwise None."""
    if activation is None:
        return pool
    if not activation.op.rises(activation.attrs):
        return None
    # relu: padding below 0 loses before it as after it, and padding above 0 is unchanged by it
    unchanged = not any(pool.padding) or pool.pad_value == -math.inf or activation.op is ew.RELU
    return pool if unchanged else None


def _as_bias(add: View, slot: int) -> Symbol | Declined | None:
    """The other operand of an addition to a convolution without bias, if it is one number for each channel."""
    conv, bias = add.producer(slot), add.inputs[1 - slot]
    shape, rank = bias.type.shape, bias.type.rank
    if conv.op is not CONV or bias.type.shape == add.type.shape:  # a shortcut rather than a bias
        return None
    if conv.type.shape != add.type.shape:
        return Declined(f"{conv.name} is added to something larger", conv)
    channels = conv.type.shape[1]
    per_channel = all(dim in (1, channels) if axis == rank - 3 else dim == 1 for axis, dim in enumerate(shape))
    if not per_channel:
        return Declined(f"what is added to {conv.name} is not one number for each channel", conv)
    if len(conv.inputs) == 3:
        return Declined(f"{conv.name} has a bias already", conv)
    reshaped = add.made_by(bias)
    if reshaped.op is RESHAPE and reshaped.inputs[0].type.shape == (channels,):
        return reshaped.inputs[0]
    return bias
