"""``lucid.compare`` beside PyTorch and ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import lucid
from lucid import nn
from lucid.errors import OptionError, ShapeError

X = np.random.default_rng(0).standard_normal((2, 4), dtype=np.float32)


def pair() -> tuple[nn.Module, torch.nn.Module]:
    torch.manual_seed(0)
    theirs = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3))
    mine = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    mine.load_state_dict({name: tensor.numpy() for name, tensor in theirs.state_dict().items()})
    return mine, theirs


def test_a_pytorch_module() -> None:
    mine, theirs = pair()
    found = lucid.compare(mine, theirs, X)
    assert found
    assert len(found.steps) == 3
    assert lucid.compare(theirs, lucid.compile(mine), X)
    mine.get_parameter("2.bias").data.copy_(np.ones(3, np.float32))
    found = lucid.compare(mine, theirs, X)
    assert not found
    assert found.first is not None
    assert found.first.place.startswith("2 at ")
    assert [one.agrees for one in found.steps] == [True, True, False]


def test_an_onnx_file(tmp_path: Path) -> None:
    weight = numpy_helper.from_array(np.ones((4, 3), np.float32), "weight")
    nodes = [
        helper.make_node("MatMul", ["x", "weight"], ["product"], "layer/MatMul"),
        helper.make_node("Tanh", ["product"], ["bent"], "Tanh"),
        helper.make_node("Exp", ["bent"], ["y"], "Exp"),
    ]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", k]) for n, k in (("x", 4), ("y", 3)))
    model = helper.make_model(
        helper.make_graph(nodes, "g", [x], [y], [weight]), opset_imports=[helper.make_opsetid("", 17)], ir_version=9
    )
    onnx.save(model, tmp_path / "m.onnx")
    mine = lucid.onnx.load(tmp_path / "m.onnx")
    found = lucid.compare(mine, tmp_path / "m.onnx", X)
    assert found
    assert len(found.steps) == 3
    (parameter,) = mine.parameters()
    parameter.data.copy_(parameter.numpy() * 2)
    found = lucid.compare(tmp_path / "m.onnx", mine, X)
    assert not found
    assert found.first is not None
    assert "MatMul" in found.first.name


def test_dicts() -> None:
    mine, theirs = pair()

    class Given(torch.nn.Module):
        def forward(self, given: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            y = theirs(given["x"]) * given["scale"]
            return {"more": y.exp(), "y": y}

    def own(given: Any) -> Any:
        y = mine(given["x"]) * given["scale"]
        return {"y": y, "more": y.exp()}

    given = {"x": X, "scale": np.ones(1, np.float32)}
    found = lucid.compare(own, Given(), given)
    assert found
    assert [pair.name for pair in found.results] == ["result 'y'", "result 'more'"]
    with pytest.raises(ShapeError, match="gives 'y', 'z', and the PyTorch module Given 'more', 'y'"):
        lucid.compare(lambda given: {"y": (y := mine(given["x"])), "z": y}, Given(), given)


def test_an_onnx_file_whose_inputs_have_names(tmp_path: Path) -> None:
    nodes = [helper.make_node("Sub", ["a", "b"], ["d"]), helper.make_node("Exp", ["d"], ["e"])]
    infos = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in "abde"}
    graph = helper.make_graph(nodes, "g", [infos["a"], infos["b"]], [infos["d"], infos["e"]])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "m.onnx")
    given = {"b": X * 2, "a": X}
    assert lucid.compare(lucid.onnx.load(tmp_path / "m.onnx"), tmp_path / "m.onnx", given)
    assert lucid.compare(lambda g: {"e": (d := g["a"] - g["b"]).exp(), "d": d}, tmp_path / "m.onnx", given)
    with pytest.raises(OptionError, match="compare: the inputs b are missing"):
        lucid.compare(lucid.onnx.load(tmp_path / "m.onnx"), tmp_path / "m.onnx", {"a": X})


def test_labels_of_an_onnx_file(tmp_path: Path) -> None:
    def saved(name: str, labels: list[str]) -> Path:
        classes = helper.make_node(
            "LinearClassifier", ["x"], ["label", "scores"], domain="ai.onnx.ml", classlabels_strings=labels,
            coefficients=np.eye(3, 4, dtype=np.float32).ravel(), intercepts=[0.0] * 3, post_transform="SOFTMAX",
        )  # fmt: skip
        infos = [("x", TensorProto.FLOAT, 4), ("label", TensorProto.STRING, None), ("scores", TensorProto.FLOAT, 3)]
        x, *outputs = (helper.make_tensor_value_info(n, kind, ["n", *([k] if k else [])]) for n, kind, k in infos)
        versions = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
        graph = helper.make_graph([classes], "g", [x], outputs)
        onnx.save(helper.make_model(graph, opset_imports=versions, ir_version=9), tmp_path / name)
        return tmp_path / name

    path = saved("m.onnx", ["no", "yes", "a label longer than those that come"])
    x = np.float32([[1, 0, -1, 0], [0, 1, -1, 0]])
    for mine in (lucid.onnx.load(path), lucid.compile(lucid.onnx.load(path))):
        found = lucid.compare(mine, path, x)
        assert found, found
        assert all(step.agrees for step in found.steps)
    found = lucid.compare(path, lucid.onnx.load(saved("other.onnx", ["no", "yet", "perhaps"])), x)
    assert [pair.agrees for pair in found.results] == [False, True]


def test_of_an_operator_with_two_results_the_results_alone_are_compared(tmp_path: Path) -> None:
    """The first is none of the value that is computed last in it."""
    split = helper.make_node("Split", ["x"], ["a", "b"], "Split", axis=1, num_outputs=2)
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", k]) for name, k in (("x", 4), ("a", 2))]
    b = helper.make_tensor_value_info("b", TensorProto.FLOAT, ["n", 2])
    graph = helper.make_graph([split], "g", infos[:1], [infos[1], b])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), tmp_path / "m.onnx")
    found = lucid.compare(lucid.onnx.load(tmp_path / "m.onnx"), tmp_path / "m.onnx", X)
    assert found, found
    assert all(step.agrees for step in found.steps)
