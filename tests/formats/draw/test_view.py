"""What pictures show, as data: what is folded, repeated, closed, focused on, and set in columns."""

from __future__ import annotations

import itertools
import random
import re
import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest

import lucid
from lucid import nn
from lucid.errors import DrawError, OptionError
from lucid.formats.draw import picture, render, style, to_dot
from lucid.formats.draw.files import CELL
from lucid.formats.draw.graph_view import DrawOptions, family, view_of
from lucid.formats.draw.view import View, lines_of
from lucid.graph.ir import Graph
from lucid.models import mobilenet_v1, resnet18, resnet50
from tests.graphs import SAMPLES, Sketch, chain, gradient, lenet, perceptron

IMAGES = lucid.spec("N", 3, 64, 64)


@pytest.fixture(scope="module")
def resnet() -> Any:
    return lucid.compile(resnet18().eval(), IMAGES)


def titles(view: View) -> list[str]:
    """What each box is called first."""
    return [lines_of(box)[0][1] for box in view.boxes]


def size(view_or_dot: str) -> tuple[int, int]:
    """Width and height of a picture in points."""
    root = ElementTree.fromstring(render(view_or_dot, "svg"))
    width, height = (int(root.attrib[key].removesuffix("pt")) for key in ("width", "height"))
    return width, height


def check(view: View) -> None:
    """What holds of every view: boxes are told apart, arrows lead from earlier ones to later ones."""
    position = {box.key: i for i, box in enumerate(view.boxes)}
    assert len(position) == len(view.boxes)
    assert all(position[edge.source] < position[edge.target] for edge in view.edges if edge.source[:3] != "\0in")
    columns = {box.key: box.column for box in view.boxes}
    assert all(columns[edge.source] == columns[edge.target] for edge in view.edges)


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("detail", ["auto", "full"])
@pytest.mark.parametrize("depth", [None, 1, 2])
def test_every_sample(name: str, detail: str, depth: int | None) -> None:
    view = picture(SAMPLES[name](), detail=detail, depth=depth)
    check(view)
    assert view == picture(SAMPLES[name](), detail=detail, depth=depth)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_full_view_has_every_node(name: str) -> None:
    graph = SAMPLES[name]()
    shown = {member for box in view_of(graph, DrawOptions(full=True)).boxes for member in box.members}
    hidden = {n for n, node in graph.nodes() if n not in shown}
    assert all(family(graph.node(n)) == "constant" and graph.node(n).outputs[0].size == 1 for n in hidden)


def test_what_depends_on_parameters_only_folds_into_its_reader(resnet: Any) -> None:
    assert len(resnet.graph) > 150
    view = picture(resnet.graph, columns=1)
    assert "Parameter" not in titles(view)
    assert set(titles(view)) == {"x", "ConvPool2d", "Conv2d", "Mean", "Reshape", "Linear", "output"}
    stem = next(box for box in view.boxes if "conv1.weight" in box.members)
    assert {"bn1.running_var", "bn1.batch_norm.mul"} <= set(stem.members)
    assert ("name", "conv1 + bn1 + relu + maxpool") in lines_of(stem)
    assert "bn1.running_var" in stem.hover


def test_blocks_that_repeat_are_one(resnet: Any) -> None:
    view = picture(resnet.traced, columns=1)
    assert {(times.label, times.count) for times in view.times.values()} == {("layer1.0–1", 2)}
    names = {name for box in view.boxes for name in box.members}
    assert "layer1.0.conv1.conv2d" in names
    assert "layer1.1.conv1.conv2d" not in names
    whole = picture(resnet.traced, detail="full", columns=1)
    assert not whole.times
    deep = lucid.compile(resnet50().eval(), IMAGES)
    found = {(times.label, times.count) for times in picture(deep.graph).times.values()}
    assert found == {("layer1.1–2", 2), ("layer2.1–3", 3), ("layer3.1–5", 5), ("layer4.1–2", 2)}


def test_only_chains_repeat() -> None:
    s = Sketch()
    x: Any = s.input("x", 2)
    assert titles(picture(s.finish(x.relu(), x.relu(), x.relu()))).count("Relu") == 3  # side by side
    s = Sketch()
    x, y = s.input("x", 2), s.input("y", 2)
    for i in range(4):
        with s.scope(f"blocks.{i}", 1):
            y = (y.exp() + x).relu()  # what all of them read may come from outside
    assert titles(picture(s.finish(y))).count("Exp") == 1
    s = Sketch()
    y = x = s.input("x", 2)
    kept = []
    for i in range(4):
        with s.scope(f"blocks.{i}", 1):
            y = (y.exp() + x).relu()
            kept.append(y)
    assert titles(picture(s.finish(y, kept[1].neg()))).count("Exp") > 1  # one of them is read elsewhere


@pytest.mark.parametrize("seed", range(12))
def test_whatever_the_graph(seed: int) -> None:
    """Graphs at random: every view of them holds together, and has what comes in and what goes out."""
    dice = random.Random(seed)
    s = Sketch()
    values: list[Any] = [s.input("x", 4), s.input("y", 4)]
    for _ in range(dice.randrange(60)):
        a, b = values[-1], dice.choice(values[-dice.choice([2, 4, 20]) :])
        with s.scope(f"blocks.{dice.randrange(3)}.{dice.randrange(2)}", 1):
            values.append(dice.choice([lambda a, b: a + b, lambda a, b: a.exp(), lambda a, b: b.relu() * a])(a, b))
    graph = s.finish(values[-1])
    for depth, columns in itertools.product((None, 1, 2), (None, 3)):
        view = picture(graph, depth=depth, columns=columns)
        check(view)
        assert sum(box.kind == "output" for box in view.boxes) == 1


def test_several_modules_repeat_together() -> None:
    net = lucid.compile(nn.Sequential(*[nn.Sequential(nn.Linear(4, 4), nn.ReLU()) for _ in range(3)]), lucid.spec(2, 4))
    assert [times.count for times in picture(net.traced).times.values()] == [3]
    flat = lucid.compile(
        nn.Sequential(*[m() for _ in range(5) for m in (lambda: nn.Linear(4, 4), nn.ReLU)]), lucid.spec(2, 4)
    )
    view = picture(flat.traced)
    assert [times.count for times in view.times.values()] == [5]
    assert titles(view) == ["x", "Linear", "Relu", "output"]


def test_depth_closes_modules(resnet: Any) -> None:
    view = picture(resnet.traced, depth=1)
    assert titles(view) == [
        "x", "Conv2d", "BatchNorm", "Relu", "MaxPool2d", "layer1", "layer2", "layer3", "layer4", "Mean", "Reshape",
        "Linear", "output",
    ]  # fmt: skip
    assert ("parameter", "148,480 parameters") in lines_of(view.boxes[5])  # of both of its blocks
    layer = view.boxes[6]
    lines = [line for _, line in lines_of(layer)]
    assert lines[1:] == ["5 Conv2d · 5 BatchNorm · 4 Relu", "2 Add", "526,848 parameters"]
    assert len(picture(resnet.traced, depth=2, columns=1).boxes) > len(view.boxes)
    with pytest.raises(OptionError, match="depth"):
        picture(resnet.traced, depth=0)


def test_modules_that_feed_one_another_stay_open() -> None:
    s = Sketch()
    x: Any = s.input("x", 2)
    with s.scope("a", 1):
        p, q = x.exp(), x.neg()
    with s.scope("b", 1):
        r, t = p.relu(), x.abs()
    with s.scope("a", 1):
        u = q + t
    check(picture(s.finish(u, r), depth=1))


def test_focus(resnet: Any) -> None:
    view = picture(resnet.traced, focus="layer3.0.conv1")
    assert [(title, box.mark) for title, box in zip(titles(view), view.boxes, strict=True)] == [
        ("Relu", "faint"), ("Conv2d", ""), ("BatchNorm", "faint"),
    ]  # fmt: skip
    assert "Conv2d" in titles(picture(resnet.traced, focus="layer3.0.conv1.weight"))
    assert "Conv2d" in titles(picture(resnet.traced, focus="layer3.0.conv1.conv2d"))
    with pytest.raises(
        DrawError, match=r"there is no module or node named 'layer3.0.conf1'; close to it .*layer3.0.conv1'"
    ):
        picture(resnet.traced, focus="layer3.0.conf1")


def test_a_notebook_shows_what_fits_its_cell(resnet: Any) -> None:
    for graph in (resnet.traced, resnet.backward_graph):
        shown = ElementTree.fromstring(str(graph._repr_svg_()))
        assert float(shown.attrib["width"].removesuffix("pt")) <= CELL


def test_gradients_are_named_by_what_they_are_of(resnet: Any) -> None:
    graph = resnet.backward_graph
    assert len(graph.names) == len(graph.outputs)
    assert graph.names[:3] == ("∂ conv1.weight", "∂ bn1.weight", "∂ bn1.bias")
    assert graph.bind({"N": 2}).names == graph.names
    said = {name for box in picture(graph).boxes for row in box.rows if row.kind == "gives" for name in row.names}
    assert said == set(resnet.model.state_dict()) - {
        n for n in resnet.model.state_dict() if "running" in n or "num_" in n
    }


def test_what_a_backward_graph_reads_stands_where_it_is_read(resnet: Any) -> None:
    view = picture(resnet.backward_graph)
    assert [box.key for box in view.boxes if box.kind in ("input", "given")] == ["grad.fc.linear"]
    kept = {name for box in view.boxes for row in box.rows if row.kind == "kept" for name in row.names}
    assert {"x", "layer1.0.conv1", "maxpool"} <= kept


def test_sizes(resnet: Any) -> None:
    """ResNet-50 fits an A4 page, ResNet-18's gradient two side by side, at 100 % and with letters of 7 points."""
    assert min(points for points, _ in style.ROWS.values()) >= 7
    width, height = style.PAGE
    deep = lucid.compile(resnet50().eval(), lucid.spec("N", 3, 224, 224))
    found = size(to_dot(deep.graph))
    assert found[0] <= width
    assert found[1] <= height
    found = size(to_dot(lucid.compile(resnet18().eval(), lucid.spec("N", 3, 224, 224)).backward_graph))
    assert found[0] <= 2 * width
    assert found[1] <= height


def test_columns(resnet: Any) -> None:
    for count in (1, 2, 4):
        view = picture(resnet.graph, columns=count)
        check(view)
        assert len({box.column for box in view.boxes}) == count
    view = picture(resnet.graph, columns=3)
    ends = {lines_of(b)[0][1] for b in view.boxes if b.kind == "connector" and b.key.startswith("\0out")}
    starts = {lines_of(b)[0][1] for b in view.boxes if b.kind == "connector" and b.key.startswith("\0in")}
    assert ends == starts
    assert ends
    assert "sortv=2" in to_dot(resnet.graph, columns=3)
    assert "sortv" not in to_dot(resnet.graph, columns=1)
    with pytest.raises(OptionError, match="columns"):
        picture(resnet.graph, columns=0)


def test_directions() -> None:
    wide, tall = size(to_dot(perceptron(), direction="right")), size(to_dot(perceptron()))
    assert wide[0] > tall[0]
    assert to_dot(perceptron(), direction="TB") == to_dot(perceptron(), direction="down")
    with pytest.raises(DrawError, match="direction is 'down' or 'right', got 'up'"):
        to_dot(perceptron(), direction="up")
    with pytest.raises(DrawError, match="detail is 'auto' or 'full', got 'some'"):
        to_dot(perceptron(), detail="some")


def test_many_boxes_stay_cheap() -> None:
    """Wide and long graphs without repeats cost no more than their boxes."""
    s = Sketch()
    x: Any = s.input("x", 4)
    y = [x * float(i) for i in range(2000)]
    assert len(picture(s.finish(*y)).boxes) == 4001
    assert len(picture(chain(8_000)).boxes) == 3


def test_notes_are_hover_text() -> None:
    view = picture(perceptron(), notes={"act.relu": ("lowering: loop", "12 µs")})
    box = next(box for box in view.boxes if "act.relu" in box.members)
    assert box.hover.endswith("lowering: loop\n12 µs")
    assert "model.py:20" in box.hover


def test_nothing_is_lost_of_deep_and_odd_names() -> None:
    s = Sketch()
    x: Any = s.input("x\0y", 2)
    for name in ('a"b', "<b>", "x" * 300, "…", "a\nb\\"):
        with s.scope(f"top.{name}.{name}", 1):
            x = x.relu().exp()
    graph = s.finish(x)
    for detail, depth in itertools.product(("auto", "full"), (None, 1, 2)):
        ElementTree.fromstring(render(to_dot(graph, detail=detail, depth=depth), "svg"))


# ---------------------------------------------------------------- colours


def _seen(colour: str, matrix: tuple[tuple[float, ...], ...]) -> tuple[float, ...]:
    """A colour as someone sees it whose cones differ (Machado et al., 2009), in CIELAB."""
    rgb = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
    r, g, b = (min(1.0, max(0.0, sum(m * c for m, c in zip(row, linear, strict=True)))) for row in matrix)
    xyz = (
        0.4124 * r + 0.3576 * g + 0.1805 * b,
        0.2126 * r + 0.7152 * g + 0.0722 * b,
        0.0193 * r + 0.1192 * g + 0.9505 * b,
    )
    x, y, z = ((t / w) ** (1 / 3) if t / w > 0.008856 else 7.787 * t / w + 16 / 116
               for t, w in zip(xyz, (0.9505, 1.0, 1.089), strict=True))  # fmt: skip
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


EYES = {
    "most": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "no red": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "no green": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
}


@pytest.mark.parametrize("eyes", EYES)
def test_families_are_told_apart(eyes: str) -> None:
    families = ["conv", "linear", "pool", "norm", "elementwise", "reduce", "shape", "gradient"]
    for one, other in itertools.combinations(families, 2):
        a, b = (_seen(style.LOOKS[name].fill, EYES[eyes]) for name in (one, other))
        assert sum((p - q) ** 2 for p, q in zip(a, b, strict=True)) ** 0.5 > 7, (one, other)


def test_words_stand_out() -> None:
    """By 4.5 to 1 at least, as the guidelines for web contents ask for."""

    def light(colour: str) -> float:
        return ((_seen(colour, EYES["most"])[0] + 16) / 116) ** 3 + 0.05

    for _, ink in list(style.ROWS.values())[1:]:
        for look in style.LOOKS.values():
            if look.title != style.ON_DARK:
                assert light(look.fill) / light(ink) > 4.5, (ink, look)


def test_colours_stand_in_one_place() -> None:
    dot = to_dot(gradient())
    said = set(re.findall(r"#[0-9a-f]{6}", dot))
    assert said <= set(re.findall(r"#[0-9a-f]{6}", str(vars(style))))


def test_models() -> None:
    net = lucid.compile(mobilenet_v1().eval(), IMAGES)
    view = picture(net.graph)
    check(view)
    assert len(view.boxes) < 45
    assert isinstance(net.graph, Graph)
    assert len(picture(lenet()).boxes) == 11
