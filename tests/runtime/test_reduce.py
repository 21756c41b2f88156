"""Which way a reduction takes, and that each is the definition."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import lucid
from lucid.graph.ir import Node
from lucid.graph.opdef import OpDef
from lucid.graph.ops.reduce import MAX, MEAN, MIN, SUM, ReduceAttrs
from lucid.graph.types import CHANNELS_LAST, TensorType, float32, int64
from lucid.nn import functional as F
from lucid.reference import evaluate_reference
from lucid.runtime.planning.registry import choose, lowerings

from ..op_checks import assert_all_close, channels_last, run_compiled, trace_in_arena, types_of
from .test_conv import check, force

NUMBERS = np.random.default_rng(0).standard_normal((3, 40, 5)).astype(np.float32)


def chosen(op: OpDef, shape: tuple[int, ...], axis: int, order: tuple[int, ...] | None = None) -> str:
    attrs, x = ReduceAttrs((axis,)), TensorType(shape, float32, order)
    return choose(Node(op, attrs, op.infer_types(attrs, [x])), (x,)).lowering.name


def test_what_is_left_of_images_lies_as_their_channels_do() -> None:
    """Sums that keep their axes lie channels last as the images do: row by row, but for axes of one number."""
    for axes in ((0, 2, 3), (0,)):
        attrs, x = ReduceAttrs(axes, True), TensorType((12, 8, 20, 20), float32, CHANNELS_LAST)
        y = MEAN.infer_types(attrs, [x])[0].with_order(CHANNELS_LAST)
        assert choose(Node(MEAN, attrs, (y,)), (x,)).lowering.name == "rows"
    images = np.random.default_rng(0).standard_normal((12, 8, 20, 20)).astype(np.float32)
    graph = trace_in_arena(lambda x: (x.mean((0, 2, 3), keepdim=True), x.mean(0, keepdim=True)), types_of([images]))
    for made in run_compiled(channels_last(graph), [images]):
        assert_all_close(made, evaluate_reference(graph, [images]), "channels last")


def test_few_numbers_side_by_side_are_taken_by_slices() -> None:
    assert chosen(MAX, (3, 400, 5), 2) == chosen(MIN, (3, 400, 5), 2) == "slices"
    assert chosen(MAX, (3, 5, 400), 1, (0, 2, 1)) == "slices"
    assert chosen(MAX, (3, 400, 5), 1) == chosen(MAX, (3, 5, 400), 1) == "numpy"
    assert chosen(MAX, (3, 400, 50), 2) == chosen(MAX, (1, 2, 5), 2) == "numpy"


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("op", [MAX, MIN], ids=lambda op: op.name)
def test_by_slices_it_is_the_definition(
    op: OpDef, size: int, keepdims: bool, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """On rows, on images whose innermost axis it is, and on images that lie channels last."""
    force(monkeypatch, op, next(lowering for lowering in lowerings(op) if lowering.name == "slices"))
    x = NUMBERS[:, :, :size].copy()
    x[0, 0, 0], x[1, 1, -1], x[2, :] = np.nan, np.inf, -0.0
    check(op, ReduceAttrs((2,), keepdims), [x])
    check(op, ReduceAttrs((3,), keepdims), [x.reshape(3, 4, 10, size)])
    check(op, ReduceAttrs((1,), keepdims), [x.transpose(0, 2, 1).reshape(3, size, 4, 10)])
    check(op, ReduceAttrs((0,), keepdims), [x[0, 0]])


def test_what_is_left_of_an_image_lies_as_it_did() -> None:
    weight = lucid.randn(8, 3, 3, 3)

    def largest(x: lucid.Tensor) -> lucid.Tensor:
        return F.conv2d(x, weight).amax(3).amax(2)

    net, x = lucid.compile(largest), lucid.randn(2, 3, 9, 12)
    np.testing.assert_allclose(net(x).numpy(), largest(x).numpy(), rtol=1e-5, atol=1e-6)
    orders = [node.outputs[0].order for _, node in net.graph.nodes() if node.op is MAX]
    assert orders == [(0, 2, 1), None]


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axes", [(2,), (1, 2), (0, 1, 2)])
@pytest.mark.parametrize("op", [SUM, MEAN], ids=lambda op: op.name)
def test_rows_are_added_up_by_a_product(
    op: OpDef, axes: tuple[int, ...], keepdims: bool, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    column = next(lowering for lowering in lowerings(op) if lowering.name == "column")
    force(monkeypatch, op, column)
    for x in (NUMBERS, NUMBERS.astype(np.float64), NUMBERS[:0], np.float32(1e38) + NUMBERS[:, :, :1]):
        mean = op is MEAN or x.size < 100 or x[0, 0, 0] < 1e30
        if mean and (x.size or len(axes) < 3):
            check(op, ReduceAttrs(axes, keepdims), [x])


def test_long_rows_and_few_of_them_are_added_up_by_numpy() -> None:
    assert chosen(SUM, (3, 40, 50), 2) == chosen(MEAN, (3, 40, 50), 2) == "column"
    assert chosen(SUM, (3, 40, 50), 1) == chosen(MEAN, (40, 50), 0) == "rows"
    assert chosen(SUM, (3, 8, 50), 1) == chosen(SUM, (3, 5000), 1) == "numpy"
    assert chosen(MEAN, (3, 40, 50), 1, (0, 2, 1)) == "numpy"


def test_the_mean_of_each_image_is_a_product() -> None:
    """Of images that lie channels last, one or several, however small; of whole numbers NumPy makes the sums."""
    for shape, dtype, name in (
        ((2, 8, 3, 4), float32, "rows"),
        ((1, 8, 3, 4), float32, "rows"),
        ((2, 8, 3, 4), int64, "numpy"),
        ((2, 8, 2, 4), float32, "numpy"),
    ):
        attrs, x = ReduceAttrs((2, 3), True), TensorType(shape, dtype, CHANNELS_LAST)
        y = SUM.infer_types(attrs, [x])[0].with_order(CHANNELS_LAST)
        assert choose(Node(SUM, attrs, (y,)), (x,)).lowering.name == name
        turned = y.with_order((0, 1, 3, 2))  # one number of each channel lies so too
        assert choose(Node(SUM, attrs, (turned,)), (x,)).lowering.name == name


@pytest.mark.parametrize("op", [SUM, MEAN], ids=lambda op: op.name)
@pytest.mark.parametrize("shape", [(1024, 6), (300, 40), (16, 9, 5, 6), (4099, 2)], ids=str)
def test_rows_are_added_to_each_other_by_a_product(
    op: OpDef, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    force(monkeypatch, op, next(lowering for lowering in lowerings(op) if lowering.name == "rows"))
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    for keepdims in (False, True):
        check(op, ReduceAttrs(tuple(range(len(shape) - 1)), keepdims), [x])
    last = ReduceAttrs((0, 2, 3))
    images = np.random.default_rng(0).standard_normal((9, 12, 11, 7)).astype(np.float32).transpose(0, 3, 1, 2)
    each = ReduceAttrs((2, 3))
    for attrs in (last, each, ReduceAttrs((0,))):
        for one in (attrs, replace(attrs, keepdims=True)):
            check(op, one, [images])
            check(op, one, [images.astype(np.float64)])
    rows = np.random.default_rng(0).standard_normal((2, 3, 20, 7)).astype(np.float32)
    for keepdims in (False, True):
        check(op, ReduceAttrs((2,), keepdims), [rows])
        check(op, ReduceAttrs((1, 2), keepdims), [rows])
    assert chosen(op, (4096, 32), 0) == "rows"
    assert chosen(op, (8, 32), 0) != "rows"
