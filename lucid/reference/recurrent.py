"""Recurrent layers from their definition, one sequence and one time after another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..base.arrays import Array
from ..graph.ops import recurrent as ops
from ..graph.ops.recurrent_types import Activation, GRUAttrs, LSTMAttrs, RecurrentAttrs, RNNAttrs
from .evaluator import reference

_FUNCTIONS: Mapping[str, Callable[[Array, float, float], Array]] = {
    "Sigmoid": lambda x, a, b: 1 / (1 + np.exp(-x)),
    "Tanh": lambda x, a, b: np.tanh(x),
    "Relu": lambda x, a, b: np.maximum(x, 0),
    "Affine": lambda x, a, b: a * x + b,
    "LeakyRelu": lambda x, a, b: np.where(x > 0, x, a * x),
    "ThresholdedRelu": lambda x, a, b: np.where(x > a, x, 0),
    "ScaledTanh": lambda x, a, b: a * np.tanh(b * x),
    "HardSigmoid": lambda x, a, b: np.clip(a * x + b, 0, 1),
    "Elu": lambda x, a, b: np.where(x > 0, x, a * (np.exp(np.minimum(x, 0)) - 1)),
    "Softsign": lambda x, a, b: x / (1 + np.abs(x)),
    "Softplus": lambda x, a, b: np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0),
}  # fmt: skip


def _apply(activation: Activation, x: Array, clip: float | None = None) -> Array:
    held = x if clip is None else np.clip(x, -clip, clip)
    return np.asarray(_FUNCTIONS[activation.name](held, activation.alpha, activation.beta))


def _rounded(h: Array) -> Array:
    """Round to 255 steps between the least and the largest number, extended to include 0."""
    scale = (max(h.max(), 0.0) - min(h.min(), 0.0)) / 255 or 1.0
    zero = np.round(-min(h.min(), 0.0) / scale)
    return np.asarray((np.clip(np.round(h / scale) + zero, 0, 255) - zero) * scale)


Step = Callable[[Array, Array, Sequence[Array], int], tuple[Array, tuple[Array, ...]]]
"""``step(x W + bias, the other bias, states, direction)`` returns the kept gates, and the next states."""


def _layer(attrs: RecurrentAttrs, operands: Sequence[Array], states: int, step: Step) -> tuple[Array, ...]:
    """The states at all times, the last states, the kept gates, and the other states at all times."""
    operands = [one.astype(np.float64) if one.dtype.kind == "f" else one for one in operands]
    x, weight, _, bias = operands[:4]
    begin, half = operands[4 : 4 + states], bias.shape[1] // 2
    (times, batch, _), directions, hidden = x.shape, len(attrs.backwards), begin[0].shape[2]
    lengths = operands[-1] if attrs.lengths else np.full(batch, times)
    every = np.zeros((states, times, directions, batch, hidden))
    last = np.stack(begin).copy()
    gates = np.zeros((times, directions, half // hidden, batch, hidden))
    for d, backwards in enumerate(attrs.backwards):
        for t in reversed(range(times)) if backwards else range(times):
            before = last[:, d].copy()
            if isinstance(attrs, LSTMAttrs) and attrs.rounded and batch:
                before[0] = _rounded(before[0])
            for n in range(batch):
                seen = weight[d] @ x[t, n] + bias[d, :half]
                kept, made = step(seen, bias[d, half:], [*before[:, n]], d)
                gates[t, d, :, n] = kept.reshape(-1, hidden)
                if t < lengths[n]:
                    last[:, d, n] = made
                    every[0, t, d, n] = made[0]
                every[1:, t, d, n] = last[1:, d, n]
    return (every[0], *last, gates, *every[1:])


@reference(ops.LSTM)
def lstm(attrs: LSTMAttrs, *operands: Array) -> tuple[Array, ...]:
    recurrent, hidden = operands[2].astype(np.float64), operands[2].shape[2]

    def step(seen: Array, bias: Array, states: Sequence[Array], d: int) -> tuple[Array, tuple[Array, ...]]:
        (h, c), (f, g, shown) = states, (attrs.activation(d, n) for n in range(3))
        z = seen + recurrent[d] @ h + bias
        i, o, forget, new = (slice(k * hidden, (k + 1) * hidden) for k in range(4))
        p = operands[6][d] if attrs.peepholes else np.zeros(3 * hidden)
        z[i] += p[:hidden] * c
        z[forget] += p[2 * hidden :] * c
        cell = _apply(f, z[forget], attrs.clip) * c + _apply(f, z[i], attrs.clip) * _apply(g, z[new], attrs.clip)
        z[o] += p[hidden : 2 * hidden] * cell
        out = _apply(f, z[o], attrs.clip)
        kept = z if attrs.raw else np.concatenate([*(_apply(f, z[k]) for k in (i, o, forget)), _apply(g, z[new])])
        return kept, (out * _apply(shown, cell), cell)

    return _layer(attrs, operands, 2, step)


@reference(ops.GRU)
def gru(attrs: GRUAttrs, *operands: Array) -> tuple[Array, ...]:
    recurrent, hidden = operands[2].astype(np.float64), operands[2].shape[2]

    def step(seen: Array, bias: Array, states: Sequence[Array], d: int) -> tuple[Array, tuple[Array, ...]]:
        (h,), f, g = states, attrs.activation(d, 0), attrs.activation(d, 1)
        update, reset, new = (slice(k * hidden, (k + 1) * hidden) for k in range(3))
        z = seen.copy()
        for gate in (update, reset):
            z[gate] += recurrent[d, gate] @ h + bias[gate]
        share, keep = _apply(f, z[update], attrs.clip), _apply(f, z[reset], attrs.clip)
        if attrs.linear_before_reset:
            z[new] += keep * (recurrent[d, new] @ h + bias[new])
        else:
            z[new] += recurrent[d, new] @ (keep * h) + bias[new]
        made = _apply(g, z[new], attrs.clip)
        return z if attrs.raw else np.concatenate([share, keep, made]), ((1 - share) * made + share * h,)

    return _layer(attrs, operands, 1, step)


@reference(ops.RNN)
def rnn(attrs: RNNAttrs, *operands: Array) -> tuple[Array, ...]:
    recurrent = operands[2].astype(np.float64)

    def step(seen: Array, bias: Array, states: Sequence[Array], d: int) -> tuple[Array, tuple[Array, ...]]:
        z = seen + recurrent[d] @ states[0] + bias
        return z, (_apply(attrs.activation(d, 0), z, attrs.clip),)

    return _layer(attrs, operands, 1, step)
