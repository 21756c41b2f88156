"""Views for a layer that computes both directions at once; at each step these are at different times.

Sequences of all directions are adjacent, (D * N, H), so that one call computes element-wise steps for all. Only
products and rounding are separate.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ....base.arrays import Array
from ...program.views import as_view
from ..shared.panels_views import small_products
from .forward_views import Given, Room, Sequences, SequencesParts, Weights
from .steps_views import PLACES, Chunk, Chunks, Lists, Named, Run, Spec, bound, planes


class Sizes:
    """The sizes of a layer: the numbers of directions, sequences and gates, and the size of a state."""

    def __init__(self, g: Given) -> None:
        self.directions, self.gates, _, self.hidden = g.shift.shape
        self.batch, self.features = g.x.shape[1:]
        self.rows = self.directions * self.batch

    def left(self, state: Array) -> Array:
        """A state as the left operand of the product with each direction's weight."""
        inner = (self.hidden,) if self.batch == 1 else (1, self.batch, self.hidden)
        return as_view(state, self.directions, 1, *inner)

    def by_direction(self, name: str, state: Array) -> Named:
        """The part of each direction of a state."""
        return {f"{name}_{d}": state[d * self.batch : (d + 1) * self.batch] for d in range(self.directions)}


def _product(room: Room, at: Sizes) -> Array:
    """The product with the state, (gates, D * N, H); for a single sequence, its gates are contiguous."""
    if at.batch > 1:
        return room.product
    return as_view(room.product, at.directions, at.gates, at.hidden).swapaxes(0, 1)


def _targets(weight: Array, product: Array, at: Sizes) -> Named:
    """The weights of all gates and of some, and the arrays for their products."""
    found: Named = {}
    for key, (a, b) in {"": (0, at.gates), **{f"_{key}": cut for key, cut in PLACES[at.gates].items()}}.items():
        if at.batch == 1:
            found[f"weight{key}"] = weight[:, :, a * at.hidden : b * at.hidden]
            made = product[a:b].swapaxes(0, 1)
            found[f"target{key}"] = as_view(made, at.directions, 1, (b - a) * at.hidden)
            continue
        width = weight.shape[-1]
        parts = as_view(product[a:b], b - a, at.directions, at.batch, at.hidden // width, width)
        found[f"weight{key}"], found[f"target{key}"] = weight[:, a:b], parts.transpose(1, 0, 3, 2, 4)
    return found


def _fixed(spec: Spec, w: Weights, room: Room, at: Sizes) -> Named:
    """The views that are the same at all steps."""
    product = _product(room, at)
    found: Named = {"t": room.t, "left_t": at.left(room.t), **at.by_direction("t", room.t)}
    found |= planes(product, spec.cuts(at.gates, "product"))
    found |= _targets(w.recurrent, product, at)
    if w.bias is not None:
        found["biased"] = as_view(product[-1], at.directions, at.batch, at.hidden)
        found["bias_n"] = w.bias[:, None]
    return found


def _before(g: Given, made: Array, seen: Array, times: Sequence[tuple[int, tuple[int, ...]]], at: Sizes) -> Chunk:
    """The views of all steps of a chunk, each of which is a different time for each direction."""
    count = len(seen)
    made = as_view(made, at.directions, len(made) // at.directions, -1)[:, : count * at.batch]
    sums = as_view(seen, count, at.gates, at.directions, at.batch, at.hidden)
    products, shifted = list[tuple[Array, Array, Array]](), list[tuple[Array, Array, Array]]()
    for d, (first, each) in enumerate(times):
        x = as_view(g.x[first : first + count], count * at.batch, at.features)
        products += small_products(x, g.weight[d], made[d], g.rows)
        gates = as_view(made[d], count, at.batch, at.gates, at.hidden).swapaxes(1, 2)
        shifted.append((gates if each[0] == first else gates[::-1], g.shift[d], sums[:, :, d]))
    lists: Lists = {"gathered": [], "products": products, "shifted": shifted}
    return Chunk({"seen": seen}, lists, [])


def _steps(s: Sequences, steps: int, at: Sizes) -> Iterator[Named]:
    """For each step, the states before and after it."""
    last = [as_view(one, at.rows, at.hidden) for one in s.end]
    before = [as_view(one, at.rows, at.hidden) for one in s.begin]
    for step in range(steps):
        y, h = last[0] if s.y is None else s.y[step], before[0]
        views: Named = {"h": h, "left_h": at.left(h), "c": before[-1], "y": y, "cell": last[-1]}
        yield {**views, **at.by_direction("h", h)}
        before = [y, last[-1]][: len(last)]


def together_chunks(
    spec: Spec, given: tuple[Array, Array, int, Array], weights: tuple[Array, Array | None, Array | None],
    sequences: SequencesParts, rooms: Sequence[Sequence[Array]],
) -> Chunks:  # fmt: skip
    """The views of each chunk: like :func:`.forward_chunks`, for a single worker.

    States ``y`` at all times are (T, D * N, H), step by step.
    """
    g, w, s = Given(*given), Weights(*weights), Sequences(*sequences)
    room, at, (runs,) = Room(*rooms[0]), Sizes(g), spec.runs
    made, every = room.made, room.gates
    assert made is not None
    assert every is not None

    def chunks(worker: int, run: Run) -> Iterator[Chunk]:
        fixed, states = _fixed(spec, w, room, at), _steps(s, len(run.times), at)
        cuts = spec.cuts(at.gates, "x", "a")
        for times in zip(*(spec.chunks(one) for one in runs), strict=True):
            seen = every[: len(times[0][1])]
            steps = [{**fixed, **next(states), **planes(gates, cuts)} for gates in seen]
            yield _before(g, made, seen, times, at)._replace(steps=steps)

    return bound(replace(spec, runs=[runs[:1]]), chunks)
