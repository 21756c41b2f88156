"""The gradient of a convolution's weight: ranges of channels, blocks and workers, and what is chosen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lucid.graph.ir import Node
from lucid.graph.opdef import apply
from lucid.graph.ops.conv import CONV, CONV_GRAD_WEIGHT, ConvAttrs, ConvWeightAttrs
from lucid.graph.types import CHANNELS_LAST, TensorType, as_dtype
from lucid.runtime import eager
from lucid.runtime.kernels.conv import grad_weight, grad_winograd, grad_winograd_ranged, im2col
from lucid.runtime.planning.machine import Machine, described
from lucid.runtime.planning.registry import Lowering, choices, lowerings
from lucid.runtime.program.plan import make_plan

from ..machines import USUAL
from ..op_checks import trace
from .test_conv import check, force, fresh_cache  # noqa: F401 - a fixture

LAYERS = [
    (ConvAttrs((1, 1), (1, 1, 1, 1)), (3, 12, 7, 9), (5, 12, 3, 3)),
    (ConvAttrs((2, 1), (0, 2, 1, 1), (1, 2), 2), (2, 8, 9, 8), (6, 4, 3, 2)),
    (ConvAttrs((1, 1), (2, 0, 1, 2)), (5, 8, 11, 6), (3, 8, 3, 3)),
    (ConvAttrs((2, 2), (1, 1, 1, 1)), (2, 8, 9, 6), (3, 8, 3, 3)),
    (ConvAttrs((1, 1), (1, 2, 1, 2)), (2, 8, 9, 6), (3, 8, 4, 4)),
    (ConvAttrs(), (3, 8, 5, 4), (6, 8, 1, 1)),
    (ConvAttrs(groups=2), (1, 16, 5, 4), (6, 8, 1, 1)),
    (ConvAttrs(padding=(2, 1, 2, 3)), (5, 1, 8, 11), (3, 1, 5, 3)),
    (ConvAttrs((2, 2), (1, 0, 1, 2)), (3, 3, 9, 21), (2, 3, 3, 2)),
    (ConvAttrs((1, 3), (0, 2, 1, 1), (2, 1), 3), (2, 6, 10, 26), (3, 2, 2, 2)),
    (ConvAttrs(), (0, 1, 9, 9), (2, 1, 3, 3)),
]


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(im2col, "BLOCK_BYTES", 1 << 9)
    monkeypatch.setattr(im2col, "LEAST_ROWS", 8)
    monkeypatch.setattr(grad_weight, "LEAST_CHANNELS", 2)
    monkeypatch.setattr(grad_winograd_ranged, "SHAPES", ((2, 5),))
    monkeypatch.setattr(grad_winograd_ranged, "LEAST", 1)
    monkeypatch.setattr(grad_winograd_ranged, "CANDIDATES", (2,))


def _node(conv: ConvAttrs, x: tuple[int, ...], w: tuple[int, ...]) -> tuple[Node, tuple[TensorType, ...]]:
    """The gradient of such weights for float32 images with channels last, and the types of its inputs."""
    image, weight = (TensorType(shape, as_dtype("float32")) for shape in (x, w))
    (y,) = CONV.infer_types(conv, [image, weight])
    node = Node(CONV_GRAD_WEIGHT, ConvWeightAttrs(conv, w[2:]), (weight,))  # type: ignore[arg-type]
    return node, (image.with_order(CHANNELS_LAST), y.with_order(CHANNELS_LAST))


WAYS = [
    (low, *layer) for low in lowerings(CONV_GRAD_WEIGHT) for layer in LAYERS if low.accepts(*_node(*layer))
]  # fmt: skip


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(("low", "conv", "x", "w"), WAYS, ids=lambda part: getattr(part, "name", str(part)))
def test_ranges_are_shared_by_any_number_of_workers(
    low: Lowering[Any], conv: ConvAttrs, x: tuple[int, ...], w: tuple[int, ...], threads: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """In every way of the lowering, of which the eager call and the three programs take the next ones."""
    rng, dtype = np.random.default_rng(threads), ("float32", "float64")[threads % 2]
    node, (_, dy) = _node(conv, x, w)
    arrays = [rng.standard_normal(shape).astype(dtype) for shape in (x, dy.concrete)]
    force(monkeypatch, CONV_GRAD_WEIGHT, low)
    check(CONV_GRAD_WEIGHT, node.attrs, arrays, threads=threads)


def test_products_are_as_small_as_blas_need_not_pack() -> None:
    """Of few weights, and if that leaves enough pixels."""
    layers = [
        (ConvAttrs(padding=(2, 2, 2, 2)), (64, 1, 28, 28), (6, 1, 5, 5)),
        (ConvAttrs(padding=(1, 1, 1, 1)), (32, 3, 32, 32), (64, 3, 3, 3)),
    ]
    pixels = []
    for unpacked in (0, 1_000_000):
        for layer in layers:
            node, (x, dy) = _node(*layer)
            with described(replace(USUAL, unpacked=unpacked)):
                found = choices(node, (x.with_order(None), dy))
            pixels.append(next(one.way.block.pixels for one in found if one.lowering.name == "im2col"))
    assert pixels == [10192, 4096, 6272, 4096]


@pytest.mark.parametrize("low", lowerings(CONV_GRAD_WEIGHT), ids=lambda low: low.name)
def test_errors_against_float64(low: Lowering[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of 4x4 round ten times as coarsely as sums of products do, others as these; and exact=True takes none."""
    layer = ConvAttrs(padding=(1, 1, 1, 1)), (4, 48, 20, 20), (32, 48, 3, 3)
    node, types = _node(*layer)
    exact = {one.lowering.name for one in choices(node, types, exact=True)}
    assert low.exact == (low.name in exact | {"depthwise_rows"})
    if low.accepts(node, types):
        rng = np.random.default_rng(0)
        x, dy = (rng.standard_normal(t.concrete) for t in types)
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))), (3, 3), (2, 3))
        expected = np.tensordot(dy, windows, ((0, 2, 3), (0, 2, 3)))
        force(monkeypatch, CONV_GRAD_WEIGHT, low)
        arrays = [x.astype(np.float32), dy.astype(np.float32)]
        graph = trace(lambda *xs: apply(CONV_GRAD_WEIGHT, node.attrs, *xs), [t.with_order(None) for t in types])
        (made,) = eager.evaluate(graph, arrays)
        assert np.abs(made - expected).max() < (1e-5 if "winograd4" in low.name else 1e-6) * np.abs(expected).max()


@pytest.mark.parametrize("l2", [1 << 18, 1 << 20, 1 << 21])
def test_all_workers_have_a_part(l2: int) -> None:
    """Of every layer of a ResNet, whatever the caches."""
    with described(Machine(cores=8, l1=1 << 15, l2=l2, l3=1 << 25, fork=4e-6)):
        for size, channels in ((28, 64), (14, 128), (7, 256), (4, 512)):
            x, w, conv = (8, channels, size, size), (channels, channels, 3, 3), ConvAttrs(padding=(1, 1, 1, 1))
            node, types = _node(conv, x, w)
            alone, *shared = (choices(node, types, threads=threads)[0].way.seconds for threads in (1, 2, 4))
            assert alone / shared[0] > 1.7 and alone / shared[1] > 2.8, (channels, alone, shared)


def _layer(images: int, channels: int, size: int) -> tuple[Node, tuple[TensorType, ...]]:
    """The gradient of as many 3x3 kernels as there are channels, for each of these."""
    return _node(ConvAttrs(padding=(1, 1, 1, 1)), (images, channels, size, size), (channels, channels, 3, 3))


def test_sums_of_few_tiles_are_made_range_by_range(each_machine: Machine) -> None:
    """Whatever the machine, they stay in its cache, which pays where that is large; of many tiles, all are added to."""
    for layer in ((8, 128, 14), (32, 256, 8), (8, 256, 7), (32, 512, 4), (8, 512, 4), (32, 512, 2)):
        found = choices(*_layer(*layer))
        assert each_machine.l2 < 1 << 20 or "ranged" in found[0].lowering.name, (layer, str(found[0]))
        for one in found:
            if "ranged" in one.lowering.name:
                square = 16 if one.lowering.name == "winograd2_ranged" else 36
                assert square * one.way.block.outputs * one.way.block.channels * 4 <= each_machine.l2 // 2, str(one)
    for layer in ((32, 64, 16), (8, 64, 28), (32, 128, 32)):
        assert not any("ranged" in one.lowering.name for one in choices(*_layer(*layer)))


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
def test_as_many_ranges_for_each_worker(threads: int) -> None:
    node, types = _layer(8, 256, 7)
    t, _ = grad_winograd.numbers_of(4, node, *(type_.concrete for type_ in types))
    parts = grad_winograd_ranged._parts(t, grad_winograd_ranged.RangesCut(28, 96, 96), threads)
    assert len(parts) % threads == 0
    made = np.zeros((256, 256), int)
    for part in parts:
        made[slice(*part.outputs), slice(*part.channels)] += 1
    assert (made == 1).all()


def test_sums_of_few_tiles_take_little_memory() -> None:
    """All at once, those of 512 by 512 kernels would be 17 or 38 MB."""
    node, types = _layer(32, 512, 4)
    graph = trace(lambda *xs: apply(CONV_GRAD_WEIGHT, node.attrs, *xs), list(types))
    with described(replace(USUAL, unpacked=1_000_000)):
        plan = make_plan(graph)
    step = plan.steps[-1]
    (sums,) = (y.type.nbytes for y in step.memory if y.name.endswith("sums"))
    assert str(step.choice) == "winograd4_ranged (32 x 64 weights)"
    assert sums == 36 * (32 * 64 + 16) * 4
    assert sum(y.type.nbytes for y in step.memory) < 19e6  # half of it what is read and the result
