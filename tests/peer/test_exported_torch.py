"""Models as PyTorch exports them, with axes of any size: each is traced once, and answers as it does in PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import lucid

from .exporting import exported

Inputs = tuple[Tensor, ...]


class Pyramid(nn.Module):
    """What is halved twice and doubled once, by a number or to a size, beside what is halved once."""

    def __init__(self, to_size: bool) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 8, 3, 2, 1), nn.Conv2d(12, 4, 3, 1, 1)
        self.to_size = to_size

    def forward(self, x: Tensor) -> Tensor:
        a = F.silu(self.a(x))
        b = F.silu(self.b(a))
        up = F.interpolate(b, size=a.shape[-2:]) if self.to_size else F.interpolate(b, scale_factor=2, mode="bilinear")
        return self.c(torch.cat([a, up], 1)).sigmoid()  # type: ignore[no-any-return]


class Sequence(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.last = nn.LSTM(8, 6, 2, bidirectional=True, batch_first=True), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Inputs:
        y, (h, _) = self.layer(x)
        return self.last(y).log_softmax(-1), h


class Detector(nn.Module):
    """Boxes from two grids, whose places are added."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.out = nn.Conv2d(3, 8, 8, 8), nn.Conv2d(8, 8, 2, 2), nn.Conv2d(8, 6, 1)

    def forward(self, x: Tensor) -> Tensor:
        found = []
        a = self.a(x)
        for image, step in ((a, 8), (self.b(a), 16)):
            p = self.out(image)
            n, c, h, w = p.shape
            y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
            grid = torch.stack((x, y), -1).view(1, h * w, 2).float()
            p = p.view(n, c, -1).permute(0, 2, 1)
            found.append(torch.cat(((p[..., :2] + grid) * step, p[..., 2:4].exp() * step, p[..., 4:].sigmoid()), -1))
        return torch.cat(found, 1)


class Voice(nn.Module):
    """A frame of sound, and the state of a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.layer = nn.Conv1d(1, 8, 16, 8), nn.LSTM(8, 8)

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> Inputs:
        y = self.conv(F.pad(x[:, None], (8, 8), mode="reflect")).relu().permute(2, 0, 1)
        y, (h, c) = self.layer(y, (h, c))
        return y[-1].sigmoid(), h, c


class Windows(nn.Module):
    """An image in windows of 4 by 4, padded to a multiple of that, and cut again."""

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        high, wide = (4 - h % 4) % 4, (4 - w % 4) % 4
        x = F.pad(x, (0, wide, 0, high))
        rows, columns = (h + high) // 4, (w + wide) // 4
        x = x.view(b, c, rows, 4, columns, 4).permute(0, 2, 4, 1, 3, 5).reshape(-1, c, 16).softmax(-1)
        x = x.view(b, rows, columns, c, 4, 4).permute(0, 3, 1, 4, 2, 5).reshape(b, c, rows * 4, columns * 4)
        return x[:, :, :h, :w]


class Edges(nn.Module):
    """What a neighbour of each node adds to it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        return torch.zeros_like(x).index_add(0, edges[1], self.layer(x[edges[0]])) + x


class Gated(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, -1)
        n, t = a.shape[:2]
        return (a * b.sigmoid()).reshape(n * t, -1).view(n, t, -1).transpose(0, 1)


class Relative(nn.Module):
    """Scores with what the distance of two places adds."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(33, 2)

    def forward(self, x: Tensor) -> Tensor:
        place = torch.arange(x.shape[1])
        apart = (place[:, None] - place[None]).clamp(-16, 16) + 16
        return x @ x.transpose(1, 2) + self.table(apart)[..., 0]


class Cached(nn.Module):
    """A layer of a decoder: new words see the old ones, of which keys and values are given, and no later ones."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.last = nn.Linear(8, 24), nn.Linear(8, 5)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor) -> Inputs:
        n, t = x.shape[:2]
        q, k, v = self.layer(x).view(n, t, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        k, v = torch.cat([keys, k], 2), torch.cat([values, v], 2)
        later = torch.arange(k.shape[2])[None] - torch.arange(t)[:, None]
        old = k.shape[2] - t
        scores = (q @ k.transpose(2, 3) + later.clamp(max=old)).masked_fill(later > old, float("-inf"))
        return self.last((scores.softmax(-1) @ v).transpose(1, 2).reshape(n, t, 8)), k, v


def numbers(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


IMAGE = {0: "n", 2: "h", 3: "w"}
EDGES = torch.tensor([[0, 1, 2, 2], [1, 2, 0, 3]])  # to each node one, as the exporter has it
CASES: dict[str, tuple[nn.Module, list[Inputs], list[dict[int, str]]]] = {
    "pyramid": (Pyramid(False), [(numbers(1, 3, 16, 16),), (numbers(2, 3, 32, 24),)], [IMAGE]),
    "pyramid to a size": (Pyramid(True), [(numbers(1, 3, 16, 16),), (numbers(2, 3, 30, 23),)], [IMAGE]),
    "sequence": (Sequence(), [(numbers(1, 5, 8),), (numbers(3, 7, 8),)], [{0: "n", 1: "t"}]),
    "detector": (Detector(), [(numbers(1, 3, 32, 48),), (numbers(2, 3, 64, 32),)], [IMAGE]),
    "voice": (
        Voice(), [(numbers(1, 64), numbers(1, 1, 8), numbers(1, 1, 8)), (numbers(2, 96), *[numbers(1, 2, 8)] * 2)],
        [{0: "n", 1: "t"}, {1: "n"}, {1: "n"}],
    ),
    "windows": (Windows(), [(numbers(1, 2, 8, 12),), (numbers(2, 2, 7, 5),)], [IMAGE]),
    "edges": (Edges(), [(numbers(5, 4), EDGES), (numbers(3, 4), EDGES[:, :3])], [{0: "v"}, {1: "e"}]),
    "cached": (
        Cached(), [(numbers(1, 3, 8), *[numbers(1, 2, 4, 4)] * 2), (numbers(2, 1, 8), *[numbers(2, 2, 6, 4)] * 2)],
        [{0: "n", 1: "t"}, {0: "n", 2: "p"}, {0: "n", 2: "p"}],
    ),
    "gated": (Gated(), [(numbers(1, 3, 8),), (numbers(2, 5, 4),)], [{0: "n", 1: "t", 2: "c"}]),
    "relative": (Relative(), [(numbers(1, 3, 8),), (numbers(2, 5, 8),)], [{0: "n", 1: "t"}]),
}  # fmt: skip


@pytest.mark.parametrize("opset", [13, 17])
@pytest.mark.parametrize("name", CASES)
def test_an_exported_model_is_traced_once(name: str, opset: int) -> None:
    model, given, axes = CASES[name]
    net = lucid.onnx.load(exported(model, given[0], axes, opset))
    compiled = lucid.compile(net, *net.specs)
    for inputs in given:
        with lucid.no_grad(), torch.no_grad():
            found, wanted = compiled(*(one.numpy() for one in inputs)), model(*inputs)
        for y, want in zip(*(one if isinstance(one, tuple) else (one,) for one in (found, wanted)), strict=True):
            np.testing.assert_allclose(y.numpy(), want.numpy(), rtol=1e-3, atol=1e-4)
    assert "1 traces" in repr(compiled)
