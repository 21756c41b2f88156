"""Rows of what sorts."""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.graph.ops import top_k

from .case import Case
from .shape import Make, normal


def _row(
    label: str, make: Make, k: int, dim: int = -1, largest: bool = True, gradient: bool = True, torch: bool = True
) -> Case:  # fmt: skip
    def theirs(torch: Any, x: Any) -> Any:
        return tuple(torch.topk(x, k, dim, largest))

    return Case(
        f"topk-{label}", lambda x: top_k.top_k(x, k, dim, largest), make, theirs if torch else None, gradient,
        ops=("TopK",),
    )  # fmt: skip


def _of(array: Any) -> Make:
    return lambda rng, dtype: (np.asarray(array, dtype if np.asarray(array).dtype.kind == "f" else None),)


_TIES = [[1.0, 3.0, 3.0, 2.0, 3.0, 1.0], [2.0, 2.0, 2.0, 2.0, 2.0, 2.0]]
_NAN = [[1.0, float("nan"), 3.0, 2.0, float("inf"), 1.0] + [0.0] * 12]

CASES = [
    _row("last", normal((3, 5)), 2),
    _row("smallest", normal((3, 5)), 3, largest=False),
    _row("first-axis", normal((6, 2, 2)), 4, 0),
    _row("image", normal((2, 7, 2, 3)), 3, 1),
    _row("all", normal((2, 4)), 4),
    _row("none", normal((2, 4)), 0),
    _row("no-rows", normal((0, 4)), 2),
    _row("few", normal((3, 40)), 4),
    _row("few-smallest", normal((40, 3)), 5, 0, largest=False),
    *(
        _row(f"ties-{k}-{largest}", _of(np.tile(_TIES, (1, 8))), k, largest=largest, gradient=False, torch=False)
        for k in (2, 40)
        for largest in (True, False)
    ),
    *(_row(f"nan-{largest}", _of(_NAN), 2, largest=largest, gradient=False, torch=False) for largest in (True, False)),
    _row("unsigned", _of(np.arange(20, dtype=np.uint8)[None, ::-1]), 2, largest=False, gradient=False, torch=False),
]
