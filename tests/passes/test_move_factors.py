"""Factors come out of sums, and what is as large as an image is multiplied once."""

from __future__ import annotations

from typing import Any

import pytest

from lucid.graph.ops.norm import standardize
from lucid.graph.types import spec
from lucid.passes.eliminate_common import eliminate_common
from lucid.passes.expand_standardize import expand_standardize
from lucid.passes.move_factors import move_factors

from ..op_checks import joint_graph
from .helpers import assert_same, ops, trace

IMAGE = (4, 3, 5)


def large(graph: Any) -> list[str]:
    """The ops whose results are as large as an image."""
    return [node.op.name for _, node in graph.nodes() if node.op.inputs and node.outputs[0].shape == IMAGE]


@pytest.mark.parametrize("name", ["sum", "mean"])
@pytest.mark.parametrize("keep", [False, True])
def test_factors_that_are_one_for_all_that_is_added_up_come_out_of_it(name: str, keep: bool) -> None:
    before = trace(lambda x, y, w: getattr(x * w * y, name)((0, 2), keepdim=keep), (4, 3, 5), (4, 3, 5), w=(3, 1))
    after = move_factors(before)
    assert_same(before, after, rtol=1e-5, atol=1e-5)
    names = ops(after)
    assert names.index("Sum") < len(names) - 1 - names[::-1].index("Mul")


def test_factors_along_what_is_added_up_stay() -> None:
    before = trace(lambda x, w: (x * w).sum((0, 2)), (4, 3, 5), w=(5,))
    assert move_factors(before) is before


# ---------------------------------------------------------------- to what is small


def test_a_quotient_of_a_sum_divides_the_small_factors_of_its_terms() -> None:
    before = trace(
        lambda x, y, w, m, p, s: (x * w - m - y * p) / s, IMAGE, IMAGE, w=(3, 1), m=(3, 1), p=(3, 1), s=(3, 1)
    )
    after = move_factors(before)
    assert large(after) == ["Mul", "Sub", "Mul", "Sub"]
    assert_same(before, after, rtol=1e-5, atol=1e-5)


def test_a_product_of_products_and_sums_multiplies_what_is_small() -> None:
    for function in (lambda x, a, b: (x * a) * b, lambda x, a, b: b * (a * x), lambda x, a, b: b * (b + x * a)):
        before = trace(function, IMAGE, a=(3, 1), b=())
        after = move_factors(before)
        assert large(after).count("Mul") == 1
        assert_same(before, after, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "function",
    [
        lambda x, w, s: (x - w) / s,
        lambda x, w, s: w / (x * s),
        lambda x, w, s: (y := x * w + s) / s + y,
        lambda x, w, s: (x.exp() + x * w) * s,
    ],
    ids=["a term without a small factor", "a divisor", "a sum that others read", "one term of two"],
)
def test_what_would_be_no_less_work_stays(function: Any) -> None:
    before = trace(function, IMAGE, w=(3, 1), s=(3, 1))
    assert move_factors(before) is before


def test_factors_that_together_are_larger_stay_apart() -> None:
    before = trace(lambda x, a, b: (x * a) * b, IMAGE, a=(3, 1), b=(5,))
    assert move_factors(before) is before


def test_integers_round_as_they_are_written() -> None:
    before = trace(lambda x, a: (x * a) * a, spec(4, 3, dtype="int64"), a=spec(3, dtype="int64"))
    assert move_factors(before) is before


def test_the_gradient_of_a_normalisation_multiplies_an_image_twice() -> None:
    def normalised(x: Any, w: Any, b: Any) -> Any:
        return standardize(x, (0, 2), 1e-5, 2)[0] * w + b

    before = joint_graph(trace(normalised, IMAGE, w=(3, 1), b=(3, 1)))
    after = eliminate_common(move_factors(expand_standardize(before)))
    assert "Div" not in large(after)
    assert_same(before, after, rtol=1e-5, atol=1e-6)
