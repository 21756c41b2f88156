"""The block-Toeplitz lowering against the reference: every tile, strips of any size, borders that cut both."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.errors import OptionError, ShapeError
from lucid.graph.ir import Node
from lucid.graph.opdef import NoAttrs
from lucid.graph.ops.bounds import ClipAttrs
from lucid.graph.ops.conv import CONV, ConvAttrs
from lucid.graph.ops.conv_pool import CONV_POOL, ConvPoolAttrs
from lucid.graph.ops.pool import MaxPoolAttrs
from lucid.graph.windows import Window
from lucid.nn import functional as F
from lucid.runtime import eager
from lucid.runtime.kernels.conv import toeplitz, toeplitz_planes_views
from lucid.runtime.kernels.conv.toeplitz_views import Side
from lucid.runtime.planning.machine import Machine, described
from lucid.runtime.planning.registry import Lowering, Way, choose, lowerings
from lucid.runtime.planning.work import NOTHING

from ..machines import USUAL
from ..op_checks import types_of
from .test_conv import _channels_last, check, force

TOEPLITZ, PLANES = (
    next(low for low in lowerings(CONV_POOL) if low.name == name) for name in ("toeplitz", "toeplitz_planes")
)
ACTIVATIONS = [(None, NoAttrs()), ("Relu", NoAttrs()), ("Clip", ClipAttrs(-0.5, 0.5)), ("Tanh", NoAttrs())]


@pytest.fixture(autouse=True)
def fresh_cache() -> Any:
    yield
    eager.op_call.cache_clear()


def drawn(seed: int, lowering: Lowering = TOEPLITZ) -> tuple[ConvPoolAttrs, list[Any], tuple[Any, ...]]:
    """A random node that the lowering accepts, and its arrays."""
    rng = np.random.default_rng(seed)
    while True:
        kernel = tuple(map(int, rng.integers(1, 6, 2)))
        stride, dilation = (tuple(map(int, rng.integers(1, high, 2))) for high in (4, 3))
        pads = tuple(map(int, rng.integers(0, 4, 4)))
        shape = (int(rng.integers(0, 18)), int(rng.integers(1, 5)), *map(int, rng.integers(3, 19, 2)))
        window = tuple(map(int, rng.integers(1, 4, 2)))
        conv = ConvAttrs(stride, pads, dilation)  # type: ignore[arg-type]
        pool = MaxPoolAttrs(window, window) if rng.random() < 0.7 else None  # type: ignore[arg-type]
        attrs = ConvPoolAttrs(conv, *ACTIVATIONS[seed % len(ACTIVATIONS)], pool)
        dtype = ("float32", "float64")[seed // 2 % 2]
        sizes = [shape, (int(rng.integers(1, 6)), shape[1], *kernel)]
        arrays = [rng.standard_normal(s).astype(dtype) for s in (*sizes, sizes[1][:1])[: 2 + seed % 2]]
        types = tuple(types_of(arrays))
        try:
            node = Node(CONV_POOL, attrs, CONV_POOL.infer_types(attrs, types))
        except (ShapeError, OptionError):
            continue
        if lowering.accepts(node, types):
            return attrs, arrays, types


@pytest.mark.parametrize("lowering", [TOEPLITZ, PLANES], ids=lambda low: low.name)
@pytest.mark.parametrize("seed", range(48))
def test_sweep(seed: int, lowering: Lowering, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles, strips and workers are drawn as well; parameters, and weights given at the call."""
    attrs, arrays, _ = drawn(seed, lowering)
    rng = np.random.default_rng(seed)

    def ways(node: Node, inputs: Any, threads: int) -> list[Way]:
        tilings = toeplitz.toeplitz_tilings(node, inputs)
        most = int(rng.choice([1, 3, 7, 20, 100, 1000]))
        return [Way(NOTHING, toeplitz.ToeplitzCut(tilings[int(rng.integers(len(tilings)))], most, threads))]

    force(monkeypatch, CONV_POOL, replace(lowering, ways=ways))
    unpacked = (0, 300, 5000, 1_000_000)[seed // 4 % 4]  # products whole, or in blocks of any size
    with described(replace(USUAL, unpacked=unpacked)):
        packed = tuple(range(1, len(arrays))) if seed % 3 else ()
        check(CONV_POOL, attrs, arrays, parameters=packed, threads=1 + seed % 2)


@pytest.mark.parametrize("lowering", [TOEPLITZ, PLANES], ids=lambda low: low.name)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("images", [0, 1, 5])
def test_alone(images: int, stride: int, lowering: Lowering, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(images)
    arrays = [rng.standard_normal(s) for s in ((images, 3, 11, 9), (4, 3, 3, 5), (4,))]
    force(monkeypatch, CONV, lowering)
    check(CONV, ConvAttrs((stride, stride), (1, 2, 1, 2)), arrays, parameters=(1, 2))


@pytest.mark.parametrize("lowering", [TOEPLITZ, PLANES], ids=lambda low: low.name)
@pytest.mark.parametrize("window", [(1, 1), (2, 2), (3, 3), (3, 2), (5, 1)])
def test_any_window_is_halved_to_its_maximum(
    window: tuple[int, int], lowering: Lowering, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    arrays = [rng.standard_normal(s) for s in ((2, 2, 17, 19), (3, 2, 3, 3))]
    force(monkeypatch, CONV_POOL, lowering)
    check(CONV_POOL, ConvPoolAttrs(ConvAttrs(), None, NoAttrs(), MaxPoolAttrs(window, window)), arrays)


@pytest.mark.parametrize("lowering", [TOEPLITZ, PLANES], ids=lambda low: low.name)
@pytest.mark.parametrize("more", [{"ceil_mode": True}, {"padding": (0, 0, 1, 1)}], ids=str)
def test_what_no_window_comes_to_see_does_no_harm(
    more: dict[str, Any], lowering: Lowering, monkeypatch: pytest.MonkeyPatch
) -> None:
    attrs = ConvPoolAttrs(ConvAttrs(), "Relu", NoAttrs(), MaxPoolAttrs((3, 2), (3, 2), **more))
    rng = np.random.default_rng(4)
    for rows, accepted in ((17, True), (16, False)):  # 15 and 14 rows of results, for five windows of three
        arrays = [rng.standard_normal(s) for s in ((2, 2, rows, 20), (3, 2, 3, 3))]
        types = tuple(types_of(arrays))
        node = Node(CONV_POOL, attrs, CONV_POOL.infer_types(attrs, types))
        assert lowering.accepts(node, types) == accepted
        if accepted:
            force(monkeypatch, CONV_POOL, lowering)
            check(CONV_POOL, attrs, arrays)


def _node(images: int, channels: int, size: int, outputs: int, kernel: int) -> tuple[Node, Any]:
    attrs = ConvPoolAttrs(ConvAttrs(), "Relu", NoAttrs(), MaxPoolAttrs((2, 2), (2, 2)))
    shapes = ((images, channels, size, size), (outputs, channels, kernel, kernel), (outputs,))
    types = tuple(types_of(np.empty(s, np.float32) for s in shapes))
    return Node(CONV_POOL, attrs, CONV_POOL.infer_types(attrs, types)), types


def test_it_is_for_few_channels(each_machine: Machine) -> None:
    """The tile's zeros cost more the more channels there are."""

    def cheapest(*sizes: int) -> str:
        node, types = _channels_last(*_node(*sizes))
        return choose(node, types, threads=each_machine.cores).lowering.name

    # of six channels im2col is as good: LeNet at batch 64 takes 762 µs with it in its second stage, 753 with planes
    few = {cheapest(1, 1, 32, 6, 5), cheapest(64, 1, 28, 6, 5)}
    assert few <= ({"toeplitz_planes"} if each_machine == USUAL else {"toeplitz", "toeplitz_planes"})
    assert not cheapest(8, 128, 30, 128, 3).startswith("toeplitz")


@pytest.mark.parametrize("before", [0, 1, 2, 5])
@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pool"), [(28, 5, 1, 2), (9, 3, 2, 2), (7, 2, 3, 2), (12, 4, 1, 3)]
)
def test_parts_are_the_pixels_at_a_tiles_step(size: int, kernel: int, stride: int, pool: int, before: int) -> None:
    """Pixel ``u`` of patch ``r`` is at place ``r + u // step`` of part ``u % step``; what is padding is not counted."""
    window = Window(kernel, stride, before, before, 1)
    patches = Side(window, size, pool, window.fit(size) // pool, 1).patches
    for first, last in ((0, patches.count), (1, patches.count), (patches.count - 1, patches.count)):
        found = toeplitz_planes_views.parts_of(patches, first, last)
        for r in range(first, last):
            for u in range(patches.kernel):
                pixel = r * patches.stride - before + u
                part = found[u % patches.stride]
                place = r - first + u // patches.stride
                assert place < toeplitz_planes_views.length(patches, last - first)
                assert (part.low <= place < part.high) == (0 <= pixel < size)
                assert not 0 <= pixel < size or part.first + (place - part.low) * patches.stride == pixel


def test_small_work_stays_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = replace(USUAL, cores=4, fork=4e-5)
    node, types = _node(1, 1, 20, 6, 5)  # of 32 by 32 pixels two workers would save as much as the fork takes
    with described(machine), monkeypatch.context() as few:
        few.setattr(toeplitz, "TILES", (64,))
        assert toeplitz.ways(node, types, 4)[0].block.workers == 1
    node, types = _node(512, 1, 32, 6, 5)
    with described(machine):
        assert min(toeplitz.ways(node, types, 4), key=lambda way: way.seconds).block.workers == 4


def _kinds(function: Any, *shape: int) -> tuple[list[str], list[bool]]:
    """Ops and memory orders (whether row-major) of the steps that are no views, after a check of the values."""
    x = lucid.randn(*shape)
    compiled = lucid.compile(function)
    with lucid.no_grad():
        for ours, eager_result in zip(compiled(x), function(x), strict=True):
            # 1e-5 of the largest value, which is of order 1, as for the lowerings above
            np.testing.assert_allclose(ours.numpy(), eager_result.numpy(), rtol=0, atol=1e-5)
    outs = [(step.node.op.name, step.outs[0]) for step in compiled.plan.steps if not step.fixed]
    made = [(name, y.type.order is None) for name, y in outs if y is not None and y.base is None]
    return [name for name, _ in made], [plain for _, plain in made]


@pytest.mark.usefixtures("usual_machine")
def test_what_only_a_reshape_reads_is_made_row_major() -> None:
    """Then the reshape is a view; a second reader wants it channels last, and so does a further convolution."""
    lucid.manual_seed(0)
    first, second = nn.Conv2d(6, 16, 5).requires_grad_(False), nn.Conv2d(16, 8, 3).requires_grad_(False)

    def block(x: Any) -> Any:
        return F.max_pool2d(F.relu(first(x)), 2, 2)

    assert _kinds(lambda x: (block(x).flatten(1),), 1, 6, 14, 14) == (["ConvPool2d"], [True])
    names, plain = _kinds(lambda x: (block(x).flatten(1), second(block(x))), 1, 6, 14, 14)
    assert names[0] == "ConvPool2d" and not plain[0] and "Reshape" in names
