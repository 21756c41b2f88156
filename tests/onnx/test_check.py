"""``lucid.onnx.check``: all that is not supported at once, without reading a weight."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import lucid
from lucid.errors import GraphError
from lucid.formats.onnx.skim import skimmed

from .hostile import bomb, message
from .models import model

X = {"x": (TensorProto.FLOAT, (2, 3))}
LARGE = 1 << 20


def strange() -> onnx.ModelProto:
    """Unsupported nodes in the graph, in a branch and in a function; and many numbers in constants and attributes."""
    empty = helper.make_empty_tensor_value_info
    branch = helper.make_graph([helper.make_node("Odd", ["x"], ["r"], "in a branch")], "b", [], [empty("r")])
    nodes = [
        helper.make_node("Strange", ["x", "w"], ["a"], "first", numbers=list(range(1000))),
        helper.make_node("Constant", [], ["b"], value=onnx.numpy_helper.from_array(np.zeros(LARGE, np.float32))),
        helper.make_node("If", ["c"], ["d"], "branches", then_branch=branch, else_branch=branch),
        helper.make_node("Mine", ["d"], ["y"], "called", domain="f"),
    ]
    given = {**X, "c": (TensorProto.BOOL, ())}
    proto = model(nodes, given, ["y"], {"w": np.zeros(LARGE, np.float32)}, domains={"f": 1})
    inside = [helper.make_node("Unheard", ["p"], ["q"], "in a function")]
    opsets = [helper.make_opsetid("", 17)]
    proto.functions.append(helper.make_function("f", "Mine", ["p"], ["q"], inside, opsets))
    return proto


def test_all_is_named_and_no_weight_is_read(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(strange().SerializeToString())
    lucid.onnx.check(model([helper.make_node("Relu", ["x"], ["y"])], X, ["y"]))  # what is imported at first
    tracemalloc.start()
    try:
        found = lucid.onnx.check(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert [line.split(" of")[0] for line in sorted(found)] == ["Odd", "Odd", "Strange", "Unheard"]
    assert "Strange of opset 17, in node 0 'first' (Strange, opset 17)" in found
    assert lucid.onnx.check(path.read_bytes()) == lucid.onnx.check(strange()) == found


def test_data_elsewhere_is_not_looked_at(tmp_path: Path) -> None:
    onnx.save_model(strange(), tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    (tmp_path / "w.bin").unlink()
    assert len(lucid.onnx.check(tmp_path / "m.onnx")) == 4


def test_what_is_left_are_the_nodes() -> None:
    proto = strange()
    left = onnx.load_from_string(skimmed(proto.SerializeToString()))
    assert len(left.SerializeToString()) < 1500 and not left.graph.initializer
    assert (left.opset_import, left.graph.input, left.graph.output) == (
        proto.opset_import, proto.graph.input, proto.graph.output
    )  # fmt: skip
    for one, other in zip(left.graph.node, proto.graph.node, strict=True):
        assert (one.op_type, one.input, one.output, one.name) == (other.op_type, other.input, other.output, other.name)


@pytest.mark.parametrize(
    "data",
    [
        b"\x3a\xff\xff\xff\xff\x07" + b"\0" * 90,
        b"\x3a",
        b"\x80" * 100,
        b"\x3b" * 1000,
        b"no protobuf at all",
        b"\x39\0",
    ],
)
def test_bytes_that_are_no_model_are_refused(data: bytes) -> None:
    with pytest.raises(GraphError, match="not an ONNX model"):
        lucid.onnx.check(data)


def test_messages_in_messages_have_an_end() -> None:
    data = bomb(300, 6, 5, 1)  # graphs in attributes of nodes
    with pytest.raises(GraphError, match="more than 100 deep"):
        lucid.onnx.check(message(7, data))
