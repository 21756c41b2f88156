"""Kernels say what they do, and the machine how long that takes: no kernel holds a time or a rate, or reads one."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from lucid.runtime.planning.machine import Machine

KERNELS = sorted((Path(__file__).parents[2] / "lucid" / "runtime" / "kernels").rglob("*.py"))
RATES = {field.name for field in fields(Machine) if field.type == "float"} | {"packing"}
"""What else there is of a machine are sizes, which kernels cut their work by."""


def _is_table(node: ast.AST) -> bool:
    """Numbers under one name, such as the coefficients of a polynomial."""
    return isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple) and isinstance(node.targets[0], ast.Name)


def _numbers(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Seconds (floating point numbers below a thousandth) and rates (from ten million on), wherever they stand."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.Constant) and isinstance(child.value, float):
            if 0 < child.value < 1e-3 or 1e7 <= child.value < float("inf"):
                yield child.lineno, f"{child.value:g}"
        elif not _is_table(child):
            yield from _numbers(child)


def _names_of(targets: list[ast.expr], value: ast.expr) -> Iterator[str]:
    """The names that are bound to a machine."""
    for target in targets:
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            for one, part in zip(target.elts, value.elts, strict=False):  # a starred name takes several
                yield from _names_of([one], part)
        elif ast.unparse(value).endswith("this_machine()"):
            yield ast.unparse(target)


def _machines(tree: ast.AST) -> set[str]:
    """Source of all that is a machine in a module: calls, what they are bound to, and arguments."""
    found = {"this_machine()"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            found.update(_names_of(node.targets, node.value))
        elif isinstance(node, ast.arg) and node.annotation is not None and "Machine" in ast.unparse(node.annotation):
            found.add(node.arg)
    return found


def _reads(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Rates of a machine that are read, and what turns work into seconds."""
    machines = _machines(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in RATES and ast.unparse(node.value) in machines:
            yield node.lineno, ast.unparse(node)
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.module.endswith("work"):
            yield from ((node.lineno, alias.name) for alias in node.names if alias.name == "seconds")


def wrong(source: str) -> list[tuple[int, str]]:
    """Lines of a kernel's module that hold a time or a rate, or read one."""
    tree = ast.parse(source)
    return sorted([*_numbers(tree), *_reads(tree)])


@pytest.mark.parametrize("path", KERNELS, ids=lambda path: path.relative_to(KERNELS[0].parent).as_posix())
def test_no_kernel_holds_seconds(path: Path) -> None:
    assert wrong(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "RUN = 5e-9", "A, RUN = 1, 5e-9", "BYTES: float = 8e9", "def f(n):\n    return n * 1e-6",
        "def f():\n    machine = this_machine()\n    return 1 / machine.near",
        "def f():\n    machine, n = this_machine(), 3\n    return n * machine.call",
        "def f(m: Machine, n: int):\n    return n * m.fork", "def f():\n    return this_machine().flops",
        "from ...planning.work import Work, seconds",
    ],
)  # fmt: skip
def test_the_rule_can_fail(source: str) -> None:
    assert len(wrong(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "P = (-1.3e-08, 4.7e-06)", "BYTES = 1 << 20", "SHORT = 0.25", "k.call('np.add', y)", "x = loop.number(3)",
        "def f(machine):\n    return this_machine().l2 // 2", "x.fill(-math.inf)",
    ],
)  # fmt: skip
def test_the_rule_leaves_the_rest(source: str) -> None:
    assert wrong(source) == []
