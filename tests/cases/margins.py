"""Rows of the losses of distances and margins, and of likelihoods."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from lucid.nn import functional as F

from .case import Case
from .elementwise import Make, normal, positive

REDUCTIONS = ("none", "mean", "sum")


def _loss(
    name: str, make: Make, label: str = "", gradient: bool = True, tags: tuple[str, ...] = (), **options: Any
) -> Case:
    shown = "-".join(filter(None, [label, *(f"{key}{value}" for key, value in options.items())])) or "plain"
    return Case(
        f"{name}-{shown}",
        lambda *xs: getattr(F, name)(*xs, **options),
        make,
        lambda torch, *xs: getattr(torch.nn.functional, name)(*xs, **options),
        tags=frozenset(tags),
    )


def _signed(*shapes: tuple[int, ...]) -> Make:
    """Numbers of these shapes, and signs of the first axis of the first, as integers."""

    def make(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray[Any, Any], ...]:
        signs = np.resize([1, -1, -1, 1], shapes[0][:1] if len(shapes) > 1 else shapes[0])
        return *normal(*shapes)(rng, dtype), signs

    return make


def _scores(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray[Any, Any], ...]:
    return np.asarray(rng.standard_normal((5, 4)), dtype), np.array([0, 3, 1, 1, 2])


def _labels(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray[Any, Any], ...]:
    labels = np.array([[3, 0, -1, 1], [-1, 2, 2, 0], [0, 1, 2, 3], [2, 2, -1, -1], [1, -1, 1, -1]])
    return np.asarray(rng.standard_normal((5, 4)), dtype), labels


_COUNTS = positive((3, 4), (3, 4), low=0.2, high=6.0)


def _variances(shape: tuple[int, ...]) -> Make:
    return lambda rng, dtype: (*normal((3, 4), (3, 4))(rng, dtype), *positive(shape)(rng, dtype))


_TRIPLE = normal((4, 5), (4, 5), (4, 5))

DISTANCES = [
    *(_loss("triplet_margin_loss", _TRIPLE, reduction=r) for r in REDUCTIONS),
    _loss("triplet_margin_loss", _TRIPLE, swap=True, margin=2.0, p=1.0),
    _loss("triplet_margin_loss", normal((0, 5), (0, 5), (0, 5)), "empty", reduction="sum"),
    _loss("triplet_margin_with_distance_loss", _TRIPLE, swap=True, margin=0.5),
    Case(
        "triplet_margin_with_distance_loss-cosine",
        lambda a, b, c: F.triplet_margin_with_distance_loss(
            a, b, c, distance_function=lambda x, y: 1.0 - F.cosine_similarity(x, y)
        ),
        _TRIPLE,
        lambda torch, a, b, c: torch.nn.functional.triplet_margin_with_distance_loss(
            a, b, c, distance_function=lambda x, y: 1.0 - torch.nn.functional.cosine_similarity(x, y)
        ),
    ),
    *(
        _loss("margin_ranking_loss", _signed((4,), (4,)), reduction=r, margin=m)
        for r, m in product(REDUCTIONS, (0.0, 0.5))
    ),
    *(_loss("hinge_embedding_loss", _signed((4,)), reduction=r, margin=0.7) for r in REDUCTIONS),
    *(
        _loss("cosine_embedding_loss", _signed((4, 3), (4, 3)), reduction=r, margin=m)
        for r, m in product(REDUCTIONS, (0.0, -0.3))
    ),
    *(_loss("soft_margin_loss", _signed((4,)), reduction=r) for r in REDUCTIONS),
]


def _weighted_margin(reduction: str, p: int) -> Case:
    weights = (0.5, 2.0, 1.25, 0.0)
    return Case(
        f"multi_margin_loss-weight-{reduction}-{p}",
        lambda x, t: F.multi_margin_loss(x, t, p, 0.8, np.array(weights, x.type.dtype), reduction),
        _scores,
        lambda torch, x, t: torch.nn.functional.multi_margin_loss(
            x, t, p, 0.8, torch.tensor(weights, dtype=x.dtype), reduction=reduction
        ),
    )


CLASSES = [
    *(_loss("multi_margin_loss", _scores, reduction=r, p=p) for r, p in product(REDUCTIONS, (1, 2))),
    *(_weighted_margin(r, p) for r, p in product(("mean", "none"), (1, 2))),
    _loss("multi_margin_loss", lambda rng, dtype: (_scores(rng, dtype)[0][0], np.array(2)), "one", tags=("static",)),
    *(_loss("multilabel_margin_loss", _labels, reduction=r) for r in REDUCTIONS),
    _loss(
        "multilabel_margin_loss", lambda rng, dtype: tuple(a[0] for a in _labels(rng, dtype)), "one", tags=("static",)
    ),
    *(_loss("multilabel_soft_margin_loss", normal((4, 3), (4, 3)), reduction=r) for r in REDUCTIONS),
]

LIKELIHOODS = [
    *(
        _loss("poisson_nll_loss", _COUNTS, reduction=r, log_input=log, full=full)
        for r, log, full in (("none", True, False), ("mean", False, True), ("sum", True, True), ("none", False, False))
    ),
    *(
        _loss("gaussian_nll_loss", _variances(shape), "x".join(map(str, shape)), reduction=r, full=full)
        for shape, r, full in (((3, 4), "none", True), ((3,), "mean", False), ((3, 1), "sum", True))
    ),
    _loss("gaussian_nll_loss", normal((3, 4), (3, 4)), "number", var=0.7),
]


def _spoken(dims: tuple[int, int, int], targets: Any, steps: Any, lengths: Any) -> Make:
    def make(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray[Any, Any], ...]:
        return np.asarray(rng.standard_normal(dims), dtype), *map(np.asarray, (targets, steps, lengths))

    return make


_ROWS = [[1, 2, 2], [3, 0, 0], [1, 3, 1], [0, 0, 0]]


def _ctc(label: str, make: Make, gradient: bool = True, **options: Any) -> Case:
    """Of log-probabilities, as PyTorch's gradient is one of the numbers that are made into them."""
    return Case(
        f"ctc_loss-{label}",
        lambda x, t, s, n: F.ctc_loss(F.log_softmax(x, -1), t, s, n, **options),
        make,
        lambda torch, x, t, s, n: torch.nn.functional.ctc_loss(torch.log_softmax(x, -1), t, s, n, **options),
        gradient,
        tags=frozenset(["static"]),
    )


CTC = [
    *(_ctc(r, _spoken((6, 4, 4), _ROWS, [6, 4, 6, 3], [3, 1, 3, 0]), reduction=r) for r in REDUCTIONS),
    _ctc("blank", _spoken((5, 2, 4), [[1, 2], [0, 1]], [5, 4], [2, 2]), blank=3),
    _ctc("in-a-row", _spoken((6, 4, 4), [1, 2, 2, 3, 1, 3, 1], [6, 4, 6, 3], [3, 1, 3, 0]), reduction="none"),
    _ctc("too-short", _spoken((4, 2, 3), [[1, 1, 1], [1, 2, 1]], [4, 4], [3, 3]), reduction="none", zero_infinity=True),
    _ctc("infinite", _spoken((4, 2, 3), [[1, 1, 1], [1, 2, 1]], [4, 4], [3, 3]), False, reduction="none"),
    Case(
        "ctc_loss-one",
        lambda x, t: F.ctc_loss(F.log_softmax(x, -1), t, np.array(5), np.array(2), reduction="none"),
        lambda rng, dtype: (np.asarray(rng.standard_normal((5, 3)), dtype), np.array([2, 1])),
        lambda torch, x, t: torch.nn.functional.ctc_loss(
            torch.log_softmax(x, -1), t, torch.tensor(5), torch.tensor(2), reduction="none"
        ),
        tags=frozenset(["static"]),
    ),
    Case(
        "ctc_loss-of-log-probabilities",
        lambda x, t, s, n: F.ctc_loss(x, t, s, n, reduction="none"),
        _spoken((5, 2, 3), [[1, 2], [2, 0]], [5, 4], [2, 1]),
        tags=frozenset(["static"]),
    ),
]

CASES = [*DISTANCES, *CLASSES, *LIKELIHOODS, *CTC]
