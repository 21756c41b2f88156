"""Linear layers take their activation in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn, optim
from lucid.graph.ops.elementwise import gelu, relu
from lucid.graph.ops.linalg import linear
from lucid.graph.types import spec
from lucid.passes.fuse.linear import fuse_linear

from .helpers import assert_same, ops, trace

SPECS = (spec(3, 4), spec(5, 4), spec(5))


@pytest.mark.parametrize("activation", [relu, gelu])
def test_the_activation_goes_in(activation: Any) -> None:
    before = trace(lambda x, w, b: activation(linear(x, w, b)), *SPECS)
    after = fuse_linear(before)
    assert ops(after) == ["FusedLinear"]
    assert_same(before, after)


def test_a_layer_alone_stays_one() -> None:
    before = trace(lambda x, w, b: linear(x, w, b), *SPECS)
    assert fuse_linear(before) is before


def test_what_others_read_stays_outside() -> None:
    def both(x: Any, w: Any, b: Any) -> Any:
        y = linear(x, w, b)
        return relu(y) + y

    before = trace(both, *SPECS)
    after = fuse_linear(before)
    assert after is before


def test_training_keeps_linear_layers_apart() -> None:
    net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    compiled = lucid.compile(net)
    x = lucid.randn(3, 4)
    compiled(x).sum().backward()
    assert "FusedLinear" not in {node.op.name for _, node in compiled.backward_graph.nodes()}
    with lucid.no_grad():
        np.testing.assert_allclose(compiled(x).numpy(), net(x).numpy(), rtol=1e-5, atol=1e-6)
    found = [compiled.graph.node(name).op.name for name in ("0.linear", "2.linear")]
    assert found == ["FusedLinear", "Linear"]


def test_a_step_computes_activations_where_they_belong() -> None:
    """What comes before them is read by no gradient."""
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 2))
    step = lucid.compile_step(net, nn.CrossEntropyLoss(), optim.SGD(net.parameters(), lr=0.1))
    step(lucid.randn(3, 1, 4, 4), np.zeros(3, np.int64))
    found = {node.op.name for _, node in step.graph.nodes()}
    assert {"ConvPool2d", "FusedLinear"} <= found
    assert "Relu" not in found
