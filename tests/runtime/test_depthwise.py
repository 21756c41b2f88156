"""Depthwise convolution, plain and fused, against the reference: a seeded sweep of every lowering that accepts it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lucid.errors import GraphError, ShapeError
from lucid.graph.ir import Node
from lucid.graph.opdef import Attrs, NoAttrs
from lucid.graph.ops.bounds import ClipAttrs
from lucid.graph.ops.conv import CONV, CONV_GRAD_INPUT, ConvAttrs, ConvInputAttrs
from lucid.graph.ops.conv_pool import CONV_POOL, ConvPoolAttrs
from lucid.graph.ops.elementwise import GeluAttrs
from lucid.graph.ops.pool import MaxPoolAttrs
from lucid.graph.types import CHANNELS_LAST, TensorType, as_dtype, spec
from lucid.runtime.kernels.conv import depthwise, depthwise_rows, depthwise_rows_views, grad_depthwise_phases_views
from lucid.runtime.planning.machine import Machine, described
from lucid.runtime.planning.registry import choices, choose, lowerings

from ..op_checks import types_of
from .test_conv import check, force

ROWS = next(low for low in lowerings(CONV_POOL) if low.name == "depthwise_rows")
PHASES = next(low for low in lowerings(CONV_GRAD_INPUT) if low.name == "depthwise_phases")
ACTIVATIONS: list[tuple[str | None, Attrs]] = [(None, NoAttrs()), ("Relu", NoAttrs()), ("Clip", ClipAttrs(-0.5, 0.5))]


def _sweep(seed: int) -> tuple[ConvAttrs, list[np.ndarray[Any, Any]]]:
    rng = np.random.default_rng(seed)
    while True:
        channels, multiplier = int(rng.integers(1, 7)), 1 + int(rng.random() < 0.3)
        kernel, stride, dilation = (tuple(map(int, rng.integers(1, high, 2))) for high in (6, 4, 3))
        pads = tuple(map(int, rng.integers(0, 5, 4)))
        shape = (int(rng.integers(0, 18)), channels, *map(int, rng.integers(1, 14, 2)))
        attrs = ConvAttrs(stride, pads, dilation, channels)  # type: ignore[arg-type]
        dtype = ("float32", "float64")[seed % 2]
        arrays = [rng.standard_normal(s).astype(dtype) for s in (shape, (channels * multiplier, 1, *kernel))]
        if rng.random() < 0.7:
            arrays.append(rng.standard_normal(channels * multiplier).astype(dtype))
        try:
            CONV.infer_types(attrs, types_of(arrays))
        except ShapeError:
            continue
        return attrs, arrays


def _machine(l2: int) -> Machine:
    """One with so small a cache that images are cut, and on which threads cost nothing."""
    return Machine(2, 1 << 10, l2, 1 << 20, fork=0.0, call=0.0)


@pytest.mark.parametrize("seed", range(40))
def test_rows_of_runs(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of one to many columns, planes of strided taps, blocks of one row to many images, one to three threads."""
    rng = np.random.default_rng(seed)
    for name, values in {"RUN": (1, 7, 30, 1000), "SHORT_RUN": (0, 96)}.items():
        monkeypatch.setattr(depthwise_rows_views, name, int(rng.choice(values)))
    machine = _machine(int(rng.choice([1, 1 << 11, 1 << 14, 1 << 20])))
    conv, arrays = _sweep(seed)
    activation, options = ACTIVATIONS[seed % 3]
    (y,) = CONV.infer_types(conv, types_of(arrays))
    added = rng.standard_normal(y.concrete).astype(arrays[0].dtype)
    parameters = (1, *([2] if len(arrays) > 2 else []))
    cases: list[tuple[Any, Attrs, list[Any]]] = [
        (CONV, conv, arrays),
        (CONV_POOL, ConvPoolAttrs(conv, activation, options), arrays),
        (CONV_POOL, ConvPoolAttrs(conv, activation, options, residual=True), [*arrays, added]),
    ]
    if conv.groups > 1 and len(arrays) > 2:
        fill = rng.standard_normal(conv.groups).astype(arrays[0].dtype)
        cases.append((CONV_POOL, ConvPoolAttrs(conv, activation, options, filled=True), [*arrays, fill]))
        cases.append((CONV_POOL, ConvPoolAttrs(conv, floor=True, filled=True), [*arrays, fill]))
    for op, attrs, given in cases:
        forced = next(low for low in lowerings(op) if low.name == "depthwise_rows")
        force(monkeypatch, op, forced)
        with described(machine):
            check(op, attrs, given, parameters=parameters, threads=1 + seed % 3)


@pytest.mark.parametrize(("channels", "size", "stride"), [(32, 112, 1), (64, 112, 2), (256, 28, 2), (1024, 7, 1)])
def test_it_is_chosen_for_mobilenet(channels: int, size: int, stride: int, each_machine: Machine) -> None:
    attrs = ConvPoolAttrs(ConvAttrs((stride, stride), (1, 1, 1, 1), (1, 1), channels), "Relu")
    arrays = [np.zeros(s, np.float32) for s in ((1, channels, size, size), (channels, 1, 3, 3), (channels,))]
    types = tuple(types_of(arrays))
    inputs = (types[0].with_order(CHANNELS_LAST), *types[1:])
    (y,) = CONV_POOL.infer_types(attrs, types)
    for threads in (1, each_machine.cores):
        node = Node(CONV_POOL, attrs, (y.with_order(CHANNELS_LAST),))
        assert choose(node, inputs, threads=threads).lowering.name == "depthwise_rows"


def test_filled_padding_is_for_depthwise_convolutions_with_a_bias() -> None:
    x, w, b = (np.zeros(s, np.float32) for s in ((1, 4, 8, 8), (4, 1, 3, 3), (4,)))
    conv = ConvAttrs(padding=(1, 1, 1, 1), groups=4)
    attrs = ConvPoolAttrs(conv, filled=True)
    assert CONV_POOL.infer_types(attrs, types_of([x, w, b, b]))[0].shape == (1, 4, 8, 8)
    for wrong, arrays in (
        (attrs, [x, w, b]),
        (replace(attrs, conv=replace(conv, groups=2)), [x, np.zeros((4, 2, 3, 3), np.float32), b, b]),
        (replace(attrs, activation="Gelu", activation_attrs=GeluAttrs()), [x, w, b, b]),
        (replace(attrs, pool=MaxPoolAttrs((2, 2), (2, 2))), [x, w, b, b]),
    ):
        with pytest.raises(GraphError, match="ConvPool2d: only what has a depthwise convolution, a bias and no more"):
            CONV_POOL.infer_types(wrong, types_of(arrays))
    with pytest.raises(ShapeError, match=r"what the padding holds must be float32\[4\], got float32\[3\]"):
        CONV_POOL.infer_types(attrs, types_of([x, w, b, b[:3]]))


def test_it_leaves_what_it_cannot_do() -> None:
    """Other groups and pooling go to other lowerings."""
    x, wide = np.zeros((1, 4, 8, 8), np.float32), np.zeros((4, 2, 3, 3), np.float32)
    types = tuple(types_of([x, wide]))
    node = Node(CONV, ConvAttrs(groups=2), CONV.infer_types(ConvAttrs(groups=2), types))
    assert not ROWS.accepts(node, types)
    types = tuple(types_of([x, wide[:, :1]]))
    pooled = ConvPoolAttrs(ConvAttrs(groups=4), None, NoAttrs(), MaxPoolAttrs((2, 2), (2, 2)))
    assert not ROWS.accepts(Node(CONV_POOL, pooled, CONV_POOL.infer_types(pooled, types)), types)


@pytest.mark.parametrize(
    ("kernel", "rows", "filled", "parts"),
    [
        (5, 3, False, [(0, 1, 2, 5), (1, 2, 1, 4), (2, 3, 0, 3)]),
        (5, 2, False, [(0, 1, 2, 4), (1, 2, 1, 3)]),
        (5, 2, True, [(0, 2, 0, 5)]),  # padding that holds numbers counts
        (3, 14, False, [(0, 14, 0, 3)]),  # a call more takes longer than two rows of taps
    ],
)
def test_rows_that_see_padding_go_apart_where_that_pays(
    kernel: int, rows: int, filled: bool, parts: list[tuple[int, ...]]
) -> None:
    around = kernel // 2
    channels, columns = (88, 96) if kernel == 5 else (272, 14)
    attrs = ConvPoolAttrs(ConvAttrs((1, 1), (around,) * 4, groups=channels), filled=filled)
    fill = [spec(channels), spec(channels)] if filled else []
    types = (spec(1, channels, rows, columns), spec(channels, 1, kernel, kernel), *fill)
    types = (types[0].with_order(CHANNELS_LAST), *types[1:])
    node = Node(CONV_POOL, attrs, tuple(y.with_order(CHANNELS_LAST) for y in CONV_POOL.infer_types(attrs, types)))
    with described(Machine(1, 1 << 15, 1 << 21, 1 << 25)):
        assert depthwise_rows.numbers(node, types, True).row_parts(1, 0, rows) == parts


def test_rows_that_see_nothing_but_padding_are_nothing() -> None:
    x, w = np.ones((1, 3, 2, 4), np.float32), np.ones((3, 1, 2, 1), np.float32)
    attrs = ConvAttrs((1, 1), (5, 0, 4, 0), groups=3)
    with described(_machine(1 << 20)):
        check(CONV, attrs, [x, w], parameters=(1,))


@pytest.mark.parametrize("seed", range(40))
def test_phases_of_a_strided_gradient(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Strides longer than the kernel, wide padding, runs of one to many columns, blocks of one to many images."""
    rng = np.random.default_rng(seed)
    monkeypatch.setattr(grad_depthwise_phases_views, "RUN", int(rng.choice([1, 9, 1000])))
    monkeypatch.setattr(depthwise, "BLOCK_BYTES", int(rng.choice([1, 1000, 100_000])))
    while True:
        attrs, (x, w, *_) = _sweep(int(rng.integers(1 << 30)))
        attrs = replace(attrs, dilation=(1, 1))
        w = w[: x.shape[1]]
        try:
            (y,) = CONV.infer_types(attrs, types_of([x, w]))
        except ShapeError:
            continue
        if x.shape[1] > 1 and attrs.stride != (1, 1):
            break
    dy = rng.standard_normal(y.concrete).astype(w.dtype)
    force(monkeypatch, CONV_GRAD_INPUT, PHASES)
    check(CONV_GRAD_INPUT, ConvInputAttrs(attrs, x.shape[2:]), [dy, w], threads=1 + seed % 3)


def test_strided_gradients_go_phase_by_phase(each_machine: Machine) -> None:
    for size, channels in ((32, 64), (16, 128), (8, 256)):
        conv = ConvAttrs((2, 2), (1, 1, 1, 1), groups=channels)
        image, weight = (
            TensorType(shape, as_dtype("float32")) for shape in ((16, channels, size, size), (channels, 1, 3, 3))
        )
        (dy,) = (t.with_order(CHANNELS_LAST) for t in CONV.infer_types(conv, [image, weight]))
        node = Node(CONV_GRAD_INPUT, ConvInputAttrs(conv, (size, size)), (image.with_order(CHANNELS_LAST),))
        assert choices(node, (dy, weight))[0].lowering is PHASES, (each_machine, size)
