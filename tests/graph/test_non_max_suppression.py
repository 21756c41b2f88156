"""Boxes that overlap go as the reference says, one after the other, however many there are."""

from __future__ import annotations

import numpy as np
import pytest

from lucid.graph import non_max_suppression as module
from lucid.graph.non_max_suppression import best_boxes
from lucid.graph.ops.data_dependent import SuppressionAttrs
from lucid.reference.data_dependent import suppression


def _check(seed: int, images: int, classes: int, count: int) -> int:
    """Compare with the reference; how many are left."""
    rng = np.random.default_rng(seed)
    boxes = rng.integers(0, (6, 40)[seed % 2], (images, count, 4)).astype(np.float32)
    scores = np.round(rng.random((images, classes, count)), 2 + seed % 2).astype(np.float32)
    scores[rng.random(scores.shape) < 0.1] = (np.nan, np.inf, -np.inf)[seed % 3]
    most, overlap = (3, 70, 1000)[seed % 3], (0.0, 0.3, 0.5, -0.5, np.nan, 1.0)[seed % 6]
    least, centred = (None, 0.2, np.nan, -np.inf)[seed % 4], seed % 5 == 0
    limits = np.asarray(most), np.asarray(overlap, np.float32), *(() if least is None else (np.asarray(least),))
    with np.errstate(all="ignore"):
        rows, number = suppression(SuppressionAttrs(count, centred), boxes, scores, *limits)
        found = best_boxes(boxes, scores, min(most, count), float(limits[1]), least, centred)
    np.testing.assert_array_equal(found, rows[: int(number)])
    return len(found)


def test_all_is_as_if_boxes_were_looked_at_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _check(1, 1, 1, 700) > 2
    monkeypatch.setattr(module, "BEST", 6)
    monkeypatch.setattr(module, "CLASSES", 2)
    monkeypatch.setattr(module, "PAIRS", 500)
    assert sum(_check(seed, seed % 3, 1 + seed % 4, 10 + 3 * seed) for seed in range(24)) > 300


def test_there_may_be_no_boxes_and_none_may_be_wanted() -> None:
    assert _check(3, 2, 3, 0) == _check(3, 0, 3, 4) == _check(3, 2, 0, 4) == 0
    boxes, scores = np.ones((1, 5, 4), np.float32), np.ones((1, 2, 5), np.float32)
    for most, least in ((0, None), (-1, None), (3, 1.0)):
        assert best_boxes(boxes, scores, most, 0.5, least, False).shape == (0, 3)
    assert best_boxes(boxes, scores, 3, 0.5, None, False)[:, 2].tolist() == [0, 1, 2] * 2  # without area none overlaps
