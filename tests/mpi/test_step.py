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


def test_statistics_are_those_of_rank_0_and_each_rank_draws_its_own(tmp_path: Path) -> None:
    first, second = told("buffers", 2, tmp_path)
    assert first["digests"] == second["digests"]
    assert first["averages"] == second["averages"]
    assert first["averages"] != first["digests"]
    assert first["digests"][:4] == first["digests"][4:]
    assert first["outputs"][:4] == first["outputs"][4:]
    assert second["outputs"][:4] == second["outputs"][4:]
    assert first["outputs"][0] != second["outputs"][0]
    assert first["drawn"] == second["drawn"]


def test_parameters_that_one_rank_does_not_read(tmp_path: Path) -> None:
    first, second = told("unused", 2, tmp_path)
    assert first["digests"] == second["digests"]
    other = [digests[1] for digests in first["digests"]]
    assert other[0] == other[1]  # nobody has read them
    assert len(set(other[1:])) == 5
    assert first["left"]
    assert "nobody.weight" in first["warned"]


def test_what_ranks_do_differently_is_refused(tmp_path: Path) -> None:
    for found in told("refused", 2, tmp_path):
        assert "shape and type" in found["model"]
        assert "learning rates" in found["rate"]
        for name in ("options", "later"):
            assert "the options of the step" in found[name]
        assert "what there is to add up" in found["metrics"]
        assert found["well"] == ""
        assert "save_checkpoint, in one rank" in found["save"]


def test_a_rank_that_fails_stops_the_step_of_all(tmp_path: Path) -> None:
    found = told("failing", 3, tmp_path)
    assert len({one["after"] for one in found}) == 1
    words = {"label": "out of range", "nan": "not finite", "shape": "Linear"}
    for rank in range(3):
        for number, one in enumerate(found):
            for name, own in words.items():
                error, left = one[f"{name} {rank}"]
                assert left
                assert (own if number == rank else f"rank {rank} has failed in this step") in error


def test_an_interrupt_in_one_rank(tmp_path: Path) -> None:
    first, second = told("interrupted", 2, tmp_path)
    assert first["digests"] == second["digests"]
    errors = first["errors"] + second["errors"]
    assert sum("KeyboardInterrupt" in error for error in errors) > 5


def test_a_part_that_a_worker_left_is_not_noticed(tmp_path: Path) -> None:
    found = told("late", 2, tmp_path)
    for rank, one in enumerate(found):
        assert one["found"] == [found[0]["want"]] * 2
        regions = max(one["regions"][1 - rank])
        assert regions >= 6
        assert set(one["regions"][rank]) >= set(range(regions + 1))  # it has left each of them


def test_a_budget_of_memory(tmp_path: Path) -> None:
    found = told("budgeted", 2, tmp_path)
    for one in found:
        assert one["free"] == one["all"] == one["one"] == one["after"] == found[0]["free"]
        assert one["again"] > 0
        assert one["kept"]
    assert "rank 1 has failed in this step" in found[0]["too small"]
    assert "memory_budget" in found[1]["too small"]
