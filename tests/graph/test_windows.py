"""Geometry of sliding windows, against what counting position by position finds, for axes drawn at random."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from lucid.graph.windows import Axis, Window, axes_of, real, side_by_side, taps_of


def draw(seed: int) -> tuple[Axis, bool]:
    """An axis with at least one window, and whether its last may hang over the end."""
    rng = random.Random(seed)
    while True:
        kernel, stride, dilation = rng.randint(1, 5), rng.randint(1, 4), rng.randint(1, 3)
        window = Window(kernel, stride, rng.randint(0, 6), rng.randint(0, 6), dilation)
        size, ceil_mode = rng.randint(1, 14), rng.random() < 0.5
        count = window.fit(size, ceil_mode)
        if count > 0:
            return Axis(kernel, stride, window.before, window.after, dilation, size, count), ceil_mode


AXES = [draw(seed) for seed in range(300)]


def positions(axis: Axis, output: int) -> list[int]:
    """Where the taps of a window lie in the image; less than 0, or its size and more, in the padding and beyond."""
    return [output * axis.stride - axis.before + i * axis.dilation for i in range(axis.kernel)]


def cuts(axis: Axis) -> list[tuple[int, int]]:
    """Runs of outputs: all, the first, the last, and some."""
    some = sorted({0, axis.count // 3, axis.count // 2, axis.count - 1, axis.count})
    return [(0, axis.count), *pairwise(some)]


def test_real_positions_are_those_in_the_image() -> None:
    rng = random.Random(0)
    for _ in range(2000):
        start, count, size, step = rng.randint(-20, 20), rng.randint(0, 12), rng.randint(0, 14), rng.randint(1, 5)
        every = [start + i * step for i in range(count)]
        found = real(start, count, size, step)
        assert every[found.places] == [p for p in every if 0 <= p < size]
        assert list(range(size))[found.source] == every[found.places]
        assert found.number == len(every[found.places])
        assert 0 <= found.low <= found.high <= count
        if not found.number:
            assert found.first == (0 if any(p < 0 for p in every) else size)


def test_all_windows_fit_and_no_more() -> None:
    """Within the padded image; one that hangs over the end begins in the image or before it."""
    for axis, ceil_mode in AXES:
        for output in range(axis.count + 8):
            first, last = positions(axis, output)[0], positions(axis, output)[-1]
            fits = last < axis.size + axis.after
            if ceil_mode:  # the window before leaves something over
                fits = last - axis.stride + 1 < axis.size + axis.after and first < axis.size
            assert fits == (output < axis.count)


def test_what_windows_see() -> None:
    for axis, _ in AXES:
        assert axis.extent == positions(axis, 0)[-1] - positions(axis, 0)[0] + 1
        for output in range(axis.count):
            at = positions(axis, output)
            inside = [p for p in at if 0 <= p < axis.size]
            assert at[0] == axis.start(output)
            assert at[axis.inside(output).places] == inside
            assert axis.there(output) == len([p for p in at if p < axis.size + axis.after])
        for low, high in cuts(axis):
            under = range(positions(axis, low)[0], positions(axis, high - 1)[-1] + 1)
            assert axis.held(high - low) == len(under)
            found = axis.seen(low, high)
            assert list(under)[found.places] == [p for p in under if 0 <= p < axis.size]
            assert list(range(axis.size))[found.source] == list(under)[found.places]
            assert list(range(*axis.span(low, high))) == list(under)[found.places]


def test_taps_are_the_positions_in_the_image() -> None:
    for axis, _ in AXES:
        for low, high in cuts(axis):
            taps = axis.taps(low, high)
            for index in range(axis.kernel):
                wanted = {o: positions(axis, o)[index] for o in range(low, high)}
                wanted = {o: p for o, p in wanted.items() if 0 <= p < axis.size}
                assert (index in taps) == bool(wanted)
                if not wanted:
                    continue
                tap = taps[index]
                assert list(range(tap.first, tap.last)) == list(wanted)
                assert list(range(axis.size))[axis.source(tap)] == list(wanted.values())
                shift = min(wanted.values(), default=0)
                assert list(range(shift, axis.size))[axis.source(tap, shift)] == list(wanted.values())


def test_taps_of_windows_of_any_size() -> None:
    """Those that see nothing of the image are not gone over, and the others come in order."""
    for size, stride, dilation, count in ((4, 1, 1, 3), (5, 2, 3, 4), (1, 7, 1, 1), (3, 5, 4, 6), (2, 1, 3, 9)):
        axis = Axis(1 << 60, stride, 60, 60, dilation, size, count)
        every = [(i, axis.tap(i)) for i in range(80)]
        assert list(axis.taps().items()) == [(i, tap) for i, tap in every if tap.last > tap.first]


def test_runs_of_outputs_that_see_padding() -> None:
    for axis, _ in AXES:
        outside = [{p for p in positions(axis, o) if not 0 <= p < axis.size} for o in range(axis.count)]
        seeing = [o for o, found in enumerate(outside) if any(p < axis.size + axis.after for p in found)]
        for low, high in cuts(axis):
            runs = axis.padded(low, high)
            assert [o for run in runs for o in range(run.start, run.stop)] == [o for o in seeing if low <= o < high]
            assert all(a.stop < b.start for a, b in pairwise(runs))


def test_taps_of_several_axes() -> None:
    """Each is numbered as it stands in the window, and sees what the taps along the axes see together."""
    for (rows, _), (cols, _) in zip(AXES[:60], AXES[60:120], strict=True):
        image = {(i, j): i * cols.size + j for i in range(rows.size) for j in range(cols.size)}
        found = [[None] * (rows.kernel * cols.kernel) for _ in range(rows.count * cols.count)]
        flat = np.arange(rows.size * cols.size).reshape(rows.size, cols.size)
        outputs = np.arange(len(found)).reshape(rows.count, cols.count)
        for number, elements, seeing in taps_of((rows, cols)):
            for element, output in zip(flat[elements].ravel(), outputs[seeing].ravel(), strict=True):
                found[output][number] = element
        for i, j in np.ndindex(outputs.shape):
            at = [(p, q) for p in positions(rows, i) for q in positions(cols, j)]
            assert found[outputs[i, j]] == [image.get(place) for place in at]


def alone(axis: Axis) -> bool:
    """Whether its windows are neighbouring parts of the image."""
    seen = [p for o in range(axis.count) for p in range(positions(axis, o)[0], positions(axis, o)[-1] + 1)]
    taps = [p for o in range(axis.count) for p in positions(axis, o)]
    return seen == taps == list(range(len(taps))) and len(taps) <= axis.size


def test_windows_side_by_side() -> None:
    for axis, _ in AXES:
        step = replace(axis, stride=axis.kernel)
        for one in (axis, step, replace(step, before=0), replace(step, before=0, dilation=1)):
            count = one.fit(one.size)
            fitted = replace(one, count=count)
            if count > 1:  # of one window alone the stride says nothing
                assert side_by_side([fitted]) == alone(fitted)
                assert side_by_side([fitted, fitted]) == alone(fitted)


@pytest.mark.parametrize(("size", "ceil_mode", "after", "expected"), [
    (8, True, 0, True), (9, True, 0, False), (9, False, 0, True), (8, False, 1, True), (9, False, 1, False),
])  # fmt: skip
def test_what_no_window_sees_does_no_harm(size: int, ceil_mode: bool, after: int, expected: bool) -> None:
    window = Window(2, 2, 0, after, 1)
    count = window.fit(size, ceil_mode)
    assert side_by_side([Axis(2, 2, 0, after, 1, size, count)]) == expected


def test_as_many_axes_as_the_image_has() -> None:
    shape, kernel, stride, dilation = (2, 3, 20, 21, 22), (1, 2, 3), (4, 5, 6), (7, 8, 9)
    axes = axes_of(shape, kernel, stride, (10, 11, 12, 13, 14, 15), dilation, (16, 17, 18))
    assert axes == (
        Axis(1, 4, 10, 13, 7, 20, 16), Axis(2, 5, 11, 14, 8, 21, 17), Axis(3, 6, 12, 15, 9, 22, 18)
    )  # fmt: skip
    assert axes_of(shape[:3], kernel[:1], stride[:1], (10, 13), dilation[:1], (16,)) == axes[:1]
    with pytest.raises(ValueError, match="zip"):
        axes_of(shape[:3], kernel[:1], stride[:1], (10, 13, 0, 0), dilation[:1], (16,))


def test_turned_windows_go_the_way_back() -> None:
    """With a stride of 1, the turned window of an element sees the windows that see it."""
    for drawn, _ in AXES:
        window = Window(drawn.kernel, 1, drawn.before, drawn.after, drawn.dilation)
        count = window.fit(drawn.size)
        if count > 0:
            axis, back = window.along(drawn.size, count), window.transposed.along(count, drawn.size)
            assert window.transposed.transposed == window and window.transposed.fit(count) == drawn.size
            for element in range(drawn.size):
                seen = {position for position in positions(back, element) if 0 <= position < count}
                assert seen == {output for output in range(count) if element in positions(axis, output)}
