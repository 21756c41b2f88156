"""``If`` on data of which one branch fits the sizes at hand, as a model for two sampling rates has it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import lucid
from lucid.errors import ExecutionError, LucidError, TraceError

ZERO = helper.make_tensor("zero", TensorProto.INT64, (), [0])
X = np.arange(6, dtype=np.float32).reshape(2, 3)


def branch(name: str, weight: tuple[int, int], sign: str) -> onnx.GraphProto:
    """The product with a weight of ones, and something done to it."""
    values = helper.make_tensor(f"{name}_w", TensorProto.FLOAT, weight, np.ones(weight, np.float32).ravel())
    nodes = [
        helper.make_node("MatMul", ["x", f"{name}_w"], [f"{name}_m"]),
        helper.make_node(sign, [f"{name}_m"], [f"{name}_y"]),
    ]
    result = helper.make_empty_tensor_value_info(f"{name}_y")
    return helper.make_graph(nodes, name, [], [result], [values])


def forked(then: tuple[int, int], other: tuple[int, int]) -> lucid.onnx.OnnxModel:
    node = helper.make_node(
        "If", ["c"], ["y"], then_branch=branch("then", then, "Neg"), else_branch=branch("else", other, "Abs")
    )
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, (2, 3)),
        helper.make_tensor_value_info("c", TensorProto.BOOL, ()),
    ]
    graph = helper.make_graph([node], "graph", inputs, [helper.make_empty_tensor_value_info("y")])
    return lucid.onnx.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10))


def test_both_fit() -> None:
    net = lucid.compile(forked((3, 2), (3, 2)))
    want = X @ np.ones((3, 2))
    np.testing.assert_allclose(net(X, np.array(True)).numpy(), -want)
    np.testing.assert_allclose(net(X, np.array(False)).numpy(), want)


@pytest.mark.parametrize("value", [True, False])
def test_one_fits(value: bool) -> None:
    """It answers; where the other is asked for it says why there is no answer."""
    fit, other = (3, 2), (5, 2)
    model = forked(fit, other) if value else forked(other, fit)
    want = (X @ np.ones(fit)) * (-1 if value else 1)
    for net in (model, lucid.compile(model)):
        np.testing.assert_allclose(net(X, np.array(value)).numpy(), want)
        with pytest.raises(ExecutionError, match=r"for these sizes the branch that is taken cannot be built: .*MatMul"):
            net(X, np.array(not value))
    assert "Expect" in str(lucid.compile(model, *model.specs).traced)


def test_none_fits() -> None:
    with pytest.raises(LucidError, match="do not multiply"):
        forked((5, 2), (4, 2))(X, np.array(True))


@pytest.mark.parametrize("value", [True, False])
def test_both_fit_and_their_results_differ_in_shape(value: bool) -> None:
    """Compiled, it says that this is why, and that it runs uncompiled; so it does."""
    model = forked((3, 2), (3, 4))
    want = -X @ np.ones((3, 2)) if value else X @ np.ones((3, 4))
    np.testing.assert_allclose(model(lucid.tensor(X), lucid.tensor(value)).numpy(), want)
    with pytest.raises(TraceError, match=r"different shapes, \(2, 2\) and \(2, 4\), .*; uncompiled, it runs"):
        lucid.compile(model)(X, np.array(value))


@pytest.mark.parametrize("value", [True, False])
def test_what_is_given_up_relies_on_nothing(value: bool) -> None:
    """A branch asks whether data gives more than no number, and then cannot be built: the other runs all the same."""
    nodes = [
        helper.make_node("NonZero", ["x"], ["places"]),
        helper.make_node("Size", ["places"], ["count"]),
        helper.make_node("Greater", ["count", "zero"], ["any"]),
        helper.make_node(
            "If", ["any"], ["z"], then_branch=branch("a", (3, 2), "Neg"), else_branch=branch("b", (3, 2), "Abs")
        ),
        helper.make_node("MatMul", ["z", "wide"], ["w"]),
    ]
    counted = helper.make_graph(
        nodes, "counted", [], [helper.make_empty_tensor_value_info("w")],
        [ZERO, helper.make_tensor("wide", TensorProto.FLOAT, (5, 2), [1.0] * 10)],
    )  # fmt: skip
    plain = branch("plain", (3, 2), "Neg")
    then, other = (plain, counted) if value else (counted, plain)
    node = helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other)
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, (2, 3)),
        helper.make_tensor_value_info("c", TensorProto.BOOL, ()),
    ]
    graph = helper.make_graph([node], "graph", inputs, [helper.make_empty_tensor_value_info("y")])
    model = lucid.onnx.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10))
    np.testing.assert_allclose(lucid.compile(model)(X, np.array(value)).numpy(), -(X @ np.ones((3, 2))))


def test_a_size_that_data_decides_is_asked_for_and_not_computed_with() -> None:
    """What depends on the answer is traced for either, though neither branch has the size in a shape."""
    branches = {
        f"{name}_branch": helper.make_graph(
            [helper.make_node(op, ["x", "one"], [name])], name, [], [helper.make_empty_tensor_value_info(name)]
        )
        for name, op in (("then", "Add"), ("else", "Sub"))
    }
    nodes = [
        helper.make_node("NonZero", ["x"], ["places"]),
        helper.make_node("Size", ["places"], ["count"]),
        helper.make_node("Greater", ["count", "zero"], ["any"]),
        helper.make_node("If", ["any"], ["y"], **branches),
    ]
    graph = helper.make_graph(
        nodes, "graph", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n",))],
        [helper.make_empty_tensor_value_info("y")],
        [ZERO, helper.make_tensor("one", TensorProto.FLOAT, (), [1.0])],
    )  # fmt: skip
    model = lucid.onnx.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10))
    net = lucid.compile(model)
    for x in ([1, 2, 0], [0, 0, 0], [0, 5], [0, 0]):
        given = np.array(x, np.float32)
        want = given + 1 if given.any() else given - 1
        np.testing.assert_array_equal(net(given).numpy(), want)
        np.testing.assert_array_equal(model(given).numpy(), want)
