"""MobileNet (Howard et al., 2017)."""

from __future__ import annotations

from typing import Any

from ..base.checks import shown
from ..errors import OptionError
from ..nn import AdaptiveAvgPool2d, BatchNorm2d, Conv2d, Flatten, Linear, Module, ReLU, Sequential, init
from ..tensor.tensor import Tensor

_BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))


def _conv(channels: int, out: int, kernel: int, stride: int, groups: int = 1) -> list[Module]:
    conv = Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, BatchNorm2d(out), ReLU()]


class MobileNetV1(Module):
    """A 3×3 convolution, 13 depthwise separable ones, and a linear layer.

    Parameters
    ----------
    num_classes
        Outputs.
    width
        Multiplies the number of channels of every layer.
    in_channels
        Channels of the images.
    """

    def __init__(self, num_classes: int = 1000, width: float = 1.0, in_channels: int = 3) -> None:
        super().__init__()
        if not width > 0:
            raise OptionError(f"MobileNetV1: width must be positive, got {shown(width)}")
        channels = max(8, round(32 * width))
        layers = _conv(in_channels, channels, 3, 2)
        for base, stride in _BLOCKS:
            out = max(8, round(base * width))
            layers += _conv(channels, channels, 3, stride, groups=channels)
            layers += _conv(channels, out, 1, 1)
            channels = out
        self.features = Sequential(*layers)
        self.avgpool = AdaptiveAvgPool2d((1, 1))
        self.flatten = Flatten()
        self.classifier = Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, Conv2d):
                init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Any:
        return self.classifier(self.flatten(self.avgpool(self.features(x))))


def mobilenet_v1(num_classes: int = 1000, width: float = 1.0, in_channels: int = 3) -> MobileNetV1:
    """MobileNet; see :class:`MobileNetV1`."""
    return MobileNetV1(num_classes, width, in_channels)
