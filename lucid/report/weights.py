"""Histograms of a model's parameters and buffers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..base.arrays import Array
from .nodes import Data

BINS = 40
SAMPLED = 1 << 20
"""The most numbers of an array that go into a histogram; larger arrays are sampled at regular intervals."""


def weight_data(weights: Mapping[str, Array]) -> list[Data]:
    """Statistics and a histogram for each array."""
    with np.errstate(all="ignore"):
        return [_one(name, array) for name, array in weights.items()]


def _one(name: str, array: Array) -> Data:
    found: Data = {
        "name": name, "type": f"{array.dtype}[{', '.join(map(str, array.shape))}]", "count": int(array.size),
        "bytes": int(array.nbytes),
    }  # fmt: skip
    if array.dtype.kind not in "fiub" or not array.size:
        return found
    flat = array.reshape(-1)
    step = -(-flat.size // SAMPLED)
    numbers = flat[::step].astype(np.float64)
    finite = numbers[np.isfinite(numbers)]
    found |= {"sampled": int(numbers.size), "odd": int(numbers.size - finite.size), "zeros": int((finite == 0).sum())}
    if finite.size:
        counts, edges = np.histogram(finite, bins=BINS) if _spreads(finite) else ([finite.size], [finite[0]] * 2)
        found |= {
            "mean": float(finite.mean()), "deviation": float(finite.std()), "low": float(edges[0]),
            "high": float(edges[-1]), "counts": [int(n) for n in counts],
        }  # fmt: skip
    return found


def _spreads(numbers: Array) -> bool:
    """Whether numbers are far enough apart for bins of a nonzero width."""
    low, high = float(numbers.min()), float(numbers.max())
    width = (high - low) / BINS
    return bool(np.isfinite(width)) and low + width > low and high - width < high
