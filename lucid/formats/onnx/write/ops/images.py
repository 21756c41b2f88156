"""Resizing of images."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from .....graph.dims import Dim
from .....graph.ops.resize import RESIZE, ResizeAttrs, simple_fraction
from .....graph.types import float32, is_float
from ..draft import Item, UnwritableError
from ..registry import Use, writer

SINCE = {"half_pixel_symmetric": 19}
"""The versions that introduced some of the conventions."""


@writer(RESIZE)
def resize(use: Use[ResizeAttrs]) -> Item:
    """By sizes if these determine the scales, and otherwise by scales, for all axes."""
    (x,), a = use.inputs, use.attrs
    shape, rank = use.types[0].shape, use.types[0].rank
    if a.mode == "area":
        raise UnwritableError("ONNX has no mean over areas: use adaptive_avg_pool2d")
    if a.coordinates == "tf_half_pixel_for_nn":
        raise UnwritableError("ONNX has these coordinates no more: use half_pixel")
    use.need(SINCE.get(a.coordinates, 0), f"the way {a.coordinates}")
    use.need(18 if a.antialias else 0, "antialias")
    cropped = a.coordinates == "tf_crop_and_resize"
    roi = use.array(_corners(a, rank), x.dtype if is_float(x.dtype) else float32) if cropped else None
    scales = sizes = None
    if all(
        scale is None or _is_exact(shape[axis], scale, size)
        for axis, size, scale in zip(a.axes, a.sizes, a.scales, strict=True)
    ):
        sizes = use.shape(use.type.shape)
    else:
        scales = use.array(_scales(a, shape), float32)
    y = use.emit(
        "Resize", x, roi, scales, sizes, mode=a.mode, coordinate_transformation_mode=a.coordinates,
        nearest_mode=a.rounding if a.mode == "nearest" else None, cubic_coeff_a=a.cubic if a.mode == "cubic" else None,
        exclude_outside=int(a.inside) or None, antialias=int(a.antialias) or None,
        extrapolation_value=a.fill if cropped else None,
    )  # fmt: skip
    return use.reshape(y, use.type.shape) if scales is not None and any(map(_may_fall_short, a.scales)) else y


def _may_fall_short(scale: float | None) -> bool:
    """Whether a runtime, which multiplies sizes by a float32, may get one too small: 116 for 1.3 times 90.

    The result is then reshaped to the size that it should have, so that the run fails otherwise.
    """
    return scale is not None and Fraction(float(np.float32(scale))) < simple_fraction(scale)


def _corners(a: ResizeAttrs, rank: int) -> list[float]:
    """The start, then the end, of the visible part of each axis."""
    crop = dict(zip(a.axes, a.crop, strict=True)) if a.crop else {}
    return [crop.get(axis, (0.0, 1.0))[end] for end in (0, 1) for axis in range(rank)]


def _is_exact(old: Dim, scale: float, new: Dim) -> bool:
    """Whether the ratio of the sizes equals the scale."""
    ratio = simple_fraction(scale)
    return old * ratio.numerator == new * ratio.denominator


def _scales(a: ResizeAttrs, shape: tuple[Dim, ...]) -> list[float]:
    made = [1.0] * len(shape)
    for axis, size, scale in zip(a.axes, a.sizes, a.scales, strict=True):
        old = shape[axis]
        if scale is not None:
            made[axis] = scale
        elif isinstance(old, int) and isinstance(size, int):
            made[axis] = size / old
        else:
            raise UnwritableError(
                "one axis has a scale, and of another the size is given and symbolic: give both alike"
            )
        if isinstance(old, int) and isinstance(size, int) and int(np.float32(old) * np.float32(made[axis])) != size:
            raise UnwritableError(f"no scale makes {size} of {old} elements as ONNX rounds: give sizes")
    return made
