"""Taps that see nothing but padding go, with the padding; nothing else does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lucid.graph.ops.conv import CONV, conv2d
from lucid.graph.types import spec
from lucid.passes.trim_kernels import trim_kernels

from .helpers import assert_same, ops, show, trace


def _kernel(graph: Any) -> tuple[Any, Any]:
    """The size of the convolution's kernel, and its padding."""
    name, node = next((name, node) for name, node in graph.nodes() if node.op is CONV)
    return graph.type(graph.inputs_of(name)[1]).shape[2:], node.attrs.padding


@pytest.mark.parametrize(
    ("image", "kernel", "options", "left", "padding"),
    [
        ((1, 1), 3, {"padding": 1}, (1, 1), (0, 0, 0, 0)),
        ((2, 2), 5, {"padding": 2}, (3, 3), (1, 1, 1, 1)),
        ((1, 7), 3, {"padding": 1}, (1, 3), (0, 1, 0, 1)),
        ((2, 2), 3, {"padding": 1, "stride": 2}, (2, 2), (0, 0, 1, 1)),
        ((3, 2), 3, {"padding": 4, "dilation": 4}, (1, 1), (0, 0, 0, 0)),
    ],
    ids=str,
)
def test_taps_that_see_only_padding_go(
    image: tuple[int, int], kernel: int, options: dict[str, int], left: Any, padding: Any
) -> None:
    before = trace(lambda x, w, b: conv2d(x, w, b, **options), (2, 3, *image), w=(4, 3, kernel, kernel), b=(4,))
    after = trim_kernels(before)
    assert _kernel(after) == (left, padding)
    assert show(after)[-1].startswith("conv2d = Conv2d(x0, ")
    assert_same(before, after, rtol=1e-6, atol=1e-6)  # fewer terms, in another order


@pytest.mark.parametrize("seed", range(40))
def test_any_convolution_computes_the_same(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size, kernel = map(int, rng.integers(1, 5, 2))
    stride, dilation = map(int, rng.integers(1, 4, 2))
    padding = max(int(rng.integers(0, 6)), (dilation * (kernel - 1) + 2 - size) // 2)
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    before = trace(lambda x, w: conv2d(x, w, **options), (2, 3, size, size + 1), w=(4, 3, kernel, kernel))
    assert_same(before, trim_kernels(before), rtol=1e-6, atol=1e-6)  # as above


def test_other_convolutions_stay() -> None:
    plain = trace(lambda x, w: conv2d(x, w, padding=1), (2, 3, 2, 2), w=(4, 3, 3, 3))
    symbolic = trace(lambda x, w: conv2d(x, w, padding=1), spec(2, 3, "H", 8), w=(4, 3, 3, 3))
    computed = trace(lambda x, w: conv2d(x, w * x.sum(), padding=1), (2, 3, 1, 1), w=(4, 3, 3, 3))
    for graph in (plain, symbolic, computed):
        assert trim_kernels(graph) is graph


def test_it_is_for_one_batch_size_as_for_another() -> None:
    graph = trim_kernels(trace(lambda x, w: conv2d(x, w, padding=1), spec("N", 3, 1, 1), w=(4, 3, 3, 3)))
    assert ops(graph)[-1] == "Conv2d" and _kernel(graph)[0] == (1, 1)
