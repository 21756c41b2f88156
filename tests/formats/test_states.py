"""States as JSON and arrays come back as they were, and nothing else comes back."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

import lucid
from lucid.errors import FileError
from lucid.formats.states import DEEPEST, pack, unpack

STATE = {
    "a": [1, 1.0, True, None, "x", (1, (2.5,), [])], "b": {0: {"c": -0.0}, -7: 10**30}, "inf": [math.inf, -math.inf],
    "@x/y": {"": {}}, "n": np.float32(0.1), "i": np.int64(-3),
}  # fmt: skip


def there_and_back(state: Any) -> Any:
    packed, arrays = pack(state)
    return unpack(json.loads(json.dumps(packed, allow_nan=False)), arrays)


def test_they_come_back_as_they_were() -> None:
    found = there_and_back(STATE)
    assert found == STATE and repr(found["a"]) == repr(STATE["a"])
    assert math.copysign(1, found["b"][0]["c"]) == -1 and type(found["n"]) is float and type(found["i"]) is int
    assert math.isnan(there_and_back([math.nan])[0])
    arrays = {
        "x": np.arange(3.0),
        "y": {1: lucid.tensor([True]), 2: np.zeros((0, 2), np.int8)},
        "y/1": np.ones(1),
        "@": np.ones(2),
    }
    back = there_and_back(arrays)
    for one, other in ((back["x"], arrays["x"]), (back["y"][2], arrays["y"][2]), (back["y/1"], np.ones(1))):  # type: ignore[index]
        np.testing.assert_array_equal(one, other)
    assert sorted(pack(arrays)[1])[0] == "_" and len(pack(arrays)[1]) == 5  # each has a name of its own


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (object(), "its top is <object"), ({"a": {1: 2, "b": 3}}, "keys at /a"), ({"a": {(1,): 2}}, "keys at /a"),
        ({"a": [1j]}, "/a/0 is 1j"), ({"a": np.array(["x"])}, "array of <U1"),
        ({"a": np.ones(1, np.float16)}, "float16"),
        ({True: 1}, "keys at its top"), ({1, 2}, "its top"), (lambda: 0, "its top"),
    ],
)  # fmt: skip
def test_what_is_no_state(state: Any, words: str) -> None:
    with pytest.raises(FileError, match=words):
        pack(state)


def test_neither_too_deep_nor_in_a_circle() -> None:
    circle: list[Any] = []
    circle.append(circle)
    for one in (circle, {"a": circle}):
        with pytest.raises(FileError, match="more than 32 deep"):
            pack(one)
    deep: Any = 1
    for _ in range(DEEPEST):
        deep = [deep]
    assert there_and_back(deep) == deep
    with pytest.raises(FileError, match="32 deep"):
        unpack([[deep]], {})


@pytest.mark.parametrize(
    "data",
    [
        {}, {"tuple": 1}, {"tuple": [], "x": 1}, {"float": "1"}, {"float": 1}, {"array": "b"}, {"array": 1},
        {"dict": {}},
        {"dict": [["a"]]}, {"dict": [[1, 2]]}, {"dict": [["a", 1], ["a", 2]]}, {"numbered": [["a", 1]]},
        {"numbered": [[True, 1]]}, {"x": 1}, [{"array": "a"}, {"array": "a"}], 0,
    ],
)  # fmt: skip
def test_data_that_are_no_state(data: Any) -> None:
    with pytest.raises(FileError):
        unpack(data, {"a": np.ones(1)})
