"""The shape of the package, read from its source: layers, cycles, late imports, sizes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from itertools import permutations
from pathlib import Path

import networkx as nx
import pytest

PACKAGE = Path(__file__).parents[2] / "lucid"

FILE_LINES = 500
FUNCTION_LINES = 60

#: Each module or subpackage belongs to the first layer whose list names it; a layer imports itself and those above it.
#: Those of one layer that stand side by side do not know each other.
LAYERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("base", ("errors", "base")),
    ("graph", ("graph",)),
    ("formats", ("formats",)),
    ("autodiff", ("autodiff",)),
    ("passes", ("passes",)),
    ("runtime", ("runtime",)),
    ("reference", ("reference",)),
    ("tensor", ("tensor", "autograd", "linalg", "special")),
    ("nn", ("nn", "optim", "data", "distributed")),
    ("inspect", ("inspect", "proof", "report")),
    ("compiler", ("compiler", "func", "models", "onnx")),
    ("training", ("training",)),
    ("comparison", ("comparison", "extend")),
    ("face", ("__init__", "cli", "__main__")),
)
#: The same for the rooms of the runtime: what is planned knows neither programs nor kernels.
RUNTIME = ("workers", "planning", "program", "kernels", "eager", "tuning", "backends")
#: Families of kernels share what stands in ``shared``, and do not know each other.
FAMILIES = ("conv", "pool", "linear", "recurrent")
SIDE_BY_SIDE = set(permutations(("formats", "autodiff", "passes", "runtime", "reference"), 2))


class Imports(ast.NodeVisitor):
    """The package's own modules that one module names: when it loads, for types only, inside functions or lazily."""

    def __init__(self, module: str, known: frozenset[str]) -> None:
        self.module = module
        self.known = known
        self.found: dict[str, int] = {}
        self.late: list[tuple[str, int]] = []
        self._depth = 0
        self._tables: dict[str, ast.Dict] = {}

    def visit_Assign(self, node: ast.Assign) -> None:
        if isinstance(node.value, ast.Dict):
            self._tables.update((target.id, node.value) for target in node.targets if isinstance(target, ast.Name))
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        """Modules that load when they are first asked for, by name or by a table of homes, are known all the same."""
        called = ast.unparse(node.func).rpartition(".")[2]
        name = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
        if called in ("LazyModule", "import_module") and str(name).split(".")[0] == "lucid":
            self._add(str(name), node.lineno, late=called == "import_module")
        if called == "from_home":
            table = node.args[1]
            homes = self._tables[table.id] if isinstance(table, ast.Name) else table
            assert isinstance(homes, ast.Dict), f"{self.module}, line {node.lineno}: the homes are no table to be read"
            for home in homes.values:
                assert isinstance(home, ast.Constant), f"{self.module}, line {home.lineno}: a home is a text"
                self._add(f"{self.module}.{home.value}", home.lineno, late=False)
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> None:
        self._depth += 1
        self.generic_visit(node)
        self._depth -= 1

    visit_AsyncFunctionDef = visit_Lambda = visit_FunctionDef  # noqa: N815 - names that ast looks for

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            if alias.name.split(".")[0] == "lucid":
                self._add(alias.name, node.lineno)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        base = node.module or ""
        if node.level:
            package = self.module if self.module in PACKAGES else self.module.rpartition(".")[0]
            for _ in range(node.level - 1):
                package = package.rpartition(".")[0]
            base = f"{package}.{base}".rstrip(".")
        if base.split(".")[0] == "lucid":
            for alias in node.names:
                name = f"{base}.{alias.name}"
                self._add(name if name in self.known else base, node.lineno)

    def _add(self, name: str, line: int, *, late: bool = True) -> None:
        self.found.setdefault(name, line)
        if late and self._depth:
            self.late.append((name, line))


def module_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = sorted(PACKAGE.rglob("*.py"))
NAMES = {module_name(path, PACKAGE): path for path in FILES}
PACKAGES = {name for name, path in NAMES.items() if path.name == "__init__.py"}


def imports_of(module: str, source: str) -> Imports:
    visitor = Imports(module, frozenset(NAMES))
    visitor.visit(ast.parse(source))
    return visitor


@cache
def imports() -> dict[str, Imports]:
    """Of every module; read when they are first asked for, as the tests are also collected where few of them run."""
    return {name: imports_of(name, path.read_text("utf-8")) for name, path in NAMES.items()}


def layer(module: str) -> int:
    parts = module.split(".")
    key = parts[1] if len(parts) > 1 else "__init__"
    for index, (_, members) in enumerate(LAYERS):
        if key in members:
            return index
    raise AssertionError(f"{module} belongs to no layer: name it in LAYERS of {__file__}")


def room(module: str) -> int | None:
    """Which room of the runtime a module belongs to."""
    parts = module.split(".")
    return RUNTIME.index(parts[2]) if parts[1:2] == ["runtime"] and len(parts) > 2 else None


def family(module: str) -> str | None:
    """The family of kernels that a module belongs to."""
    parts = module.split(".")
    return parts[3] if parts[1:3] == ["runtime", "kernels"] and len(parts) > 3 and parts[3] in FAMILIES else None


def forbidden(module: str, imports: Imports) -> Iterator[str]:
    """What is wrong with a module's imports, as messages."""
    own, within = layer(module), room(module)
    for target, line in imports.found.items():
        other = layer(target)
        names = LAYERS[own][0], LAYERS[other][0]
        if other > own or names in SIDE_BY_SIDE:
            yield f"{module}, line {line}: {names[0]} must not import {names[1]} ({target})"
        there = room(target)
        if within is not None and there is not None and there > within:
            yield f"{module}, line {line}: {RUNTIME[within]} must not import {RUNTIME[there]} ({target})"
        kernels, others = family(module), family(target)
        if kernels and others and kernels != others:
            yield f"{module}, line {line}: {kernels} must not import {others} ({target})"
    for target, line in imports.late:
        yield f"{module}, line {line}: {target} is imported inside a function; import it at the top"


def cycles(imports: dict[str, Imports]) -> list[list[str]]:
    graph = nx.DiGraph()
    for module, found in imports.items():
        # importing lucid.graph.ir runs lucid/graph/__init__.py too, but only what that imports can make a cycle
        graph.add_edges_from((module, target) for target in found.found if target != module)
    return [sorted(c) for c in nx.strongly_connected_components(graph) if len(c) > 1]


@pytest.mark.parametrize("module", sorted(NAMES))
def test_imports_run_one_way(module: str) -> None:
    assert list(forbidden(module, imports()[module])) == []


def test_no_import_cycles() -> None:
    assert cycles(imports()) == []


def test_everything_was_read() -> None:
    """Guards the other tests: they see the imports that are there."""
    assert len(FILES) > 30
    assert {"lucid.graph.ir", "lucid.autodiff.reverse"} <= set(imports()["lucid.tensor.history"].found)
    assert "lucid.runtime.program.packing" in imports()["lucid.runtime.program.store"].found  # for types only
    assert "lucid.runtime.eager" in imports()["lucid.tensor.tensor"].found  # lazily
    assert {"lucid.compiler.entry", "lucid.passes", "lucid.models"} <= set(imports()["lucid"].found)  # by homes
    assert "lucid.passes.rewrite" in imports()["lucid.passes"].found


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("lucid.errors", "from .graph import ir", "base must not import graph"),
        ("lucid.passes.x", "from ..runtime import plan", "passes must not import runtime"),
        ("lucid.runtime.planning.x", "from ..program.emitter import Operand", "planning must not import program"),
        ("lucid.runtime.planning.x", "from ..kernels import conv", "planning must not import kernels"),
        ("lucid.runtime.program.x", "from ..kernels import conv", "program must not import kernels"),
        ("lucid.runtime.kernels.conv.x", "from ..pool.max import lowest", "conv must not import pool"),
        ("lucid.runtime.eager", "import lucid.passes.simplify", "runtime must not import passes"),
        ("lucid.reference.x", "from ..runtime import rng", "reference must not import runtime"),
        ("lucid.graph.ops.x", "if True:\n    from ...tensor import Tensor", "graph must not import tensor"),
        ("lucid.nn.x", "def f():\n    from ..tensor import Tensor", "inside a function"),
        ("lucid.tensor", "class A:\n    def f(self):\n        import lucid.errors", "inside a function"),
        ("lucid.tensor", "def f():\n    return import_module('lucid.errors')", "inside a function"),
        ("lucid.graph.x", "if TYPE_CHECKING:\n    from ..tensor import Tensor", "graph must not import tensor"),
        ("lucid.graph.x", "draw = LazyModule('lucid.formats.draw')", "graph must not import formats"),
        ("lucid.graph.x", "draw = lazy.LazyModule('lucid.formats.draw')", "graph must not import formats"),
    ],
)
def test_the_rules_can_fail(module: str, source: str, complaint: str) -> None:
    assert complaint in "\n".join(forbidden(module, imports_of(module, source)))


def test_homes_are_seen() -> None:
    source = "H = {'a': 'x.a', 'b': 'b'}\ndef __getattr__(n):\n    return from_home(__name__, H, n)"
    found = imports_of("lucid.nn", source)
    assert set(found.found) == {"lucid.nn.x.a", "lucid.nn.b"}
    assert found.late == []


def test_a_cycle_is_seen() -> None:
    made = {
        "lucid.graph.ir": imports_of("lucid.graph.ir", "from .types import TensorType"),
        "lucid.graph.types": imports_of("lucid.graph.types", "from . import ir"),
    }
    assert cycles(made) == [["lucid.graph.ir", "lucid.graph.types"]]


@pytest.mark.parametrize(
    "back",
    [
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from . import ir",
        "ir = LazyModule('lucid.graph.ir')",
        "def f():\n    from .ir import Graph",
    ],
)
def test_a_cycle_through_what_loads_late_or_never_is_seen(back: str) -> None:
    made = {
        "lucid.graph.ir": imports_of("lucid.graph.ir", "from .types import TensorType"),
        "lucid.graph.types": imports_of("lucid.graph.types", back),
    }
    assert cycles(made) == [["lucid.graph.ir", "lucid.graph.types"]]


@pytest.mark.parametrize("module", sorted(NAMES))
def test_files_and_functions_are_short(module: str) -> None:
    source = NAMES[module].read_text("utf-8")
    assert len(source.splitlines()) <= FILE_LINES
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            length = node.end_lineno - node.lineno + 1
            assert length <= FUNCTION_LINES, f"{node.name} has {length} lines"
