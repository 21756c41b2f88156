"""The shape of the package, read from its source: layers, cycles, late imports, sizes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
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
    ("tensor", ("tensor",)),
    ("nn", ("nn", "optim")),
    ("inspect", ("inspect",)),
    ("compiler", ("compiler", "models")),
    ("face", ("__init__", "cli", "__main__")),
)
SIDE_BY_SIDE = {("passes", "runtime"), ("runtime", "passes")}


class Imports(ast.NodeVisitor):
    """The package's own modules that one module imports: at run time, and inside functions."""

    def __init__(self, module: str, known: frozenset[str]) -> None:
        self.module = module
        self.known = known
        self.found: dict[str, int] = {}
        self.late: list[tuple[str, int]] = []
        self._depth = 0

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for child in node.orelse:
                self.visit(child)
        else:
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

    def _add(self, name: str, line: int) -> None:
        self.found.setdefault(name, line)
        if self._depth:
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


IMPORTS = {name: imports_of(name, path.read_text("utf-8")) for name, path in NAMES.items()}


def layer(module: str) -> int:
    parts = module.split(".")
    key = parts[1] if len(parts) > 1 else "__init__"
    for index, (_, members) in enumerate(LAYERS):
        if key in members:
            return index
    raise AssertionError(f"{module} belongs to no layer: name it in LAYERS of {__file__}")


def forbidden(module: str, imports: Imports) -> Iterator[str]:
    """What is wrong with a module's imports, as messages."""
    own = layer(module)
    for target, line in imports.found.items():
        other = layer(target)
        names = LAYERS[own][0], LAYERS[other][0]
        if other > own or names in SIDE_BY_SIDE:
            yield f"{module}, line {line}: {names[0]} must not import {names[1]} ({target})"
    for target, line in imports.late:
        yield f"{module}, line {line}: {target} is imported inside a function; import it at the top"


def cycles(imports: dict[str, Imports]) -> list[list[str]]:
    graph = nx.DiGraph()
    for module, found in imports.items():
        # importing lucid.graph.ir runs lucid/graph/__init__.py too, but only what that imports can make a cycle
        graph.add_edges_from((module, target) for target in found.found if target != module)
    return [sorted(c) for c in nx.strongly_connected_components(graph) if len(c) > 1]


@pytest.mark.parametrize("module", sorted(IMPORTS))
def test_imports_run_one_way(module: str) -> None:
    assert list(forbidden(module, IMPORTS[module])) == []


def test_no_import_cycles() -> None:
    assert cycles(IMPORTS) == []


def test_everything_was_read() -> None:
    """Guards the other tests: they see the imports that are there."""
    assert len(FILES) > 30
    assert {"lucid.graph.ir", "lucid.autodiff.reverse"} <= set(IMPORTS["lucid.tensor.history"].found)
    assert "lucid.runtime.planning.plan" not in IMPORTS["lucid.runtime.planning.liveness"].found  # under TYPE_CHECKING


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("lucid.errors", "from .graph import ir", "base must not import graph"),
        ("lucid.passes.x", "from ..runtime import plan", "passes must not import runtime"),
        ("lucid.runtime.x", "import lucid.passes.simplify", "runtime must not import passes"),
        ("lucid.graph.ops.x", "if True:\n    from ...tensor import Tensor", "graph must not import tensor"),
        ("lucid.nn.x", "def f():\n    from ..tensor import Tensor", "inside a function"),
        ("lucid.tensor", "class A:\n    def f(self):\n        import lucid.errors", "inside a function"),
    ],
)
def test_the_rules_can_fail(module: str, source: str, complaint: str) -> None:
    assert complaint in "\n".join(forbidden(module, imports_of(module, source)))


def test_a_cycle_is_seen() -> None:
    made = {
        "lucid.graph.ir": imports_of("lucid.graph.ir", "from .types import TensorType"),
        "lucid.graph.types": imports_of("lucid.graph.types", "from . import ir"),
    }
    assert cycles(made) == [["lucid.graph.ir", "lucid.graph.types"]]
    made["lucid.graph.types"] = imports_of(
        "lucid.graph.types", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from . import ir"
    )
    assert cycles(made) == []


@pytest.mark.parametrize("module", sorted(NAMES))
def test_files_and_functions_are_short(module: str) -> None:
    source = NAMES[module].read_text("utf-8")
    assert len(source.splitlines()) <= FILE_LINES
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            length = node.end_lineno - node.lineno + 1
            assert length <= FUNCTION_LINES, f"{node.name} has {length} lines"
