"""Windows that slide along the axes of an image: how many there are, what each sees, and what of that is padding.

Everything concerns a single axis. An image (N, C, *spatial) has any number of them; arguments of windows are tuples of
that length, and padding is twice as long: first the padding before each axis, then after.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import product
from typing import NamedTuple, overload

from ..base.structs import struct
from .dims import Dim


class Real(NamedTuple):
    """Positions, ``step`` apart, within the image: numbers ``low`` to ``high``, starting at element ``first``."""

    low: int
    high: int
    first: int
    step: int = 1

    @property
    def number(self) -> int:
        """How many there are."""
        return self.high - self.low

    @property
    def places(self) -> slice:
        """Their numbers."""
        return slice(self.low, self.high)

    @property
    def source(self) -> slice:
        """Their elements in the image."""
        stop = self.first + (self.number - 1) * self.step + 1 if self.number else self.first
        return slice(self.first, stop, self.step)


def real(start: int, count: int, size: int, step: int = 1) -> Real:
    """Which of ``count`` positions from ``start``, ``step`` apart, lie within an image of ``size`` elements.

    If none does, the result is empty, at the nearer end of the image.
    """
    low = min(count, max(0, -(start // step)))
    high = max(low, min(count, (size - 1 - start) // step + 1))
    return Real(low, high, start + low * step if high > low else 0 if low else size, step)


class Tap(NamedTuple):
    """Elements that a tap of the window reads: outputs ``first`` to ``last`` see the input, the first at ``start``."""

    first: int
    last: int
    start: int


@struct(frozen=True)
class Window:
    """A window along one axis and how it slides: the distance of its taps is ``dilation``."""

    kernel: int
    stride: int
    before: int
    after: int
    dilation: int

    @property
    def extent(self) -> int:
        """Positions from the first tap to the last."""
        return self.dilation * (self.kernel - 1) + 1

    def start(self, output: int) -> int:
        """The start of a window; negative in the padding."""
        return output * self.stride - self.before

    def taps_in(self, output: int, size: int) -> Real:
        """The taps of a window that lie within an image of ``size`` elements."""
        return real(self.start(output), self.kernel, size, self.dilation)

    def held(self, windows: int) -> int:
        """The number of positions that this many windows cover."""
        return (windows - 1) * self.stride + self.extent

    @property
    def transposed(self) -> Window:
        """For stride 1, the window that maps outputs back to the inputs that they saw."""
        reach = self.extent - 1
        return Window(self.kernel, 1, reach - self.before, reach - self.after, self.dilation)

    def along(self, size: int, count: int) -> Axis:
        """Windows of this kind along an axis."""
        return Axis(self.kernel, self.stride, self.before, self.after, self.dilation, size, count)

    @overload
    def fit(self, size: int, ceil_mode: bool = False) -> int: ...

    @overload
    def fit(self, size: Dim, ceil_mode: bool = False) -> Dim: ...

    def fit(self, size: Dim, ceil_mode: bool = False) -> Dim:
        """The number of windows that fit on an axis of ``size`` elements.

        Without ``ceil_mode`` floor((size + before + after - extent) / stride) + 1. With it the last window may extend
        beyond the end, but must start in the input or in the padding before it.
        """
        if ceil_mode:
            # the smaller of ceil((size + before + after - extent) / stride) + 1 and ceil((size + before) / stride)
            reach: Dim = size + (self.before + min(0, self.after - self.extent + self.stride))
            return -(-reach // self.stride)
        return (size + (self.before + self.after - self.extent)) // self.stride + 1


@struct(frozen=True)
class Axis(Window):
    """The ``count`` windows along one axis of an image."""

    size: int
    count: int

    def seen(self, low: int, high: int) -> Real:
        """The positions within the image that the windows from ``low`` to ``high`` cover."""
        return real(self.start(low), self.held(high - low), self.size)

    def span(self, low: int, high: int) -> tuple[int, int]:
        """The start and end of the positions that :meth:`seen` gives."""
        found = self.seen(low, high)
        return found.first, found.first + found.number

    def inside(self, output: int) -> Real:
        """The taps of a window that lie within the image."""
        return self.taps_in(output, self.size)

    def there(self, output: int) -> int:
        """The number of taps of a window that lie within the image or its padding."""
        return self.taps_in(output, self.size + self.after).high

    def tap(self, index: int, low: int = 0, high: int | None = None) -> Tap:
        """One tap and the outputs from ``low`` to ``high`` for which it does not lie in the padding."""
        stop = self.count if high is None else high
        found = real(self.start(low) + index * self.dilation, stop - low, self.size, self.stride)
        return Tap(low + found.low, low + found.high, found.first)

    def taps(self, low: int = 0, high: int | None = None) -> dict[int, Tap]:
        """The taps, by number, that lie within the image for any of the outputs from ``low`` to ``high``.

        This takes time proportional to these taps and outputs, however many taps a window has.
        """
        stop = self.count if high is None else high
        few = self.kernel <= self.size + stop - low
        found = {index: self.tap(index, low, stop) for index in (range(self.kernel) if few else self._near(low, stop))}
        return {index: tap for index, tap in found.items() if tap.last > tap.first}

    def _near(self, low: int, high: int) -> Iterator[int]:
        """The indices of these taps in increasing order, from those of the last window, which is furthest along."""
        reached = 0
        for output in reversed(range(low, high)):
            seen = self.inside(output)
            yield from range(max(seen.low, reached), seen.high)
            reached = max(reached, seen.high)

    def source(self, tap: Tap, shift: int = 0) -> slice:
        """The input elements that a tap reads, in an array that starts at input element ``shift``."""
        number = tap.last - tap.first
        start = tap.start - shift if number else 0
        return slice(start, start + (number - 1) * self.stride + 1 if number else 0, self.stride)

    def padded(self, low: int, high: int) -> list[slice]:
        """Runs of outputs whose windows see padding."""
        near = (run for run in self._padded if run.start < high and run.stop > low)
        return [slice(max(run.start, low), min(run.stop, high)) for run in near]

    @cached_property
    def _padded(self) -> list[slice]:
        """All such runs, cached since every block asks for its own."""
        runs: list[slice] = []
        for o in (o for o in range(self.count) if self.there(o) > self.inside(o).number):
            if runs and runs[-1].stop == o:
                runs[-1] = slice(runs[-1].start, o + 1)
            else:
                runs.append(slice(o, o + 1))
        return runs


def windows_of(
    kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
) -> tuple[Window, ...]:
    """The window along each axis."""
    before, after = padding[: len(kernel)], padding[len(kernel) :]
    return tuple(Window(*one) for one in zip(kernel, stride, before, after, dilation, strict=True))


def axes_of(
    shape: Sequence[int], kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int],
    counts: Sequence[int],
) -> tuple[Axis, ...]:  # fmt: skip
    """The axes of an image batch of logical shape (N, C, *spatial), with this many windows along each."""
    windows = windows_of(kernel, stride, padding, dilation)
    return tuple(w.along(size, count) for w, size, count in zip(windows, shape[2:], counts, strict=True))


def taps_of(axes: Sequence[Axis]) -> Iterator[tuple[int, tuple[slice, ...], tuple[slice, ...]]]:
    """For each tap within the image for some window its number, what it reads, and the outputs that see it.

    Taps are numbered in row-major order.
    """
    for along in product(*(axis.taps().items() for axis in axes)):
        number = 0
        for axis, (index, _) in zip(axes, along, strict=True):
            number = number * axis.kernel + index
        elements = tuple(axis.source(tap) for axis, (_, tap) in zip(axes, along, strict=True))
        yield number, elements, tuple(slice(tap.first, tap.last) for _, tap in along)


def side_by_side(axes: Iterable[Axis]) -> bool:
    """Whether windows tile the image: none overlaps another or sees padding, or leaves a gap.

    What the last windows leave of an axis does not matter, nor does padding or a ``ceil_mode`` without effect. Windows
    of one element tile the image too.
    """
    return all(a.kernel == a.stride == a.extent and a.before == 0 and a.count * a.kernel <= a.size for a in axes)
