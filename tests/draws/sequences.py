"""Sequences whose places in time are not known."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from lucid.graph.opdef import OpDef
from lucid.graph.ops.ctc import CTC_LOSS, CtcAttrs

from .arrays import GENERATORS, Draw, Drawn, Strategy, dtypes


@st.composite
def _sequences(draw: Draw) -> Drawn:
    """Few steps, as the definition goes over every path; the sequences may be empty, or not fit."""
    rng, dtype = draw(GENERATORS), draw(dtypes())
    steps, batch, most = draw(st.integers(0, 4)), draw(st.integers(0, 3)), draw(st.integers(0, 3))
    classes = draw(st.integers(2, 3))
    blank = draw(st.integers(0, classes - 1))
    numbers = np.asarray(rng.standard_normal((steps, batch, classes)) - 1.5, dtype)
    counts = rng.integers(0, steps + 1, batch), rng.integers(0, most + 1, batch)
    targets = (blank + 1 + rng.integers(0, classes - 1, (batch, most))) % classes  # none of them blank
    return Drawn(CtcAttrs(blank, draw(st.booleans())), (numbers, targets, *counts))


DRAWS: dict[OpDef, Strategy] = {CTC_LOSS: _sequences()}
