"""Nothing that a user or a file calls things by becomes code: programs have the shape they have under plain names."""

from __future__ import annotations

import ast
import builtins
import contextlib
import functools
import gc
import json
import linecache
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.errors import FileError, GraphError, LucidError, OptionError
from lucid.graph.ir import Node
from lucid.graph.ops.source import FULL, FullAttrs
from lucid.graph.types import DTYPES
from lucid.runtime import kernels
from lucid.runtime.program.emitter import Emitter
from lucid.runtime.program.names import LONGEST_NAME, RESERVED, Names, identifier
from lucid.runtime.program.printer import MOST_SHOWN, Printer
from tests.formats.test_serialize import forge

# without a dot: modules cannot have one in their names
CODE = f"exec(bytes({list(b'import builtins; builtins.ran.append(1)')}))"
ENDS = "\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029", "\0"
NAMES = [f"a{end}{CODE}#" for end in ENDS] + [
    f'a"""\n{CODE}', "'", '"', "\\", "\\\n", "#", "{x}", "{", "%s", "%(a)s", "a b", "a-b", "1", "_", "__",
    "²", "x²", "①", "ﬁ", "µ", "Ⅸ", "é", "名前", "\ud800", "\u202e", "\u200b",
    "np", "arena", "sharing", "run", "bind", "worker", "share", "program", "call", "mine", "entry", "target",
    "class", "None", "print", "range", "__builtins__", "__import__", "x" * 5000, "\n" * 300,
]  # fmt: skip
X = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)


@pytest.fixture(autouse=True)
def ran() -> Iterator[list[int]]:
    builtins.ran = found = []  # type: ignore[attr-defined]
    yield found
    del builtins.ran  # type: ignore[attr-defined]
    assert not found, "code in a name ran"


def shape_of(source: str) -> str:
    """The program's syntax tree, its names numbered in the order in which they occur."""
    assert source.isascii()
    tree, numbers = ast.parse(source), {}
    known = {
        "np",
        "range",
        "len",
        "zip",
        "program",
        "parameters",
        "arena",
        "sharing",
        "bind",
        "prepare",
        "run",
        "share",
        "worker",
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword):
            continue  # what a function calls its argument stays, also where a name of the program is the same word
        for field in ("id", "arg", "name"):
            text = getattr(node, field, None)
            if isinstance(text, str) and text not in known:
                setattr(node, field, f"v{numbers.setdefault(text, len(numbers))}")
    return ast.dump(tree)


class Net(nn.Module):
    """Everything that has a name, called ``a`` or ``b``."""

    def __init__(self, a: str, b: str) -> None:
        super().__init__()
        self.a, self.b = a, b
        self.add_module(a, nn.Conv2d(3, 4, 3))
        self.add_module(b, nn.ModuleDict({a: nn.BatchNorm2d(4), b: nn.Linear(4, 2)}))
        self.register_parameter(f"{a}_", nn.Parameter(np.ones(2, np.float32)))
        self.register_buffer(f"{b}_", lucid.tensor(np.full(2, 3, np.float32)))

    def forward(self, inputs: dict[str, Any]) -> dict[str, Any]:
        inner = self._modules[self.b]
        x = self._modules[self.a](inputs[self.a] - inputs[self.b])  # type: ignore[misc]
        y = inner[self.b](inner[self.a](x).relu().mean((2, 3)))  # type: ignore[index]
        return {self.a: y * self._parameters[f"{self.a}_"], self.b: y + self._buffers[f"{self.b}_"]}  # type: ignore[dict-item]


def net(a: str, b: str) -> Net:
    lucid.manual_seed(0)
    return Net(a, b).eval()


def sources(model: Net, *, backward: bool = True) -> tuple[list[Any], str]:
    """What the model computes, compiled and backward, and the shape of its program."""
    inputs = {model.a: X, model.b: X[:, :, ::-1].copy()}
    compiled = lucid.compile(model)
    found = compiled(inputs)
    assert list(found) == [model.a, model.b]
    arrays = [y.numpy() for y in found.values()]
    if backward:
        found[model.a].sum().backward()
        arrays += [p.grad.numpy() for p in model.parameters() if p.grad is not None]
    assert compiled.graph.text(origins=True).isascii()
    str(compiled.plan), compiled.explain()
    return arrays, shape_of(compiled.source)


@functools.cache
def plainly() -> tuple[list[Any], str]:
    return sources(net("first", "second"))


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name)[1:30])
def test_a_module_with_hostile_names(name: str) -> None:
    want, shape = plainly()
    got, found = sources(net(name, "second"), backward=name in NAMES[::4])
    assert found == shape
    for x, y in zip(got, want, strict=False):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES[::3], ids=lambda name: ascii(name)[1:30])
def test_hostile_names_are_saved(name: str, tmp_path: Path) -> None:
    model = net("first", name)
    inputs = {model.a: X, model.b: X}
    compiled = lucid.compile(model)
    want = compiled(inputs)
    compiled.save(tmp_path / "net.lucid")
    again = lucid.load(tmp_path / "net.lucid")(inputs)
    assert list(again) == list(want)
    for key in want:
        np.testing.assert_array_equal(again[key].numpy(), want[key].numpy())


@pytest.mark.parametrize(
    ("a", "b"), [("ﬁ", "fi"), ("µ", "μ"), ("Ⅸ", "IX"), ("x²", "x_"), ("é", "e\u0301"), ("a\n", "a_")]
)
def test_names_that_python_takes_for_one_another_stay_apart(a: str, b: str) -> None:
    want, shape = plainly()
    got, found = sources(net(a, b), backward=False)
    assert found == shape
    np.testing.assert_allclose(got[0], want[0], rtol=1e-5, atol=1e-5)


def strings(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where strings stand in JSON, as values or as keys."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield (*path, key, "key")
            yield from strings(value, (*path, key))
    elif isinstance(data, list):
        for i, value in enumerate(data):
            yield from strings(value, (*path, i))
    elif isinstance(data, str):
        yield (*path, "value")


def replaced(data: Any, path: tuple[Any, ...], text: str) -> None:
    *steps, last, kind = path
    for step in steps:
        data = data[step]
    if kind == "value":
        data[last] = text
    else:
        data[text] = data.pop(last)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("saved") / "net.lucid"
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.LeakyReLU(0.1), nn.Flatten(), nn.Linear(144, 2), nn.GELU()).eval()
    lucid.compile(
        lambda x: lucid.einsum("ij,jk->ki", model(x), np.ones((2, 5), np.float32)), lucid.spec("N", 3, 8, 8)
    ).save(path)
    return path.read_bytes()


@pytest.mark.parametrize(
    "name", ["a\n" + CODE, "a\u2028" + CODE, f"')\n{CODE}#", '"""', "\ud800", "ﬁ", f"int32)\n{CODE}#", "x" * 100_000]
)
def test_every_string_of_a_file(name: str, saved: bytes, tmp_path: Path) -> None:
    path = tmp_path / "net.lucid"
    length = int.from_bytes(saved[:8], "little")
    header = json.loads(saved[8 : 8 + length])
    header["__metadata__"]["graphs"] = json.loads(header["__metadata__"]["graphs"])
    path.write_bytes(saved)
    plain = lucid.load(path)
    plain(X)
    shape, outcomes = shape_of(plain.source), set()
    for place in strings(header):
        if "sha256" in place:
            continue  # it is made to fit
        path.unlink()  # the system waits for the disk where a file is written over
        path.write_bytes(forge(saved, lambda h, place=place: replaced(h, place, name)))  # type: ignore[misc]
        try:
            loaded = lucid.load(path)
            loaded(X)
        except FileError:
            outcomes.add("refused")
            continue
        outcomes.add("ran")
        assert shape_of(loaded.source) == shape, place
        loaded.graph.text(origins=True), loaded.explain(), str(loaded.plan)
    assert "refused" in outcomes


def test_a_value_that_is_no_number_is_refused_before_it_is_printed() -> None:
    class Value(float):
        def __repr__(self) -> str:
            return CODE

        __str__ = __repr__

    x, mask = lucid.tensor([1.0, 2.0]), lucid.tensor([True, False])
    for value in (object(), None, "2", lucid.tensor([3.0]), [1.0], 1j):
        with pytest.raises(OptionError, match="masked_fill: value is a number"):
            lucid.masked_fill(x, mask, value)  # type: ignore[arg-type]
    for call in (
        lambda: lucid.masked_fill(x, mask, Value(1.0)),
        lambda: nn.functional.leaky_relu(x, Value(0.5)),
        lambda: nn.functional.elu(x, Value(0.5)),
        lambda: lucid.compile(lambda t: lucid.masked_fill(t, mask, Value(1.0)))(x),
        lambda: lucid.compile(lambda t: nn.functional.softplus(t, beta=Value(2.0)))(x),
    ):
        with contextlib.suppress(LucidError, TypeError):
            call()
    for number in (Value(1.0), np.ones(2), "1", 1j, None):
        with pytest.raises(GraphError, match="is no number"):
            Emitter.number(number)  # type: ignore[arg-type]
    assert [Emitter.number(v) for v in (True, 3, 0.5, np.float32(0.5), float("inf"), -float("inf"), float("nan"))] == [
        "True", "3", "0.5", "0.5", "np.inf", "-np.inf", "np.nan",
    ]  # fmt: skip
    node = Node(FULL, FullAttrs((2,), DTYPES["float32"], Value(1.0)), ())
    with pytest.raises(OptionError, match=r"Full: its value is declared .* cannot be a Value"):
        Emitter(node, "x", Names(), (), ())


@pytest.mark.parametrize("eps", [float("inf"), 1e300])
def test_infinite_eps(eps: float) -> None:
    x = lucid.tensor(X)
    for layer in (
        nn.BatchNorm2d(3, eps=eps).eval(),
        nn.BatchNorm2d(3, eps=eps),
        nn.GroupNorm(1, 3, eps=eps),
        nn.LayerNorm(8, eps=eps),
    ):
        assert not layer(x).numpy().any()
        assert not lucid.compile(layer)(X).numpy().any()


def test_identifiers() -> None:
    names = Names()
    given = [names.unique(name) for name in [*NAMES, *NAMES, *RESERVED]]
    assert len(set(given)) == len(given)
    for name in given:
        assert re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name)
        assert not hasattr(builtins, name)
        assert name not in RESERVED
        assert len(name) <= LONGEST_NAME + 5
    assert identifier("features.0.conv2d") == "features_0_conv2d"
    assert identifier("0.linear") == "_0_linear"
    assert identifier("__builtins__") == "builtins__"


def test_a_program_holds_printable_ascii_only() -> None:
    for text in ("a = 1\r", "a\x0bb", "# \u2028", "é = 1", "\tpass"):
        with pytest.raises(GraphError, match="would not be read as it is printed"):
            Printer().write(text)
    for text in ("a = §", "§1§ = 1", "§a.b§ = 1", "§§"):
        with pytest.raises(GraphError, match="marks what is no name"):
            Printer().write(text)


def test_names_that_kernels_write_are_reserved() -> None:
    """What a line of a kernel calls its own by must not be what a node is called."""
    for path in Path(kernels.__file__).parent.rglob("*.py"):
        tree = ast.parse(path.read_text())
        told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
        for node in ast.walk(tree):
            if id(node) in told or not isinstance(node, ast.JoinedStr | ast.Constant):
                continue
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in parts)
            for names in re.findall(r"\bfor (\w+(?:, \w+)*) in \S", text) + re.findall(r"(?m)^ *(\w+) = \S", text):
                for name in names.split(", "):
                    assert name in {*RESERVED, "_"}, (path.name, text)


@pytest.mark.parametrize("name", RESERVED)
def test_a_node_called_as_a_program_calls_its_own(name: str) -> None:
    x = np.random.default_rng(0).standard_normal((1, 8, 20, 20)).astype(np.float32)
    model = nn.Conv2d(8, 8, 3, padding=1).eval()

    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = model.weight

        def forward(self, inputs: dict[str, Any]) -> Any:
            y = nn.functional.conv2d(inputs[name], self.weight, model.bias, padding=1)  # type: ignore[arg-type]
            return (y + inputs["other"]).relu() + inputs[name]

    inputs = {name: x, "other": x[:, ::-1].copy()}
    named = Named().eval()
    with lucid.no_grad():
        want = named({key: lucid.tensor(value) for key, value in inputs.items()}).numpy()
        np.testing.assert_allclose(lucid.compile(named)(inputs).numpy(), want, rtol=1e-4, atol=1e-4)


def shown() -> list[str]:
    return [name for name in linecache.cache if name.startswith("<lucid")]


def test_sources_go_with_their_programs() -> None:
    gc.collect()
    before = set(shown())
    model = nn.Linear(3, 2).eval()
    net_ = lucid.compile(model, lucid.spec("N", 3))
    for n in range(1, 9):
        net_(np.ones((n, 3), np.float32))
    mine = [name for name in shown() if name not in before and name.startswith("<lucid program")]
    assert len(mine) == 8
    assert linecache.getline(mine[0], 1).startswith('"""NumPy program')
    gc.disable()  # they do not wait for the collector
    try:
        del net_
        assert not set(mine) & set(shown())
    finally:
        gc.enable()


def test_sources_are_few() -> None:
    for n in range(1, MOST_SHOWN + 50):
        lucid.tensor(np.ones((n, 7), np.int8)) * np.int8(2)
    assert len(shown()) <= MOST_SHOWN
