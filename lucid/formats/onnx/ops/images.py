"""Operators that resize images, and rearrange pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np

from ....errors import GraphError
from ....graph.dims import Dim
from ....graph.opdef import AbstractTensor
from ....graph.ops import shape
from ....graph.ops.affine_grid import affine_grid
from ....graph.ops.bounds import clip
from ....graph.ops.grid_sample import grid_sample
from ....graph.ops.promotion import cast
from ....graph.ops.resize import ResizeAttrs, resize, scaled
from ....graph.types import DType, float32, float64, is_float
from ..registry import Call, Value, concrete, converter
from .shapes import axes_of


def _numbers(call: Call, value: Value, what: str) -> list[float] | None:
    """Numbers that must be known when the model is built; None if there are none."""
    if value is None:
        return None
    return [_simple(one) for one in concrete(call.known(value, what)).ravel()] or None


def _simple(value: float) -> float:
    """The simple fraction that was stored as this float32, if there is one."""
    simple = float(Fraction(float(value)).limit_denominator(4096))
    return simple if np.float32(simple) == np.float32(value) else float(value)


@converter("Upsample", host=(1,))
def upsample(call: Call, x: Value, scales: Value = None) -> AbstractTensor:
    image = call.tensor(x)
    found = _numbers(call, scales, "the scales") or call.attribute("scales")
    if found is None:  # of version 1
        found = [1.0, 1.0, call.required("height_scale"), call.required("width_scale")]
    return _resized(call, image, tuple(range(image.type.rank)), found, None, "asymmetric", "floor")


@converter("Resize", since=10, host=(1,))
def resize_of_10(call: Call, x: Value, scales: Value) -> AbstractTensor:
    image = call.tensor(x)
    found = _numbers(call, scales, "the scales")
    return _resized(call, image, tuple(range(image.type.rank)), found, None, "asymmetric", "floor")


@converter("Resize", since=11, host=(1, 2, 3))
def resize_(call: Call, x: Value, roi: Value = None, scales: Value = None, sizes: Value = None) -> AbstractTensor:
    image = call.tensor(x)
    axes = tuple(axis % image.type.rank for axis in (axes_of(call, None) or range(image.type.rank)))
    coordinates = call.attribute("coordinate_transformation_mode", "half_pixel")
    crop = _numbers(call, roi, "the region") if coordinates == "tf_crop_and_resize" else None
    factors = _numbers(call, scales, "the scales")
    wanted = call.dims(sizes, "the sizes") if sizes is not None else ()
    rounding = call.attribute("nearest_mode", "round_prefer_floor")
    return _resized(call, image, axes, factors, wanted or None, coordinates, rounding, crop)


def _resized(
    call: Call, x: AbstractTensor, axes: tuple[int, ...], scales: Sequence[float] | None,
    sizes: Sequence[Dim] | None, coordinates: str, rounding: str, crop: list[float] | None = None,
) -> AbstractTensor:  # fmt: skip
    mode = call.attribute("mode", "nearest")
    modes = {"nearest": "nearest", "linear": "linear", "bilinear": "linear", "cubic": "cubic"}
    if mode not in modes:
        raise GraphError(f"unknown mode {mode!r}")
    stretched: Sequence[float | None]
    if sizes is not None:
        sizes, stretched = _keeping_aspect(call, [x.type.shape[axis] for axis in axes], sizes)
    elif scales is None:
        raise GraphError("it has neither scales nor sizes")
    else:
        stretched = scales
        sizes = tuple(scaled(x.type.shape[axis], scale) for axis, scale in zip(axes, scales, strict=True))
    attrs = ResizeAttrs(
        axes, tuple(sizes), tuple(stretched), modes[mode], coordinates, rounding,
        call.attribute("cubic_coeff_a", -0.75),
        bool(call.attribute("exclude_outside", 0)), bool(call.attribute("antialias", 0)) and mode != "nearest",
        () if crop is None else tuple((crop[i], crop[len(axes) + i]) for i in range(len(axes))),
        call.attribute("extrapolation_value", 0.0),
    )  # fmt: skip
    if mode == "nearest" or is_float(x.type.dtype):
        return resize(x, attrs)
    return _truncated(resize(cast(x, float64 if x.type.dtype.itemsize > 2 else float32), attrs), x.type.dtype)


def _truncated(x: AbstractTensor, dtype: DType) -> AbstractTensor:
    """As integers, rounded towards zero as in ONNX Runtime (the format does not say how).

    What a cubic curve adds beyond the range of the type is cut off.
    """
    limits = np.iinfo(dtype.name)
    largest = float(limits.max)
    if largest > limits.max:  # no float is the largest integer of 64 bits
        largest = math.nextafter(largest, 0.0)
    return cast(clip(x, float(limits.min), largest), dtype)


def _keeping_aspect(
    call: Call, before: Sequence[Dim], sizes: Sequence[Dim]
) -> tuple[Sequence[Dim], Sequence[float | None]]:
    """Sizes and scales; a single scale for all axes if the image is to keep its proportions."""
    policy = call.attribute("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch":
        return sizes, [None] * len(sizes)
    if policy not in ("not_larger", "not_smaller"):
        raise GraphError(f"unknown keep_aspect_ratio_policy {policy!r}")
    pairs = [(a, b) for a, b in zip(before, sizes, strict=True) if isinstance(a, int) and isinstance(b, int)]
    if len(pairs) < len(sizes):
        raise GraphError(f"keep_aspect_ratio_policy {policy} needs sizes that are numbers: give the model fixed shapes")
    ratios = [Fraction(new, old) for old, new in pairs]
    ratio = min(ratios) if policy == "not_larger" else max(ratios)
    return [int(ratio * old + Fraction(1, 2)) for old, _ in pairs], [float(ratio)] * len(sizes)


@converter("DepthToSpace", picks=(0,))
def depth_to_space(call: Call, x: Value) -> AbstractTensor:
    return _blocks(call, x, shape.depth_to_space)


@converter("SpaceToDepth", picks=(0,))
def space_to_depth(call: Call, x: Value) -> AbstractTensor:
    return _blocks(call, x, shape.space_to_depth)


def _blocks(call: Call, x: Value, function: Callable[..., AbstractTensor]) -> AbstractTensor:
    """Apply a function that turns channels into pixels or pixels into channels."""
    mode = call.attribute("mode", "DCR")
    if mode not in ("DCR", "CRD"):
        raise GraphError(f"unknown mode {mode!r}")
    return function(call.tensor(x), call.required("blocksize"), deep_first=mode == "CRD")


@converter("GridSample", since=16)
def grid_sample_(call: Call, x: Value, grid: Value) -> AbstractTensor:
    image, places = call.tensors(x, grid)
    mode = call.attribute("mode", "bilinear" if call.node.version < 20 else "linear")
    modes = {"linear": "bilinear", "cubic": "bicubic"}
    padding = call.attribute("padding_mode", "zeros")
    return grid_sample(image, places, modes.get(mode, mode), padding, bool(call.attribute("align_corners", 0)))


@converter("AffineGrid", since=20, host=(1,))
def affine_grid_(call: Call, theta: Value, size: Value) -> AbstractTensor:
    sizes = call.ints(size, "the size")
    return affine_grid(call.tensor(theta), sizes, bool(call.attribute("align_corners", 0)))
