""".lucid files: the same bytes, the same graphs; damage, lies and accidents."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from lucid.errors import FileError, GraphError
from lucid.formats.serialize import Archive, dump, load, loads, save
from lucid.formats.text import to_text
from lucid.graph.ir import Graph, Value
from lucid.graph.ops.call import CALL, CallAttrs
from lucid.graph.types import DTYPES
from tests.graphs import SAMPLES, Sketch, chain, lenet, same_graph, several_outputs

EXTRA = {"tuned": [1, 2.5, None, True, "ü"], "empty": {}}


def arrays_for(graph: Graph) -> dict[str, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    return {
        label: rng.standard_normal(graph.node(node).outputs[0].concrete).astype(np.float32)
        for label, node in graph.parameters.items()
    }


def sample() -> bytes:
    graphs = {name: SAMPLES[name]() for name in ("several_outputs", "constants", "lenet")}
    return dump(graphs, arrays_for(graphs["lenet"]), EXTRA)


@pytest.mark.parametrize("name", SAMPLES)
def test_round_trip(name: str, tmp_path: Path) -> None:
    graph, path = SAMPLES[name](), tmp_path / "net.lucid"
    arrays = arrays_for(graph)
    save(path, {"g": graph, "again": graph}, arrays, EXTRA)
    archive = load(path)
    assert set(archive.graphs) == {"g", "again"}
    assert same_graph(archive.graphs["g"], graph)
    assert archive.extra == EXTRA
    assert archive.arrays.keys() == arrays.keys()
    for label, array in arrays.items():
        np.testing.assert_array_equal(archive.arrays[label], array)
    assert dump(archive.graphs, archive.arrays, archive.extra) == path.read_bytes()


def test_array_types_and_layouts() -> None:
    arrays: dict[str, np.ndarray[Any, Any]] = {
        name: np.array([[0, 1], [1, 0]], dtype) for name, dtype in DTYPES.items()
    }
    arrays |= {
        "big endian": np.arange(5, dtype=">i4"),
        "strided": np.arange(24.0).reshape(2, 3, 4)[:, ::2, ::-1].transpose(2, 0, 1),
        "zero-dimensional": np.array(3.5),
        "empty": np.zeros((0, 4), np.float32),
        "ünïcode.weight": np.array([np.nan, -0.0, np.inf]),
    }
    archive = loads(dump({}, arrays))
    for name, array in arrays.items():
        got = archive.arrays[name]
        assert got.dtype == array.dtype.newbyteorder("=")
        assert got.shape == array.shape
        assert got.tobytes() == np.ascontiguousarray(array, got.dtype).tobytes()
        assert got.flags.writeable
        assert got.flags.aligned


def test_same_content_same_bytes() -> None:
    graph = lenet()
    arrays = arrays_for(graph)
    first = dump({"a": graph, "b": several_outputs()}, arrays, {"x": 1, "y": 2})
    backwards = dict(reversed(list(arrays.items())))
    assert dump({"b": several_outputs(), "a": graph}, backwards, {"y": 2, "x": 1}) == first
    code = (
        "import sys; from tests.formats.test_serialize import sample; import hashlib;"
        "sys.stdout.write(hashlib.sha256(sample()).hexdigest())"
    )
    for seed in ("1", "2"):
        found = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        )
        assert found.stdout.decode() == hashlib.sha256(sample()).hexdigest()


def test_it_is_a_safetensors_file(tmp_path: Path) -> None:
    graph = lenet()
    arrays = arrays_for(graph)
    data = dump({"g": graph}, {**arrays, "flags": np.array([True, False]), "half": np.zeros((3, 0), np.int16)})
    tensors = safetensors.numpy.load(data)
    assert tensors.keys() == {*arrays, "flags", "half"}
    for label, array in arrays.items():
        np.testing.assert_array_equal(tensors[label], array)
    (tmp_path / "net.lucid").write_bytes(data)
    with safetensors.safe_open(tmp_path / "net.lucid", framework="numpy") as file:
        metadata = file.metadata()
    assert (metadata["format"], metadata["version"]) == ("lucid", "1")
    assert json.loads(metadata["graphs"])["g"]["nodes"][0] == {"name": "x", "op": "Input", "types": [0]} | {
        "attrs": {"dtype": {"dtype": "float32"}, "shape": [{"dim": "N"}, 1, 28, 28]}
    }


def test_equal_constants_are_stored_once() -> None:
    s = Sketch()
    x = s.input("x", 1000)
    ones = np.ones(1000, np.float32)
    data = dump({"g": s.finish((x + ones) * ones.copy())})
    assert len(data) < 1000 * 4 + 4000


def test_long_chain_in_linear_time(tmp_path: Path) -> None:
    graph, path = chain(20_000), tmp_path / "chain.lucid"
    started = time.process_time()
    save(path, {"g": graph})
    assert same_graph(load(path).graphs["g"], graph)
    assert time.process_time() - started < 30


# ---------------------------------------------------------------- what cannot be saved


@pytest.mark.parametrize(
    ("arrays", "extra", "message"),
    [
        ({"a": np.zeros(2, np.float16)}, None, "'a' has element type float16"),
        ({"a": np.array(["text"])}, None, "'a' has element type"),
        ({"a": np.array([object()])}, None, "'a' has element type object"),
        ({"@constant/0": np.zeros(1)}, None, "starts without '@'"),
        ({"__metadata__": np.zeros(1)}, None, "cannot be saved under the name"),
        ({3: np.zeros(1)}, None, "cannot be saved under the name 3"),
        ({"norm.mean": np.zeros(4, np.float32)}, None, r"'norm.mean' is float32\[4\], the parameter .* float32\[3\]"),
        ({"norm.mean": np.zeros(3)}, None, r"is float64\[3\]"),
        ({}, {"a": object()}, "'extra' is not JSON"),
        ({}, {"a": float("nan")}, "'extra' is not JSON"),
        ({}, {1: 2}, "would change when"),
        ({}, (1, 2), "would change when"),
    ],
)
def test_what_cannot_be_saved(arrays: Any, extra: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "net.lucid"
    path.write_bytes(b"old")
    with pytest.raises(FileError, match=message):
        save(path, {"g": several_outputs()}, arrays, extra)
    assert os.listdir(tmp_path) == ["net.lucid"]
    assert path.read_bytes() == b"old"


def test_a_live_function_cannot_be_saved() -> None:
    class Callee:
        def output_types(self, inputs: Any) -> Any:
            return tuple(inputs)

    s = Sketch()
    (y,) = s.tracer.emit(CALL, CallAttrs(Callee()), [s.input("x", 2)])  # type: ignore[arg-type]
    with pytest.raises(FileError, match=r"'call' \(Call\) cannot be saved: .* Callee"):
        dump({"g": s.finish(y)})


def test_a_malformed_graph_cannot_be_saved() -> None:
    graph = lenet()
    with pytest.raises(GraphError, match="ghost"):
        dump({"g": Graph(graph.dag, graph.inputs, (Value("ghost"),))})


# ---------------------------------------------------------------- accidents while saving


def test_unwritable_paths(tmp_path: Path) -> None:
    for path in (tmp_path / "missing" / "net.lucid", tmp_path, tmp_path / ("x" * 300)):
        with pytest.raises(FileError, match="cannot be written") as caught:
            save(path, {})
        assert str(path) in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_unreadable_paths(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.lucid", tmp_path):
        with pytest.raises(FileError, match="cannot be read") as caught:
            load(path)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_killed_while_saving(call: str, tmp_path: Path) -> None:
    path = tmp_path / "net.lucid"
    save(path, {"g": lenet()}, extra="old")
    before = path.read_bytes()
    code = f"""
import os, sys
from lucid.formats.serialize import save
from tests.graphs import chain
os.{call} = lambda *args: os._exit(9)
save(sys.argv[1], {{"g": chain(50)}}, extra="new")
"""
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == 9
    assert path.read_bytes() == before
    assert load(path).extra == "old"
    save(path, {"g": chain(50)}, extra="new")  # what the killed save left behind is in nobody's way
    assert load(path).extra == "new"


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_failed_while_saving(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.lucid"
    save(path, {"g": lenet()}, extra="old")
    before = path.read_bytes()

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(FileError, match="No space left on device"):
            save(path, {"g": chain(50)}, extra="new")
    assert os.listdir(tmp_path) == ["net.lucid"]
    assert path.read_bytes() == before


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    real, link = tmp_path / "there" / "real.lucid", tmp_path / "link.lucid"
    save(real, {}, extra=1)
    link.symlink_to(real)
    save(link, {}, extra=2)
    assert link.is_symlink()
    assert load(real).extra == 2


# ---------------------------------------------------------------- damage


def test_every_truncation() -> None:
    data = dump({"g": several_outputs()}, {"norm.mean": np.ones(3, np.float32)})
    for length in range(len(data)):
        with pytest.raises(FileError, match=r"net\.lucid: not a readable"):
            loads(data[:length], "net.lucid")


def test_every_byte_flipped() -> None:
    data = dump({"g": several_outputs()}, {"norm.mean": np.ones(3, np.float32)})
    good = loads(data)
    rng = np.random.default_rng(0)
    undetected = 0
    for at in range(len(data)):
        broken = bytearray(data)
        broken[at] ^= 1 << int(rng.integers(8))
        try:
            archive = loads(bytes(broken))
        except FileError:
            continue
        undetected += 1  # white space turned into other white space changes nothing
        assert to_text(archive.graphs["g"], origins=True) == to_text(good.graphs["g"], origins=True)
        np.testing.assert_array_equal(archive.arrays["norm.mean"], good.arrays["norm.mean"])
    assert undetected < 8


def test_random_damage() -> None:
    data = sample()
    rng = np.random.default_rng(1)
    deadline = time.process_time() + 20  # of work, however busy the machine is
    for _ in range(400):
        broken = bytearray(data)
        at, size = int(rng.integers(len(data))), int(rng.integers(1, 40))
        match rng.integers(4):
            case 0:
                del broken[at : at + size]
            case 1:
                broken[at:at] = rng.bytes(size)
            case 2:
                broken[at : at + size] = rng.bytes(size)
            case _:
                broken[:8] = int(rng.integers(2**62)).to_bytes(8, "little")
        if broken != data:
            with pytest.raises(FileError):
                loads(bytes(broken))
        assert time.process_time() < deadline
    for noise in (b"", b"{}", rng.bytes(1000), b"\x80\x04\x95", bytes(8), (2).to_bytes(8, "little") + b"{}"):
        with pytest.raises(FileError, match="not a readable"):
            loads(noise)


# ---------------------------------------------------------------- lies: files whose checksum is right


def forge(data: bytes, edit: Callable[[Any], Any]) -> bytes:
    """``data`` after ``edit`` changed its header, with ``graphs`` decoded; the checksum is made to fit."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    metadata = header["__metadata__"]
    del metadata["sha256"]
    metadata["graphs"] = json.loads(metadata["graphs"])
    edit(header)
    metadata = header.get("__metadata__")
    if isinstance(metadata, dict):
        if "graphs" in metadata:
            metadata["graphs"] = json.dumps(metadata["graphs"], sort_keys=True, separators=(",", ":"))
        plain = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
        metadata.setdefault("sha256", hashlib.sha256(plain + data[8 + length :]).hexdigest())
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def graph_edit(edit: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda header: edit(header["__metadata__"]["graphs"]["g"])


def put(*path: Any) -> Callable[[Any], Any]:
    *steps, last, value = path

    def edit(data: Any) -> None:
        for step in steps:
            data = data[step]
        data[last] = value

    return edit


LIES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "huge shape": (put("norm.mean", "shape", [10**18]), r"shape \[10{18}\] takes 40{18} bytes"),
    "huge product": (put("norm.mean", "shape", [2**62, 2**62]), "its offsets span 12"),
    "wrapped product": (put("norm.mean", "shape", [2**32, 2**32, 0, 3]), "span 12"),
    "negative shape": (put("norm.mean", "shape", [-3]), "impossible shape"),
    "float shape": (put("norm.mean", "shape", [3.0]), "impossible shape"),
    "bool shape": (put("norm.mean", "shape", [True, 3]), "impossible shape"),
    "high rank": (put("norm.mean", "shape", [1] * 64 + [3]), "impossible shape"),
    "offsets beyond": (put("norm.mean", "data_offsets", [4, 16]), "begin at 4, expected 0"),
    "offsets backwards": (put("norm.mean", "data_offsets", [12, 0]), "span -12"),
    "offsets three": (put("norm.mean", "data_offsets", [0, 12, 12]), "impossible offsets"),
    "unknown element type": (put("norm.mean", "dtype", "BF16"), "unsupported element type 'BF16'"),
    "element type a list": (put("norm.mean", "dtype", ["F32"]), "unsupported element type"),
    "other element type": (put("norm.mean", "dtype", "I32"), r"int32\[3\], the parameter in graph 'g' is float32\[3\]"),
    "overlap": (put("more", {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]}), "begin at 0, expected 12"),
    "tensor a string": (put("norm.mean", "x"), "must have a dtype"),
    "extra field": (put("norm.mean", "code", "x"), "must have a dtype"),
    "constant out of turn": (
        lambda h: h.update({"@constant/7": h.pop("norm.mean")}),
        "cannot be saved under the name '@constant/7'",
    ),
    "metadata gone": (lambda h: h.pop("__metadata__"), "safetensors file of another program"),
    "other format": (put("__metadata__", "format", "pt"), "another program"),
    "newer version": (put("__metadata__", "version", "4"), "version '4', this .* '3': use a newer Lucid"),
    "more metadata": (put("__metadata__", "note", "x"), "its metadata has the fields"),
    "no checksum match": (put("__metadata__", "sha256", "0" * 64), "does not match its checksum"),
    "checksum a number": (put("__metadata__", "sha256", 1), "other than strings"),
    "graphs a list": (put("__metadata__", "graphs", []), "the graphs: expected an object"),
    "graph a list": (put("__metadata__", "graphs", "g", []), "graph 'g': a graph: expected an object"),
    "field missing": (graph_edit(lambda g: g.pop("types")), r"unknown or missing fields \['types'\]"),
    "field unknown": (graph_edit(put("code", "import os")), r"unknown or missing fields \['code'\]"),
    "a result's name a number": (graph_edit(put("names", [1])), "a result's name: expected a string"),
    "a result's name on two lines": (graph_edit(put("names", ["a\nb"])), r"an output is called 'a\\nb'"),
    "a result's name without an end": (graph_edit(put("names", ["a" * 10_001])), "name has 10001 characters"),
    "more names than results": (graph_edit(put("names", ["a"] * 99)), "names 99 outputs and has"),
    "names a string": (graph_edit(put("names", "abc")), "names: expected a list"),
    "unknown op": (graph_edit(put("nodes", 3, "op", "os.system")), "unknown op 'os.system'"),
    "op a list": (graph_edit(put("nodes", 3, "op", ["Mean"])), "an op: expected a string"),
    "unknown attribute": (graph_edit(put("nodes", 3, "attrs", "x", 1)), "unknown attribute 'x'"),
    "attribute missing": (graph_edit(lambda g: g["nodes"][3]["attrs"].pop("axes")), r"\['axes'\] .* missing"),
    "attribute of another kind": (graph_edit(put("nodes", 3, "attrs", "axes", "all")), "'axes' of Reduce.* cannot be"),
    "bool for int": (graph_edit(put("nodes", 3, "attrs", "axes", [True])), "'axes' of ReduceAttrs cannot be"),
    "axis out of range": (graph_edit(put("nodes", 3, "attrs", "axes", [7])), r"'mean' \(Mean\): Mean: axes \(7,\)"),
    "class of another kind": (
        graph_edit(put("nodes", 3, "attrs", "axes", {"class": "NoAttrs", "fields": {}})),
        "'axes' of ReduceAttrs cannot be",
    ),
    "class unknown": (graph_edit(put("nodes", 3, "attrs", "axes", {"class": "Popen", "fields": {}})), "class 'Popen'"),
    "constant missing": (graph_edit(put("nodes", 3, "attrs", "axes", {"array": 0})), "not an attribute value"),
    "deep nesting": (
        graph_edit(put("nodes", 3, "attrs", "axes", json.loads("[" * 900 + "]" * 900))),
        "axes|recursion",
    ),
    "type": (graph_edit(put("types", 0, "float32[3, 3]")), r"node 'x' \(Input\): .* float32\[3, 3\], but"),
    "type of code": (graph_edit(put("types", 0, "float32[__import__('os')]")), "not a dimension"),
    "type too long": (graph_edit(put("types", 0, f"float32[{'N*' * 5000}1]")), "not a dimension"),
    "type out of range": (graph_edit(put("nodes", 0, "types", [99])), "a type: 99 is not a number below"),
    "huge type": (
        graph_edit(
            lambda g: (put("types", 0, f"float32[{10**18}]")(g), put("nodes", 0, "attrs", "shape", [10**18])(g))
        ),
        "more than any memory",
    ),
    "cycle": (graph_edit(put("nodes", 3, "inputs", [4])), "an input or result: 4 is not a number below 3"),
    "dangling edge": (graph_edit(put("nodes", 3, "inputs", [-1])), "-1 is not a number"),
    "output out of range": (graph_edit(put("nodes", 3, "inputs", [[0, 1]])), "reads output 1 of 'x', which has 1"),
    "name twice": (graph_edit(put("nodes", 3, "name", "x")), "two nodes are named 'x'"),
    "name a number": (graph_edit(put("nodes", 3, "name", 5)), "a node's name: expected a string"),
    "result out of range": (graph_edit(put("outputs", 0, [99, 0])), "99 is not a number below"),
    "inputs": (graph_edit(put("inputs", [0])), "Input nodes are"),
    "origin": (graph_edit(put("nodes", 3, "origin", 0)), "an origin: 0 is not a number below 0"),
    "update": (graph_edit(put("updates", 0, ["norm.mean", 0, 0])), "its update x is a float32"),
    "update a number": (graph_edit(put("updates", 0, 3)), "an update: expected a list"),
    "update too short": (graph_edit(put("updates", 0, [])), "an update has three parts"),
    "update too long": (graph_edit(put("updates", 0, ["norm.mean", 9, 0, 7])), "an update has three parts"),
}  # fmt: skip


@pytest.mark.parametrize("what", LIES)
def test_lies_are_found(what: str) -> None:
    edit, message = LIES[what]
    data = dump({"g": several_outputs()}, {"norm.mean": np.ones(3, np.float32)})
    assert loads(forge(data, lambda header: None)).arrays
    with pytest.raises(FileError, match=message) as caught:
        loads(forge(data, edit), "some/net.lucid")
    assert str(caught.value).startswith("some/net.lucid: ")


def test_nothing_is_allocated_for_a_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    data = dump({"g": several_outputs()}, {"norm.mean": np.ones(3, np.float32)})
    lie = forge(data, put("norm.mean", "shape", [10**18]))
    monkeypatch.setattr(np, "empty", lambda *args: pytest.fail("allocated"))
    with pytest.raises(FileError, match="offsets span 12"):
        loads(lie)
    with pytest.raises(FileError, match="announces a header"):
        loads((2**63).to_bytes(8, "little") + data[8:])


def test_keys_twice_and_words_json_does_not_have() -> None:
    data = dump({}, {"a": np.ones(3)})
    length = int.from_bytes(data[:8], "little")
    text = data[8 : 8 + length].decode()
    for broken in (
        text.replace('"a":', '"a":{},"a":', 1),
        text.replace("[3]", "[NaN]"),
        text.replace("[3]", f"[{'9' * 5000}]"),
        text.replace("[3]", "[" * 100_000),
        "[" + text[1:-1] + "]",
    ):
        raw = broken.encode()
        with pytest.raises(FileError, match=r"not a readable \.lucid file"):
            loads(len(raw).to_bytes(8, "little") + raw + data[8 + length :])


def test_bools_are_zero_or_one() -> None:
    data = dump({}, {"a": np.array([True, False])})
    broken = forge(data[:-2] + b"\x02\x00", lambda header: None)
    with pytest.raises(FileError, match="bytes other than 0 and 1"):
        loads(broken)


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        found += places(value, (*path, key))
    return found


HOSTILE: list[Any] = [
    None, True, False, 0, 1, -1, 10**18, 2**64, -(10**30), 0.5, 1e308, "", "x", "N", "Add", "\ud800", "0//0", "N//0",
    [], {}, [0], [[]], [0, 0], {"float": "nan"}, {"dim": "N"}, {"dim": "0//N"}, {"dtype": "float32"}, {"dtype": "x"},
    {"array": 0}, {"array": -1}, {"class": "Attrs", "fields": {}}, {"class": "PoolAttrs"}, [10**12] * 3,
]  # fmt: skip


def test_random_lies() -> None:
    """Fields replaced at random, the checksum made to fit: an error of ours, or a graph that is sound."""
    rng = np.random.default_rng(2)
    data = sample()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"]["graphs"] = json.loads(header["__metadata__"]["graphs"])
    everywhere = places(header)
    outcomes = {"refused": 0, "accepted": 0}
    deadline = time.process_time() + 30  # of work, however busy the machine is
    for _ in range(600):

        def edit(header: Any) -> None:
            for index in rng.integers(len(everywhere), size=rng.integers(1, 3)):
                with contextlib.suppress(TypeError, LookupError):  # an earlier change may have removed the place
                    put(*everywhere[index], copy.deepcopy(HOSTILE[rng.integers(len(HOSTILE))]))(header)

        try:
            archive = loads(forge(data, edit))
        except FileError:
            outcomes["refused"] += 1
        else:
            outcomes["accepted"] += 1
            assert isinstance(archive, Archive)
        assert time.process_time() < deadline
    assert outcomes["refused"] > 400, outcomes
