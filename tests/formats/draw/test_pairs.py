"""Two graphs in one picture: what passes changed, and both halves of training."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.errors import DrawError, OptionError
from lucid.formats.draw import picture, style
from lucid.formats.draw.files import CELL, arranged
from lucid.formats.draw.graph_view import DrawOptions, view_of
from lucid.formats.draw.pairs import beside, compared, joined
from lucid.formats.draw.view import lines_of
from lucid.inspect import draw_passes
from lucid.models import lenet5
from tests.graphs import SAMPLES, chain


@pytest.fixture(scope="module")
def net() -> Any:
    return lucid.compile(lenet5().eval(), lucid.spec("N", 1, 28, 28))


def texts(path: Path) -> list[str]:
    root = ElementTree.fromstring(path.read_bytes())
    return [(element.text or "").strip() for element in root.iter("{http://www.w3.org/2000/svg}text")]


def test_what_passes_changed_is_marked(net: Any) -> None:
    before, after = compared(view_of(net.traced), view_of(net.graph))
    old = {box.key: box.mark for box in before.boxes}
    new = {box.key: box.mark for box in after.boxes}
    assert old["relu1.relu"] == old["pool1.max_pool2d"] == "gone"
    assert new["conv1.conv2d"] == "changed"
    assert old["conv1.conv2d"] == new["x"] == new["fc3.linear"] == ""
    assert {box.mark for view in compared(before, view_of(net.traced)) for box in view.boxes} == {"", "gone"}
    assert compared(view_of(net.traced), view_of(net.traced)) == (view_of(net.traced),) * 2


def test_two_views_share_nothing(net: Any) -> None:
    both = beside([view_of(net.traced), view_of(net.traced)], ["one", "other"])
    assert len({box.key for box in both.boxes}) == len(both.boxes) == 2 * len(view_of(net.traced).boxes)
    assert {box.column for box in both.boxes} == {0, 1}


def test_draw_passes(net: Any, tmp_path: Path) -> None:
    draw_passes(net, tmp_path / "all.svg")
    words = texts(tmp_path / "all.svg")
    assert {
        "as traced",
        "after the passes",
        f"{style.SIGNS['gone']} Relu",
        f"{style.SIGNS['changed']} ConvPool2d",
    } <= set(words)
    draw_passes(net, tmp_path / "one.svg", only="fuse_conv_pool")
    words = texts(tmp_path / "one.svg")
    assert {"before fuse_conv_pool", "after fuse_conv_pool", "FusedLinear"} - set(words) == {"FusedLinear"}
    with pytest.raises(OptionError, match="no pass named 'fuse'; there are eliminate_dead, clean_up"):
        draw_passes(net, tmp_path / "x.svg", only="fuse")
    with pytest.raises(OptionError, match=r"lucid\.compile\(model, lucid\.spec"):
        draw_passes(nn.Linear(2, 2), tmp_path / "x.svg")  # type: ignore[arg-type]
    with pytest.raises(DrawError, match=r"ends in"):
        draw_passes(net, tmp_path / "x.bmp")


def test_training(net: Any, tmp_path: Path) -> None:
    """Each value that a gradient waits for is an arrow from where it is computed."""
    net.draw(tmp_path / "train.svg", backward=True)
    words = texts(tmp_path / "train.svg")
    assert {"Conv2d", "MaxPool2d", "MaxPool2dGrad", "∇ fc1", "∂ weight · ∂ bias", "output"} <= set(words)
    net.draw(tmp_path / "train.dot", backward=True, depth=1)
    assert "dir=back" in (tmp_path / "train.dot").read_text("utf-8")
    ends = ["conv1.conv2d", "conv1.conv2d_grad_weight"]
    net.draw(tmp_path / "train.dot", backward=True, highlight=ends, notes={ends[1]: ["look here"]})
    assert (tmp_path / "train.dot").read_text("utf-8").count(style.HIGHLIGHT) == len(ends)
    assert "look here" in (tmp_path / "train.dot").read_text("utf-8")
    with pytest.raises(DrawError, match="'ghost'"):
        net.draw(tmp_path / "x.svg", backward=True, highlight=["ghost"])
    with pytest.raises(OptionError, match="backward"):
        net.draw(tmp_path / "x.svg", backward=3)


def test_joined(net: Any) -> None:
    cut = net._split()
    view = joined(cut.forward, cut.backward, 1, cut.kept, DrawOptions())
    position = {box.key: i for i, box in enumerate(view.boxes)}
    assert all(position[edge.source] < position[edge.target] for edge in view.edges)
    waits = [(edge.source, edge.target) for edge in view.edges if edge.kind == "kept"]
    assert ("x", "\0back\0conv1.conv2d_grad_weight") in waits
    assert sum(box.kind == "output" for box in view.boxes) == 1
    assert sum(box.kind in ("input", "given") for box in view.boxes) == 2
    assert {box.section for box in view.boxes} == {"", "gradient"}


def test_joined_halves_fold_what_repeats() -> None:
    layers = [nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.LayerNorm(6)) for _ in range(4)]
    cut = lucid.compile(nn.Sequential(*layers), lucid.spec("N", 6))._split()
    whole = joined(cut.forward, cut.backward, 1, cut.kept, DrawOptions())
    view = arranged(whole, columns=1)
    assert {(section, times.count) for (section, _), times in view.times.items()} == {("", 4), ("gradient", 3)}
    assert len(view.boxes) < len(whole.boxes) / 2
    shown = {box.key for box in view.boxes}
    kept = [edge for edge in view.edges if edge.kind == "kept"]
    assert kept and all({edge.source, edge.target} <= shown for edge in kept)


def test_where_a_program_has_run_one_sees_how(tmp_path: Path) -> None:
    net = lucid.compile(nn.Sequential(nn.Linear(4, 3), nn.ReLU()).eval(), lucid.spec("N", 4))
    net.draw(tmp_path / "before.svg")
    assert b"lowering" not in (tmp_path / "before.svg").read_bytes()
    net(np.zeros((2, 4), np.float32))
    net.draw(tmp_path / "after.svg")
    found = (tmp_path / "after.svg").read_text("utf-8")
    assert "lowering: " in found
    assert "bytes of results" in found


def hrefs(path: Path) -> list[str]:
    return re.findall(r'xlink:href="([^"]*)"', path.read_text("utf-8"))


def test_nodes_link_to_their_line_of_the_program(net: Any, tmp_path: Path) -> None:
    net.draw(tmp_path / "net.svg", links="the program.py")
    lines = net.source.splitlines()
    assert (tmp_path / "the program.py").read_text("utf-8") == net.source
    found = [line for _, _, line in (link.partition("the%20program.py#L") for link in hrefs(tmp_path / "net.svg"))]
    assert [lines[int(line) - 1].split()[1] for line in found] == [
        "conv1.conv2d:", "conv2.conv2d:", "flatten.reshape:", "fc1.linear:", "fc2.linear:", "fc3.linear:",
    ]  # fmt: skip
    assert set(net.source_lines) == {step.name for step in net.plan.steps}
    net.draw(tmp_path / "net.svg", links=tmp_path / "away.html", depth=1)  # a closed module leads to the first in it
    page = (tmp_path / "away.html").read_text("utf-8")
    for link in hrefs(tmp_path / "net.svg"):
        assert link.startswith((tmp_path / "away.html").as_uri())
        assert f'<span id="{link.rpartition("#")[2]}">' in page
    assert "-&gt; float32" in page
    net.draw(tmp_path / "net.svg", links={"fc1.linear": "https://a.org/b.py#L3"})
    assert hrefs(tmp_path / "net.svg") == ["https://a.org/b.py#L3"]


def test_links_lead_nowhere_bad(net: Any, tmp_path: Path) -> None:
    for wrong in ("javascript:alert(1)", " JavaScript:alert(1)", "data:text/html,x", "a\nb"):
        with pytest.raises(DrawError, match="a link is a path or a web address"):
            net.draw(tmp_path / "x.svg", links={"fc1.linear": wrong})
    with pytest.raises(OptionError, match=r"is a \.py or \.html file"):
        net.draw(tmp_path / "x.svg", links="x.svg")
    with pytest.raises(OptionError, match="cannot be combined with backward="):
        net.draw(tmp_path / "x.svg", links="x.py", backward=True)
    with pytest.raises(OptionError, match="links is a dict"):
        net.traced.draw(tmp_path / "x.svg", links=3)
    assert list(tmp_path.iterdir()) == []


def test_nodes_of_regions_link_to_lines_of_their_own(tmp_path: Path) -> None:
    def halved(x: Any) -> Any:
        return lucid.while_loop(lambda x: x.sum() > 1, lambda x: ((x.exp() - 1) / 4,), (x,))

    net = lucid.compile(halved, lucid.spec(3))
    net(np.ones(3, np.float32))
    net.draw(tmp_path / "loop.svg", links="loop.py")
    (loop,) = [name for name in net.graph.order if net.graph.node(name).op.regions]
    inner = net.source_lines[f"{loop} > body > div"]  # which the exponential has gone into
    lines = net.source.splitlines()
    assert "# div: FusedElementwise" in lines[inner[0] - 1]
    assert "np.exp" in lines[inner[1] - 1]
    assert set(inner) < set(net.source_lines[loop])
    assert f"loop.py#L{inner[0]}" in hrefs(tmp_path / "loop.svg")


@pytest.mark.parametrize("name", SAMPLES)
def test_notebooks_show_graphs(name: str) -> None:
    graph = SAMPLES[name]()
    svg = graph._repr_svg_()
    assert svg is not None
    assert svg.startswith("<svg")
    ElementTree.fromstring(svg)


def test_a_notebook_shows_what_has_no_modules_smaller() -> None:
    wide = lucid.compile(lambda x: sum((x * float(i)).exp() for i in range(24)), lucid.spec(3)).traced
    shown = ElementTree.fromstring(str(wide._repr_svg_()))
    assert float(shown.attrib["width"].removesuffix("pt")) > CELL
    assert "max-width:100%" in shown.attrib["style"]


def test_notebooks_show_what_they_can() -> None:
    s = chain(400)
    assert "× 400" in str(s._repr_svg_())
    assert len(lines_of(picture(s).boxes[1])) == 2
    net = lucid.compile(nn.Linear(4, 3).eval(), lucid.spec(2, 4))
    html = net.plan._repr_html_()
    table = ElementTree.fromstring(html)
    assert [cell.text for cell in table.iter("th")][:3] == ["node", "op", "lowering"]
    assert "arena" in html
