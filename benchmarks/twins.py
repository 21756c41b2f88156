"""PyTorch twins of Lucid's modules: the same layers under the same names, so that one state dict fits both."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn as tn

import trained
from lucid import models, nn
from lucid.models.resnet import BasicBlock, Bottleneck

#: Containers and networks whose children run one after another, in the order they were set.
CHAINS = (nn.Sequential, models.VGG, models.MobileNetV1, models.ResNet)


class TorchBasicBlock(tn.Module):
    """Two 3×3 convolutions and a shortcut."""

    def __init__(self, children: dict[str, tn.Module]) -> None:
        super().__init__()
        self.downsample = None
        for name, child in children.items():
            setattr(self, name, child)

    def forward(self, x: Any) -> Any:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class TorchBottleneck(TorchBasicBlock):
    """1×1, 3×3 and 1×1 convolutions, and a shortcut."""

    def forward(self, x: Any) -> Any:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


def _max_pool(m: Any) -> tn.Module:
    """PyTorch pads with -inf; zeros have to be padded before, where they are wanted."""
    if m.pad_value == -math.inf or m.padding == (0, 0):
        return tn.MaxPool2d(m.kernel_size, m.stride, m.padding, m.dilation, ceil_mode=m.ceil_mode)
    vertical, horizontal = m.padding
    padding = tn.ConstantPad2d((horizontal, horizontal, vertical, vertical), m.pad_value)
    return tn.Sequential(padding, tn.MaxPool2d(m.kernel_size, m.stride, 0, m.dilation, ceil_mode=m.ceil_mode))


_MAKERS: dict[type[nn.Module], Callable[[Any], tn.Module]] = {
    nn.Conv2d: lambda m: tn.Conv2d(
        m.in_channels, m.out_channels, m.kernel_size, m.stride, m.padding, m.dilation, m.groups, m.bias is not None
    ),
    nn.Linear: lambda m: tn.Linear(m.in_features, m.out_features, m.bias is not None),
    nn.BatchNorm2d: lambda m: tn.BatchNorm2d(m.num_features, m.eps, m.momentum),
    nn.MaxPool2d: _max_pool,
    nn.AdaptiveAvgPool2d: lambda m: tn.AdaptiveAvgPool2d(m.output_size),
    nn.Flatten: lambda m: tn.Flatten(m.start_dim, m.end_dim),
    nn.Dropout: lambda m: tn.Dropout(m.p),
    nn.ReLU: lambda m: tn.ReLU(),
    nn.Identity: lambda m: tn.Identity(),
}


def _convert(module: nn.Module) -> tn.Module:
    children = {name: _convert(child) for name, child in module.named_children()}
    if isinstance(module, BasicBlock):
        return TorchBasicBlock(children)
    if isinstance(module, Bottleneck):
        return TorchBottleneck(children)
    if isinstance(module, CHAINS):
        chain = tn.Sequential()
        for name, child in children.items():
            chain.add_module(name, child)
        return chain
    return _MAKERS[type(module)](module)


def twin(module: nn.Module) -> tn.Module:
    """The same layers in PyTorch, with the module's weights and mode; its parameters require no gradient."""
    made = _convert(module)
    made.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in module.state_dict().items()})
    return made.train(module.training).requires_grad_(False)


def stepping(model: tn.Module, run: Callable[[Any], Any], x: Any, y: Any) -> Callable[[], float]:
    """A step of training by SGD with momentum, which ``run`` is the forward half of; it gives the loss."""
    optimizer = torch.optim.SGD(model.parameters(), lr=trained.LR, momentum=trained.MOMENTUM)
    loss = tn.CrossEntropyLoss()

    def step() -> float:
        optimizer.zero_grad()
        value = loss(run(x), y)
        value.backward()
        optimizer.step()
        return float(value.item())

    return step


def trainable(case: trained.Case) -> tn.Module:
    """A network to train, with the first weights that Lucid's has."""
    ours = trained.model(case)
    if not case.of:
        return twin(ours).requires_grad_(True)
    made: tn.Module = case.build(tn)
    made.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in ours.state_dict().items()})
    return made.train()


def calibrate(module: nn.Module, shape: tuple[int, ...]) -> None:
    """Give every BatchNorm the statistics that training would have left: those of one batch of noise.

    With the initial statistics (0 and 1) activations grow from layer to layer, as those of no trained network do.
    """
    norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm2d)]
    if not norms:
        return
    other = twin(module).train()
    for m in other.modules():
        if isinstance(m, tn.BatchNorm2d):
            m.momentum = 1.0
    batch = np.random.default_rng(1).standard_normal((max(4, shape[0]), *shape[1:])).astype(np.float32)
    with torch.no_grad():
        other(torch.from_numpy(batch))
    module.load_state_dict({name: tensor.numpy() for name, tensor in other.state_dict().items()})
