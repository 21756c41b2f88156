"""Numbers of eight bits and fewer lie on the grids of their types, beside what ``ml_dtypes`` makes of them."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

import lucid
from lucid.formats.onnx.small import GRIDS, INTEGERS

from .models import one

TYPES = {
    17: ml_dtypes.float8_e4m3fn, 18: ml_dtypes.float8_e4m3fnuz, 19: ml_dtypes.float8_e5m2,
    20: ml_dtypes.float8_e5m2fnuz, 21: ml_dtypes.uint4, 22: ml_dtypes.int4, 23: ml_dtypes.float4_e2m1fn,
    25: ml_dtypes.uint2, 26: ml_dtypes.int2,
}  # fmt: skip


@pytest.mark.parametrize("kind", GRIDS)
def test_floats_are_rounded_to_the_nearest(kind: int) -> None:
    rng = np.random.default_rng(kind)
    every = np.arange(256, dtype=np.uint8).view(TYPES[kind]) if kind != 23 else np.arange(16).astype(TYPES[kind])
    known = every.astype(np.float32)
    known = known[np.isfinite(known)]
    between = (known[:, None] + known[None]).ravel() / 2
    x = np.concatenate([known, between, rng.standard_normal(1000).astype(np.float32) * 100]).astype(np.float32)
    found = lucid.onnx.load(one("Cast", [x], to=kind).proto)(x).numpy()
    largest = GRIDS[kind].largest
    wanted = np.clip(x, -largest, largest).astype(TYPES[kind]).astype(np.float32)
    np.testing.assert_array_equal(found, wanted)
    if kind != 23:
        beyond = np.float32([np.inf, -np.inf, np.nan, 1e9, 0.0])
        free = lucid.onnx.load(one("Cast", [beyond], to=kind, saturate=0).proto)(beyond).numpy()
        np.testing.assert_array_equal(free, beyond.astype(TYPES[kind]).astype(np.float32))
        held = lucid.onnx.load(one("Cast", [beyond], to=kind).proto)(beyond).numpy()
        np.testing.assert_array_equal(held, np.float32([largest, -largest, np.nan, largest, 0]))


@pytest.mark.parametrize("kind", INTEGERS)
def test_integers_lose_their_higher_bits(kind: int) -> None:
    for x in (np.arange(-40, 40, dtype=np.int32), np.arange(-9, 16, dtype=np.float32)):
        found = lucid.onnx.load(one("Cast", [x], to=kind).proto)(x).numpy()
        np.testing.assert_array_equal(found, x.astype(TYPES[kind]).astype(found.dtype))
