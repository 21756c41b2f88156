"""The program that the type checker reads runs, and what the package says of its types does not get vaguer."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import lucid

from ..typing import user_program

PACKAGE = Path(lucid.__file__).parent

ANY = {
    "": 1, "autodiff": 2, "autograd": 21, "base": 19, "comparison": 7, "compiler": 74, "data": 1, "formats": 6,
    "formats/onnx": 5, "graph": 41, "models": 5, "nn": 28, "onnx": 7, "optim": 12, "passes": 9, "reference": 8,
    "runtime": 5, "runtime/kernels": 35, "runtime/program": 17, "runtime/workers": 12, "tensor": 79,
}  # fmt: skip
"""How often each room says ``Any`` today. Lower a figure where it is too high; say what it is rather than raise one."""


def room(path: Path) -> str:
    """The folder in the package, or the folder in that where it has a figure of its own."""
    inside = path.relative_to(PACKAGE).parts[:-1]
    deep = inside[:2]
    return "/".join(deep) if "/".join(deep) in ANY else "/".join(deep[:1])


def test_the_program_runs() -> None:
    user_program.main()


def test_the_package_is_typed() -> None:
    assert (PACKAGE / "py.typed").exists()
    assert "tests/typing" in (PACKAGE.parent / "pyproject.toml").read_text("utf-8")  # what `make lint` has mypy read


def times(tree: ast.AST) -> int:
    """How often a module says ``Any``, in the text of type aliases too."""
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == "Any"]
    aliases = [node.value for node in ast.walk(tree) if isinstance(node, ast.AnnAssign) and node.value is not None]
    texts = [str(node.value) for node in aliases if isinstance(node, ast.Constant)]
    return len(names) + sum(len(re.findall(r"\bAny\b", text)) for text in texts)


def test_no_room_says_any_more_often() -> None:
    found: Counter[str] = Counter()
    for path in PACKAGE.rglob("*.py"):
        found[room(path)] += times(ast.parse(path.read_text("utf-8")))
    assert {name: count for name, count in found.items() if count > ANY.get(name, 0)} == {}


def test_attributes_are_known() -> None:
    """Of a node, as of all else: :class:`lucid.graph.ir.Node` says which attributes it has."""
    ignored = [path for path in PACKAGE.rglob("*.py") if "ignore[attr-defined]" in path.read_text("utf-8")]
    assert ignored == []
