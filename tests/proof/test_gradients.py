"""The check of gradient rules agrees with every rule there is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lucid import linalg
from lucid.autodiff.reverse import differentiate
from lucid.graph.opdef import all_ops
from lucid.nn import functional as F
from lucid.proof import check_gradients

from ..op_checks import all_cases, inputs_of, trace, types_of

ROWS, INDICES = np.ones((3, 2), np.float32), np.array([1, 2])

EVERY = 8
"""One in so many cases is tried: of each op there are many."""


KEEPING = ("attention-matrices", "ctc_loss-one", "gru-one-of-one", "lstm-one-of-one", "rnn-one-of-one")
"""Rows of the ops that keep something for their gradients."""


@pytest.mark.parametrize("part", range(4))
def test_no_rule_is_blamed(part: int, tmp_path: Path) -> None:
    for case in all_cases()[part :: 4 * EVERY]:
        arrays = inputs_of(case, "float32")
        check_gradients(trace(case.function, types_of(arrays)), {}, folder=tmp_path, inputs=arrays)


def test_numbers_of_a_rule_that_gives_no_slope_are_not_looked_at(tmp_path: Path) -> None:
    """What a padding row is given by convention is 0, and the slope is not."""
    graph = trace(lambda w, i: F.embedding(i, w, padding_idx=1), types_of([ROWS, INDICES]))
    check_gradients(graph, {}, folder=tmp_path, inputs=[ROWS, INDICES])


def test_what_an_op_keeps_for_its_gradient_has_no_slope(tmp_path: Path) -> None:
    """In a training step forward and backward run are one graph, in which it is read."""
    kept = set()
    for case in all_cases():
        if case.name in KEEPING:
            arrays = inputs_of(case, "float32")
            graph = trace(case.function, types_of(arrays))
            kept |= {node.op for _, node in graph.nodes() if node.op.kept}
            floats = [name for name, x in zip(graph.inputs, arrays, strict=True) if x.dtype.kind == "f"]
            joint = differentiate(graph, floats).graph
            seeds = [np.ones(t.concrete, t.dtype) for t in joint.input_types[len(arrays) :]]
            check_gradients(joint, {}, folder=tmp_path, inputs=[*arrays, *seeds])
    assert kept == {op for op in all_ops() if op.kept}


def test_a_rule_that_has_no_gradient_of_such_shapes_is_not_blamed() -> None:
    graph = trace(lambda a: linalg.qr(a, mode="complete"), types_of([ROWS]))
    check_gradients(graph, {}, inputs=[ROWS])
