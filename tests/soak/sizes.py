"""Every row of the table of ops at sizes 0, 1, 2, 3 and 5 of each of its axes: eager, compiled for those sizes, and
compiled once with the axis symbolic. Shapes, values, gradients and refusals agree, with PyTorch's too where it is
installed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

import lucid
from lucid import nn
from lucid.errors import LucidError

from ..op_checks import Function
from .deviations import SIZES, STRICT, UNCHECKED, UNREAD, known
from .rows import Outcome, Row, assert_same, inputs_of, rows, run, run_torch, torch
from .sweep import Case

SMALL = 80

TRIED = (3, 1, 0, 2, 5)

Axes = tuple[tuple[int, int], ...]


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """Rows and axes in an order of chance, until all have been tried."""
    every = [(row, axes) for row in rows() for axes in choices(inputs_of(row, "float32"))]
    for index in rng.permutation(len(every)):
        row, axes = every[index]
        yield Case(f"{row.name}, axes {axes}", lambda r=row, a=axes: check(r, a))


def choices(arrays: Sequence[np.ndarray[Any, Any]]) -> list[Axes]:
    """Axes (input, axis) that become one symbol: each alone, and all that share a size."""
    places = [(i, axis) for i, a in enumerate(arrays) for axis in range(a.ndim)]
    shared: dict[int, list[tuple[int, int]]] = {}
    for i, axis in places:
        shared.setdefault(arrays[i].shape[axis], []).append((i, axis))
    first = tuple((i, 0) for i, a in enumerate(arrays) if a.ndim and a.shape[0] == arrays[0].shape[:1])
    return list(dict.fromkeys([*((one,) for one in places), *map(tuple, shared.values()), *([first] if first else [])]))


def check(row: Row, axes: Axes) -> int:
    """One row with some axes symbolic, at each of the sizes."""
    arrays = inputs_of(row, "float32")
    specs = [
        lucid.spec(*("N" if (i, axis) in axes else d for axis, d in enumerate(a.shape)), dtype=a.dtype)
        for i, a in enumerate(arrays)
    ]
    try:
        symbolic = [lucid.compile(f, *specs) for f in (row.function, Trained(row.function))[: 1 + row.gradient]]
    except LucidError:
        symbolic = []  # said at once, and that is all that is asked
    tried = 0
    for size in TRIED:
        given = [resized(a, [axis for j, axis in axes if j == i], size) for i, a in enumerate(arrays)]
        eager, unread = run(row.function, given, row), known(UNREAD, row.name, str(size))
        ways = zip(("", "any size, ", "any size in training, "), (lucid.compile(row.function), *symbolic), strict=False)
        for way, compiled in ways:
            found = run(compiled, given, row)
            if found.refused is None or not known(STRICT, row.name, str(size)):
                assert_same(found, eager, f"compiled for {way}size {size}", none_is_zero=unread)
        apart = known(SIZES, row.name, str(size)) or (eager.refused and known(UNCHECKED, row.name, str(size)))
        if torch is not None and row.torch is not None and not apart:
            assert_same(eager, run_torch(row, given), f"PyTorch, size {size}", none_is_zero=True)
        tried += 1
    return tried


class Trained(nn.Module):
    """A function as a module in training, whose backward run reads what the forward run has kept."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, *given: Any) -> Any:
        return self.function(*given)


def resized(x: np.ndarray[Any, Any], axes: Sequence[int], size: int) -> np.ndarray[Any, Any]:
    """The array repeated, or cut, to this size along the axes."""
    for axis in axes:
        x = np.take(x, np.arange(size) % max(x.shape[axis], 1), axis) if x.shape[axis] else _grown(x, axis, size)
    return np.ascontiguousarray(x).reshape(x.shape)


def _grown(x: np.ndarray[Any, Any], axis: int, size: int) -> np.ndarray[Any, Any]:
    return np.ones((*x.shape[:axis], size, *x.shape[axis + 1 :]), x.dtype)


__all__ = ["SMALL", "Outcome", "cases"]
