"""A fact about a graph is the same for passes, plan, tuning and pictures; what kind an op is, its definition says."""

from __future__ import annotations

import ast
import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import networkx as nx
import numpy as np
import pytest

import lucid
import lucid.runtime.eager  # from which on kernels are known
from lucid.formats.draw.graph_view import family
from lucid.graph import facts
from lucid.graph.builder import Builder
from lucid.graph.ir import Graph, Node, Value
from lucid.graph.opdef import Attrs, ConstArray, Family, NoAttrs, OpDef, TypeAttrs, all_ops, apply
from lucid.graph.ops.random import RANDOM_KEY, RANDOM_NORMAL
from lucid.graph.ops.source import CONSTANT, FULL, INPUT, PARAMETER, ConstantAttrs, FullAttrs, ParameterAttrs
from lucid.graph.trace import Tracer
from lucid.graph.types import float32
from lucid.reference import run_reference
from lucid.runtime.program.plan import make_plan
from lucid.runtime.tuning import _alike

SHAPE = (2, 3)
PACKAGE = Path(lucid.__file__).parent


def mixed() -> Graph:
    """Every kind of source, alone and together with each other."""
    tracer = Tracer(Builder())

    def one(op: OpDef, attrs: Attrs, name: str) -> Any:
        return tracer.emit(op, attrs, name=name)[0]

    x = one(INPUT, TypeAttrs(SHAPE, float32), "x")
    w = one(PARAMETER, ParameterAttrs(SHAPE, float32, "w"), "w")
    c = one(CONSTANT, ConstantAttrs(ConstArray(np.ones(SHAPE, np.float32))), "c")
    f = one(FULL, FullAttrs(SHAPE, float32, 2.0), "f")
    r = apply(RANDOM_NORMAL, TypeAttrs(SHAPE, float32), one(RANDOM_KEY, NoAttrs(), "key"))
    sources = {"x": x, "w": w, "c": c, "f": f, "r": r}
    sums = [a * b for i, a in enumerate(sources.values()) for b in list(sources.values())[i:]]
    results = [y for s in sums for y in (s.exp(), s.reshape(6))]
    return tracer.builder.finish([y.value for y in results])


def test_what_depends_on_parameters_only_is_what_no_input_and_no_draw_lies_behind() -> None:
    graph = mixed()
    moving = {name for name, node in graph.nodes() if node.op in (INPUT, RANDOM_KEY)}
    want = {name for name in graph.order if not moving & {name, *nx.ancestors(graph.dag, name)}}
    assert facts.parameter_only(graph) == want
    assert {"w", "c", "f"} < want and moving.isdisjoint(want)


def test_the_plan_and_tuning_agree_with_it() -> None:
    plan = make_plan(mixed())
    fixed = facts.parameter_only(plan.graph)
    steps = {step.name for step in plan.steps}
    assert {step.name for step in plan.steps if step.fixed} == fixed & steps
    tuned = {name for names in _alike(plan.graph).values() for name in names}
    assert tuned == {name for name in steps - fixed if plan.graph.inputs_of(name)}


def test_what_a_run_draws_is_no_parameters() -> None:
    graph = mixed()
    (key,) = facts.drawn(graph)
    assert graph.node(key).op is RANDOM_KEY and key not in facts.parameter_only(graph)
    assert all(not op.pure and not op.source for op in all_ops() if op.random)


def test_the_values_read_are_those_of_the_edges_and_results() -> None:
    graph = mixed()
    values = {Value(name, i) for name, node in graph.nodes() for i in range(len(node.outputs))}
    read = {value for value in values if graph.users(value) or value in graph.results}
    assert facts.read_values(graph) == read


def test_what_is_reachable_ends_where_it_is_told_to() -> None:
    tracer = Tracer(Builder())
    x = tracer.emit(INPUT, TypeAttrs(SHAPE, float32), name="x")[0]
    y = x.exp()
    z = (y + x.tanh()).relu()
    graph = tracer.builder.finish([z.value])
    assert facts.reachable(graph.dag, [z.value.node]) == set(graph.order)
    (tanh,) = (name for name, node in graph.nodes() if node.op.name == "Tanh")
    (add,) = (name for name, node in graph.nodes() if node.op.name == "Add")
    assert facts.reachable(graph.dag, [z.value.node], {add}) == {z.value.node, add}
    assert facts.reachable(graph.dag, [tanh]) == {"x", tanh}


# ---------------------------------------------------------------- traits

UNARY = [op for op in all_ops() if op.elementwise and op.inputs == ("x",)]
MONOTONE = [op for op in UNARY if op.monotone is True and op.attrs is NoAttrs]
SORTED = np.array([-np.inf, -700.0, -2.5, -1.0, -0.5, 0.0, 0.25, 0.5, 1.5, 3.0, 700.0, np.inf])


def value(op: OpDef, x: Any) -> Any:
    with np.errstate(all="ignore"):
        return run_reference(op, op.attrs(), [np.asarray(x)])[0]


@pytest.mark.parametrize("op", MONOTONE, ids=lambda op: op.name)
def test_a_monotone_op_keeps_order_and_is_0_at_its_root(op: OpDef) -> None:
    y = value(op, SORTED)
    assert (np.diff(y[1:-1]) >= 0).all() and y[0] <= y[1] and y[-2] <= y[-1]
    if op.root is not None:
        assert value(op, op.root) == 0
    if op.root == -np.inf:
        assert (y >= 0).all()


@pytest.mark.parametrize("op", [op for op in UNARY if op.idempotent and op.attrs is NoAttrs], ids=lambda op: op.name)
def test_an_idempotent_op_changes_nothing_more(op: OpDef) -> None:
    y = value(op, SORTED)
    assert np.array_equal(value(op, y), y)


def test_traits_hold_together() -> None:
    for op in all_ops():
        assert op.monotone or op.root is None, op
        assert op in UNARY or not (op.monotone or op.activation or op.idempotent), op
        assert not op.source or not op.inputs, op
        assert not op.random or not (op.pure or op.source), op
        assert not op.convolution or (op.windowed and op.channels_last), op
        assert op.activates == {"activation", "floor"}.issubset(fields(op.attrs)), op
        assert op.windowed or not {"kernel", "pool", "conv", "dilation"} & fields(op.attrs), op
        assert family(Node(op, NoAttrs(), ())) in get_args(Family), op


def fields(attrs: type[Attrs]) -> set[str]:
    return {field.name for field in dataclasses.fields(attrs)}


# ---------------------------------------------------------------- no lists of ops outside their definitions

NAMES = {op.name for op in all_ops()}
MODULES = [module for name, module in sys.modules.items() if name.startswith("lucid.graph.ops.")]
CONSTANTS = {name for module in MODULES for name, one in vars(module).items() if isinstance(one, OpDef)}
PATTERNS = ("match", "search", "fullmatch")
PARTS = ("startswith", "endswith")


def is_op(node: ast.expr) -> bool:
    """Whether an expression is an op, or the name of one."""
    if isinstance(node, ast.Constant):
        return node.value in NAMES
    return getattr(node, "attr", getattr(node, "id", None)) in CONSTANTS


def is_op_name(node: ast.AST) -> bool:
    """Whether it says ``op.name`` of whatever is called ``op``."""
    return ast.unparse(node).endswith("op.name")


def lists_of_ops(source: str) -> Iterator[int]:
    """Lines that ask for a kind of op by a list of ops, by its name or by a pattern."""
    for node in ast.walk(ast.parse(source)):
        found = False
        if isinstance(node, ast.Tuple | ast.List | ast.Set):
            found = len(node.elts) > 1 and all(map(is_op, node.elts))
        elif isinstance(node, ast.Compare):
            found = is_op_name(node.left)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            found = (node.func.attr in PATTERNS and any(map(is_op_name, node.args))) or (
                node.func.attr in PARTS and is_op_name(node.func.value)
            )
        if found:
            yield node.lineno


@pytest.mark.parametrize(
    "text",
    [
        "node.op in (CONV, ew.ADD)", "x = {'Conv2d', 'ConvPool2d'}", "node.op.name == 'Input'", "op.name in NAMES",
        "re.match(pattern, op.name)", "node.op.name.startswith('Adaptive')",
    ],
)  # fmt: skip
def test_a_list_of_ops_is_seen(text: str) -> None:
    assert list(lists_of_ops(text)) == [1]


def test_no_list_of_ops_stands_outside_the_ops() -> None:
    """What a pass or a kernel must know of an op is a trait of its definition."""
    graph = PACKAGE / "graph"
    files = [path for path in PACKAGE.rglob("*.py") if path.parent != graph / "ops" and path != graph / "opdef.py"]
    assert [f"{path.relative_to(PACKAGE)}:{line}" for path in files for line in lists_of_ops(path.read_text())] == []


def test_what_is_counted_once_is_whole_after_an_interrupt() -> None:
    """How often values are read is kept: an interrupt while it is counted must not leave a part of it."""

    class Interrupted(dict[str, tuple[Value, ...]]):
        def values(self) -> Any:
            yield from list(super().values())[:2]
            raise KeyboardInterrupt

    builder = Builder()
    (x,) = builder.emit(INPUT, TypeAttrs((2,), float32), name="x")
    for _ in range(3):
        (x,) = builder.emit(next(op for op in all_ops() if op.name == "Add"), NoAttrs(), [x, x])
    graph = builder.finish([x])
    whole, graph._feeds = dict(graph.feeds), Interrupted(graph.feeds)
    with pytest.raises(KeyboardInterrupt):
        _ = graph.reads
    graph._feeds = whole
    assert sorted(graph.reads.values()) == [1, 2, 2, 2]
