"""The step along a direction that meets the strong Wolfe conditions (Nocedal and Wright, 2006; algorithms 3.5, 3.6)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

from ..base.arrays import Array
from ..base.structs import struct

ENOUGH, FLAT = 1e-4, 0.9
"""The constants c1 (sufficient decrease) and c2 (curvature) of the strong Wolfe conditions."""


@struct(frozen=True)
class Trial:
    """An evaluation at some distance along the direction.

    Attributes
    ----------
    t
        The distance.
    loss, gradient
        The loss and its gradient there.
    slope
        The gradient along the direction.
    """

    t: float
    loss: float
    gradient: Array
    slope: float


Evaluate: TypeAlias = "Callable[[float], Trial]"


class Search:
    """One search, with decisions as in ``torch.optim.LBFGS``.

    Parameters
    ----------
    evaluate
        Evaluates the loss at a distance.
    start
        The trial at distance 0.
    length
        The largest component of the direction.
    tolerance
        The search ends when no component changes by more than this within the interval.
    most
        The most evaluations after the first.

    Attributes
    ----------
    count
        The number of evaluations.
    """

    def __init__(self, evaluate: Evaluate, start: Trial, length: float, tolerance: float, most: int) -> None:
        self._evaluate, self._start = evaluate, start
        self._length, self._tolerance, self._most = length, tolerance, most
        self.count = 0

    def best(self, t: float) -> Trial:
        """The accepted trial; ``t`` is tried first."""
        ends = self._bracket(t)
        return ends[0] if len(ends) == 1 else self._narrowed(ends)

    @property
    def _ended(self) -> bool:
        return self.count > self._most

    def _at(self, t: float) -> Trial:
        self.count += 1
        return self._evaluate(t)

    def _is_high(self, trial: Trial) -> bool:
        """Whether the loss violates the condition of sufficient decrease."""
        return trial.loss > self._start.loss + ENOUGH * trial.t * self._start.slope

    def _is_flat(self, trial: Trial) -> bool:
        return abs(trial.slope) <= -FLAT * self._start.slope

    def _bracket(self, t: float) -> list[Trial]:
        """Two trials between which some step meets the conditions, or one trial that meets them itself."""
        before, now = self._start, self._at(t)
        while not self._ended:
            if self._is_high(now) or (self.count > 2 and now.loss >= before.loss):
                return [before, now]
            if self._is_flat(now):
                return [now]
            if now.slope >= 0:
                return [before, now]
            bounds = now.t + 0.01 * (now.t - before.t), now.t * 10
            before, now = now, self._at(_lowest(before, now, bounds))
        return [self._start, now]

    def _narrowed(self, ends: list[Trial]) -> Trial:
        """Narrow the interval between two trials until its lower end meets the conditions, or no progress is made."""
        low = _lower(ends)
        near = False  # whether the last distance was close to an end
        while not self._ended and not abs(ends[1].t - ends[0].t) * self._length < self._tolerance:
            least, most = sorted((ends[0].t, ends[1].t))
            t, margin = _lowest(ends[0], ends[1], (least, most)), 0.1 * (most - least)
            if not min(most - t, t - least) < margin:
                near = False
            elif near or t >= most or t <= least:
                t = most - margin if abs(t - most) < abs(t - least) else least + margin
                near = False
            else:
                near = True
            now, high = self._at(t), 1 - low
            if self._is_high(now) or now.loss >= ends[low].loss:
                ends[high] = now
                low = _lower(ends)
                continue
            if self._is_flat(now):
                return now
            if now.slope * (ends[high].t - ends[low].t) >= 0:
                ends[high] = ends[low]
            ends[low] = now
        return ends[low]


def _lower(ends: list[Trial]) -> int:
    """The index of the trial with the smaller loss."""
    return 0 if ends[0].loss <= ends[1].loss else 1


def _lowest(a: Trial, b: Trial, bounds: tuple[float, float]) -> float:
    """The minimum of the cubic through two trials, clamped to bounds; their middle if it has no minimum."""
    if a.t == b.t:
        return (bounds[0] + bounds[1]) / 2
    mixed = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
    square = mixed * mixed - a.slope * b.slope
    left, right = (a, b) if a.t <= b.t else (b, a)
    bottom = right.slope - left.slope + 2 * math.sqrt(square) if square >= 0 else 0.0
    if bottom == 0:
        return (bounds[0] + bounds[1]) / 2
    t = right.t - (right.t - left.t) * ((right.slope + math.sqrt(square) - mixed) / bottom)
    return min(max(t, bounds[0]), bounds[1])
