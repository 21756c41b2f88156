"""Groups of element-wise ops: which form, what their program is, and that the kernel changes no bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lucid.errors import GraphError
from lucid.graph.ir import Graph
from lucid.graph.opdef import NoAttrs
from lucid.graph.ops import elementwise as ew
from lucid.graph.ops.conv import conv2d
from lucid.graph.ops.fused import FUSED_ELEMENTWISE, FusedAttrs, Instruction
from lucid.graph.types import TensorType, float32, spec
from lucid.passes.fuse.elementwise import FuseOptions, fuse_elementwise
from lucid.passes.layout import assign_layout
from lucid.passes.lower import lower
from lucid.runtime.kernels.fused import iteration_space
from lucid.runtime.planning import work
from lucid.runtime.program.plan import make_plan
from lucid.runtime.program.printer import generate

from ..op_checks import threads_only
from .helpers import assert_equal, assert_same, assert_same_kernels, ops, random_inputs, show, trace


def program(graph: Graph, name: str) -> list[str]:
    attrs: FusedAttrs = graph.node(name).attrs  # type: ignore[assignment]
    return [f"{step.op}{step.operands}" for step in attrs.program]


def test_a_chain_becomes_one_node() -> None:
    before = trace(lambda x: (x * 2).exp().relu(), (3, 4))
    after = fuse_elementwise(before)
    assert show(after) == ["relu = FusedElementwise(x0, full)"]
    assert program(after, "relu") == ["Mul(0, 1)", "Exp(2,)", "Relu(3,)"]
    assert after.node("relu").origin.history == ("fuse_elementwise: from mul, exp, relu",)
    assert fuse_elementwise(after) is after
    assert_same(before, after)


def test_a_value_read_twice_inside_the_group_is_computed_once() -> None:
    before = trace(lambda x: (s := x.sigmoid()) * (1 + x * (1 - s)), (3, 4))
    after = fuse_elementwise(before)
    assert ops(after) == ["FusedElementwise"]
    assert [step.split("(")[0] for step in program(after, "mul_1")] == ["Sigmoid", "Sub", "Mul", "Add", "Mul"]
    assert_same(before, after)
    assert_equal(run(after), run(before))


def test_what_is_read_outside_stays_outside() -> None:
    before = trace(lambda x: ((e := x.exp().sin()), (e + 1).cos(), (e + 2).sum(0)), (3, 4))
    after = fuse_elementwise(before)
    assert show(after) == [
        "sin = FusedElementwise(x0)",
        "cos = FusedElementwise(sin, full)",
        "add_1 = Add(sin, full_1)",
        "sum = Sum(add_1)",
    ]
    assert_same(before, after)


def test_no_path_may_leave_a_group_and_come_back() -> None:
    before = trace(lambda x: (e := x.exp()) * e.sum(0, keepdim=True), (3, 4))
    assert fuse_elementwise(before) is before


def test_smaller_shapes_stay_apart() -> None:
    before = trace(lambda x, v: x * (v.sqrt() + 1) - v, (3, 4), (4,))
    after = fuse_elementwise(before)
    assert show(after) == ["add = FusedElementwise(x1, full)", "sub = FusedElementwise(x0, add, x1)"]
    assert_same(before, after)


def test_parameters_are_prepared_apart() -> None:
    before = trace(lambda x, w: x + (w * 2).exp(), (3, 4), w=(3, 4))
    assert show(fuse_elementwise(before)) == ["exp = FusedElementwise(w, full)", "add = Add(x0, exp)"]


def test_the_limit() -> None:
    def chain(x: Any) -> Any:
        for _ in range(10):
            x = x.sin()
        return x

    after = fuse_elementwise(trace(chain, (3,)), FuseOptions(4))
    assert [len(node.attrs.program) for _, node in after.nodes() if node.op.inputs] == [2, 4, 4]  # type: ignore[attr-defined]


def test_element_types_may_change_inside() -> None:
    before = trace(lambda x: ew.where((x > 0) & (x < 1), x.double(), 2.0).to("int32"), (3, 4))
    after = fuse_elementwise(before)
    assert ops(after) == ["FusedElementwise"]
    assert_same(before, after)


def test_symbolic_shapes_and_lowering() -> None:
    before = trace(lambda x: (x * x.size(0)).exp() + 1, spec("N", 4))
    after = fuse_elementwise(before)
    assert ops(after) == ["FusedElementwise"]
    assert_same(before.bind({"N": 3}), after.bind({"N": 3}))
    assert ops(lower(after, lambda node: False)) == ops(before)


@pytest.mark.parametrize(
    ("inputs", "step", "message"),
    [
        (2, Instruction("Exp", NoAttrs(), (0,)), "of 2 inputs got 1"),
        (1, Instruction("Exp", NoAttrs(), (1,)), "reads what is not there"),
        (1, Instruction("MatMul", NoAttrs(), (0, 0)), "MatMul is not a pure element-wise op"),
    ],
)
def test_a_broken_program_is_refused(inputs: int, step: Instruction, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        FUSED_ELEMENTWISE.infer_types(FusedAttrs(inputs, (step,)), [TensorType((3,), float32)])


# ---------------------------------------------------------------- the kernel

UNARY: dict[str, Callable[[Any], Any]] = {
    "exp": lambda x: x.exp(), "sin": lambda x: x.sin(), "tanh": lambda x: x.tanh(), "sigmoid": lambda x: x.sigmoid(),
    "erf": lambda x: x.erf(), "gelu": ew.gelu, "gelu-tanh": lambda x: ew.gelu(x, "tanh"), "silu": ew.silu,
    "elu": ew.elu, "softplus": ew.softplus, "leaky": ew.leaky_relu, "sign": lambda x: x.sign(),
    "pow": lambda x: (x * x) ** 1.3, "log": lambda x: x.log(), "sqrt": lambda x: x.sqrt(),
}  # fmt: skip


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iteration_space, "BLOCK_BYTES", 64)
    monkeypatch.setattr(work, "FORKS", 0)


def run(graph: Graph, threads: int = 1) -> list[Any]:
    """The graph's results, run as a compiled program."""
    inputs, parameters = random_inputs(graph)
    plan = make_plan(graph, threads=threads)
    prepare, bind = generate(plan).load("program")([parameters[name] for name in plan.parameters])
    with np.errstate(all="ignore"):
        prepare()
        program = threads_only(threads).bind(bind, np.empty(plan.arena_bytes + 64, np.uint8))
        program(*inputs)
        return list(program(*inputs))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("size", [5, 64, 70])
@pytest.mark.usefixtures("small_blocks")
def test_blocks_round_as_the_whole_does(name: str, dtype: str, size: int) -> None:
    before = trace(lambda x: (UNARY[name](x * 1.5) + 1) * 2, spec(size, dtype=dtype))
    after = fuse_elementwise(before)
    assert ops(after) == ["FusedElementwise"]
    assert_equal(run(after), run(before))
    assert_same_kernels(before, after)


BROADCAST: dict[str, tuple[Callable[..., Any], tuple[tuple[int, ...], ...]]] = {
    "rows": (lambda x, b: (x + b).relu() * 2, ((11, 7), (7,))),
    "columns": (lambda x, b: (x + b).relu() * 2, ((11, 7), (11, 1))),
    "channels": (lambda x, b: (x + b).relu() * b, ((3, 5, 4, 6), (5, 1, 1))),
    "both": (lambda x, a, b: (x + a) * b - 1, ((6, 5, 7), (6, 1, 1), (5, 1))),
    "outer": (lambda a, b: ((a + b) * 2).exp(), ((30, 1), (1, 20))),
    "scalar-of-rank": (lambda x, b: (x + b).relu() * 2, ((40, 9), (1, 1))),
    "scalar": (lambda x, b: (x + b).relu() * 2, ((40, 9), ())),
    "zero-rank": (lambda x, b: (x + b).relu() * 2, ((), ())),
    "empty": (lambda x, b: (x + b).relu() * 2, ((0, 9), (9,))),
    "all-ones": (lambda x, b: (x + b).relu() * 2, ((1, 1), (1,))),
    "long-inner": (lambda x, b: (x + b).relu() * 2, ((3, 200), (3, 1))),
}


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("name", BROADCAST)
@pytest.mark.usefixtures("small_blocks")
def test_broadcast_operands(name: str, threads: int) -> None:
    function, shapes = BROADCAST[name]
    before = trace(function, *shapes)
    after = fuse_elementwise(before)
    assert "FusedElementwise" in ops(after)
    assert_equal(run(after, threads), run(before))
    assert_same_kernels(before, after)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.usefixtures("small_blocks")
def test_memory_orders(threads: int) -> None:
    def model(x: Any, w: Any, b: Any) -> Any:
        y = conv2d(x, w)
        z = ((y + b.reshape(5, 1, 1)).tanh() * y + 1).relu()
        return (z * x[:, :1, :6, :5] + z).sum((2, 3)), z

    before = trace(model, (2, 3, 8, 7), w=(5, 3, 3, 3), b=(5,))
    after = assign_layout(fuse_elementwise(before))
    assert "FusedElementwise" in ops(after)
    for a, b in zip(run(after, threads), run(before), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    assert_same(before, after)


@pytest.mark.usefixtures("small_blocks")
def test_views_and_strided_inputs() -> None:
    def model(x: Any) -> Any:
        y = x @ x.T
        return (x.T + 1).exp() * x.T, (x[:, ::2] * 2).sin(), ((y.T + 1).tanh() * y.T - y) @ y, (y[1:] * 2).sin() @ y

    before = trace(model, (9, 12))
    after = fuse_elementwise(before)
    assert_equal(run(after), run(before))
    strided = np.asfortranarray(np.random.default_rng(0).standard_normal((9, 12)).astype(np.float32))
    assert_same_kernels(before, after, [strided])


@pytest.mark.usefixtures("small_blocks")
def test_an_input_may_give_its_memory_to_the_output() -> None:
    def model(x: Any) -> Any:
        a = (x.reshape(8, 30) @ x.reshape(30, 8)) * 1.0
        b = a @ a
        return ew.where(b > 0, b, (b * 2).exp()) @ a, (a * 2 + 1).relu() @ a

    before = trace(model, (240,))
    after = fuse_elementwise(before)
    assert_equal(run(after), run(before))


def test_large_arrays_with_the_real_block_size() -> None:
    before = trace(lambda x, b: (x + b).tanh() * x + 1, (3, 74, 2700), (74, 1))
    after = fuse_elementwise(before)
    assert "for " in generate(make_plan(after)).text
    assert_equal(run(after), run(before))
