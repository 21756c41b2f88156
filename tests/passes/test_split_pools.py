"""Poolings that are parted from their convolutions where that is predicted to be sooner."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.graph.ir import Node
from lucid.graph.ops.conv import CONV, conv2d
from lucid.graph.ops.conv_pool import CONV_POOL, ConvPoolAttrs
from lucid.graph.ops.pool import MAX_POOL, max_pool2d
from lucid.graph.types import CHANNELS_LAST
from lucid.passes.fuse.conv_pool import fuse_conv_pool
from lucid.passes.split_pools import GAIN, split_pools
from lucid.runtime.planning.machine import described

from ..machines import USUAL
from .helpers import assert_same, trace

IMAGE, WEIGHTS = (2, 3, 9, 8), {"w": (4, 3, 3, 3), "b": (4,)}
WHOLE, CONVOLUTION, POOLING = 10.0, 6.0, 2.0
"""Seconds that each is said to take."""


def _model(activation: str | None) -> Any:
    def model(x: Any, w: Any, b: Any) -> Any:
        y = conv2d(x, w, b, padding=1)
        return max_pool2d(y if activation is None else getattr(y, activation)(), 3, 2)

    return model


@pytest.mark.parametrize(("activation", "op"), [(None, CONV), ("relu", CONV_POOL), ("tanh", CONV_POOL)])
def test_what_is_sooner_apart_goes_apart(activation: str | None, op: Any) -> None:
    before = fuse_conv_pool(trace(_model(activation), IMAGE, **WEIGHTS))
    asked = []

    def taken(node: Node, types: Any) -> float:
        asked.append(node)
        pool = isinstance(node.attrs, ConvPoolAttrs) and node.attrs.pool is not None
        return WHOLE if pool else POOLING if node.op is MAX_POOL else CONVOLUTION

    after = split_pools(before, taken)
    ((name, fused),) = ((name, node) for name, node in before.nodes() if node.op is CONV_POOL)
    (pooling,) = (node for _, node in after.nodes() if node.op is MAX_POOL)
    assert after.node(name).op is op
    assert pooling.attrs == fused.attrs.pool
    for node in asked[:2]:  # with the types that they have in the graph, channels last
        (same,) = (n for _, n in after.nodes() if n.op is node.op)
        assert node.attrs == same.attrs
        assert node.outputs[0] == replace(same.outputs[0], order=CHANNELS_LAST)
    assert split_pools(after, taken) is after
    assert_same(before, after)


def test_what_is_not_much_sooner_stays() -> None:
    before = fuse_conv_pool(trace(_model("relu"), IMAGE, **WEIGHTS))

    def taken(node: Node, types: Any) -> float:
        return GAIN * 2 - 0.01 if isinstance(node.attrs, ConvPoolAttrs) and node.attrs.pool is not None else 1.0

    assert split_pools(before, taken) is before


def test_convolutions_without_a_pooling_are_not_asked_about() -> None:
    before = fuse_conv_pool(trace(lambda x, w, b: conv2d(x, w, b).relu(), IMAGE, **WEIGHTS))
    assert split_pools(before, lambda node, types: 1 / 0) is before


def _net(channels: int, pool: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(channels, 64, 3, padding=1), nn.ReLU(), pool).eval()


@pytest.mark.parametrize(
    ("channels", "pool", "exact", "parted"),
    [
        (64, nn.MaxPool2d(3, stride=2), False, True),  # minimal filtering, which no block of overlapping windows has
        (64, nn.MaxPool2d(2, stride=2), False, False),  # that pools within its blocks
        (64, nn.MaxPool2d(3, stride=2), True, False),
        (3, nn.MaxPool2d(3, stride=2), False, False),  # has nothing to filter
    ],
)
def test_a_compiled_model_has_what_is_sooner(channels: int, pool: nn.Module, exact: bool, parted: bool) -> None:
    model, x = _net(channels, pool), lucid.randn(1, channels, 57, 56)
    with described(USUAL):
        net = lucid.compile(model, threads=1, exact=exact)
        found = net(x).numpy()
        steps = {step.node.op for step in net.plan.steps}
    assert (MAX_POOL in steps) == parted
    # 1e-5 seen, of 2.4: minimal filtering adds up 576 products by sums and differences of them
    np.testing.assert_allclose(found, model(x).numpy(), rtol=1e-5, atol=5e-5)


def test_gradients_go_through_what_was_parted() -> None:
    model, x = _net(32, nn.MaxPool2d(3, stride=2)), lucid.randn(1, 32, 57, 56)
    with described(USUAL):
        net = lucid.compile(model, threads=1)
        net(x).sum().backward()
        found = model[0].weight.grad.numpy()
    model.zero_grad()
    model(x).sum().backward()
    # 2.4e-4 seen, of 250: each is a sum over 3,000 places
    np.testing.assert_allclose(found, model[0].weight.grad.numpy(), rtol=1e-5, atol=1e-3)
