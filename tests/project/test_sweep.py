"""The harness of the sweeps counts what fails, names it, and draws the same cases for the same seed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest

from ..soak.sweep import Case, run


def _odd(n: int) -> None:
    assert n % 2, f"{n} is even"


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for _ in range(20):
        n = int(rng.integers(100))
        yield Case(f"number {n}", lambda n=n: _odd(n))


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> str:
    module = ModuleType("tests.soak.toy")
    module.cases = _cases  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tests.soak.toy", module)
    return "toy"


def test_it_counts_and_names_what_fails(toy: str) -> None:
    tally = run(toy, 1000)
    even = [n for n in np.random.default_rng(0).integers(100, size=20).tolist() if n % 2 == 0]
    assert (tally.tried, tally.failed) == (20, len(even))
    assert all(f"number {n}: AssertionError: {n} is even" in str(tally) for n in even)


def test_a_number_of_cases_and_a_seed_bound_and_repeat_it(toy: str) -> None:
    first, again, other = run(toy, 7, seed=3), run(toy, 7, seed=3), run(toy, 7, seed=4)
    assert first.tried == 7
    assert first.failures == again.failures != other.failures
