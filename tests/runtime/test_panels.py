"""Products in small blocks are the products."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lucid.graph.ops.conv import CONV, ConvAttrs
from lucid.graph.ops.conv_pool import CONV_POOL, ConvPoolAttrs
from lucid.runtime.kernels.shared import panels_views
from lucid.runtime.kernels.shared.panels import WIDEST, Blocking, blocking, few_rows, product_of
from lucid.runtime.kernels.shared.panels_views import small_products
from lucid.runtime.kernels.shared.rows import Rows, cuts, row_runs
from lucid.runtime.planning.machine import described
from lucid.runtime.planning.registry import lowerings
from lucid.runtime.planning.work import Work, seconds

from ..machines import USUAL
from .test_conv import check, force

MACHINE = replace(USUAL, unpacked=1_000_000)


@pytest.mark.parametrize("seed", range(60))
def test_blocks_add_up_to_the_product(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, depth, columns = int(rng.integers(0, 90)), int(rng.integers(1, 40)), int(rng.choice([8, 16, 48, 64, 96]))
    width = int(rng.choice([d for d in range(1, columns + 1) if columns % d == 0]))
    size, batch = int(rng.integers(1, max(2, rows + 1))), (2,) * (seed % 2)
    a, w = rng.standard_normal((*batch, rows, depth)), rng.standard_normal((*batch, depth, columns))
    stored = np.ascontiguousarray(np.moveaxis(w.reshape(*batch, depth, columns // width, width), -2, -3))
    room = np.full((*batch, rows, columns + 5), np.nan)
    for left, right, out in small_products(a, stored, room[..., :columns], size):
        np.matmul(left, right, out=out)
    np.testing.assert_allclose(room[..., :columns], a @ w, rtol=1e-12, atol=1e-12)
    assert np.isnan(room[..., columns:]).all()


@pytest.mark.parametrize(("outputs", "depth", "width"), [(64, 64, 64), (96, 128, 48), (48, 7, 16), (5, 3, 5)])
def test_turned_weights_are_the_panels(outputs: int, depth: int, width: int) -> None:
    weights = np.random.default_rng(0).standard_normal((outputs, depth)).astype(np.float32)
    out = np.empty((outputs // width, depth, width), np.float32)
    panels_views.turn_panels(weights, out)
    np.testing.assert_array_equal(out, panels_views.panels_of(weights.T, width))


@pytest.mark.parametrize(
    ("rows", "depth", "columns"),
    [(49, 4608, 512), (16, 512, 512), (3136, 64, 256), (98, 2048, 1000), (7, 30000, 64), (570, 400, 6), (570, 4000, 1)],
)
def test_no_block_is_larger_than_what_is_not_packed(rows: int, depth: int, columns: int) -> None:
    cut = blocking(MACHINE, rows, depth, columns, 4)
    assert columns % cut.width == 0
    assert 1 <= cut.rows <= rows
    if cut != Blocking(rows, columns):
        assert cut.rows * depth * cut.width <= MACHINE.unpacked
        packed = product_of(replace(MACHINE, unpacked=0), rows, depth, columns, 4, False)
        small = product_of(MACHINE, rows, depth, columns, 4, False)
        assert seconds(Work((small,)), MACHINE) <= seconds(Work((packed,)), MACHINE)


def test_products_stay_whole_where_that_is_best() -> None:
    assert blocking(replace(MACHINE, unpacked=0), 49, 4608, 512, 4) == Blocking(49, 512)  # such a BLAS packs anyway
    assert blocking(MACHINE, 49, 4608, 512, 8) == Blocking(49, 512)  # no such kernels for double precision
    assert blocking(MACHINE, 1, 4608, 512, 4) == Blocking(1, 512)
    assert blocking(MACHINE, 20, 20, 20, 4) == Blocking(20, 20)
    assert blocking(MACHINE, 300, 600, 501, 4) == Blocking(300, 501)  # no panel divides the columns


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("name", ["im2col", "winograd2", "winograd4", "split_channels", "pointwise_blocks"])
def test_kernels_with_blocked_products(name: str, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = replace(USUAL, unpacked=2_000)
    rng = np.random.default_rng(threads)
    kernel, padding = ((1, 1), (0,) * 4) if name == "pointwise_blocks" else ((3, 3), (1,) * 4)
    arrays: list[Any] = [
        rng.standard_normal(s).astype(np.float32) for s in ((2, 6, 11, 9), (48, 6, *kernel), (48,))
    ]  # fmt: skip
    cut = blocking(machine, 99, 6, 48, 4)
    assert cut.width < 48
    for op, attrs in (
        (CONV, ConvAttrs(padding=padding)),
        (CONV_POOL, ConvPoolAttrs(ConvAttrs(padding=padding), "Relu")),
    ):
        force(monkeypatch, op, next(low for low in lowerings(op) if low.name == name))
        with described(machine):
            check(op, attrs, arrays, parameters=(1, 2), threads=threads)


def test_few_rows_have_panels_of_parts_of_a_matrix() -> None:
    """Of four vectors, or of whole ones where that can be; none where BLAS packs, or for one row."""
    assert few_rows(MACHINE, 2, 256, 256, 4) == 64
    assert few_rows(MACHINE, 40, 192, 192, 4) == 64
    assert few_rows(MACHINE, 40, 224, 224, 4) == 32  # 56 are three vectors and a half
    assert few_rows(MACHINE, 2, 40, 40, 4) == 40
    assert few_rows(MACHINE, 2, 100, 100, 4) == 100
    assert few_rows(MACHINE, 4, 200, 200, 4) == 200  # rather than five panels of two vectors and a half
    assert few_rows(MACHINE, 64, 200, 200, 4) == 40
    assert few_rows(MACHINE, 40, 202, 202, 4) is None
    assert few_rows(MACHINE, 1, 256, 256, 4) is None
    assert few_rows(MACHINE, 400, 512, 512, 4) is None
    assert few_rows(MACHINE, 2, 256, 256, 8) is None
    assert few_rows(USUAL, 2, 256, 256, 4) is None


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("outputs", [8210, 6625, 40_001])
def test_ranges_of_outputs_are_whole_panels(outputs: int, threads: int) -> None:
    """So that BLAS packs none of them, but what is left and fills no panel."""
    p = Rows(20, 1024, outputs, 1)
    with described(MACHINE):
        (cut,) = (cut for cut in cuts(p, row_runs(p, 4, threads), 4, threads) if cut.by_outputs(p))
    ranges = [piece.outputs for mine in cut.pieces for piece in mine]
    assert [a for a, _ in ranges] == [0, *(b for _, b in ranges[:-1])]
    assert ranges[-1][1] == outputs
    whole = [b - a for a, b in ranges if b - a >= WIDEST]
    assert len(whole) >= threads
    assert not any(product_of(MACHINE, 20, 1024, columns, 4, False).packed for columns in whole)


def test_weights_that_do_not_stay_in_the_cache_are_shared_by_workers() -> None:
    """Of a megabyte of weights each of two workers takes half, rather than all of it in panels of one vector."""
    p = Rows(196, 512, 512, 1)
    with described(MACHINE):
        works = cuts(p, row_runs(p, 4, 2), 4, 2)
        quickest = min(works, key=lambda cut: seconds(works[cut], MACHINE))
    assert {piece.size for mine in quickest.pieces for piece in mine} == {(196, 256)}
    narrow, wide = product_of(MACHINE, 98, 512, 512, 4, False), product_of(MACHINE, 196, 512, 256, 4, True)
    assert (narrow.narrow, wide.narrow, narrow.packed, wide.packed) == (True, False, False, False)
