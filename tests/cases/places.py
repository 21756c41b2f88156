"""Pixels at places: unpooling, grids, regions, moved taps; and determinants."""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.graph.ops import affine_grid as grids
from lucid.graph.ops import determinant, pool, pool_axes, roi, roi_align, unpool

from .case import Case
from .elementwise import away

Array = np.ndarray[Any, Any]


def _operands(*makers: Any) -> Any:
    def make(rng: np.random.Generator, dtype: str) -> tuple[Array, ...]:
        made = [np.asarray(one(rng)) for one in makers]
        return tuple(one.astype(dtype) if one.dtype.kind == "f" else one for one in made)

    return make


def _normal(*shape: int) -> Any:
    return lambda rng: rng.standard_normal(shape)


def _there_and_back(axes: int, **options: Any) -> Any:
    pools = {1: pool_axes.max_pool1d, 2: pool.max_pool2d, 3: pool_axes.max_pool3d}
    back = getattr(unpool, f"max_unpool{axes}d")

    def function(x: Any) -> Any:
        y, places = pools[axes](x, 2, 2, return_indices=True)
        return back(y, places, 2, **options)

    def theirs(torch: Any, x: Any) -> Any:
        y, places = getattr(torch.nn.functional, f"max_pool{axes}d")(x, 2, 2, return_indices=True)
        return getattr(torch.nn.functional, f"max_unpool{axes}d")(y, places, 2, **options)

    return function, theirs


def _unpooling(name: str, shape: tuple[int, ...], axes: int, **options: Any) -> Case:
    ours, theirs = _there_and_back(axes, **options)
    return Case(f"max_unpool{axes}d-{name}", ours, away(shape), theirs)


def _grid(name: str, count: int, size: tuple[int, ...], align: bool) -> Case:
    axes = len(size) - 2

    def theirs(torch: Any, theta: Any) -> Any:
        return torch.nn.functional.affine_grid(theta, size, align_corners=align)

    return Case(
        f"affine_grid-{name}", lambda theta: grids.affine_grid(theta, size, align),
        _operands(_normal(count, axes, axes + 1)), theirs,
    )  # fmt: skip


def _boxes(rng: np.random.Generator) -> Array:
    corners = np.sort(rng.uniform(-1, 9, (4, 2, 2)), 1)
    return corners.reshape(4, 4)


def _align(name: str, samples: int = 2, **options: Any) -> Case:
    return Case(
        f"roi_align-{name}",
        lambda x, rois, batch: roi_align.roi_align(x, rois, batch, (2, 3), 0.7, samples, **options),
        _operands(_normal(2, 3, 6, 5), _boxes, lambda rng: np.array([0, 1, 1, 0])),
        gradient=not options.get("largest"),
    )


_REGIONS = np.array([[0, 0, 0, 5, 4], [1, 1, 2, 3, 3], [1, 4, 4, 4, 4], [0, 9, 9, 12, 12]], float)

CASES = [
    _unpooling("plain", (2, 3, 6), 1),
    _unpooling("plain", (2, 3, 6, 4), 2),
    _unpooling("single", (3, 6, 4), 2),
    _unpooling("larger", (2, 3, 7, 5), 2, output_size=(7, 5)),
    _unpooling("plain", (1, 2, 4, 4, 6), 3),
    _unpooling("empty", (0, 2, 4, 4), 2),
    _grid("images", 2, (2, 3, 4, 5), False),
    _grid("corners", 2, (2, 1, 4, 3), True),
    _grid("volumes", 1, (1, 1, 2, 3, 4), False),
    _align("means"),
    _align("malformed", centred=False),
    _align("largest", largest=True),
    _align("means-of-all", 0),
    _align("malformed-of-all", 0, centred=False),
    _align("largest-of-all", 0, largest=True),
    Case(
        "max_roi_pool",
        lambda x: roi.max_roi_pool(x, x.constant(_REGIONS.astype(x.type.dtype)), (2, 2), 1.0),
        away((2, 3, 6, 5)),
    ),
    Case(
        "deform_conv2d",
        lambda x, offset, w, b, mask: roi.deform_conv2d(x, offset, w, b, (2, 1), (1, 1), (1, 2), mask, 2),
        _operands(
            _normal(2, 4, 6, 7),
            lambda rng: rng.uniform(0.1, 0.9, (2, 24, 3, 7)),
            _normal(6, 2, 3, 2),
            _normal(6),
            lambda rng: rng.uniform(0.2, 1.0, (2, 12, 3, 7)),
        ),
    ),
    Case("det", determinant.det, away((2, 3, 3)), lambda torch, x: torch.linalg.det(x)),
    Case("det-one", determinant.det, away((1, 1)), lambda torch, x: torch.linalg.det(x)),
    Case("det-empty", determinant.det, away((0, 2, 2))),
]
