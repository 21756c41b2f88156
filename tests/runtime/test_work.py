"""Work is counted by kernels, and timed by the machine alone."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import product

import pytest

from lucid.graph.ops.conv import ConvAttrs
from lucid.runtime.kernels.conv.im2col import plain_blocks
from lucid.runtime.kernels.conv.numbers import conv_of
from lucid.runtime.kernels.conv.tiles import tile_blocks
from lucid.runtime.kernels.shared.cut import Grid, deal
from lucid.runtime.planning.work import NOTHING, Product, Work, seconds
from tests.machines import USUAL

PRODUCT = Product(100, 64, 32, 4, packed=False, resident=True)
COUNTS = [field.name for field in fields(Work) if field.name != "products"]


@pytest.mark.parametrize("name", COUNTS)
def test_every_count_takes_the_rate_of_its_name(name: str) -> None:
    took = seconds(Work(**{name: 6.0}), USUAL)
    rate = getattr(USUAL, name if hasattr(USUAL, name) else name[:-1])
    assert took == pytest.approx(6.0 / rate if rate > 1 else 6.0 * rate)


def test_work_adds_up_and_scales() -> None:
    a, b = Work((PRODUCT,), near=300.0, calls=2), Work((PRODUCT._replace(rows=1),), far=10.0, calls=1)
    assert seconds(a + b, USUAL) == pytest.approx(seconds(a, USUAL) + seconds(b, USUAL))
    assert seconds(a * 2.5, USUAL) == pytest.approx(2.5 * seconds(a, USUAL))
    assert a + b == Work((PRODUCT, PRODUCT._replace(rows=1)), near=300.0, far=10.0, calls=3)
    assert hash(a * 2) == hash(Work((PRODUCT._replace(times=2.0),), near=600.0, calls=4))
    assert Work.total([a, b]) == a + b
    assert Work.total([]) == NOTHING
    assert seconds(NOTHING, USUAL) == 0.0


def test_the_busiest_worker_does_its_share_and_the_fork() -> None:
    one = Work(calls=2)
    assert one.shared(7, 3) == Work(calls=6, forks=1)
    assert one.shared(1, 3) == one
    assert one.shared(7, 1) == Work(calls=14)


def test_the_busiest_worker_has_the_most_parts_or_the_largest() -> None:
    def one(size: int) -> Work:
        return Work((PRODUCT._replace(rows=size),), calls=size)

    many, large = [1, 2, 1], [9]
    assert Work.of_busiest([many, large], one) == one(1) * 2 + one(2) + Work(forks=1)
    assert Work.of_busiest([many, large], one, lambda size: size) == one(9) + Work(forks=1)
    assert Work.of_busiest([large], one) == one(9)
    assert Work.of_busiest([], one) == NOTHING


def test_a_product_takes_its_multiply_adds_its_packing_and_at_least_the_reading_of_its_weights() -> None:
    def took(product: Product) -> float:
        return seconds(Work((product,)), USUAL)

    assert took(PRODUCT) == pytest.approx(2 * 100 * 64 * 32 / USUAL.flops)
    assert took(PRODUCT._replace(itemsize=8)) == pytest.approx(2 * took(PRODUCT))
    assert took(PRODUCT._replace(packed=True)) == pytest.approx(took(PRODUCT._replace(rows=100 + USUAL.packing)))
    assert took(PRODUCT._replace(narrow=True)) == pytest.approx(USUAL.narrow * took(PRODUCT))
    row = PRODUCT._replace(rows=1)
    assert took(row) == pytest.approx(64 * 32 * 4 / USUAL.near)
    assert took(row._replace(resident=False)) == pytest.approx(64 * 32 * 4 / USUAL.far)


def test_another_machine_takes_another_time() -> None:
    slower = replace(USUAL, call=2 * USUAL.call)
    assert seconds(Work(calls=3), slower) == pytest.approx(2 * seconds(Work(calls=3), USUAL))


def test_workers_have_as_many_blocks_each() -> None:
    """Else the one waits for the other: of five blocks one has three."""
    conv = conv_of(ConvAttrs(padding=(2, 2, 2, 2)), (64, 1, 28, 28), (6, 1, 5, 5), (64, 6, 28, 28))
    assert len(plain_blocks(conv, 4)) == 5
    found = deal(plain_blocks(conv, 4, 2), 2)
    assert [sum(block.image_rows for block in mine) for mine in found] == [896, 896]
    ranges = [len(tile_blocks(9, 2, 2, 8, 14, count, workers)) for count, workers in ((1, 1), (1, 2), (2, 2))]
    assert ranges == [3, 4, 6]
    assert [len(tile_blocks(images, 5, 7, 8, 14, 1, 2)) for images in (1, 2)] == [4, 6]


@pytest.mark.parametrize(
    "runs", [((5, 2), (7, 3), (8, 2)), ((3, 3), (1, 1), (4, 1)), ((0, 0), (7, 1), (8, 1)), ((2, 2), (9, 4), (5, 5))]
)
def test_blocks_are_counted_unmade(runs: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]) -> None:
    grid = Grid(*runs)
    blocks = list(grid)
    assert len(blocks) == len(grid)
    covered = [at for b in blocks for at in product(range(b.n0, b.n1), range(b.r0, b.r1), range(b.c0, b.c1))]
    assert sorted(covered) == list(product(*(range(total) for total, _ in runs)))
    sizes = {(b.n1 - b.n0, b.r1 - b.r0, b.c1 - b.c0) for b in blocks}
    assert not blocks or tuple(map(max, zip(*sizes, strict=True))) == (grid.most.n1, grid.most.r1, grid.most.c1)
    assert not blocks or (grid.most.n1, grid.most.r1, grid.most.c1) in sizes
