"""Rows of the ops with data-dependent sizes: padded, so that their shapes are known."""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.graph.opdef import NoAttrs, apply, apply_all
from lucid.graph.ops import data_dependent as ops

from .case import Case
from .shape import Make, normal


def _of(*arrays: Any) -> Make:
    return lambda rng, dtype: tuple(np.asarray(x, dtype if np.asarray(x).dtype.kind == "f" else None) for x in arrays)


def _places(label: str, make: Make) -> Case:
    return Case(f"nonzero-{label}", lambda x: apply_all(ops.NONZERO, NoAttrs(), x), make, gradient=False,
                ops=("NonZero",))  # fmt: skip


def _unique(label: str, make: Make, axis: int | None = None, ordered: bool = True, nan: bool = True) -> Case:
    attrs = ops.UniqueAttrs(axis, ordered, nan)
    return Case(f"unique-{label}", lambda x: apply_all(ops.UNIQUE, attrs, x), make, gradient=False, ops=("Unique",))


def _boxes(label: str, shape: tuple[int, int, int], wanted: int, least: float | None = None, nan: bool = False,
           **attrs: Any) -> Case:  # fmt: skip
    """Boxes of few places, so that many overlap, and scores with ties."""
    images, classes, count = shape

    def make(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray[Any, Any], ...]:
        middle, size = rng.integers(0, 4, (images, count, 2)), rng.integers(0, 4, (images, count, 2))
        boxes = np.concatenate([middle, size] if attrs.get("centred") else [middle + size, middle - size], 2)
        scores = np.asarray(rng.integers(0, 6, (images, classes, count)) / 4, dtype)
        if nan:
            scores[..., ::3] = np.nan
        limits = np.asarray(0.3, dtype), *([] if least is None else [np.asarray(least, dtype)])
        return boxes.astype(dtype), scores, np.asarray(wanted), *limits

    made = ops.SuppressionAttrs(**{"most": count, **attrs})
    return Case(f"suppression-{label}", lambda *given: apply_all(ops.SUPPRESSION, made, *given), make,
                gradient=False, ops=("NonMaxSuppression",), tags=frozenset({"static"}))  # fmt: skip


_REPEATED = np.array([[2.0, 1.0, 2.0], [2.0, 1.0, 2.0], [-1.0, 1.0, np.nan], [2.0, 1.0, -0.0]])

CASES = [
    Case("found", lambda x: apply(ops.FOUND, ops.FoundAttrs(2), x, x.constant(np.asarray(2))), normal((5, 3)),
         lambda torch, x: x[:2], ops=("Found",)),
    _places("matrix", _of([[0.0, 1.5], [-0.0, np.nan], [2.0, 0.0]])),
    _places("bools", _of(np.arange(24).reshape(2, 3, 4) % 5 == 0)),
    _places("none", _of(np.zeros((3, 2)))),
    _places("all", _of(np.ones(3, np.uint8))),
    _places("empty", _of(np.zeros((0, 2)))),
    _places("scalar", _of(np.float64(3))),
    _unique("elements", _of(_REPEATED)),
    _unique("as-they-come", _of(_REPEATED), None, False),
    _unique("each-nan", _of(np.array([np.nan, 1.0, np.nan, 1.0, -np.inf])), None, True, False),
    _unique("rows", _of(_REPEATED[:, :2]), 0),
    _unique("columns-as-they-come", _of(_REPEATED[:2]), 1, False),
    _unique("integers", _of(np.array([[3, 1], [3, 2]], np.int8))),
    _unique("none", _of(np.zeros((0, 3)))),
    _unique("rows-of-nothing", _of(np.zeros((3, 0))), 0),
    _boxes("some", (2, 3, 9), 3, most=3),
    _boxes("all", (1, 2, 9), 100, 0.3),
    _boxes("centred", (2, 1, 9), 4, centred=True),
    _boxes("negative", (1, 2, 5), -3),
    _boxes("unbounded", (1, 2, 5), 10**12),
    _boxes("nan", (1, 2, 9), 9, 0.1, nan=True),
    _boxes("nan-ranked", (1, 2, 9), 9, nan=True),
    _boxes("no-boxes", (2, 2, 0), 3),
    _boxes("no-images", (0, 2, 3), 3),
]  # fmt: skip
