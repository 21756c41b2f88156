"""The networks of :mod:`lucid.models` at the sizes that tests can afford, with batch norms that matter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import lucid
from lucid import Tensor, models, nn

Array = np.ndarray[Any, Any]


def vgg16() -> nn.Module:
    """VGG-16 for images of any size: one linear layer on the means, instead of three of 120 million weights."""
    model = models.vgg16(100, small=True)
    model.avgpool = nn.AdaptiveAvgPool2d((1, 1))
    return model


@dataclass(frozen=True)
class Net:
    """A network: how it is made, a batch that can be run quickly, and the published size of an image."""

    build: Callable[[], nn.Module]
    small: tuple[int, ...]
    image: tuple[int, ...]

    def model(self, seed: int = 0) -> nn.Module:
        """In inference mode, with weights as it initialises them."""
        lucid.manual_seed(seed)
        return self.build().eval()

    def batch(self, seed: int = 0) -> Array:
        return np.random.default_rng(seed).standard_normal(self.small).astype(np.float32)


IMAGENET = (3, 224, 224)
NETS = {
    "mlp": Net(lambda: models.mlp((784, 512, 256, 10)), (64, 784), (784,)),
    "lenet": Net(models.lenet5, (64, 1, 28, 28), (1, 28, 28)),
    "vgg11": Net(lambda: models.vgg11(100, small=True), (2, 3, 32, 32), (3, 32, 32)),
    "vgg16": Net(vgg16, (1, 3, 64, 64), IMAGENET),
    "resnet18": Net(models.resnet18, (1, 3, 64, 64), IMAGENET),
    "resnet50": Net(models.resnet50, (1, 3, 64, 64), IMAGENET),
    "mobilenet": Net(models.mobilenet_v1, (1, 3, 64, 64), IMAGENET),
}


def settle(model: nn.Module, x: Array, seed: int = 0) -> None:
    """Give batch norms the statistics of ``x``, somewhat off: signals neither die out nor are just normalised."""
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    if not norms:
        return
    momenta = [m.momentum for m in norms]
    for norm in norms:
        norm.momentum = 1.0
    rng = np.random.default_rng(seed)
    with lucid.no_grad():
        model.train()(Tensor(x))
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            mean, variance = (np.array(t) for t in (norm.running_mean, norm.running_var))
            norm.running_mean.copy_(mean + (0.1 * np.sqrt(variance) * rng.standard_normal(mean.shape)).astype("f4"))
            norm.running_var.copy_(variance * rng.uniform(0.7, 1.4, variance.shape).astype("f4"))
    model.eval()
