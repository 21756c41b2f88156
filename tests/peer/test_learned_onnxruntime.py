"""What classifiers and detectors end with is what ONNX Runtime gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

import lucid
from tests.onnx.models import Array, model, one

ML = "ai.onnx.ml"


def theirs(proto: Any, inputs: dict[str, Array]) -> list[Any]:
    found: list[Any] = onnxruntime.InferenceSession(proto.SerializeToString()).run(None, inputs)
    return found


@pytest.mark.parametrize("labels", [[4, -2, 9], ["a", "b", "ž"]], ids=["numbers", "texts"])
@pytest.mark.parametrize("machine", [False, True])
def test_a_classifier_as_it_is_exported(machine: bool, labels: list[Any], tmp_path: Path) -> None:
    """A label for each row, and its scores by their labels."""
    rng = np.random.default_rng(3)
    numbers = isinstance(labels[0], int)
    named = {"classlabels_ints" if numbers else "classlabels_strings": labels}
    zipped = {"classlabels_int64s" if numbers else "classlabels_strings": labels}
    first = helper.make_node("LinearClassifier", ["x"], ["label", "scores"], domain=ML, post_transform="SOFTMAX",
                             coefficients=rng.standard_normal(12), intercepts=[0.1, 0.2, -0.3], **named)  # fmt: skip
    if machine:
        first = helper.make_node(
            "SVMClassifier", ["x"], ["label", "scores"], domain=ML, support_vectors=rng.standard_normal(24),
            rho=[0.1, -0.2, 0.3], vectors_per_class=[2, 3, 1], coefficients=rng.standard_normal(12), kernel_type="RBF",
            kernel_params=[0.3, 0.0, 3.0], prob_a=[-1.5, -2.0, -0.5], prob_b=[0.1, -0.2, 0.0], **named,
        )  # fmt: skip
    last = helper.make_node("ZipMap", ["scores"], ["maps"], domain=ML, **zipped)
    proto = model([first, last], {"x": (1, ["n", 4])}, ["label", "maps"], domains={ML: 1})
    x = rng.standard_normal((50, 4)).astype(np.float32)
    wanted_labels, wanted = theirs(proto, {"x": x})
    net = lucid.onnx.load(proto)
    for function in (net, lucid.compile(net, *net.specs)):
        found_labels, found = function(x)
        assert found_labels.numpy().tolist() == wanted_labels.tolist()
        assert [list(row) for row in found] == [list(row) for row in wanted]
        np.testing.assert_allclose([list(row.values()) for row in found], [list(row.values()) for row in wanted],
                                   rtol=1e-4, atol=1e-5)  # fmt: skip
    onnx.save(proto, tmp_path / "net.onnx")
    compared = lucid.compare(net, tmp_path / "net.onnx", x, tolerance=1e-3)
    assert all(pair.agrees for pair in compared.results[1 - numbers :])


@pytest.mark.parametrize("centred", [0, 1])
def test_boxes_that_are_suppressed(centred: int) -> None:
    """At random, with ties of scores and of corners, of none, and with every bound there is or none."""
    rng = np.random.default_rng(centred)
    for turn in range(40):
        images, classes, count = rng.integers(1, 3), rng.integers(1, 4), rng.integers(0, 15)
        boxes = rng.integers(0, 5, (images, count, 4)) if turn % 2 else rng.uniform(-1, 4, (images, count, 4))
        scores = rng.integers(0, 4, (images, classes, count)) / 4
        scores = scores if turn % 3 else rng.random((images, classes, count))
        bounds = [np.float32([rng.choice([0.0, 0.3, 0.5, 1.0])]), np.float32([rng.choice([-1.0, 0.0, 0.25, 0.5])])]
        most = np.array([rng.choice([0, 1, 3, 100])])
        given = [boxes.astype(np.float32), scores.astype(np.float32), most, *bounds[: turn % 3]]
        case = one("NonMaxSuppression", given, opset=11, center_point_box=centred)
        case.proto.graph.output[0].type.tensor_type.elem_type = 7
        (wanted,) = theirs(*case)
        np.testing.assert_array_equal(lucid.onnx.load(case.proto)(*case.inputs.values()).numpy(), wanted)
