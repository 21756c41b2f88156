"""Kernels of drawn ops against the reference, as in tests/tensor/test_drawn_shapes.py: any number of other rounds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lucid.graph.opdef import OpDef

from ..tensor.test_drawn_shapes import DRAWS, EXAMPLES, ROUNDS, run_round
from .sweep import Case

SMALL = 2 * EXAMPLES


def cases(rng: np.random.Generator) -> Iterator[Case]:
    ops = list(DRAWS)
    while True:
        yield _case(ops[rng.integers(len(ops))], int(rng.integers(ROUNDS, 1 << 30)))


def _case(op: OpDef, number: int) -> Case:
    return Case(f"{op.name}, round {number}", lambda: run_round(op, number), EXAMPLES)
