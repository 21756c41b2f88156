"""Recurrent layers: LSTM, GRU and the plain one. A layer, in one direction or in both, is one node; so is its gradient.

Each gives its states at all times (T, D, N, H), then the last ones, and what its gradient needs: the gates
(T, D, gates, N, H), or where their slopes do not follow from them (:attr:`.RecurrentAttrs.raw`) what went into them
before that was clipped; and of LSTM the cells (T, D, N, H).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ...errors import ShapeError
from ..batching import Batch, Outputs, apply_merged
from ..opdef import AbstractTensor, GradContext, Gradients, OpDef, apply_all, find_op, register
from ..types import TensorType, format_shape
from .recurrent_steps import gru_gradients, lstm_gradients, rnn_gradients
from .recurrent_types import GRUAttrs, LSTMAttrs, RecurrentAttrs, RNNAttrs, check_attrs, check_operands

LSTM_GATES, GRU_GATES, RNN_GATES = 4, 3, 1
_Types = tuple[TensorType, ...]


def _infer(op: str, gates: int, functions: int, states: int) -> Callable[..., _Types]:
    def infer(attrs: RecurrentAttrs, *operands: TensorType) -> _Types:
        check_attrs(op, attrs, functions)
        hidden, x = check_operands(op, attrs, gates, operands), operands[0]
        directions = len(attrs.backwards)
        every = x.with_shape((x.shape[0], directions, x.shape[1], hidden))
        last = x.with_shape((directions, x.shape[1], hidden))
        seen = x.with_shape((x.shape[0], directions, gates, x.shape[1], hidden))
        return every, *[last] * states, seen, *[every] * (states - 1)

    return infer


def _grad_infer(op: str, forward: Callable[..., _Types], states: int) -> Callable[..., _Types]:
    """Of operands, then the results that are read (the states at all times, and what is kept), then the cotangents."""

    def infer(attrs: RecurrentAttrs, *given: TensorType) -> _Types:
        cut = len(given) - 2 * states - 2
        operands, results = given[: max(cut, 0)], given[max(cut, 0) :]
        if len(operands) < 4:
            raise ShapeError(f"{op}: takes a layer's operands, results and cotangents, got {len(given)}")
        y, *more = forward(attrs, *operands)
        expected = (y, *more[states:], y, *more[:states])
        for wanted, one in zip(expected, results, strict=True):
            if not wanted.same_value(one):
                raise ShapeError(f"{op}: needs a {wanted.dtype.name} of {format_shape(wanted.shape)}, got {one}")
        return tuple(one.with_shape(one.shape) for one in operands[: len(operands) - attrs.lengths])

    return infer


def _gradient(name: str, states: int) -> Callable[[GradContext], Gradients]:
    def gradient(c: GradContext) -> Gradients:
        kept = (c.outputs[0], *c.outputs[1 + states :])
        cotangents = [c.cotangent(i) for i in range(1 + states)]
        attrs = replace(c.attrs, rounded=False) if isinstance(c.attrs, LSTMAttrs) else c.attrs
        found = apply_all(find_op(name), attrs, *c.inputs, *kept, *cotangents)
        return [*found, *[None] * (len(c.inputs) - len(found))]

    return gradient


def _batch(batch: Batch[RecurrentAttrs]) -> Outputs | None:
    """One larger batch, of rows that share their weights."""
    if isinstance(batch.attrs, LSTMAttrs) and batch.attrs.rounded:  # by the range of each batch
        return None
    states = 2 if isinstance(batch.attrs, LSTMAttrs) else 1
    tables = len(batch.inputs) - 4 - states - batch.attrs.lengths
    inputs = (1, None, None, None, *(1,) * states, *(None,) * tables, *(0,) * batch.attrs.lengths)
    return apply_merged(batch, inputs, (2, *(1,) * states, 3, *(2,) * (states - 1)))


_lstm_infer, _gru_infer, _rnn_infer = (
    _infer("LSTM", LSTM_GATES, 3, 2), _infer("GRU", GRU_GATES, 2, 1), _infer("RNN", RNN_GATES, 1, 1),
)  # fmt: skip
_OPERANDS = ("x", "weight", "recurrent", "bias", "h")

LSTM = register(
    OpDef(
        "LSTM", _lstm_infer, _gradient("LSTMGrad", 2), attrs=LSTMAttrs, inputs=(*_OPERANDS, "c", "*more"),
        outputs=("y", "h", "c", "gates", "cells"), batch=_batch, conventional=lambda attrs: attrs.rounded, kept=2,
        family="linear",
    )
)  # fmt: skip
GRU = register(
    OpDef(
        "GRU", _gru_infer, _gradient("GRUGrad", 1), attrs=GRUAttrs, inputs=(*_OPERANDS, "*more"),
        outputs=("y", "h", "gates"), batch=_batch, kept=1, family="linear",
    )
)  # fmt: skip
RNN = register(
    OpDef(
        "RNN", _rnn_infer, _gradient("RNNGrad", 1), attrs=RNNAttrs, inputs=(*_OPERANDS, "*more"),
        outputs=("y", "h", "gates"), batch=_batch, kept=1, family="linear",
    )
)  # fmt: skip
#: Gradients of the operands, lengths aside. Defined time by time, by which they have gradients of their own.
LSTM_GRAD = register(
    OpDef(
        "LSTMGrad", _grad_infer("LSTMGrad", _lstm_infer, 2), None, lstm_gradients, attrs=LSTMAttrs,
        inputs=(*_OPERANDS, "c", "*more"), outputs=None, family="gradient",
    )
)  # fmt: skip
GRU_GRAD = register(
    OpDef(
        "GRUGrad", _grad_infer("GRUGrad", _gru_infer, 1), None, gru_gradients, attrs=GRUAttrs,
        inputs=(*_OPERANDS, "*more"), outputs=None, family="gradient",
    )
)  # fmt: skip
RNN_GRAD = register(
    OpDef(
        "RNNGrad", _grad_infer("RNNGrad", _rnn_infer, 1), None, rnn_gradients, attrs=RNNAttrs,
        inputs=(*_OPERANDS, "*more"), outputs=None, family="gradient",
    )
)  # fmt: skip


def lstm(attrs: LSTMAttrs, *operands: AbstractTensor) -> Sequence[AbstractTensor]:
    """The states at all times, and the last states and cells; see :mod:`.recurrent_types` for the operands."""
    return apply_all(LSTM, attrs, *operands)[:3]


def gru(attrs: GRUAttrs, *operands: AbstractTensor) -> Sequence[AbstractTensor]:
    """The states at all times, and the last ones."""
    return apply_all(GRU, attrs, *operands)[:2]


def rnn(attrs: RNNAttrs, *operands: AbstractTensor) -> Sequence[AbstractTensor]:
    """The states at all times, and the last ones."""
    return apply_all(RNN, attrs, *operands)[:2]
