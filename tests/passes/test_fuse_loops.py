"""Element-wise nodes that several read become loops with the sums of them; what must run in between is not taken in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import lucid
from lucid import nn, optim
from lucid.errors import LucidError
from lucid.graph.ir import Graph
from lucid.graph.opdef import NoAttrs, apply
from lucid.graph.ops.fused import FUSED_LOOP, Instruction, LoopAttrs, Result
from lucid.graph.ops.norm import layer_norm, standardize
from lucid.graph.ops.reduce import ReduceAttrs
from lucid.graph.types import TensorType, float32, spec
from lucid.passes.eliminate_common import eliminate_common
from lucid.passes.expand_standardize import expand_standardize
from lucid.passes.fuse.loops import LoopOptions, fuse_loops
from lucid.passes.pipeline import step_pipeline
from lucid.passes.recompute_cheap import recompute_cheap
from lucid.passes.rewrite import noted
from lucid.runtime.eager import evaluate
from lucid.runtime.program.plan import make_plan

from .helpers import assert_same, ops, trace


def attrs_of(graph: Graph) -> list[LoopAttrs]:
    return [node.attrs for _, node in graph.nodes() if isinstance(node.attrs, LoopAttrs)]


# ---------------------------------------------------------------- loops


def test_what_several_read_is_computed_once_with_all_its_sums() -> None:
    def gradient(g: Any, x: Any) -> Any:
        masked = g.relu()
        return masked, masked.sum((0, 2)), (masked * x).sum((0, 2))

    before = trace(gradient, (4, 3, 5), (4, 3, 5))
    after = fuse_loops(before)
    assert ops(after) == ["FusedLoop"]
    (loop,) = attrs_of(after)
    assert [result.op for result in loop.results] == ["", "Sum", "Sum"]
    assert_same(before, after)


def test_sums_of_the_same_value_join() -> None:
    before = trace(lambda x: ((y := x.matmul(x)).sum(0), y.mean(1)), (4, 4))
    after = fuse_loops(before)
    assert ops(after) == ["MatMul", "FusedLoop"]
    assert_same(before, after)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: (e := x.exp()) * e.sum(0, keepdim=True),
        lambda x: (e := x.exp()) + e.matmul(x),
        lambda x: (e := x.exp()) * (e.sum() + 1),
    ],
    ids=["a sum", "a product", "what is made of a sum"],
)
def test_what_must_run_in_between_keeps_two_apart(function: Any) -> None:
    before = trace(function, (4, 4))
    with noted() as said:
        after = fuse_loops(before)
    assert_same(before, after)
    assert any("stay apart" in one.reason for one in said)
    names = [node.op.name for _, node in after.nodes()]
    assert names.count("Mul") + names.count("Add") >= 1


def test_paths_through_a_loop_that_was_made_before_count() -> None:
    """Two chains that read each other's sums: either may become a loop, and not both one."""

    def both(x: Any, y: Any) -> Any:
        a, b = x.exp(), y.exp()
        c, d = a * b.sum(0, keepdim=True), b * a.sum(0, keepdim=True)
        return c.sum(1), d.sum(1), a, b

    before = trace(both, (4, 3), (4, 3))
    assert_same(before, fuse_loops(before))


def test_limits() -> None:
    def chain(x: Any) -> Any:
        made = [x]
        for _ in range(6):
            made.append(made[-1].sin())
        return made[1:]

    before = trace(chain, (3,))
    assert ops(fuse_loops(before)) == ["FusedLoop"]
    assert ops(fuse_loops(before, LoopOptions(ops=3))) == ["FusedLoop"] * 2
    assert ops(fuse_loops(before, LoopOptions(operands=4))) == ["FusedLoop"] * 2
    assert_same(before, fuse_loops(before, LoopOptions(ops=3)))


def test_symbolic_sizes() -> None:
    before = trace(lambda x: ((y := x * 2), y.sum(0)), spec("N", 4))
    after = fuse_loops(before)
    assert ops(after) == ["FusedLoop"]
    assert_same(before.bind({"N": 3}), after.bind({"N": 3}))


_SUM = ReduceAttrs((0,))


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ((), "there is none"),
        ((Result(5),), "of no value"),
        ((Result(0),), "none of those that it is given"),
        ((Result(2), Result(2)), "gives a value once"),
        ((Result(2, "Exp"),), "by Sum or Mean"),
        ((Result(2, "Sum", ReduceAttrs((4,))),), "axes"),
        ((Result(2), Result(1, "Sum", _SUM)), "one loop has one"),
    ],
)
def test_a_broken_loop_is_refused(results: tuple[Result, ...], message: str) -> None:
    program = (Instruction("Add", NoAttrs(), (0, 1)), Instruction("Exp", NoAttrs(), (2,)))
    with pytest.raises(LucidError, match=message):
        FUSED_LOOP.infer_types(LoopAttrs(2, program, results), [TensorType((3,), float32), TensorType((1,), float32)])


def test_only_whole_results_are_written_over_inputs() -> None:
    """A sum over an axis of size 1 is as large as what is added up, which is still read when it is there."""
    results = (Result(1, "Sum", ReduceAttrs((0,), True)), Result(2))
    attrs = LoopAttrs(1, (Instruction("Exp", NoAttrs(), (0,)), Instruction("Mul", NoAttrs(), (1, 0))), results)
    graph = trace(lambda x: apply(FUSED_LOOP, attrs, x.sin()), (1, 6))
    step = next(step for step in make_plan(graph).steps if step.node.op is FUSED_LOOP)
    assert {output for output, _ in step.overwritable} == {1}


# ---------------------------------------------------------------- what makes loops of statistics


def test_standardisation_is_taken_apart() -> None:
    before = trace(lambda x: standardize(x, (0, 2), 1e-5, 2), (4, 3, 5))
    after = expand_standardize(before)
    assert "Standardize" not in ops(after)
    assert_same(before, after, rtol=1e-5, atol=1e-6)


def test_standardisation_over_no_axes_is_taken_apart() -> None:
    """Each element is its own mean, as of scalars in rows."""
    before = trace(lambda x: standardize(x, (), 1e-5), (4,))
    after = expand_standardize(before)
    assert "Standardize" not in ops(after)
    assert_same(before, after)


def test_layer_normalisation_is_taken_apart_with_its_gradient() -> None:
    """So that both read one mean and one variance."""
    before = trace(lambda x, w, b: (layer_norm(x, 5, w, b), standardize(x, (2,), 1e-5)[1]), (4, 3, 5), w=(5,), b=(5,))
    after = eliminate_common(expand_standardize(before))
    assert {"LayerNorm", "Standardize"}.isdisjoint(ops(after))
    assert ops(after).count("Mean") == 2
    assert_same(before, after, rtol=1e-5, atol=1e-6)


def test_standardisation_of_sizes_that_may_be_too_small_stays() -> None:
    before = trace(lambda x: standardize(x, (0,), 1e-5, 2)[0], spec("N", 3))
    assert expand_standardize(before) is before
    large = trace(lambda x: standardize(x, (0, 2), 1e-5, 2)[0], spec("N", 3, 4))
    assert "Standardize" not in ops(expand_standardize(large))


def test_a_step_that_is_to_be_exact_leaves_sums_as_they_are() -> None:
    def names(exact: bool) -> list[str]:
        return [one.name for one in step_pipeline(evaluate, lambda node: True, exact=exact)]

    assert {"expand_standardize", "move_factors", "combine_terms"} <= set(names(False))
    assert {"expand_standardize", "move_factors", "combine_terms"}.isdisjoint(names(True))


def test_what_is_cheap_is_computed_anew_for_each_reader() -> None:
    before = trace(lambda x, m: ((c := x - m).exp(), (c * c).sum(0)), (4, 3), m=(3,))
    after = recompute_cheap(before)
    assert ops(after).count("Sub") == 2
    assert_same(before, after)


def test_what_reads_a_node_whose_name_a_copy_took_still_reads_that_node() -> None:
    before = trace(lambda x, m: ((c := x - m).exp() - c * c).sin(), (4, 3), m=(3,))
    assert {"sub", "sub_1"} <= set(before.dag)  # the second copy of sub is called sub_1
    assert_same(before, recompute_cheap(before))


def test_a_step_by_the_huber_loss_of_two_numbers_goes_the_way_of_the_gradient() -> None:
    # the 0.5 of the loss and that of the mean are one, and the gradient reads what the loss does
    model = nn.Linear(1, 2)
    with lucid.no_grad():
        model.weight.zero_()
        model.bias.zero_()
    step = lucid.compile_step(model, nn.HuberLoss(), optim.SGD(model.parameters(), lr=1.0))
    step(np.ones((1, 1), np.float32), np.array([[-0.25, 3]], np.float32))
    assert_array_equal(model.bias.numpy(), [-0.125, 0.5])


@pytest.mark.parametrize(
    "function",
    [
        lambda x, y: ((c := x - y).exp(), c.sin()),
        lambda x, y: ((c := x * 2).exp(), c.matmul(y)),
        lambda x, y: ((c := x * 2).exp(), c.sin(), c),
        lambda x, y: ((c := x.exp()).sin(), c.cos()),
    ],
    ids=["two arrays", "another reader", "a result", "dear"],
)
def test_what_saves_nothing_or_costs_more_is_computed_once(function: Any) -> None:
    before = trace(function, (4, 4), (4, 4))
    assert recompute_cheap(before) is before
