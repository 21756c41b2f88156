"""Grouped 1x1 convolutions, with the shuffle of channels between them, beside PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import lucid
from lucid.nn import functional as F


def _unit(functions: Any, x: Any, first: Any, second: Any, groups: int) -> Any:
    """Two of them with a shuffle between, and what was there before added."""
    made = functions.relu(functions.conv2d(x, first, groups=groups))
    n, channels, rows, cols = made.shape
    parted = made.reshape(n, groups, channels // groups, rows, cols)
    shuffled = parted.permute(0, 2, 1, 3, 4).reshape(n, channels, rows, cols)
    return functions.relu(functions.conv2d(shuffled, second, groups=groups) + x)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("shape", "groups", "wide"), [((2, 40, 13, 11), 4, 20), ((1, 136, 28, 28), 4, 136)], ids=str)
def test_as_pytorch(shape: Any, groups: int, wide: int, threads: int, dtype: str) -> None:
    rng, channels = np.random.default_rng(wide), shape[1]
    x, first, second = (
        (rng.standard_normal(size) / np.sqrt(size[1] if size != shape else 1)).astype(dtype)
        for size in (shape, (wide, channels // groups, 1, 1), (channels, wide // groups, 1, 1))
    )
    weights = lucid.Tensor(first), lucid.Tensor(second)
    types = lucid.spec(*shape, dtype=dtype)
    net = lucid.compile(lambda image: _unit(F, image, *weights, groups), types, threads=threads)
    expected = _unit(torch.nn.functional, *map(torch.from_numpy, (x, first, second)), groups)
    np.testing.assert_allclose(net(x).numpy(), expected.numpy(), rtol=1e-4, atol=1e-5)
