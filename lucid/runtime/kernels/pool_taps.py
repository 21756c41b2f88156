"""Max pooling tap by tap, for outputs that all see the same taps; the code of the tap that wins, if it is wanted.

Taps come in row-major order, so one that is greater than all before it has the greatest number so far: the code is a
maximum too, of numbers of taps that were greater when their turn came.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby, product
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from ..emitter import Emitter
from .windows import Axis, over_blocks

#: ``f(a, b, out=out)``.
Step: TypeAlias = "tuple[Callable[..., Any], Any, Any, Any]"


class Stretch(NamedTuple):
    """Outputs from ``first`` to ``last`` along an axis: they see the same taps, and padding or none."""

    first: int
    last: int
    taps: tuple[int, ...]
    padding: bool


class Region(NamedTuple):
    """Part of a pooling: images and channels, and stretches of rows and columns."""

    n: slice
    c: slice
    rows: Stretch
    cols: Stretch

    @property
    def at(self) -> tuple[slice, ...]:
        """Its outputs."""
        return self.n, self.c, slice(self.rows.first, self.rows.last), slice(self.cols.first, self.cols.last)

    @property
    def size(self) -> int:
        return math.prod(part.stop - part.start for part in self.at)


class Bound(NamedTuple):
    """What to do for a part of the output: copies (to, from), steps, copies; ``mark`` if ``whole`` holds a NaN."""

    start: Sequence[tuple[Any, Any]]
    steps: Sequence[Step]
    finish: Sequence[tuple[Any, Any]]
    whole: Any
    mark: Callable[[], None]


def stretches(axis: Axis, low: int = 0, high: int | None = None) -> list[Stretch]:
    """The outputs of an axis, as few stretches as there can be."""
    taps = axis.taps(low, high)
    padded = {o for run in axis.padded(low, axis.count if high is None else high) for o in range(run.start, run.stop)}

    def sees(o: int) -> tuple[tuple[int, ...], bool]:
        return tuple(i for i, tap in enumerate(taps) if tap.first <= o < tap.last), o in padded

    found = []
    for (seen, padding), group in groupby(range(low, axis.count if high is None else high), sees):
        outputs = list(group)
        found.append(Stretch(outputs[0], outputs[-1] + 1, seen, padding))
    return found


def inner(axis: Axis) -> Stretch | None:
    """The outputs whose windows lie in the image."""
    whole = tuple(range(axis.kernel))
    return next((s for s in stretches(axis) if s.taps == whole and not s.padding), None)


def bind_regions(
    work: Sequence[Sequence[Region]], axes: tuple[Axis, Axis], x: Any, y: Any, index: Any,
    masks: Sequence[Sequence[Any]], pad: Any, last: bool,
) -> list[list[Bound]]:  # fmt: skip
    """Views for the regions of each worker."""
    return [
        [bind_region(region, axes, x, y, index, held, pad, last) for region in mine]
        for mine, held in zip(work, masks, strict=True)
    ]


def bind_region(
    region: Region, axes: tuple[Axis, Axis], x: Any, y: Any, index: Any, masks: Sequence[Any], pad: Any, last: bool
) -> Bound:
    """Views for a region; ``masks`` are memory for a mask and for codes, if there is an index."""
    taps, target = tap_views(region, axes, x), y[region.at]
    (number, first), *rest = taps
    if region.rows.padding or region.cols.padding:
        rest += [(axes[0].kernel * axes[1].kernel, pad)] if pad is not None else []
    if index is None:
        if not rest:
            return Bound([(target, first)], (), (), target, nothing)
        steps: list[Step] = [(np.maximum, first, rest[0][1], target)]
        steps += [(np.maximum, target, tap, target) for _, tap in rest[1:]]
        return Bound((), steps, (), target, nothing)
    codes = index[region.at]
    won, candidate = (_shaped(memory, target.shape, last) for memory in masks)
    steps = []
    for code, tap in rest:
        steps += [
            (np.greater, tap, target, won),
            (np.multiply, won.view(np.uint8), codes.dtype.type(code), candidate),
            (np.maximum, codes, candidate, codes),
            (np.maximum, target, tap, target),
        ]
    start = [(target, first), (codes, codes.dtype.type(number))]
    return Bound(start, steps, (), target, partial(mark_taps, region, axes, x, codes))


def nothing() -> None:
    """There is no code to mark."""


def _shaped(memory: Any, shape: tuple[int, ...], last: bool) -> Any:
    n, c, h, w = shape
    flat = memory[: n * c * h * w]
    return flat.reshape(n, h, w, c).transpose(0, 3, 1, 2) if last else flat.reshape(shape)


def tap_views(region: Region, axes: tuple[Axis, Axis], x: Any) -> list[tuple[int, Any]]:
    """Number and input elements of each tap that the region sees, in row-major order."""
    (rows, cols), image = axes, x[region.n, region.c]
    views = []
    for i, j in product(region.rows.taps, region.cols.taps):
        down = rows.source(rows.tap(i, region.rows.first, region.rows.last))
        right = cols.source(cols.tap(j, region.cols.first, region.cols.last))
        views.append((i * cols.kernel + j, image[:, :, down, right]))
    return views


def mark_taps(region: Region, axes: tuple[Axis, Axis], x: Any, codes: Any) -> None:
    """NaN is greater than nothing: let the code of each window that holds one be that of its first."""
    for number, tap in reversed(tap_views(region, axes, x)):
        np.copyto(codes, codes.dtype.type(number), where=np.isnan(tap))


def over_bound(k: Emitter, workers: int, views: str, nan: bool) -> None:
    """The loops over what :class:`Bound` holds."""
    start, steps, finish, whole, mark, f, a, b, out = (
        k.names.fresh(n) for n in ("start", "steps", "finish", "whole", "mark", "f", "a", "b", "out")
    )
    body = [
        f"for {out}, {a} in {start}:\n    np.copyto({out}, {a})",
        f"for {f}, {a}, {b}, {out} in {steps}:\n    {f}({a}, {b}, out={out})",
        f"for {out}, {a} in {finish}:\n    np.copyto({out}, {a})",
    ]
    if nan:
        body.append(f"if np.isnan({whole}.max()):\n    {mark}()")
    over_blocks(k, workers, [f"({start}, {steps}, {finish}, {whole}, {mark})"], [views], body)
