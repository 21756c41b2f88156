"""Resizing, axis by axis and element by element: each is computed from the elements near its place in the input."""

from __future__ import annotations

import math

import numpy as np

from ..base.arrays import Array
from ..graph.ops import resize as ops
from ..graph.ops.resize import ResizeAttrs, ResizeGradAttrs
from .evaluator import reference


def _place(a: ResizeAttrs, number: int, i: int, size: int, new: int) -> float:
    """The position in the original axis of element ``i`` of the resized one."""
    scale = a.scales[number]
    scale = new / size if scale is None else scale
    if a.coordinates == "align_corners":
        return i * (size - 1) / (size * scale - 1) if new > 1 else 0.0
    if a.coordinates == "asymmetric":
        return i / scale
    if a.coordinates == "tf_half_pixel_for_nn":
        return (i + 0.5) / scale
    if a.coordinates == "tf_crop_and_resize":
        start, end = a.crop[number]
        if new == 1:
            return 0.5 * (start + end) * (size - 1)
        return start * (size - 1) + i * (end - start) * (size - 1) / (new - 1)
    if a.coordinates == "pytorch_half_pixel":
        return (i + 0.5) / scale - 0.5 if new > 1 else 0.0
    shift = size / 2 * (1 - new / (scale * size)) if a.coordinates == "half_pixel_symmetric" else 0.0
    return shift + (i + 0.5) / scale - 0.5


def _filter(a: ResizeAttrs, distance: float) -> float:
    x = abs(distance)
    if a.mode == "linear":
        return max(0.0, 1 - x)
    if x <= 1:
        return (a.cubic + 2) * x**3 - (a.cubic + 3) * x**2 + 1
    return a.cubic * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0


def _near(a: ResizeAttrs, number: int, i: int, size: int, new: int) -> dict[int, float] | None:
    """The elements that a new one is computed from, with their weights; None if it is outside the input."""
    place = _place(a, number, i, size, new)
    if abs(2 * place - round(2 * place)) < 1e-9:  # rounding errors beside a multiple of 1/2
        place = round(2 * place) / 2
    if a.coordinates == "tf_crop_and_resize" and not 0 <= place <= size - 1:
        return None
    if a.mode == "area":
        first, last = i * size // new, -(-(i + 1) * size // new)
        return dict.fromkeys(range(first, last), 1 / (last - first))
    if a.mode == "nearest":
        rounding = {
            "floor": math.floor(place), "ceil": math.ceil(place), "round_prefer_floor": math.ceil(place - 0.5),
            "round_prefer_ceil": math.floor(place + 0.5),
        }  # fmt: skip
        return {min(max(rounding[a.rounding], 0), size - 1): 1.0}
    scale = a.scales[number]
    narrow = min(1.0, new / size if scale is None else scale) if a.antialias else 1.0
    reach = math.ceil(2 / narrow) + 1
    found: dict[int, float] = {}
    total = 0.0
    for j in range(math.floor(place) - reach, math.floor(place) + reach + 1):
        weight = _filter(a, (j - place) * narrow)
        if weight and (0 <= j < size or not a.inside):
            at = min(max(j, 0), size - 1)
            found[at] = found.get(at, 0.0) + weight
            total += weight
    return {j: weight / total for j, weight in found.items()} if a.inside or narrow < 1 else found


def _matrix(a: ResizeAttrs, number: int, size: int) -> tuple[Array, list[int]]:
    """The weights (new, old) of old elements in new ones, and the new elements outside the input."""
    new = int(a.sizes[number])  # type: ignore[arg-type]  # concrete
    weights, beyond = np.zeros((new, size)), []
    for i in range(new):
        found = _near(a, number, i, size, new)
        if found is None:
            beyond.append(i)
        for j, weight in (found or {}).items():
            weights[i, j] = weight
    return weights, beyond


@reference(ops.RESIZE)
def resize(attrs: ResizeAttrs, x: Array) -> Array:
    y = x.copy()
    for number, axis in enumerate(attrs.axes):
        weights, _ = _matrix(attrs, number, x.shape[axis])
        if attrs.mode == "nearest":  # elements are only copied, so any type is possible
            y = y.take(weights.argmax(1), axis)
        else:
            y = np.moveaxis(np.tensordot(weights, y, (1, axis)), 0, axis)
    for number, axis in enumerate(attrs.axes):
        for i in _matrix(attrs, number, x.shape[axis])[1]:
            np.moveaxis(y, axis, 0)[i] = attrs.fill
    return y


@reference(ops.RESIZE_GRAD)
def resize_grad(attrs: ResizeGradAttrs, dy: Array) -> Array:
    dx = dy
    for number, axis in enumerate(attrs.forward.axes):
        weights, _ = _matrix(attrs.forward, number, int(attrs.shape[axis]))  # type: ignore[arg-type]
        dx = np.moveaxis(np.tensordot(weights.T, dx, (1, axis)), 0, axis)
    return dx
