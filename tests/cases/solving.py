"""Rows of what eliminates unknowns, of matrices that are far from singular."""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.graph.ops import matrix_exponential, solving

from .case import Case
from .elementwise import Make


def _regular(*shapes: tuple[int, ...]) -> Make:
    """Square matrices with a large diagonal, and others as they come."""

    def make(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray[Any, Any], ...]:
        found = [rng.standard_normal(shape) for shape in shapes]
        return tuple(
            np.asarray(x + 4 * np.eye(x.shape[-1]) if x.ndim > 1 and x.shape[-1] == x.shape[-2] else x, dtype)
            for x in found
        )

    return make


def _definite(x: Any) -> Any:
    return x @ x.mT


CASES = [
    Case("inv", solving.inv, _regular((2, 3, 3)), lambda torch, x: torch.linalg.inv(x)),
    Case("inv-one", solving.inv, _regular((1, 1)), lambda torch, x: torch.linalg.inv(x)),
    Case("inv-empty", solving.inv, _regular((0, 2, 2)), lambda torch, x: torch.linalg.inv(x)),
    Case("inv-no-size", solving.inv, _regular((2, 0, 0)), lambda torch, x: torch.linalg.inv(x)),
    *(
        Case(f"solve-{label}", solving.solve, _regular(a, b), lambda torch, a, b: torch.linalg.solve(a, b))
        for label, a, b in (
            ("vector", (3, 3), (3,)),
            ("vectors", (2, 3, 3), (2, 3)),
            ("matrix", (3, 3), (3, 2)),
            ("broadcast", (2, 1, 3, 3), (4, 3, 2)),
            ("empty", (0, 2, 2), (0, 2, 1)),
        )
    ),
    Case(
        "solve-right",
        lambda a, b: solving.solve(a, b, left=False),
        _regular((2, 3, 3), (4, 3)),
        lambda torch, a, b: torch.linalg.solve(a, b, left=False),
    ),
    Case(
        "cholesky",
        lambda x: solving.cholesky(_definite(x)),
        _regular((2, 3, 3)),
        lambda torch, x: torch.linalg.cholesky(_definite(x)),
        ops=("Cholesky",),
    ),
    Case(
        "cholesky-upper",
        lambda x: solving.cholesky(_definite(x), upper=True),
        _regular((1, 1)),
        lambda torch, x: torch.linalg.cholesky(_definite(x), upper=True),
    ),
    Case("slogdet", lambda x: tuple(solving.slogdet(x)), _regular((2, 3, 3)), lambda torch, x: torch.linalg.slogdet(x)),
    Case("logdet-empty", solving.logdet, _regular((0, 2, 2)), lambda torch, x: torch.logdet(x)),
    *(
        Case(
            f"matrix-exp-{label}",
            matrix_exponential.matrix_exp,
            _regular(shape),
            lambda torch, x: torch.linalg.matrix_exp(x),
        )
        for label, shape in (("several", (2, 3, 3)), ("one", (1, 1)), ("empty", (0, 2, 2)))
    ),
    Case("matrix-power", lambda x: solving.matrix_power(x, -3), _regular((2, 2)), rtol=1e-4),
]
