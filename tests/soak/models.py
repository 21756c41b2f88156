"""Whole random models at every setting, against the reference: as in tests/runtime, and any number of others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..runtime.test_random_models import COUNT, check
from .sweep import Case

SMALL = 2


def cases(rng: np.random.Generator) -> Iterator[Case]:
    while True:
        yield _case(int(rng.integers(COUNT, 1 << 30)))


def _case(seed: int) -> Case:
    return Case(f"the model of seed {seed}", lambda: check(seed))
