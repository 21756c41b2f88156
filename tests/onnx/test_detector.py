"""A detector of convolutions whose last part is a suppression, and what models put after it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

import lucid

from .models import close, expected, model

RNG = np.random.default_rng(0)
node = helper.make_node

CONSTANTS = {
    "filters": RNG.standard_normal((8, 3, 3, 3)).astype(np.float32) / 3,
    "to boxes": RNG.standard_normal((4, 8, 1, 1)).astype(np.float32),
    "to scores": RNG.standard_normal((5, 8, 1, 1)).astype(np.float32),
    "four": np.array([0, 4, -1]), "five": np.array([0, 5, -1]), "zero": np.array(0), "first": np.array([0]),
    "one": np.array([1]), "two": np.array(2), "six": np.array([6]),
    "most": np.array([3]), "overlap": np.float32([0.5]), "least": np.float32([0.55]),
}  # fmt: skip

HEAD = [
    node("Conv", ["x", "filters"], ["h"], strides=[2, 2], pads=[1, 1, 1, 1]), node("Relu", ["h"], ["r"]),
    node("Conv", ["r", "to boxes"], ["b0"]), node("Reshape", ["b0", "four"], ["b1"]),
    node("Transpose", ["b1"], ["boxes"], perm=[0, 2, 1]),
    node("Conv", ["r", "to scores"], ["s0"]), node("Reshape", ["s0", "five"], ["s1"]),
    node("Sigmoid", ["s1"], ["scores"]),
    node("NonMaxSuppression", ["boxes", "scores", "most", "overlap", "least"], ["found"]),
    node("Gather", ["found", "zero"], ["image"], axis=1), node("Unsqueeze", ["image", "one"], ["images"]),
    node("Gather", ["found", "two"], ["box"], axis=1), node("Unsqueeze", ["box", "one"], ["places"]),
    node("Concat", ["images", "places"], ["rows"], axis=1), node("GatherND", ["boxes", "rows"], ["kept"]),
    node("GatherND", ["scores", "found"], ["best"]),
]  # fmt: skip
TAILS = {
    "all": ([], ["found", "kept", "best"]),
    "the six best": (
        [
            node("Shape", ["best"], ["count"]), node("Concat", ["count", "six"], ["both"], axis=0),
            node("ReduceMin", ["both"], ["k"], keepdims=1), node("TopK", ["best", "k"], ["top", "at"]),
            node("Gather", ["kept", "at"], ["those"]),
        ],
        ["top", "those"],
    ),
    "as many as there are, or six": (
        [
            node("Shape", ["best"], ["count"]), node("Min", ["count", "six"], ["k"]),
            node("Slice", ["kept", "first", "k", "first"], ["those"]),
        ],
        ["those"],
    ),
    "the first six": ([node("Slice", ["kept", "first", "six", "first"], ["those"])], ["those"]),
}  # fmt: skip


def detector(tail: str) -> Any:
    nodes, outputs = TAILS[tail]
    return model([*HEAD, *nodes], {"x": (TensorProto.FLOAT, ["N", 3, "H", "W"])}, outputs, CONSTANTS)


def images() -> list[np.ndarray[Any, Any]]:
    """Of several sizes, and one without anything to find."""
    return [RNG.standard_normal((n, 3, s, s)).astype(np.float32) for n, s in ((1, 8), (2, 8), (1, 2), (1, 8))] + [
        np.zeros((1, 3, 8, 8), np.float32)
    ]


@pytest.mark.parametrize("tail", sorted(TAILS.keys() - {"the six best"}))
def test_a_detector_is_compiled_to_its_end(tail: str) -> None:
    proto = detector(tail)
    net = lucid.onnx.load(proto)
    compiled = lucid.compile(net, *net.specs)
    for x in images():
        close(compiled(x), expected(proto, {"x": x}))


def test_its_file_runs_where_there_is_no_onnx(tmp_path: Path) -> None:
    proto = detector("the six best")
    net = lucid.onnx.load(proto)
    compiled = lucid.compile(net, *net.specs)
    compiled.save(tmp_path / "net.lucid")
    given = images()
    np.savez(tmp_path / "given.npz", *given)
    script = f"""
import sys
sys.modules["onnx"] = None
import numpy as np, lucid
net = lucid.load({str(tmp_path / "net.lucid")!r})
given = np.load({str(tmp_path / "given.npz")!r})
np.savez({str(tmp_path / "found.npz")!r}, *(y.numpy() for x in given.values() for y in net(x)))
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    found = [*np.load(tmp_path / "found.npz").values()]
    for i, x in enumerate(given):
        close(compiled(x), expected(proto, {"x": x}))
        for one, want in zip(found[2 * i : 2 * i + 2], compiled(x), strict=True):
            np.testing.assert_array_equal(one, want.numpy())
