"""Ranks train one model: bit by bit the same in all, and what one process gives with all of every batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from .programs import CASES
from .ranks import told


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_ranks_are_alike_and_as_one(ranks: int, tmp_path: Path) -> None:
    found = told("alike", ranks, tmp_path)
    for name in CASES:
        each = [one[name] for one in found]
        assert all(one["digests"] == each[0]["digests"] for one in each)
        assert all(one["losses"] == each[0]["losses"] for one in each)
        losses = np.array(each[0]["losses"])
        np.testing.assert_allclose(losses[:, ::2], losses[:, 1::2], rtol=1e-10, atol=1e-12)
        assert each[0]["apart"] < 1e-10
        assert each[0]["sums"] > 2 or name == "gathered"
