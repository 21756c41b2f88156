"""Activations that are spelled out: what is seen, what is not, and the numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lucid.graph.ops.bounds import clip, flat_clip
from lucid.graph.types import spec
from lucid.passes.fuse.hardswish import fuse_hardswish

from .helpers import assert_same, ops, trace

SEEN: dict[str, Callable[[Any], Any]] = {
    "plain": lambda x: x * clip(x + 3.0, 0.0, 6.0) / 6.0,
    "divided-first": lambda x: x * (clip(3.0 + x, 0.0, 6.0) / 6.0),
    "by-hard-sigmoid": lambda x: flat_clip(x * (1 / 6) + 0.5, 0.0, 1.0) * x,
    "by-sixths": lambda x: x * clip(x / 6.0 + 0.5, 0.0, 1.0),
}
UNSEEN: dict[str, Callable[[Any], Any]] = {
    "silu": lambda x: x * x.sigmoid(),
    "of-another": lambda x: (x + 1.0) * clip(x + 3.0, 0.0, 6.0) / 6.0,
    "scaled": lambda x: 2.0 * x * clip(x + 3.0, 0.0, 6.0) / 6.0,
    "read-elsewhere": lambda x: (lambda s: (x * s / 6.0, s))(clip(x + 3.0, 0.0, 6.0)),
    "three-factors": lambda x: (x * x) * clip(x + 3.0, 0.0, 6.0) / 6.0,
    "divisor": lambda x: clip(x / 6.0 + 0.5, 0.0, 1.0) / x,
    "moved": lambda x: x * clip(x + 2.0, 0.0, 6.0) / 6.0,
    "cut": lambda x: x * clip(x + 3.0, 0.0, 5.0) / 6.0,
    "from-above": lambda x: x * clip(x + 3.0, 1.0, 6.0) / 6.0,
    "spread": lambda x: x[:1] * clip(x[:1] + 3.0, 0.0, 6.0).expand(3, 4) / 6.0,
    "zero": lambda x: (x / 0.0) * clip(x + 3.0, 0.0, 6.0),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", SEEN)
def test_seen(name: str, dtype: str) -> None:
    before = trace(SEEN[name], spec(3, 40, dtype=dtype))
    after = fuse_hardswish(before)
    assert ops(after) == ["HardSwish"]
    assert after.outputs[0].node == before.outputs[0].node
    assert_same(before, after, rtol=1e-5, atol=1e-6)
    assert fuse_hardswish(after) is after


@pytest.mark.parametrize("name", UNSEEN)
def test_unseen(name: str) -> None:
    graph = trace(UNSEEN[name], (3, 4))
    assert fuse_hardswish(graph) is graph


def test_one_after_another() -> None:
    def model(x: Any) -> Any:
        for _ in range(5):
            x = x * clip(x + 3.0, 0.0, 6.0) / 6.0
        return x

    after = fuse_hardswish(trace(model, (3, 4)))
    assert ops(after) == ["HardSwish"] * 5


def test_a_long_product_is_looked_at_once() -> None:
    def model(x: Any) -> Any:
        for _ in range(3000):
            x = x * 1.0001
        return x

    graph = trace(model, (3,))
    assert fuse_hardswish(graph) is graph
