"""Kinds of nets that PyTorch's users export: traced once, at two sizes, with gradients, and out of a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import lucid

from .exporting import Axes, exported

Inputs = tuple[Tensor, ...]


class Squeezing(nn.Module):
    """A block of a mobile net: wide and thin, with a gate over channels."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Sequential(nn.Conv2d(4, 12, 1, bias=False), nn.BatchNorm2d(12, eps=1e-3), nn.SiLU())
        self.deep = nn.Sequential(nn.Conv2d(12, 12, 3, 1, 1, groups=12, bias=False), nn.BatchNorm2d(12), nn.Hardswish())
        self.less, self.more, self.thin = nn.Conv2d(12, 3, 1), nn.Conv2d(3, 12, 1), nn.Conv2d(12, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.deep(self.wide(x))
        gate = F.hardsigmoid(self.more(F.relu(self.less(F.adaptive_avg_pool2d(y, 1)))))
        return x + self.thin(y * gate)  # type: ignore[no-any-return]


class Shifted(nn.Module):
    """Attention in windows that are shifted, of an image that is padded to whole ones."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out, self.bias = nn.Linear(8, 24), nn.Linear(8, 8), nn.Parameter(torch.randn(2, 16, 16))

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        high, wide = h + (4 - h % 4) % 4, w + (4 - w % 4) % 4
        x = torch.roll(F.pad(x.permute(0, 2, 3, 1), (0, 0, 0, wide - w, 0, high - h)), (-2, -2), (1, 2))
        t = x.view(n, high // 4, 4, wide // 4, 4, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, c)
        q, k, v = self.qkv(t).reshape(-1, 16, 3, 2, 4).permute(2, 0, 3, 1, 4)
        y = self.out((((q @ k.transpose(-1, -2)) * 0.5 + self.bias).softmax(-1) @ v).transpose(1, 2).reshape(-1, 16, c))
        y = y.view(n, high // 4, wide // 4, 4, 4, c).permute(0, 1, 3, 2, 4, 5).reshape(n, high, wide, c)
        return torch.roll(y, (2, 2), (1, 2))[:, :h, :w].permute(0, 3, 1, 2)


class Vocoder(nn.Module):
    """Sound from spectra: transposed convolutions, whose weights have a norm of their own."""

    def __init__(self) -> None:
        super().__init__()
        norm = nn.utils.parametrizations.weight_norm
        self.first, self.up = norm(nn.Conv1d(8, 8, 7, padding=3)), norm(nn.ConvTranspose1d(8, 4, 8, 4, 2))
        self.wide, self.last = norm(nn.Conv1d(4, 4, 3, padding=3, dilation=3)), nn.Conv1d(4, 1, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.up(F.leaky_relu(self.first(x), 0.1))
        return torch.tanh(self.last(F.leaky_relu(y + self.wide(F.leaky_relu(y, 0.1)), 0.1)))


class Decoder(nn.Module):
    """A layer of a language model: numbers of positions, a mask of all words, and what is kept of the old ones."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places, self.norm = nn.Embedding(20, 8), nn.Embedding(30, 8), nn.LayerNorm(8)
        self.qkv, self.out = nn.Linear(8, 24), nn.Linear(8, 20)

    def forward(self, ids: Tensor, places: Tensor, mask: Tensor, keys: Tensor, values: Tensor) -> Inputs:
        x = self.norm(self.words(ids) + self.places(places))
        n, t = ids.shape
        q, k, v = self.qkv(x).view(n, t, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        k, v = torch.cat([keys, k], 2), torch.cat([values, v], 2)
        whole, least = k.shape[2], torch.finfo(torch.float32).min
        earlier = torch.ones(whole, whole, dtype=torch.bool).tril()[whole - t : whole]
        scores = torch.where(earlier, q @ k.transpose(-1, -2) / 2, least) + (1 - mask[:, None, None].float()) * least
        return self.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(n, t, 8)), k, v


class Best(nn.Module):
    """The best boxes of a pyramid, each with its anchor."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1)
        self.norm, self.head = nn.GroupNorm(2, 8), nn.Conv2d(8, 5, 3, padding=1)

    def forward(self, x: Tensor) -> Inputs:
        a = F.relu(self.a(x))
        b = F.relu(self.b(a))
        found = []
        for step, image in ((2, a + F.interpolate(b, size=a.shape[-2:])), (4, b)):
            p = self.head(self.norm(image))
            y, x = torch.meshgrid(*((torch.arange(size) + 0.5) * step for size in p.shape[-2:]), indexing="ij")
            p, middle = p.flatten(2).transpose(1, 2), torch.stack([x, y], -1).view(-1, 2)
            half = p[..., 2:4].clamp(max=4).exp() * step / 2
            at = middle + p[..., :2] * step
            found.append(torch.cat([at - half, at + half, p[..., 4:].sigmoid()], -1))
        boxes = torch.cat(found, 1)
        scores, which = boxes[..., 4].topk(7, 1)
        return boxes[..., :4].gather(1, which[..., None].expand(-1, -1, 4)), scores


class Scanned(nn.Module):
    """A selective state space, over all times at once: sums of logarithms instead of a recurrence."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.conv, self.chosen = nn.Linear(4, 16), nn.Conv1d(8, 8, 4, padding=3, groups=8), nn.Linear(8, 9)
        self.rate, self.past, self.last = nn.Linear(1, 8), nn.Parameter(torch.rand(8, 4)), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        u, gate = self.first(x).chunk(2, -1)
        u = F.silu(self.conv(u.transpose(-1, -2))[..., : x.shape[1]]).transpose(-1, -2)
        rate, into, out = self.chosen(u).split([1, 4, 4], -1)
        rate = F.softplus(self.rate(rate))
        fall = torch.cumsum(-rate[..., None] * self.past.exp(), 1)
        state = fall.exp() * torch.cumsum(rate[..., None] * into[:, :, None] * u[..., None] * torch.exp(-fall), 1)
        return self.last(((state * out[:, :, None]).sum(-1) + u) * F.silu(gate))  # type: ignore[no-any-return]


class Queries(nn.Module):
    """Positions of rows and columns out of tables, and queries that look at the image."""

    def __init__(self) -> None:
        super().__init__()
        self.pixels, self.heads = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 4)
        self.rows, self.columns, self.queries = (nn.Parameter(torch.randn(n, m)) for n, m in ((30, 4), (30, 4), (5, 8)))

    def forward(self, x: Tensor) -> Tensor:
        image = self.pixels(x)
        h, w = image.shape[-2:]
        rows, columns = self.rows[:h, None].expand(h, w, 4), self.columns[None, :w].expand(h, w, 4)
        keys = image.flatten(2).transpose(-1, -2) + torch.cat([columns, rows], -1).flatten(0, 1)
        return self.heads(F.scaled_dot_product_attention(self.queries.expand(x.shape[0], 5, 8), keys, keys)).sigmoid()  # type: ignore[no-any-return]


def image(channels: int, *sizes: tuple[int, int, int]) -> list[Inputs]:
    return [(torch.randn(n, channels, h, w),) for n, h, w in sizes]


def words(n: int, t: int, past: int) -> Inputs:
    kept = torch.randn(2, n, 2, past, 4).unbind(0)
    mask = torch.ones(n, past + t, dtype=torch.int64)
    mask[0, 0] = 0
    return torch.randint(0, 20, (n, t)), torch.arange(past, past + t).expand(n, t), mask, *kept


IMAGE, TIMES, WORDS = {0: "n", 2: "h", 3: "w"}, {0: "n", 1: "t"}, {0: "n", 2: "past"}
KINDS: dict[type[nn.Module], tuple[Callable[[], list[Inputs]], Axes]] = {
    Squeezing: (lambda: image(4, (2, 6, 5), (1, 9, 7)), [IMAGE]),
    Shifted: (lambda: image(8, (1, 8, 12), (2, 7, 5)), [IMAGE]),
    Vocoder: (lambda: [(torch.randn(2, 8, 9),), (torch.randn(1, 8, 13),)], [{0: "n", 2: "t"}]),
    Decoder: (lambda: [words(2, 3, 4), words(1, 1, 6)], [TIMES, TIMES, {0: "n", 1: "total"}, WORDS, WORDS]),
    Best: (lambda: image(3, (2, 16, 12), (1, 20, 24)), [IMAGE]),
    Scanned: (lambda: [(torch.randn(2, 6, 4),), (torch.randn(1, 9, 4),)], [TIMES]),
    Queries: (lambda: image(3, (2, 16, 24), (1, 32, 20)), [IMAGE]),
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_kind_of_net(kind: type[nn.Module], tmp_path: Path) -> None:
    torch.manual_seed(0)
    make, axes = KINDS[kind]
    theirs, given = kind(), make()
    for value in theirs.parameters():
        value.data += 0.03 * torch.rand_like(value)  # no two are the same, which the exporter would make one
    ours = lucid.onnx.load(exported(theirs, given[0], axes, do_constant_folding=False))
    net = lucid.compile(ours, *ours.specs)
    for inputs in given:
        found, wanted = first(net, inputs), theirs(*inputs)
        wanted = wanted if isinstance(wanted, tuple) else (wanted,)
        for y, want in zip(found, wanted, strict=True):
            np.testing.assert_allclose(y.numpy(), want.detach().numpy(), rtol=1e-4, atol=1e-5)
    assert "1 traces" in repr(net)
    weight = torch.randn_like(wanted[0])
    (wanted[0] * weight).sum().backward()
    (found[0] * lucid.tensor(weight.numpy())).sum().backward()
    slopes = {name: value.grad for name, value in theirs.named_parameters() if value.grad is not None}
    same = {name: value.grad for name, value in ours.named_parameters() if name in slopes}
    assert len(same) >= len(slopes) // 2  # the exporter takes some norms and products apart
    for name, slope in same.items():
        assert slope is not None
        want = slopes[name].numpy()
        np.testing.assert_allclose(slope.numpy(), want, rtol=1e-3, atol=1e-5 * max(1, np.abs(want).max()))
    net.save(tmp_path / "net.lucid")
    for y, again in zip(found, first(lucid.load(tmp_path / "net.lucid"), inputs), strict=True):
        np.testing.assert_array_equal(y.numpy(), again.numpy())


def first(net: Any, inputs: Inputs) -> tuple[Any, ...]:
    found = net(*(one.numpy() for one in inputs))
    return found if isinstance(found, tuple) else (found,)
