"""Each command, for people and for scripts."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

import lucid

from .conftest import Call


def answer(call: Call, *words: object) -> Any:
    found = call(*words, "--json")
    assert found.code == 0, found.err
    return json.loads(found.out)


@pytest.fixture
def net(call: Call) -> str:
    assert call("convert", "mine:net", "net.lucid", "--spec", "N,3,8,8").code == 0
    return "net.lucid"


@pytest.fixture
def onnx_file(tmp_path: Path) -> str:
    """``relu(x @ w)`` of any number of rows."""
    w = helper.make_tensor("w", TensorProto.FLOAT, [3, 2], np.arange(6.0) - 2)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["rows", k]) for n, k in (("x", 3), ("y", 2))]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [w])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="tests")
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    return "m.onnx"


# ---------------------------------------------------------------- info


def test_info_of_a_file(call: Call, net: str) -> None:
    said = answer(call, "info", net, "--weights")
    assert said["inputs"] == {"x": "float32[N, 3, 8, 8]"}
    assert list(said["outputs"].values()) == ["float32[N, 2]"]
    assert said["operators"]["Conv2d"] == 1
    assert said["weights"]["numbers"] == 4 * 27 + 4 * 5 + 2 * 144 + 2
    assert said["weights"]["list"]["0.weight"] == "float32[4, 3, 3, 3]"
    assert said["bytes"] == Path(net).stat().st_size
    shown = call("info", net).out
    assert "float32[N, 3, 8, 8]" in shown
    assert "Conv2d" in shown
    assert "0.weight" not in shown


def test_info_reads_no_weights(call: Call, net: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of any size is answered for at once: its numbers are mapped, and may even be damaged."""
    whole = bytearray(Path(net).read_bytes())
    whole[-3] ^= 1
    Path(net).write_bytes(whole)
    assert "checksum" in call("run", net, "--random").err

    def read(*_: object) -> None:
        raise AssertionError("the numbers are read")

    for name in ("lucid.formats.container._read_all", "lucid.formats.container.Data.digest"):
        monkeypatch.setattr(name, read)
    assert answer(call, "info", net)["inputs"]


def test_info_of_an_onnx_file(call: Call, onnx_file: str) -> None:
    said = answer(call, "info", onnx_file)
    assert said["inputs"] == {"x": "float32[rows, 3]"}
    assert said["operators"] == {"MatMul": 1, "Relu": 1}
    assert said["unsupported"] == []
    assert said["about"]["opset"] == "ai.onnx 17"


def test_info_of_python(call: Call) -> None:
    said = answer(call, "info", "mine:small")
    assert said["weights"]["count"] == 4
    assert said["inputs"] == {}
    assert answer(call, "info", "mine:paint", "--spec", "float64:N,3")["inputs"] == {"x": "float64[N, 3]"}
    assert answer(call, "info", "mine:compiled")["inputs"] == {"a": "float32[N]", "b": "float32[N]"}


# ---------------------------------------------------------------- run


def test_run_of_arrays(call: Call, net: str) -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 8), dtype=np.float32)
    np.save("x.npy", x)
    np.savez("x.npz", anything=x)
    want = lucid.load(net)(x).numpy()
    for given in (["x.npy"], ["x.npz"], ["x=x.npy"], ["x=x.npz"]):
        said = answer(call, "run", net, *given, "-o", "y.npy")
        assert said["outputs"]["output"]["shape"] == [2, 2]
        np.testing.assert_array_equal(np.load("y.npy"), want)
        Path("y.npy").unlink()


def test_run_of_several_inputs_and_results(call: Call) -> None:
    np.savez("x.npz", b=np.float32([1, 2]), a=np.float32([3, 4]))
    said = answer(call, "run", "mine:compiled", "x.npz", "-o", "y.npz")
    assert said["outputs"]["output_0"]["first"] == [4, 6]
    with np.load("y.npz") as found:
        np.testing.assert_array_equal(found["output_1"], [3, 8])
    np.save("a.npy", np.float32([3, 4, 5]))
    said = answer(call, "run", "mine:compiled", "b=a.npy", "--random")  # what is drawn is as large as what is given
    assert said["outputs"]["output_0"]["shape"] == [3]
    again = answer(call, "run", "mine:compiled", "b=a.npy", "--random")
    assert again == said
    assert answer(call, "run", "mine:compiled", "b=a.npy", "--random", "--seed", 1) != said


def test_run_compiles_python_for_what_is_given(call: Call) -> None:
    np.save("x.npy", np.float64([[1, 2]]))
    assert answer(call, "run", "mine:paint", "x.npy")["outputs"]["output"]["dtype"] == "float64"


def test_pictures_in_and_out(call: Call, net: str) -> None:
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("x.png")
    assert answer(call, "run", net, "x.png", "-o", "y.npy")["written"] == "y.npy"
    x = (pixels.transpose(2, 0, 1)[None] / 255).astype(np.float32)
    np.testing.assert_allclose(np.load("y.npy"), lucid.load(net)(x).numpy(), rtol=1e-5)
    answer(call, "run", "mine:paint", "x.png", "-o", "y.png")
    painted = np.asarray(Image.open("y.png"))
    np.testing.assert_allclose(painted, 255 / (1 + np.exp(pixels / -255.0)), atol=0.51)
    for spec, shape in (("uint8:1,8,8,3", [1, 8, 8, 3]), ("8,8", [8, 8]), ("1,8,8", [1, 8, 8])):
        said = answer(call, "run", "mine:both", "a=x.png", "b=x.png", "--spec", spec, "--spec", spec)
        assert said["outputs"]["output_0"]["shape"] == shape


# ---------------------------------------------------------------- the others


def test_convert_keeps_what_is_computed(call: Call, onnx_file: str) -> None:
    assert answer(call, "convert", onnx_file, "m.lucid")["bytes"] > 0
    said = call("diff", onnx_file, "m.lucid", "--random")
    assert (said.code, said.out) == (0, "the same structure, weights and results\n")
    answer(call, "convert", onnx_file, "fixed.lucid", "--size", "rows=4")
    assert answer(call, "info", "fixed.lucid")["inputs"] == {"x": "float32[4, 3]"}
    np.save("x.npy", np.ones((4, 3), np.float32))
    for name in (onnx_file, "m.lucid", "fixed.lucid"):
        assert answer(call, "run", name, "x=x.npy")["outputs"]["output"]["first"][:2] == [0, 3]


def test_convert_writes_onnx_too(call: Call, onnx_file: str) -> None:
    call("convert", "mine:small", "small.lucid", "--spec", "N,3")
    for source, target, options in (("small.lucid", "small.onnx", []), (onnx_file, "again.onnx", ["--opset", "18"])):
        assert answer(call, "convert", source, target, *options)["bytes"] == Path(target).stat().st_size
        said = call("diff", source, target, "--random")
        assert "result" not in said.out.replace("the same structure, weights and results", ""), said.out


def test_a_size_of_an_onnx_file_is_fixed_as_it_is_read(call: Call, onnx_file: str) -> None:
    said = answer(call, "run", onnx_file, "--random", "--size", "rows=4")
    assert said["outputs"]["output"]["shape"] == [4, 2]
    assert answer(call, "verify", onnx_file, "--size", "rows=4")["right"] is True
    assert answer(call, "bench", onnx_file, "--size", "rows=4", "--seconds", 0.01)["inputs"] == "float32[4, 3]"
    assert answer(call, "profile", onnx_file, "--size", "rows=4", "--repeat", 1)["steps"]
    assert answer(call, "diff", onnx_file, onnx_file, "--random", "--size", "rows=4")["differences"] == []
    assert "the sizes that are not fixed are rows" in call("run", onnx_file, "--random", "--size", "columns=4").err


def test_nodes_do_not_come_from_the_command_line(call: Call) -> None:
    """Where no code of the user's applies an op, its origin names no line."""
    answer(call, "convert", "mine:small", "s.lucid", "--spec", "N,3")
    found = lucid.load("s.lucid").traced
    assert {place for _, node in found.nodes() for place in node.origin.locations} == set()


def test_diff_says_what_differs(call: Call, net: str) -> None:
    model = lucid.load(net)
    next(iter(model.parameters())).data.add_(1.0)
    model.save("other.lucid")
    said = call("diff", net, "other.lucid", "--random", "--json")
    assert said.code == 1
    whats = [one["what"] for one in json.loads(said.out)["differences"]]
    assert whats[0].startswith("weight ")
    assert whats[-1] == "result 0"
    call("convert", "mine:small", "small.lucid", "--spec", "N,3")
    said = call("diff", net, "small.lucid")
    assert said.code == 1
    assert "inputs" in said.out
    assert call("diff", net, "mine:net", "--spec", "N,3,8,8").code == 0


def test_diff_pairs_nodes_that_have_other_names(call: Call, net: str) -> None:
    """In a file that was written as ONNX nodes are called by their operators there."""
    call("convert", net, "net.onnx")
    other = lucid.onnx.load("net.onnx")
    lucid.compile(other, *other.specs).save("net2.lucid")
    found = call("diff", net, "net2.lucid").out.split("\n\n")
    assert found[0] == f"- {net}\n+ net2.lucid"
    ((what, ours, theirs),) = (part.splitlines() for part in found[1:])
    assert what == "node 1.batch_norm / 1.BatchNormalization.batch_norm"
    assert ours.startswith("- BatchNorm(Conv2d, Parameter, Parameter, Parameter, Parameter) ")
    assert "(eps=1e-05)" in ours and "(eps=9.99999974" in theirs  # as the file has it in single precision


def test_verify(call: Call, net: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert answer(call, "verify", net)["right"] is True
    assert answer(call, "verify", "mine:compiled")["right"] is True
    monkeypatch.setattr("lucid.proof.passes.close", lambda *_: False)
    said = call("verify", net, "--json")
    assert said.code == 1
    assert "of the file" in json.loads(said.out)["error"]


def test_bench_names_the_machine(call: Call, net: str) -> None:
    said = answer(call, "bench", net, "--seconds", 0.01, "--pause", 0.1, "--threads", 1)
    assert said["processor"]
    assert said["threads"] == 1
    for way in ("loop", "paced"):
        assert 0 < said[way]["min"] <= said[way]["median"] <= said[way]["max"]
        assert said[way]["calls"] >= 10


def test_one_thread_is_one(call: Call, net: str) -> None:
    assert ", 1 thread, " in call("bench", net, "--seconds", 0.01, "--pause", 0.1, "--threads", 1).out


def test_bench_counts_the_calls_and_not_the_pauses() -> None:
    from lucid.cli.bench import timed

    now = [0.0]

    def pass_by(seconds: float) -> None:
        now[0] += seconds

    found = timed(lambda: pass_by(1.0), 80.0, 3.0, "", clock=lambda: now[0], sleep=pass_by)
    assert found == [1.0] * 20


def test_profile(call: Call, net: str) -> None:
    said = answer(call, "profile", net, "--repeat", 2, "--trace", "trace.json")
    assert said["total"] > 0
    assert any(step["op"] == "Linear" for step in said["steps"])
    events = json.loads(Path("trace.json").read_text("utf-8"))["traceEvents"]
    caller = [event["name"] for event in events if event["tid"] == 1]  # helpers have rows of their own
    assert caller == [step["node"] for step in said["steps"]]
    assert "GFLOP/s" in call("profile", net, "--repeat", 1).out


def test_draw_as_pictures_are(call: Call, net: str) -> None:
    from_here = partial(answer, call, "draw", net, "p.dot")
    whole = from_here() and Path("p.dot").read_text("utf-8")
    for options in (["--direction", "right"], ["--detail", "full"], ["--focus", "4"]):
        assert from_here(*options)["nodes"] > 0
        assert Path("p.dot").read_text("utf-8") != whole, options
    from_here("--links", "p.html")
    assert "URL=" in Path("p.dot").read_text("utf-8") and "ConvPool2d by" in Path("p.html").read_text("utf-8")
    for wrong in (["--focus", "nothing"], ["--links", "x.svg"], ["--backward", "--graph", "traced"]):
        found = call("draw", net, "p.dot", *wrong)
        assert found.code == 2 and found.err.count("\n") == 1, wrong
    said = from_here("--backward", "--depth", "1")
    assert said["graph"] == "training" and "nodes" not in said


def test_draw(call: Call, net: str) -> None:
    for which, words in (("traced", "BatchNorm"), ("optimised", "ConvPool2d"), ("backward", "Grad")):
        assert answer(call, "draw", net, "net.dot", "--graph", which)["nodes"] > 0
        assert words in Path("net.dot").read_text("utf-8")


def test_passes(call: Call, net: str) -> None:
    listed = answer(call, "passes")["passes"]
    assert [one["name"] for one in listed] == list(lucid.passes.default().names)
    assert all(one["does"] for one in listed)
    ran = {one["pass"]: one for one in answer(call, "passes", net)["passes"]}
    assert ran["fold_batch_norm"]["gone"]["BatchNorm"] == 1
    alone = answer(call, "passes", net, "--only", "fold_batch_norm", "-o", "after.dot")["passes"]
    assert [one["pass"] for one in alone] == ["fold_batch_norm"]
    assert "BatchNorm" not in Path("after.dot").read_text("utf-8")


# ---------------------------------------------------------------- report


def test_report(call: Call, net: str) -> None:
    said = answer(call, "report", net, "-o", "net.html", "--repeat", 0, "--size", "N=2")
    assert said["bytes"] == Path("net.html").stat().st_size
    assert "float32[2, 3, 8, 8]" in Path("net.html").read_text("utf-8")
    assert "net.html: " in call("report", net, "-o", "net.html", "--repeat", 1).out
    assert "ends in .html" in call("report", net, "-o", "net.svg").err
    assert call("report", net).code == 2
