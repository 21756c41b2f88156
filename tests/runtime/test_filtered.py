"""Convolutions filtered along one axis: what is filtered how, and where it is chosen."""

from __future__ import annotations

import numpy as np
import pytest

from lucid.graph.ir import Node
from lucid.graph.opdef import NoAttrs
from lucid.graph.ops.bounds import ClipAttrs
from lucid.graph.ops.conv import CONV, ConvAttrs
from lucid.graph.ops.conv_pool import CONV_POOL, ConvPoolAttrs
from lucid.graph.types import CHANNELS_LAST, TensorType, spec
from lucid.reference.evaluator import run_reference
from lucid.runtime.kernels.conv import filtered
from lucid.runtime.kernels.shared.panels_views import in_ranges
from lucid.runtime.planning.machine import Machine
from lucid.runtime.planning.registry import choose, lowerings

from ..op_checks import types_of
from .test_conv import check, force


def _conv(
    x: tuple[int, ...], w: tuple[int, ...], attrs: ConvAttrs | None = None
) -> tuple[Node, tuple[TensorType, ...]]:  # fmt: skip
    attrs = attrs or ConvAttrs()
    types = spec(*x).with_order(CHANNELS_LAST), spec(*w)
    (y,) = CONV.infer_types(attrs, types)
    return Node(CONV, attrs, (y.with_order(CHANNELS_LAST),)), types


@pytest.mark.parametrize(
    ("kernel", "size", "found"),
    [
        (5, 512, (3, 5, 1)),  # 7 products instead of 15
        (4, 403, (4, 4, 1)),
        (8, 407, (4, 4, 2)),  # two parts of four taps
        (9, 40, (4, 3, 3)),
        (2, 2, None),  # 3 instead of 4
        (3, 3, None),
    ],
)
def test_the_filter_of_the_fewest_products(kernel: int, size: int, found: tuple[int, int, int] | None) -> None:
    node, types = _conv((1, 8, size, 1), (8, 8, kernel, 1))
    assert filtered.accepts(node, types) == (found is not None)
    ways = filtered.ways(node, types, 1) if found else []
    assert {(way.block.m, way.block.taps, -(-kernel // way.block.taps)) for way in ways} == (
        {found} if found else set()
    )
    assert not any(way.block.across for way in ways)


@pytest.mark.parametrize(
    ("shape", "weight", "attrs", "there"),
    [
        ((3, 256, 1, 512), (512, 256, 1, 5), ConvAttrs(), True),
        ((3, 192, 30, 8), (192, 192, 3, 1), ConvAttrs(), True),
        ((3, 72, 30, 8), (72, 72, 3, 3), ConvAttrs(), False),  # along both saves more
        ((3, 72, 30, 8), (72, 72, 1, 1), ConvAttrs(), False),
        ((3, 72, 30, 8), (72, 72, 3, 1), ConvAttrs((2, 1)), False),
        ((3, 72, 30, 8), (72, 12, 3, 1), ConvAttrs(groups=6), False),
    ],
)
def test_where_it_is_chosen(
    shape: tuple[int, ...], weight: tuple[int, ...], attrs: ConvAttrs, there: bool, each_machine: Machine
) -> None:
    node, types = _conv(shape, weight, attrs)
    assert (choose(node, types).lowering.name == "filtered") == there
    assert choose(node, types, exact=True).lowering.name != "filtered"


FILTERED = next(low for low in lowerings(CONV_POOL) if low.name == "filtered")


@pytest.mark.parametrize("seed", range(40))
def test_it_is_the_reference(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of one to many tiles, one after or within another, cut by every border, along either axis."""
    rng = np.random.default_rng(seed)
    monkeypatch.setattr(filtered, "CANDIDATES", (int(rng.choice([1, 3, 7, 40, 1000])),))
    for _ in range(40):
        along, dilation, count = int(rng.integers(2, 12)), int(rng.choice([1, 1, 2, 3, 7])), int(rng.integers(4, 60))
        other = int(rng.integers(1, 4))
        kernel, apart = [along, other], [dilation, int(rng.integers(1, 3))]
        size = [count + (along - 1) * dilation, int(rng.integers(1, 5)) + (other - 1) * apart[1]]
        pads = rng.integers(0, 4, 4) * rng.integers(0, 2)
        if seed % 2:
            kernel, apart, size, pads = kernel[::-1], apart[::-1], size[::-1], pads[[1, 0, 3, 2]]
        conv = ConvAttrs((1, 1), tuple(map(int, pads)), tuple(apart))  # type: ignore[arg-type]
        dtype = np.dtype(("float32", "float32", "float64")[seed % 3])
        shapes = (int(rng.integers(1, 4)), 3, *size), (5, 3, *kernel), (5,)
        arrays = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
        activation = [(None, NoAttrs()), ("Relu", NoAttrs()), ("Clip", ClipAttrs(-0.5, 0.5))][seed % 3]
        attrs = ConvPoolAttrs(conv, *activation, residual=seed % 4 == 1)
        attrs = ConvPoolAttrs(conv, floor=True) if seed % 5 == 2 else attrs
        (y,) = CONV.infer_types(conv, types_of(arrays))
        arrays += [rng.standard_normal(y.concrete).astype(dtype)] if attrs.residual else []
        types = tuple(types_of(arrays))
        if FILTERED.accepts(Node(CONV_POOL, attrs, CONV_POOL.infer_types(attrs, types)), types):
            break
    else:
        pytest.fail("none of the sweep is accepted")
    force(monkeypatch, CONV_POOL, FILTERED)
    (sums,) = run_reference(CONV, conv, arrays[:3])
    allowed = {"float32": 1e-5 * max(1.0, float(np.abs(sums).max())), "float64": 1e-10}
    check(CONV_POOL, attrs, arrays, parameters=(1, 2), threads=1 + seed % 2, tolerance=allowed)


def test_taps_that_lie_apart(each_machine: Machine) -> None:
    """Nothing is gathered: the rows of a block are its windows."""
    node, types = _conv((2, 128, 1, 8012), (128, 128, 1, 3), ConvAttrs((1, 1), dilation=(1, 256)))
    assert choose(node, types).lowering.name == "filtered"
    t = filtered.numbers(node, types, True)
    assert t is not None and t.direct


@pytest.mark.parametrize(("columns", "count"), [(4096, 8), (4095, 9), (4093, 1), (8, 1)])
def test_columns_in_ranges_that_blas_does_not_copy(columns: int, count: int) -> None:
    """Those of a number that has no fit divisor stay together."""
    rng = np.random.default_rng(0)
    matrix, a, out = rng.standard_normal((4, 6)), rng.standard_normal((2, 6, columns)), np.empty((2, 4, columns))
    left, made = in_ranges(4, a, out, 4 * 6 * 520)
    assert left.shape == (2, count, 6, columns // count)
    np.matmul(matrix, left, out=made)
    np.testing.assert_allclose(out, matrix @ a)
    assert in_ranges(4, a, out, 0)[0].shape == (2, 1, 6, columns)
