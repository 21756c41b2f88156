"""The networks: shapes, sizes, names, and a gradient for every parameter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lucid import models, nn
from lucid.models.resnet import BasicBlock, Bottleneck
from lucid.tensor.tensor import Tensor


@pytest.mark.parametrize(
    ("build", "shape", "parameters"),
    [
        (lambda: models.lenet5(), (2, 1, 28, 28), 61706),
        (lambda: models.mlp((12, 8, 3), dropout=0.5), (2, 3, 4), 12 * 8 + 8 + 8 * 3 + 3),
        (lambda: models.vgg11(10, small=True), (2, 3, 32, 32), 9225610),
        (lambda: models.ResNet(BasicBlock, (1, 1, 1, 1), 10), (2, 3, 33, 33), 4910922),
        (lambda: models.ResNet(Bottleneck, (1, 1, 1, 1), 10, in_channels=1), (2, 1, 32, 32), None),
        (lambda: models.mobilenet_v1(10, width=0.25), (2, 3, 32, 32), None),
    ],
)
def test_a_model_runs_and_learns(build: Any, shape: tuple[int, ...], parameters: int | None) -> None:
    model = build()
    if parameters is not None:
        assert sum(p.numel() for p in model.parameters()) == parameters
    y = model(Tensor(np.random.default_rng(0).standard_normal(shape).astype(np.float32)))
    assert y.shape == (2, 3 if isinstance(model, nn.Sequential) and len(model) < 8 else 10)
    y.sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize(
    ("build", "parameters"),
    [
        (models.mobilenet_v1, 4231976),
        (models.resnet18, 11689512),
        (models.resnet50, 25557032),
        (lambda: models.vgg16(10, small=True, batch_norm=True), 14728266),
    ],
)
def test_published_sizes(build: Any, parameters: int) -> None:
    assert sum(p.numel() for p in build().parameters()) == parameters


def test_names_are_torchvisions() -> None:
    names = list(models.resnet18(2).state_dict())
    assert len(names) == 122
    assert names[:3] == ["conv1.weight", "bn1.weight", "bn1.bias"]
    for name in ("layer2.0.downsample.0.weight", "layer4.1.bn2.num_batches_tracked", "fc.bias"):
        assert name in names
    assert "layer1.0.downsample.0.weight" not in names
    assert "layer1.0.downsample.1.running_var" in models.ResNet(Bottleneck, (1, 1, 1, 1)).state_dict()
    assert "features.18.weight" in models.vgg11(2, small=True).state_dict()
    assert models.resnet34(2).layer3[5].conv1.in_channels == 256
