"""Regions of images as many places as their parts are large, beside what the definition makes of each place."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import lucid
from lucid.errors import OptionError
from lucid.graph.ops.roi_align import roi_align
from lucid.tensor.tensor import Tensor

Array = np.ndarray[Any, Any]


def _neighbours(image: Array, y: float, x: float) -> list[Array]:
    """The four pixels around a place by their weights, (C,) each."""
    high, wide = image.shape[1:]
    if not (-1 <= y <= high and -1 <= x <= wide):
        return [np.zeros(len(image))] * 4
    sides = []
    for place, size in ((y, high), (x, wide)):
        held = min(max(place, 0.0), size - 1.0)
        low = math.floor(held)
        sides.append(((low, 1 - (held - low)), (min(low + 1, size - 1), held - low)))
    return [image[:, row, column] * a * b for row, a in sides[0] for column, b in sides[1]]


def by_places(
    x: Array, rois: Array, batch: Array, size: tuple[int, int], scale: float, samples: int, centred: bool, largest: bool
) -> Array:
    """Place by place, as the operator's definition says."""
    y = np.zeros((len(rois), x.shape[1], *size))
    for region, (box, image) in enumerate(zip(rois, batch, strict=True)):
        left, top, right, bottom = box * scale - (0.5 if centred else 0)
        reach = [bottom - top, right - left]
        reach = reach if centred else [max(one, 1.0) for one in reach]
        steps = [one / bins for one, bins in zip(reach, size, strict=True)]
        counts = [samples or max(0, math.ceil(step)) for step in steps]
        for row, column in np.ndindex(size):
            found = [
                _neighbours(x[image], top + (row + (i + 0.5) / counts[0]) * steps[0],
                            left + (column + (j + 0.5) / counts[1]) * steps[1])
                for i in range(counts[0]) for j in range(counts[1])
            ]  # fmt: skip
            if found:
                y[region, :, row, column] = np.max(found, (0, 1)) if largest else np.sum(found, (0, 1)) / len(found)
    return y


BOXES = np.array([
    [0, 0, 8, 10], [1.3, 2.2, 7.9, 8.8], [-4, -3, 5, 6], [2, 2, 2.5, 2.4], [3, 3, 3, 3], [6, 7, 2, 3],
    [-20, -9, 24, 20], [5, 5, 30, 20], [30, 30, 40, 40], [-9, 1, -3, 5], [0.5, 0.5, 6.5, 8.5], [7.99, 0, 8.01, 11],
    [-1.5, -0.5, 4, 4],
], float)  # fmt: skip


@pytest.mark.parametrize("largest", [False, True])
@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize(("size", "samples"), [((1, 1), 0), ((2, 3), 0), ((2, 3), 2)])
def test_it_is_the_definition(size: tuple[int, int], samples: int, centred: bool, largest: bool) -> None:
    rng = np.random.default_rng(0)
    rois = np.concatenate([BOXES, rng.uniform(-3, 13, (8, 4))])
    x, batch = rng.standard_normal((3, 2, 11, 9)), rng.integers(0, 3, len(rois))
    scale = 0.37 if size == (2, 3) else 1.0
    wanted = by_places(x, rois, batch, size, scale, samples, centred, largest)

    def function(x: Any, rois: Any, batch: Any) -> Any:
        return roi_align(x, rois, batch, size, scale, samples, centred=centred, largest=largest)

    specs = [lucid.spec("n", "c", "h", "w", dtype="float64"), lucid.spec("r", 4, dtype="float64"),
             lucid.spec("r", dtype="int64")]  # fmt: skip
    for found in (function(*map(Tensor, (x, rois, batch))), lucid.compile(function, *specs)(x, rois, batch)):
        np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("largest", [False, True])
def test_no_regions_and_boxes_that_are_none(largest: bool) -> None:
    x = np.ones((1, 2, 5, 5), np.float32)
    align = lucid.compile(lambda x, rois, batch: roi_align(x, rois, batch, (2, 2), 1.0, 0, largest=largest))
    assert align(x, np.zeros((0, 4), np.float32), np.zeros(0, np.int64)).shape == (0, 2, 2, 2)
    boxes = np.float32([[0, 0, 4, 4], [np.nan, 0, 4, 4], [0, 0, np.inf, 4], [-1e30, -1e30, 1e30, 1e30], [0, 0, 4, 4]])
    y = align(x, boxes, np.zeros(5, np.int64)).numpy()
    np.testing.assert_allclose(y[[0, 4]], 1, rtol=1e-6)
    np.testing.assert_array_equal(y[1:3], 0)  # the loop over places of the next one, which is larger, ends too


def test_the_largest_of_all_places_takes_the_gradient() -> None:
    """The slopes of images and of corners are those of differences."""
    rng = np.random.default_rng(1)
    x, batch = rng.standard_normal((2, 2, 7, 6)), np.array([0, 1, 1])
    rois = np.array([[0.3, 0.4, 4.1, 5.2], [1.2, 0.7, 5.3, 3.9], [-2.1, -3.2, 9.4, 8.3]])
    weight = rng.standard_normal((3, 2, 2, 3))

    def total(x: Any, rois: Any) -> Any:
        return (roi_align(x, rois, Tensor(batch), (2, 3), 0.9, 0, largest=True) * weight).sum()

    given = [Tensor(one, requires_grad=True) for one in (x, rois)]
    lucid.compile(total)(*given).backward()
    for i, one in enumerate((x, rois)):
        way, ends = rng.standard_normal(one.shape), []
        for step in (1e-6, -1e-6):
            moved = [x, rois]
            moved[i] = one + step * way
            ends.append(total(*map(Tensor, moved)).item())
        slope = given[i].grad
        assert slope is not None
        np.testing.assert_allclose((slope.numpy() * way).sum(), (ends[0] - ends[1]) / 2e-6, rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_largest_of_what_is_no_number(bad: float) -> None:
    x = np.full((1, 1, 4, 4), bad)
    align = lucid.compile(lambda x: roi_align(x, Tensor([[0.0, 0, 2, 2]]), Tensor([0]), (1, 1), 1.0, 0, largest=True))
    with np.errstate(invalid="ignore"):
        wanted = by_places(x, np.array([[0.0, 0, 2, 2]]), np.array([0]), (1, 1), 1.0, 0, True, True)
    np.testing.assert_array_equal(align(x).numpy(), wanted)


def test_fewer_places_than_none_are_refused() -> None:
    with pytest.raises(OptionError, match="sample points along each axis is 0 or more, got -1"):
        roi_align(Tensor(np.ones((1, 1, 4, 4))), Tensor(np.ones((1, 4))), Tensor([0]), (1, 1), 1.0, -1)
