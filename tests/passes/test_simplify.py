"""Identities: which fire, which must not, and that those that do are exact on special values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lucid.graph.opdef import apply
from lucid.graph.ops import elementwise as ew
from lucid.graph.ops import shape as sh
from lucid.graph.ops.random import dropout
from lucid.graph.ops.reduce import MAX, SUM, ReduceAttrs
from lucid.graph.ops.shape import CONCAT, EXPAND, RESHAPE, TRANSPOSE, AxisAttrs, ShapeAttrs, TransposeAttrs
from lucid.graph.ops.slices import SLICE, SliceAttrs
from lucid.graph.ops.source import constant, full
from lucid.graph.types import spec
from lucid.passes.simplify import SimplifyOptions, simplify

from .helpers import SPECIAL, assert_same, ops, trace

GONE: dict[str, Callable[[Any], Any]] = {
    "mul-one": lambda x: x * 1,
    "one-mul": lambda x: 1.0 * x,
    "mul-ones-array": lambda x: x * np.ones(9, np.float32),
    "div-one": lambda x: x / 1,
    "sub-zero": lambda x: x - 0,
    "add-negative-zero": lambda x: x + -0.0,
    "neg-neg": lambda x: x.neg().neg(),
    "pow-one": lambda x: x**1,
    "maximum-self": lambda x: x.maximum(x),
    "where-same": lambda x: ew.where(x > 0, x, x),
    "where-true": lambda x: ew.where(full(x, True, (), np.dtype(bool)), x, 0.0),
    "cast-there-and-back": lambda x: x.double().float(),
    "cast-same": lambda x: apply(ew.CAST, ew.CastAttrs(x.dtype), x),
    "reshape-back": lambda x: x.reshape(3, 3).reshape(9),
    "reshape-same": lambda x: apply(RESHAPE, ShapeAttrs((9,)), x),
    "transpose-same": lambda x: apply(TRANSPOSE, TransposeAttrs((0,)), x),
    "transpose-twice": lambda x: x.reshape(3, 3).T.T.reshape(9),
    "expand-same": lambda x: apply(EXPAND, ShapeAttrs((9,)), x),
    "whole-slice": lambda x: apply(SLICE, SliceAttrs((0,), (9,), (1,)), x),
    "concat-one": lambda x: apply(CONCAT, AxisAttrs(0), x),
    "max-over-nothing": lambda x: apply(MAX, ReduceAttrs(()), x),
    "dropout-nothing": lambda x: dropout(x, 0.0, True),
}

FEWER: dict[str, tuple[Callable[[Any], Any], list[str]]] = {
    "relu-relu": (lambda x: x.relu().relu().relu(), ["Relu"]),
    "same-clip": (lambda x: x.clip(0, 6).clip(0, 6), ["Clip"]),
    "square": (lambda x: x**2, ["Mul"]),
    "add-neg": (lambda x: x + -x, ["Sub"]),
    "neg-add": (lambda x: -x + x, ["Sub"]),
    "sub-neg": (lambda x: x - -x, ["Add"]),
    "reshape-reshape": (lambda x: x.reshape(3, 3).reshape(1, 9), ["Reshape"]),
    "transpose-transpose": (lambda x: x.reshape(1, 3, 3).permute(1, 0, 2).permute(2, 1, 0), ["Reshape", "Transpose"]),
    "expand-expand": (lambda x: x.expand(2, 9).expand(4, 2, 9), ["Expand"]),
    "expand-into-binary": (lambda x: x.expand(3, 9) + x.reshape(1, 9).expand(3, 9), ["Reshape", "Add", "Expand"]),
    "where-false": (lambda x: ew.where(full(x, False, (), np.dtype(bool)), 0.0, x.exp()), ["Exp"]),
    "full-reshape": (lambda x: x + full(x, 2.0, (3, 3)).reshape(9), ["Add"]),
    "full-cast": (lambda x: x + full(x, 2, (9,), np.dtype("int64")).float(), ["Add"]),
    "constant-array": (lambda x: x + np.full(9, -0.0, np.float32), []),
}

KEPT: dict[str, Callable[[Any], Any]] = {
    "add-zero": lambda x: x + 0,
    "sub-negative-zero": lambda x: x - -0.0,
    "mul-zero": lambda x: x * 0,
    "zero-minus": lambda x: 0 - x,
    "pow-half": lambda x: x**0.5,
    "lossy-cast": lambda x: x.double().to("int64").double().float(),
    "different-clip": lambda x: x.clip(0, 6).clip(0, 5),
    "sum-over-nothing": lambda x: apply(SUM, ReduceAttrs(()), x),
    "constant": lambda x: x + SPECIAL,
}


@pytest.mark.parametrize("name", GONE)
def test_identity_goes(name: str) -> None:
    before = trace(GONE[name], (9,))
    after = simplify(before)
    assert ops(after) == []
    assert_same(before, after, [SPECIAL])


@pytest.mark.parametrize("name", FEWER)
def test_fewer_nodes(name: str) -> None:
    function, wanted = FEWER[name]
    before = trace(function, (9,))
    after = simplify(before)
    assert ops(after) == wanted
    assert_same(before, after, [SPECIAL], rtol=1e-7 if name == "square" else 0)


@pytest.mark.parametrize("name", KEPT)
def test_inexact_identities_stay(name: str) -> None:
    before = trace(KEPT[name], (9,))
    assert simplify(before) is before


def test_integers_have_one_zero() -> None:
    before = trace(lambda x: x + 0, spec(4, dtype="int32"))
    after = simplify(before)
    assert ops(after) == []
    assert_same(before, after)


def test_an_operand_that_broadcasts_is_expanded() -> None:
    before = trace(lambda x: x * np.ones((2, 3), np.float32), (3,))
    after = simplify(before)
    assert ops(after) == ["Expand"]
    assert_same(before, after)


def test_stop_gradient_goes_only_for_inference() -> None:
    before = trace(lambda x: sh.stop_gradient(x).exp(), (3,))
    assert simplify(before) is before
    assert ops(simplify(before, SimplifyOptions(inference=True))) == ["Exp"]


def test_symbolic_batch() -> None:
    graph = trace(lambda x: (x.reshape(-1, 2, 2).reshape(-1, 4) * 1 - 0).expand(3, x.size(0), 4) + 1, spec("N", 4))
    after = simplify(graph)
    assert ops(after) == ["Add", "Expand"]
    assert_same(graph.bind({"N": 5}), after.bind({"N": 5}))


def test_a_constant_of_one_number_is_kept_apart_from_its_opposite_zero() -> None:
    before = trace(lambda x: x * constant(x, np.array([0.0, -0.0], np.float32)), (2,))
    assert simplify(before) is before


def test_a_long_chain_takes_one_walk() -> None:
    def chain(x: Any) -> Any:
        for _ in range(3000):
            x = -(x * 1).reshape(3, 1).reshape(1, 3).reshape(3)
        return x

    assert ops(simplify(trace(chain, (3,)))) == []
