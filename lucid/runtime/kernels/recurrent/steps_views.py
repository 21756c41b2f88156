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
    """

    fields: tuple[str, ...]
    runs: Sequence[Sequence[Run]]
    hidden: int


Places: TypeAlias = "Mapping[str, tuple[int, int]]"
"""Gates by name: which they are, from one to another."""

WHOLE: Places = {}
LSTM: Places = {"iof": (0, 3), "i": (0, 1), "o": (1, 2), "f": (2, 3), "g": (3, 4)}
PEEPHOLES: Places = {"i": (0, 1), "o": (1, 2), "f": (2, 3)}
GRU: Places = {"zr": (0, 2), "z": (0, 1), "r": (1, 2), "n": (2, 3)}


def parts(name: str, x: Array, hidden: int, places: Places) -> Named:
    """An array, and its gates: ``name_i`` and so on."""
    return {name: x, **{f"{name}_{key}": x[..., a * hidden : b * hidden] for key, (a, b) in places.items()}}


def panelled(name: str, x: Array, weights: Array) -> Named:
    """An array as the panels of weights make it, ``name_panels``; nothing where the weights are one matrix."""
    if weights.ndim < 4:
        return {}
    _, count, _, width = weights.shape
    return {f"{name}_panels": as_view(x, len(x), count, width).transpose(1, 0, 2)}


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
                found = {**same, **views, **parts("x", views["x"], spec.hidden, places)}
                steps.append(tuple(found[field] for field in spec.fields))
        bound.append(steps)
    return bound


Memory: TypeAlias = "Sequence[Sequence[Array]]"
"""Working memory, for each worker."""


def lstm_steps(spec: Spec, arrays: Arrays, recurrent: Array, peepholes: Array | None, memory: Memory) -> Steps:
    """Of an LSTM: ``memory`` is for products, gates, and three states."""

    def fixed(worker: int, d: int) -> Named:
        product, gates, other, *made = memory[worker]
        found = {"weight": recurrent[d], "product": product, "t": other, "made_h": made[0], "made_c": made[1]}
        if peepholes is not None:
            found |= parts("peep", peepholes[d], spec.hidden, PEEPHOLES)
        found |= {**panelled("product", product, recurrent), **panelled("a", gates, recurrent)}
        return {**found, **parts("a", gates, spec.hidden, LSTM)}

    return _bound(spec, Sequences(*arrays), LSTM, fixed)


def gru_steps(spec: Spec, arrays: Arrays, recurrent: Array, bias: Array, memory: Memory) -> Steps:
    """Of a GRU: ``memory`` is for products with all gates, with the first two, with the last, gates, and two states."""

    def fixed(worker: int, d: int) -> Named:
        product, first, second, gates, other, made = memory[worker]
        cut = 2 * spec.hidden
        found = {
            "weight": recurrent[d], "weight_zr": recurrent[d, :, :cut], "weight_n": recurrent[d, :, cut:],
            **panelled("product", product, recurrent),
            "bias_n": bias[d, -spec.hidden :], "first": first, "second": second, "t": other, "made_h": made,
        }  # fmt: skip
        return {**found, **parts("product", product, spec.hidden, GRU), **parts("a", gates, spec.hidden, GRU)}

    return _bound(spec, Sequences(*arrays), GRU, fixed)


def rnn_steps(spec: Spec, arrays: Arrays, recurrent: Array, memory: Memory) -> Steps:
    """Of a layer without gates: ``memory`` is for products, what they become, and a state."""

    def fixed(worker: int, d: int) -> Named:
        product, made = memory[worker]
        return {"weight": recurrent[d], "product": product, "made_h": made, **panelled("product", product, recurrent)}

    return _bound(spec, Sequences(*arrays), WHOLE, fixed)
