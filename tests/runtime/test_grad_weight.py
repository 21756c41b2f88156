"""The gradient of a convolution's weight: ranges of channels, blocks and workers, and what is chosen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lucid.graph.ir import Node
from lucid.graph.ops.conv import CONV, CONV_GRAD_WEIGHT, ConvAttrs, ConvWeightAttrs
from lucid.graph.types import CHANNELS_LAST, TensorType, as_dtype
from lucid.runtime.kernels.conv import grad_weight, im2col
from lucid.runtime.planning.machine import Machine, described
from lucid.runtime.planning.registry import Choice, choices, lowerings

from .test_conv import check, force, fresh_cache  # noqa: F401 - a fixture

Array = np.ndarray[Any, Any]
LAYERS = [
    (ConvAttrs((1, 1), (1, 1, 1, 1)), (3, 12, 7, 9), (5, 12, 3, 3)),
    (ConvAttrs((2, 1), (0, 2, 1, 1), (1, 2), 2), (2, 8, 9, 8), (6, 4, 3, 2)),
    (ConvAttrs(), (3, 8, 5, 4), (6, 8, 1, 1)),
    (ConvAttrs(groups=2), (1, 16, 5, 4), (6, 8, 1, 1)),
]


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(im2col, "BLOCK_BYTES", 1 << 9)
    monkeypatch.setattr(im2col, "LEAST_ROWS", 8)
    monkeypatch.setattr(grad_weight, "LEAST_CHANNELS", 2)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(("conv", "x", "w"), LAYERS, ids=str)
def test_ranges_are_shared_by_any_number_of_workers(
    conv: ConvAttrs, x: tuple[int, ...], w: tuple[int, ...], threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In every way of the lowering, of which the eager call and the three programs take the next ones."""
    (lowering,) = (low for low in lowerings(CONV_GRAD_WEIGHT) if low.name == "im2col")
    rng = np.random.default_rng(threads)
    image, dtype = rng.standard_normal(x), ("float32", "float64")[threads % 2]
    (y,) = CONV.infer_types(conv, [TensorType(shape, as_dtype("float64")) for shape in (x, w)])
    arrays = [image.astype(dtype), rng.standard_normal(y.concrete).astype(dtype)]
    force(monkeypatch, CONV_GRAD_WEIGHT, lowering)
    check(CONV_GRAD_WEIGHT, ConvWeightAttrs(conv, w[2:]), arrays, threads=threads)  # type: ignore[arg-type]


def chosen(x: tuple[int, ...], w: tuple[int, ...], conv: ConvAttrs, threads: int) -> Choice:
    """What is chosen for float32 images with channels last."""
    image, weight = (TensorType(shape, as_dtype("float32"), CHANNELS_LAST) for shape in (x, w))
    (y,) = CONV.infer_types(conv, [image.with_order(None), weight.with_order(None)])
    types = image, y.with_order(CHANNELS_LAST)
    node = Node(CONV_GRAD_WEIGHT, ConvWeightAttrs(conv, w[2:]), (weight.with_order(None),))  # type: ignore[arg-type]
    return choices(node, types, threads=threads)[0]


@pytest.mark.parametrize("l2", [1 << 18, 1 << 20, 1 << 21])
def test_all_workers_have_a_part(l2: int) -> None:
    """Of every layer of a ResNet, whatever the caches."""
    with described(Machine(cores=8, l1=1 << 15, l2=l2, l3=1 << 25, fork=4e-6)):
        for size, channels in ((28, 64), (14, 128), (7, 256), (4, 512)):
            x, w, conv = (8, channels, size, size), (channels, channels, 3, 3), ConvAttrs(padding=(1, 1, 1, 1))
            alone, *shared = (chosen(x, w, conv, threads).way.seconds for threads in (1, 2, 4))
            assert alone / shared[0] > 1.7 and alone / shared[1] > 2.8, (channels, alone, shared)
