"""Loops of ONNX: counted ones are scans, data ends others, and those that a scan cannot be are written out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import lucid
from lucid.errors import LucidError, TraceError

Array = np.ndarray[Any, Any]
X = np.arange(12, dtype=np.float32).reshape(4, 3) / 5 - 1


def value(name: str, kind: int = TensorProto.FLOAT, shape: Sequence[int | str] | None = None) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def model(
    nodes: Sequence[Any], inputs: Sequence[Any], outputs: Sequence[str], constants: dict[str, Array] | None = None,
    opset: int = 17,
) -> lucid.onnx.OnnxModel:  # fmt: skip
    held = [onnx.numpy_helper.from_array(array, name) for name, array in (constants or {}).items()]
    results = [helper.make_empty_tensor_value_info(name) for name in outputs]
    graph = helper.make_graph(nodes, "graph", inputs, results, held)
    opsets = [helper.make_opsetid("", opset)]
    return lucid.onnx.load(helper.make_model(graph, opset_imports=opsets, ir_version=8))


def body(nodes: Sequence[Any], inputs: Sequence[str], outputs: Sequence[str]) -> onnx.GraphProto:
    given = [helper.make_empty_tensor_value_info(name) for name in inputs]
    return helper.make_graph(nodes, "body", given, [helper.make_empty_tensor_value_info(name) for name in outputs])


def ran(net: lucid.onnx.OnnxModel, *arrays: Any) -> list[Array]:
    """What a model gives, checked to be the same eagerly and compiled."""
    found = []
    for run in (lambda: net(*map(lucid.tensor, arrays)), lambda: lucid.compile(net)(*arrays)):
        results = run()
        found.append([y.numpy() for y in (results if isinstance(results, tuple) else (results,))])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    return found[1]


def ops(net: lucid.onnx.OnnxModel, *arrays: Any) -> list[str]:
    compiled = lucid.compile(net)
    compiled(*arrays)
    return [node.op.name for _, node in compiled.traced.nodes()]


def summing(turns: Array | None) -> lucid.onnx.OnnxModel:
    """``s = s * 2 + x`` so many times, and each ``s`` on the way; ``x`` is read from outside."""
    inner = body(
        [
            helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Mul", ["s", "two"], ["twice"]),
            helper.make_node("Add", ["twice", "x"], ["next"]), helper.make_node("Identity", ["next"], ["seen"]),
        ],
        ["i", "go", "s"], ["go_on", "next", "seen"],
    )  # fmt: skip
    node = helper.make_node("Loop", ["turns", "", "x"], ["last", "every"], body=inner)
    constants = {"two": np.array(2, np.float32)} | ({} if turns is None else {"turns": turns})
    inputs = [value("x", shape=(4, 3)), *([value("turns", TensorProto.INT64, ())] if turns is None else [])]
    return model([node], inputs, ["last", "every"], constants)


@pytest.mark.parametrize("turns", [0, 1, 5])
def test_a_counted_loop_is_a_scan(turns: int) -> None:
    net = summing(np.array(turns))
    last, every = ran(net, X)
    rows = [X]
    for _ in range(turns):
        rows.append(rows[-1] * 2 + X)
    np.testing.assert_allclose(last, rows[-1], rtol=1e-6)
    np.testing.assert_allclose(every, np.reshape(rows[1:], (turns, 4, 3)), rtol=1e-6)
    assert "Scan" in ops(net, X)


@pytest.mark.parametrize("kept", [True, False])
def test_a_condition_from_outside_counts_where_it_is_known(kept: bool) -> None:
    """As exporters write a loop over the times of a sequence: its condition is a constant of the graph around it."""
    inner = body(
        [helper.make_node("Identity", ["yes"], ["go_on"]), helper.make_node("Mul", ["s", "x"], ["next"])],
        ["i", "go", "s"], ["go_on", "next"],
    )  # fmt: skip
    nodes = [
        helper.make_node("Shape", ["x"], ["sizes"]), helper.make_node("Gather", ["sizes", "zero"], ["turns"]),
        helper.make_node("Loop", ["turns", "yes", "x"], ["last"], body=inner),
    ]  # fmt: skip
    constants = {"zero": np.array(0)} | ({"yes": np.array(True)} if kept else {})
    inputs = [value("x", shape=("n", 3)), *([] if kept else [value("yes", TensorProto.BOOL, ())])]
    net = model(nodes, inputs, ["last"], constants)
    given = [X] if kept else [X, np.array(True)]
    (last,) = ran(net, *given)
    np.testing.assert_allclose(last, X**5, rtol=1e-5)
    assert ops(net, *given).count("Scan" if kept else "Loop") == 1
    if kept:
        x = lucid.tensor(X, requires_grad=True)
        lucid.compile(net, *net.specs)(x).sum().backward()
        assert x.grad is not None
        np.testing.assert_allclose(x.grad.numpy(), 5 * X**4, rtol=1e-5)


def test_the_number_of_turns_may_be_given() -> None:
    net = lucid.compile(summing(None))
    for turns in (2, 3):
        assert net(X, turns)[1].shape == (turns, 4, 3)


def halving(stacked: bool = False, limit: Array | None = None) -> lucid.onnx.OnnxModel:
    """Halves until the sum is below 1."""
    inner = body(
        [
            helper.make_node("Mul", ["s", "half"], ["next"]),
            helper.make_node("ReduceSum", ["next"], ["sum"], keepdims=0),
            helper.make_node("Greater", ["sum", "one"], ["go_on"]),
        ],
        ["i", "go", "s"], ["go_on", "next", *(["sum"] if stacked else [])],
    )  # fmt: skip
    most = "" if limit is None else "most"
    node = helper.make_node("Loop", [most, "", "x"], ["last", *(["every"] if stacked else [])], body=inner)
    constants = {"half": np.array(0.5, np.float32), "one": np.array(1, np.float32)}
    constants |= {} if limit is None else {"most": limit}
    return model([node], [value("x", shape=("n", 3))], list(node.output), constants)


def test_data_ends_a_loop() -> None:
    net = halving()
    x = np.full((2, 3), 3, np.float32)
    (last,) = ran(net, x)
    np.testing.assert_allclose(last, x / 32)
    assert "Loop" in ops(net, x)
    with pytest.raises(LucidError, match="no gradient"):
        lucid.compile(net)(lucid.tensor(x, requires_grad=True)).sum().backward()


def test_any_number_of_rows() -> None:
    net = halving()
    compiled = lucid.compile(net, *net.specs)
    for rows in (1, 2, 5):
        x = np.full((rows, 3), 3, np.float32)
        np.testing.assert_allclose(compiled(x).numpy(), net(lucid.tensor(x)).numpy())


def test_what_data_stacks_has_no_size() -> None:
    """So nothing is compiled of it; as it is, the model runs."""
    net = halving(stacked=True)
    with pytest.raises(TraceError, match="sizes must be known before a run; uncompiled, it runs"):
        lucid.compile(net)(X)
    x = np.full((2, 3), 3, np.float32)
    last, every = net(x)
    np.testing.assert_allclose(last.numpy(), x / 32)
    np.testing.assert_allclose(every.numpy(), 18 / 2.0 ** np.arange(1, 6))
    for limit in (2, 0):
        last, every = halving(stacked=True, limit=np.array(limit))(x)
        np.testing.assert_allclose(last.numpy(), x / 2**limit)
        np.testing.assert_allclose(every.numpy(), 18 / 2.0 ** np.arange(1, limit + 1))
    y = lucid.tensor(x, requires_grad=True)
    net(y)[1].sum().backward()
    assert y.grad is not None
    np.testing.assert_allclose(y.grad.numpy(), np.full((2, 3), 31 / 32))


def counting(limit: Array | None, below: int) -> lucid.onnx.OnnxModel:
    """Adds ``x`` while the number of the turn is small, and stacks the sums."""
    inner = body(
        [
            helper.make_node("Add", ["s", "x"], ["next"]), helper.make_node("Less", ["i", "below"], ["go_on"]),
            helper.make_node("Identity", ["next"], ["seen"]),
        ],
        ["i", "go", "s"], ["go_on", "next", "seen"],
    )  # fmt: skip
    node = helper.make_node("Loop", ["" if limit is None else "most", "", "x"], ["last", "every"], body=inner)
    constants = {"below": np.array(below)} | ({} if limit is None else {"most": limit})
    return model([node], [value("x", shape=(4, 3))], ["last", "every"], constants)


@pytest.mark.parametrize("limit", [None, np.array(np.iinfo(np.int64).max)])
def test_a_condition_on_the_number_of_the_turn(limit: Array | None) -> None:
    last, every = ran(counting(limit, 2), X)
    np.testing.assert_allclose(last, 4 * X, rtol=1e-6)
    assert every.shape == (3, 4, 3)
    with pytest.raises(TraceError, match="sizes must be known before a run"):
        lucid.compile(counting(limit, 10**9))(X)


def test_data_ends_a_loop_that_is_counted_too() -> None:
    """As exporters write one that only data ends: at most 2 ** 63 - 1 turns."""
    for limit, turns in ((np.array(np.iinfo(np.int64).max), 5), (np.array(3), 3)):
        (last,) = ran(halving(limit=limit), np.full((2, 3), 3, np.float32))
        np.testing.assert_allclose(last, np.full((2, 3), 3 / 2**turns))


def test_what_grows_is_written_out() -> None:
    inner = body(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Concat", ["s", "x"], ["next"], axis=0)],
        ["i", "go", "s"], ["go_on", "next"],
    )  # fmt: skip
    node = helper.make_node("Loop", ["turns", "", "x"], ["last"], body=inner)
    net = model([node], [value("x", shape=(4, 3))], ["last"], {"turns": np.array(3)})
    (last,) = ran(net, X)
    np.testing.assert_array_equal(last, np.tile(X, (4, 1)))
    assert "Scan" not in ops(net, X)


def recurrent(axis: int, way: int, onto: int, back: int) -> lucid.onnx.OnnxModel:
    inner = body(
        [
            helper.make_node("MatMul", ["h", "w"], ["turned"]), helper.make_node("Add", ["turned", "x"], ["sum"]),
            helper.make_node("Tanh", ["sum"], ["next"]), helper.make_node("Neg", ["next"], ["y"]),
        ],
        ["h", "x"], ["next", "y"],
    )  # fmt: skip
    node = helper.make_node(
        "Scan", ["h0", "xs"], ["last", "ys"], body=inner, num_scan_inputs=1, scan_input_axes=[axis],
        scan_input_directions=[way], scan_output_axes=[onto], scan_output_directions=[back],
    )  # fmt: skip
    shape = ["N", 3]
    shape.insert(axis % 3, "T")
    w = np.linspace(-1, 1, 9, dtype=np.float32).reshape(3, 3)
    return model([node], [value("h0", shape=("N", 3)), value("xs", shape=shape)], ["last", "ys"], {"w": w})


@pytest.mark.parametrize(("axis", "way", "onto", "back"), [(0, 0, 0, 0), (1, 1, 0, 1), (-3, 1, -1, 0), (1, 0, 1, 1)])
def test_a_scan_goes_along_any_axis(axis: int, way: int, onto: int, back: int) -> None:
    net = recurrent(axis, way, onto, back)
    w = next(iter(net.state_dict().values())).numpy()
    compiled = lucid.compile(net, *net.specs)
    for times, batch in ((4, 2), (1, 5)):
        rng = np.random.default_rng(times)
        h, xs = rng.standard_normal((batch, 3)).astype("f"), rng.standard_normal((times, batch, 3)).astype("f")
        state, rows = h, []
        for x in xs[:: -1 if way else 1]:
            state = np.tanh(state @ w + x)
            rows.append(-state)
        given = np.moveaxis(xs, 0, axis)
        last, ys = (y.numpy() for y in compiled(h, np.ascontiguousarray(given)))
        np.testing.assert_allclose(last, state, rtol=1e-5)
        np.testing.assert_allclose(ys, np.stack(rows[:: -1 if back else 1], onto), rtol=1e-5)


def test_an_imported_scan_is_trained() -> None:
    net = recurrent(0, 0, 0, 0)
    h, xs = np.ones((2, 3), np.float32), np.ones((4, 2, 3), np.float32)
    gradients = []
    for run in (net, lucid.compile(net)):
        run(lucid.tensor(h), lucid.tensor(xs))[1].sum().backward()
        (parameter,) = net.parameters()
        assert parameter.grad is not None
        gradients.append(parameter.grad.numpy().copy())
        parameter.grad = None
    np.testing.assert_allclose(*gradients, rtol=1e-5)


def test_a_branch_in_a_loop_in_a_branch() -> None:
    then = body([helper.make_node("Add", ["s", "x"], ["t"])], [], ["t"])
    other = body([helper.make_node("Sub", ["s", "x"], ["o"])], [], ["o"])
    inner = body(
        [
            helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Equal", ["i", "one"], ["second"]),
            helper.make_node("If", ["second"], ["next"], then_branch=then, else_branch=other),
        ],
        ["i", "go", "s"], ["go_on", "next"],
    )  # fmt: skip
    loop = helper.make_node("Loop", ["turns", "", "x"], ["last"], body=inner)
    outer = body([loop], [], ["last"])
    rest = body([helper.make_node("Abs", ["x"], ["abs"])], [], ["abs"])
    node = helper.make_node("If", ["c"], ["y"], then_branch=outer, else_branch=rest)
    constants = {"turns": np.array(3), "one": np.array(1)}
    net = model([node], [value("x", shape=(4, 3)), value("c", TensorProto.BOOL, ())], ["y"], constants)
    np.testing.assert_allclose(ran(net, X, np.array(True))[0], X - X + X - X)
    np.testing.assert_allclose(ran(net, X, np.array(False))[0], abs(X))
