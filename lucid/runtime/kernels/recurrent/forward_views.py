"""Views for a recurrent layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

from ....base.arrays import Array
from ...program.views import as_view
from ..shared.panels_views import small_products
from .steps_views import PLACES, Chunk, Chunks, Lists, Named, Run, Spec, bound, in_panels, peepholes_of, planes


class Given(NamedTuple):
    """The input at all times (T, N, I), and its weights as panels (D, panels, I, width).

    Products are of ``rows`` rows at once; ``shift`` (D, gates, 1, H) is added to all of them. Panels (D, panels, I + 1,
    width) contain it: they are for an input with a 1 after its numbers, and products of one time.
    """

    x: Array
    weight: Array
    rows: int
    shift: Array


class Weights(NamedTuple):
    """The state's weights: panels (D, gates, panels, H, width), or (D, H, gates * H) for a single row.

    Some layers also have another bias of the last gate, (D, H), or peepholes.
    """

    recurrent: Array
    bias: Array | None
    peepholes: Array | None


class Sequences(NamedTuple):
    """Arrays of a layer at all times, its first and last states (D, N, H), and which times are within each sequence."""

    gates: Array | None
    y: Array | None
    cells: Array | None
    begin: Sequence[Array]
    end: Sequence[Array]
    valid: Array | None


SequencesParts: TypeAlias = (
    "tuple[Array | None, Array | None, Array | None, Sequence[Array], Sequence[Array], Array | None]"
)
"""The fields of :class:`Sequences` as a plain tuple."""


class Room(NamedTuple):
    """Scratch of a worker.

    For the inputs of its sequences, for their products, for the gates of a chunk, for their terms at one time, for the
    operand of the product with the state (with spare rows) if it is not the state itself, and three states.
    """

    x: Array | None
    made: Array | None
    gates: Array | None
    active: Array | None
    product: Array
    left: Array | None
    t: Array
    h: Array
    c: Array


def _fixed(spec: Spec, w: Weights, room: Room, run: Run) -> Named:
    """The views that are the same at all times."""
    d, weight, rows = run.direction, w.recurrent[run.direction], run.last - run.first
    gates, _, hidden = room.product.shape
    product = room.product[:, :rows]
    found: Named = {"t": room.t, "left_t": room.t, "made_h": room.h, "made_c": room.c}
    found |= planes(product, spec.cuts(gates, "product"))
    if room.left is not None:
        found |= {"left": room.left, "shown": room.left[:rows]}
    if room.active is not None:
        found |= planes(room.active, spec.cuts(gates, "a"))
    for key, (a, b) in {"": (0, gates), **{f"_{key}": cut for key, cut in PLACES[gates].items()}}.items():
        if weight.ndim == 2:  # for a single sequence
            found[f"weight{key}"] = weight[:, a * hidden : b * hidden]
            found[f"target{key}"] = as_view(room.product[a:b], rows, (b - a) * hidden)
        elif (b - a) * weight.shape[1] == 1:
            found[f"weight{key}"], found[f"target{key}"] = weight[a, 0], room.product[a]
        else:
            found[f"weight{key}"] = weight[a:b]
            found[f"target{key}"] = in_panels(room.product[a:b], weight.shape[-1])
    if w.bias is not None:
        found["biased"], found["bias_n"] = product[-1], w.bias[d]
    return {**found, **peepholes_of(w.peepholes, d, hidden)}


def _before(g: Given, s: Sequences, room: Room, run: Run, lo: int, count: int) -> Chunk:
    """The views of all times of a chunk, without those of its steps."""
    rows, d = run.last - run.first, run.direction
    gates, hidden = g.shift.shape[1], g.shift.shape[-1]
    x = g.x[lo : lo + count, run.rows]
    seen = x if room.x is None else room.x[:count]
    kept = None if s.gates is None else s.gates[lo : lo + count, d, :, run.rows]
    gated = kept if room.gates is None else room.gates[:count]
    assert gated is not None
    views = {"seen": gated} if kept is None else {"seen": gated, "kept": kept}
    if room.x is not None and room.x.shape[-1] > x.shape[-1]:
        return Chunk(views, _straight(g, seen, x, gated, d), [])
    made = as_view(gated if room.made is None else room.made[: count * rows], count * rows, gates * hidden)
    shifted = as_view(made, count, rows, gates, hidden).swapaxes(1, 2), g.shift[d], gated
    if g.x.shape[1] == 1:  # all gates of a time are contiguous
        shifted = made, as_view(g.shift[d], -1), as_view(gated, count, gates * hidden)
    products = list(small_products(as_view(seen, count * rows, x.shape[-1]), g.weight[d], made, g.rows))
    gathered = [] if room.x is None else [(seen, x)]
    lists: Lists = {"gathered": gathered, "products": products, "shifted": [shifted]}
    return Chunk(views, lists, [])


def _straight(g: Given, seen: Array, x: Array, gated: Array, d: int) -> Lists:
    """The copies of a chunk's input, to before the ones, and the products of each time with each panel."""
    features, gates, (_, depth, width) = x.shape[-1], gated.shape[1], g.weight[d].shape
    panels = as_view(g.weight[d], gates, -1, depth, width)
    return {
        "gathered": [(seen[..., :features], x)],
        "products": [(seen[:, None, None], panels, in_panels(gated, width))],
    }


def _steps(s: Sequences, run: Run) -> Iterator[Named]:
    """For each time, the states before and after it."""
    d, rows = run.direction, run.rows
    last = [one[d, rows] for one in s.end]
    before = last if s.valid is not None else [one[d, rows] for one in s.begin]  # with lengths, updated in place
    for t in run.times:
        y = last[0] if s.y is None else s.y[t, d, rows]
        cell = last[-1] if s.cells is None else s.cells[t, d, rows]
        views: Named = {"h": before[0], "left_h": before[0], "c": before[-1], "y": y, "cell": cell}
        if s.valid is not None:
            views["valid"] = s.valid[t, rows]
        else:
            before = [y, cell][: len(last)]
        yield views


def forward_chunks(
    spec: Spec, given: tuple[Array, Array, int, Array], weights: tuple[Array, Array | None, Array | None],
    sequences: SequencesParts, rooms: Sequence[Sequence[Array]],
) -> Chunks:  # fmt: skip
    """The views of each chunk."""
    g, w, s = Given(*given), Weights(*weights), Sequences(*sequences)

    def chunks(worker: int, run: Run) -> Iterator[Chunk]:
        room, states = Room(*rooms[worker]), _steps(s, run)
        fixed = _fixed(spec, w, room, run)
        cuts = spec.cuts(len(room.product), "x", *(["a"] if room.active is None else []))
        for lo, times in spec.chunks(run):
            chunk = _before(g, s, room, run, lo, len(times))
            seen = chunk.views["seen"]
            yield chunk._replace(steps=[{**fixed, **next(states), **planes(seen[t - lo], cuts)} for t in times])

    return bound(spec, chunks)
