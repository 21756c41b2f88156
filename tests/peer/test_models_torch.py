"""Whole networks beside their PyTorch twins, which a converter builds from our own module tree."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn as tn

from lucid import models, nn, optim
from lucid.models.resnet import BasicBlock, Bottleneck
from lucid.tensor.tensor import Tensor


class TorchBlock(tn.Module):
    """A residual block of converted children."""

    def __init__(self, children: dict[str, tn.Module]) -> None:
        super().__init__()
        for name, child in children.items():
            self.add_module(name, child)

    def forward(self, x: Any) -> Any:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if hasattr(self, "conv3"):
            y = self.bn3(self.conv3(self.relu(y)))
        return self.relu(y + (self.downsample(x) if hasattr(self, "downsample") else x))


#: Containers and networks whose children run one after another, in the order they were set.
CHAINS = (nn.Sequential, models.VGG, models.MobileNetV1, models.ResNet)


def twin(module: nn.Module) -> tn.Module:
    """The same layer, block or network in PyTorch, with its own random weights."""
    children = {name: twin(child) for name, child in module.named_children()}
    if isinstance(module, BasicBlock | Bottleneck):
        return TorchBlock(children)
    if isinstance(module, CHAINS):
        chain = tn.Sequential()
        for name, child in children.items():
            chain.add_module(name, child)
        return chain
    makers: dict[type[nn.Module], Callable[[Any], tn.Module]] = {
        nn.Conv2d: lambda m: tn.Conv2d(
            m.in_channels, m.out_channels, m.kernel_size, m.stride, m.padding, m.dilation, m.groups, m.bias is not None
        ),
        nn.Linear: lambda m: tn.Linear(m.in_features, m.out_features, m.bias is not None),
        nn.BatchNorm2d: lambda m: tn.BatchNorm2d(m.num_features, m.eps, m.momentum),
        nn.MaxPool2d: lambda m: tn.MaxPool2d(m.kernel_size, m.stride, m.padding),
        nn.AdaptiveAvgPool2d: lambda m: tn.AdaptiveAvgPool2d(m.output_size),
        nn.Flatten: lambda m: tn.Flatten(m.start_dim, m.end_dim),
        nn.Dropout: lambda m: tn.Dropout(0.0),
        nn.ReLU: lambda m: tn.ReLU(),
        nn.Identity: lambda m: tn.Identity(),
    }
    if isinstance(module, nn.MaxPool2d):
        assert module.pad_value == -math.inf or module.padding == (0, 0)
    return makers[type(module)](module)


MODELS: list[tuple[str, Callable[[], nn.Module], tuple[int, ...]]] = [
    ("lenet5", models.lenet5, (3, 1, 28, 28)),
    ("mlp", lambda: models.mlp((6, 5, 4)), (3, 2, 3)),
    ("vgg", lambda: models.VGG((1, 1, 1, 1, 1), 10, batch_norm=True, small=True), (3, 3, 32, 32)),
    ("resnet", lambda: models.ResNet(BasicBlock, (2, 1, 1, 1), 10), (3, 3, 40, 33)),
    ("resnet-bottleneck", lambda: models.ResNet(Bottleneck, (1, 1, 1, 1), 10), (3, 3, 40, 33)),
    ("mobilenet", lambda: models.mobilenet_v1(10, width=0.25), (3, 3, 40, 40)),
]


def pair(build: Callable[[], nn.Module], dtype: str) -> tuple[nn.Module, tn.Module]:
    torch.manual_seed(0)
    ours = build()
    for module in ours.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    theirs = twin(ours).to(getattr(torch, dtype))
    ours.to(dtype)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def close(ours: Any, theirs: torch.Tensor, what: str, rtol: float = 1e-9) -> None:
    wanted = theirs.detach().numpy()
    np.testing.assert_allclose(
        np.asarray(ours), wanted, rtol=0, atol=rtol * max(float(np.abs(wanted).max(initial=0)), 1e-3), err_msg=what
    )


@pytest.mark.parametrize(("name", "build", "shape"), MODELS, ids=[name for name, _, _ in MODELS])
def test_a_network_is_its_twin(name: str, build: Any, shape: tuple[int, ...]) -> None:
    """Evaluation, then a step of training: outputs, all gradients, all statistics, in float64."""
    ours, theirs = pair(build, "float64")
    x = np.random.default_rng(0).standard_normal(shape)
    close(ours.eval()(Tensor(x)).detach(), theirs.eval()(torch.from_numpy(x)), "evaluation")
    ours.train()
    theirs.train()
    a, b = Tensor(x, requires_grad=True), torch.from_numpy(x.copy()).requires_grad_()
    y, expected = ours(a), theirs(b)
    close(y.detach(), expected, "training")
    seed = np.random.default_rng(1).standard_normal(tuple(expected.shape))
    y.backward(seed)
    expected.backward(torch.from_numpy(seed))
    assert b.grad is not None
    close(a.grad, b.grad, "gradient of the input")
    gradients = dict(theirs.named_parameters())
    for path, parameter in ours.named_parameters():
        wanted = gradients.pop(path).grad
        assert wanted is not None
        close(parameter.grad, wanted, f"gradient of {path}", 1e-8)
    assert not gradients
    state = ours.state_dict()
    for path, tensor in theirs.state_dict().items():
        close(state[path], tensor, path)


def test_training_goes_the_same_way() -> None:
    ours, theirs = pair(models.lenet5, "float64")
    a = optim.SGD(ours.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
    b = torch.optim.SGD(theirs.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
    loss, expected = nn.CrossEntropyLoss(), tn.CrossEntropyLoss()
    rng = np.random.default_rng(0)
    for _ in range(5):
        x, labels = rng.standard_normal((8, 1, 28, 28)), rng.integers(0, 10, 8)
        a.zero_grad()
        b.zero_grad()
        value = loss(ours(Tensor(x)), Tensor(labels))
        wanted = expected(theirs(torch.from_numpy(x)), torch.from_numpy(labels))
        assert value.item() == pytest.approx(wanted.item(), rel=1e-10)
        value.backward()
        wanted.backward()
        a.step()
        b.step()
    for name, tensor in theirs.state_dict().items():
        close(ours.state_dict()[name], tensor, name)
