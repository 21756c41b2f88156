"""Sizes that stay symbolic: what a model's operators show of them, and what they make of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import lucid
from lucid.errors import LucidError, ShapeError
from lucid.graph.types import TensorType

from .models import Array, expected, model

FLOAT, INT = TensorProto.FLOAT, TensorProto.INT64


def floats(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def node(op: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


def halving() -> onnx.ModelProto:
    """What is halved twice and once, and then added: only where the size is a multiple of 4 is that the same."""
    nodes = [
        node("Conv", "x w", "a", strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Conv", "a w", "b", strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Upsample", "b scales", "c", mode="nearest"), node("Add", "a c", "y"),
    ]  # fmt: skip
    given = {"x": (FLOAT, ("n", 2, "height", "width"))}
    return model(nodes, given, ["y"], {"w": floats(2, 2, 3, 3), "scales": np.array([1, 1, 2, 2], np.float32)}, 9)


def layer(op: str, gates: int) -> onnx.ModelProto:
    """A recurrent layer whose state is of a batch of one."""
    weights = {"w": floats(1, gates * 4, 3), "r": floats(1, gates * 4, 4, seed=1)}
    nodes = [helper.make_node(op, ["x", "w", "r", "", "", "h"], ["y"], hidden_size=4)]
    return model(nodes, {"x": (FLOAT, ("time", "n", 3)), "h": (FLOAT, (1, 1, 4))}, ["y"], weights)


def asked() -> onnx.ModelProto:
    """A branch for what is one column after two steps, which is the only one that the product takes."""
    squeezed = helper.make_graph(
        [node("Squeeze", "c last", "q")], "one", [], [helper.make_empty_tensor_value_info("q")]
    )  # fmt: skip
    left = helper.make_graph([node("Identity", "c", "i")], "more", [], [helper.make_empty_tensor_value_info("i")])
    nodes = [
        node("Conv", "x w", "c", strides=[4], pads=[1, 1]), node("Shape", "c", "s"), node("Gather", "s last", "t"),
        node("Equal", "t one", "e"), helper.make_node("If", ["e"], ["z"], then_branch=squeezed, else_branch=left),
        node("Gemm", "z m", "y"),
    ]  # fmt: skip
    constants = {"w": floats(2, 1, 3), "last": np.array([-1]), "one": np.array([1]), "m": floats(2, 3)}
    return model(nodes, {"x": (FLOAT, ("n", 1, "time"))}, ["y"], constants)


def each(value: str, *nodes: onnx.NodeProto, opset: int = 17, **constants: Any) -> onnx.ModelProto:
    return model(list(nodes), {"x": (FLOAT, ("n", 3, "time"))}, [value], constants, opset)


MODELS: dict[str, tuple[onnx.ModelProto, list[tuple[Any, ...]]]] = {
    "several names of one size": (
        model([node("Concat", "a b", "y", axis=1)], {"a": (FLOAT, ("n", 2)), "b": (FLOAT, ("m", 3))}, ["y"]),
        [("n", 2), ("n", 3)],
    ),
    "no names at all": (
        model([node("Add", "a b", "y")], {"a": (FLOAT, (None, 2)), "b": (FLOAT, ("?", 2))}, ["y"]),
        [("a_0", 2), ("a_0", 2)],
    ),
    "a multiple": (halving(), [("n", 2, "4*height_by_4", "4*width_by_4")]),
    "a state of one": (layer("LSTM", 4), [("time", 1, 3), (1, 1, 4)]),
    "a gated state of one": (layer("GRU", 3), [("time", 1, 3), (1, 1, 4)]),
    "one branch of two": (asked(), [("n", 1, 4)]),
    "parts that a reshape asks for": (
        each("y", node("Reshape", "x to", "y"), to=np.array([0, -1, 6])), [("n", 3, "2*time_by_2")],
    ),
    "features that a weight has": (
        each("y", node("Flatten", "x", "f"), node("Gemm", "f w", "y"), w=floats(12, 2)), [("n", 3, 4)],
    ),
    "a slice to where no axis ends": (
        each("y", node("Slice", "x a b c", "y"), a=np.array([1, 0]), b=np.array([1 << 62, 10**9]), c=np.array([2, 1])),
        [("n", 3, "time")],
    ),
    "a slice that goes backwards": (
        each("y", node("Slice", "x a b c d", "y"), a=np.array([-1]), b=np.array([-(1 << 62)]), c=np.array([2]),
             d=np.array([-1])),
        [("n", 3, "time")],
    ),
    "a split in two": (each("o", node("Split", "x", "z o", axis=2, num_outputs=2), opset=18), [("n", 3, "time")]),
    "ranges and sizes": (
        each("y", node("Shape", "x", "s"), node("Gather", "s two", "t"), node("Range", "zero t one", "r"),
             node("Cast", "r", "f", to=FLOAT), node("Add", "x f", "y"),
             two=np.array(2), zero=np.array(0), one=np.array(1)),
        [("n", 3, "time")],
    ),
    "sizes that are divided": (
        each("y", node("Shape", "x", "s"), node("Gather", "s two", "t"), node("Div", "t h", "d"),
             node("Unsqueeze", "d zero", "e"), node("Slice", "x begin e two_", "y"), two=np.array(2), h=np.array(2),
             zero=np.array([0]), begin=np.array([0]), two_=np.array([2])),
        [("n", 3, "time")],
    ),
    "sizes that are numbers too": (
        each("y", node("Shape", "x", "s"), node("Gather", "s two", "t"), node("Cast", "t", "f", to=FLOAT),
             node("Sqrt", "f", "r"), node("Div", "x r", "q"), node("Cast", "s", "g", to=FLOAT),
             node("ReduceMean", "g", "m", keepdims=0), node("Add", "q m", "y"), two=np.array(2)),
        [("n", 3, "time")],
    ),
    "sizes that are scaled": (
        each("y", node("Shape", "x", "s"), node("Gather", "s two", "t"), node("Cast", "t", "f", to=FLOAT),
             node("Mul", "f scale", "g"), node("Floor", "g", "h"), node("Cast", "h", "i", to=INT),
             node("Slice", "x zero i axis", "y"), two=np.array([2]), scale=np.float32(0.75), zero=np.array([0]),
             axis=np.array([2])),
        [("n", 3, "time")],
    ),
    "what lacks of a multiple": (
        each("y", node("Shape", "x", "s"), node("Gather", "s two", "t"), node("Mod", "t four", "m"),
             node("Sub", "four m", "k"), node("Mod", "k four", "p"), node("Concat", "none p", "pads", axis=0),
             node("Pad", "x pads", "q"), node("Reshape", "q to", "y"), two=np.array([2]), four=np.array([4]),
             none=np.array([0] * 5), to=np.array([0, 0, -1, 4])),
        [("n", 3, "time")],
    ),
    "padding that a stride asks for": (
        each("y", node("MaxPool", "x", "c", kernel_shape=[2], strides=[2], auto_pad="SAME_UPPER"),
             node("Conv", "c w", "y", strides=[2], auto_pad="SAME_LOWER"), w=floats(2, 3, 4)),
        [("n", 3, "time")],
    ),
    "means whose padding a stride asks for": (
        each("y", node("AveragePool", "x", "y", kernel_shape=[3], strides=[2], auto_pad="SAME_UPPER"),),
        [("n", 3, "2*time_by_2")],
    ),
    "places of maxima": (
        each("y", node("MaxPool", "x", "m p", kernel_shape=[2], strides=[2]), node("Cast", "p", "f", to=FLOAT),
             node("Add", "m f", "y")),
        [("n", 3, "time")],
    ),
    "a sequence turned around": (
        each("y", node("Transpose", "x", "t", perm=[2, 0, 1]), node("Shape", "x", "s", end=1),
             helper.make_node("ConstantOfShape", ["s"], ["l"], value=numpy_helper.from_array(np.array([2]))),
             node("ReverseSequence", "t l", "y")),
        [("n", 3, "time")],
    ),
    "the middle of another": (
        each("y", node("Conv", "x w", "c"), node("Shape", "c", "s"), node("CenterCropPad", "x s", "m"),
             node("Add", "c m", "y"), w=floats(3, 3, 2), opset=18),
        [("n", 3, "time")],
    ),
    "spectra of pieces": (
        each("y", node("ReduceMean", "x", "m", axes=[1], keepdims=0), node("Unsqueeze", "m last", "u"),
             node("STFT", "u step window", "y"), last=np.array([2]), step=np.array(1), window=floats(2)),
        [("n", 3, "time")],
    ),
    "a diagonal and a bound that sizes say": (
        each("y", node("Shape", "x", "s"), node("Gather", "s two", "t"), node("Sub", "t three", "k"),
             node("Trilu", "x k", "u", upper=0), node("Range", "zero t one", "r"), node("Clip", "r k", "c"),
             node("Cast", "c", "f", to=FLOAT), node("Add", "u f", "y"),
             two=np.array(2), three=np.array(3), zero=np.array(0), one=np.array(1), opset=14),
        [("n", 3, "time")],
    ),
    "a mask of what is kept and what comes": (
        model([node("Concat", "k x", "all", axis=0), node("Add", "all m", "s"), node("Shape", "all", "size", end=1),
               node("Shape", "x", "new", end=1), node("Sub", "size new", "from"), node("Slice", "s from size", "y")],
              {"x": (FLOAT, ("t", 3)), "m": (FLOAT, ("total", 1)), "k": (FLOAT, ("past", 3))}, ["y"], opset=15),
        [("t", 3), ("past + t", 1), ("past", 3)],
    ),
    "a table of more places than are taken": (
        each("y", node("Shape", "x", "t", start=2), node("Slice", "w zero t", "p"), node("Min", "t fifty", "n"),
             node("Concat", "one n", "to", axis=0), node("Reshape", "p to", "r"), node("Add", "x r", "y"),
             w=floats(50), zero=np.array([0]), fifty=np.array([50]), one=np.array([1]), opset=15),
        [("n", 3, "time")],
    ),
    "a quotient of less than nothing": (
        each("y", node("Shape", "x", "t", start=2), node("Neg", "t", "m"), node("Div", "m two", "h"),
             node("Neg", "h", "k"), node("Slice", "x zero k two", "y"),
             two=np.array([2]), zero=np.array([0]), opset=15),
        [("n", 3, "time")],
    ),
    "names that Python keeps": (
        model([node("Add", "lambda if", "y")], {"lambda": (FLOAT, ("class", "def")), "if": (FLOAT, ("class", "None"))},
              ["y"]),
        [("class_", "def_"), ("class_", "def_")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_one_trace_serves_every_size(name: str, tmp_path: Path) -> None:
    proto, wanted = MODELS[name]
    net = lucid.onnx.load(proto)
    assert [tuple(map(str, one.shape)) for one in net.specs] == [tuple(map(str, shape)) for shape in wanted]
    compiled = lucid.compile(net, *net.specs)
    for size in (2, 3, 6):
        given = made(net.specs, size)
        named = dict(zip(net.input_names, given, strict=True))
        with lucid.no_grad():
            found = compiled(*given)
        np.testing.assert_allclose(found.numpy(), expected(proto, named)[0], rtol=1e-4, atol=1e-5)
    assert "1 traces" in repr(compiled)
    compiled.save(tmp_path / "net.lucid")
    np.testing.assert_array_equal(lucid.load(tmp_path / "net.lucid")(*given).numpy(), found.numpy())


def made(types: Sequence[TensorType], size: int) -> list[Array]:
    """Inputs for which the symbols are this size, the next, and so on."""
    names = sorted({name for one in types for name in one.symbols})
    sizes = {name: size + number for number, name in enumerate(names)}
    return [floats(*one.bind(sizes).concrete, seed=number) for number, one in enumerate(types)]


def test_sizes_that_do_not_go_together_are_refused() -> None:
    net = lucid.onnx.load(MODELS["several names of one size"][0])
    compiled = lucid.compile(net, *net.specs)
    with pytest.raises(ShapeError, match=r"compiled for float32\[n, 3\], got float32\[4, 3\] where n=5"):
        compiled(floats(5, 2), floats(4, 3))
    net = lucid.onnx.load(halving())
    with pytest.raises(ShapeError, match=r"compiled for float32\[n, 2, 4\*height_by_4, 4\*width_by_4\], got .*6"):
        lucid.compile(net, *net.specs)(floats(1, 2, 6, 8))


def test_an_error_says_which_sizes_may_be_fixed() -> None:
    net = lucid.onnx.load(MODELS["several names of one size"][0])
    with pytest.raises(LucidError) as caught:
        lucid.compile(net, lucid.spec("p", 2), lucid.spec("q", 3))
    assert any("'p' (axis 0 of 'a'), 'q' (axis 0 of 'b')" in note for note in caught.value.__notes__)


def test_sizes_are_fixed_by_the_name_in_the_file_or_the_specs() -> None:
    proto = MODELS["no names at all"][0]
    assert [one.shape for one in lucid.onnx.load(proto, shapes={"a_0": 4}).specs] == [(4, 2), (4, 2)]
    net = lucid.onnx.load(halving(), shapes={"height": 8})
    assert [str(dim) for dim in net.specs[0].shape] == ["n", "2", "8", "4*width_by_4"]
