"""What is measured: networks, blocks of them, pooling alone, and single layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lucid import models, nn

IMAGENET = (3, 224, 224)


@dataclass(frozen=True)
class Case:
    """One thing to run.

    Attributes
    ----------
    name
        What ``--only`` looks in.
    group
        ``net``, ``block``, ``pool`` or ``layer``: a table each, and a name for ``--only``.
    build
        Makes the module.
    shape
        Of its input, (N, ...).
    backward
        Also compute the gradient of the input.
    title
        What the tables say.
    """

    name: str
    group: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    title: str
    backward: bool = False


def _nets() -> Iterator[Case]:
    def net(name: str, title: str, build: Callable[[], nn.Module], batches: tuple[int, ...], *image: int) -> list[Case]:
        return [Case(f"{name}-b{n}", "net", build, (n, *image), f"{title}, batch {n}") for n in batches]

    yield from net("lenet", "LeNet-5", models.lenet5, (1, 64), 1, 28, 28)
    yield from net("mlp", "MLP 784-512-256-10", lambda: models.mlp((784, 512, 256, 10)), (1, 256), 784)
    yield from net("vgg11", "VGG-11 on 32×32", lambda: models.vgg11(10, small=True), (32,), 3, 32, 32)
    yield from net("vgg16", "VGG-16", models.vgg16, (1,), *IMAGENET)
    yield from net("resnet18", "ResNet-18", models.resnet18, (1, 8), *IMAGENET)
    yield from net("resnet50", "ResNet-50", models.resnet50, (1,), *IMAGENET)
    yield from net("mobilenet", "MobileNet-v1", models.mobilenet_v1, (1,), *IMAGENET)


def _conv_pool(c: int, k: int, kernel: int, padding: int) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(nn.Conv2d(c, k, kernel, padding=padding), nn.ReLU(), nn.MaxPool2d(2, 2))


def _first_layer() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 64, 7, 2, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1, pad_value=-math.inf))


def _blocks() -> Iterator[Case]:
    for n, c, k, h in ((8, 64, 64, 56), (8, 128, 128, 28), (8, 256, 256, 28), (8, 512, 512, 14), (1, 64, 64, 56)):
        title = f"conv 3×3 + ReLU + max pool 2×2, {n}×{c}→{k}×{h}×{h}"
        yield Case(f"block-3x3-{n}-{c}-{k}-{h}", "block", _conv_pool(c, k, 3, 1), (n, c, h, h), title)
    for n in (1, 8):
        title = f"conv 7×7/2 + ReLU + max pool 3×3/2, {n}×3→64×224×224"
        yield Case(f"block-first-{n}", "block", _first_layer, (n, *IMAGENET), title)
    for n in (1, 64):
        for stage, c, k, h, padding in ((1, 1, 6, 28, 2), (2, 6, 16, 14, 0)):
            title = f"LeNet stage {stage}: conv 5×5 + ReLU + max pool 2×2, {n}×{c}→{k}×{h}×{h}"
            yield Case(f"block-lenet{stage}-{n}", "block", _conv_pool(c, k, 5, padding), (n, c, h, h), title)


def _pools() -> Iterator[Case]:
    shape = (16, 64, 112, 112)
    at = "×".join(map(str, shape))
    pools: tuple[tuple[str, str, Callable[[], nn.Module]], ...] = (
        ("2x2", "max pool 2×2/2", lambda: nn.MaxPool2d(2, 2)),
        ("3x3", "max pool 3×3/2 padded", lambda: nn.MaxPool2d(3, 2, 1, pad_value=-math.inf)),
    )
    for name, title, build in pools:
        yield Case(f"pool-{name}-forward", "pool", build, shape, f"{title}, {at}, forward")
        yield Case(f"pool-{name}-both", "pool", build, shape, f"{title}, {at}, forward + backward", backward=True)


@dataclass(frozen=True)
class _Conv:
    """A convolution with ReLU: batch, channels in and out, size of the image, kernel, stride, depthwise or not."""

    n: int
    c: int
    k: int
    h: int
    kernel: int
    stride: int = 1
    depthwise: bool = False

    def __call__(self) -> nn.Module:
        groups = self.c if self.depthwise else 1
        return nn.Sequential(
            nn.Conv2d(self.c, self.k, self.kernel, self.stride, self.kernel // 2, groups=groups), nn.ReLU()
        )

    def case(self) -> Case:
        kind = "dw" if self.depthwise else "conv"
        strided = f"s{self.stride}"
        name = f"layer-{kind}{self.kernel}x{self.kernel}-{strided}-{self.n}-{self.c}-{self.k}-{self.h}"
        step = f"/{self.stride}" if self.stride > 1 else ""
        word = "depthwise" if self.depthwise else "conv"
        title = f"{word} {self.kernel}×{self.kernel}{step}, {self.n}×{self.c}→{self.k}×{self.h}×{self.h}"
        return Case(name, "layer", self, (self.n, self.c, self.h, self.h), title)


def _layers() -> Iterator[Case]:
    for n in (1, 8):
        for c, h in ((64, 56), (128, 28), (256, 14), (512, 7)):
            yield _Conv(n, c, c, h, 3).case()
    for c, k, h in ((3, 32, 224), (64, 128, 56), (128, 256, 28), (256, 512, 14)):
        yield _Conv(1, c, k, h, 3, 2).case()
    for c, k, h in ((64, 256, 56), (256, 64, 56), (128, 512, 28), (1024, 256, 14), (512, 2048, 7)):
        yield _Conv(1, c, k, h, 1).case()
    for c, k, h in ((32, 64, 112), (128, 128, 56), (256, 256, 28), (512, 512, 14), (1024, 1024, 7)):
        yield _Conv(1, c, k, h, 1).case()
    yield _Conv(1, 256, 512, 56, 1, 2).case()
    for c, h, stride in (
        (32, 112, 1),
        (64, 112, 2),
        (128, 56, 1),
        (256, 28, 1),
        (512, 14, 1),
        (512, 14, 2),
        (1024, 7, 1),
    ):
        yield _Conv(1, c, c, h, 3, stride, depthwise=True).case()


CASES: tuple[Case, ...] = (*_nets(), *_blocks(), *_pools(), *_layers())


BATCHES = (1, 2, 4, 8, 16, 32, 64)
SIZES = (32, 64, 128, 256, 512)
DEPTHS = (10, 30, 100, 300, 1000)
CHANNELS, SIDE = 16, 28
"""Of the layers whose number grows."""


def deep(depth: int) -> Callable[[], nn.Module]:
    """So many 3×3 convolutions with ReLU, one after another, each close to the identity.

    With random weights all signals grow alike within some hundred layers, and what is left of their difference is
    rounding error: at 300 layers PyTorch's float32 result is off by 0.65 of the largest value.
    """

    def build() -> nn.Module:
        layers: list[nn.Module] = []
        for _ in range(depth):
            conv = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
            nn.init.normal_(conv.weight, std=0.001)
            weight = conv.weight.numpy().copy()
            weight[range(CHANNELS), range(CHANNELS), 1, 1] += 1
            conv.weight.copy_(weight)
            nn.init.zeros_(conv.bias)
            layers += [conv, nn.ReLU()]
        return nn.Sequential(*layers)

    return build


def _growing(axis: str, value: int, build: Callable[[], nn.Module], *shape: int) -> Case:
    return Case(f"{axis}-{value}", "growth", build, shape, f"{axis} {value}")


GROWTH: dict[str, dict[int, Case]] = {
    "batch": {n: _growing("batch", n, models.resnet18, n, 3, 64, 64) for n in BATCHES},
    "image": {side: _growing("image", side, models.resnet18, 1, 3, side, side) for side in SIZES},
    "depth": {depth: _growing("depth", depth, deep(depth), 1, CHANNELS, SIDE, SIDE) for depth in DEPTHS},
}
"""The points of each curve, by what grows."""


def named(name: str) -> Case:
    """The case that is called so."""
    every = [*CASES, *(case for curve in GROWTH.values() for case in curve.values())]
    return next(case for case in every if case.name == name)


def select(only: list[str], cases: tuple[Case, ...] = CASES) -> list[Case]:
    """The cases that are wanted: of a group so called, or with one of the strings at the start of a part of the name.

    ``lenet-b1`` finds ``lenet-b1`` but not ``mobilenet-b1``; ``net`` finds all networks.
    """

    def wanted(case: Case) -> bool:
        return any(text == case.group or f"-{text}" in f"-{case.name}" for text in only)

    return [case for case in cases if not only or wanted(case)]
