"""Rows of what runs graphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lucid.graph.ops.control import cond

from .case import Case
from .shape import Make


def _with(condition: bool, *shapes: tuple[int, ...]) -> Make:
    def make(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray[Any, Any], ...]:
        return np.array(condition), *(rng.standard_normal(shape).astype(dtype) for shape in shapes)

    return make


def _if(label: str, ours: Callable[..., Any], theirs: Callable[..., Any], *shapes: tuple[int, ...]) -> list[Case]:
    return [
        Case(f"if-{label}-{taken}", ours, _with(taken, *shapes), theirs, ops=("If",)) for taken in (True, False)
    ]  # fmt: skip


def _nested(c: Any, x: Any, y: Any) -> Any:
    def inner() -> Any:
        return cond(x.sum() > y.sum(), lambda: [x * y], lambda: [x - y])

    return tuple(cond(c, inner, lambda: [y.exp()]))


CASES = [
    *_if(
        "product", lambda c, x, w: tuple(cond(c, lambda: [(x @ w).tanh()], lambda: [(x * 2).exp() @ w])),
        lambda torch, c, x, w: (x @ w).tanh() if c else (x * 2).exp() @ w, (3, 4), (4, 2),
    ),
    *_if(
        "captures-differ", lambda c, x, y: tuple(cond(c, lambda: [x * x, x], lambda: [y, y * 3])),
        lambda torch, c, x, y: (x * x, x + 0) if c else (y + 0, y * 3), (2, 3), (2, 3),
    ),
    *_if(
        "nested", _nested,
        lambda torch, c, x, y: ((x * y) if x.sum() > y.sum() else (x - y)) if c else y.exp(), (2, 3), (2, 3),
    ),
    *_if(
        "empty", lambda c, x: tuple(cond(c, lambda: [x * 2], lambda: [x - 1])),
        lambda torch, c, x: x * 2 if c else x - 1, (0, 3),
    ),
]  # fmt: skip
