"""Defers a bias to the layers that read the result, which saves a pass over it.

``relu(x + b)`` is ``max(x, -b) + b``. What that last ``b`` contributes to a linear layer, or to a convolution without
padding, is the same for every input, so it can be part of that layer's bias. The same holds for a bias without a ReLU.
A depthwise convolution may be padded: its padding then holds ``-b`` in place of zero.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from ..graph.facts import parameter_only
from ..graph.ir import Graph, Node, Value
from ..graph.opdef import NoAttrs, OpDef, apply
from ..graph.ops.conv import ConvAttrs
from ..graph.ops.conv_pool import CONV_POOL, SIMPLE, as_fused, bias_and_residual
from ..graph.ops.elementwise import ADD, MAXIMUM, RELU
from ..graph.ops.linalg import LINEAR
from ..graph.ops.shape import RESHAPE
from ..graph.trace import Symbol
from ..graph.types import TensorType, is_float, product
from .fold.scales import of_constant
from .rewrite import Declined, Site, rebuild


def defer_bias(graph: Graph) -> Graph:
    """Replace bias and ReLU of ``ConvPool2d`` and ``FusedLinear`` by a floor, if only layers read them.

    Layers with only a bias lose it, and the ReLU of a sum with a number per channel becomes a maximum. The layers that
    read the result get a bias that is computed from parameters, so only when these change. Sums round differently than
    before, the more so the larger the bias is compared to the result, so this is for graphs that need not be exact.

    A layer that takes over a bias keeps its own: otherwise biases could grow from layer to layer, and a result would be
    the small difference of large numbers.
    """
    fixed, deferred, kept = parameter_only(graph), set[str](), dict[str, tuple[str, str]]()
    for name in graph.order:
        if not _has_bias(graph, name, fixed):
            continue
        why = _why_not(graph, name, fixed, deferred)
        if why is None:
            deferred.add(name)
        elif graph.node(name).op.activates:
            kept[name] = why
    biases: dict[str, Symbol] = {}

    def rule(site: Site) -> Symbol | None:
        if site.name in kept:
            reason, reader = kept[site.name]
            site.leave(Declined(reason, *([site.view(reader)] if reader else [])))
        late = biases.get(_source_name(graph, site.name))
        if site.name not in deferred and late is None:
            return None
        op, inputs, attrs = site.op, list(site.inputs), site.attrs
        if op is RELU:
            return _raised(graph, site, fixed, biases)
        if late is not None:
            added = of_constant(inputs[1], late, _conv(site.node).groups if op.convolution else 1)
            inputs[2:3] = (
                [inputs[2] + added] if bias_and_residual(attrs, inputs)[0] is not None else [added, *inputs[2:3]]
            )
            if op.convolution and any(_conv(site.node).padding):
                op, attrs = CONV_POOL, replace(as_fused(attrs), filled=True)
                inputs.append(-late)
        if site.name in deferred:
            biases[site.name] = inputs[2]
            if not op.activates or attrs.activation is None:
                del inputs[2]
            else:
                inputs[2], attrs = -inputs[2], replace(attrs, activation=None, floor=True)
        y: Symbol = apply(op, attrs, *inputs)
        site.call(y, site.name)
        return y

    return rebuild(graph, rule, "defer_bias") if deferred or kept else graph


def _has_bias(graph: Graph, name: str, fixed: set[str]) -> bool:
    """Whether it is a layer with a fixed bias and a ReLU or no activation, or a ReLU of a sum with such a bias."""
    node, feeds = graph.node(name), graph.inputs_of(name)
    if not is_float(node.outputs[0].dtype):
        return False
    if node.op is RELU:
        return _shift_slot(graph, feeds[0].node, fixed) is not None
    attrs: Any = node.attrs
    if not _is_layer(node.op) or (node.op.activates and (attrs.floor or attrs.activation not in (None, RELU.name))):
        return False
    bias, residual = bias_and_residual(attrs, feeds)
    return bias is not None and residual is None and bias.node in fixed


def _raised(graph: Graph, site: Site, fixed: set[str], biases: dict[str, Symbol]) -> Symbol:
    """A ReLU of a sum as a maximum; records the summand of each channel as a bias to defer."""
    total = site.producer(0)
    slot = _shift_slot(graph, total.name, fixed)
    assert slot is not None
    site.absorb(total)
    biases[site.name] = total.inputs[slot].reshape(-1)
    y: Symbol = apply(MAXIMUM, NoAttrs(), total.inputs[1 - slot], -total.inputs[slot])
    return y


def _shift_slot(graph: Graph, name: str, fixed: set[str]) -> int | None:
    """Which input of a sum with one reader is a fixed number for each channel of an image, if any."""
    node = graph.node(name)
    if node.op is not ADD or len(graph.users(Value(name))) != 1 or Value(name) in graph.results:
        return None
    y, feeds = node.outputs[0], graph.inputs_of(name)
    for slot, feed in enumerate(feeds):
        shape = (1,) * y.rank + graph.type(feed).shape
        like = graph.type(feeds[1 - slot]).same_value(y)
        if y.rank == 4 and like and feed.node in fixed and shape[-4:] == (1, y.shape[1], 1, 1):
            return slot
    return None


def _why_not(graph: Graph, name: str, fixed: set[str], deferred: set[str]) -> tuple[str, str] | None:
    """Why its bias stays, and the reader that prevents it; None if it can be deferred."""
    source, pool = _source_name(graph, name), getattr(graph.node(name).attrs, "pool", None)
    if source in deferred:
        return f"it takes over the bias of {source}, and keeps its own", source
    if pool is not None and any(pool.padding) and pool.pad_value != -math.inf:
        return "the padding of its pooling would hold something else for each channel", ""
    op = graph.node(name).op
    return _why_unread(graph, name, fixed, image=op.convolution or op is RELU)


def _why_unread(
    graph: Graph, name: str, fixed: set[str], *, image: bool, reshaped: bool = False
) -> tuple[str, str] | None:
    """Why some reader of a value (possibly behind a reshape) cannot take over its bias, and which; None if all can.

    The bias has a number for each channel of an ``image``, otherwise for each number of a row.
    """
    value = Value(name)
    if value in graph.results:
        return f"{name} is asked for as a result", ""
    y, readers = graph.type(value), graph.users(value)
    for reader, slot in readers:
        node = graph.node(reader)
        if node.op is RESHAPE and image and not reshaped:
            if not _is_flat(node.outputs[0], y):
                known = all(isinstance(size, int) for size in y.shape[1:])
                return f"{reader} makes no row of each image" if known else f"the sizes of {name} are not known", reader
            why = _why_unread(graph, reader, fixed, image=False, reshaped=True)
            if why is not None:
                return why
        elif slot != 0 or not _is_layer(node.op):
            return f"{reader}, which reads it, is no layer with a bias to add it to", reader
        elif node.op.convolution is not image:
            return f"{reader}, which reads it, has a bias along another axis", reader
        elif not _takes_over(graph, reader):
            return f"the padding of {reader}, which reads it, holds zeros", reader
        elif any(v.node not in fixed for v in graph.inputs_of(reader)[1:3]):
            return f"the weights of {reader}, which reads it, depend on the input", reader
    return None if readers else ("nothing reads it", "")


def _is_flat(flat: TensorType, image: TensorType) -> bool:
    """Whether each image is flattened to a row."""
    _, *sizes = image.shape
    return all(isinstance(size, int) for size in sizes) and flat.shape[1:] == (product(sizes),)


def _takes_over(graph: Graph, name: str) -> bool:
    """Whether a layer has no padding, or can be padded with values other than zero."""
    node = graph.node(name)
    if not node.op.convolution or not any(_conv(node).padding):
        return True
    attrs = as_fused(node.attrs)
    alone = attrs.pool is None and not attrs.residual and attrs.activation in SIMPLE
    _, weight, *_ = graph.inputs_of(name)
    return alone and _conv(node).groups > 1 and graph.type(weight).shape[1] == 1


def _is_layer(op: OpDef) -> bool:
    """Whether it is a product with weights and perhaps a bias, also with fused activation or pooling."""
    return op.convolution or op is LINEAR or op.activates


def _conv(node: Node) -> ConvAttrs:
    return as_fused(node.attrs).conv


def _source_name(graph: Graph, name: str) -> str:
    """The node that computes a layer's first input, looking through a reshape; empty if ``name`` is not a layer."""
    op = graph.node(name).op
    if not _is_layer(op):
        return ""
    source = graph.inputs_of(name)[0].node
    return graph.inputs_of(source)[0].node if graph.node(source).op is RESHAPE else source
