"""Type rules of convolutions and poolings: attributes that do not fit the image, and images of other ranks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lucid.errors import LucidError, OptionError, ShapeError
from lucid.graph.opdef import Attrs, OpDef
from lucid.graph.ops import avgpool, conv, pool
from lucid.graph.ops.windows import count_windows, refuse_empty_windows, windows_along
from lucid.graph.types import TensorType

CONV = conv.ConvAttrs((2, 2), (1, 0, 1, 2), (1, 1))
MAX = pool.MaxPoolAttrs((2, 3), (2, 2), (1, 0, 1, 2))
MEAN = avgpool.AvgPoolAttrs((2, 3), (2, 2), (1, 0, 1, 2))


def typed(*shape: Any) -> TensorType:
    return TensorType(shape, np.dtype("float32"))


X, W, DY = typed(2, 3, 9, 8), typed(4, 3, 2, 3), typed(2, 3, 5, 4)
DC, WT = typed(2, 4, 5, 4), typed(3, 4, 2, 3)
INDEX = DY.with_dtype(np.dtype("uint8"))
CASES: dict[str, tuple[OpDef, Attrs, list[TensorType]]] = {
    "conv": (conv.CONV, CONV, [X, W]),
    "conv_dx": (conv.CONV_GRAD_INPUT, conv.ConvInputAttrs(CONV, (9, 8)), [DC, W]),
    "conv_dw": (conv.CONV_GRAD_WEIGHT, conv.ConvWeightAttrs(CONV, (2, 3)), [X, DC]),
    "transpose": (conv.CONV_TRANSPOSE, conv.ConvTransposeAttrs(CONV, (1, 1)), [X, WT]),
    "max": (pool.MAX_POOL, MAX, [X]),
    "max_dx": (pool.MAX_POOL_GRAD, pool.MaxPoolGradAttrs(MAX, (9, 8)), [DY, INDEX]),
    "gather": (pool.MAX_POOL_GATHER, pool.MaxPoolGradAttrs(MAX, (9, 8)), [X, INDEX]),
    "positions": (pool.MAX_POOL_POSITIONS, pool.MaxPoolGradAttrs(MAX, (9, 8)), [INDEX]),
    "mean": (avgpool.AVG_POOL, MEAN, [X]),
    "mean_dx": (avgpool.AVG_POOL_GRAD, avgpool.AvgPoolGradAttrs(MEAN, (9, 8)), [DY]),
    "adaptive": (avgpool.ADAPTIVE_AVG_POOL, avgpool.AdaptiveAttrs((5, 4)), [X]),
    "adaptive_dx": (avgpool.ADAPTIVE_AVG_POOL_GRAD, avgpool.AdaptiveGradAttrs((9, 8)), [DY]),
    "arg_max": (avgpool.ADAPTIVE_ARG_MAX, avgpool.AdaptiveAttrs((5, 4)), [X]),
}


def changed(attrs: Attrs, change: Callable[[tuple[Any, ...]], tuple[Any, ...]]) -> list[Attrs]:
    """The attributes with one of their tuples, or one of attributes inside them, changed."""
    found: list[Attrs] = []
    for name, value in attrs.items():
        if isinstance(value, tuple):
            found.append(replace(attrs, **{name: change(value)}))
        elif isinstance(value, Attrs):
            found += [replace(attrs, **{name: inner}) for inner in changed(value, change)]
    return found


@pytest.mark.parametrize("name", CASES)
def test_attributes_have_a_number_for_each_axis(name: str) -> None:
    op, attrs, types = CASES[name]
    op.infer_types(attrs, types)
    for change in (lambda v: v[:-1], lambda v: (*v, v[-1]), lambda v: (), lambda v: v * 2):
        for wrong in changed(attrs, change):
            with pytest.raises(LucidError, match=r"numbers|of size|must be|rank 4"):
                op.infer_types(wrong, types)


@pytest.mark.parametrize("name", CASES)
def test_images_have_two_axes(name: str) -> None:
    op, attrs, types = CASES[name]
    for wrong in ([t.with_shape(t.shape[:-1]) for t in types], [t.with_shape((*t.shape, 4)) for t in types]):
        with pytest.raises(ShapeError, match=r"an image batch \(N, C, H, W\)"):
            op.infer_types(attrs, wrong)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (replace(CONV, stride=(1, 0)), r"stride must be at least 1, got \(1, 0\)"),
        (replace(CONV, dilation=(0, 1)), r"dilation must be at least 1, got \(0, 1\)"),
        (replace(CONV, padding=(0, 0, -1, 0)), r"padding must be at least 0, got \(0, 0, -1, 0\)"),
        (replace(CONV, groups=0), "groups must be positive, got 0"),
    ],
)
def test_there_are_such_windows(wrong: Attrs, words: str) -> None:
    with pytest.raises(OptionError, match=words):
        conv.CONV.infer_types(wrong, [X, W])


@pytest.mark.parametrize(
    ("size", "kernel", "counts"), [((9,), (2,), (5,)), ((9, 8), (2, 3), (5, 4)), ((9, 8, 5), (2, 3, 1), (5, 4, 4))]
)
def test_shape_rule_for_any_number_of_axes(
    size: tuple[int, ...], kernel: tuple[int, ...], counts: tuple[int, ...]
) -> None:
    ones = (1,) * len(size)
    windows = windows_along("op", len(size), kernel, (2,) * len(size), ones * 2, ones)
    x = typed(2, 3, *size)
    assert count_windows("op", x, windows) == counts
    if min(kernel) > 1:
        refuse_empty_windows("op", size, counts, windows)
    else:
        with pytest.raises(OptionError, match="see only padding"):
            refuse_empty_windows("op", size, counts, windows)
    side = {1: "length", 2: "height", 3: "depth"}[len(size)]
    with pytest.raises(ShapeError, match=f"op: a window of 20 .* is larger than the {side} 9"):
        count_windows("op", x, windows_along("op", len(size), (20, *kernel[1:]), ones, ones * 2, ones))
