"""VGG (Simonyan and Zisserman, 2015), with torchvision's names."""

from __future__ import annotations

from typing import Any

from ..nn import (
    AdaptiveAvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    Identity,
    Linear,
    MaxPool2d,
    Module,
    ReLU,
    Sequential,
    init,
)
from ..tensor.tensor import Tensor

_DEPTHS = {"11": (1, 1, 2, 2, 2), "13": (2, 2, 2, 2, 2), "16": (2, 2, 3, 3, 3), "19": (2, 2, 4, 4, 4)}


def _features(depths: tuple[int, ...], batch_norm: bool) -> Sequential:
    layers: list[Module] = []
    channels = 3
    for stage, depth in enumerate(depths):
        width = min(64 << stage, 512)
        for _ in range(depth):
            layers.append(Conv2d(channels, width, 3, padding=1))
            if batch_norm:
                layers.append(BatchNorm2d(width))
            layers.append(ReLU())
            channels = width
        layers.append(MaxPool2d(2, 2))
    return Sequential(*layers)


class VGG(Module):
    """Stages of 3×3 convolutions, each ending in a max pooling, and a classifier.

    Parameters
    ----------
    depths
        Convolutions of each of the five stages.
    num_classes
        Outputs.
    batch_norm
        Normalise after each convolution.
    small
        For images of 32 by 32: one linear layer on the 512 features that remain, instead of three on 7×7×512.
    dropout
        Probability of dropping an element in the classifier.
    """

    def __init__(
        self,
        depths: tuple[int, ...],
        num_classes: int = 1000,
        batch_norm: bool = False,
        small: bool = False,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.features = _features(depths, batch_norm)
        self.avgpool: Module = Identity() if small else AdaptiveAvgPool2d((7, 7))
        self.flatten = Flatten()
        if small:
            self.classifier = Sequential(Dropout(dropout), Linear(512, num_classes))
        else:
            self.classifier = Sequential(
                Linear(512 * 7 * 7, 4096),
                ReLU(),
                Dropout(dropout),
                Linear(4096, 4096),
                ReLU(),
                Dropout(dropout),
                Linear(4096, num_classes),
            )
        for module in self.modules():
            if isinstance(module, Conv2d):
                init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Any:
        return self.classifier(self.flatten(self.avgpool(self.features(x))))


def vgg11(num_classes: int = 1000, *, batch_norm: bool = False, small: bool = False) -> VGG:
    """VGG-11; see :class:`VGG`."""
    return VGG(_DEPTHS["11"], num_classes, batch_norm, small)


def vgg13(num_classes: int = 1000, *, batch_norm: bool = False, small: bool = False) -> VGG:
    """VGG-13; see :class:`VGG`."""
    return VGG(_DEPTHS["13"], num_classes, batch_norm, small)


def vgg16(num_classes: int = 1000, *, batch_norm: bool = False, small: bool = False) -> VGG:
    """VGG-16; see :class:`VGG`."""
    return VGG(_DEPTHS["16"], num_classes, batch_norm, small)


def vgg19(num_classes: int = 1000, *, batch_norm: bool = False, small: bool = False) -> VGG:
    """VGG-19; see :class:`VGG`."""
    return VGG(_DEPTHS["19"], num_classes, batch_norm, small)
