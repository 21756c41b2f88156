"""What begins with an underscore is read by the module that defines it alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from .test_architecture import NAMES

#: What a tensor holds has no public name: those are PyTorch's, and whoever writes to the array untold makes compiled
#: models stale. These rooms read it at each op or call.
SHARED = {
    "_array": ("lucid.tensor", "lucid.autograd", "lucid.compiler"),
    "_requires_grad": ("lucid.tensor",),
    "_record": ("lucid.tensor",),
    "_output": ("lucid.tensor",),
    "_is_protocol": ("lucid.graph",),  # typing's, which has no public question for it before Python 3.13
}

#: Public by their documentation: methods of named tuples.
DOCUMENTED = {"_asdict", "_field_defaults", "_fields", "_make", "_replace"}

BY_TEXT = {"getattr", "setattr", "hasattr", "delattr", "attrgetter", "methodcaller", "__setattr__", "__getattribute__"}


def private(name: object) -> bool:
    return isinstance(name, str) and name.startswith("_") and not name.endswith("_") and name not in DOCUMENTED


def defined(tree: ast.Module) -> set[str]:
    """The names that a module gives: to itself, its functions, classes and their attributes."""
    found: set[str] = set()
    bodies = [tree, *(node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))]
    for body in bodies:
        for statement in body.body:
            targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
            inner = [node for target in targets if target is not None for node in ast.walk(target)]
            found.update(node.id for node in inner if isinstance(node, ast.Name))
            found.add(getattr(statement, "name", ""))
            if any(isinstance(node, ast.Name) and node.id == "__slots__" for node in inner):
                found.update(ast.literal_eval(statement.value))  # type: ignore[attr-defined]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and by_itself(node):
            found.add(node.attr)
    return found


def by_itself(node: ast.Attribute) -> bool:
    return ast.unparse(node.value) in ("self", "cls", "super()")


def foreign(tree: ast.Module) -> set[str]:
    """Names of modules that are not the package's: what they call private is theirs to change."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.asname or alias.name.split(".")[0] for alias in node.names)
        if isinstance(node, ast.ImportFrom) and not node.level and str(node.module).split(".")[0] != "lucid":
            found.update(alias.asname or alias.name for alias in node.names)
    return found - {"lucid"}


def root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def intrusions(module: str, source: str) -> Iterator[str]:
    """Where a module reads or imports what another keeps for itself."""
    tree = ast.parse(source)
    own, others = defined(tree), foreign(tree)
    own |= {name for name, rooms in SHARED.items() if module.startswith(tuple(f"{room}." for room in rooms))}
    for node in ast.walk(tree):
        names: list[object] = []
        if isinstance(node, ast.Attribute) and not by_itself(node) and root(node.value) not in others:
            names = [node.attr]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in BY_TEXT:
            names = [value.value for value in node.args if isinstance(value, ast.Constant)]
        elif isinstance(node, ast.ImportFrom) and (node.level or str(node.module).split(".")[0] == "lucid"):
            names = [alias.name for alias in node.names]
        for name in names:
            if private(name) and name not in own:
                yield f"{module}, line {node.lineno}: {name} is another module's; give it a name without the underscore"


@pytest.mark.parametrize("module", sorted(NAMES))
def test_modules_read_no_others_private_names(module: str) -> None:
    assert list(intrusions(module, NAMES[module].read_text("utf-8"))) == []


@pytest.mark.parametrize(
    "source",
    [
        "from .ir import _edges",
        "from lucid.graph.ir import _edges",
        "from . import ir\nir._edges()",
        "def f(workers):\n    return workers.sharing._jobs",
        "def f(workers):\n    workers._jobs = []",  # naming it here makes it no more this module's
        "def f(x):\n    return getattr(x, '_array')",
        "from operator import attrgetter\nf = attrgetter('_jobs')",
        "def f(x):\n    return x._array",  # which only those rooms may read
    ],
)
def test_the_rule_can_fail(source: str) -> None:
    assert "is another module's" in "\n".join(intrusions("lucid.graph.x", source))


@pytest.mark.parametrize(
    "source",
    [
        "class A:\n    __slots__ = ('_a', 'b')\n    def f(self, other):\n        return other._a",
        "class A:\n    _a: int\ndef f(a):\n    return getattr(a, '_a')",
        "class A:\n    def __init__(self):\n        self._a = 1\ndef f(a):\n    return a._a",
        "import os\nos._exit(1)",
        "def f(sizes):\n    return sizes._replace(a=1), sizes.__dict__",
    ],
)
def test_what_is_ones_own_may_be_read(source: str) -> None:
    assert list(intrusions("lucid.graph.x", source)) == []


def test_what_is_shared_is_needed() -> None:
    """An exception that nobody takes any more goes."""
    for name, rooms in SHARED.items():
        for place in rooms:
            sources = [path.read_text("utf-8") for module, path in NAMES.items() if module.startswith(f"{place}.")]
            assert any(name in source for source in sources), (name, place)
