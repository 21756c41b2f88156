"""The operator Gradient: a part of the model's graph differentiated by the system's own rules, again and again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

import lucid
from lucid.errors import LucidError

from .models import Array, model

TRAINING = "ai.onnx.preview.training"


def gradient(
    xs: list[str], y: str, outputs: list[str], zs: list[str] | None = None, given: list[str] | None = None
) -> Any:
    inputs = given or [*xs, *(zs or [])]
    return helper.make_node("Gradient", inputs, outputs, domain=TRAINING, xs=xs, y=y, **({"zs": zs} if zs else {}))


def check(
    nodes: list[Any], inputs: dict[str, Array], outputs: list[str], wanted: list[Array], **constants: Array
) -> None:
    net = lucid.onnx.load(model(nodes, inputs, outputs, constants, domains={TRAINING: 1}))
    for made in (net, lucid.compile(net), lucid.compile(net, *net.specs)):
        found = made(*inputs.values())
        for y, want in zip(found if isinstance(found, tuple) else (found,), wanted, strict=True):
            np.testing.assert_allclose(y.numpy(), want, rtol=1e-5, atol=1e-6)


X, W = np.float32([[1, 2, -1], [0.5, -2, 3]]), np.float32([[1, 0.5], [2, -1], [-0.5, 1.5]])
ONES = np.ones((2, 2), np.float32)


def test_a_product_and_an_activation() -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Tanh", ["h"], ["y"])]
    slope = 1 - np.tanh(X @ W) ** 2
    both = [gradient(["x", "w"], "y", ["dx", "dw"])]
    check([*nodes, *both], {"x": X, "w": W}, ["dx", "dw"], [slope @ W.T, X.T @ slope])
    check([*nodes, *both], {"x": X}, ["dx", "dw"], [slope @ W.T, X.T @ slope], w=W)
    check([*nodes, gradient(["w"], "y", ["dw"], ["x"])], {"x": X, "w": W}, ["dw"], [X.T @ slope])


def test_what_lies_on_the_way_stands_alone() -> None:
    """With respect to h and w, of which h is made: none of what h was made of is seen."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("MatMul", ["w", "h"], ["y"])]
    inside = gradient(["h", "w"], "y", ["dh", "dw"])
    ones = np.ones((3, 2), np.float32)
    check([*nodes, inside], {"x": X, "w": W}, ["dh", "dw"], [W.T @ ones, ones @ (X @ W).T])


def test_it_is_taken_where_it_is_given() -> None:
    square = helper.make_node("Mul", ["x", "x"], ["y"])
    check([square, gradient(["x"], "y", ["dx"], given=["at"])], {"x": X, "at": X + 1}, ["y", "dx"], [X * X, 2 * X + 2])


def test_gradients_of_gradients() -> None:
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["square"]), helper.make_node("Mul", ["square", "x"], ["y"]),
        gradient(["x"], "y", ["first"]), gradient(["x"], "first", ["second"]), gradient(["x"], "second", ["third"]),
    ]  # fmt: skip
    check(nodes, {"x": X}, ["first", "second", "third"], [3 * X**2, 6 * X, np.full_like(X, 6)])


def test_a_few_nodes_do_not_become_any_number() -> None:
    nodes = [helper.make_node("Exp", ["x"], ["y0"])]
    for i in range(5):
        nodes += [gradient(["x"], f"y{i}", [f"a{i}"]), gradient(["x"], f"y{i}", [f"b{i}"])]
        nodes.append(helper.make_node("Mul", [f"a{i}", f"b{i}"], [f"y{i + 1}"]))
    net = lucid.onnx.load(model(nodes, {"x": X}, ["y5"], domains={TRAINING: 1}))
    with pytest.raises(LucidError, match="gradients of gradients stand more than 4 deep"):
        lucid.compile(net, *net.specs)


def test_what_it_does_not_depend_on_has_zeros_and_results_may_be_left_out() -> None:
    square = helper.make_node("Mul", ["x", "x"], ["y"])
    check([square, gradient(["w", "x"], "y", ["dw", "dx"])], {"x": X, "w": W}, ["dw", "dx"], [0 * W, 2 * X])
    check([square, gradient(["w", "x"], "y", ["", "dx"])], {"x": X, "w": W}, ["dx"], [2 * X])


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (gradient(["x"], "z", ["dx"]), "no node of the graph gives the value 'z'"),
        (gradient(["x"], "x", ["dx"]), "no node of the graph gives the value 'x'"),
        (gradient(["x"], "y", ["dx"], given=["x", "x"]), "given 2 inputs for 1 xs and 0 zs"),
        (gradient(["n"], "y", ["dx"]), "only floating-point tensors have"),
    ],
)
def test_nonsense_is_refused(node: Any, words: str) -> None:
    nodes = [helper.make_node("Mul", ["x", "x"], ["y"]), node]
    inputs = {"x": X, "n": np.arange(3)}
    net = lucid.onnx.load(model(nodes, inputs, ["dx"], domains={TRAINING: 1}))
    with pytest.raises(LucidError, match=words):
        net(*inputs.values())
