"""Rows of inverse trigonometric and hyperbolic functions."""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.graph.ops import trigonometry as tr

from .case import Case
from .shape import Make, normal


def between(low: float, high: float) -> Make:
    return lambda rng, dtype: (np.asarray(rng.uniform(low, high, (3, 4)), dtype),)


_ROWS: list[tuple[str, Any, Make]] = [
    ("asin", tr.asin, between(-0.9, 0.9)), ("acos", tr.acos, between(-0.9, 0.9)), ("atan", tr.atan, normal((3, 4))),
    ("sinh", tr.sinh, normal((3, 4))), ("cosh", tr.cosh, normal((3, 4))), ("asinh", tr.asinh, normal((3, 4))),
    ("acosh", tr.acosh, between(1.2, 4.0)), ("atanh", tr.atanh, between(-0.9, 0.9)),
]  # fmt: skip

CASES = [
    Case(name, function, make, lambda torch, x, name=name: getattr(torch, name)(x)) for name, function, make in _ROWS
]
