"""The networks: shapes, sizes, names, and a gradient for every parameter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lucid import models, nn
from lucid.tensor import Tensor, no_grad


@pytest.mark.parametrize(
    ("build", "shape", "parameters"),
    [
        (lambda: models.lenet5(), (2, 1, 28, 28), 61706),
        (lambda: models.mlp((12, 8, 3), dropout=0.5), (2, 3, 4), 12 * 8 + 8 + 8 * 3 + 3),
        (lambda: models.vgg11(10, small=True), (2, 3, 32, 32), 9225610),
        (lambda: models.vgg16(10, small=True, batch_norm=True), (2, 3, 32, 32), 14728266),
        (lambda: models.resnet18(10), (2, 3, 33, 33), 11181642),
        (lambda: models.resnet50(10, in_channels=1), (2, 1, 32, 32), 23522250),
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


def test_full_mobilenet_has_its_published_size() -> None:
    model = models.mobilenet_v1()
    assert sum(p.numel() for p in model.parameters()) == 4231976


def test_names_are_torchvisions() -> None:
    names = list(models.resnet18().state_dict())
    assert len(names) == 122
    assert names[:3] == ["conv1.weight", "bn1.weight", "bn1.bias"]
    for name in ("layer2.0.downsample.0.weight", "layer4.1.bn2.num_batches_tracked", "fc.bias"):
        assert name in names
    assert "layer1.0.downsample.0.weight" not in names
    assert "layer1.0.downsample.1.running_var" in models.resnet50().state_dict()
    assert "features.18.weight" in models.vgg11(2, small=True).state_dict()
    assert models.resnet34(2).layer3[5].conv1.in_channels == 256


def test_large_images_and_small_ones() -> None:
    model = models.vgg11(5).eval()
    with no_grad():
        assert model(Tensor(np.zeros((1, 3, 64, 64), np.float32))).shape == (1, 5)
