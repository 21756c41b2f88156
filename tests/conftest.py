"""Every test draws the same random numbers in each run, whatever ran before it."""

from __future__ import annotations

import pytest

import lucid


@pytest.fixture(autouse=True)
def seeded() -> None:
    lucid.manual_seed(0)
