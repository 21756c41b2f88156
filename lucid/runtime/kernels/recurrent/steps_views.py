"""What a recurrent layer reads and writes at each time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from ....base.arrays import Array
from ...program.views import as_view
from ..shared.panels_views import small_products

Named: TypeAlias = "dict[str, Array]"
Steps: TypeAlias = "list[list[tuple[Array, ...]]]"
"""For each worker, one after another, the views of each time."""


class Run(NamedTuple):
    """A direction, and its times in order."""

    direction: int
    times: tuple[int, ...]


@dataclass(frozen=True)
class Spec:
    """Which views are asked for, of what.

    Attributes
    ----------
    fields
        Their names.
    runs
        The directions of each worker.
    hidden
        The size of a state.
    planes
        Whether gates lie one after another, (gates, N, H), not side by side in rows: what goes over one, or some, is
        then one run for all of the batch.
    """

    fields: tuple[str, ...]
    runs: Sequence[Sequence[Run]]
    hidden: int
    planes: bool = False


Places: TypeAlias = "Mapping[str, tuple[int, int]]"
"""Gates by name: which they are, from one to another."""

WHOLE: Places = {}
LSTM: Places = {"iof": (0, 3), "i": (0, 1), "o": (1, 2), "f": (2, 3), "g": (3, 4)}
PEEPHOLES: Places = {"i": (0, 1), "o": (1, 2), "f": (2, 3)}
GRU: Places = {"zr": (0, 2), "z": (0, 1), "r": (1, 2), "n": (2, 3)}


def parts(name: str, x: Array, hidden: int, places: Places) -> Named:
    """An array, and its gates: ``name_i`` and so on."""
    return {name: x, **{f"{name}_{key}": x[..., a * hidden : b * hidden] for key, (a, b) in places.items()}}


def in_planes(name: str, x: Array, hidden: int, places: Places) -> Named:
    """Gates (gates, N, H), and some of them; without places there is one, which is a matrix."""
    if not places:
        return {name: x}
    gates = x if x.ndim == 3 else as_view(x, -1, len(x), hidden)
    return {name: gates, **{f"{name}_{key}": gates[a] if b - a == 1 else gates[a:b] for key, (a, b) in places.items()}}


def made(name: str, x: Array, spec: Spec, places: Places, weights: Array) -> Named:
    """Memory for gates, and as panels of weights (D, gates, panels, H, width) make it: ``name_panels``."""
    if not spec.planes:
        return parts(name, x, spec.hidden, places)
    _, gates, count, _, width = weights.shape
    panels = as_view(x, gates, len(x), count, width).transpose(0, 2, 1, 3)
    return {**in_planes(name, x, spec.hidden, places), f"{name}_panels": panels}


def seen(x: Array, spec: Spec, places: Places) -> Named:
    """What comes in at a time, (N, gates * H)."""
    if not (spec.planes and places):
        return parts("x", x, spec.hidden, places)
    return in_planes("x", as_view(x, len(x), -1, spec.hidden).transpose(1, 0, 2), spec.hidden, places)


def input_products(x: Array, panels: Array, out: Array, rows: int) -> list[tuple[Array, Array, Array]]:
    """The batches of products of what comes in at all times."""
    return list(small_products(x, panels, out, rows))


class Sequences(NamedTuple):
    """Arrays of a layer at all times, its first and last states (D, N, H), and which times there are."""

    seen: Array
    y: Array | None
    cells: Array | None
    begin: Sequence[Array]
    end: Sequence[Array]
    valid: Array | None


Arrays: TypeAlias = "tuple[Array, Array | None, Array | None, Sequence[Array], Sequence[Array], Array | None]"
"""The same, bare."""


def _times(s: Sequences, run: Run) -> Iterator[Named]:
    """For each time of a direction what comes in, and the states before and after it."""
    d = run.direction
    last = [one[d] for one in s.end]
    before = last if s.valid is not None else [one[d] for one in s.begin]  # overwritten where there is this time
    for t in run.times:
        y, cell = last[0] if s.y is None else s.y[t, d], last[-1] if s.cells is None else s.cells[t, d]
        views = {"x": s.seen[t, :, d], "h": before[0], "c": before[-1], "y": y, "cell": cell}
        if s.valid is not None:
            yield {**views, "valid": s.valid[t]}
        else:
            yield views
            before = [y, cell][: len(last)]


def _bound(spec: Spec, s: Sequences, places: Places, fixed: Callable[[int, int], Named]) -> Steps:
    """The views of each time; ``fixed`` are those of a worker and a direction that are always the same."""
    bound = []
    for worker, mine in enumerate(spec.runs):
        steps = []
        for run in mine:
            same = fixed(worker, run.direction)
            for views in _times(s, run):
                found = {**same, **views, **seen(views["x"], spec, places)}
                steps.append(tuple(found[field] for field in spec.fields))
        bound.append(steps)
    return bound


Memory: TypeAlias = "Sequence[Sequence[Array]]"
"""Working memory, for each worker."""


def lstm_steps(spec: Spec, arrays: Arrays, recurrent: Array, peepholes: Array | None, memory: Memory) -> Steps:
    """Of an LSTM: ``memory`` is for products, gates, and three states."""

    def fixed(worker: int, d: int) -> Named:
        product, gates, other, h, c = memory[worker]
        found = {"weight": recurrent[d], "t": other, "made_h": h, "made_c": c}
        if peepholes is not None:
            found |= parts("peep", peepholes[d], spec.hidden, PEEPHOLES)
        return {**found, **made("product", product, spec, LSTM, recurrent), **made("a", gates, spec, LSTM, recurrent)}

    return _bound(spec, Sequences(*arrays), LSTM, fixed)


def gru_steps(spec: Spec, arrays: Arrays, recurrent: Array, bias: Array, memory: Memory) -> Steps:
    """Of a GRU: ``memory`` is for products with all gates, with the first two, with the last, gates, and two states."""

    def fixed(worker: int, d: int) -> Named:
        product, first, second, gates, other, h = memory[worker]
        cut = 2 * spec.hidden
        found = {
            "weight": recurrent[d], "weight_zr": recurrent[d, :, :cut], "weight_n": recurrent[d, :, cut:],
            "bias_n": bias[d, -spec.hidden :], "first": first, "second": second, "t": other, "made_h": h,
        }  # fmt: skip
        return {**found, **made("product", product, spec, GRU, recurrent), **made("a", gates, spec, GRU, recurrent)}

    return _bound(spec, Sequences(*arrays), GRU, fixed)


def rnn_steps(spec: Spec, arrays: Arrays, recurrent: Array, memory: Memory) -> Steps:
    """Of a layer without gates: ``memory`` is for products, what they become, and a state."""

    def fixed(worker: int, d: int) -> Named:
        product, h = memory[worker]
        return {"weight": recurrent[d], "made_h": h, **made("product", product, spec, WHOLE, recurrent)}

    return _bound(spec, Sequences(*arrays), WHOLE, fixed)
