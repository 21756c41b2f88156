"""Every op as a file: what the package finds right, and what comes of it when it is read again, on drawn operands."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

import lucid
from lucid.formats.onnx.write import file
from lucid.formats.onnx.write.draft import Draft
from lucid.formats.onnx.write.graph import Fault, Writer
from lucid.formats.onnx.write.reasons import REASONS
from lucid.formats.onnx.write.registry import find
from lucid.formats.onnx.write.versions import NEWEST, OLDEST, USUAL
from lucid.graph.opdef import OpDef, all_ops, apply
from lucid.graph.ops.pool import MAX_POOL
from lucid.reference.evaluator import run_reference

from ..draws.arrays import Drawn
from ..op_checks import assert_all_close, trace, types_of
from ..tensor.test_drawn_shapes import DRAWS, EXACT

Array = np.ndarray[Any, Any]

EXAMPLES = 8
MORE = {"Pad": 24, "Resize": 24, "MaxPool2d": 24}
"""Of ops that do several things."""

#: Ops of which some uses cannot be written, and a part of the reason; of all others every use can.
SOME: dict[str, str] = {
    "Attention": "draws random numbers",
    "AttentionGrad": "key is given",
    "Dropout": "key is given",
    "RandomUniform": "key is given",
    "RandomNormal": "key is given",
    **dict.fromkeys(("And", "Or", "Not", "Pad", "RoundTo"), "since version"),
    "Unique": "all NaN for the same",
    "NonMaxSuppression": "float32 only",
    "LSTM": "none of float32|rounded",
    "GRU": "none of float32",
    "RNN": "none of float32",
    "Resize": "no mean over areas|no more|no scale makes|since version",
    "MaxPool2d": "no maximum over windows|padding competes",
    "AvgPool2dGrad": "different counts",
    "AdaptiveAvgPool2dGrad": "of several sizes",
}

#: What the package's own evaluator, which is a third opinion, does not do as the format has it, or not at all.
UNSOUND: dict[str, str] = {
    **dict.fromkeys(("Erf", "Gelu", "HardSwish"), "float64 as float32"),
    **dict.fromkeys(("FusedElementwise", "FusedLoop", "FusedLinear", "ConvPool2d"), "these"),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), "few activations, no lengths"),
    **dict.fromkeys(("MaxPool2d", "AvgPool2d"), "infinities and NaN"),
    **dict.fromkeys(("ConvTranspose2d", "Conv2dGradInput"), "groups"),
    **dict.fromkeys(("Sign", "LogSumExp"), "NaN, and nothing but infinities"),
    "AdaptiveAvgPool2d": "empty batches",
    "Pow": "negative powers of integers",
    "Scan": "other axes and directions",
    "Unique": "an axis, and NaN",
    "NonMaxSuppression": "a threshold that is a scalar",
    "GatherElements": "an index that is smaller",
    "Resize": "conventions",
}

#: Of these no drawn use can be written, and other tests have those that can.
ELSEWHERE = {"RandomUniform", "RandomNormal", "Dropout"}


def test_every_op_is_written_or_says_why_not() -> None:
    unwritten = {op.name for op in all_ops() if find(op) is None and op.decompose is None and op.source is None}
    assert unwritten == set(REASONS)


@pytest.mark.parametrize("op", [op for op in DRAWS if op.name not in REASONS], ids=lambda op: op.name)
def test_it_comes_back(op: OpDef) -> None:
    reasons: list[str] = []
    count = 0

    @seed(zlib.crc32(op.name.encode()))
    @given(data=st.data())
    @settings(
        max_examples=MORE.get(op.name, EXAMPLES),
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def run(data: st.DataObject) -> None:
        nonlocal count
        drawn = data.draw(DRAWS[op], op.name)
        opset = data.draw(st.sampled_from((USUAL, USUAL, OLDEST, NEWEST)), "opset")
        some = [0] if op is MAX_POOL and data.draw(st.booleans(), "maxima alone") else None
        draft, kept, faults = written(op, drawn, opset, some)
        reasons.extend(fault.reason for fault in faults)
        if not faults:
            count += 1
            check(op, drawn, draft, kept)

    run()
    assert bool(count) is (op.name not in ELSEWHERE)
    pattern = SOME.get(op.name)
    for reason in reasons:
        assert pattern is not None, reason
        assert any(part in reason for part in pattern.split("|")), reason


def written(
    op: OpDef, drawn: Drawn, opset: int, some: Sequence[int] | None
) -> tuple[Draft, Sequence[int], Sequence[Fault]]:
    """A file of one node, and which of its results it gives: not those that are for a gradient alone."""
    arrays = list(drawn.arrays)
    count = len(op.infer_types(drawn.attrs, types_of(arrays)))
    kept = list(some or range(count))
    while True:
        graph = trace(partial(pick, op, drawn, kept), types_of(arrays or [np.zeros((), np.float32)]))
        writer = Writer(Draft(opset), {})
        writer.whole(graph, graph.inputs, [f"y{number}" for number in range(len(kept))])
        missing = {place for place, item in zip(kept, writer.made, strict=True) if item is None}
        if writer.faults or not missing:
            return writer.draft, kept, writer.faults
        assert min(missing) >= count - op.kept
        kept = [place for place in kept if place not in missing]


def pick(op: OpDef, drawn: Drawn, kept: Sequence[int], *xs: Any) -> tuple[Any, ...]:
    results = apply(op, drawn.attrs, *xs) if drawn.arrays else apply(op, drawn.attrs, like=xs[0])
    every = results if isinstance(results, tuple) else (results,)
    return tuple(every[place] for place in kept)


def check(op: OpDef, drawn: Drawn, draft: Draft, kept: Sequence[int]) -> None:
    """The file is right, and what reads it computes what the op does: here bit for bit where that does not round."""
    proto = file.message(draft, {})
    onnx.checker.check_model(proto, full_check=True)
    with np.errstate(all="ignore"):
        expected = run_reference(op, drawn.attrs, drawn.arrays)
        given = drawn.arrays or [np.zeros((), np.float32)]
        found = lucid.onnx.load(proto)(*given)
    results = [one.numpy() for one in (found if isinstance(found, tuple) else (found,))]
    wanted = [expected[place] for place in kept]
    theirs = wanted if op.name in UNSOUND else evaluated(proto, given)
    for who, each in (("lucid", results), ("onnx", theirs)):
        assert [(one.shape, one.dtype) for one in each] == [(one.shape, one.dtype) for one in wanted]
        assert_all_close(each, wanted, f"{op.name} by {who}")
    if op in EXACT:
        for one, other in zip(results, wanted, strict=True):
            np.testing.assert_array_equal(one, other)


def evaluated(proto: onnx.ModelProto, given: Sequence[Array]) -> list[Array]:
    """What the package's own evaluator computes."""
    evaluator = ReferenceEvaluator(proto)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the mean of nothing
        return [*map(np.asarray, evaluator.run(None, dict(zip(evaluator.input_names, given, strict=True))))]
