"""Recurrent layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypedDict

from ....errors import GraphError
from ....graph.dims import Dim
from ....graph.opdef import AbstractTensor
from ....graph.ops import recurrent as ops
from ....graph.ops.recurrent_types import ACTIVATIONS, DIRECTIONS, Activation, GRUAttrs, LSTMAttrs, RNNAttrs
from ....graph.ops.shape import concat, permute
from ....graph.ops.slices import piece
from ....graph.ops.source import full
from ..one_to_one import ACTIVATION_NUMBERS
from ..registry import Call, Value, concrete, converter, is_host

_NAMES = {name.lower(): name for name in ACTIVATIONS}
_STATES = ("", "weight", "recurrent", "bias", "", "initial_h", "initial_c", "peepholes")


def _activations(call: Call, usual: Sequence[Activation]) -> tuple[Activation, ...]:
    """The activations of one direction after the other, each with the next of the listed parameters."""
    names = call.attribute("activations") or [one.name for one in usual] * len(DIRECTIONS[_direction(call)])
    listed = {key: iter(call.attribute(f"activation_{key}") or ()) for key in ("alpha", "beta")}
    unknown = [name for name in names if name.lower() not in _NAMES]
    if unknown:
        raise GraphError(f"unknown activation {unknown[0]!r} of recurrent layers")
    return tuple(_activation(_NAMES[name.lower()], listed) for name in names)


def _activation(name: str, listed: Mapping[str, Iterator[float]]) -> Activation:
    usual = dict(zip(("alpha", "beta"), ACTIVATIONS[name], strict=True))
    taken = {key: float(next(listed[key], usual[key])) for key in ACTIVATION_NUMBERS.get(name, ())}
    return Activation(name, **{**usual, **taken})


def _direction(call: Call) -> str:
    direction = str(call.attribute("direction", "forward")).lower()
    if direction not in DIRECTIONS:
        raise GraphError(f"unknown direction {direction!r}: it is one of {', '.join(DIRECTIONS)}")
    return direction


class _Way(TypedDict):
    direction: str
    activations: tuple[Activation, ...]
    clip: float | None
    lengths: bool


def _way(call: Call, usual: Sequence[Activation], lengths: AbstractTensor | None) -> _Way:
    """The direction of a layer."""
    clip = call.attribute("clip")
    return {
        "direction": _direction(call), "activations": _activations(call, usual),
        "clip": float(clip) if clip else None, "lengths": lengths is not None,
    }  # fmt: skip


def _lengths(call: Call, times: Dim, lengths: Value) -> AbstractTensor | None:
    """The lengths of sequences as a tensor; None if all have full length."""
    if lengths is None or (is_host(lengths) and isinstance(times, int) and (concrete(lengths) == times).all()):
        return None
    return call.optional(lengths)


class _Layer:
    """The operands of a layer in the form of its op, and its results in the form of the node."""

    def __init__(
        self, call: Call, x: Value, weight: Value, recurrent: Value, bias: Value, states: Sequence[Value]
    ) -> None:
        seen: AbstractTensor = call.tensor(x)
        self.weight: AbstractTensor = call.tensor(weight)
        self.recurrent: AbstractTensor = call.tensor(recurrent)
        if any(one.type.rank != 3 for one in (seen, self.weight, self.recurrent)):
            raise GraphError(f"needs an input and weights of rank 3, got {seen.type} and {self.weight.type}")
        self.batch_first = bool(call.attribute("layout", 0))
        self.x = permute(seen, (1, 0, 2)) if self.batch_first else seen
        directions, rows, hidden = self.recurrent.type.shape
        wanted = call.attribute("hidden_size", hidden)
        if wanted != hidden:
            raise GraphError(f"its hidden_size is {wanted}, and its recurrent weight is {self.recurrent.type}")
        self.bias = full(self.x, 0, (directions, 2 * rows)) if bias is None else call.tensor(bias)
        begin = full(self.x, 0, (directions, self.x.type.shape[1], hidden))
        self.states = [begin if one is None else self._layers_first(call.tensor(one)) for one in states]

    def _layers_first(self, state: AbstractTensor) -> AbstractTensor:
        return permute(state, (1, 0, 2)) if self.batch_first else state

    @property
    def operands(self) -> list[AbstractTensor]:
        return [self.x, self.weight, self.recurrent, self.bias, *self.states]

    def results(self, found: Sequence[AbstractTensor]) -> list[AbstractTensor]:
        y, *last = found
        return [permute(y, (2, 0, 1, 3)) if self.batch_first else y, *map(self._layers_first, last)]


def _given(*more: AbstractTensor | None) -> list[AbstractTensor]:
    return [one for one in more if one is not None]


@converter("LSTM", names=_STATES, host=(4,), state=(5, 6))
def lstm(
    call: Call, x: Value, weight: Value, recurrent: Value, bias: Value = None, lengths: Value = None, h: Value = None,
    c: Value = None, peepholes: Value = None, *, rounded: bool = False,
) -> list[AbstractTensor]:  # fmt: skip
    layer = _Layer(call, x, weight, recurrent, bias, (h, c))
    each, peep = _lengths(call, layer.x.type.shape[0], lengths), call.optional(peepholes)
    attrs = LSTMAttrs(
        **_way(call, LSTMAttrs.activations, each), peepholes=peep is not None, rounded=rounded
    )  # fmt: skip
    if call.attribute("input_forget", 0):
        if any(one.name != "Sigmoid" for one in attrs.activations[::3]):
            raise GraphError("input_forget with another activation of gates than Sigmoid is not supported")
        layer.weight, layer.recurrent = _coupled(layer.weight, 4), _coupled(layer.recurrent, 4)
        layer.bias = _coupled(layer.bias, 8)
        peep = None if peep is None else _coupled(peep, 3)
    return layer.results(ops.lstm(attrs, *layer.operands, *_given(peep, each)))


def _coupled(weight: AbstractTensor, parts: int) -> AbstractTensor:
    """Gate weights (i, o, f and c) with those of f replaced by the negated ones of i, so that f is 1 - i."""
    size = weight.type.shape[1] // parts
    gates = [piece(weight, 1, i * size, size) for i in range(parts)]
    for first in range(0, parts, 4):
        gates[first + 2] = -gates[first]
    return concat(gates, 1)


@converter("GRU", names=_STATES, host=(4,), state=(5,))
def gru(
    call: Call, x: Value, weight: Value, recurrent: Value, bias: Value = None, lengths: Value = None, h: Value = None
) -> list[AbstractTensor]:  # fmt: skip
    layer = _Layer(call, x, weight, recurrent, bias, (h,))
    each = _lengths(call, layer.x.type.shape[0], lengths)
    before = bool(call.attribute("linear_before_reset", 0))
    attrs = GRUAttrs(**_way(call, GRUAttrs.activations, each), linear_before_reset=before)
    return layer.results(ops.gru(attrs, *layer.operands, *_given(each)))


@converter("RNN", names=_STATES, host=(4,), state=(5,))
def rnn(
    call: Call, x: Value, weight: Value, recurrent: Value, bias: Value = None, lengths: Value = None, h: Value = None
) -> list[AbstractTensor]:  # fmt: skip
    layer = _Layer(call, x, weight, recurrent, bias, (h,))
    each = _lengths(call, layer.x.type.shape[0], lengths)
    attrs = RNNAttrs(**_way(call, RNNAttrs.activations, each))
    if len(attrs.activations) > len(attrs.backwards):  # the standard's default lists two
        attrs = RNNAttrs(attrs.activations[: len(attrs.backwards)], attrs.direction, attrs.clip, attrs.lengths)
    return layer.results(ops.rnn(attrs, *layer.operands, *_given(each)))
