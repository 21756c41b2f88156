"""A product with weights is a linear layer, and what is added to it its bias."""

from __future__ import annotations

from typing import Any

import pytest

from lucid.passes.fuse.linear_products import fuse_linear_products

from .helpers import assert_same, ops, trace

CLOSE = {"rtol": 1e-6, "atol": 1e-6}  # sums are rounded in another order


@pytest.mark.parametrize("bias", [(5,), (1, 5), (1, 1, 5)])
@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4)])
def test_the_product_and_the_bias_are_a_layer(shape: tuple[int, ...], bias: tuple[int, ...]) -> None:
    before = trace(lambda x, w, b: b + x @ w, shape, w=(4, 5), b=bias)
    after = fuse_linear_products(before)
    wide = len(bias) > len(shape)  # then the sum has an axis more
    assert ops(after).count("Linear") == 1
    assert ("Add" in ops(after)) == wide
    assert_same(before, after, **CLOSE)


def test_a_bias_is_one_number_for_each_output() -> None:
    for b in ((1,), (3, 1), (3, 5)):
        before = trace(lambda x, w, b: x @ w + b, (3, 4), w=(4, 5), b=b)
        after = fuse_linear_products(before)
        assert ops(after).count("Add") == 1
        assert_same(before, after, **CLOSE)


def test_what_comes_with_the_call_is_no_weight() -> None:
    graph = trace(lambda x, w, b: x @ w + b, (3, 4), (4, 5), b=(5,))
    assert fuse_linear_products(graph) is graph
    given = trace(lambda x, b, w: x @ w + b, (3, 4), (5,), w=(4, 5))
    assert ops(fuse_linear_products(given)) == ["Transpose", "Linear", "Add"]


def test_batches_of_matrices_stay() -> None:
    graph = trace(lambda x, w: x @ w, (2, 3, 4), w=(2, 4, 5))
    assert fuse_linear_products(graph) is graph


def test_what_is_read_before_the_bias_stays() -> None:
    def both(x: Any, w: Any, b: Any) -> Any:
        y = x @ w
        return y, y + b

    before = trace(both, (3, 4), w=(4, 5), b=(5,))
    after = fuse_linear_products(before)
    assert ops(after) == ["Transpose", "Linear", "Add"]
    assert_same(before, after, **CLOSE)
