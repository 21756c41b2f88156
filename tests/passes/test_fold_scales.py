"""Factors and summands of the channels: into which layers they go, where they stay, and the numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from lucid.graph.facts import parameter_only
from lucid.graph.ops.conv import conv2d, conv_transpose2d
from lucid.graph.ops.norm import batch_norm
from lucid.passes.fold.scales import fold_scales
from lucid.reference import evaluate_reference

from .helpers import assert_same, ops, random_inputs, trace

IMAGE = (2, 4, 6, 5)
SHAPES: dict[str, tuple[int, ...]] = {
    "w": (6, 4, 3, 3), "b": (6,), "s": (6, 1, 1), "t": (1, 6, 1, 1), "number": (), "one": (1, 1, 1, 1),
}  # fmt: skip
CLOSE: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-4}

FOLD: dict[str, Callable[..., Any]] = {
    "scaled": lambda x, w, s: conv2d(x, w) * s,
    "scaled-from-the-left": lambda x, w, s: s * conv2d(x, w),
    "shifted": lambda x, w, t: conv2d(x, w) + t,
    "less": lambda x, w, t: conv2d(x, w) - t,
    "with-bias": lambda x, w, b, s, t: conv2d(x, w, b, padding=1, stride=2) * s + t,
    "of-one-number": lambda x, w, number, one: (conv2d(x, w) * number + one) * one - number,
    "of-constants": lambda x, w, b: conv2d(x, w, b) * 0.5 + 3.0,
    "before": lambda x, w, b, number: conv2d(x * number + 2.0, w, b),
    "before-padding": lambda x, w, b, number: conv2d(x * number, w, b, padding=1),
    "before-without-bias": lambda x, w, one: conv2d((x - one) * 2.0 + one, w),
    "between": lambda x, w, s, t: conv2d((conv2d(x, w) * s + t).relu() * s + t, w.permute(1, 0, 2, 3)),
    "transposed": lambda x, w, b, t: conv_transpose2d(x, w.permute(1, 0, 2, 3), b, stride=2) * t + t,
}


@pytest.mark.parametrize("name", FOLD)
def test_goes_into_a_layer(name: str) -> None:
    model = FOLD[name]
    names = model.__code__.co_varnames[1 : model.__code__.co_argcount]
    before = trace(model, IMAGE, **{n: SHAPES[n] for n in names})
    after = fold_scales(before)
    layers = [i for i, op in enumerate(ops(after)) if op.startswith("Conv")]
    made = [after.node(v.node).op.name for v in after.outputs]
    assert made == ["Conv2d"] or made == ["ConvTranspose2d"]
    assert layers[-1] == len(ops(after)) - 1
    assert_same(before, after, **CLOSE)
    assert fold_scales(after) is after


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("kernel", [1, 3])
def test_before_a_convolution_in_groups(groups: int, kernel: int) -> None:
    def model(x: Any, w: Any, v: Any, u: Any) -> Any:
        return conv2d(x * v + u, w, groups=groups)

    shape = (8, 4 // groups, kernel, kernel)
    before = trace(model, IMAGE, w=shape, v=(4, 1, 1), u=(1, 4, 1, 1))
    after = fold_scales(before)
    assert ops(after)[-1] == "Conv2d"
    assert after.inputs_of(after.outputs[0].node)[0].node == "x0"
    assert_same(before, after, **CLOSE)


def test_a_summand_stays_before_padding_and_where_sums_are_exact() -> None:
    def padded(x: Any, w: Any) -> Any:
        return conv2d(x * 2.0 + 1.0, w, padding=1)

    graph = trace(padded, IMAGE, w=(6, 4, 3, 3))
    assert fold_scales(graph) is graph

    def plain(x: Any, w: Any) -> Any:
        return conv2d(x + 1e4, w)

    graph = trace(plain, IMAGE, w=(6, 4, 3, 3))
    assert fold_scales(graph, exact=True) is graph
    assert fold_scales(graph) is not graph


STAY: dict[str, Callable[..., Any]] = {
    "read-elsewhere": lambda x, w, s: (lambda y: (y * s, y.relu()))(conv2d(x, w)),
    "by-column": lambda x, w: conv2d(x, w) * w.reshape(-1)[:3],
    "by-image": lambda x, w: conv2d(x, w) * w.reshape(-1)[:2].reshape(2, 1, 1, 1),
    "of-the-input": lambda x, w: conv2d(x, w) * x.sum((2, 3), keepdim=True).sum((1,), keepdim=True),
    "from-the-number": lambda x, w, t: t - conv2d(x, w),
    "infinite": lambda x, w: conv2d(x, w) * math.inf,
    "broadcast": lambda x, w, s: conv2d(x[:1], w) * s.expand(3, 6, 1, 1),
    "weights-of-the-input": lambda x, w, s: conv2d(x, w * x.sum()) * s,
    "between-is-a-result": lambda x, w, number: (lambda y: (conv2d(y, w), y))(x * number),
}


@pytest.mark.parametrize("name", STAY)
def test_stays(name: str) -> None:
    model = STAY[name]
    names = model.__code__.co_varnames[1 : model.__code__.co_argcount]
    graph = trace(model, IMAGE, **{n: SHAPES[n] for n in names})
    assert fold_scales(graph) is graph


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 5), (2, 3, 4, 5)])
def test_what_follows_a_normalisation_goes_into_it(shape: tuple[int, ...], affine: bool) -> None:
    rest = (1,) * (len(shape) - 2)

    def model(x: Any, mean: Any, var: Any, s: Any, t: Any, **more: Any) -> Any:
        return (batch_norm(x, mean, var, *more.values()) * s.reshape(3, *rest) + t.reshape(3, *rest)).relu()

    vectors = dict.fromkeys(("mean", "var", "s", "t", *(("gamma", "beta") if affine else ())), (3,))
    before = trace(model, shape, **vectors)
    after = fold_scales(before)
    fixed = parameter_only(after)
    assert [after.node(n).op.name for n in after.order if n not in fixed] == ["Input", "Mul", "Add", "Relu"]
    assert_same(before, after, **CLOSE)


def test_a_normalisation_whose_statistics_come_with_the_call_stays() -> None:
    def model(x: Any, var: Any) -> Any:
        return batch_norm(x, x.sum((0, 2, 3)), var).relu()

    graph = trace(model, IMAGE, var=(4,))
    assert fold_scales(graph) is graph


def test_the_numbers_of_an_empty_batch() -> None:
    graph = trace(FOLD["with-bias"], (0, 4, 6, 5), **{n: SHAPES[n] for n in ("w", "b", "s", "t")})
    inputs, parameters = random_inputs(graph)
    (y,) = evaluate_reference(fold_scales(graph), inputs, parameters)
    assert y.shape == (0, 6, 3, 3)
