"""Models that mean harm or make no sense, each with what its error says; ``python -m tests.onnx.hostile`` tries all."""

from __future__ import annotations

import json
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import lucid

from .models import Array, model

MEMORY, SECONDS = 4 << 30, 20
"""Bytes that the process may map, and the processor's time that one model may take."""

Source = onnx.ModelProto | bytes
node = helper.make_node
HUGE = np.array([10**6, 10**6], np.int64)
X = {"x": (TensorProto.FLOAT, (2, 3))}
IMAGE = {"x": (TensorProto.FLOAT, (1, 4, 8, 8))}
NASTY = "a\nimport os\r\u2028'\"\\{x}%s\0"


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


def floats(*values: float) -> Array:
    return np.array(values, np.float32)


def of(op: str, *constants: Array | None, inputs: Any = X, opset: int = 17, **attributes: Any) -> onnx.ModelProto:
    """A node on ``x`` and constants."""
    names = [f"c{i}" if one is not None else "" for i, one in enumerate(constants)]
    kept = {name: one for name, one in zip(names, constants, strict=True) if one is not None}
    return model([node(op, ["x", *names], ["y"], **attributes)], inputs, ["y"], kept, opset)


def made(op: str, *constants: Array, **attributes: Any) -> onnx.ModelProto:
    """A node on constants alone, whose sum is added to ``x``."""
    names = [f"c{i}" for i in range(len(constants))]
    nodes = [
        node(op, names, ["m"], **attributes), node("Cast", ["m"], ["f"], to=1),
        node("ReduceSum", ["f"], ["s"], keepdims=0), node("Add", ["x", "s"], ["y"]),
    ]  # fmt: skip
    return model(nodes, X, ["y"], dict(zip(names, constants, strict=True)))


def endless() -> onnx.ModelProto:
    """A loop whose condition is a number that never becomes 0."""
    body = model([node("Add", ["c", "x"], ["d"])], {"i": (7, ()), "t": (9, ()), "c": (1, ())}, ["one", "d"],
                 {"one": ints(1).reshape(())}).graph  # fmt: skip
    return model([node("Loop", ["", "", "start"], ["y"], body=body)], {"x": (1, ())}, ["y"], {"start": floats(0)[0]})


def held(dims: Sequence[int], kind: int = TensorProto.FLOAT, **fields: Any) -> onnx.ModelProto:
    """A constant that says of itself what it likes."""
    proto = of("Add", floats(1))
    proto.graph.initializer[0].CopyFrom(onnx.TensorProto(name="c0", data_type=kind, dims=dims, **fields))
    return proto


def sparse(dims: Sequence[int], indices: Array, *, count: int = 1) -> onnx.ModelProto:
    names = [f"w{i}" for i in range(count)]
    proto = model([node("Sum", names, ["y"])], X, ["y"])
    for name in names:
        values = numpy_helper.from_array(np.ones(len(indices), np.float32), name)
        one = onnx.SparseTensorProto(dims=dims, values=values, indices=numpy_helper.from_array(indices, "i"))
        proto.graph.sparse_initializer.append(one)
    return proto


def doubled(first: str, constants: dict[str, Array], *, begin: Sequence[Any] = (), end: str = "Identity") -> Source:
    """What doubles its size 60 times."""
    names = [first, *(f"d{i}" for i in range(60))]
    nodes = [node("Concat", [a, a], [b], axis=0) for a, b in pairwise(names)]
    last = node(end, ["x", names[-1]] if end == "Expand" else [names[-1]], ["y"])
    return model([*begin, *nodes, last], X, ["y"], constants)


def functions(bodies: dict[str, list[str]], called: Sequence[str] = ("x",)) -> Source:
    """A model that calls the first of functions, each of which calls others one after another."""

    def body(calls: list[str]) -> list[Any]:
        names = ["a", *(f"m{i}" for i in range(len(calls) - 1)), "b"]
        return [
            node(one, [a], [b], domain="f" if one in bodies else "")
            for one, (a, b) in zip(calls, pairwise(names), strict=True)
        ]

    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
    proto = model([node(next(iter(bodies)), called, ["y"], domain="f")], X, ["y"], domains={"f": 1})
    proto.functions.extend(
        helper.make_function("f", name, ["a"], ["b"], body(calls), opsets) for name, calls in bodies.items()
    )
    return proto


def nested(depth: int) -> Source:
    """Branches in branches."""
    inner = [node("Relu", ["x"], ["r"])]
    for _ in range(depth):
        graphs = [helper.make_graph(inner, "in", [], [helper.make_empty_tensor_value_info("r")]) for _ in range(2)]
        inner = [node("If", ["c"], ["r"], then_branch=graphs[0], else_branch=helper.make_graph(
            [node("Abs", ["x"], ["r"])], "else", [], [helper.make_empty_tensor_value_info("r")]))]  # fmt: skip
    return model(inner, {**X, "c": (TensorProto.BOOL, ())}, ["r"])


def number(value: int) -> bytes:
    found = b""
    while value > 127:
        found += bytes([value & 127 | 128])
        value >>= 7
    return found + bytes([value])


def message(field: int, content: bytes, claimed: int | None = None) -> bytes:
    """A message in a message of the wire format, perhaps of another length than it claims."""
    return number(field << 3 | 2) + number(len(content) if claimed is None else claimed) + content


def bomb(depth: int, *fields: int) -> bytes:
    """Messages in messages, by the numbers of fields."""
    content = b""
    for _ in range(depth):
        for field in fields:
            content = message(field, content)
    return content


def changed(change: Callable[[onnx.ModelProto], object], proto: onnx.ModelProto | None = None) -> Source:
    """A model that is right, and is not after the change."""
    proto = of("Add", floats(1)) if proto is None else proto
    change(proto)
    return proto


def named(place: str) -> Source:
    """A name that would break lines, and more, somewhere in a model."""

    def change(proto: onnx.ModelProto) -> None:
        graph = proto.graph
        if place == "operator":
            graph.node[0].op_type = NASTY
        if place == "domain":
            graph.node[0].domain = NASTY
        if place == "node":
            graph.node[0].name, graph.node[0].op_type = NASTY, "Strange"
        if place == "input":
            graph.input[0].name, graph.node[0].input[0] = NASTY, NASTY + "?"
        if place == "output":
            graph.output[0].name = NASTY
        if place == "attribute":
            graph.node[0].attribute.append(onnx.AttributeProto(name=NASTY))
        if place == "constant":
            graph.initializer[0].name = NASTY
            graph.initializer[0].dims[:] = [2]
        if place == "dimension":
            graph.input[0].type.tensor_type.shape.dim[0].dim_param = NASTY
            graph.node[0].op_type = "Strange"
        if place == "graph":
            graph.name, graph.node[0].output[0] = NASTY, "x"
        if place == "set of operators":
            proto.opset_import.extend([helper.make_opsetid(NASTY, 1), helper.make_opsetid(NASTY, 2)])

    return changed(change)


def external(folder: Path, place: str = "w.bin", **said: int) -> Path:
    """A model in a file, whose constant lies in another one."""
    folder.mkdir()
    (folder / "w.bin").write_bytes(b"\0" * 24)
    (folder / "link.bin").symlink_to("/etc/hostname")
    (folder / "loop.bin").symlink_to("loop.bin")
    (folder / "folder").mkdir()
    proto = held([2, 3], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": place, **said}.items():
        proto.graph.initializer[0].external_data.add(key=key, value=str(value))
    (folder / "model.onnx").write_bytes(proto.SerializeToString())
    return folder / "model.onnx"


MODELS: dict[str, tuple[Callable[[], Source], str]] = {
    # a few bytes that ask for any number of elements
    "ConstantOfShape": (lambda: made("ConstantOfShape", HUGE), "is not made"),
    "Expand": (lambda: of("Expand", ints(10**6, 10**6, 2, 3)), "24,000,000,000,000 bytes"),
    "Expand of a constant": (lambda: made("Expand", floats(1), HUGE), "is not made"),
    "Tile": (lambda: of("Tile", HUGE), "24,000,000,000,000 bytes"),
    "Tile of a constant": (lambda: made("Tile", np.ones((2, 2), np.float32), HUGE), "is not made"),
    "Range": (lambda: made("Range", *(np.array(i) for i in (0, 10**12, 1))), "is not made"),
    "Range by nothing": (lambda: made("Range", *(np.array(i) for i in (0, 9, 0))), "there are no numbers from 0 to 9"),
    "Range of NaN": (lambda: made("Range", *(np.float32(i) for i in (np.nan, 9, 1))), "there are no numbers from nan"),
    "Pad": (lambda: of("Pad", ints(10**6, 10**6, 0, 0)), "4,000,020,000,024 bytes"),
    "OneHot": (lambda: made("OneHot", ints(1, 2), np.array(10**9), floats(0, 1)), "is not made"),
    "Resize": (lambda: of("Resize", None, floats(1, 1, 1e6, 1e6), inputs=IMAGE), "bytes"),
    "HannWindow": (lambda: made("HannWindow", np.array(10**12)), "is not made"),
    "DFT": (lambda: of("DFT", np.array(10**9), inputs={"x": (TensorProto.FLOAT, (1, 8, 1))}, axis=1), "is not made"),
    "LRN": (lambda: of("LRN", inputs=IMAGE, size=10**12), "a window of 1000000000000 channels"),
    "ConvTranspose": (lambda: of("ConvTranspose", np.ones((4, 1, 3, 3), np.float32), inputs=IMAGE,
                                 strides=[10**6] * 2), "more than any memory"),
    "MaxPool": (lambda: of("MaxPool", inputs=IMAGE, kernel_shape=[10**9] * 2), "larger than the height"),
    "AveragePool": (lambda: of("AveragePool", inputs=IMAGE, kernel_shape=[3, 3], pads=[10**6] * 4), "only padding"),
    "AveragePool of a huge kernel": (lambda: of(
        "AveragePool", inputs=IMAGE, kernel_shape=[1, 1 << 40], pads=[0, (1 << 40) - 1, 0, 0]), "at most 65,536"),
    "AveragePool of as far as padding goes": (lambda: of(
        "AveragePool", inputs=IMAGE, kernel_shape=[1, 65537], pads=[0, 65536, 0, 30000], strides=[1, 7]), ""),
    "LpPool of taps far apart": (lambda: of(
        "LpPool", inputs=IMAGE, kernel_shape=[1, 2], dilations=[1, 65536], pads=[0, 65536, 0, 65536]), "only padding"),
    "MaxPool of any number of elements": (lambda: of(
        "MaxPool", inputs=IMAGE, kernel_shape=[60000] * 2, pads=[59999] * 4), "at most 16,777,216"),
    "a loop that does not end": (endless, "one bool, got int64"),
    "TopK": (lambda: of("TopK", ints(10**12)), "there are no 1000000000000 elements"),
    "Gather": (lambda: made("Gather", np.ones((4, 4000, 400), np.float32), np.zeros(30000, np.int64)), "is not made"),
    "broadcasting": (lambda: made("Add", np.zeros((1, 40000), np.int8), np.zeros((40000, 1), np.int8)), "is not made"),
    "doubling of an input": (lambda: doubled("x", {}), "more than any memory"),
    "doubling of a constant": (lambda: doubled("c", {"c": floats(1)}), "is not made|more than any memory"),
    "doubling of a shape": (lambda: doubled("s", {}, begin=[node("Shape", ["x"], ["s"])], end="Expand"),
                            "computed from data|is not made"),
    # constants that lie
    "four bytes for 10^12 numbers": (lambda: held([10**6, 10**6], raw_data=b"1234"), "has 4 bytes for 10000000"),
    "no numbers for 10^12": (lambda: held([10**6, 10**6]), "has 0 numbers for 10000000"),
    "a size that overflows": (lambda: held([1 << 62, 1 << 62, 4], raw_data=b""), "larger than any memory"),
    "nothing of a size that overflows": (lambda: held([0, 1 << 62, 1 << 62], raw_data=b""), "larger than any memory"),
    "70 axes": (lambda: held([1] * 70, raw_data=b"1234"), "has 70 dimensions"),
    "10^9 strings": (lambda: held([10**9], TensorProto.STRING), "has 0 texts for"),
    "no type": (lambda: held([1], 0, raw_data=b"1234"), "element type 0"),
    "a sparse constant": (lambda: sparse([10**6, 10**6], ints(1)), "too large"),
    "many sparse constants": (lambda: sparse([1 << 27], ints(1), count=50), "too large"),
    "a sparse constant's index": (lambda: sparse([2, 3], ints(100)), "indices outside"),
    "a sparse constant's negative index": (lambda: sparse([2, 3], ints(-1)), "indices outside"),
    "a sparse constant's axes": (lambda: sparse([2, 3], ints(1, 1, 1)[None]), r"1,\) values and \(1, 3\) indices"),
    # functions
    "a function that calls itself": (lambda: functions({"A": ["A"]}), "'A' of the model calls itself"),
    "functions that call each other": (lambda: functions({"A": ["B"], "B": ["Relu", "A"]}), "calls itself"),
    "functions that double": (lambda: functions({f"F{i}": [f"F{i + 1}"] * 2 for i in range(40)} | {"F40": ["Relu"]}),
                              "the model has 1,099,511,627,776 nodes"),
    "a long chain of functions": (lambda: functions({f"F{i}": [f"F{i + 1}"] for i in range(9000)}),
                                  "more than 100 deep"),
    "a function with too many arguments": (lambda: functions({"A": ["Relu"]}, "xxx"), "do not fit what calls them"),
    "two functions of one name": (lambda: changed(lambda m: m.functions.append(m.functions[0]),
                                                  functions({"A": ["Relu"]})), "have the same name"),  # type: ignore[arg-type]
    # what stands in one another
    "graphs in graphs": (lambda: nested(20), "more than 16 deep"),
    "messages in messages": (lambda: message(7, bomb(20000, 6, 5, 1)), "is not an ONNX model"),
    "types in types": (lambda: message(7, message(11, message(2, bomb(5000, 1, 4)))), "is not an ONNX model"),
    "a claim of 2 GB": (lambda: message(7, b"\0" * 90, (1 << 31) - 1), "is not an ONNX model"),
    "a claim of 2 GB within": (lambda: message(7, message(5, b"\0" * 90, (1 << 31) - 1)), "is not an ONNX model"),
    "groups in groups": (lambda: b"\x3b" * 100000, "is not an ONNX model"),
    "nothing": (lambda: b"", "it holds no graph"),
    "zeros": (lambda: b"\0" * 1000, "is not an ONNX model"),
    "a name that is a path of 50,000 parts": (lambda: changed(lambda m: setattr(m.graph.node[0], "name", "a." * 50000)),
                                              ""),
    # names and numbers
    "two inputs of one name": (lambda: changed(lambda m: m.graph.input.append(m.graph.input[0])), "two values called"),
    "two constants of one name": (lambda: changed(lambda m: m.graph.initializer.append(m.graph.initializer[0])),
                                  "two constants called 'c0'"),
    "two attributes of one name": (lambda: changed(lambda m: m.graph.node[0].attribute.append(
        m.graph.node[0].attribute[0]), of("Softmax", axis=1)), "two attributes called 'axis'"),
    "one result twice": (lambda: changed(lambda m: m.graph.node[0].output.append("y")), "two values called 'y'"),
    "an input without a name": (lambda: changed(lambda m: setattr(m.graph.input[0], "name", "")), "without a name"),
    "an output that nothing gives": (lambda: changed(lambda m: setattr(m.graph.output[0], "name", "z")),
                                     "nothing gives the value 'z'"),
    "a result that the operator does not have": (lambda: changed(lambda m: (
        m.graph.node[0].output.append("z"), setattr(m.graph.output[0], "name", "z"))), "nothing gives the value 'z'"),
    "no outputs": (lambda: changed(lambda m: m.graph.ClearField("output")), "no tensor"),
    "a node that reads itself": (lambda: changed(lambda m: m.graph.node[0].input.__setitem__(1, "y")), "cycle"),
    "too many inputs": (lambda: of("Relu", *[floats(1)] * 50), "given 51 inputs, and takes 1"),
    "too few inputs": (lambda: of("Add"), "given 1 inputs, and takes 2"),
    "the first input left out": (lambda: changed(lambda m: m.graph.node[0].input.__setitem__(0, "")), "given 1 inputs"),
    "no operators": (lambda: of("Relu", opset=0), r"not supported: Relu \(opset 0\)"),
    "two versions of operators": (lambda: changed(lambda m: m.opset_import.append(helper.make_opsetid("", 9))),
                                  "two versions"),
    "other operators of the future": (lambda: changed(lambda m: m.opset_import.append(
        helper.make_opsetid("ai.onnx.ml", 999))), "newest that is known here is 5"),
    "a cast to nothing": (lambda: of("Cast", to=999), "element type 999"),
    "a cast of a constant to nothing": (lambda: made("Cast", floats(1), to=999), "element type 999"),
    "a division by nothing": (lambda: made("Div", ints(0, 1), ints(0, 0)), ""),
    **{f"a nasty name: {place}": (lambda place=place: named(place), "import os") for place in (  # type: ignore[misc]
        "operator", "domain", "node", "input", "output", "attribute", "constant", "graph", "set of operators",
    )},
}  # fmt: skip
"""What makes each, and what its error says; nothing where it may run."""

EXTERNAL: dict[str, tuple[dict[str, Any], str]] = {
    "above the folder": ({"place": "../w.bin"}, "outside the model's folder"),
    "above and back": ({"place": "folder/../../w.bin"}, "outside the model's folder"),
    "an absolute path": ({"place": "/etc/hostname"}, "outside the model's folder"),
    "a link that leads outside": ({"place": "link.bin"}, "outside the model's folder"),
    "a link to itself": ({"place": "loop.bin"}, "cannot be a file"),
    "a folder": ({"place": "folder"}, "which is missing"),
    "nothing there": ({"place": "other.bin"}, "which is missing"),
    "no place": ({"place": ""}, "outside the model's folder"),
    "a zero byte": ({"place": "w.bin\0.txt"}, "cannot be a file"),
    "a name of any length": ({"place": "w" * 5000}, "cannot be a file"),
    "beyond the end": ({"offset": 8}, "does not fit"),
    "before the beginning": ({"offset": -8}, "does not fit"),
    "a length that is none": ({"length": 1 << 40}, "does not fit"),
    "an offset beyond all": ({"offset": 1 << 70}, "does not fit"),
    "an offset that is no number": ({"offset": "x"}, "no number"),
}
"""How data lies elsewhere, and what the error says."""


class TooSlow(BaseException):
    """A model took too long."""


def attempt(source: Source | Path) -> str:
    """What a model answers: an error of ours, or nothing where it runs."""
    try:
        given = source.SerializeToString() if isinstance(source, onnx.ModelProto) else source
        net = lucid.onnx.load(given)
        shapes = [[d if isinstance(d, int) else 2 for d in one.shape] for one in net.specs]
        lucid.compile(net)(*(np.ones(shape, one.dtype) for shape, one in zip(shapes, net.specs, strict=True)))
    except lucid.LucidError as error:
        return "\n".join([str(error), *getattr(error, "__notes__", ())])
    return ""


def tried() -> Iterator[dict[str, Any]]:
    """The outcome of each model: what it says or raises, the processor's time, and how much memory the process took."""

    def stop(*_: object) -> None:
        raise TooSlow

    signal.signal(signal.SIGPROF, stop)
    with tempfile.TemporaryDirectory() as place:
        sources: dict[str, Callable[[], Source | Path]] = {name: make for name, (make, _) in MODELS.items()}
        for number, (name, (how, _)) in enumerate(EXTERNAL.items()):
            sources[name] = lambda how=how, number=number: external(Path(place, str(number)), **how)  # type: ignore[misc]
        for name, make in sources.items():
            source, raised, said = make(), "", ""
            began = time.process_time()
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            try:
                said = attempt(source)
            except BaseException as error:  # noqa: BLE001 - that is what is looked for
                raised = f"{type(error).__name__}: {error}"
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
            seconds = time.process_time() - began
            yield {"name": name, "said": said, "raised": raised, "seconds": seconds, "megabytes": peak}


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for outcome in tried():
        sys.stdout.write(json.dumps(outcome) + "\n")
