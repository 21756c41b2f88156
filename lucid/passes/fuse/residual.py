"""Fuses the shortcut of a residual block, and the activation of the sum, into the convolution before it."""

from __future__ import annotations

from ...graph.ir import Graph
from ...graph.opdef import Attrs, NoAttrs, apply
from ...graph.ops import elementwise as ew
from ...graph.ops.conv import CONV
from ...graph.ops.conv_pool import CONV_POOL, ConvPoolAttrs
from ...graph.trace import Symbol
from ..rewrite import Declined, Site, View, rebuild


def fuse_residual(graph: Graph) -> Graph:
    """Fuse ``Conv2d`` with the ``Add`` of a tensor of the same shape, and with an activation if one follows.

    The convolution and the sum must have no other reader. Of two convolutions the later one takes the other's result as
    its residual. The node takes the convolution's name.
    """
    position = {name: index for index, name in enumerate(graph.order)}

    def rule(site: Site) -> Symbol | Declined | None:
        activation: View | None = None
        add: View = site
        if site.op.activation:
            activation, add = site, site.producer(0)
        if add.op is not ew.ADD:
            return None
        near = [add.producer(slot) for slot in (0, 1) if _suits(add, slot)]
        slots = [slot for slot in (0, 1) if _suits(add, slot) and add.producer(slot).single_use]
        if near and not (add.single_use or activation is None):
            return add.shared()
        if not slots:
            return near[0].shared() if near else _unsuited(add)
        slot = max(slots, key=lambda slot: position[add.producer(slot).name])
        conv = add.producer(slot)
        site.absorb(conv, *([] if activation is None else [add]))
        options: Attrs = NoAttrs() if activation is None else activation.attrs
        attrs = ConvPoolAttrs(conv.attrs, None if activation is None else activation.op.name, options, residual=True)
        y: Symbol = apply(CONV_POOL, attrs, *conv.inputs, add.inputs[1 - slot])
        site.call(y, conv.name)
        return y

    return rebuild(graph, rule, "fuse_residual") if CONV in graph.ops else graph


def _unsuited(add: View) -> Declined | None:
    """Why the addition to a convolution's result is not fused into it."""
    for slot in (0, 1):
        conv, other = add.producer(slot), add.inputs[1 - slot]
        if conv.op is CONV and conv.type.same_value(add.type):
            if not other.type.same_value(add.type):
                return Declined(f"what is added to {conv.name} has another shape: {other.type.with_order(None)}", conv)
            return Declined(f"each group of {conv.name} has one channel, and adds nothing", conv)
    return None


def _suits(add: View, slot: int) -> bool:
    """Whether this operand is a convolution that can add the other one."""
    conv, other = add.producer(slot), add.inputs[1 - slot]
    return (
        conv.op is CONV
        and (conv.attrs.groups == 1 or conv.inputs[1].type.shape[1] != 1)
        and conv.type.same_value(add.type)
        and other.type.same_value(add.type)
    )
