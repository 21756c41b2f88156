"""Sequences, whose lengths are known while a model is built: in the model, as inputs, as outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import lucid
from lucid.errors import GraphError, LucidError, TraceError

Array = np.ndarray[Any, Any]
X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
FLOAT, INT = TensorProto.FLOAT, TensorProto.INT64


def tensor(name: str, kind: int = FLOAT, shape: Sequence[int | str] | None = None) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def listed(name: str, shape: Sequence[int | str] | None = None) -> Any:
    return helper.make_tensor_sequence_value_info(name, FLOAT, shape)


def graph(
    nodes: Sequence[Any], inputs: Sequence[Any], outputs: Sequence[str], constants: dict[str, Array] | None = None
) -> onnx.GraphProto:
    held = [onnx.numpy_helper.from_array(array, name) for name, array in (constants or {}).items()]
    return helper.make_graph(
        nodes, "graph", inputs, [helper.make_empty_tensor_value_info(one) for one in outputs], held
    )


def loaded(*args: Any) -> lucid.onnx.OnnxModel:
    opsets = [helper.make_opsetid("", 18)]
    return lucid.onnx.load(helper.make_model(graph(*args), opset_imports=opsets, ir_version=8))


def arrays(found: Any) -> Any:
    if isinstance(found, list | tuple):
        return type(found)(map(arrays, found))
    return None if found is None else found.numpy()


def ran(net: lucid.onnx.OnnxModel, *given: Any) -> Any:
    """What a model gives, checked to be the same eagerly, compiled, and saved."""
    results = [arrays(run(*given)) for run in (net, lucid.compile(net))]
    alike(*results)
    return results[0]


def alike(a: Any, b: Any) -> None:
    assert type(a) is type(b)
    if isinstance(a, list | tuple):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            alike(one, other)
    else:
        np.testing.assert_array_equal(a, b, strict=True)


def test_a_sequence_is_built_and_taken_apart() -> None:
    nodes = [
        helper.make_node("SequenceEmpty", [], ["s0"]), helper.make_node("SequenceInsert", ["s0", "x"], ["s1"]),
        helper.make_node("SequenceInsert", ["s1", "y", "first"], ["s2"]),
        helper.make_node("SequenceInsert", ["s2", "x", "first"], ["s3"]),
        helper.make_node("SequenceErase", ["s3"], ["s4"]), helper.make_node("SequenceErase", ["s3", "first"], ["s5"]),
        helper.make_node("SequenceAt", ["s4", "last"], ["a"]), helper.make_node("SequenceLength", ["s5"], ["n"]),
        helper.make_node("ConcatFromSequence", ["s3"], ["c"], axis=-1),
        helper.make_node("ConcatFromSequence", ["s5"], ["d"], axis=0, new_axis=1),
    ]  # fmt: skip
    constants = {"first": np.array(0), "last": np.array(-1)}
    net = loaded(nodes, [tensor("x", shape=(2, 3)), tensor("y", shape=(2, 3))], ["a", "n", "c", "d"], constants)
    x, y = X[..., 0], X[..., 1]
    alike(ran(net, x, y), (y, np.array(2), np.concatenate([x, y, x], -1), np.stack([y, x])))


@pytest.mark.parametrize(
    ("sizes", "keeps", "wanted"),
    [
        (None, 1, [X[:, i : i + 1] for i in range(3)]), (None, 0, [X[:, i] for i in range(3)]),
        (np.array(2), 1, [X[:, :2], X[:, 2:]]), (np.array([1, 2]), 0, [X[:, :1], X[:, 1:]]),
    ],
)  # fmt: skip
def test_an_axis_is_split(sizes: Array | None, keeps: int, wanted: list[Array]) -> None:
    names = ["x"] if sizes is None else ["x", "sizes"]
    node = helper.make_node("SplitToSequence", names, ["s"], axis=-2, keepdims=keeps)
    net = loaded([node], [tensor("x", shape=("n", 3, 4))], ["s"], {} if sizes is None else {"sizes": sizes})
    alike(ran(net, X), wanted)
    compiled = lucid.compile(net, *net.specs)
    alike(arrays(compiled(X[:1])), [one[:1] for one in wanted])


def test_sizes_are_split_too() -> None:
    """What a model splits may be a shape, and stays known."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]), helper.make_node("SplitToSequence", ["shape"], ["s"], keepdims=0),
        helper.make_node("SequenceAt", ["s", "one"], ["size"]),
        helper.make_node("Unsqueeze", ["size", "axis"], ["dims"]),
        helper.make_node("ConstantOfShape", ["dims"], ["y"]),
    ]  # fmt: skip
    net = loaded(nodes, [tensor("x", shape=("n", "m", 4))], ["y"], {"one": np.array(1), "axis": np.array([0])})
    assert lucid.compile(net, *net.specs)(X).shape == (3,)


@pytest.mark.parametrize(
    ("sizes", "words"),
    [(np.array(0), "parts of 0"), (np.array([1, 1]), "are no axis of 3"), (np.array(-1), "parts of -1")],
)
def test_what_does_not_split_an_axis(sizes: Array, words: str) -> None:
    node = helper.make_node("SplitToSequence", ["x", "sizes"], ["s"], axis=1)
    with pytest.raises(GraphError, match=words):
        loaded([node], [tensor("x", shape=(2, 3, 4))], ["s"], {"sizes": sizes})(lucid.tensor(X))


def test_a_symbolic_axis_has_no_number_of_parts() -> None:
    net = loaded([helper.make_node("SplitToSequence", ["x"], ["s"])], [tensor("x", shape=("n", 3))], ["s"])
    with pytest.raises(GraphError, match=r"must be a number: fix the size of the axis"):
        lucid.compile(net, *net.specs)
    assert len(lucid.compile(net)(X[0])) == 3


def test_lists_go_in_and_out(tmp_path: Any) -> None:
    """Each length is a trace of its own."""
    nodes = [helper.make_node("SequenceInsert", ["xs", "y"], ["s"]), helper.make_node("SequenceLength", ["s"], ["n"])]
    net = loaded(nodes, [listed("xs"), tensor("y", shape=(2,))], ["s", "n"])
    compiled = lucid.compile(net)
    y = np.ones(2, np.float32)
    for count in (0, 1, 3):
        found, size = compiled([X[0]] * count, y)
        alike(arrays(found), [*[X[0]] * count, y])
        assert size.numpy() == count + 1
    fixed = lucid.compile(net, [lucid.spec("a", "b"), lucid.spec(2)], lucid.spec(2))
    fixed.save(tmp_path / "net.lucid")
    for one in (fixed, lucid.load(tmp_path / "net.lucid")):
        alike(arrays(one([X[0], y], y))[0], [X[0], y, y])


def test_the_file_does_not_say_how_long_a_list_is() -> None:
    net = loaded([helper.make_node("Identity", ["xs"], ["ys"])], [listed("xs", (2,))], ["ys"])
    with pytest.raises(LucidError, match="'xs' is a sequence"):
        _ = net.specs


def test_what_is_no_sequence() -> None:
    with pytest.raises(GraphError, match="takes a sequence, and is given a tensor"):
        loaded([helper.make_node("SequenceLength", ["x"], ["n"])], [tensor("x")], ["n"])(lucid.tensor(X))
    net = loaded([helper.make_node("Relu", ["xs"], ["y"])], [listed("xs")], ["y"])
    with pytest.raises(GraphError, match="takes tensors, and is given a sequence"):
        net([lucid.tensor(X)])


@pytest.mark.parametrize("place", [3, -4, 2**62])
def test_a_place_that_there_is_not(place: int) -> None:
    nodes = [helper.make_node("SequenceConstruct", ["x"] * 3, ["s"]), helper.make_node("SequenceAt", ["s", "i"], ["y"])]
    with pytest.raises(GraphError, match=f"no place {place} among 3"):
        loaded(nodes, [tensor("x")], ["y"], {"i": np.array(place)})(lucid.tensor(X))


def mapped(body: onnx.GraphProto, *names: str) -> Any:
    outputs = [f"m{i}" for i in range(len(body.output))]
    return helper.make_node("SequenceMap", list(names), outputs, body=body)


def test_a_graph_for_each_of_a_sequence() -> None:
    body = graph(
        [helper.make_node("Mul", ["a", "b"], ["p"]), helper.make_node("Sub", ["p", "c"], ["q"])],
        [tensor("a"), tensor("b"), tensor("c")], ["p", "q"],
    )  # fmt: skip
    net = loaded([mapped(body, "xs", "ys", "z")], [listed("xs"), listed("ys"), tensor("z")], ["m0", "m1"])
    xs, ys, z = [X[0], X[1]], [X[1], X[0]], X[0] + 1
    products = [a * b for a, b in zip(xs, ys, strict=True)]
    alike(ran(net, xs, ys, z), (products, [one - z for one in products]))
    with pytest.raises(GraphError, match="sequences of 2, 1 values"):
        net(list(map(lucid.tensor, xs)), [lucid.tensor(X[0])], lucid.tensor(z))


def test_graphs_in_graphs_are_written_out_so_often() -> None:
    """A small file asks for 40 ** 8 nodes."""
    name, body = "x8", graph([helper.make_node("Neg", ["x8"], ["y8"])], [tensor("x8")], ["y8"])
    for depth in range(7, -1, -1):
        inner = helper.make_node("SequenceMap", [f"s{depth}"], [f"m{depth}"], body=body)
        inner.input[0] = "xs"
        first = helper.make_node("SequenceAt", [f"m{depth}", "zero"], [f"y{depth}"])
        body = graph([inner, first], [tensor(f"x{depth}")], [f"y{depth}"])
        name = f"x{depth}"
    net = loaded([mapped(body, "xs")], [listed("xs")], ["m0"], {"zero": np.array(0)})
    assert name == "x0"
    with pytest.raises(GraphError, match="becomes too many nodes"):
        net([lucid.tensor(X[0, 0])] * 40)


def branch(*values: str) -> onnx.GraphProto:
    return graph([helper.make_node("SequenceConstruct", list(values), ["s"])], [], ["s"])


def test_data_chooses_a_sequence() -> None:
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch("a", "b"), else_branch=branch("b", "a"))
    inputs = [tensor("c", TensorProto.BOOL, ()), tensor("a", shape=(3,)), tensor("b", shape=(3,))]
    net = loaded([node], inputs, ["y"])
    a, b = X[0, :, 0], X[1, :, 0]
    alike(ran(net, np.array(True), a, b), [a, b])
    alike(ran(net, np.array(False), a, b), [b, a])


def test_data_does_not_choose_a_length() -> None:
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch("a", "a"), else_branch=branch("a"))
    net = loaded([node], [tensor("c", TensorProto.BOOL, ()), tensor("a", shape=(3,))], ["y"])
    a = X[0, :, 0]
    with pytest.raises(TraceError, match=r"lengths must be known when the model is built(.|\n)*If"):
        lucid.compile(net)(np.array(True), a)
    for value in (True, False):
        assert len(net(lucid.tensor(np.array(value)), lucid.tensor(a))) == 1 + value


@pytest.mark.parametrize("known", [True, False])
def test_a_loop_carries_a_sequence(known: bool) -> None:
    """Of one length in a scan, or written out where it grows."""
    grows = [
        helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Add", ["x", "x"], ["twice"]),
        helper.make_node("SequenceInsert", ["s", "twice"], ["next"]),
    ]  # fmt: skip
    if known:
        grows += [helper.make_node("SequenceErase", ["next", "zero"], ["kept"])]
    body = graph(
        grows, [tensor("i", INT), tensor("go", TensorProto.BOOL), listed("s")], ["go_on", "kept" if known else "next"]
    )
    nodes = [
        helper.make_node("SequenceConstruct", ["x", "x"], ["s0"]),
        helper.make_node("Loop", ["turns", "", "s0"], ["last"], body=body),
    ]
    net = loaded(nodes, [tensor("x", shape=(2,))], ["last"], {"turns": np.array(3), "zero": np.array(0)})
    x = X[0, 0, :2]
    alike(ran(net, x), [2 * x, 2 * x] if known else [x, x, *[2 * x] * 3])
    compiled = lucid.compile(net, *net.specs)
    assert known == any(node.op.name == "Scan" for _, node in compiled.traced.nodes())


def test_what_goes_through_a_sequence_is_trained() -> None:
    nodes = [
        helper.make_node("SplitToSequence", ["x"], ["s"], axis=1), helper.make_node("SequenceAt", ["s", "one"], ["a"]),
        helper.make_node("Mul", ["a", "w"], ["y"]),
    ]  # fmt: skip
    net = loaded(nodes, [tensor("x", shape=(2, 3))], ["y"], {"one": np.array(1), "w": np.ones(1, np.float32)})
    x = lucid.tensor(X[..., 0], requires_grad=True)
    lucid.compile(net)(x).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [[0, 1, 0], [0, 1, 0]])
