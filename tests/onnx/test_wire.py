"""Long lists that are read from a file's bytes are what the package for protocol buffers reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from onnx import AttributeProto, helper

from lucid.formats.onnx import wire
from lucid.formats.onnx.long_fields import LARGE, set_aside
from lucid.formats.onnx.reader import read

from .models import one

BIG = 1 << 63
NUMBERS = np.random.default_rng(0).integers(0, 127, 40_000) << np.random.default_rng(1).integers(0, 57, 40_000)
LISTS: dict[str, list[Any]] = {
    "floats": np.random.default_rng(2).standard_normal(20_000).tolist(),
    "bytes": (NUMBERS % 128).tolist(),
    "halves": (NUMBERS % (1 << 28)).tolist(),
    "wide": [*NUMBERS.tolist(), BIG - 1, -BIG, -1, 0],
    "few": ["", "a", "a\0", "\0a", "no", "ja"] * 4000,
    "many": [f"{number}" for number in range(20_000)],
    "tags": ["J", "JJ", "\nJ"] * 20_000,
    "long": ["x" * 200] * 1000,
}


def plain(given: Any) -> list[Any]:
    return [one.encode() if isinstance(one, str) else one for one in given]


@pytest.mark.parametrize("name", LISTS)
def test_lists_are_what_the_package_reads(name: str) -> None:
    given = helper.make_attribute(name, LISTS[name])
    proto = one("Identity", [np.zeros(1, np.float32)]).proto
    proto.graph.node[0].attribute.extend([given, helper.make_attribute("other", 1.5)])
    data = proto.SerializeToString()
    shorter, lists = set_aside(data)
    # texts of many kinds, with the tag's byte in them, or long ones, are left to the package
    assert bool(lists) == (len(shorter) < LARGE) == (name not in ("many", "tags", "long"))
    attributes = read(data).graph.nodes[0].attributes
    assert plain(attributes[name]) == list(helper.get_attribute_value(given))
    assert attributes["other"] == 1.5


def test_what_is_no_list_alone_is_left() -> None:
    whole = np.frombuffer(helper.make_attribute("", LISTS["wide"][-40:]).SerializeToString(), np.uint8)[2:-3]
    assert wire.ints(whole) is not None
    assert all(wire.ints(whole[:end]) is None for end in range(len(whole)) if whole[end] != wire.INTS)
    for at in range(0, len(whole), 3):
        changed = whole.copy()
        changed[at] ^= 128  # a tag of two bytes, a number that goes on, or ends early
        read = wire.ints(changed)
        attribute = AttributeProto()
        try:
            attribute.ParseFromString(changed.tobytes())
        except DecodeError:
            assert read is None
        else:
            assert read is None or read.tolist() == list(attribute.ints)
    assert wire.floats(whole) is None
    assert wire.texts(whole) is None
    assert wire.texts(np.frombuffer(b"J\x02aJ\x01b", np.uint8)) is None
    assert wire.texts(np.frombuffer(b"J\x02a", np.uint8)) is None
    assert wire.ints(whole[:0]) is None
    assert wire.texts(whole[:0]) is None


def test_functions_and_two_graphs_change_nothing() -> None:
    proto = one("Identity", [np.zeros(1, np.float32)]).proto
    proto.graph.node[0].attribute.append(helper.make_attribute("many", LISTS["halves"]))
    first = proto.SerializeToString()
    assert len(read(first).graph.nodes[0].attributes["many"]) == len(LISTS["halves"])
    proto.functions.append(helper.make_function("d", "f", ["x"], ["x"], [], []))
    assert set_aside(proto.SerializeToString()) == (proto.SerializeToString(), {})
    second = one("Identity", [np.zeros(1, np.float32)]).proto
    second.graph.node[0].attribute.append(helper.make_attribute("many", LISTS["bytes"]))
    del second.graph.input[:], second.graph.output[:], second.opset_import[:]
    second.graph.node[0].output[0] = "other"
    nodes = read(first + second.SerializeToString()).graph.nodes  # two graphs are read as one
    assert [list(node.attributes["many"]) for node in nodes] == [LISTS["halves"], LISTS["bytes"]]
