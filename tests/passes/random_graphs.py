"""Small random graphs of many ops: shared values, dead ends, constants, images, several results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lucid.graph.ir import Graph
from lucid.graph.ops import elementwise as ew
from lucid.graph.ops.conv import conv2d
from lucid.graph.ops.norm import batch_norm
from lucid.graph.ops.pool import max_pool2d
from lucid.graph.ops.shape import concat, stop_gradient
from lucid.graph.ops.source import constant, full

from .helpers import trace

UNARY: list[Callable[[Any], Any]] = [
    lambda x: -x, lambda x: x.abs(), lambda x: x.tanh(), lambda x: x.sigmoid(), lambda x: x.relu(), lambda x: x.sin(),
    lambda x: x.clip(-1, 1), lambda x: x.floor(), ew.gelu, ew.leaky_relu, lambda x: x * 1,
    lambda x: x - 0, lambda x: x + 0, lambda x: x**2,
    lambda x: x.double().float(), stop_gradient, lambda x: x.reshape(-1).reshape(x.shape),
    lambda x: ew.where(x > 0, x, -x),
    lambda x: x * constant(x, np.float32(0.5)), lambda x: x + full(x, 2.0, (1,)).exp(),
]  # fmt: skip
BINARY: list[Callable[[Any, Any], Any]] = [
    lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a * b, lambda a, b: a.maximum(b), lambda a, b: a.minimum(b),
    lambda a, b: a + -b, lambda a, b: ew.where(a > b, a, b),
]  # fmt: skip
REDUCE: list[Callable[[Any], Any]] = [
    lambda x: x.sum(-1, keepdim=True), lambda x: x.mean(0, keepdim=True), lambda x: x.amax(0).expand(*x.shape),
    lambda x: x.transpose(-1, -2).transpose(-1, -2), lambda x: concat([x, x], 0).narrow(0, 0, x.shape[0]),
]  # fmt: skip


def random_graph(seed: int) -> Graph:
    """A graph of a dozen ops or two; the same for the same seed."""
    rng = np.random.default_rng(seed)
    channels = int(rng.integers(1, 4))
    image = (int(rng.integers(1, 3)), channels, int(rng.integers(5, 8)), int(rng.integers(5, 8)))
    named = {
        "w": (channels, channels, 3, 3), "b": (channels,), "mean": (channels,), "var": (channels,),
        "gamma": (channels,), "beta": (channels,),
    }  # fmt: skip
    return trace(lambda x, **p: _model(rng, x, p), image, **named)


def _model(rng: np.random.Generator, x: Any, p: dict[str, Any]) -> list[Any]:
    values = [x, p["b"].reshape(-1, 1, 1) + 0.5, full(x, 1.5)]

    def pick() -> Any:
        """A late value more often than an early one."""
        return values[max(int(rng.integers(len(values))), int(rng.integers(len(values))))]

    for _ in range(int(rng.integers(4, 20))):
        kind, value = rng.random(), pick()
        if kind < 0.4:
            values.append(UNARY[int(rng.integers(len(UNARY)))](value))
        elif kind < 0.65:
            values.append(_combined(rng, value, pick()))
        elif kind < 0.75:
            values.append(REDUCE[int(rng.integers(len(REDUCE)))](value))
        elif value.ndim == 4 and min(value.shape[2:]) >= 3 and value.shape[1] == p["b"].shape[0]:
            values.append(_layer(rng, value, p))
    return [pick() for _ in range(int(rng.integers(1, 4)))]


def _combined(rng: np.random.Generator, a: Any, b: Any) -> Any:
    fits = all(m == n or 1 in (m, n) for m, n in zip(a.shape[::-1], b.shape[::-1], strict=False))
    return BINARY[int(rng.integers(len(BINARY)))](a, b if fits else b.amax().clip(-2, 2))


def _layer(rng: np.random.Generator, x: Any, p: dict[str, Any]) -> Any:
    """Convolution, normalisation, activation and pooling, each perhaps."""
    if rng.random() < 0.7:
        x = conv2d(x, p["w"] * 0.3, p["b"] if rng.random() < 0.5 else None, padding=1)
    if rng.random() < 0.5:
        x = batch_norm(x, p["mean"], p["var"], p["gamma"], p["beta"])
    if rng.random() < 0.3:
        x = x + p["b"].reshape(-1, 1, 1)
    if rng.random() < 0.6:
        x = (x.relu, x.tanh, lambda: ew.gelu(x))[int(rng.integers(3))]()
    if rng.random() < 0.6:
        padding = int(rng.integers(2))
        x = max_pool2d(x, 3, int(rng.integers(1, 3)), padding, pad_value=0.0 if rng.random() < 0.5 else -np.inf)
    if rng.random() < 0.2:
        x = x.relu()
    return x
