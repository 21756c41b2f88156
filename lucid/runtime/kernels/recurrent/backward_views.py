"""Views for the gradient of a recurrent layer, and functions for the derivatives of its activations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from ....base.arrays import Array
from ...program.views import as_view
from ..shared.cut import evenly
from .functions import FUNCTIONS, SLOPES
from .steps_views import Chunk, Chunks, Copies, Cuts, Named, Run, Spec, bound, in_panels, peepholes_of, planes


class Squash(NamedTuple):
    """An activation: its name and parameters, the clip of its input, and the gates that it applies to."""

    name: str
    alpha: float
    beta: float
    clip: float | None
    gates: slice


def squash(squashes: Sequence[Squash], seen: Array, value: Array, slope: Array) -> None:
    """Compute the gates (..., gates, N, H) and the activations' derivatives, which are 0 where input is clipped."""
    for one in squashes:
        at, numbers = (..., one.gates, slice(None), slice(None)), (one.alpha, one.beta)
        x = seen[at]
        held = x if one.clip is None else np.clip(x, -one.clip, one.clip)
        FUNCTIONS[one.name](held, value[at], *numbers)
        SLOPES[one.name](held, value[at], slope[at], *numbers)
        if one.clip is not None:
            np.copyto(slope[at], 0, where=np.absolute(x) >= one.clip)


def steepen(squashes: Sequence[Squash], value: Array, slope: Array) -> None:
    """Compute derivatives from known gates, for activations whose derivative follows from their result."""
    for one in squashes:
        at = (..., one.gates, slice(None), slice(None))
        SLOPES[one.name](value[at], value[at], slope[at], one.alpha, one.beta)


class Gone(NamedTuple):
    """The layer's operands and results at all times: states (T, D, N, H), gates (T, D, gates, N, H)."""

    y: Array
    gates: Array
    cells: Array | None
    begin: Sequence[Array]
    dy: Array
    beyond: Array | None


GoneParts: TypeAlias = "tuple[Array, Array, Array | None, Sequence[Array], Array, Array | None]"
"""Its fields as a plain tuple."""


class Weights(NamedTuple):
    """The weights that gradients are multiplied by, as panels (D, panels, gates * H, width), of all gates or some."""

    every: Array
    first: Array | None
    last: Array | None
    peepholes: Array | None
    recurrent: Array
    bias: Array


class Made(NamedTuple):
    """The gradients of the states (D, N, H), and what the gradients of the weights need of all times.

    ``rows`` are the gradients of the gates' inputs, (T, N, D, gates * H), and ``inner`` those of the products with the
    state, if they differ; ``h`` and ``c`` are the states before each time, (D, T, N, H), and ``reset`` is the operand
    of the last gate's weight.
    """

    states: Sequence[Array]
    rows: Array
    inner: Array | None
    h: Array
    c: Array | None
    reset: Array | None


MadeParts: TypeAlias = "tuple[Sequence[Array], Array, Array | None, Array, Array | None, Array | None]"
"""Its fields as a plain tuple."""


class Room(NamedTuple):
    """Scratch of a worker: the gates of a chunk, their derivatives, four states for each time, and two for one time."""

    value: Array | None
    slope: Array
    c: Array | None
    dy: Array | None
    first: Array | None
    second: Array | None
    t: Array
    s: Array


def _earlier(states: Array, begin: Array, out: Array, lo: int, backwards: bool, beyond: Array | None) -> Copies:
    """Copies of the states before each time of a chunk, from those after each time (T, N, H).

    If sequences have lengths, the backward direction begins at each sequence's last time.
    """
    hi = lo + len(out)
    if not backwards:
        found: Copies = [(out[:1], begin[None], True)] if lo == 0 else []
        first = max(lo, 1)
        return [*found, (out[first - lo :], states[first - 1 : hi - 1], True)]
    last = min(hi, len(states) - 1)
    found = [(out[last - lo :], begin[None], True), (out[: last - lo], states[lo + 1 : last + 1], True)]
    return found if beyond is None else [*found, (out[: last - lo], begin[None], beyond[lo + 1 : last + 1])]


def _fixed(w: Weights, made: Made, room: Room, run: Run, hidden: int) -> Named:
    """The views that are the same at all times."""
    d, rows = run.direction, run.rows
    dh, dc = made.states[0][d, rows], made.states[-1][d, rows]
    found: Named = {"dh": dh, "dc": dc, "t": room.t, "s": room.s, **peepholes_of(w.peepholes, d, hidden)}
    for key, weight, target in (("", w.every, dh), ("_first", w.first, dh), ("_last", w.last, room.s)):
        if weight is not None:
            several = len(weight[d]) > 1
            found[f"weight{key}"] = weight[d] if several else weight[d, 0]
            found[f"target{key}"] = in_panels(target, weight.shape[-1]) if several else target
    return found


def _copies(g: Gone, made: Made, room: Room, run: Run, lo: int, count: int) -> tuple[Named, Copies]:
    """The copies for a chunk: the states before each time, and gradients, cleared beyond a sequence's length."""
    d, rows, times = run.direction, run.rows, slice(lo, lo + count)
    backwards, beyond = run.times[0] < run.times[-1], None if g.beyond is None else g.beyond[:, rows]
    found: Named = {"h": made.h[d, times, rows], "dy": g.dy[times, d, rows]}
    copies = _earlier(g.y[:, d, rows], g.begin[0][d, rows], found["h"], lo, backwards, beyond)
    for c in (room.c, made.c):
        if c is not None and g.cells is not None:
            found["c"] = c[:count] if c is room.c else c[d, times, rows]
            copies += _earlier(g.cells[:, d, rows], g.begin[1][d, rows], found["c"], lo, backwards, beyond)
    if room.dy is not None and beyond is not None:
        copies.append((room.dy[:count], found["dy"], True))
        found |= {"dy": room.dy[:count], "beyond": beyond[times]}
    return found, copies


def _before(spec: Spec, g: Gone, w: Weights, made: Made, room: Room, run: Run, lo: int, count: int) -> Named:
    """The views of all times of a chunk; ``value`` and ``slope`` are those of the gates."""
    d, rows, times = run.direction, run.rows, slice(lo, lo + count)
    seen = g.gates[times, d, :, rows]
    found: Named = {"seen": seen}
    for name, array in (("first", room.first), ("second", room.second)):
        if array is not None:
            found[name] = array[:count]
    if g.cells is not None:
        found["cells"] = g.cells[times, d, rows]
    if made.reset is not None:
        found["reset"] = made.reset[d, times, rows]
    hidden = seen.shape[-1]
    found |= {"linear": w.recurrent[d, -hidden:], "bias": w.bias[d, -hidden:]}
    value = seen if room.value is None else room.value[:count]
    gates, slope = seen.shape[1], room.slope[:count]
    found |= {**planes(value, spec.cuts(gates, "value")), **planes(slope, spec.cuts(gates, "slope"))}
    return {**found, "value": value, "slope": slope}


def _turned(rows: Array, gates: int) -> Array:
    """Rows (N, gates * H) as gates (gates, N, H)."""
    return as_view(rows, len(rows), gates, rows.shape[1] // gates).swapaxes(0, 1)


def _step(before: Named, cuts: Mapping[str, Cuts], made: Made, run: Run, t: int, lo: int) -> Named:
    """The views of one time."""
    d, gates = run.direction, before["slope"].shape[1]
    found: Named = {key: before[key][t - lo] for key in ("dy", "beyond", "second") if key in before}
    found |= {**planes(before["value"][t - lo], cuts["a"]), **planes(before["slope"][t - lo], cuts["d"])}
    rows = made.rows[t, run.rows, d]
    found |= {"rows": rows, **planes(_turned(rows, gates), cuts["written"])}
    if made.inner is not None:
        rows = made.inner[t, run.rows, d]
        found |= {"rows": rows, "written_inner": _turned(rows, gates)}
    return {**found, "rows_first": rows[:, : rows.shape[1] // gates * 2]}


def backward_chunks(
    spec: Spec, gone: GoneParts, weights: Sequence[Array], kept: MadeParts, rooms: Sequence[Sequence[Array]]
) -> Chunks:
    """The views of each chunk."""
    g, w, made = Gone(*gone), Weights(*weights), Made(*kept)

    def chunks(worker: int, run: Run) -> Iterator[Chunk]:
        room = Room(*rooms[worker])
        fixed = _fixed(w, made, room, run, spec.hidden)
        cuts = {name: spec.cuts(room.slope.shape[1], name) for name in ("a", "d", "written")}
        for lo, times in spec.chunks(run):
            copied, copies = _copies(g, made, room, run, lo, len(times))
            before = {**copied, **_before(spec, g, w, made, room, run, lo, len(times))}
            steps = [{**fixed, **_step(before, cuts, made, run, t, lo)} for t in times]
            yield Chunk(before, {"copies": copies}, steps)

    return bound(spec, chunks)


Product: TypeAlias = "tuple[Array, Array, Array]"
"""Two matrices, and the array for their product."""


def weight_products(
    workers: int, x: Array, weight: Array, kept: MadeParts, ones: Array, dx: Array | None, dw: Array | None,
    dr: Array | None, db: Array | None,
) -> list[list[Product]]:  # fmt: skip
    """For each worker, its share of the products over all times: the gradients of the input, weights and biases."""
    made, found = Made(*kept), []
    times, batch, directions, width = made.rows.shape
    count, features, hidden = times * batch, x.shape[-1], made.h.shape[-1]
    rows, seen = as_view(made.rows, count, directions * width), as_view(x, count, features)
    inner = rows if made.inner is None else as_view(made.inner, count, directions * width)
    cut = width if made.reset is None else 2 * hidden
    for worker in range(workers):
        mine: list[Product] = []
        if dx is not None:
            a, b = evenly(count, workers)[worker]
            mine.append((rows[a:b], as_view(weight, directions * width, features), as_view(dx, count, features)[a:b]))
        for d in range(directions):
            for first, last, states in ((0, cut, made.h), (cut, width, made.reset)):
                a, b = (first + at for at in evenly(last - first, workers)[worker])
                own = slice(d * width + a, d * width + b)
                if dr is not None and states is not None:
                    mine.append((inner[:, own].T, as_view(states[d], count, hidden), dr[d, a:b]))
                if dw is not None:
                    mine.append((rows[:, own].T, seen, dw[d, a:b]))
                if db is not None:
                    half = len(db[d]) // 2
                    mine.append((ones, rows[:, own], db[d, a:b]))
                    again = (ones[:1], db[d, None, a:b]) if inner is rows and count else (ones, inner[:, own])
                    mine.append((*again, db[d, half + a : half + b]))
        found.append([product for product in mine if product[2].size])
    return found
