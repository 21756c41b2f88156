"""Pictures as text and files: what stands in them, that they are always the same, and what is without Graphviz."""

from __future__ import annotations

import builtins
import re
import shutil
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import graphviz
import numpy as np
import pytest

from lucid.autodiff.reverse import differentiate, partition
from lucid.errors import DrawError, FileError, OptionError
from lucid.formats.draw import draw, render, style, to_dot
from lucid.formats.draw import files as drawing
from lucid.formats.draw.graph_view import family, is_gradient
from lucid.formats.serialize import dump, loads
from lucid.formats.text import parse_text
from lucid.graph.ops.conv import conv2d
from lucid.graph.ops.conv_pool import CONV_POOL, ConvPoolAttrs
from lucid.graph.ops.elementwise import where
from lucid.graph.ops.norm import batch_norm
from lucid.graph.ops.pool import MaxPoolAttrs
from tests.graphs import SAMPLES, Sketch, chain, constants, gradient, lenet, odd_names, perceptron, several_outputs


def texts(svg: bytes) -> list[str]:
    """Every piece of text in a picture."""
    root = ElementTree.fromstring(svg)
    return [(element.text or "").strip() for element in root.iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("name", SAMPLES)
def test_every_sample_is_drawn(name: str) -> None:
    graph = SAMPLES[name]()
    dot = to_dot(graph, title=f"the title of {name}", detail="full")
    assert to_dot(SAMPLES[name](), title=f"the title of {name}", detail="full") == dot
    words = texts(render(dot, "svg"))
    assert f"the title of {name}" in words
    for node_name, node in graph.nodes():
        if node.op.name not in ("Input", "Parameter", "Constant", "Full"):
            assert node.op.name in words, node_name


def test_what_a_picture_says() -> None:
    words = texts(render(to_dot(lenet()), "svg"))
    assert words.count("Conv2d") == 2
    assert {"x", "N×1×28×28 float32", "weight 6×1×5×5 · bias 6", "padding 2", "output", "N×6×14×14"} <= set(words)
    assert any("kernel 2" in word for word in words)
    assert "features.0.act" not in words  # a module of one node gets no box
    assert not any("dilation" in word for word in words)  # a default


def test_modules_are_nested_boxes() -> None:
    dot = to_dot(lenet(), detail="full")
    depth, deepest = 0, 0
    for line in dot.splitlines():
        depth += ("subgraph cluster" in line) - (line.strip() == "}")
        deepest = max(deepest, depth)
    assert deepest == 2  # a frame around frames only is not drawn, their names say its own
    assert len(set(re.findall(r"subgraph (cluster_\d+)", dot))) == dot.count("subgraph cluster") == 5


def test_scalars_are_written_into_their_reader() -> None:
    words = texts(render(to_dot(several_outputs(), detail="full"), "svg"))
    assert {"b = 0.9", "b = 0.1", "update norm.mean", "output 3", "unused"} <= set(words)
    assert "Full" not in words
    assert {"b = 0.25", "b = 40*N + 1", "b = -inf"} <= set(texts(render(to_dot(constants()), "svg")))


def test_what_is_saved_is_drawn_as_before() -> None:
    graph = gradient()
    assert "∂ weight · ∂ bias" in texts(render(to_dot(graph), "svg"))
    assert (
        to_dot(loads(dump({"g": graph})).graphs["g"]) == to_dot(graph) == to_dot(parse_text(graph.text(origins=True)))
    )


def test_gradients_of_odd_names_do_no_harm() -> None:
    s = Sketch()
    x: Any = s.input("x", 2)
    for name in ("</TD>\n<script>", '\u202e\\N"', "x" * 20_000):
        x = x * s.parameter(name, 2)
    joint = differentiate(graph := s.finish(x), [*graph.parameters.values()]).graph
    assert all(len(name) <= 10_000 and name.isprintable() for name in joint.names)
    assert to_dot(loads(dump({"g": joint})).graphs["g"]) == to_dot(joint)
    svg = render(to_dot(joint), "svg")
    assert b"<script" not in svg
    assert max(map(len, texts(svg))) < 120


def test_a_scalar_that_is_returned_is_drawn() -> None:
    s = Sketch()
    x = s.input("x", 2)
    graph = s.finish(x * 3.0)
    full = next(name for name, node in graph.nodes() if node.op.name == "Full")
    assert "Full" not in texts(render(to_dot(graph), "svg"))
    returned = type(graph)(graph.dag, graph.inputs, (type(graph.outputs[0])(full),))
    assert "Full" in texts(render(to_dot(returned), "svg"))


def test_gradients_stand_out() -> None:
    graph = gradient()
    words = texts(render(to_dot(graph), "svg"))
    assert {"∇ features.1", "MaxPool2dGrad", "Conv2dGradWeight", "grad.head.add", "output"} <= set(words)
    assert {"∂ weight · ∂ bias", "∂ bias · ∂ weight"} <= set(words)
    made = {name for name, node in graph.nodes() if is_gradient(name, node)}
    assert made & set(graph.inputs) == {"grad.head.add"}
    assert not made & set(lenet().order)
    inner = partition(differentiate(lenet(), [*lenet().parameters.values()])).backward
    boxes = set(re.findall(r'label="([^"]*)"; labeljust', to_dot(inner)))
    assert boxes
    assert all(box.startswith("∇ ") for box in boxes)


def test_second_outputs_are_labelled_where_they_are_read() -> None:
    assert not any("index" in word for word in texts(render(to_dot(lenet()), "svg")))
    assert sum(word.startswith("index ") for word in texts(render(to_dot(gradient()), "svg"))) == 2


def test_fused_attributes_are_spelled_out() -> None:
    s = Sketch()
    x, w = s.input("x", 1, 3, 8, 8), s.parameter("w", 4, 3, 3, 3)
    attrs = ConvPoolAttrs(activation="Relu", pool=MaxPoolAttrs((2, 2), (2, 2)))
    (y,) = s.tracer.emit(CONV_POOL, attrs, [x, w])
    words = set(texts(render(to_dot(s.finish(y)), "svg")))
    assert "ConvPool2d" in words
    assert any("Relu" in word for word in words)
    assert any("kernel" in word for word in words)


def test_families() -> None:
    s = Sketch()
    x, w = s.input("x", 1, 3, 8, 8), s.parameter("w", 4, 3, 3, 3)
    graph = s.finish(where(conv2d(x, w) > 0, 1.0, 0.0).sum().reshape(1))
    found = {node.op.name: family(node) for _, node in graph.nodes()}
    assert found["Conv2d"] == "conv"
    assert (found["Input"], found["Parameter"], found["Full"]) == ("input", "parameter", "constant")
    assert (found["Where"], found["Sum"], found["Reshape"]) == ("elementwise", "reduce", "shape")
    assert {family(node) for _, node in gradient().nodes()} >= {"gradient", "pool"}


def test_odd_names_do_no_harm() -> None:
    s = Sketch()
    x = s.input('</TABLE>"; bad [label="\\', 2)
    words = texts(render(to_dot(s.finish(x + x), title='a "title" \\ <b>'), "svg"))
    assert '</TABLE>"; bad [label="\\' in words
    assert 'a "title" \\ <b>' in words
    assert any("näme" in word for word in texts(render(to_dot(odd_names()), "svg")))


def test_tooltips_tell_the_origin() -> None:
    assert "in fc0 at model.py:11" in to_dot(perceptron()).replace("\\n", " in ")
    assert b'xlink:title="act.relu : float32[N, 8]' in render(to_dot(perceptron()), "svg")


def test_highlight() -> None:
    plain = to_dot(perceptron())
    assert style.HIGHLIGHT not in plain
    assert to_dot(perceptron(), highlight=["act.relu"]).count(style.HIGHLIGHT) == 1
    assert 'color="gold"' in to_dot(perceptron(), highlight={"act.relu": "gold"})
    with pytest.raises(DrawError, match="'ghost'"):
        to_dot(perceptron(), highlight=["ghost"])


def test_notes() -> None:
    assert "look here" in to_dot(perceptron(), notes={"act.relu": ["look here"]})
    with pytest.raises(DrawError, match="'ghost'"):
        to_dot(perceptron(), notes={"ghost": ["look here"]})
    for notes in (3, {"act.relu": [3]}, {"act.relu": 3}, {"act.relu": "look here"}):
        with pytest.raises(OptionError, match="note"):
            to_dot(perceptron(), notes=notes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("suffix", "start"), [("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF"), ("dot", b"digraph")]
)
def test_formats(suffix: str, start: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"net.{suffix}"
    path.write_bytes(b"old")
    draw(perceptron(), path)
    assert path.read_bytes().startswith(start)


def test_the_same_svg_twice(tmp_path: Path) -> None:
    draw(lenet(), tmp_path / "a.svg")
    draw(lenet(), tmp_path / "b.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_unknown_suffix_and_unwritable_path(tmp_path: Path) -> None:
    with pytest.raises(DrawError, match=r"net\.bmp: a picture's name ends in \.svg"):
        draw(perceptron(), tmp_path / "net.bmp")
    with pytest.raises(FileError, match="cannot be written"):
        draw(perceptron(), tmp_path / "missing" / "net.dot")


def test_large_graphs(tmp_path: Path) -> None:
    with pytest.raises(DrawError, match=r"has 30.. boxes.*max_nodes=30"):
        draw(chain(3000), tmp_path / "chain.svg", detail="full")
    draw(chain(3000), tmp_path / "chain.dot", detail="full")
    draw(chain(3000), tmp_path / "chain.svg")
    assert any(re.fullmatch(r"Add\s+× 3000", text) for text in texts((tmp_path / "chain.svg").read_bytes()))
    with pytest.raises(DrawError, match="max_nodes=4"):
        draw(chain(2), tmp_path / "chain.svg", max_nodes=2)


def test_large_constants_keep_the_picture_small() -> None:
    s = Sketch()
    x = s.input("x", 100_000)
    assert len(to_dot(s.finish(x + np.ones(100_000, np.float32)))) < 4000


def test_without_any_graphviz(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "pygraphviz":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(DrawError, match=r"apt install graphviz.*pip install lucid\[dot\]"):
        draw(perceptron(), tmp_path / "net.svg")
    assert list(tmp_path.iterdir()) == []
    draw(perceptron(), tmp_path / "net.dot")


def test_the_program_is_used_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def pipe(self: Any, format: str) -> bytes:
        asked.append(format)
        return b"picture"

    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/dot")
    monkeypatch.setattr(graphviz.Source, "pipe", pipe)
    assert render("digraph {}", "pdf") == b"picture"
    assert asked == ["pdf"]

    def fail(self: Any, format: str) -> bytes:
        raise graphviz.ExecutableNotFound(["dot"])

    monkeypatch.setattr(graphviz.Source, "pipe", fail)
    with pytest.raises(DrawError, match="could not make the picture"):
        render("digraph {}", "svg")


def test_display_libraries_load_only_when_needed() -> None:
    assert not {"graphviz", "pygraphviz"} & set(vars(drawing))
    assert "networkx" in sys.modules


def test_a_module_called_twice_is_two_frames() -> None:
    s = Sketch()
    x: Any = s.input("x", 2)
    for _ in range(2):
        with s.scope("act", 1):
            x = x.relu()
        with s.scope("scale", 2):
            x = (x * 2.0).exp()
    graph = s.finish(x)
    assert re.findall(r'label="([^"]*)"; labeljust', to_dot(graph, detail="full")) == ["scale", "scale"]
    assert re.findall(r'label="([^"]*)"; labeljust', to_dot(graph)) == ["act–scale × 2", "scale"]


def test_parameters_stand_in_the_box_that_reads_them() -> None:
    s = Sketch()
    x: Any = s.input("x", 2, 3, 4, 4)
    with s.scope("bn", 1):
        y = batch_norm(x, *(s.parameter(f"bn.{name}", 3) for name in ("mean", "var", "weight", "bias")))
    graph = s.finish(y)
    dot = to_dot(graph)
    assert {"mean", "var", "weight", "bias"} <= {word for text in texts(render(dot, "svg")) for word in text.split()}
    assert dot.count("->") == 2  # x, the output
    assert to_dot(graph, highlight=["bn.var"]).count("->") == 3
    assert to_dot(graph, detail="full").count("->") == 6
