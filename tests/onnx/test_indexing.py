"""What looks up, writes at places and sorts: as the format's reference does it, and for sizes of any number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

import lucid
from lucid.errors import LucidError

from .models import Array, Case, agrees, close, model, one

RNG = np.random.default_rng(0)


def floats(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def ints(values: Any) -> Array:
    return np.array(values, np.int64)


X = floats(3, 4, 5)
HOW = ("none", "add", "mul", "max", "min")
PLACES = {1: ints(np.arange(8).reshape(2, 2, 2) // 2 % 2), 2: ints([[[4, -2], [0, 3]], [[-1, 0], [2, 1]]])}
CASES: dict[str, Case] = {
    "GatherND": one("GatherND", [X, ints([[0, 1], [2, -1]])]),
    "GatherND whole": one("GatherND", [X, ints([[[0, 1, 2]], [[-1, -1, -1]]])]),
    "GatherND batch": one("GatherND", [X, ints([[[1], [0]], [[3], [3]], [[-1], [2]]])], batch_dims=1),
    "GatherND batches": one("GatherND", [X, ints(np.arange(12).reshape(3, 4, 1) % 5)], batch_dims=2),
    **{f"ScatterND {how}": one("ScatterND", [X, ints([[0, 1], [2, -1], [0, 0]]), floats(3, 5)], opset=18, reduction=how)
       for how in HOW},
    "ScatterND 11": one("ScatterND", [X, ints([[2], [0]]), floats(2, 4, 5)], opset=11),
    "ScatterND meeting": one("ScatterND", [X, ints([[1], [1]]), floats(2, 4, 5)], opset=18, reduction="add"),
    **{f"ScatterElements {how} {axis}": one("ScatterElements", [X, PLACES[axis], floats(2, 2, 2)], opset=18, axis=axis,
                                            reduction=how)
       for how in HOW for axis in (1, 2)},
    "Scatter": one("ScatterElements", [X, ints([[[0]], [[2]]]), floats(2, 1, 1)], opset=11),
    "EyeLike": one("EyeLike", [floats(3, 5)], k=1),
    "EyeLike of integers": one("EyeLike", [floats(4, 3)], k=-2, dtype=6),
    "Trilu": one("Trilu", [X]),
    "Trilu below": one("Trilu", [X, ints(-1)], constant=[1], upper=0),
    "Trilu computed": one("Trilu", [X, ints(2)]),
    "TopK": one("TopK", [X, ints([2])], 2, constant=[1]),
    "TopK smallest": one("TopK", [X, ints([3])], 2, constant=[1], axis=1, largest=0),
    "TopK 10": one("TopK", [X, ints([2])], 2, opset=10, constant=[1], axis=0),
    "TopK ties": one("TopK", [np.float32([[1, 2, 2, 1, 2]]), ints([4])], 2, constant=[1]),
    "Range": one("Range", [ints(2), ints(12), ints(3)], constant=[0, 1, 2]),
    "Range down": one("Range", [np.float32(2), np.float32(-1), np.float32(-0.5)], constant=[0, 1, 2]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_an_operator_is_what_the_format_says(name: str) -> None:
    agrees(CASES[name])


def known(op: str, arrays: list[Array], outputs: int = 1, **attributes: Any) -> Case:
    """A model in which an operator is applied to what the file holds."""
    names = [f"k{i}" for i in range(len(arrays))]
    node = helper.make_node(op, names, [f"y{i}" for i in range(outputs)], **attributes)
    nodes = [node, helper.make_node("Identity", ["x"], ["z"])]
    x = np.float32([1])
    return Case(model(nodes, {"x": x}, [*node.output, "z"], dict(zip(names, arrays, strict=True)), 18), {"x": x})


@pytest.mark.parametrize(
    "case",
    [
        known("NonZero", [ints([[0, 3], [1, 1]])]),
        known("Unique", [ints([3, 1, 3, 2, 1])], 4),
        known("Unique", [ints([3, 1, 3, 2, 1])], 4, sorted=0),
        known("GatherND", [ints([[1, 2], [3, 4]]), ints([[1, 0], [0, -1]])]),
        known("GatherND", [ints([[1, 2], [3, 4]]), ints([[1], [0]])], batch_dims=1),
        *(known("ScatterND", [ints([1, 2, 3]), ints([[0], [2]]), ints([7, 2])], reduction=how)
          for how in HOW),
    ],
)  # fmt: skip
def test_what_is_known_is_computed_beforehand(case: Case) -> None:
    agrees(case)


def test_a_range_over_a_symbolic_length() -> None:
    """``Range(0, Shape(x)[0], 1)`` plus ``Range(n, -n, -2)``, for every n."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]), helper.make_node("Squeeze", ["s"], ["n"]),
        helper.make_node("Neg", ["n"], ["m"]), helper.make_node("Range", ["zero", "n", "one"], ["up"]),
        helper.make_node("Range", ["n", "m", "by"], ["down"]),
    ]  # fmt: skip
    constants = {"zero": ints(0), "one": ints(1), "by": ints(-2)}
    net = lucid.onnx.load(model(nodes, {"x": (1, ["n"])}, ["up", "down"], constants))
    compiled = lucid.compile(net, *net.specs)
    for n in (0, 1, 5):
        close(compiled(floats(n)), [np.arange(n), np.arange(n, -n, -2)])


@pytest.mark.parametrize(
    ("kind", "start", "by"), [(1, 0, 1), (1, 0.5, 1), (1, 2, -0.75), (11, 0, 0.5), (6, 0, 1), (6, 1, 2)]
)
def test_a_range_of_any_numbers_over_a_symbolic_length(kind: int, start: float, by: float) -> None:
    """As detectors make the places of their cells: in floats, to a size that was cast; and down from one."""
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]), helper.make_node("Squeeze", ["s"], ["t"]),
        helper.make_node("Cast", ["t"], ["n"], to=kind), helper.make_node("Range", ["start", "n", "by"], ["up"]),
        helper.make_node("Range", ["n", "start", "by"], ["down"]),
    ]  # fmt: skip
    constants = {"start": np.asarray(start, dtype), "by": np.asarray(by, dtype)}
    net = lucid.onnx.load(model(nodes, {"x": (1, ["n"])}, ["up", "down"], constants))
    compiled = lucid.compile(net, *net.specs)
    for n in (0, 1, 5):
        wanted = [np.arange(start, n, by, dtype), np.arange(n, start, by, dtype)]
        found = compiled(floats(n))
        close(found, wanted)
        assert all(one.dtype == dtype for one in found)


def test_symbolic_sizes_are_gathered_and_scattered() -> None:
    nodes = [
        helper.make_node("ScatterElements", ["x", "i", "v"], ["a"], axis=0, reduction="add"),
        helper.make_node("ScatterElements", ["x", "i", "v"], ["b"], axis=0, reduction="max"),
        helper.make_node("GatherND", ["x", "j"], ["c"]), helper.make_node("Trilu", ["x"], ["d"]),
        helper.make_node("TopK", ["x", "k"], ["e", "f"], axis=0),
    ]  # fmt: skip
    given = {"x": (1, ["n", "m"]), "i": (7, ["e", "m"]), "v": (1, ["e", "m"]), "j": (7, ["e", 2])}
    net = lucid.onnx.load(model(nodes, given, list("abcdef"), {"k": ints([1])}, 18))
    compiled = lucid.compile(net, *net.specs)
    for n, m, e in ((3, 2, 5), (1, 4, 1)):
        x, v, i = floats(n, m), floats(e, m), ints(RNG.integers(0, n, (e, m)))
        j = np.stack([RNG.integers(0, n, e), RNG.integers(0, m, e)], 1)
        added, largest = x.copy(), x.copy()
        np.add.at(added, (i, np.arange(m)), v)
        np.maximum.at(largest, (i, np.arange(m)), v)
        wanted = [added, largest, x[j[:, 0], j[:, 1]], np.triu(x), x.max(0, keepdims=True), x.argmax(0)[None]]
        close(compiled(x, i, v, j), wanted)


@pytest.mark.parametrize(
    ("case", "words"),
    [
        (one("TopK", [X, ints([9])], 2, constant=[1]), "there are no 9 elements"),
        (one("ScatterND", [X, ints([[9]]), floats(1, 4, 5)]), "out of range"),
        (one("ScatterElements", [X, ints([[[0]]]), floats(1, 1, 1)], reduction="mean"), "unknown reduction 'mean'"),
    ],
)
def test_what_is_not_supported_is_said(case: Case, words: str) -> None:
    with pytest.raises(LucidError, match=words):
        lucid.onnx.load(case.proto)(*case.inputs.values())
