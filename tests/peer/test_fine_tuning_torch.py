"""Imported models train as PyTorch's do: from the same weights and batches they have the same losses on the way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as tf

import lucid
from lucid.nn import functional as F

from .exporting import exported

Array = np.ndarray[Any, Any]
STEPS, CLASSES = 10, 4


class Cnn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.BatchNorm2d(8, momentum=0.3, eps=1e-3), nn.SiLU(),
            nn.Conv2d(8, 12, 1), nn.ReLU6(), nn.AdaptiveAvgPool2d(1),
        )  # fmt: skip
        self.classifier = nn.Linear(12, CLASSES)

    def forward(self, x: Any) -> Any:
        return self.classifier(self.features(x).flatten(1))


class Quantised(nn.Module):
    """As trained to be quantised: weights and what goes between layers are rounded to 8 bits, and held."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, CLASSES)

    def forward(self, x: Any) -> Any:
        y = tf.conv2d(
            torch.fake_quantize_per_tensor_affine(x, 0.03, 100, 0, 255),
            torch.fake_quantize_per_channel_affine(
                self.first.weight, torch.linspace(0.002, 0.004, 8), torch.zeros(8, dtype=torch.int32), 0, -128, 127
            ),
            self.first.bias, padding=1,
        )  # fmt: skip
        y = torch.fake_quantize_per_tensor_affine(y.relu(), 0.03, 0, 0, 127).amax((2, 3))
        return tf.linear(y, torch.fake_quantize_per_tensor_affine(self.last.weight, 0.01, 0, -128, 127), self.last.bias)


class Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Any) -> Any:
        n, length, width = x.shape
        parts = self.qkv(self.norm1(x)).reshape(n, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        y = tf.scaled_dot_product_attention(parts[0], parts[1], parts[2])
        x = x + self.out(y.transpose(1, 2).reshape(n, length, width))
        return x + self.mlp(self.norm2(x))


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(30, 16), nn.Embedding(9, 16)
        self.layers = nn.ModuleList([Block(16, 4) for _ in range(2)])
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, CLASSES)

    def forward(self, ids: Any) -> Any:
        x = self.tokens(ids) + self.places.weight[: ids.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x).mean(1))


def batches(kind: type[nn.Module]) -> list[tuple[Array, Array]]:
    rng = np.random.default_rng(1)
    shape = (6, 9) if kind is Transformer else (6, 3, 8, 8)
    inputs = [
        rng.integers(0, 30, shape) if kind is Transformer else rng.standard_normal(shape).astype(np.float32)
        for _ in range(3)
    ]
    return [(x, rng.integers(0, CLASSES, len(x))) for x in inputs]


def pair(kind: type[nn.Module]) -> tuple[Any, Any]:
    """PyTorch's model, and what is imported of its export; the weights are all different."""
    torch.manual_seed(0)
    theirs = kind()
    for tensor in (*theirs.parameters(), *theirs.buffers()):
        if tensor.is_floating_point():
            tensor.data += 0.05 * torch.rand_like(tensor)
    given, mode = torch.from_numpy(batches(kind)[0][0]), torch.onnx.TrainingMode.PRESERVE
    file = exported(theirs, (given,), [{0: "batch"}], training=mode, do_constant_folding=False)
    return theirs, lucid.onnx.load(file)


@pytest.mark.parametrize("kind", [Cnn, Transformer, Quantised])
def test_weights_are_where_pytorch_has_them(kind: type[nn.Module]) -> None:
    theirs, ours = pair(kind)
    wanted = {name: value for name, value in theirs.state_dict().items() if not name.endswith("num_batches_tracked")}
    assert set(ours.state_dict()) == set(wanted)
    assert {name for name, _ in ours.named_parameters()} == {name for name, _ in theirs.named_parameters()}
    for name, value in ours.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), wanted[name].numpy())


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("frozen", ["", "features", "layers.0"])
@pytest.mark.parametrize("kind", [Cnn, Transformer])
def test_ten_steps_have_the_same_losses(kind: type[nn.Module], frozen: str, training: bool, compiled: bool) -> None:
    trains_alike(kind, frozen, training, compiled)


@pytest.mark.parametrize("compiled", [True, False])
def test_what_is_rounded_on_the_way_trains_straight_through(compiled: bool) -> None:
    first, *_, last = trains_alike(Quantised, "", True, compiled)
    assert last < 0.9 * first


def trains_alike(kind: type[nn.Module], frozen: str, training: bool, compiled: bool) -> list[float]:
    """The losses of the steps, which are PyTorch's."""
    theirs, ours = pair(kind)
    theirs.train(training)
    ours.train(training)
    for model in (theirs, ours):
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(not (frozen and name.startswith(frozen)))
    before = {name: value.numpy().copy() for name, value in ours.named_parameters()}
    step = lucid.optim.SGD([p for p in ours.parameters() if p.requires_grad], 0.1, momentum=0.9)
    other = torch.optim.SGD([p for p in theirs.parameters() if p.requires_grad], 0.1, momentum=0.9)
    net, given, losses = lucid.compile(ours) if compiled else ours, batches(kind), []
    for i in range(STEPS):
        x, target = given[i % len(given)]
        step.zero_grad()
        other.zero_grad()
        loss = F.cross_entropy(net(x), target)
        wanted = tf.cross_entropy(theirs(torch.from_numpy(x)), torch.from_numpy(target))
        loss.backward()
        wanted.backward()
        step.step()
        other.step()
        assert loss.item() == pytest.approx(wanted.item(), abs=1e-4)
        losses.append(loss.item())
    for name, value in theirs.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            np.testing.assert_allclose(ours.state_dict()[name].numpy(), value.numpy(), rtol=2e-3, atol=2e-4)
    for name, value in ours.named_parameters():
        assert np.array_equal(value.numpy(), before[name]) == bool(frozen and name.startswith(frozen))
    return losses
