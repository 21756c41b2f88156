"""What a recurrent layer, and its gradient, read and write in each chunk of times, and at each time of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import EllipsisType
from typing import NamedTuple, TypeAlias

from ....base.arrays import Array
from ....base.structs import struct
from ...program.views import as_view
from ..shared.cut import pieces

Named: TypeAlias = "dict[str, Array]"
Chunks: TypeAlias = "list[list[tuple[object, ...]]]"
"""For each worker, one after another, the views of each chunk, the last of which is a list of those of each time."""
Lists: TypeAlias = "Mapping[str, Sequence[tuple[object, ...]]]"
Copies: TypeAlias = "list[tuple[Array, Array, Array | bool]]"
"""What is copied, to where, from where, and which of it."""


class Chunk(NamedTuple):
    """Some times: the views of all of them and the lists that lines go over, by name, and the views of each."""

    views: Named
    lists: Lists
    steps: Sequence[Named]


class Run(NamedTuple):
    """A direction, its times in order, and the sequences of the batch from ``first`` to ``last``."""

    direction: int
    times: tuple[int, ...]
    first: int
    last: int

    @property
    def rows(self) -> slice:
        return slice(self.first, self.last)


@struct(frozen=True)
class Spec:
    """Which views are asked for, of what.

    Attributes
    ----------
    before, fields
        The names of those of a chunk, and of those of a time.
    runs
        The directions and sequences of each worker.
    hidden
        The size of a state.
    most
        Times of a chunk at most.
    """

    before: tuple[str, ...]
    fields: tuple[str, ...]
    runs: Sequence[Sequence[Run]]
    hidden: int
    most: int

    def cuts(self, gates: int, *names: str) -> Cuts:
        """Of an array of so many gates what is asked for: by one of these names all, with ``_i`` behind it a gate."""
        found: list[tuple[str, Index]] = [("", ...)]
        found += [
            (f"_{k}", (..., a if b - a == 1 else slice(a, b), slice(None), slice(None)))
            for k, (a, b) in PLACES[gates].items()
        ]
        asked = {*self.before, *self.fields}
        cuts = [([f"{name}{key}" for name in names if f"{name}{key}" in asked], at) for key, at in found]
        return [(fields, at) for fields, at in cuts if fields]

    def chunks(self, run: Run) -> Iterator[tuple[int, tuple[int, ...]]]:
        """The first time of each chunk, and its times in order."""
        for a, b in pieces(len(run.times), self.most):
            times = run.times[a:b]
            yield min(times), times


Places: TypeAlias = "Mapping[str, tuple[int, int]]"
"""Gates by name: which they are, from one to another."""

PLACES: Mapping[int, Places] = {
    1: {"z": (0, 1)},
    3: {"zr": (0, 2), "z": (0, 1), "r": (1, 2), "n": (2, 3)},
    4: {"iof": (0, 3), "i": (0, 1), "o": (1, 2), "f": (2, 3), "g": (3, 4)},
}
"""Of a layer with so many gates."""
PEEPHOLES: Places = {"i": (0, 1), "o": (1, 2), "f": (2, 3)}


Index: TypeAlias = "EllipsisType | tuple[EllipsisType, int | slice, slice, slice]"
Cuts: TypeAlias = "list[tuple[list[str], Index]]"
"""Names of gates, or of all of them, and where these are in an array (..., gates, N, H)."""


def planes(x: Array, cuts: Cuts) -> Named:
    """Gates, and parts of them, by name; of several names the same view.

    What is made in place is so without a look for overlaps where it is one view.
    """
    return {name: view for names, at in cuts for view in [x[at]] for name in names}


def peepholes_of(weight: Array | None, d: int, hidden: int) -> Named:
    """The weights of the peepholes of a direction."""
    if weight is None:
        return {}
    return {f"peep_{key}": weight[d, a * hidden : b * hidden] for key, (a, b) in PEEPHOLES.items()}


def in_panels(out: Array, width: int) -> Array:
    """Rows (..., N, H) as panels of weights make them, (..., panels, N, width)."""
    *outer, rows, hidden = out.shape
    return as_view(out, *outer, rows, hidden // width, width).swapaxes(-2, -3)


def bound(spec: Spec, chunks: Callable[[int, Run], Iterator[Chunk]]) -> Chunks:
    """What ``chunks`` gives for each run of each worker, of it what is asked for."""

    def asked(chunk: Chunk) -> tuple[object, ...]:
        every = {**chunk.views, **chunk.lists}
        steps = [tuple(step[name] for name in spec.fields) for step in chunk.steps]
        return (*(every[name] for name in spec.before), steps)

    return [[asked(chunk) for run in mine for chunk in chunks(worker, run)] for worker, mine in enumerate(spec.runs)]
