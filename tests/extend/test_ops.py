"""An op, its kernel and its reference from outside the package: what is forgotten or wrong is said."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import Tensor, extend
from lucid.errors import GradientError, GraphError, LucidError, OptionError, TraceError
from lucid.extend import NO_GRADIENT, Attrs, NoAttrs, OpDef, Way, Work, apply, register_op

X = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
S = lucid.spec("N", 3)


def same(attrs: Attrs, x: lucid.TensorType) -> lucid.TensorType:
    return x


def entered(name: str, gradient: Any = NO_GRADIENT, line: str | None = "np.copyto({y}, {x})", **how: Any) -> OpDef:
    """An op that copies, with a kernel unless that is None."""
    op = register_op(OpDef(name, same, gradient))
    if line is not None:
        extend.kernel(op, **how)(lambda k: k.line(line.format(x=k.ins[0], y=k.outs[0])))
    return op


def applied(op: OpDef) -> Callable[[Any], Any]:
    return lambda x: apply(op, NoAttrs(), x)


def test_the_face_says_what_its_names_are() -> None:
    assert extend.__all__ == sorted(extend.__all__, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    for name in extend.__all__:
        assert hasattr(extend, name)
        assert name in ("Gradients", "NO_GRADIENT") or (getattr(extend, name).__doc__ or "").strip(), name


class Loose(Attrs):
    size: int = 1


@dataclasses.dataclass(frozen=True)
class Firm(Attrs):
    size: int = 1


@pytest.mark.parametrize(
    ("op", "words"),
    [
        (3, "takes an OpDef, got 3"),
        (OpDef("Add", same, NO_GRADIENT), "Add is registered already"),
        (OpDef("", same, NO_GRADIENT), "letters, digits and underscores, got ''"),
        (OpDef("a b", same, NO_GRADIENT), "got 'a b'"),
        (OpDef("x\n", same, NO_GRADIENT), "got"),
        (OpDef(3, same, NO_GRADIENT), "got 3"),  # type: ignore[arg-type]
        (OpDef("Mine", None, NO_GRADIENT), "Mine: its type rule"),  # type: ignore[arg-type]
        (OpDef("Mine", same, None), "Mine: give a gradient rule, NO_GRADIENT or a decomposition"),
        (OpDef("Mine", same, 3), "Mine: its gradient is a rule"),  # type: ignore[arg-type]
        (OpDef("Mine", same, None, decompose=3), "Mine: its decomposition"),  # type: ignore[arg-type]
        (OpDef("Mine", same, NO_GRADIENT, attrs=dict), "Mine: its attributes are"),  # type: ignore[type-var]
        (OpDef("Mine", same, NO_GRADIENT, attrs=Loose), "Loose has fields that are none: decorate it"),
        (OpDef("Mine", same, NO_GRADIENT, inputs="ab"), "its inputs are a tuple"),  # type: ignore[arg-type]
        (OpDef("Mine", same, NO_GRADIENT, inputs=("a", "b"), monotone=True), "monotone is said of ops with one input"),
        (OpDef("Mine", same, NO_GRADIENT, activation=True), "an activation is element-wise"),
    ],
)
def test_definitions_that_do_not_hold_together(op: Any, words: str) -> None:
    with pytest.raises((GraphError, OptionError)) as found:
        register_op(op)
    assert words in str(found.value)


def test_one_of_ones_own_may_be_replaced() -> None:
    first = register_op(OpDef("Mine", same, NO_GRADIENT, attrs=Firm))
    with pytest.raises(GraphError, match="registered already"):
        register_op(OpDef("Mine", same, NO_GRADIENT))
    second = register_op(OpDef("Mine", same, NO_GRADIENT), replace=True)
    assert extend.find_op("Mine") is second is not first
    with pytest.raises(GraphError, match="Add is registered already"):
        register_op(OpDef("Add", same, NO_GRADIENT), replace=True)


@pytest.mark.parametrize(
    ("rule", "words"), [(lambda c: [], "0 entries for 1 inputs"), (lambda c: c.dy, "list")], ids=["short", "stray"]
)
def test_a_gradient_rule_of_the_wrong_length(rule: Any, words: str) -> None:
    op = entered("TestRule", rule)

    def f(x: Any) -> Any:
        return apply(op, NoAttrs(), x).sum()

    for function in (f, lucid.compile(f)):
        with pytest.raises(GradientError, match=f"TestRule.*{words}"):
            function(Tensor(X, requires_grad=True)).backward()


def test_a_rule_that_branches_on_a_value() -> None:
    op = entered("Branches", lambda c: [c.dy if (c.inputs[0] > 0).sum() else -c.dy])
    y = lucid.compile(applied(op))(lucid.tensor(X, requires_grad=True))
    with pytest.raises(TraceError, match=r"known when the graph runs: no branch on it.*where\(\) chooses"):
        y.sum().backward()


def test_an_op_without_a_kernel() -> None:
    op = entered("TestBare", line=None)
    for function in (applied(op), lucid.compile(applied(op))):
        with pytest.raises(GraphError, match=r"TestBare has .*lucid\.extend\.kernel"):
            function(Tensor(X))


def test_a_kernel_that_writes_nothing() -> None:
    op = entered("TestIdleKernel", line="pass")
    for function in (applied(op), lucid.compile(applied(op))):
        with pytest.raises(GraphError, match="TestIdleKernel writes no line"):
            function(Tensor(X))


def test_an_op_without_a_reference_or_with_one_that_is_wrong() -> None:
    bare, wide, wrong = entered("TestBlind"), entered("TestWide"), entered("TestWrong")
    extend.reference(wide)(lambda attrs, x: np.concatenate([x, x]))
    extend.reference(wrong)(lambda attrs, x: x + 1)
    for op, words in (
        (bare, r"TestBlind has neither .*lucid\.extend\.reference"),
        (wide, r"reference of TestWide gave results of shape \(4, 3\), its type rule says float32\[2, 3\]"),
        (wrong, "TestWrong by numpy differs from the reference by 1"),
    ):
        with pytest.raises(LucidError, match=words):
            lucid.compile(applied(op), S, verify=True)(X[:1])


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"cost": lambda *_: 1e-6}, "cannot say what it does: AttributeError"),
        ({"cost": lambda *_: Work(calls=float("nan"))}, "predicts nan s"),
        ({"cost": lambda *_: Work(far=-1e9)}, "predicts -0.1 s"),
        ({"cost": lambda *_: Work(calls="many")}, "cannot say what it does: TypeError"),  # type: ignore[arg-type]
        ({"cost": lambda *_: 1 / 0}, "ZeroDivisionError"),
        ({"ways": lambda *_: []}, "has no way to do it"),
        ({"ways": lambda *_: [3]}, "cannot say what it does"),
        ({"ways": lambda *_: [Way(Work(calls=-1))]}, "predicts -1e-06 s"),
    ],
)
def test_costs_that_are_none(how: Any, words: str) -> None:
    op = entered("TestCost", **how)
    for function in (applied(op), lucid.compile(applied(op))):
        with pytest.raises(GraphError) as found:
            function(Tensor(X))
        assert "TestCost: its lowering 'numpy'" in str(found.value)
        assert words in str(found.value)


def test_a_second_lowering_of_the_same_name() -> None:
    op = entered("TestTwice")
    with pytest.raises(GraphError, match="TestTwice has a lowering named 'numpy' already"):
        extend.kernel(op)(lambda k: None)


TAKEN = """
import lucid
from lucid import extend, nn
try:
    extend.kernel(extend.find_op({op!r}), lowering={name!r})(lambda k: None)
except lucid.errors.GraphError as error:
    print(error)
print(tuple(nn.Sequential(nn.Conv2d(2, 3, 1), nn.ReLU())(lucid.ones(1, 2, 4, 4)).shape))
"""


@pytest.mark.parametrize(("op", "name"), [("Relu", "numpy"), ("Conv2d", "im2col")])
def test_the_names_of_kernels_that_are_not_imported_yet_are_taken(op: str, name: str) -> None:
    """Where it is told in a fresh process, and the op runs as before."""
    done = subprocess.run(
        [sys.executable, "-c", TAKEN.format(op=op, name=name)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [f"{op} has a lowering named {name!r} already", "(1, 3, 4, 4)"]


def test_of_two_lowerings_the_quicker_runs() -> None:
    op = entered("TestPair", cost=lambda *_: Work(calls=2))
    extend.kernel(op, lowering="quick", cost=lambda *_: Work(calls=1))(
        lambda k: k.line(f"{k.outs[0]}[...] = {k.ins[0]}")
    )
    net = lucid.compile(applied(op), S)
    np.testing.assert_array_equal(net(X).numpy(), X)
    assert "quick" in str(net.plan)


def test_kernels_and_type_rules_that_are_wrong() -> None:
    slip = entered("TestSlip", line="np.copyto({y}, {x}")
    for function in (applied(slip), lucid.compile(applied(slip))):
        with pytest.raises(GraphError, match=r"kernel of node .* wrote what is no Python, '\(' was never closed: 'np"):
            function(Tensor(X))
    greedy = entered("TestGreedy", line="{x}[...] = 0; {y}[...] = 0")
    extend.reference(greedy)(lambda attrs, x: x * 0)
    with pytest.raises(LucidError, match=r"test_?greedy.*read-only"):
        lucid.compile(applied(greedy), S, verify=True)(X)
    assert X[0, 0] == -1
    for given, kind in ((None, "NoneType"), ([], "list"), ((S, 3), "TensorType, int")):
        odd = register_op(OpDef("TestOdd", lambda attrs, x, given=given: given, NO_GRADIENT), replace=True)
        extend.kernel(odd)(lambda k: None)
        for function in (applied(odd), lucid.compile(applied(odd))):
            with pytest.raises(GraphError, match=f"TestOdd: its type rule gave {kind}; it returns a TensorType"):
                function(Tensor(X))


def test_several_inputs_and_results() -> None:
    def infer(attrs: Attrs, a: lucid.TensorType, b: lucid.TensorType) -> tuple[lucid.TensorType, ...]:
        return (lucid.TensorType(extend.broadcast_shapes("Both", a.shape, b.shape), a.dtype),) * 2

    def gradient(c: extend.GradContext) -> extend.Gradients:
        (a, b), plus, minus = c.inputs, c.cotangent(0), c.cotangent(1)
        return [(plus + minus).sum_to(a.type.shape), (plus - minus).sum_to(b.type.shape)]

    both = register_op(OpDef("TestBoth", infer, gradient, inputs=("a", "b"), outputs=("plus", "minus")))
    extend.reference(both)(lambda attrs, a, b: (a + b, a - b))

    @extend.kernel(both)
    def run(k: extend.Emitter) -> None:
        for name, y in zip(("add", "subtract"), k.outs, strict=True):
            if y is not None:  # nobody reads it
                k.line(f"np.{name}({k.ins[0]}, {k.ins[1]}, out={y})")

    def product(a: Any, b: Any) -> Any:
        plus, minus = extend.apply_all(both, NoAttrs(), a, b)
        return plus * minus

    net = lucid.compile(product, S, lucid.spec(3), verify=True)
    a, b = lucid.as_tensor(X).requires_grad_(), lucid.ones(3, requires_grad=True)
    for function in (product, net):
        a.grad = b.grad = None
        function(a, b).sum().backward()
        np.testing.assert_allclose(a.grad.numpy(), 2 * X, rtol=1e-6)
        np.testing.assert_allclose(b.grad.numpy(), [-4, -4, -4], rtol=1e-6)
    only = lucid.compile(lambda a, b: extend.apply_all(both, NoAttrs(), a, b)[1], S, lucid.spec(3), verify=True)
    np.testing.assert_allclose(only(X, np.ones(3, np.float32)).numpy(), X - 1)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (lambda x: lucid.TensorType((-1, 3), x.dtype), "non-negative int or symbolic, got -1"),
        (lambda x: lucid.TensorType((1.5, 3), x.dtype), "non-negative int or symbolic, got 1.5"),
        (lambda x: lucid.TensorType(6, x.dtype), "a shape is a tuple, got 6"),
        (lambda x: lucid.TensorType(x.shape, "float32"), "'float32' is not a supported element type"),
        (lambda x: lucid.TensorType(x.shape, np.float32), "float32'> is not a supported element type"),
        (lambda x: (), "no type, for the results y"),
    ],
)
def test_a_type_that_no_value_can_have(given: Callable[[Any], Any], words: str) -> None:
    op = register_op(OpDef("Odd", lambda attrs, x: given(x), NO_GRADIENT))
    extend.kernel(op)(lambda k: None)
    with pytest.raises(GraphError, match=f"Odd: its type rule gave .*{words}"):
        applied(op)(lucid.tensor(X))
    with pytest.raises(GraphError, match=f"Odd: its type rule gave .*{words}"):
        lucid.compile(applied(op), S)


def test_an_error_within_a_rule_says_whose_rule_it_is() -> None:
    def noted(call: Callable[[], object], words: str) -> None:
        with pytest.raises(ZeroDivisionError) as info:
            call()
        assert words in info.value.__notes__

    x = lucid.tensor(X)
    x.requires_grad = True
    fails: Any = lambda *_: 1 // 0  # noqa: E731
    noted(lambda: applied(register_op(OpDef("Infers", fails, NO_GRADIENT)))(x), "in the type rule of Infers")
    noted(lambda: applied(entered("Derives", fails))(x).sum().backward(), "in the gradient rule of Derives")
    op = register_op(OpDef("Writes", same, NO_GRADIENT))
    extend.kernel(op)(fails)
    noted(lambda: applied(op)(x), "in the kernel of Writes")
    line = "np.copyto({y}, 1 // 0 * {x})"
    noted(lambda: applied(entered("Runs", line=line))(x), "in the kernel of Runs, whose type rule gives float32[2, 3]")
    op = entered("Defines")
    extend.reference(op)(fails)
    noted(lambda: lucid.compile(applied(op), S, verify=True)(X), "in the reference of Defines")


def test_what_is_given_in_place_of_attributes_inputs_and_ops() -> None:
    op = entered("Copies")
    for attrs in (Firm(), {"size": 1}, None):
        with pytest.raises(GraphError, match="Copies: its attributes are NoAttrs, got"):
            apply(op, attrs, lucid.tensor(X))  # type: ignore[call-overload]
    with pytest.raises(LucidError, match="none of its inputs is a tensor: there are none"):
        apply(op, NoAttrs())  # type: ignore[call-overload]
    for register in (extend.kernel, extend.reference):
        with pytest.raises(OptionError, match="takes ops, got 'Copies'"):
            register("Copies")(lambda k: None)  # type: ignore[arg-type]

    def over(k: Any) -> None:
        k.may_overwrite(0, 3)

    op = register_op(OpDef("Over", same, NO_GRADIENT))
    extend.kernel(op)(over)
    with pytest.raises(GraphError, match="the kernel of Over lets output 0 overwrite 3, of 1 outputs and 1 inputs"):
        applied(op)(lucid.tensor(X))
