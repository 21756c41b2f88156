"""What chooses as many elements as data says, compiled too; and what is drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

import lucid
from lucid.errors import LucidError
from lucid.onnx import backend

from .models import Case, close, expected, model, one

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 4)).astype(np.float32)
SCORES = RNG.random((2, 3, 12)).astype(np.float32)
CENTRES = np.concatenate([RNG.uniform(0, 4, (2, 12, 2)), RNG.uniform(0.5, 3, (2, 12, 2))], 2).astype(np.float32)
MIDDLE, SIZE = CENTRES[..., 1::-1], CENTRES[..., 3:1:-1]
CORNERS = np.concatenate([MIDDLE - SIZE / 2, MIDDLE + SIZE / 2], 2)


def suppressed(boxes: Array, most: int, *numbers: float, **attributes: Any) -> Case:
    given = [np.float32([number]) for number in numbers]
    return one("NonMaxSuppression", [boxes, SCORES, np.array([most]), *given], opset=11, **attributes)


CASES = {
    "NonZero": one("NonZero", [X * (X > 0)]),
    "Unique": one("Unique", [np.float32([3, 1, 3, 2])], 4),
    "Compress": one("Compress", [X, np.array([True, False, True])], axis=0),
    "TopK": one("TopK", [X, np.array([2])], 2),
    "boxes": suppressed(CORNERS, 3, 0.3),
    "all boxes": suppressed(CORNERS, 100, 0.5, 0.4),
    "flipped boxes": suppressed(CORNERS[..., [2, 3, 0, 1]], 4, 0.1, 0.2),
    "centres of boxes": suppressed(CENTRES, 5, 0.2, 0.3, center_point_box=1),
    "no boxes": suppressed(CORNERS, 3, 0.3, 2.0),
    "as they come": one("Unique", [np.float32([[3, 1], [0, 2], [3, 1]])], 4, axis=0, sorted=0),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_chosen_compiled_or_not(name: str) -> None:
    proto, inputs = CASES[name]
    wanted, net = expected(proto, inputs), lucid.onnx.load(proto)
    close(net(*inputs.values()), wanted)
    compiled = lucid.compile(net)
    close(compiled(*inputs.values()), wanted)
    assert "Found" in str(compiled.graph)
    for found, want in zip(backend.prepare(proto).run([*inputs.values()]), wanted, strict=True):
        np.testing.assert_array_equal(found, want)


def test_a_condition_that_the_file_holds_decides_when_the_model_is_built() -> None:
    proto, inputs = one("Compress", [X, np.array([True, False, True])], constant=[1], axis=0)
    compiled = lucid.compile(lucid.onnx.load(proto))
    close(compiled(*inputs.values()), expected(proto, inputs))
    assert "Found" not in str(compiled.graph)


def test_what_follows_goes_on_with_it() -> None:
    """The rows with a positive sum."""
    nodes = [
        helper.make_node("ReduceSum", ["x", "one"], ["sums"], keepdims=0), helper.make_node("Relu", ["sums"], ["some"]),
        helper.make_node("NonZero", ["some"], ["places"]), helper.make_node("Squeeze", ["places", "zero"], ["rows"]),
        helper.make_node("Gather", ["x", "rows"], ["y"]),
    ]  # fmt: skip
    proto = model(nodes, {"x": X}, ["y"], {"one": np.array([1]), "zero": np.array([0])})
    net = lucid.onnx.load(proto)
    compiled = lucid.compile(net, lucid.spec("N", 4))
    for x in (X, -X, np.zeros((0, 4), np.float32)):
        close(net(x), [x[x.sum(1) > 0]])
        close(compiled(x), [x[x.sum(1) > 0]])


def test_random_numbers_are_those_of_the_program() -> None:
    """As large and as spread as they are to be; other ones at each run, the same after the same seed."""
    p = np.full((100, 100), 0.3, np.float32)
    dropped: tuple[Any, ...] = (np.float32(0.25), np.array(True))
    for case, mean, spread in (
        (one("RandomNormal", [], shape=[100, 100], mean=2.0, scale=3.0), 2, 3),
        (one("RandomUniform", [], shape=[100, 100], low=-1.0, high=3.0), 1, 4 / 12**0.5),
        (one("RandomNormalLike", [p], dtype=TensorProto.DOUBLE), 0, 1),
        (one("RandomUniformLike", [p]), 0.5, 1 / 12**0.5),
        (one("Bernoulli", [p]), 0.3, 0.21**0.5),
        (one("Dropout", [p, *dropped], constant=[1, 2]), 0.3, 0.4 * 0.1875**0.5),
    ):  # fmt: skip
        for net in (lucid.onnx.load(case.proto), lucid.compile(lucid.onnx.load(case.proto))):
            runs = []
            for seed in (0, 0, 1):
                lucid.manual_seed(seed)
                runs.append(net(*case.inputs.values()).numpy())
            np.testing.assert_array_equal(runs[0], runs[1])
            assert (runs[0] != runs[2]).any()
            assert runs[0].mean() == pytest.approx(mean, abs=0.1)
            assert runs[0].std() == pytest.approx(spread, rel=0.05)


def test_classes_are_drawn_as_likely_as_they_are() -> None:
    logs = np.log(np.float32([[0.1, 0.2, 0.7], [0.5, 0.5, 1e-30]]))
    y = lucid.onnx.load(one("Multinomial", [logs], sample_size=4000).proto)(logs).numpy()
    assert y.dtype == np.int32
    shares = np.stack([(y == number).mean(1) for number in range(3)], 1)
    np.testing.assert_allclose(shares, [[0.1, 0.2, 0.7], [0.5, 0.5, 0]], atol=0.03)


def test_a_dropout_tells_what_it_keeps() -> None:
    ones = np.ones((50, 50), np.float32)
    case = one("Dropout", [ones, np.float32(0.5), np.array(True)], 2, constant=[1, 2])
    y, kept = (one.numpy() for one in lucid.compile(lucid.onnx.load(case.proto))(ones))
    assert kept.dtype == bool and 0.4 < kept.mean() < 0.6
    np.testing.assert_array_equal(y, 2 * kept)


@pytest.mark.parametrize(
    ("case", "words"),
    [
        (one("OptionalGetElement", [None], opset=18), "is absent"),
        (one("RandomNormal", [], shape=[2], dtype=99), "no element type 99"),
        (one("Dropout", [X, np.float32(2), np.array(True)], constant=[1, 2]), "the ratio must be a number between"),
        (
            one("RoiAlign", [X[None, None], np.zeros((1, 4), np.float32), np.array([0])], mode="min"),
            "unknown mode 'min'",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(case: Case, words: str) -> None:
    with pytest.raises(LucidError, match=words):
        lucid.onnx.load(case.proto)(*case.inputs.values())
