"""Files whose checksum is right and that want to hurt: refused at load, at once, before anything is allocated."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.errors import FileError, LucidError, OptionError, ShapeError
from lucid.formats import container
from lucid.formats.decode import decode_attrs
from lucid.formats.encode import format_type, parse_type
from lucid.formats.serialize import load, loads, save
from lucid.graph.dims import evaluate, limited_work, parse_dim, symbol
from lucid.graph.opdef import find_op
from lucid.runtime.planning import available_memory
from tests.soak.files import put, take

EXTRA = {"inputs": ["tuple", ["tuple", ["leaf"]], ["dict"]], "outputs": ["leaf"], "training": False, "tuned": []}
F32 = {"dtype": "float32"}


def of_graph(graph: Any, extra: Any = EXTRA) -> bytes:
    """A file of one graph."""
    return put(
        {
            "__metadata__": {
                "format": "lucid",
                "version": "1",
                "graphs": {"traced": graph, "optimised": graph},
                "extra": extra,
            }
        },
        b"",
    )


def one_op(op: str, attrs: dict[str, Any], shape: list[Any], dtype: str = "float32") -> bytes:
    """A file of one op on one input, its types as they follow."""
    text = f"{dtype}[{', '.join(map(str, shape))}]"
    definition = find_op(op)
    feeds = [parse_type(text)] if definition.inputs else []
    results = definition.infer_types(decode_attrs(definition.attrs, attrs, []), feeds)
    dims = [{"dim": d} if isinstance(d, str) else d for d in shape]
    nodes = [
        {"name": "x", "op": "Input", "attrs": {"shape": dims, "dtype": {"dtype": dtype}}, "types": [0]},
        {
            "name": "y",
            "op": op,
            "attrs": attrs,
            "inputs": [0] * len(feeds),
            "types": [1 + i for i in range(len(results))],
        },
    ]
    types = [text, *map(format_type, results)]
    return of_graph({"nodes": nodes, "types": types, "origins": [], "inputs": [0], "outputs": [[1, 0]], "updates": []})


def refused(raw: bytes, path: Path, message: str | None = None) -> None:
    """It is refused at load, with the message, in little time of the processor and little memory."""
    path.write_bytes(raw)
    began, memory = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(FileError, match=message):
        lucid.load(path)
    assert time.process_time() - began < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 100 << 10


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "net.lucid"


IMAGE = [1, 1, 4, 4]
BOMBS: dict[str, tuple[str, dict[str, Any], list[Any], str]] = {
    "filled": ("Full", {"shape": [2**44], "dtype": {"dtype": "uint8"}, "value": 1}, [2], "float32"),
    "filled, symbolic": ("Full", {"shape": [{"dim": f"{2**40}*N"}], "dtype": F32, "value": 1}, ["N"], "float32"),
    "filled, of no rows": ("Full", {"shape": [0, 2**40], "dtype": F32, "value": 1}, [2], "float32"),
    "one hot": ("OneHot", {"classes": 2**40, "dtype": {"dtype": "uint8"}}, [2], "int64"),
    "one hot of nothing": ("OneHot", {"classes": 2**40, "dtype": {"dtype": "uint8"}}, [0], "int64"),
    "expanded": ("Expand", {"shape": [2**40]}, [1], "float32"),
    "padded": ("Pad", {"before": [2**40], "after": [0], "mode": "constant", "value": 0.0}, [4], "float32"),
    "scattered": ("SliceGrad", {"starts": [0], "sizes": [1], "steps": [1], "shape": [2**40]}, [1], "float32"),
    "adaptive": ("AdaptiveAvgPool2d", {"height": 1, "width": 2**40}, IMAGE, "float32"),
    "adaptive windows": ("AdaptiveAvgPool2d", {"height": 1, "width": 2**20}, IMAGE, "float32"),
    "adaptive positions": ("AdaptiveArgMax2d", {"height": 2**10, "width": 2**10}, IMAGE, "float32"),
    "a window": ("MaxPool2d", {"kernel": [2**12] * 2, "stride": [1, 1], "padding": [2**11] * 4}, IMAGE, "float32"),
    "an average": ("AvgPool2d", {"kernel": [2**12] * 2, "stride": [1, 1], "padding": [2**11] * 4}, IMAGE, "float32"),
}  # fmt: skip


@pytest.mark.parametrize("what", BOMBS)
def test_values_and_windows_out_of_proportion(what: str, path: Path) -> None:
    op, attrs, shape, dtype = BOMBS[what]
    refused(one_op(op, attrs, shape, dtype), path, "out of proportion|more than any memory")


def test_what_is_in_proportion_is_let_through(path: Path) -> None:
    rng = np.random.default_rng(0)
    outer = lucid.compile(lambda x: x.reshape(-1, 1) * x)
    x = rng.standard_normal(9000).astype(np.float32)
    outer(x)
    outer.save(path)
    with lucid.no_grad():
        assert lucid.load(path)(x).shape == (9000, 9000)  # 324 MB of 36 KB
    image = rng.standard_normal((1, 1, 300, 300)).astype(np.float32)
    whole = lucid.compile(nn.AvgPool2d(300, 300))
    whole(image)
    whole.save(path)
    np.testing.assert_allclose(lucid.load(path)(image).numpy(), image.mean((2, 3), keepdims=True), atol=1e-5)


@pytest.mark.parametrize("value", [10**300, 300, -1, {"float": "nan"}, {"float": "inf"}, 2**31])
def test_a_filled_value_fits(value: Any, path: Path) -> None:
    graph = {
        "nodes": [
            {"name": "x", "op": "Input", "attrs": {"shape": [2], "dtype": F32}, "types": [0]},
            {"name": "y", "op": "Full", "types": [1],
             "attrs": {"shape": [2], "dtype": {"dtype": "uint8"}, "value": value}},
        ],
        "types": ["float32[2]", "uint8[2]"], "origins": [], "inputs": [0], "outputs": [[1, 0]], "updates": [],
    }  # fmt: skip
    refused(of_graph(graph), path, "does not fit into uint8")


DIMS = {
    "a power": "*".join(["(N+1)"] * 300),
    "many symbols": "*".join(f"(a{i}+1)" for i in range(60)),
    "many terms": "+".join(f"N*a{i}" for i in range(150)),
    "divisions in divisions": "(" * 200 + "N" + ")//2+1" * 200,
    "doubled by each level": "(" * 19 + "N" + "//(M+1)+N//3)*(N+1)" * 19,
    "large numbers": "*".join(["9999999999999999999"] * 90) + "*N",
    "a power of powers": "N+9**9**9",
    "a division by zero": "N//0",
    "a call": "__import__('os')",
    "long": "N+" * 5000 + "N",
}


@pytest.mark.parametrize("what", DIMS)
def test_dimensions_do_not_expand(what: str, path: Path) -> None:
    began = time.process_time()
    with pytest.raises(ShapeError):
        parse_dim(DIMS[what])
    assert time.process_time() - began < 1
    for op, attrs in (("Input", {"shape": [{"dim": DIMS[what]}], "dtype": F32}), ("Relu", {})):
        nodes = [
            {"name": "x", "op": "Input", "attrs": {"shape": [{"dim": "N"}], "dtype": F32}, "types": [0]},
            {"name": "y", "op": op, "attrs": attrs, "types": [1], "inputs": [0] if op == "Relu" else []},
        ]
        graph = {
            "nodes": nodes, "types": ["float32[N]", f"float32[{DIMS[what]}]"],
            "origins": [], "inputs": [0], "outputs": [[1, 0]], "updates": [],
        }  # fmt: skip
        refused(of_graph(graph), path)


def test_dimensions_together_take_bounded_work(path: Path) -> None:
    big = [f"float32[{'*'.join(f'({c}+{i})' for c in 'ABCDEF')}]" for i in range(1, 2000)]
    raw = one_op("Relu", {}, ["A", "B", "C", "D", "E", "F"])
    header, data = take(raw)
    for graph in header["__metadata__"]["graphs"].values():
        graph["types"] += big
    path.write_bytes(put(header, data))
    lucid.load(path)  # nobody reads them
    for graph in header["__metadata__"]["graphs"].values():
        graph["nodes"][1]["types"] = list(range(2, 2000))
    refused(put(header, data), path, "arithmetic")
    with limited_work(10), pytest.raises(ShapeError, match="arithmetic"):
        parse_dim("+".join(["N"] * 20))


def test_sizes_that_do_not_go() -> None:
    n, m = symbol("N"), symbol("M")
    with pytest.raises(ShapeError, match="divides by zero where N is 2"):
        evaluate(n // (n - 2), {"N": 2})
    with pytest.raises(ShapeError, match="larger than any array"):
        evaluate(n * n * m, {"N": 2**31, "M": 2**31})
    with pytest.raises(ShapeError, match=r"cannot be \(-3,\)"):
        parse_type("float32[N - 5]").bind({"N": 2})
    with pytest.raises(ShapeError, match="cannot be"):
        parse_type("float32[N, N]").bind({"N": 2**30})


def test_a_symbol_that_no_input_has(path: Path) -> None:
    refused(
        one_op("Expand", {"shape": [{"dim": "M"}, {"dim": "N"}]}, ["N"]),
        path,
        "no input has the symbolic dimension 'M'",
    )
    refused(one_op("Relu", {}, ["N*N"]), path, "no axis of an input has the size 'N'")


def test_einsum_letters(path: Path) -> None:
    for letter in (" ", ".", ",", "é", "1", "\n"):
        with pytest.raises(OptionError, match="are not all letters"):
            one_op("Einsum", {"operands": [letter], "result": letter}, [2])


def nested(depth: int) -> Any:
    data: Any = ["leaf"]
    for _ in range(depth):
        data = ["list", data]
    return data


def tuned(**change: Any) -> Any:
    return {**EXTRA, "tuned": [{"sizes": {"N": 2}, "threads": 1, "nodes": {"y": ["numpy", 0.5]}, **change}]}


WRONG: dict[str, tuple[Any, str]] = {
    "a list": ([], "does not describe its inputs"),
    "nothing": (None, "does not describe its inputs"),
    "a number": (3, "does not describe its inputs"),
    "no inputs": ({"outputs": ["leaf"], "training": False}, "does not describe"),
    "training": ({**EXTRA, "training": "yes"}, "training and exact"),
    "exact": ({**EXTRA, "exact": 1}, "training and exact"),
    "deep results": ({**EXTRA, "outputs": nested(900)}, "nested|structure"),
    "rather deep results": ({**EXTRA, "outputs": nested(101)}, "nested more than 100 deep"),
    "no arguments": ({**EXTRA, "inputs": ["leaf"]}, "does not fit the graph"),
    "arguments called by numbers": ({**EXTRA, "inputs": ["tuple", ["tuple"], ["dict", [1, ["leaf"]]]]}, "does not fit"),
    "a key twice": ({**EXTRA, "outputs": ["dict", ["a", ["leaf"]], ["a", ["static", 1]]]}, "not a structure"),
    "true for a key": ({**EXTRA, "outputs": ["dict", [True, ["leaf"]]]}, "not a structure"),
    "more results": ({**EXTRA, "outputs": ["list", ["leaf"], ["leaf"]]}, "does not fit the graph"),
    "tuned: a number": ({**EXTRA, "tuned": 3}, "tuning results are not readable"),
    "tuned: seconds beyond all": (tuned(nodes={"y": ["numpy", 10**400]}), "not readable|digits"),
    "tuned: negative seconds": (tuned(nodes={"y": ["numpy", -1]}), "not readable"),
    "tuned: a list of one": (tuned(nodes={"y": ["numpy"]}), "not readable"),
    "tuned: threads": (tuned(threads="a"), "not readable"),
    "tuned: many threads": (tuned(threads=2**64), "not readable"),
    "tuned: sizes": (tuned(sizes={"N": 1.5}), "not readable"),
    "tuned: a list for sizes": (tuned(sizes=[1]), "not readable"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_a_file_says_of_its_model(what: str, path: Path) -> None:
    header, data = take(one_op("Relu", {}, ["N", 2]))
    extra, message = WRONG[what]
    header["__metadata__"]["extra"] = extra
    refused(put(header, data), path, message)


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "Infinity", "9" * 400, "-" + "9" * 400])
def test_numbers_beyond_all(number: str, path: Path) -> None:
    raw = put(take(one_op("Relu", {}, [2]))[0], b"")
    header, data = take(raw)
    header["__metadata__"]["extra"] = {**EXTRA, "seconds": "HERE"}
    metadata = header["__metadata__"]
    for key in ("graphs", "extra"):
        metadata[key] = json.dumps(metadata[key], sort_keys=True, separators=(",", ":"))
    metadata["extra"] = metadata["extra"].replace('"HERE"', number)
    text = json.dumps(header, sort_keys=True, separators=(",", ":"))
    metadata["sha256"] = hashlib.sha256(text.encode() + data).hexdigest()
    whole = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    refused(len(whole).to_bytes(8, "little") + whole + data, path, "is not JSON|digits|larger than any number")


def test_a_key_twice_is_found_in_linear_time(path: Path) -> None:
    text = "{" + ",".join(f'"k{i}":0' for i in range(200_000)) + ',"k199999":0}'
    refused(len(text).to_bytes(8, "little") + text.encode(), path, "'k199999' occurs twice")


@pytest.mark.parametrize("threads", [0, -1, "a", 1.5, True, 2**40, [2]])
def test_threads_are_checked(threads: Any, path: Path) -> None:
    path.write_bytes(one_op("Relu", {}, [2]))
    with pytest.raises(OptionError, match="threads"):
        lucid.load(path, threads=threads)
    with pytest.raises(OptionError, match="exact"):
        lucid.load(path, exact=threads if not isinstance(threads, bool) else 1)


def test_an_array_that_no_graph_reads(path: Path) -> None:
    net = lucid.compile(nn.Linear(3, 2).eval(), lucid.spec("N", 3))
    net.save(path)
    archive = load(path)
    save(path, archive.graphs, {**archive.arrays, "more": np.zeros(3)}, archive.extra)
    with pytest.raises(FileError, match="no graph reads the array 'more'"):
        lucid.load(path)


class Counter(nn.Module):
    """Writes a buffer that it never reads."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("last", lucid.tensor(np.zeros(2, np.float32)))

    def forward(self, x: Any) -> Any:
        self.last.copy_(x.mean(0))
        return x * 2


def test_a_buffer_that_is_only_written_is_saved(path: Path) -> None:
    net = lucid.compile(Counter())
    x = np.ones((3, 2), np.float32)
    net(x)
    net.save(path)
    again = lucid.load(path)
    np.testing.assert_array_equal(again(x).numpy(), 2 * x)
    archive = load(path)
    save(path, archive.graphs, {}, archive.extra)  # as the first version wrote it
    np.testing.assert_array_equal(lucid.load(path)(x).numpy(), 2 * x)


# ---------------------------------------------------------------- large files


@pytest.mark.skipif(os.name != "posix", reason="elsewhere files are read")
def test_large_files_are_mapped(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    arrays = {"a": rng.standard_normal(1000), "b": rng.integers(0, 9, 77).astype(np.int8), "c": np.zeros((0, 3))}
    save(path, {}, arrays)
    before = path.read_bytes()
    monkeypatch.setattr(container, "MAPPED", 1)
    found = load(path).arrays
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].flags.writeable
        assert found[name].flags.aligned
    assert found["a"].base is not None
    found["a"][...] = 0  # its own from then on
    assert path.read_bytes() == before
    save(path, {}, {"a": found["a"]})
    np.testing.assert_array_equal(load(path).arrays["a"], 0)
    np.testing.assert_array_equal(loads(before).arrays["a"], arrays["a"])  # bytes cannot be mapped
    model = nn.Linear(8, 8).eval()
    x = rng.standard_normal((2, 8)).astype(np.float32)
    net = lucid.compile(model, lucid.spec("N", 8))
    net.save(path)
    mapped = lucid.load(path)
    np.testing.assert_array_equal(mapped(x).numpy(), net(x).numpy())
    mapped.save(path)
    np.testing.assert_array_equal(lucid.load(path)(x).numpy(), net(x).numpy())


@pytest.mark.skipif(os.name != "posix", reason="elsewhere files are read")
def test_a_tensor_larger_than_memory_is_refused(path: Path) -> None:
    size = 1 << 40
    header = {
        "x": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]},
        "__metadata__": {"format": "lucid", "version": "1", "graphs": "{}", "extra": "{}", "sha256": "0" * 64},
    }
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + size)  # sparse: it takes no room
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (1 << 36, before[1]))
    try:
        with pytest.raises(LucidError, match="cannot be allocated"):
            load(path)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


# ---------------------------------------------------------------- runs that cannot fit


def test_a_run_that_cannot_fit_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    net = lucid.compile(lambda x: (x.reshape(-1, 1) * x).sum(1), lucid.spec("N"))
    monkeypatch.setattr(available_memory, "_limits", lambda: iter([1 << 28]))
    net(np.ones(1000, np.float32))
    with pytest.raises(LucidError, match=r"needs 40\d,\d{3},\d{3} bytes, and this process can have 268,435,456"):
        net(np.ones(10_000, np.float32))


def test_the_limits_are_those_of_the_process() -> None:
    limits = list(available_memory._limits())
    assert all(limit > 0 for limit in limits)
    available_memory.check_room(1 << 20, "a little")
    with pytest.raises(LucidError, match="and this process can have"):
        available_memory.check_room(1 << 60, "a run")
