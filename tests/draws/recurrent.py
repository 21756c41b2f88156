"""Recurrent layers and their gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from lucid.graph.opdef import OpDef
from lucid.graph.ops import recurrent as ops
from lucid.graph.ops.recurrent_types import (
    ACTIVATIONS,
    DIRECTIONS,
    Activation,
    GRUAttrs,
    LSTMAttrs,
    RecurrentAttrs,
    RNNAttrs,
)
from lucid.reference.evaluator import run_reference

from .arrays import GENERATORS, Array, Draw, Drawn, Shape, Strategy, between, dtypes

_SIZES = st.integers(1, 4)
_OR_NONE = st.sampled_from((1, 2, 3, 1, 2, 3, 1, 2, 3, 0))
_OWN: dict[OpDef, tuple[type[RecurrentAttrs], int, int]] = {
    ops.LSTM: (LSTMAttrs, ops.LSTM_GATES, 2), ops.GRU: (GRUAttrs, ops.GRU_GATES, 1),
    ops.RNN: (RNNAttrs, ops.RNN_GATES, 1),
}  # fmt: skip
"""Of each layer its attributes, how many gates it has, and how many states."""


@st.composite
def _activation(draw: Draw) -> Activation:
    """Numbers that are not what is taken where none are given."""
    name = draw(st.sampled_from(tuple(ACTIVATIONS)))
    alpha, beta = ACTIVATIONS[name]
    return Activation(name, alpha and alpha * 0.7, beta and beta * 0.8)


@st.composite
def _attrs(draw: Draw, kind: type[RecurrentAttrs]) -> RecurrentAttrs:
    """Often the usual activations. What an LSTM rounds a hair may send to the next step, so none does."""
    direction = draw(st.sampled_from(tuple(DIRECTIONS)))
    usual = kind.activations
    count = len(usual) * len(DIRECTIONS[direction])
    own = st.lists(_activation(), min_size=count, max_size=count).map(tuple)
    activations = draw(st.just(usual * len(DIRECTIONS[direction])) | own)
    given: dict[str, Any] = {"clip": draw(st.sampled_from((None, None, 0.4))), "lengths": draw(st.booleans())}
    option = {LSTMAttrs: "peepholes", GRUAttrs: "linear_before_reset"}.get(kind)
    if option is not None:
        given[option] = draw(st.booleans())
    return kind(activations, direction, **given)


@st.composite
def _layer(draw: Draw, op: OpDef) -> Drawn:
    """Times and batches may be none, and a sequence as short as that."""
    kind, gates, states = _OWN[op]
    a = draw(_attrs(kind))
    times, batch, features, hidden = draw(_OR_NONE), draw(_OR_NONE), draw(_SIZES), draw(_SIZES)
    directions, dtype = len(a.backwards), draw(dtypes())
    shapes: list[Shape] = [
        (times, batch, features), (directions, gates * hidden, features), (directions, gates * hidden, hidden),
        (directions, 2 * gates * hidden), *[(directions, batch, hidden)] * states,
    ]  # fmt: skip
    if isinstance(a, LSTMAttrs) and a.peepholes:
        shapes.append((directions, 3 * hidden))
    arrays = [draw(between(shape, dtype, -1.0, 1.0)) for shape in shapes]
    if a.lengths:
        kind_of = draw(st.sampled_from(("int32", "int64")))
        arrays.append(np.asarray(draw(GENERATORS).integers(0, times + 1, batch), kind_of))
    return Drawn(a, tuple(arrays))


@st.composite
def _gradient(draw: Draw, op: OpDef) -> Drawn:
    """A layer's operands, what it kept, and gradients of what it gave."""
    drawn = draw(_layer(op))
    states = _OWN[op][2]
    y, *rest = run_reference(op, drawn.attrs, drawn.arrays)
    given: list[Array] = [y, *rest[:states]]
    cotangents = (draw(between(one.shape, one.dtype.name, -1.0, 1.0)) for one in given)
    return Drawn(drawn.attrs, (*drawn.arrays, y, *rest[states:], *cotangents))


DRAWS: dict[OpDef, Strategy] = {
    **{op: _layer(op) for op in _OWN},
    ops.LSTM_GRAD: _gradient(ops.LSTM),
    ops.GRU_GRAD: _gradient(ops.GRU),
    ops.RNN_GRAD: _gradient(ops.RNN),
}
