"""What installed distributions announce: found when it is needed, never at import, and blamed where it is broken."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import extend
from lucid.errors import FileError, GraphError, OptionError, PluginError, PluginWarning
from lucid.extend import NO_GRADIENT
from lucid.formats import serialize, text
from lucid.graph import opdef
from lucid.passes import default, registered

from .conftest import Install

S = lucid.spec("N", 3)
X = np.ones((2, 3), np.float32)

TWICE = """
from lucid.extend import *

TWICE = register_op(OpDef("Twice", lambda attrs, x: x, lambda c: [c.dy * 2], elementwise=True))
reference(TWICE)(lambda attrs, x: x * 2)
kernel(TWICE)(lambda k: k.line(f"np.multiply({k.ins[0]}, 2, out={k.outs[0]})"))

@register_pass(after="lower")
def nothing(graph: Graph) -> Graph:
    "Leaves the graph as it is."
    return graph

class Reference:
    name = "told"
    def accepts(self, node): return node.op.decompose is None
    def compile(self, graph, parameters, machine): return lambda x: [x * 2]
"""
ALL = {
    "lucid.ops": {"Twice": "twice:TWICE"},
    "lucid.passes": {"nothing": "twice:nothing"},
    "lucid.backends": {"told": "twice:Reference"},
}


@pytest.fixture
def twice(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution that brings one of each."""
    monkeypatch.delitem(sys.modules, "twice", raising=False)
    install("lucid-twice", ALL, "twice", TWICE)


def net() -> Any:
    op = extend.find_op("Twice")
    return lucid.compile(lambda x: extend.apply(op, extend.NoAttrs(), x), S)


@pytest.mark.usefixtures("twice")
def test_all_is_found_by_name_when_it_is_asked_for() -> None:
    assert [str(one) for one in extend.installed()] == [
        "the op 'Twice' of the plug-in lucid-twice 1.5 (twice:TWICE)",
        "the pass 'nothing' of the plug-in lucid-twice 1.5 (twice:nothing)",
        "the back end 'told' of the plug-in lucid-twice 1.5 (twice:Reference)",
    ]
    assert "twice" not in sys.modules
    graph = text.parse_text(
        "lucid graph 1\ninputs %x\n%x : float32[2, 3] = Input()\n%y : float32[2, 3] = Twice(%x)\nreturn %y\n"
    )
    assert "twice" in sys.modules
    np.testing.assert_array_equal(lucid.compile(graph)(X).numpy(), X * 2)
    assert "nothing" in default().add("nothing").names
    np.testing.assert_array_equal(lucid.compile(lambda x: x + x, S, backend="told")(X).numpy(), X * 2)
    assert [one.name for one in extend.load()] == ["Twice", "nothing", "told"]


@pytest.mark.usefixtures("twice")
def test_a_file_says_which_distribution_brings_an_op(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.lucid"
    net().save(path)
    fresh = dict(opdef._TABLE)
    del fresh["Twice"]
    monkeypatch.setattr(opdef, "_TABLE", fresh)
    monkeypatch.setattr(opdef, "_ADDED", set())
    monkeypatch.setattr(registered, "_REGISTERED", {})
    monkeypatch.delitem(sys.modules, "twice")
    np.testing.assert_array_equal(lucid.load(path)(X).numpy(), X * 2)  # which imports the plug-in
    fresh.pop("Twice")
    (tmp_path / "lucid_twice-1.5.dist-info" / "entry_points.txt").unlink()
    with pytest.raises(
        FileError, match=r"net\.lucid: it holds the op 'Twice' of the distribution lucid-twice, which is not"
    ):
        lucid.load(path)


@extend.attributes
class GoneAttrs(extend.Attrs):
    scale: float = 2.0


def test_an_op_that_nothing_announces(tmp_path: Path, install: Install) -> None:
    op = extend.register_op(
        extend.OpDef("TestGone", lambda attrs, x: x, NO_GRADIENT, attrs=GoneAttrs, elementwise=True, activation=True)
    )
    extend.kernel(op)(lambda k: k.line(f"np.multiply({k.ins[0]}, {k.number(k.attrs.scale)}, out={k.outs[0]})"))
    layer = lucid.nn.Linear(3, 2)
    net = lucid.compile(lambda x: extend.apply(op, GoneAttrs(3.0), layer(x)), S)
    assert "activation_attrs=GoneAttrs" in net.graph.text()
    net.save(tmp_path / "net.lucid")
    kept, known = net(X).numpy(), opdef._TABLE.pop("TestGone")
    with pytest.raises(
        FileError, match=r"the op 'TestGone', which is not installed .* import the module that defines it"
    ):
        lucid.load(tmp_path / "net.lucid")
    opdef._TABLE["TestGone"] = known
    np.testing.assert_array_equal(lucid.load(tmp_path / "net.lucid")(X).numpy(), kept)
    del opdef._TABLE["TestGone"]
    install(
        "lucid-gone", {"lucid.ops": {"TestGone": "now_there:GONE"}}, "now_there", "from lucid.extend import *\n1 / 0"
    )
    with pytest.raises(
        FileError, match=r"'TestGone' of the plug-in lucid-gone 1\.5 .*cannot be loaded: ZeroDivisionError"
    ):
        lucid.load(tmp_path / "net.lucid")


@pytest.mark.usefixtures("twice")
@pytest.mark.parametrize(
    "said",
    [
        "3", "[]", '["Twice"]', '{"Twice": 3}', '{"Twice": "a\\nb"}', '{"Tw ice": "a"}', "{",
        '{"a": "b", "a": "c"}',
    ],
)  # fmt: skip
def test_files_that_say_nonsense_of_plug_ins(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = net()
    monkeypatch.setattr(serialize, "encode_plugins", lambda graphs: {"plugins": said})
    data = serialize.dump({"traced": made.traced})
    with pytest.raises(FileError):
        serialize.loads(data)


@pytest.mark.usefixtures("twice")
def test_many_that_are_missing_are_found_missing_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    said = json.dumps({f"Op{i}": "some-ops" for i in range(10_000)})
    monkeypatch.setattr(serialize, "encode_plugins", lambda graphs: {"plugins": said})
    data = serialize.dump({"traced": net().traced})
    with pytest.raises(FileError, match=r"'Op0' of the distribution some-ops, 'Op1'.*and 9995 more, which is not"):
        serialize.loads(data)


@pytest.mark.parametrize(
    ("target", "code", "words"),
    [
        ("broken:OP", "import nothing_of_that_name", "cannot be loaded: ModuleNotFoundError: No module named 'nothing"),
        ("broken:OP", "1 / 0", "ZeroDivisionError"),
        ("broken:OP", "raise SystemExit(3)", "SystemExit: 3"),
        ("broken:OP", "x = (", "SyntaxError"),
        ("broken:OP", "", "AttributeError"),
        ("nowhere:OP", "", "ModuleNotFoundError: No module named 'nowhere'"),
        ("what is this", "", "cannot be loaded"),
        ("broken:OP", "OP = 3", "is not what it is announced as: an OpDef"),
        ("broken:OP", "from lucid.extend import *\nOP = OpDef('Broken', lambda a, x: x, NO_GRADIENT)", "announced as"),
        ("broken:OP", "import lucid\nOP = lucid.extend.find_op('Add')", "announced as"),
        ("broken:OP", "import lucid\nlucid.extend.find_op('Broken')", "AttributeError"),  # it asks for itself
    ],
)
def test_a_broken_op_is_one_error(install: Install, target: str, code: str, words: str) -> None:
    sys.modules.pop("broken", None)
    install("lucid-broken", {"lucid.ops": {"Broken": target}}, "broken", code)
    with pytest.raises(PluginError) as found:
        extend.find_op("Broken")
    assert str(found.value).startswith("the op 'Broken' of the plug-in lucid-broken 1.5 (")
    assert words in str(found.value)
    with pytest.warns(PluginWarning, match="plug-in lucid-broken 1.5"):
        assert extend.load() == ()
    with pytest.raises(GraphError, match=r"unknown op 'Other'.*nothing that is installed announces it"):
        extend.find_op("Other")


def test_broken_passes_and_back_ends(install: Install) -> None:
    entries = {"lucid.passes": {"lost": "lost:f"}, "lucid.backends": {"bare": "lost:f", "shy": "lost:Shy"}}
    install("lucid-lost", entries, "lost", "f = abs\nclass Shy:\n    def __init__(self): raise ValueError('not now')")
    with pytest.raises(
        PluginError, match=r"lucid-lost 1.5.*registers no pass of that name: lucid.extend.register_pass"
    ):
        default().add("lost")
    with pytest.raises(PluginError, match=r"'bare' of the plug-in lucid-lost.*is no back end"):
        lucid.compile(lambda x: x, backend="bare")
    with pytest.raises(PluginError, match=r"'shy' of the plug-in lucid-lost.*cannot be made: ValueError"):
        lucid.compile(lambda x: x, backend="shy")
    with pytest.raises(OptionError, match="back end named 'none': there is bare, shy"):
        lucid.compile(lambda x: x, backend="none")


def test_one_name_of_two_distributions(install: Install) -> None:
    for name in ("first", "second"):
        install(f"lucid-{name}", {"lucid.ops": {"Both": f"{name}:OP"}})
    with pytest.raises(
        PluginError, match=r"'Both' is announced by lucid-first \(first:OP\) and lucid-second .*uninstall"
    ):
        extend.find_op("Both")


def test_nothing_is_looked_for_when_lucid_is_imported() -> None:
    code = (
        "import sys, lucid\n"
        "print([m for m in ('importlib.metadata', 'lucid.extend', 'lucid.base.plugins') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_broken_things_are_not_met_by_those_who_do_not_ask(install: Install) -> None:
    install("lucid-broken", {"lucid.ops": {"Broken": "nowhere:OP"}})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(lucid.compile(lambda x: x + 1, S)(X).numpy(), X + 1)
