"""What follows the convolution of a signal is computed on an image of one row, and lies as that does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.graph.ir import Graph
from lucid.graph.ops.conv import conv2d
from lucid.graph.ops.norm import batch_norm
from lucid.graph.types import CHANNELS_LAST
from lucid.nn import functional as F
from lucid.passes.layout import assign_layout
from lucid.passes.lift_signals import lift_signals

from .helpers import assert_same, ops, trace


def conv1d(x: Any, w: Any) -> Any:
    return conv2d(x.unsqueeze(2), w.unsqueeze(2)).squeeze(2)


def lifted(function: Any, *shapes: tuple[int, ...], **parameters: tuple[int, ...]) -> Graph:
    before = trace(function, *shapes, **parameters)
    after = lift_signals(before)
    assert_same(before, after)
    return after


def test_elementwise_ops_come_before_the_reshape() -> None:
    after = lifted(lambda x, w, b: (conv1d(x, w) + b).relu() * 2, (2, 3, 9), w=(4, 3, 2), b=(4, 1))
    assert ops(after)[-5:] == ["Reshape", "Add", "Relu", "Mul", "Reshape"]


def test_the_next_convolution_reads_the_image() -> None:
    after = lifted(lambda x, w, v: conv1d(conv1d(x, w).tanh(), v), (2, 3, 9), w=(4, 3, 2), v=(5, 4, 3))
    assert [op for op in ops(after) if op != "Reshape"] == ["Conv2d", "Tanh", "Conv2d"]
    names = [name for name, node in after.nodes() if node.op.name == "Conv2d"]
    assert after.inputs_of(names[1])[0].node == next(n for n, node in after.nodes() if node.op.name == "Tanh")


@pytest.mark.parametrize("b", [(7,), (4, 1), (1, 4, 1), (2, 4, 7), ()])
@pytest.mark.parametrize("axis", [2, 3])
def test_operands_of_any_rank(axis: int, b: tuple[int, ...]) -> None:
    def one_line(x: Any, b: Any, w: Any) -> Any:
        return b - conv2d(x.unsqueeze(axis), w.unsqueeze(axis)).squeeze(axis)

    after = lifted(one_line, (2, 3, 8), b, w=(4, 3, 2))
    assert ops(after)[-2:] == ["Sub", "Reshape"]


def test_two_signals_are_added_as_images() -> None:
    after = lifted(lambda x, w, v: conv1d(x, w) + conv1d(x, v), (2, 3, 9), w=(4, 3, 2), v=(4, 3, 2))
    assert ops(after)[-2:] == ["Add", "Reshape"]


def test_normalisation_by_channels_comes_before_it_too() -> None:
    def normalised(x: Any, w: Any, mean: Any, var: Any) -> Any:
        return batch_norm(conv1d(x, w), mean, var)

    after = lifted(normalised, (2, 3, 9), w=(4, 3, 2), mean=(4,), var=(4,))
    assert ops(after)[-2:] == ["BatchNorm", "Reshape"]


def test_other_reshapes_stay() -> None:
    for function in (lambda x: x.squeeze(2).relu(), lambda x: x.relu().reshape(2, 3, 5).exp()):
        graph = trace(function, (2, 3, 1, 5))
        assert lift_signals(graph) is graph


def test_what_is_moved_lies_as_it_was() -> None:
    def moved(x: Any, w: Any, v: Any) -> Any:
        y = conv1d(x, w)
        y = lucid.cat([y[:, :, -1:], y, y[:, :, :1]], 2)
        return y.permute(0, 2, 1).reshape(-1, 4) @ v

    graph = assign_layout(trace(moved, (2, 3, 9), w=(4, 3, 2), v=(4, 3)))
    orders = {node.op.name: node.outputs[0].order for _, node in graph.nodes()}
    assert orders["Conv2d"] == CHANNELS_LAST
    assert orders["Slice"] == orders["Concat"] == (0, 2, 1)
    assert orders["Transpose"] is None and orders["MatMul"] is None


class Signals(nn.Module):
    """Convolutions of signals with all that may stand between them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv1d(3, 8, 3, padding=1), nn.Conv1d(8, 8, 3, dilation=2, bias=False)
        self.norm, self.last = nn.BatchNorm1d(8), nn.Linear(8, 5)

    def forward(self, x: lucid.Tensor) -> lucid.Tensor:
        y = F.gelu(self.first(x))
        y = lucid.cat([y[:, :, -2:], y, y[:, :, :2]], 2)
        z = F.relu(self.norm(self.second(y))) + y[:, :, 2:-2]
        z = F.pad(F.max_pool1d(z, 2, 2), (1, 1))
        return self.last(z.transpose(1, 2)).relu() + z.mean(2, keepdim=True).mean()


@pytest.mark.parametrize("shape", [(1, 3, 20), (4, 3, 33), (2, 3, 3), (0, 3, 12)])
def test_a_network_on_signals(shape: tuple[int, ...]) -> None:
    model = Signals().eval()
    x = lucid.randn(*shape)
    net = lucid.compile(model)
    with lucid.no_grad():
        np.testing.assert_allclose(net(x).numpy(), model(x).numpy(), rtol=1e-5, atol=1e-5)
    assert not [op for op in ops(net.graph) if op in ("BatchNorm", "Relu")]
