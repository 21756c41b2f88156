"""What the gradient of a recurrent layer computes before its loop, and reads and writes at each time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ....base.arrays import Array
from .functions import FUNCTIONS, SLOPES
from .steps_views import GRU, LSTM, PEEPHOLES, Memory, Named, Places, Run, Spec, Steps, parts


class Squash(NamedTuple):
    """An activation: its name and numbers, what its input is clipped to, and the gates that go through it."""

    name: str
    alpha: float
    beta: float
    clip: float | None
    direction: int
    columns: slice


def squash(squashes: Sequence[Squash], seen: Array, value: Array, slope: Array) -> None:
    """The gates (T, N, D, width), and how steep the activations are there: 0 where their input is clipped."""
    for one in squashes:
        at = (..., one.direction, one.columns)
        x, numbers = seen[at], (one.alpha, one.beta)
        held = x if one.clip is None else np.clip(x, -one.clip, one.clip)
        FUNCTIONS[one.name](held, value[at], *numbers)
        SLOPES[one.name](held, value[at], slope[at], *numbers)
        if one.clip is not None:
            np.copyto(slope[at], 0, where=np.absolute(x) >= one.clip)


def before(runs: Sequence[Sequence[Run]], states: Array, begin: Array, out: Array, valid: Array | None) -> None:
    """The states before each time (D, T, N, H), of those after it (T, D, N, H).

    Where sequences have lengths, one that goes backwards begins at its last time; the results beyond that are 0.
    """
    for run in (run for mine in runs for run in mine):
        d, order = run.direction, run.times
        if not order:
            continue
        out[d, order[-1]] = begin[d]  # the loop goes through the times the other way round
        if order[0] > order[-1]:
            out[d, 1:] = states[:-1, d]
        else:
            out[d, :-1] = states[1:, d]
            if valid is not None:
                np.copyto(out[d, :-1], begin[d], where=~valid[1:])


def _bound(spec: Spec, fixed: Callable[[int, int], Named], at: Callable[[int, int], Named]) -> Steps:
    return [
        [
            tuple(views[field] for field in spec.fields)
            for run in mine
            for same in [fixed(worker, run.direction)]
            for t in run.times
            for views in [{**same, **at(run.direction, t)}]
        ]
        for worker, mine in enumerate(spec.runs)
    ]


def _gates(name: str, x: Array, d: int, t: int, spec: Spec, places: Places) -> Named:
    return parts(name, x[t, :, d], spec.hidden, places)


def lstm_back(
    spec: Spec, value: Array, slope: Array, shown: Array, dy: Array, states: Sequence[Array], recurrent: Array,
    peepholes: Array | None, beyond: Array | None, memory: Memory,
) -> Steps:  # fmt: skip
    """Of an LSTM; ``shown`` is how much of the gradient of h goes into that of c."""

    def fixed(worker: int, d: int) -> Named:
        found = {"dh": states[0][d], "dc": states[1][d], "weight": recurrent[d], "t": memory[worker][0]}
        return found if peepholes is None else {**found, **parts("peep", peepholes[d], spec.hidden, PEEPHOLES)}

    def at(d: int, t: int) -> Named:
        found = {**_gates("a", value, d, t, spec, LSTM), **_gates("d", slope, d, t, spec, LSTM)}
        found |= {"dy": dy[t, d], "shown": shown[t, d]}
        return found if beyond is None else {**found, "beyond": beyond[t]}

    return _bound(spec, fixed, at)


def gru_back(
    spec: Spec, value: Array, slope: Array, dy: Array, states: Sequence[Array], recurrent: Array, memory: Memory
) -> Steps:  # fmt: skip
    """Of a GRU."""

    def fixed(worker: int, d: int) -> Named:
        cut = 2 * spec.hidden
        found = {"dh": states[0][d], "t": memory[worker][0], "s": memory[worker][1], "weight": recurrent[d]}
        return {**found, "weight_zr": recurrent[d, :cut], "weight_n": recurrent[d, cut:]}

    def at(d: int, t: int) -> Named:
        gates = {**_gates("a", value, d, t, spec, GRU), **_gates("d", slope, d, t, spec, GRU)}
        return {**gates, "dy": dy[t, d]}

    return _bound(spec, fixed, at)


def rnn_back(
    spec: Spec, slope: Array, dy: Array, states: Sequence[Array], recurrent: Array, beyond: Array | None, memory: Memory
) -> Steps:
    """Of a layer without gates."""

    def fixed(worker: int, d: int) -> Named:
        return {"dh": states[0][d], "t": memory[worker][0], "weight": recurrent[d]}

    def at(d: int, t: int) -> Named:
        found = {"d": slope[t, :, d], "dy": dy[t, d]}
        return found if beyond is None else {**found, "beyond": beyond[t]}

    return _bound(spec, fixed, at)
