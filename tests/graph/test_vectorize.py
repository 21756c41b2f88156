"""Every op on a batch of drawn operands, against the reference on one row after another."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from lucid.autodiff.reverse import differentiate
from lucid.errors import GradientError, LucidError
from lucid.graph.assume import assuming
from lucid.graph.builder import Builder
from lucid.graph.dims import Dim, symbol
from lucid.graph.ir import Graph
from lucid.graph.opdef import OpDef, all_ops, apply_all
from lucid.graph.ops.random import KEY
from lucid.graph.region import Region
from lucid.graph.trace import Tracer
from lucid.graph.types import TensorType, is_float
from lucid.graph.vectorize import Vectorizer, depends
from lucid.reference.evaluator import evaluate_reference, run_reference

from ..draws.arrays import Drawn, subset_of
from ..op_checks import assert_all_close, float_outputs, projection_seeds, run_compiled, trace, types_of
from ..tensor.test_drawn_shapes import DRAWS

Array: TypeAlias = "np.ndarray[Any, Any]"

ROUNDS, EXAMPLES = 1, 8

#: What has no operands, or of them only a random key; and what has a result of a size that data decides.
WITHOUT = {"Full", "RandomUniform", "RandomNormal", "Found"}
OPS = [op for op in DRAWS if op.name not in WITHOUT]

#: Ops that take a random key, which is never a batch of its own.
KEYED = {"Dropout", "Attention", "AttentionGrad"}

#: Ops without a rule, of which a batch is a loop of one node. The last four stand in no function that is mapped.
LOOPS = {"NonZero", "Unique", "NonMaxSuppression", "Call", "Found", "AllReduceBegin", "AllReduceEnd"}


def test_ops_without_a_rule_are_known() -> None:
    without = {op.name for op in all_ops() if not (op.batch or op.elementwise or op.decompose or not op.inputs)}
    assert without == LOOPS


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_a_batch_is_as_its_rows(op: OpDef) -> None:
    for number in range(ROUNDS):
        run_round(op, number)


def run_round(op: OpDef, number: int) -> None:
    seed(zlib.crc32(f"{op.name} {number} in batches".encode()))(run_examples)(op=op)


@given(data=st.data())
@settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
def run_examples(op: OpDef, data: st.DataObject) -> None:
    drawn = data.draw(DRAWS[op], op.name)
    count = data.draw(st.sampled_from((2, 3, 1, 0)), "rows")
    batched, chosen = draw_batched(op, drawn, data)
    rows = rows_of(op, drawn, batched, count)
    expected = [run(op, drawn, row) for row in rows]
    given = stacked(drawn, batched, rows)
    graph = batch_of(op, drawn, batched, symbol("N") if data.draw(st.booleans(), "symbolic") else count)
    bound = graph.bind({"N": count}) if graph.symbols else graph
    for results in run_compiled(bound, given)[:1]:
        wanted = [np.stack(found) for found in zip(*expected, strict=True)]
        if not rows:
            wanted = [np.zeros((0, *y.shape), y.dtype) for y in run(op, drawn, drawn.arrays)]
        assert_all_close(results, wanted, f"{op.name}, batched {chosen}")


def draw_batched(op: OpDef, drawn: Drawn, data: st.DataObject) -> tuple[list[bool], Sequence[int]]:
    """Which operands differ from row to row: for each, and their numbers."""
    able = [i for i, type_ in enumerate(types_of(drawn.arrays)) if type_ != KEY or op.name not in KEYED]
    chosen = data.draw(subset_of(able), "batched")
    return [i in chosen for i in range(len(drawn.arrays))], chosen


def stacked(drawn: Drawn, batched: Sequence[bool], rows: Sequence[Sequence[Array]]) -> list[Array]:
    """The operands of all rows."""
    return [
        np.stack([row[i] for row in rows]) if one and rows else x[None][:0] if one else x
        for i, (x, one) in enumerate(zip(drawn.arrays, batched, strict=True))
    ]


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_gradients_of_a_batch_are_as_those_of_its_rows(op: OpDef) -> None:
    seed(zlib.crc32(f"{op.name} gradients in batches".encode()))(run_gradients)(op=op)


@given(data=st.data())
@settings(
    max_examples=EXAMPLES // 2, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
def run_gradients(op: OpDef, data: st.DataObject) -> None:
    """The gradient of what is the same for all rows is the sum of theirs."""
    drawn = data.draw(DRAWS[op], op.name)
    count = data.draw(st.integers(1, 3), "rows")
    batched, chosen = draw_batched(op, drawn, data)
    rows = rows_of(op, drawn, batched, count)
    floats = [i for i, type_ in enumerate(types_of(drawn.arrays)) if is_float(type_.dtype)]
    alone, together = row_of(op, drawn).graph, batch_of(op, drawn, batched, count)
    try:
        row_joint = differentiate(alone, [alone.inputs[i] for i in floats])
    except GradientError:  # by its rule
        return
    joint = differentiate(together, [together.inputs[i] for i in floats])
    cotangents = [
        y.astype(together.type(v).dtype)
        for v, y in zip(float_outputs(together), projection_seeds(together), strict=True)
    ]
    with np.errstate(all="ignore"):
        each = [
            evaluate_reference(row_joint.graph, [*row, *(y[n] for y in cotangents)])[row_joint.forward_outputs :]
            for n, row in enumerate(rows)
        ]
        found = evaluate_reference(joint.graph, [*stacked(drawn, batched, rows), *cotangents])[joint.forward_outputs :]
        wanted = [
            np.stack(one) if batched[i] else np.sum(one, 0, one[0].dtype)
            for i, one in zip(floats, zip(*each, strict=True), strict=True)
        ]
    sums = [not batched[i] for i in floats]  # where inf and NaN come from depends on the order
    found, wanted = (
        [_or_nan(x) if of_all else x for x, of_all in zip(some, sums, strict=True)] for some in (found, wanted)
    )
    assert_all_close(found, wanted, f"the gradients of {op.name}, batched {chosen}")


def _or_nan(x: Array) -> Array:
    return np.where(np.isfinite(x), x, np.nan).astype(x.dtype)


def run(op: OpDef, drawn: Drawn, row: Sequence[Array]) -> Sequence[Array]:
    with np.errstate(all="ignore"):
        return run_reference(op, drawn.attrs, row)


def rows_of(op: OpDef, drawn: Drawn, batched: Sequence[bool], count: int) -> list[list[Array]]:
    """The drawn operands, and others of the same numbers where the op takes these."""
    rows = []
    for number in range(count):
        varied = _varied(op, drawn.arrays, number)
        row = [new if one else x for x, new, one in zip(drawn.arrays, varied, batched, strict=True)]
        try:
            run(op, drawn, row)
        except (LucidError, np.linalg.LinAlgError, IndexError, ValueError):
            row = list(drawn.arrays)
        rows.append(row)
    return rows


def _varied(op: OpDef, arrays: Sequence[Array], number: int) -> list[Array]:
    if op.name == "Cholesky":  # whose matrices remain what they are
        return [x * (number + 1.0) for x in arrays]
    kept = len(arrays) - 1 if op.name == "AttentionGrad" else 0  # results, which belong to their operands
    return [*arrays[:kept], *(_others(x, number) for x in arrays[kept:])]


def _others(x: Array, number: int) -> Array:
    """The same numbers in another order; of integers, which may be places in an image, along the first axis."""
    return np.roll(x, 7 * number, None if x.dtype.kind == "f" or not x.ndim else 0)


def row_of(op: OpDef, drawn: Drawn) -> Region:
    """The op alone."""
    return Region(trace(lambda *xs: apply_all(op, drawn.attrs, *xs), types_of(drawn.arrays)))


def batch_of(op: OpDef, drawn: Drawn, batched: Sequence[bool], size: Dim) -> Graph:
    """The graph of the op for batches of those operands."""
    types, region = types_of(drawn.arrays), row_of(op, drawn)
    tracer = Tracer(Builder())
    given = [
        tracer.input(TensorType((size, *t.shape), t.dtype) if one else t, f"x{i}")
        for i, (t, one) in enumerate(zip(types, batched, strict=True))
    ]
    with assuming({}):
        found: Any = Vectorizer(tracer, size).run(region, given, batched)
    assert all(depends(region, batched))
    return tracer.builder.finish([y.value for y in found])
