"""Views for recurrent layers and their gradients: of each chunk of times, and of each time in it."""

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
"""For each worker, the views of each of its chunks; the last one is a list of the views of each time."""
Lists: TypeAlias = "Mapping[str, Sequence[tuple[object, ...]]]"
Copies: TypeAlias = "list[tuple[Array, Array, Array | bool]]"
"""Copies: target, source, and a mask of the elements to copy."""


class Chunk(NamedTuple):
    """A chunk of times: the views of all of them, and the lists that lines iterate over, by name; the views of each."""

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
    """The views that are asked for.

    Attributes
    ----------
    before, fields
        The names of views of a chunk, and of views of a time.
    runs
        The directions and sequences of each worker.
    hidden
        The size of a state.
    most
        The most times of a chunk.
    """

    before: tuple[str, ...]
    fields: tuple[str, ...]
    runs: Sequence[Sequence[Run]]
    hidden: int
    most: int

    def cuts(self, gates: int, *names: str) -> Cuts:
        """The views asked for of an array of gates: ``name`` stands for all gates, ``name_i`` for one of them."""
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
"""Gates by name: the first, and the one after the last."""

PLACES: Mapping[int, Places] = {
    1: {"z": (0, 1)},
    3: {"zr": (0, 2), "z": (0, 1), "r": (1, 2), "n": (2, 3)},
    4: {"iof": (0, 3), "i": (0, 1), "o": (1, 2), "f": (2, 3), "g": (3, 4)},
}
"""The names for a layer, by its number of gates."""
PEEPHOLES: Places = {"i": (0, 1), "o": (1, 2), "f": (2, 3)}


Index: TypeAlias = "EllipsisType | tuple[EllipsisType, int | slice, slice, slice]"
Cuts: TypeAlias = "list[tuple[list[str], Index]]"
"""Names, and the index that they stand for in an array (..., gates, N, H)."""


def planes(x: Array, cuts: Cuts) -> Named:
    """Gates, and parts of them, by name; several names may share a view.

    NumPy does not check for overlaps if a ufunc's input and output are the same view.
    """
    return {name: view for names, at in cuts for view in [x[at]] for name in names}


def peepholes_of(weight: Array | None, d: int, hidden: int) -> Named:
    """The weights of the peepholes of a direction."""
    if weight is None:
        return {}
    return {f"peep_{key}": weight[d, a * hidden : b * hidden] for key, (a, b) in PEEPHOLES.items()}


def in_panels(out: Array, width: int) -> Array:
    """Rows (..., N, H) viewed as the results of products with panels, (..., panels, N, width)."""
    *outer, rows, hidden = out.shape
    return as_view(out, *outer, rows, hidden // width, width).swapaxes(-2, -3)


def bound(spec: Spec, chunks: Callable[[int, Run], Iterator[Chunk]]) -> Chunks:
    """For each run of each worker, those views of ``chunks`` that are asked for."""

    def asked(chunk: Chunk) -> tuple[object, ...]:
        every = {**chunk.views, **chunk.lists}
        steps = [tuple(step[name] for name in spec.fields) for step in chunk.steps]
        return (*(every[name] for name in spec.before), steps)

    return [[asked(chunk) for run in mine for chunk in chunks(worker, run)] for worker, mine in enumerate(spec.runs)]
