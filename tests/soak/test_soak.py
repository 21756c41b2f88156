"""Each sweep, small: the same cases in each run of the suite. ``make soak`` runs them at length."""

from __future__ import annotations

import pytest

from .sweep import load, names, run


@pytest.mark.parametrize("name", names())
def test_a_sweep_finds_nothing(name: str) -> None:
    tally = run(name, load(name).SMALL)
    assert tally.tried
    assert not tally.failed, str(tally)
