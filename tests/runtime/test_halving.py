"""The maximum by halves, of any number of parts."""

from __future__ import annotations

import numpy as np
import pytest

from lucid.runtime.kernels.shared.halving_views import halving


@pytest.mark.parametrize("count", range(1, 18))
@pytest.mark.parametrize("elsewhere", [False, True])
def test_the_first_part_or_another_place_has_the_maximum(count: int, elsewhere: bool) -> None:
    parts = np.random.default_rng(count).standard_normal((count, 2, 3))
    expected, final = parts.max(0), np.empty((1, 2, 3)) if elsewhere and count > 1 else None
    steps = list(halving(parts, final))
    for a, b, out in steps:
        np.maximum(a, b, out=out)
    np.testing.assert_array_equal(parts[0] if final is None else final[0], expected)
    assert len(steps) == (count - 1).bit_length()
