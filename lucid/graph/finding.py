"""How what data decides is found, on arrays: kernels do, and an importer where everything is known beforehand."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..base.arrays import Array


class Different(NamedTuple):
    """The different elements, where the first of each is, which of them each element is, and how many there are."""

    values: Array
    first: Array
    inverse: Array
    counts: Array


def different(x: Array, axis: int | None, ordered: bool) -> Different:
    """The different elements or, along ``axis``, slices: in order, or as they come first. NaN is equal to itself."""
    if axis is not None and not x.size:
        return _without_numbers(x, axis)
    values, first, inverse, counts = np.unique(x, True, True, True, axis)
    if not ordered:
        kept = np.argsort(first)
        place = np.argsort(kept)
        values = np.take(values, kept, axis or 0)
        first, inverse, counts = first[kept], place[inverse], counts[kept]
    return Different(values, *(one.reshape(-1).astype(np.int64) for one in (first, inverse, counts)))


def _without_numbers(x: Array, axis: int) -> Different:
    """Slices that hold nothing are all the same, for which NumPy has no answer."""
    count = x.shape[axis]
    found = min(count, 1)
    zeros, counts = np.zeros(count, np.int64), np.full(found, count, np.int64)
    return Different(np.take(x, range(found), axis), zeros[:found], zeros, counts)


def best_boxes(boxes: Array, scores: Array, most: int, overlap: float, least: float | None, centred: bool) -> Array:
    """For each image and class the boxes of the highest scores, but for those that overlap a better one too much.

    Parameters
    ----------
    boxes
        (image, box, 4): two opposite corners of each or, where ``centred``, its middle and size.
    scores
        (image, class, box).
    most
        How many there are of a class at most.
    overlap
        A box goes that shares more than so much of the area of both with a better one.
    least
        A score must be higher; None where any will do.

    Returns
    -------
    A row (image, class, box) for each that is left, from the highest score of a class on.
    """
    low, high = _corners(boxes.astype(np.float64), centred)
    areas = np.clip(high - low, 0, None).prod(-1)
    wanted = np.ones(scores.shape, bool) if least is None else scores > least
    found = [np.zeros((0, 3), np.int64)]
    for image, of_class in np.argwhere(wanted.any(-1)):
        places = np.flatnonzero(wanted[image, of_class])
        places = places[np.argsort(-scores[image, of_class][places], kind="stable")]
        kept = _kept(low[image], high[image], areas[image], places, most, overlap)
        rows = np.empty((len(kept), 3), np.int64)
        rows[:] = (image, of_class, 0)
        rows[:, 2] = kept
        found.append(rows)
    return np.concatenate(found)


def _corners(boxes: Array, centred: bool) -> tuple[Array, Array]:
    """The lesser and the greater corners."""
    if centred:
        middle, half = boxes[..., :2], boxes[..., 2:] / 2
        return middle - half, middle + half
    first, second = boxes[..., :2], boxes[..., 2:]
    return np.minimum(first, second), np.maximum(first, second)


TOGETHER = 64
"""Boxes that are compared with one another at once."""


def _kept(low: Array, high: Array, areas: Array, places: Array, most: int, overlap: float) -> list[int]:
    """Of boxes in order those that share no more than so much with one before them that is kept."""

    def hidden(some: Array, others: Array | list[int]) -> Array:
        """For each box which of the others share too much with it."""
        sides = [
            np.minimum.outer(high[some, i], high[others, i]) - np.maximum.outer(low[some, i], low[others, i])
            for i in range(2)
        ]
        shared = np.clip(sides[0], 0, None) * np.clip(sides[1], 0, None)
        whole = np.add.outer(areas[some], areas[others])
        found: Array = (shared > overlap * (whole - shared)) & np.logical_and.outer(areas[some] > 0, areas[others] > 0)
        return found

    kept: list[int] = []
    for first in range(0, len(places) if most > 0 else 0, TOGETHER):
        some = places[first : first + TOGETHER]
        if kept:
            some = some[~hidden(some, kept).any(1)]
        gone, rows = np.zeros(len(some), bool), hidden(some, some)
        for number, place in enumerate(some.tolist()):
            if not gone[number]:
                kept.append(place)
                if len(kept) == most:
                    return kept
                gone |= rows[number]
    return kept
