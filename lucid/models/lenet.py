"""LeNet-5 (LeCun et al., 1998), with max pooling and ReLU as it is used today."""

from __future__ import annotations

from ..nn import Conv2d, Flatten, Linear, MaxPool2d, ReLU, Sequential


def lenet5(num_classes: int = 10, in_channels: int = 1) -> Sequential:
    """LeNet-5 for images of 28 by 28."""
    return Sequential(
        {
            "conv1": Conv2d(in_channels, 6, 5, padding=2),
            "relu1": ReLU(),
            "pool1": MaxPool2d(2, 2),
            "conv2": Conv2d(6, 16, 5),
            "relu2": ReLU(),
            "pool2": MaxPool2d(2, 2),
            "flatten": Flatten(),
            "fc1": Linear(16 * 5 * 5, 120),
            "relu3": ReLU(),
            "fc2": Linear(120, 84),
            "relu4": ReLU(),
            "fc3": Linear(84, num_classes),
        }
    )
