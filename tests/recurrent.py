"""Recurrent layers by brute force, whole batches at a time: what the tests of ONNX and of modules compare with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Activation = Callable[[Array], Array]


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def lstm(
    x: Array, r: Array, h: Array, c: Array, f: Sequence[Activation], peep: Array | None = None
) -> tuple[Array, ...]:
    """One time: ``x`` is what is added to the products with the state; gates lie as i, o, f, c."""
    size = h.shape[1]
    i, o, forget, new = (x + h @ r.T)[:, :size], *((x + h @ r.T)[:, k * size : (k + 1) * size] for k in (1, 2, 3))
    pi, po, pf = np.zeros((3, size)) if peep is None else peep.reshape(3, size)
    after = f[0](forget + pf * c) * c + f[0](i + pi * c) * f[1](new)
    return f[0](o + po * after) * f[2](after), after


def gru(x: Array, r: Array, h: Array, f: Sequence[Activation], rb: Array, before: bool = False) -> tuple[Array, ...]:
    """One time; gates lie as z, r, h, and ``rb`` is the bias of the product with the state."""
    size = h.shape[1]
    (xz, xr, xh), (rz, rr, rh) = np.split(x, 3, 1), np.split(r, 3)
    z, reset = f[0](xz + h @ rz.T + rb[:size]), f[0](xr + h @ rr.T + rb[size : 2 * size])
    inner = reset * (h @ rh.T + rb[2 * size :]) if before else (reset * h) @ rh.T + rb[2 * size :]
    return ((1 - z) * f[1](xh + inner) + z * h,)


def over_time(
    x: Array, w: Array, bias: Array, begin: Sequence[Array], step: Callable[..., tuple[Array, ...]], lengths: Array,
    backwards: bool,
) -> tuple[Array, ...]:  # fmt: skip
    """The states h at all times, and the last states; each sequence by itself where it goes backwards."""
    y = np.zeros((len(x), *begin[0].shape))
    last = [state.copy() for state in begin]
    for n, length in enumerate(lengths):
        states = [state[n : n + 1] for state in begin]
        for t in reversed(range(length)) if backwards else range(length):
            states = list(step(x[t, n : n + 1] @ w.T + bias, *states))
            y[t, n] = states[0][0]
        for state, found in zip(last, states, strict=True):
            state[n] = found[0]
    return (y, *last)
