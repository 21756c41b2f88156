"""Reports: that the page holds what is true of the model, and nothing that a name could do to it."""

from __future__ import annotations

import re
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.errors import DrawError, FileError, OptionError
from lucid.formats.draw import files
from lucid.report import changes, write
from lucid.report.weights import BINS, SAMPLED, weight_data
from tests.project.test_hostile_names import NAMES

from .reading import Reading, digest

X = np.random.default_rng(0).standard_normal((2, 1, 12, 12), dtype=np.float32)


def network() -> lucid.CompiledModel:
    lucid.manual_seed(0)
    block = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2, 2), block, nn.Flatten(), nn.Linear(200, 10), nn.Softmax(-1)
    )
    return lucid.compile(model.eval(), lucid.spec("N", 1, 12, 12), threads=1)


@pytest.fixture(scope="module")
def net() -> lucid.CompiledModel:
    made = network()
    made(X)
    return made


@pytest.fixture(scope="module")
def page(net: lucid.CompiledModel, tmp_path_factory: pytest.TempPathFactory) -> Reading:
    path = tmp_path_factory.mktemp("report") / "net.html"
    net.report(path, X, repeat=2)
    return Reading(path)


# ---------------------------------------------------------------- what is true of the model


def test_nodes_and_steps(net: lucid.CompiledModel, page: Reading) -> None:
    nodes, plan = page.data["nodes"], net.plan
    assert [node["name"] for node in nodes] == list(plan.graph.order)
    assert [nodes[number]["name"] for number in page.data["steps"]] == [step.name for step in plan.steps]
    for node, (name, real) in zip(nodes, plan.graph.nodes(), strict=True):
        assert node["op"] == real.op.name
        assert [nodes[i]["name"] for i in node["feeds"]] == [value.node for value in plan.graph.inputs_of(name)]
        assert node["modules"] == list(real.origin.modules)
    conv = next(node for node in nodes if node["op"] == "ConvPool2d")
    assert "test_report.py" in conv["where"][0]
    assert conv["step"]["flops"] > 0
    assert 0 < conv["step"]["seconds"] < page.data["profile"]["total"] * 2
    assert "fuse_conv_pool" in "".join(conv["history"])
    assert conv["step"]["lowering"] not in [other for other, _ in conv["step"]["others"]] != []


def test_every_line_of_the_program_knows_its_node(net: lucid.CompiledModel, page: Reading) -> None:
    source, nodes = page.data["source"], page.data["nodes"]
    assert source["lines"] == net.source.splitlines()
    assert source["lines"][source["run"] - 1].lstrip().startswith("def run(")
    for number, node in enumerate(nodes):
        assert tuple(node["lines"]) == net.source_lines.get(node["name"], ())
        assert all(source["nodes"][line - 1] == number for line in node["lines"])


def test_memory_is_the_plan_s_and_no_two_share_bytes(net: lucid.CompiledModel, page: Reading) -> None:
    memory, plan = page.data["memory"], net.plan
    in_arena = [at.offset for at in plan.places.values() if at.memory == "arena"]
    assert memory["arena"] == plan.arena_bytes
    assert memory["steps"] == [step.name for step in plan.steps if not step.fixed]
    assert sum(len(block["owners"]) for block in memory["blocks"]) == len(in_arena)
    assert {block["offset"] for block in memory["blocks"]} == set(in_arena)
    for a, b in combinations(memory["blocks"], 2):
        apart_in_time = a["last"] < b["first"] or b["last"] < a["first"]
        apart_in_place = a["offset"] + a["bytes"] <= b["offset"] or b["offset"] + b["bytes"] <= a["offset"]
        assert apart_in_time or apart_in_place
    assert all(block["offset"] + block["bytes"] <= memory["arena"] for block in memory["blocks"])


def test_passes_follow_one_another(net: lucid.CompiledModel, page: Reading) -> None:
    passes = page.data["passes"]
    assert [one["name"] for one in passes] == [one.name for one in net.options.inference_passes]
    changed = [one for one in passes if "nodes" in one]
    assert changed[0]["nodes"][0] == len(net.traced)
    assert changed[-1]["nodes"][1] == len(net.graph)
    assert all(a["nodes"][1] == b["nodes"][0] for a, b in pairwise(changed))
    fused = next(one for one in passes if one["name"] == "fuse_conv_pool")
    assert fused["ops"]["ConvPool2d"] == 2
    assert {box.get("mark") for box in fused["scene"]["boxes"]} >= {"gone", "changed"}
    assert [frame["label"] for frame in fused["scene"]["frames"]][:1] == ["before"]


def test_a_scene_holds_together(page: Reading) -> None:
    scene = page.data["scene"]
    width, height = scene["size"]
    for box in scene["boxes"]:
        x, y, wide, tall = box["rect"]
        assert -0.2 <= x <= x + wide <= width + 0.2
        assert -0.2 <= y <= y + tall <= height + 0.2
        around = box["in"]
        while around >= 0:  # a box lies in its frame, and that in those around it
            fx, fy, fw, fh = scene["frames"][around]["rect"]
            assert fx <= x <= x + wide <= fx + fw
            assert fy <= y <= y + tall <= fy + fh
            around = scene["frames"][around]["in"]
    shown = {box["node"] for box in scene["boxes"]} | {node for box in scene["boxes"] for node in box["holds"]}
    assert shown >= set(range(len(page.data["nodes"])))  # every node is found in some box
    for line in scene["lines"]:
        ends = [(line["points"][:2], line["from"]), (line["points"][-2:], line["to"])]
        for (x, y), box in ends[: 1 if line["to"] < 0 or scene["types"] else 2]:
            bx, by, bw, bh = scene["boxes"][box]["rect"]
            if not any(t["of"] == box for t in scene["types"]):
                assert bx - 2 <= x <= bx + bw + 2
                assert by - 2 <= y <= by + bh + 2
    assert any("µs" in text for box in scene["boxes"] for _, text in box["lines"])


def test_weights_are_told_of() -> None:
    numbers = np.array([0.0, 0.0, 1.0, -1.0, np.nan, np.inf], np.float32)
    odd, same, whole, big, none, text, far = weight_data({
        "odd": numbers, "same": np.full(3, 2.5), "whole": np.arange(5), "big": np.zeros(SAMPLED + 1, np.float32),
        "none": np.zeros((0, 3)), "text": np.array([1j]), "far": np.array([-1e308, 1e308]),
    })  # fmt: skip
    assert (odd["odd"], odd["zeros"], odd["low"], odd["high"]) == (2, 2, -1.0, 1.0)
    assert len(odd["counts"]) == BINS  # type: ignore[arg-type]
    assert sum(odd["counts"]) == 4  # type: ignore[call-overload]
    assert same["counts"] == [3]
    assert (whole["mean"], whole["count"]) == (2.0, 5)
    assert big["sampled"] == (SAMPLED + 2) // 2
    assert "counts" not in none
    assert "counts" not in text
    assert far["counts"] == [2]  # the difference of these is no number


# ---------------------------------------------------------------- other models and wishes


def test_nothing_is_run_where_that_is_not_wanted(net: lucid.CompiledModel, tmp_path: Path) -> None:
    net.report(tmp_path / "net.html", repeat=0)
    data = Reading(tmp_path / "net.html").data
    assert data["profile"] is None
    assert "predicted" in str(data["scene"])
    assert data["takes"] == "float32[2, 1, 12, 12]"


def test_without_inputs_those_of_the_latest_call_are_drawn_anew(tmp_path: Path) -> None:
    net = network()
    net(np.repeat(X, 3, 0))
    net.report(tmp_path / "net.html", repeat=1)
    assert Reading(tmp_path / "net.html").data["takes"] == "float32[6, 1, 12, 12]"


class Loop(nn.Module):
    def forward(self, x: Any) -> Any:
        def turn(total: Any, row: Any) -> Any:
            total = (total + row).tanh()
            return total, total * 2

        return lucid.scan(turn, lucid.zeros(3), x)[1]


def test_nodes_of_a_loop_are_told_of(tmp_path: Path) -> None:
    lucid.compile(Loop(), lucid.spec(4, 3)).report(tmp_path / "loop.html", repeat=1)
    data = Reading(tmp_path / "loop.html").data
    inner = [node for node in data["nodes"] if " > " in node["name"]]
    doubled = next(node for node in inner if node["op"] == "Mul")
    number = data["nodes"].index(doubled)
    assert [data["source"]["nodes"][line - 1] for line in doubled["lines"]] == [number] * len(doubled["lines"]) != []
    assert any(box["node"] == number for box in data["scene"]["boxes"])


def test_models_without_inputs_parameters_or_steps(tmp_path: Path) -> None:
    for model in (lambda: lucid.ones(3), lambda x: x):
        specs = () if model.__code__.co_argcount == 0 else (lucid.spec(2),)
        net = lucid.compile(model, *specs)
        net(*(np.ones(2, np.float32) for _ in specs))
        net.report(tmp_path / "net.html", repeat=1)
        assert Reading(tmp_path / "net.html").data["weights"] == []


def test_a_loaded_model_reports(net: lucid.CompiledModel, tmp_path: Path) -> None:
    net.save(tmp_path / "net.lucid")
    lucid.load(tmp_path / "net.lucid").report(tmp_path / "net.html", repeat=1)
    assert Reading(tmp_path / "net.html").text("h1") == ["file"]


def test_large_graphs_are_closed_and_the_largest_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(*(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Softmax(-1)) for _ in range(4)))
    net = lucid.compile(model, lucid.spec(2), threads=1)
    monkeypatch.setattr(changes, "WHOLE", 0)
    seen = []
    for most in (7, 2):
        monkeypatch.setattr(write, "MOST_BOXES", most)
        net.report(tmp_path / "net.html", repeat=0)
        seen.append(Reading(tmp_path / "net.html").data)
    assert len(seen[0]["scene"]["boxes"]) <= 7
    assert "module" in {box["kind"] for box in seen[0]["scene"]["boxes"]}
    assert seen[1]["scene"] is None
    fused = next(one for one in seen[0]["passes"] if one["name"] == "fuse_linear")["scene"]
    assert {box.get("mark", "") for box in fused["boxes"]} >= {"faint", "gone"}  # what changed, and what is around it
    before = [i for i, box in enumerate(fused["boxes"]) if box["in"] == 0]
    linked = {line["from"]: line["to"] for line in fused["lines"] if line["to"] >= 0}
    assert len(linked.keys() & before) == len(before) - 1  # and they hang together


def test_bad_wishes(net: lucid.CompiledModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileError, match=r"net\.pdf: a report's name ends in \.html"):
        net.report(tmp_path / "net.pdf", repeat=0)
    with pytest.raises(FileError, match="no folder"):
        net.report(tmp_path / "none" / "net.html", repeat=0)
    with pytest.raises(OptionError, match="repeat must be at least 0"):
        net.report(tmp_path / "net.html", repeat=-1)
    monkeypatch.setattr(files.shutil, "which", lambda _: None)
    monkeypatch.setitem(__import__("sys").modules, "pygraphviz", None)
    with pytest.raises(DrawError, match=r"lucid\[dot\]"):
        net.report(tmp_path / "net.html", repeat=0)
    assert not (tmp_path / "net.html").exists()


# ---------------------------------------------------------------- the page lets nothing in


def test_the_policy_names_the_scripts_and_styles_and_forbids_all_else(page: Reading) -> None:
    data, *scripts = page.text("script")
    assert page.policy == {
        "default-src": ["'none'"], "img-src": ["data:"], "style-src": list(map(digest, page.text("style"))),
        "script-src": list(map(digest, scripts)), "base-uri": ["'none'"], "form-action": ["'none'"],
    }  # fmt: skip
    assert len(scripts) == 2
    assert "<" not in data
    assert data.isascii()


def test_the_page_asks_for_nothing(page: Reading) -> None:
    loaded = {"src", "srcset", "action", "data", "poster", "background", "formaction", "style"}
    for tag, attributes in page.tags:
        assert not loaded & attributes.keys()
        assert not any(name.startswith("on") for name in attributes)
        assert tag not in ("iframe", "object", "embed", "base")
        assert attributes.get("href", "#").startswith(("#", "data:"))  # type: ignore[union-attr]
    whole = "".join(text for _, text in page.texts)
    assert set(re.findall(r"https?://[^\s\"'/]+", whole)) <= {"http://www.w3.org", "https://github.com"}
    assert not re.search(r"\b(fetch|XMLHttpRequest|WebSocket|EventSource|sendBeacon|import)\s*\(", whole)
    assert not re.search(r"@import|url\(\s*['\"]?(?!#)", whole.replace("`url(#", ""))
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", whole)


HOSTILE = [
    "</script><script>document.title='ran'</script>", "<!--<script>", "]]>", "<img src=x onerror=document.title='ran'>",
    '"><svg onload=alert(1)>', "&lt;b&gt;", "${x}", "`", "$title",
]  # fmt: skip


def hostile(names: list[str]) -> lucid.CompiledModel:
    """A model of layers that are called so."""
    model = nn.Sequential()
    for name in names:
        if "." not in name and name:
            model.add_module(name, nn.Linear(2, 2))
    model.__class__ = type(HOSTILE[0], (nn.Sequential,), {})
    return lucid.compile(model.eval(), lucid.spec(1, 2), threads=1)


def test_names_are_data_whatever_they_are(tmp_path: Path) -> None:
    net = hostile([*HOSTILE, *NAMES])
    net.report(tmp_path / "net.html", repeat=0)
    text, page = (tmp_path / "net.html").read_text("utf-8"), Reading(tmp_path / "net.html")
    assert [tag for tag, _ in page.tags].count("script") == 3
    assert "img" not in [tag for tag, _ in page.tags]
    assert page.text("h1") == page.text("title") == [HOSTILE[0]]
    assert text.isprintable() or {c for c in text if not c.isprintable()} == {"\n"}
    known = {name for node in page.data["nodes"] for name in node["modules"]}
    assert set(HOSTILE) - {name for name in HOSTILE if "." in name} <= known
    assert all(node["name"].isprintable() for node in page.data["nodes"])


def test_the_library_is_the_one_that_the_notice_names() -> None:
    folder = Path(write.__file__).parent / "assets" / "vendor"
    notice, text = (folder / "NOTICE.md").read_text("utf-8"), (folder / "panzoom.min.js").read_text("utf-8")
    version = re.search(r"Panzoom (\d+\.\d+\.\d+)", text)
    assert version is not None
    assert f"| {version[1]} | MIT" in notice
    assert "Permission is hereby granted" in (folder / "panzoom.LICENSE.txt").read_text("utf-8")
