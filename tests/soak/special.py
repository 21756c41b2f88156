"""Every row of the table of ops at special points: zeros, bounds, equal values, infinities, NaN, the smallest and the
largest numbers. Value and gradient, eager and compiled, against each other and, where it is installed, PyTorch.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

import lucid

from .deviations import COMPILED, SPECIAL, UNREAD, known
from .rows import Row, assert_same, inputs_of, rows, run, run_torch, torch
from .sweep import Case

SMALL = 120

_INF, _NAN = np.inf, np.nan

POINTS: dict[str, list[float]] = {
    "zeros": [0.0],
    "signed zeros": [0.0, -0.0],
    "equal": [1.5],
    "ones": [1.0, -1.0, 0.0],
    "ties": [2.0, 2.0, -2.0, 0.5],
    "bounds": [0.0, 6.0, 1.0, -1.0, 3.0, -3.0, 0.5, -0.5],
    "halves": [0.5, 1.5, 2.5, -0.5, -1.5, 20.0, -20.0],
    "far": [30.0, -30.0, 100.0, -100.0, 1e4, -1e4],
    "infinities": [_INF, -_INF, 1.0, 0.0],
    "infinite": [_INF],
    "minus infinite": [-_INF],
    "masked": [-_INF, 0.5, -1.0, 2.0],
    "nan": [_NAN, 1.0, -1.0, 0.0],
    "tiny": [1e-40, -1e-40, 1e-30, 0.0],
}
"""Sets of numbers that a float input is filled from."""


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """Rows and sets of points in an order of chance, until each has met each, in both float types."""
    table = rows()
    every = [(row, points, dtype) for row in table for points in POINTS for dtype in ("float32", "float64")]
    for index in rng.permutation(len(every)):
        row, points, dtype = every[index]
        seed = int(rng.integers(1 << 31))
        yield Case(f"{row.name}, {points}, {dtype}, {seed}", lambda r=row, p=points, d=dtype, s=seed: check(r, p, d, s))


def check(row: Row, points: str, dtype: str, seed: int) -> None:
    """One row, with the float inputs filled from one set of points."""
    rng = np.random.default_rng(seed)
    arrays = [
        np.asarray(rng.choice(POINTS[points], a.shape), dtype) if a.dtype.kind == "f" else a
        for a in inputs_of(row, dtype)
    ]
    eager = run(row.function, arrays, row)
    exact = not all(np.isfinite(POINTS[points]))  # else one infinity may spread over what is made together with it
    compiled = run(lucid.compile(row.function, exact=exact), arrays, row)
    if not known(COMPILED, row.name, points):
        assert_same(compiled, eager, "compiled against eager", none_is_zero=known(UNREAD, row.name, points))
    if torch is not None and row.torch is not None and not known(SPECIAL, row.name, points):
        assert_same(eager, run_torch(row, arrays), "against PyTorch", none_is_zero=True)
