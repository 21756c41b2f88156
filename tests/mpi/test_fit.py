"""``lucid.fit`` in several processes, and what a group offers by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from .ranks import told


def test_a_run_that_one_rank_stops_and_all_resume(tmp_path: Path) -> None:
    found = told("fitted", 2, tmp_path)
    for one in found:
        assert one == {**found[0], "uneven": one["uneven"]}
        assert len(one["stopped"][2]["loss"]) == 2
        assert one["resumed"] == one["whole"]
        assert one["sums True"] == one["sums False"]
        assert one["sums True"][0] != one["sums True"][1]
        assert "the mean of all ranks is 2.5" in one["uneven"]
        assert "compiled" in one["eager"]


def test_a_group(tmp_path: Path) -> None:
    found = told("together", 3, tmp_path)
    for rank, one in enumerate(found):
        assert one["sum"] == [3.0, 6.0]
        assert one["mean"] == [1.0, pytest.approx(2.0)]
        assert one["max"] == [1.0, 3.0]
        assert one["flags"] == [True, True]
        assert one["model"] == found[0]["model"]
        assert "op" in one["op"]
        assert "src" in one["whom"]
        assert one["place"] == [rank, 3, rank, 3, f"<rank {rank} of 3>"]
