"""Rows of what orders, chooses and puts elements, and of sums of products."""

from __future__ import annotations

from typing import Any

import numpy as np

import lucid
from lucid.graph.ops import composite, scatter, trigonometry

from .case import Case
from .elementwise import Make, away, normal

INDEX = np.array([[0, 2, 2], [1, 1, 0]])


def _same(
    name: str, make: Make, *args: Any, label: str = "", gradient: bool = True, tags: str = "", **options: Any
) -> Case:
    """The function of that name here and in PyTorch."""
    shown = label or "-".join([*map(str, args), *(f"{key}{value}" for key, value in options.items())]) or "plain"
    return Case(
        f"selecting-{name}-{shown}",
        lambda *xs: getattr(lucid, name)(*xs, *args, **options),
        make,
        lambda torch, *xs: getattr(torch, name)(*xs, *args, **options),
        gradient,
        tags=frozenset(tags.split()),
    )


ORDERED = [
    _same("topk", away((4, 6)), 3, label="all-sorts"),
    _same("topk", away((6, 4)), 2, 0, False, label="smallest"),
    *(_same("sort", away((5, 4)), dim, descending=down) for dim in (0, -1) for down in (False, True)),
    _same("sort", away((0, 4)), label="empty"),
    _same("sort", away(()), label="scalar"),
    _same("argsort", away((5, 4)), 0, gradient=False),
    _same("median", away((3, 5)), label="all"),
    _same("median", away((3, 4)), 1, True),
    _same("median", away((5, 3)), 0),
    _same("cumprod", normal((4, 7)), 1),
    _same("cumprod", lambda rng, dtype: (np.array([[2.0, 0, 3, 4], [0, 1, 0, 2]], dtype),), 1, label="zeros"),
    _same("cumprod", normal((3, 1)), 1, label="one"),
    _same("cumprod", normal((2, 0)), 1, label="none"),
]


def _placed(
    name: str, shape: tuple[int, ...], *args: Any, label: str, tags: str = "", torch: bool = True, **options: Any
) -> Case:
    def make(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray[Any, Any], ...]:
        return away((2, 4), shape)(rng, dtype)

    return Case(
        f"selecting-{name}-{label}",
        lambda x, s: getattr(scatter, name)(x, args[0], x.constant(args[1]), s, *args[2:], **options),
        make,
        (lambda torch, x, s: getattr(torch, name)(x, args[0], torch.from_numpy(args[1]), s, *args[2:], **options))
        if torch
        else None,
        tags=frozenset(tags.split()),
    )


ALONE = np.array([[0, 2, 3], [1, 3, 0]])
PLACED = [
    _placed("scatter", (2, 3), 1, ALONE, label="rows", tags="static"),
    _placed(
        "scatter", (3, 5), 0, np.array([[1, 0, 1, 0]]), label="larger-source", tags="static", torch=False
    ),  # its gradient fails there
    _placed("scatter_add", (2, 3), 1, INDEX, label="meeting", tags="static"),
    _placed("scatter_add", (2, 3), 0, np.array([[1, 0, 1], [1, 1, 0]]), label="first-axis", tags="static"),
    *(
        _placed("scatter_reduce", (2, 3), 1, INDEX, how, label=f"{how}-{own}", include_self=own, tags="static")
        for how in ("sum", "prod", "mean", "amax", "amin")
        for own in (True, False)
    ),
    _placed("index_add", (2, 3), 1, np.array([0, 2, 2]), label="meeting", alpha=-0.5, tags="static"),
    _placed("index_copy", (2, 3), 1, np.array([3, 0, 1]), label="columns", tags="static"),
    Case(
        "selecting-index_fill-columns",
        lambda x: scatter.index_fill(x, 1, x.constant(np.array([2, 0])), -1.5),
        normal((3, 4)),
        lambda torch, x: x.index_fill(1, torch.tensor([2, 0]), -1.5),
    ),
    Case(
        "selecting-scatter-number",
        lambda x: scatter.scatter(x, 1, x.constant(ALONE), 2.5),
        normal((2, 4)),
        lambda torch, x: x.scatter(1, torch.from_numpy(ALONE), 2.5),
        tags=frozenset(["static"]),
    ),
    Case(
        "selecting-scatter-multiply",
        lambda x: scatter.scatter(x, 1, x.constant(INDEX), 2.5, "multiply"),
        normal((2, 4)),
        tags=frozenset(["static"]),
    ),
]

SUMS = [
    _same("addmm", normal((3, 5), (3, 4), (4, 5)), beta=0.5, alpha=2.0),
    _same("addmm", normal((5,), (3, 4), (4, 5)), label="row"),
    _same("baddbmm", normal((2, 3, 5), (2, 3, 4), (2, 4, 5)), beta=2.0),
    _same("addcmul", normal((3, 4), (3, 1), (4,)), value=0.5),
    _same("addcdiv", away((3, 4), (3, 4), (3, 4)), value=-1.5),
    _same("lerp", normal((3, 4), (3, 4)), 0.3),
    _same("lerp", normal((3, 4), (4,), (3, 4)), label="tensors"),
    *(_same("diag", normal((4,)), k) for k in (0, 1, -2)),
    *(_same("diag", normal((4, 3)), k, label=f"matrix{k}", tags="static") for k in (0, 1, -2, 5)),
    _same("meshgrid", normal((3,), (2,), (4,)), indexing="ij"),
    _same("meshgrid", normal((3,), (2,), (4,)), indexing="xy"),
    *(_same("cdist", normal((2, 4, 3), (2, 5, 3)), p=p) for p in (1.0, 2.0, float("inf"))),
    Case(
        "selecting-atan2", trigonometry.atan2, away((4, 3), (3,)), lambda torch, a, b: torch.atan2(a, b), ops=("Atan2",)
    ),
    Case(
        "selecting-atan2-axes",
        trigonometry.atan2,
        lambda rng, dtype: (np.array([0.0, 1, -1, 0, -0.0], dtype), np.array([0.0, 0, 0, -2, -1], dtype)),
        lambda torch, a, b: torch.atan2(a, b),
        gradient=False,
    ),
    Case("selecting-trunc", composite.trunc, away((3, 4)), lambda torch, x: torch.trunc(x), gradient=False),
]

CASES = [*ORDERED, *PLACED, *SUMS]
