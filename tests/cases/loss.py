"""Rows of the loss functions, over the product of their arguments."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from lucid.graph.ops import loss
from lucid.graph.ops.source import constant

from .case import Case
from .shape import Make, normal

REDUCTIONS = ("none", "mean", "sum")


WEIGHTS = (0.5, 2.0, 1.25)


def _weight(x: Any) -> Any:
    """Class weights as a constant: PyTorch has no gradient for them."""
    return constant(x, np.array(WEIGHTS, x.type.dtype))


def _classes(shape: tuple[int, ...], ignore: bool) -> Make:
    """Logits and class indices (some of them 1, to be ignored)."""

    def make(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray[Any, Any], ...]:
        axis = min(len(shape) - 1, 1)
        pattern = np.array([1, 2, 1, 0] if ignore else [2, 0, 1, 2])
        target = np.resize(pattern, shape[:axis] + shape[axis + 1 :])
        return np.asarray(rng.standard_normal(shape), dtype), np.asarray(target)

    return make


def _cross_entropy(shape: tuple[int, ...], weight: bool, reduction: str, smoothing: float, ignore: bool) -> Case:
    options = {"reduction": reduction, "label_smoothing": smoothing, "ignore_index": 1 if ignore else -100}
    label = f"rank{len(shape)}-weight{weight:d}-{reduction}-smooth{smoothing}-ignore{ignore:d}"
    return Case(
        f"cross_entropy-{label}",
        lambda x, t: loss.cross_entropy(x, t, _weight(x) if weight else None, **options),
        _classes(shape, ignore),
        lambda torch, x, t: torch.nn.functional.cross_entropy(
            x, t, torch.tensor(WEIGHTS, dtype=x.dtype) if weight else None, **options
        ),
    )


def _nll(shape: tuple[int, ...], weight: bool, reduction: str) -> Case:
    return Case(
        f"nll_loss-rank{len(shape)}-weight{weight:d}-{reduction}",
        lambda x, t: loss.nll_loss(x, t, _weight(x) if weight else None, 1, reduction),
        _classes(shape, True),
        lambda torch, x, t: torch.nn.functional.nll_loss(
            x, t, torch.tensor(WEIGHTS, dtype=x.dtype) if weight else None, ignore_index=1, reduction=reduction
        ),
    )


def _probabilities(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray[Any, Any], ...]:
    target = rng.uniform(0.1, 1, (3, 4, 2))
    return np.asarray(rng.standard_normal((3, 4, 2)), dtype), np.asarray(target / target.sum(1, keepdims=True), dtype)


def _soft(reduction: str, smoothing: float) -> Case:
    options: dict[str, Any] = {"reduction": reduction, "label_smoothing": smoothing}
    return Case(
        f"cross_entropy-probabilities-{reduction}-smooth{smoothing}",
        lambda x, t: loss.cross_entropy(x, t, **options),
        _probabilities,
        lambda torch, x, t: torch.nn.functional.cross_entropy(x, t, **options),
    )


def _pairwise(name: str, reduction: str, make: Make, **options: Any) -> Case:
    label = "".join(f"-{key}{value}" for key, value in options.items())
    return Case(
        f"{name}-{reduction}{label}",
        lambda x, t: getattr(loss, name)(x, t, reduction=reduction, **options),
        make,
        # PyTorch warns that its mean of kl_div is over elements
        None
        if (name, reduction) == ("kl_div", "mean")
        else lambda torch, x, t: getattr(torch.nn.functional, name)(x, t, reduction=reduction, **options),
    )


def _binary(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray[Any, Any], ...]:
    return tuple(np.asarray(rng.uniform(0.05, 0.95, (3, 4)), dtype) for _ in range(2))


def _log_pair(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray[Any, Any], ...]:
    x, target = (rng.uniform(0.1, 1, (3, 4)) for _ in range(2))
    return np.asarray(np.log(x), dtype), np.asarray(target, dtype)


def _far_logits(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray[Any, Any], ...]:
    return np.array([-1e4, -60.0, -30.0, 0.0, 30.0, 60.0, 1e4], dtype), np.array([1, 1, 0, 0.5, 1, 0, 0], dtype)


_REGRESSION = normal((3, 4), (3, 4))

CASES = [
    *(
        _cross_entropy((4, 3), weight, reduction, smoothing, ignore)
        for weight, reduction, smoothing, ignore in product((False, True), REDUCTIONS, (0.0, 0.2), (False, True))
    ),
    *(_cross_entropy((2, 3, 2, 2), True, reduction, 0.1, True) for reduction in REDUCTIONS),
    _cross_entropy((3,), False, "mean", 0.0, False),
    *(_soft(reduction, smoothing) for reduction, smoothing in product(REDUCTIONS, (0.0, 0.2))),
    *(
        _nll(shape, weight, reduction)
        for shape, weight, reduction in product(((4, 3), (2, 3, 2)), (False, True), REDUCTIONS)
    ),
    Case(
        "nll_loss-gradient-of-the-weight",
        lambda x, t, w: loss.nll_loss(x, t, w),
        lambda rng, dtype: (*_classes((4, 3), False)(rng, dtype), np.array(WEIGHTS, dtype)),
    ),
    *(_pairwise(name, reduction, _REGRESSION) for name in ("mse_loss", "l1_loss") for reduction in REDUCTIONS),
    *(
        _pairwise("smooth_l1_loss", reduction, _REGRESSION, beta=beta)
        for reduction, beta in product(REDUCTIONS, (0.0, 0.5, 1.0))
    ),
    *(
        _pairwise("huber_loss", reduction, _REGRESSION, delta=delta)
        for reduction, delta in product(REDUCTIONS, (0.5, 1.0))
    ),
    *(_pairwise("binary_cross_entropy", reduction, _binary) for reduction in REDUCTIONS),
    *(_pairwise("binary_cross_entropy_with_logits", reduction, _REGRESSION) for reduction in REDUCTIONS),
    *(
        _pairwise("kl_div", reduction, _log_pair, log_target=log_target)
        for reduction, log_target in product((*REDUCTIONS, "batchmean"), (False, True))
    ),
    Case(
        "binary_cross_entropy-weight",
        lambda x, t: loss.binary_cross_entropy(x, t, _weight(x)),
        lambda rng, dtype: tuple(a[:, :3] for a in _binary(rng, dtype)),
        lambda torch, x, t: torch.nn.functional.binary_cross_entropy(x, t, torch.tensor(WEIGHTS, dtype=x.dtype)),
    ),
    Case(
        "binary_cross_entropy_with_logits-weights",
        lambda x, t: loss.binary_cross_entropy_with_logits(x, t, _weight(x), "none", _weight(x) * 2),
        normal((4, 3), (4, 3)),
        lambda torch, x, t: torch.nn.functional.binary_cross_entropy_with_logits(
            x,
            t,
            torch.tensor(WEIGHTS, dtype=x.dtype),
            pos_weight=torch.tensor(WEIGHTS, dtype=x.dtype) * 2,
            reduction="none",
        ),
    ),
    Case(
        "binary_cross_entropy_with_logits-far",
        lambda x, t: loss.binary_cross_entropy_with_logits(x, t, reduction="none"),
        _far_logits,
        lambda torch, x, t: torch.nn.functional.binary_cross_entropy_with_logits(x, t, reduction="none"),
        gradient=False,
    ),
]
