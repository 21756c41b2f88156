"""Rows of softmax and the normalisations."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from lucid.graph.ops import norm
from lucid.graph.ops.source import constant

from .case import Case
from .shape import normal


def _softmax(name: str, shape: tuple[int, ...], dim: int) -> Case:
    return Case(
        f"{name}-{'x'.join(map(str, shape))}-dim{dim}",
        lambda x: getattr(norm, name)(x, dim),
        normal(shape),
        lambda torch, x: getattr(torch, name)(x, dim),
    )


def _large(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray[Any, Any], ...]:
    return (np.array([[1e4, 0.0, -1e4, 9999.0], [-700.0, -700.0, -701.0, -5000.0]], dtype),)


def _statistics(channels: int, dtype: Any) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """A mean and a variance; they are constants, as PyTorch has no gradient for them."""
    return np.linspace(-1, 1, channels).astype(dtype), np.linspace(0.5, 2, channels).astype(dtype)


def _batch_norm(shape: tuple[int, ...], weight: bool, bias: bool, eps: float) -> Case:
    def affine(vectors: Any) -> tuple[Any, Any]:
        rest = list(vectors)
        return rest.pop(0) if weight else None, rest.pop(0) if bias else None

    def ours(x: Any, *vectors: Any) -> Any:
        mean, var = (constant(x, v) for v in _statistics(shape[1], x.type.dtype))
        return norm.batch_norm(x, mean, var, *affine(vectors), eps=eps)

    def theirs(torch: Any, x: Any, *vectors: Any) -> Any:
        mean, var = (torch.tensor(v, dtype=x.dtype) for v in _statistics(shape[1], np.float64))
        return torch.nn.functional.batch_norm(x, mean, var, *affine(vectors), eps=eps)

    return Case(
        f"batch_norm-rank{len(shape)}-weight{weight:d}-bias{bias:d}",
        ours,
        normal(shape, *[shape[1:2]] * (weight + bias)),
        theirs,
        rtol=5e-5,  # scale and shift are combined beforehand, which rounds otherwise
        ops=("BatchNorm",),
    )


def _given_statistics(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray[Any, Any], ...]:
    x, mean, weight, bias = (np.asarray(rng.standard_normal(s), dtype) for s in ((2, 3, 4, 2), 3, 3, 3))
    return x, mean, np.asarray(rng.uniform(0.5, 2, 3), dtype), weight, bias


def _batch_norm_training(shape: tuple[int, ...], eps: float) -> Case:
    return Case(
        f"batch_norm-training-rank{len(shape)}",
        lambda x, w, b: norm.batch_norm(x, None, None, w, b, True, 0.1, eps),
        normal(shape, shape[1:2], shape[1:2]),
        lambda torch, x, w, b: torch.nn.functional.batch_norm(x, None, None, w, b, True, 0.1, eps),
        rtol=5e-5,  # the gradient is a difference of sums over the batch
        ops=("Standardize",),
    )


def _affine(
    name: str, shape: tuple[int, ...], argument: Any, vector: tuple[int, ...], weight: bool, bias: bool
) -> Case:
    def arguments(x: Any, *affine: Any) -> tuple[Any, ...]:
        rest = list(affine)
        return x, argument, rest.pop(0) if weight else None, rest.pop(0) if bias else None

    return Case(
        f"{name}-rank{len(shape)}-{argument}-weight{weight:d}-bias{bias:d}",
        lambda *xs: getattr(norm, name)(*arguments(*xs), eps=1e-3),
        normal(shape, *[vector] * (weight + bias)),
        # the backward pass of PyTorch's group_norm fails for a bias without a weight
        None
        if name == "group_norm" and bias and not weight
        else lambda torch, *xs: getattr(torch.nn.functional, name)(*arguments(*xs), eps=1e-3),
        rtol=5e-5,  # PyTorch and we sum the squares in another order
    )


_FLAGS = list(product((True, False), repeat=2))

CASES = [
    *(
        _softmax(name, shape, dim)
        for name in ("softmax", "log_softmax")
        for shape, dim in (((3, 4), -1), ((3, 4), 0), ((2, 3, 4, 2), 1), ((5,), 0), ((0, 3), 1), ((3, 0), 1))
    ),
    Case("softmax-large", lambda x: norm.softmax(x), _large, lambda torch, x: x.softmax(-1), gradient=False),
    Case(
        "log_softmax-large", lambda x: norm.log_softmax(x), _large, lambda torch, x: x.log_softmax(-1), gradient=False
    ),
    *(_batch_norm((3, 4, 2, 3), weight, bias, 1e-5) for weight, bias in _FLAGS),
    _batch_norm((3, 4), True, True, 1e-2),
    _batch_norm((2, 3, 4), True, True, 1e-2),
    _batch_norm((2, 3, 2, 2, 2), True, True, 1e-2),
    Case("batch_norm-gradient-of-the-statistics", lambda *xs: norm.batch_norm(*xs, eps=1e-2), _given_statistics),
    *(_batch_norm_training(shape, 1e-3) for shape in ((5, 3), (3, 2, 4), (3, 2, 4, 3))),
    *(_affine("layer_norm", (3, 5), (5,), (5,), weight, bias) for weight, bias in _FLAGS),
    _affine("layer_norm", (2, 3, 2, 4), (3, 2, 4), (3, 2, 4), True, True),
    *(_affine("group_norm", (2, 6, 2, 3), 3, (6,), weight, bias) for weight, bias in _FLAGS),
    _affine("group_norm", (3, 4), 2, (4,), True, True),
    _affine("group_norm", (2, 4, 3), 1, (4,), True, True),
    Case(
        "instance_norm",
        lambda x, w, b: norm.instance_norm(x, None, None, w, b, eps=1e-3),
        normal((2, 3, 4, 3), (3,), (3,)),
        lambda torch, x, w, b: torch.nn.functional.instance_norm(x, None, None, w, b, eps=1e-3),
        rtol=5e-5,  # sums in another order
    ),
    Case(
        "standardize-mean-and-variance",
        lambda x: norm.standardize(x, (0, 2), 1e-3),
        normal((3, 2, 4)),
    ),
]
