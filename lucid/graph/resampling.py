"""Geometry of resampling an axis: the source elements of each result and their weights."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..base.arrays import Array
from ..base.structs import struct

MODES = ("nearest", "linear", "cubic", "area")
COORDINATES = (
    "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "asymmetric", "align_corners", "tf_crop_and_resize",
    "tf_half_pixel_for_nn",
)  # fmt: skip
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


@struct(frozen=True)
class Resampling:
    """How positions in a resized axis map to positions in the original, and these to elements.

    Attributes
    ----------
    mode
        One of :data:`MODES`.
    coordinates
        One of :data:`COORDINATES`.
    rounding
        For mode nearest, one of :data:`ROUNDINGS`.
    cubic
        The coefficient of the cubic kernel.
    inside
        Whether elements beyond the ends have weight 0; otherwise the end elements are repeated.
    antialias
        Whether the filter of an axis that shrinks widens accordingly.
    """

    mode: str
    coordinates: str
    rounding: str
    cubic: float
    inside: bool
    antialias: bool


class Taps(NamedTuple):
    """The elements and weights from which each element of a resized axis is computed.

    Attributes
    ----------
    sources, weights
        Of shape (taps, new size): elements of the original axis, and their weights.
    outside
        Positions whose coordinates lie beyond the original axis, if these get another value.
    """

    sources: Array
    weights: Array
    outside: Array


def taps(how: Resampling, size: int, new: int, scale: float | None, crop: tuple[float, float]) -> Taps:
    """The taps of an axis of ``size`` elements that is resized to ``new``.

    Parameters
    ----------
    how
        The kind of resampling.
    size, new
        Sizes of the axis before and after, at least 1.
    scale
        The scale of the coordinates; None for the ratio of the sizes.
    crop
        For ``tf_crop_and_resize``, the visible part of the axis, from 0 to 1.
    """
    stretch = new / size if scale is None else scale
    place = coordinates(how.coordinates, size, new, stretch, crop)
    cropped = how.coordinates == "tf_crop_and_resize"
    outside = np.flatnonzero((place < 0) | (place > size - 1)) if cropped else np.zeros(0, np.intp)
    if how.mode == "area":
        index, weight = _area(size, new)
    elif how.mode == "nearest":
        index = rounded(place, how.rounding)[None]
        weight = np.ones(index.shape)
    else:
        index, weight = _filtered(how, place, min(stretch, 1.0) if how.antialias else 1.0, size)
    weight[:, outside] = 0.0
    return Taps(index.clip(0, size - 1).astype(np.intp), weight, outside)


def coordinates(name: str, size: int, new: int, scale: float, crop: tuple[float, float]) -> Array:
    """The position in the original axis of each position of the new one.

    Tiny deviations are rounded away, so that whole numbers and halves are exact.
    """
    i = np.arange(new, dtype=np.float64)
    if name == "align_corners":
        length = size * scale  # the corners of an axis that is cut off need not be seen
        place = i * ((size - 1) / (length - 1)) if new > 1 else 0 * i
    elif name == "asymmetric":
        place = i / scale
    elif name == "tf_half_pixel_for_nn":
        place = (i + 0.5) / scale
    elif name == "tf_crop_and_resize":
        first, last = (end * (size - 1) for end in crop)
        place = first + i * ((last - first) / (new - 1)) if new > 1 else 0 * i + 0.5 * (first + last)
    elif name == "pytorch_half_pixel" and new == 1:
        place = 0 * i
    else:
        place = (i + 0.5) / scale - 0.5
        if name == "half_pixel_symmetric":
            place += size / 2 * (1 - new / (size * scale))
    halves = np.round(2 * place) / 2
    return np.where(np.abs(place - halves) < 1e-9, halves, place)


def rounded(place: Array, rounding: str) -> Array:
    """The nearest elements, according to the rounding."""
    if rounding == "floor":
        return np.floor(place)
    if rounding == "ceil":
        return np.ceil(place)
    return np.ceil(place - 0.5) if rounding == "round_prefer_floor" else np.floor(place + 0.5)


def _filtered(how: Resampling, place: Array, narrow: float, size: int) -> tuple[Array, Array]:
    """Elements around each position, weighted by a filter that widens as ``narrow`` decreases."""
    reach = (1 if how.mode == "linear" else 2) / narrow
    first = math.floor(-reach) + 1
    index = np.floor(place) + np.arange(first, 2 - first, dtype=np.float64)[:, None]
    distance = np.abs(index - place) * narrow
    weight = np.clip(1 - distance, 0, 1) if how.mode == "linear" else cubic(distance, how.cubic)
    if how.inside:
        weight[(index < 0) | (index > size - 1)] = 0
    if how.inside or narrow < 1:
        total = weight.sum(0)
        weight /= np.where(total == 0, 1, total)  # where a place is so far beyond that nothing is near
    return index, weight


def cubic(distance: Array, a: float) -> Array:
    """The cubic convolution kernel (Keys, 1981)."""
    x = np.minimum(distance, 2)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = a * (((x - 5) * x + 8) * x - 4)
    return np.where(x <= 1, near, far)


def _area(size: int, new: int) -> tuple[Array, Array]:
    """The mean of all elements that a new one partly covers."""
    i = np.arange(new)
    first, end = i * size // new, -(-(i + 1) * size // new)
    index = first + np.arange(int((end - first).max()))[:, None]
    return index, np.where(index < end, 1.0 / (end - first), 0.0)
