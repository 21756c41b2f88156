"""What masks the gradient of a max pooling does so before it is spread, and so does what adds it up."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from lucid.graph.ir import Graph
from lucid.graph.opdef import NoAttrs, apply, apply_all
from lucid.graph.ops.elementwise import LESS_EQUAL, compare, where
from lucid.graph.ops.pool import MAX_POOL, MAX_POOL_GRAD, MaxPoolAttrs, MaxPoolGradAttrs, max_pool2d
from lucid.graph.types import spec
from lucid.passes.eliminate_common import eliminate_common
from lucid.passes.mask_winners import mask_winners

from ..op_checks import joint_graph
from .helpers import assert_same, ops, trace

IMAGES = (2, 3, 9, 8)
POOLS: dict[str, dict[str, Any]] = {
    "side by side": {"kernel_size": 2, "stride": 2},
    "that overlap": {"kernel_size": 3, "stride": 2, "padding": 1, "pad_value": -math.inf},
    "of zeros, too": {"kernel_size": 3, "stride": 2, "padding": 1},
    "that lie apart": {"kernel_size": 2, "stride": 3, "dilation": 2},
    "dilated and padded": {
        "kernel_size": (2, 1),
        "stride": 2,
        "dilation": 4,
        "padding": (1, 0),
        "pad_value": -math.inf,
    },
    "cut off": {"kernel_size": 2, "stride": 2, "ceil_mode": True},
}


def gradient(pool: dict[str, Any]) -> Graph:
    """A pooled activation and its gradients, of the images and of what is added to them."""
    pooled = trace(lambda x, b: max_pool2d((x + b).relu(), **pool), IMAGES, b=(3, 1, 1))
    return joint_graph(pooled)


def numbers(graph: Graph) -> list[Any]:
    """Some that are equal, of which the first wins, and some that are none."""
    rng = np.random.default_rng(0)
    found = [rng.integers(-2, 3, graph.node(name).outputs[0].concrete).astype(np.float32) for name in graph.inputs]
    found[0][0, 0, 2, 3], found[0][1, 1, 4, 4], found[0][1, 2, 0, 0] = np.nan, np.inf, -0.0
    return found


def made(graph: Graph, op: str) -> set[tuple[Any, ...]]:
    """The shapes of what nodes of an op make, or add up."""
    names = [name for name, node in graph.nodes() if node.op.name == op]
    if op == "Sum":
        return {graph.type(graph.inputs_of(name)[0]).shape for name in names}
    return {graph.node(name).outputs[0].shape for name in names}


@pytest.mark.parametrize("pool", POOLS)
def test_the_gradient_of_an_activation_before_a_pooling_is_that_of_the_maxima(pool: str) -> None:
    before = gradient(POOLS[pool])
    after = eliminate_common(mask_winners(before))
    maxima = before.output_types[0].shape
    assert made(before, "Where") == made(before, "Sum") == {IMAGES}
    assert made(after, "Where") == {maxima}
    assert made(after, "Sum") == ({IMAGES} if pool == "of zeros, too" else {maxima})
    assert_same(before, after, numbers(before), rtol=1e-6, atol=0)


def test_what_is_spread_is_the_same_to_the_bit() -> None:
    images = trace(lambda x: max_pool2d(x.relu(), 3, 1), spec("N", *IMAGES[1:]))
    before = joint_graph(images).bind({"N": 2})
    after = mask_winners(before)
    assert ops(after) != ops(before)
    assert_same(before, after, numbers(before), rtol=0, atol=0)


WINDOWS = MaxPoolAttrs((2, 2), (2, 2))
SPREAD = MaxPoolGradAttrs(WINDOWS, IMAGES[2:])


def masked(function: Any) -> Graph:
    """What a function makes of images, the gradient that a pooling of them spreads, and its maxima."""

    def whole(x: Any, dy: Any) -> Any:
        y, index = apply_all(MAX_POOL, WINDOWS, x)
        return function(x, apply(MAX_POOL_GRAD, SPREAD, dy, index), y)

    return trace(whole, IMAGES, (2, 3, 4, 4))


@pytest.mark.parametrize(
    "function",
    [
        lambda x, dx, y: where(x > 1, dx, 0.0),
        lambda x, dx, y: where(compare(LESS_EQUAL, x, 1.0), 0.0, dx),
        lambda x, dx, y: where(x == 1.0, dx, 0.0),
    ],
    ids=["kept", "left out", "equal"],
)
def test_any_comparison_with_a_number_may_mask(function: Any) -> None:
    before = masked(function)
    after = mask_winners(before)
    assert made(after, "Where") == {(2, 3, 4, 4)}
    assert_same(before, after, numbers(before), rtol=0, atol=0)


@pytest.mark.parametrize(
    "function",
    [
        lambda x, dx, y: where(x > 1, dx, 1.0),
        lambda x, dx, y: where(x.exp() > 1, dx, 0.0),
        lambda x, dx, y: where(x > x.exp(), dx, 0.0),
        lambda x, dx, y: where(x > x.sum(0), dx, 0.0),
        lambda x, dx, y: (where(x > 1, dx, 0.0), dx),
        lambda x, dx, y: dx.sum((0, 2)),
        lambda x, dx, y: where(x > 1, dx * 2, 0.0),
    ],
    ids=["another number", "of another image", "two images", "no number", "read by others", "rows", "not spread"],
)
def test_other_masks_and_sums_stay(function: Any) -> None:
    before = masked(function)
    assert mask_winners(before) is before


def test_a_mask_of_another_pooling_stays() -> None:
    def two(x: Any, z: Any, dy: Any) -> Any:
        index = apply_all(MAX_POOL, WINDOWS, z)[1]
        return where(x > 0, apply(MAX_POOL_GRAD, SPREAD, dy, index), 0.0)

    before = trace(two, IMAGES, IMAGES, (2, 3, 4, 4))
    assert mask_winners(before) is before


def test_graphs_without_poolings_are_not_walked() -> None:
    before = trace(lambda x: apply(LESS_EQUAL, NoAttrs(), x, x), (2, 3))
    assert mask_winners(before) is before
