"""Convolutions filtered along one axis: what is filtered how, and where it is chosen."""

from __future__ import annotations

import numpy as np
import pytest

from lucid.graph.ir import Node
from lucid.graph.ops.conv import CONV, ConvAttrs
from lucid.graph.types import CHANNELS_LAST, TensorType, spec
from lucid.runtime.kernels.conv import filtered
from lucid.runtime.kernels.shared.panels_views import in_ranges
from lucid.runtime.planning.machine import Machine
from lucid.runtime.planning.registry import choose


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
