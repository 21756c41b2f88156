"""A program is statements that know the names in them; nothing reads them back from text."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn, runtime
from lucid.errors import GraphError
from lucid.graph.ir import Graph
from lucid.runtime import eager
from lucid.runtime.planning.machine import described
from lucid.runtime.planning.phase import Phase
from lucid.runtime.planning.registry import Choice, choices
from lucid.runtime.program.names import RESERVED, Names
from lucid.runtime.program.plan import Plan, make_plan
from lucid.runtime.program.printer import generate
from lucid.runtime.program.statement import MARK, Statement, marked, unmarked
from lucid.runtime.program.step import Step

from ..cases.case import Case
from ..machines import USUAL
from ..nets import NETS
from ..op_checks import all_cases
from ..project.test_called import VIEWS, assert_stands_alone, used
from ..random_models import RandomModel

ROOMS = ("planning", "program", "kernels")


def test_what_is_formatted_into_a_line_is_known() -> None:
    x, y, i = map(marked, ("x", "y", "i"))
    line = Statement.of(f"for {i} in {x}:\n    np.add({x}, {i}, out={y})", Phase.CALL)
    assert line.text == "for i in x:\n    np.add(x, i, out=y)"
    assert (line.reads, line.writes) == (("i", "x", "y"), ())
    assert line.renamed(str.upper) == "for I in X:\n    np.add(X, I, out=Y)"
    assert Statement.of(line.line, Phase.CALL) == line
    view = Statement.assignment(y, f"{x}.T", Phase.ARENA)
    assert (view.reads, view.writes, view.text) == (("x",), ("y",), "y = x.T")
    both = Statement.assignment(f"({x}, {y})", f"split({i})", Phase.ARENA)
    assert (both.reads, both.writes, both.text) == (("i",), ("x", "y"), "(x, y) = split(i)")


@pytest.mark.parametrize("text", [MARK, f"{MARK}a", f"{MARK}1{MARK}", f"{MARK}a b{MARK}", f"{MARK}{MARK}"])
def test_only_names_are_marked(text: str) -> None:
    with pytest.raises(GraphError, match="marks what is no name"):
        Statement.of(text, Phase.CALL)
    with pytest.raises(GraphError, match="marks what is no name"):
        unmarked(text)


def bound(tree: ast.Module) -> set[str]:
    """The names to which lines give a meaning that the lines after them know."""
    found = set()
    for line in tree.body:
        if isinstance(line, ast.FunctionDef):
            found.add(line.name)
        for target in line.targets if isinstance(line, ast.Assign) else ():
            found.update(node.id for node in ast.walk(target) if isinstance(node, ast.Name)
                         and isinstance(node.ctx, ast.Store))  # fmt: skip
    return found


def check(steps: list[Step], names: Names) -> int:
    """What statements say of themselves is what Python reads in them."""
    given = names._taken.keys() - set(RESERVED)
    for step in steps:
        for part in ("state", "prepare", "bind", "run"):
            for statement in getattr(step.code, part):
                tree = ast.parse(statement.text)
                stand = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} | bound(tree)
                assert stand & given == {*statement.reads, *statement.writes}, statement
                assert bound(tree) == set(statement.writes), statement
                assert statement.phase is {"bind": Phase.ARENA, "run": Phase.CALL}.get(part, Phase.STATE)
    return sum(len(step.code.all) for step in steps)


def with_each_lowering(graph: Graph) -> Iterator[Plan]:
    """The usual plans, and others until each node has had each of its lowerings, in some way."""
    for threads, exact in ((1, False), (2, True)):
        plan = make_plan(graph, threads=threads, exact=exact)
        yield plan
        others: dict[str, list[Choice]] = {}
        for step in plan.steps:
            types = tuple(plan.graph.type(value) for value in plan.graph.inputs_of(step.name))
            found = choices(step.node, types, threads=plan.threads, exact=exact)
            others[step.name] = list({choice.lowering.name: choice for choice in found}.values())
        for turn in range(max(map(len, others.values()))):
            chosen = {name: found[turn % len(found)] for name, found in others.items() if found}
            yield make_plan(graph, threads=threads, exact=exact, chosen=chosen)


def check_plans(*graphs: Graph) -> None:
    """The statements of all plans; and what their programs call stands alone."""
    programs = []
    for plan in (plan for graph in graphs for plan in with_each_lowering(graph)):
        assert check(plan.steps, plan.names)
        generate(plan)
        programs.append(plan.names)
    found = used(programs)
    assert VIEWS in found
    assert_stands_alone(found)


@pytest.mark.parametrize("seed", range(12))
def test_random_nets(seed: int) -> None:
    model = RandomModel(seed).train(seed % 2 == 0)
    net = lucid.compile(model, lucid.spec("N", *model.input_shape))
    check_plans(*(graph.bind({"N": 3}) for graph in (net.graph, net.backward_graph)))


@pytest.mark.parametrize("name", ["lenet", "vgg11", "resnet18", "mobilenet"])
def test_nets(name: str) -> None:
    net = NETS[name]
    compiled = lucid.compile(net.model(), lucid.spec("N", *net.small[1:]))
    check_plans(compiled.graph.bind({"N": net.small[0]}))


def test_every_op(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that only gradients have."""
    checked: list[Names] = []

    def generate(step: Step, names: Names) -> Any:
        check([step], names)
        checked.append(names)
        return real(step, names)

    real = eager.generate_call
    monkeypatch.setattr(eager, "generate_call", generate)
    eager.op_call.cache_clear()
    for case in all_cases():
        run(case)
    assert len(checked) > 500
    found = used(checked)
    assert "lucid.runtime.kernels.calls" in found
    assert_stands_alone(found)


def run(case: Case) -> None:
    arrays = case.make(np.random.default_rng(0), "float32")
    y = case.function(*(lucid.tensor(x, requires_grad=np.asarray(x).dtype.kind == "f") for x in arrays))
    y = y[0] if isinstance(y, tuple) else y
    if y.requires_grad and "OnceDifferentiable" not in case.ops:  # whose gradient is an error
        y.sum().backward()


@pytest.mark.usefixtures("usual_machine")
def test_a_name_of_another_program_is_no_keyword() -> None:
    """Programs of two sizes pack alike, though in one of them a variable is called ``out`` as NumPy's argument is."""
    net = lucid.compile(lucid.models.lenet5().eval(), lucid.spec("N", 1, 28, 28))
    with described(USUAL):
        three, four = (make_plan(net.graph.bind({"N": n}), threads=3) for n in (3, 4))
    keys = [{packing.key for packing in plan.packings.all} for plan in (three, four)]
    assert "out" in three.names._taken and "out" not in four.names._taken
    assert len(keys[0] & keys[1]) >= 3


class OfParameters(nn.Module):
    """What depends on parameters only is computed when they change."""

    def __init__(self, activation: Any) -> None:
        super().__init__()
        self.image = nn.Parameter(np.linspace(-2, 2, 162, dtype=np.float32).reshape(1, 2, 9, 9))
        self.conv, self.linear, self.activation = nn.Conv2d(2, 3, 3), nn.Linear(9, 4), activation

    def forward(self, x: Any) -> Any:
        return self.activation(self.conv(self.image)).mean() * x, self.activation(self.linear(self.image)).sum() * x


@pytest.mark.parametrize("name", ["relu", "gelu", "silu", "mish", "elu", "softplus", "hardswish"])
def test_activations_of_what_depends_on_parameters_only(name: str) -> None:
    """A line that sees memory under a name that another line gave runs whenever that one does."""
    model, x = OfParameters(getattr(nn.functional, name)), lucid.ones(2)
    net = lucid.compile(model)
    for _ in range(2):
        with lucid.no_grad():
            for y, wanted in zip(net(x), model(x), strict=True):
                np.testing.assert_allclose(y.numpy(), wanted.numpy(), rtol=1e-5)
            model.linear.weight.mul_(-1.5)
            model.conv.weight.add_(0.25)


def test_no_regular_expression_reads_a_program() -> None:
    for room in ROOMS:
        for path in (Path(runtime.__file__).parent / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                found = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                found += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
                assert not {"re", "regex", "tokenize"} & set(found), path.name
