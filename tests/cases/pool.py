"""Poolings."""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.graph.ops import avgpool, pool

from .case import Case


def distinct(*shape: int) -> Any:
    """No two elements are near each other, so that finite differences change no maximum."""

    def make(rng: np.random.Generator, dtype: str) -> tuple[Any, ...]:
        size = int(np.prod(shape))
        return ((rng.permutation(size).reshape(shape) / size * 4 - 2.003).astype(dtype),)

    return make


def _integers(*shape: int) -> Any:
    return lambda rng, dtype: (rng.integers(-9, 9, shape).astype(np.int32),)


def _max(name: str, shape: tuple[int, ...], *args: Any, torch: bool = True, **options: Any) -> Case:
    """A max pooling with PyTorch's padding."""
    pads = {**options, "pad_value": float("-inf")} if torch else options
    return Case(
        f"max_pool2d-{name}",
        lambda x: pool.max_pool2d(x, *args, **pads),
        distinct(*shape),
        (lambda t, x: t.nn.functional.max_pool2d(x, *args, **options)) if torch else None,
        ops=("MaxPool2d", "MaxPool2dGrad"),
    )


def _avg(name: str, shape: tuple[int, ...], *args: Any, **options: Any) -> Case:
    return Case(
        f"avg_pool2d-{name}",
        lambda x: avgpool.avg_pool2d(x, *args, **options),
        distinct(*shape),
        lambda t, x: t.nn.functional.avg_pool2d(x, *args, **options),
        ops=("AvgPool2d", "AvgPool2dGrad"),
    )


def _adaptive(kind: str, shape: tuple[int, ...], size: Any) -> Case:
    function = {"avg": avgpool.adaptive_avg_pool2d, "max": avgpool.adaptive_max_pool2d}[kind]
    ops = {"avg": ("AdaptiveAvgPool2d", "AdaptiveAvgPool2dGrad"), "max": ("AdaptiveArgMax2d",)}[kind]
    wanted = size if isinstance(size, tuple) else (size, size)
    even = all(s is None or d % s == 0 for d, s in zip(shape[-2:], wanted, strict=True))
    name = "x".join(map(str, shape)) + "-to-" + str(size).replace(" ", "")
    return Case(
        f"adaptive_{kind}_pool2d-{name}",
        lambda x: function(x, size),
        distinct(*shape),
        lambda t, x: getattr(t.nn.functional, f"adaptive_{kind}_pool2d")(x, size),
        ops=() if even else ops,
    )


CASES = [
    _max("2x2", (2, 3, 6, 8), 2, 2),
    _max("one", (2, 3, 4, 4), 1, 1),
    _max("stride-none", (3, 2, 7, 7), 3, None),
    _max("3x3-stride2-pad1", (2, 3, 9, 7), 3, 2, 1),
    _max("overlap-pad1", (2, 2, 6, 5), 3, 1, 1),
    _max("zero-pad", (2, 3, 6, 5), 3, 2, 1, torch=False),
    _max("zero-pad-dilated", (2, 2, 8, 9), (2, 3), (1, 2), (1, 2), (2, 2), torch=False),
    _max("rows-only", (2, 2, 6, 5), (3, 1), (2, 1), (1, 0)),
    _max("columns-only", (2, 2, 5, 8), (1, 4), (2, 3), (0, 2)),
    _max("dilated", (2, 2, 9, 11), 3, 2, 1, 2),
    _max("ceil", (2, 3, 6, 7), 3, 2, 1, ceil_mode=True),
    _max("ceil-overhang", (2, 2, 5, 8), 2, 2, ceil_mode=True),
    _max("5x5", (2, 2, 12, 12), 5, 3, 2),
    _max("17x17", (2, 1, 20, 18), 17, 1, 3),
    _max("single-image", (3, 6, 6), 2, 2),
    Case(
        "max_pool2d-positions",
        lambda x: pool.max_pool2d(x, 3, 2, 1, pad_value=float("-inf"), return_indices=True),
        distinct(2, 3, 7, 6),
        lambda t, x: t.nn.functional.max_pool2d(x, 3, 2, 1, return_indices=True),
        ops=("MaxPool2dPositions",),
    ),
    Case("max_pool2d-int", lambda x: pool.max_pool2d(x, 2, 1, 1), _integers(2, 3, 5, 4), gradient=False),
    Case(
        "max_pool2d-int-least",
        lambda x: pool.max_pool2d(x, 2, 1, 1, pad_value=float("-inf")),
        _integers(2, 3, 5, 4),
        gradient=False,
    ),
    _avg("2x2", (2, 3, 6, 8), 2),
    _avg("3x3-stride2-pad1", (2, 3, 9, 7), 3, 2, 1),
    _avg("real-only", (2, 2, 6, 5), 3, 1, 1, count_include_pad=False),
    _avg("ceil", (2, 3, 6, 7), 3, 2, 1, ceil_mode=True),
    _avg("ceil-real-only", (2, 3, 6, 7), (3, 2), (2, 3), (1, 1), True, False),
    _avg("divisor", (2, 3, 6, 7), (2, 3), (2, 1), 0, divisor_override=5),
    _avg("rows-only", (2, 3, 6, 5), (3, 1), (2, 1), (1, 0)),
    _avg("single-image", (3, 6, 6), 2),
    *(
        _adaptive(kind, shape, size)
        for kind in ("avg", "max")
        for shape, size in (
            ((2, 3, 7, 5), (3, 2)), ((2, 3, 6, 8), (3, 4)), ((2, 3, 6, 8), 1), ((2, 3, 5, 7), (None, 4)),
            ((2, 2, 3, 4), (5, 6)), ((3, 7, 5), 2),
        )
    ),
]  # fmt: skip


def _twice(x: Any) -> Any:
    """The gradient's gradient: pooling the gradient's way back takes ``MaxPool2dGather``."""
    attrs = pool.max_pool_attrs(3, 2, 1)
    _, index = pool.apply(pool.MAX_POOL, attrs, x)
    return pool.apply(pool.MAX_POOL_GATHER, pool.MaxPoolGradAttrs(attrs, x.type.shape[2:]), x * x, index)


CASES.append(Case("max_pool2d-gather", _twice, distinct(2, 3, 7, 6), ops=("MaxPool2dGather",)))
