"""Non-maximum suppression on arrays: for kernels, and for importers if the boxes are already known.

All classes are processed together, in rounds: each round takes the next few boxes of every class, drops those hidden by
a box that was kept, and then those hidden by one among them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..base.arrays import Array

TOGETHER = 64
"""Boxes of a class in a round; those that one hides are bits of a number."""
CLASSES = 256
"""Classes whose rounds are processed together."""
PAIRS = 1 << 18
"""Pairs of boxes that are compared at once."""
BEST = 512
"""Boxes of a class that are sorted first, and the most in a round; others are seldom needed."""


def best_boxes(boxes: Array, scores: Array, most: int, overlap: float, least: float | None, centred: bool) -> Array:
    """For each image and class the boxes with the highest scores, except those that overlap a better one too much.

    Parameters
    ----------
    boxes
        (image, box, 4): two opposite corners of each or, if ``centred``, its centre and size.
    scores
        (image, class, box).
    most
        The most boxes per class.
    overlap
        A box is dropped if its intersection with a better one exceeds this fraction of their union.
    least
        Scores must be higher than this; None for no limit.

    Returns
    -------
    A row (image, class, box) for each remaining box, with the highest score of a class first.
    """
    plane, count = _Plane(boxes, overlap, centred), boxes.shape[1]
    wanted = np.ones(scores.shape, bool) if least is None else scores > least
    places = np.argwhere(wanted.any(-1)) if most > 0 else np.zeros((0, 2), np.int64)
    found = [np.zeros((0, 3), np.int64)]
    for first in range(0, len(places), CLASSES):
        some = places[first : first + CLASSES]
        orders = [_Order(scores[i, c], np.flatnonzero(wanted[i, c]), i * count) for i, c in some.tolist()]
        kept, counts = _rounds(plane, orders, most)
        rows = np.empty((int(counts.sum()), 3), np.int64)
        rows[:, :2] = some.repeat(counts, 0)
        rows[:, 2] = kept[np.arange(kept.shape[1]) < counts[:, None]]
        rows[:, 2] -= rows[:, 0] * count
        found.append(rows)
    return np.concatenate(found)


class _Order:
    """Boxes of a class in order of decreasing score; equal scores keep their order, NaN comes last."""

    def __init__(self, scores: Array, places: Array, first: int) -> None:
        self._places, self._keys, self._first = places, -scores[places], first
        self._ready: Array = places[:0]
        self._many = TOGETHER

    def take(self) -> Array:
        """The next boxes; empty if there are no more."""
        if not len(self._ready) and len(self._places):
            self._sort()
        taken, self._ready = self._ready[: self._many], self._ready[self._many :]
        return taken

    def pass_on(self, left: Array) -> None:
        """Accept those boxes that are not hidden; if they are more than a round takes, the rest comes again."""
        self._many = min(2 * self._many, BEST) if 2 * len(left) < TOGETHER else TOGETHER
        if len(left) > TOGETHER:
            self._ready = np.concatenate([left[TOGETHER:], self._ready])

    def _sort(self) -> None:
        """Sort the best of the remaining boxes, or all if there are few."""
        places, keys = self._places, self._keys
        limit = np.partition(keys, BEST)[BEST] if len(keys) > 2 * BEST else np.nan
        best = keys <= limit  # nothing is, where the limit is NaN
        if not best.any():
            best[:] = True
        self._ready = places[best][np.argsort(keys[best], kind="stable")] + self._first
        self._places, self._keys = places[~best], keys[~best]


class _Plane:
    """Boxes of all images by number, and an additional one that overlaps none."""

    def __init__(self, boxes: Array, overlap: float, centred: bool) -> None:
        self.nothing, self.overlap = boxes.size // 4, overlap
        numbers = np.full((4, self.nothing + 1), np.nan)
        numbers[:, :-1] = boxes.reshape(-1, 4).T
        self.low, self.high = _corners(numbers, centred)
        sides = np.clip(self.high - self.low, 0, None)
        areas = sides[0] * sides[1]
        self.areas = np.where(areas > 0, areas, np.nan)  # what is compared with NaN is not so

    def hidden(self, some: Array, others: Array, *, later: bool = False) -> tuple[Array, Array, Array]:
        """Which boxes (class, box) overlap which others of their class too much; only ``later`` ones, if set."""
        found, width = [], max(1, PAIRS // max(some.size, 1))
        for first in range(0, others.shape[1], width):
            part = others[:, first : first + width]
            near = self._near(some, part)
            if later:
                near &= np.arange(some.shape[1])[:, None] > np.arange(first, first + part.shape[1])
            pair, other = np.divmod(np.flatnonzero(near), part.shape[1])
            row, box = np.divmod(pair, some.shape[1])
            much = self._share(some[row, box], part[row, other])
            found.append((row[much], box[much], other[much] + first))
        rows, boxes, hiding = zip(*found, strict=True) if found else ((), (), ())
        none = np.zeros(0, np.int64)
        return np.concatenate([none, *rows]), np.concatenate([none, *boxes]), np.concatenate([none, *hiding])

    def _near(self, some: Array, others: Array) -> Array:
        """Pairs that overlap at all, which few comparisons decide."""
        if self.overlap < 0:  # all share more than less than nothing
            return np.ones((*some.shape, others.shape[1]), bool)
        sides = [
            low[others][:, None] < high[some][..., None] for low, high in zip(self.low, self.high, strict=True)
        ] + [
            high[others][:, None] > low[some][..., None] for low, high in zip(self.low, self.high, strict=True)
        ]  # fmt: skip
        near: Array = sides[0] & sides[1] & sides[2] & sides[3]
        return near

    def _share(self, some: Array, others: Array) -> Array:
        """For each box whether it overlaps the other too much."""
        sides = [
            np.minimum(high[some], high[others]) - np.maximum(low[some], low[others])
            for low, high in zip(self.low, self.high, strict=True)
        ]
        shared = np.clip(sides[0], 0, None) * np.clip(sides[1], 0, None)
        much: Array = shared > self.overlap * (self.areas[some] + self.areas[others] - shared)
        return much


def _corners(numbers: Array, centred: bool) -> tuple[Array, Array]:
    """The lower and the upper corners (axis, box) of boxes (number, box)."""
    first, second = numbers[:2], numbers[2:]
    if centred:
        return first - second / 2, first + second / 2
    return np.minimum(first, second), np.maximum(first, second)


def _rounds(plane: _Plane, orders: Sequence[_Order], most: int) -> tuple[Array, Array]:
    """The boxes that are kept (class, number), and their number for each class."""
    kept, counts = np.full((len(orders), TOGETHER), plane.nothing), np.zeros(len(orders), np.int64)
    for classes, some in _turns(plane, orders, counts, most):
        others = kept[classes, : counts[classes].max()]
        rows, boxes, _ = plane.hidden(some, others)
        some[rows, boxes] = plane.nothing
        some = _close(some, plane.nothing)
        for number, row in zip(classes.tolist(), some, strict=True):
            orders[number].pass_on(row[row != plane.nothing])
        some = some[:, :TOGETHER]
        left = _left(plane, some)
        numbers = counts[classes, None] + left.cumsum(1) - 1
        left &= numbers < most
        if (need := min(int(numbers.max(initial=0)), most - 1)) >= kept.shape[1]:
            kept = np.concatenate([kept, np.full((len(kept), need + TOGETHER), plane.nothing)], 1)
        row, box = left.nonzero()
        kept[classes[row], numbers[row, box]] = some[row, box]
        counts[classes] += left.sum(1)
    return kept, counts


def _turns(plane: _Plane, orders: Sequence[_Order], counts: Array, most: int) -> Iterator[tuple[Array, Array]]:
    """The classes that need more boxes, and the next boxes of each, until there are none."""
    live = list(range(len(orders)))
    while live:
        taken = [(number, boxes) for number in live if len(boxes := orders[number].take())]
        if taken:
            some = np.full((len(taken), max(len(boxes) for _, boxes in taken)), plane.nothing)
            for row, (_, boxes) in enumerate(taken):
                some[row, : len(boxes)] = boxes
            yield np.array([number for number, _ in taken]), some
        live = [number for number, _ in taken if counts[number] < most]


def _close(some: Array, nothing: int) -> Array:
    """Boxes (class, box), in order, with empty places only at the end."""
    there = some != nothing
    order = np.argsort(~there, 1, kind="stable")[:, : there.sum(1).max()]
    closed: Array = np.take_along_axis(some, order, 1)
    return closed


def _left(plane: _Plane, some: Array) -> Array:
    """The boxes (class, box) that are hidden by no remaining box before them."""
    rows, boxes, hiding = plane.hidden(some, some, later=True)
    bits = np.zeros((len(some), TOGETHER), np.uint64)
    np.bitwise_or.at(bits, (rows, hiding), np.uint64(1) << boxes.astype(np.uint64))
    gone = [0] * len(some)
    places = np.flatnonzero(bits)
    for place, hides in zip(places.tolist(), bits.reshape(-1)[places].tolist(), strict=True):
        row, box = divmod(place, TOGETHER)
        if not gone[row] >> box & 1:
            gone[row] |= hides
    shifted = np.array(gone, np.uint64)[:, None] >> np.arange(some.shape[1], dtype=np.uint64)
    left: Array = (some != plane.nothing) & ((shifted & np.uint64(1)) == 0)
    return left
