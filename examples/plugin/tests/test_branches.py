"""The pass: what becomes one, what does not, and that it changes no result."""

from __future__ import annotations

import numpy as np
import pytest

import lucid
from lucid import Tensor, nn
from lucid_snake import merge_branches


class Block(nn.Module):
    """As RepVGG trains it: a convolution 3x3, one 1x1, and the input, each normalised, and added."""

    def __init__(self, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.large = nn.Sequential(
            nn.Conv2d(channels, channels, 3, stride, padding=1, bias=False), nn.BatchNorm2d(channels)
        )
        self.small = nn.Sequential(nn.Conv2d(channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))
        self.same = nn.BatchNorm2d(channels) if stride == 1 else None

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.large(x) + self.small(x)
        return (y if self.same is None else y + self.same(x)).relu()


def blocks() -> nn.Sequential:
    lucid.manual_seed(0)
    made = nn.Sequential(nn.Conv2d(3, 8, 3), Block(8), Block(8, stride=2)).eval()
    rng = np.random.default_rng(0)
    for one in made.modules():
        if isinstance(one, nn.BatchNorm2d):
            one.running_mean.copy_(rng.standard_normal(8, np.float32))
            one.running_var.copy_(rng.uniform(0.5, 2, 8).astype(np.float32))
    return made


def convolutions(net: lucid.CompiledModel) -> int:
    return sum(node.op.convolution for _, node in net.graph.nodes())


def test_branches_become_one_convolution() -> None:
    usual, spec = lucid.passes.default(), lucid.spec("N", 3, 9, 9)
    before = lucid.compile(blocks(), spec)
    after = lucid.compile(blocks(), spec, passes=usual.add("merge_branches"), verify=True)
    assert (convolutions(before), convolutions(after)) == (5, 3)
    for n in (2, 1):
        x = lucid.randn(n, 3, 9, 9)
        np.testing.assert_allclose(after(x).numpy(), before(x).numpy(), rtol=1e-3, atol=1e-4)
    assert "merge_branches: from" in after.explain()


def test_gradients_are_as_before() -> None:
    model, x = blocks(), lucid.randn(2, 3, 9, 9)
    found = []
    for passes in (lucid.passes.default(), lucid.passes.default().add("merge_branches")):
        model.zero_grad()
        lucid.compile(model, passes=passes)(x).sum().backward()
        found.append([p.grad.numpy() for p in model.parameters() if p.grad is not None])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)


A, B, C = (np.random.default_rng(i).standard_normal((4, 3, k, k)) for i, k in enumerate((3, 3, 1)))
F = nn.functional


@pytest.mark.parametrize(
    ("function", "left"),
    [
        (lambda x: F.conv2d(x, A) + F.conv2d(x, B), 1),
        (lambda x: F.conv2d(x, A, padding=1) + 1.0 + (F.conv2d(x, C) + F.conv2d(x, B, padding=1)), 1),
        (lambda x: (lambda y: F.conv2d(x, A) + F.conv2d(y, B) + F.conv2d(x, B) + F.conv2d(y, A))(x * 2), 2),
        (lambda x: F.conv2d(x, A, A[:, 0, 0, 0]) + F.conv2d(x, B, B[:, 0, 0, 0]) + F.conv2d(x, A), 1),
        (lambda x: F.conv2d(x, A) + F.conv2d(x * 2, B), 2),  # of other images
        (lambda x: F.conv2d(x, A, padding=1) + F.conv2d(x, B)[:, :, :1, :1], 2),  # other windows
        (lambda x: F.conv2d(x, A, padding=2, dilation=2) + F.conv2d(x, B, padding=1), 2),
        (lambda x: F.conv2d(x, A) * F.conv2d(x, B), 2),  # no sum
        (lambda x: (lambda y: y + F.conv2d(x, B) + y.exp())(F.conv2d(x, A)), 2),  # read by another too
    ],
)
def test_what_becomes_one_and_what_does_not(function: object, left: int) -> None:
    before = lucid.compile(function, lucid.spec("N", 3, 6, 7, dtype="float64")).traced  # type: ignore[call-overload]
    after = merge_branches(before)
    assert sum(node.op.convolution for _, node in after.nodes()) == left
    assert (after is before) == (left == sum(node.op.convolution for _, node in before.nodes()))
    lucid.proof.check_pass(merge_branches, before, {})
