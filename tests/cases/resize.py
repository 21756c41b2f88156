"""Rows of resizing."""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.graph.ops.grid_sample import grid_sample
from lucid.graph.ops.resize import ResizeAttrs, resize

from .case import Case
from .shape import normal


def _to(
    label: str, shape: tuple[int, ...], sizes: tuple[int, ...], torch: dict[str, Any] | None = None, **options: Any
) -> Case:
    """The last axes made of these sizes."""
    axes = tuple(range(len(shape) - len(sizes), len(shape)))
    options = {"scales": (None,) * len(sizes), **options}
    return Case(
        f"resize-{label}",
        lambda x: resize(x, ResizeAttrs(axes, sizes, **options)),
        normal(shape),
        None if torch is None else lambda t, x: t.nn.functional.interpolate(x, sizes, **torch),
        ops=("Resize", "ResizeGrad"),
        rtol=1e-4,  # PyTorch computes positions in float32
    )


def _at(label: str, mode: str, padding: str, corners: bool, shape: tuple[int, ...] = (2, 3, 4, 5)) -> Case:
    """Images at places within them, and beyond."""
    places = (2, *(3, 2, 4)[: len(shape) - 2], len(shape) - 2)
    return Case(
        f"grid-sample-{label}",
        lambda x, grid: grid_sample(x, grid, mode, padding, corners),
        lambda rng, dtype: (
            np.asarray(rng.standard_normal(shape), dtype),
            np.asarray(rng.uniform(-1.7, 1.7, places), dtype),
        ),
        lambda t, x, grid: t.nn.functional.grid_sample(x, grid, mode, padding, align_corners=corners),
        gradient=mode != "nearest",
    )


ASYMMETRIC = {"coordinates": "asymmetric", "rounding": "floor"}
SAME = {"align_corners": False}

CASES = [
    _to("nearest-twice", (2, 3, 4, 5), (8, 10), {"mode": "nearest"}, **ASYMMETRIC),
    _to("nearest-rows", (2, 3, 4, 5), (12, 5), {"mode": "nearest"}, **ASYMMETRIC),
    _to("nearest-spread", (2, 3, 1, 1), (9, 10), {"mode": "nearest"}, **ASYMMETRIC),
    _to("nearest-volume", (2, 2, 3, 2, 4), (6, 6, 8), {"mode": "nearest"}, **ASYMMETRIC),
    _to("nearest-any", (2, 3, 4, 5), (7, 3), {"mode": "nearest"}, **ASYMMETRIC),
    _to("nearest-exact", (2, 3, 4, 5), (7, 3), {"mode": "nearest-exact"}, rounding="round_prefer_ceil"),
    _to("nearest-halves", (2, 3, 4, 5), (2, 11)),
    _to("nearest-ceil", (2, 3, 4, 5), (2, 11), rounding="ceil"),
    _to("nearest-tensorflow", (2, 3, 4, 5), (6, 3), coordinates="tf_half_pixel_for_nn", rounding="floor"),
    _to("linear-1d", (2, 3, 5), (9,), {"mode": "linear", **SAME}, mode="linear"),
    _to("linear-image", (2, 3, 4, 5), (8, 3), {"mode": "bilinear", **SAME}, mode="linear"),
    _to("linear-volume", (2, 2, 3, 2, 4), (2, 4, 7), {"mode": "trilinear", **SAME}, mode="linear"),
    _to("linear-corners", (2, 3, 4, 5), (7, 1), {"mode": "bilinear", "align_corners": True}, mode="linear",
        coordinates="align_corners"),
    _to("linear-smooth", (2, 3, 9, 8), (4, 11), {"mode": "bilinear", "antialias": True}, mode="linear",
        antialias=True, inside=True),
    _to("linear-batch", (3, 4), (5, 3), mode="linear", coordinates="half_pixel_symmetric", scales=(1.7, 0.8)),
    _to("linear-crop", (2, 3, 4, 5), (6, 3), mode="linear", coordinates="tf_crop_and_resize",
        crop=((-0.2, 0.9), (0.3, 1.4)), fill=2.5),
    _to("linear-one", (2, 3, 4, 5), (1, 2), mode="linear", coordinates="pytorch_half_pixel"),
    _to("cubic-image", (2, 3, 4, 5), (9, 3), {"mode": "bicubic", **SAME}, mode="cubic"),
    _to("cubic-smooth", (2, 3, 9, 8), (4, 11), {"mode": "bicubic", "antialias": True}, mode="cubic", cubic=-0.5,
        antialias=True, inside=True),
    _to("cubic-inside", (2, 3, 4, 5), (9, 3), mode="cubic", inside=True, cubic=-0.5),
    _to("cubic-symmetric", (2, 3, 4, 5), (9, 3), mode="cubic", coordinates="half_pixel_symmetric", scales=(2.3, 0.7)),
    _at("zeros", "bilinear", "zeros", False), _at("border", "bilinear", "border", True),
    _at("reflection", "bilinear", "reflection", False), _at("nearest", "nearest", "border", False),
    _at("nearest-corners", "nearest", "reflection", True), _at("cubic", "bicubic", "zeros", True),
    _at("cubic-border", "bicubic", "border", False), _at("cubic-reflection", "bicubic", "reflection", False),
    _at("volume", "bilinear", "reflection", True, (2, 2, 3, 4, 5)),
    _to("area", (2, 3, 9, 5), (4, 7), {"mode": "area"}, mode="area"),
]  # fmt: skip
