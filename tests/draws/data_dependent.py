"""Draws for the ops with data-dependent sizes."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st

from lucid.graph.opdef import NoAttrs, OpDef
from lucid.graph.ops.data_dependent import (
    FOUND,
    NONZERO,
    SUPPRESSION,
    UNIQUE,
    FoundAttrs,
    SuppressionAttrs,
    UniqueAttrs,
)

from .arrays import GENERATORS, Draw, Drawn, Strategy, dtypes, shapes, values


@st.composite
def _found(draw: Draw) -> Drawn:
    shape = draw(shapes(1))
    count = draw(st.integers(0, shape[0]))
    return Drawn(FoundAttrs(count), (draw(values(shape, draw(dtypes("fiub")))), np.asarray(count)))


@st.composite
def _nonzero(draw: Draw) -> Drawn:
    return Drawn(NoAttrs(), (draw(values(draw(shapes()), draw(dtypes("fiub")))),))


@st.composite
def _unique(draw: Draw) -> Drawn:
    shape = draw(shapes(limit=40))
    axis = draw(st.sampled_from((None, *range(len(shape)))))
    return Drawn(
        UniqueAttrs(axis, draw(st.booleans()), draw(st.booleans())), (draw(values(shape, draw(dtypes("fiub")))),)
    )


@st.composite
def _suppression(draw: Draw) -> Drawn:
    """Boxes that touch, lie in each other, and have no area."""
    rng, dtype = draw(GENERATORS), draw(dtypes())
    images, classes, count = draw(st.integers(0, 2)), draw(st.integers(0, 3)), draw(st.integers(0, 7))
    boxes = np.asarray(rng.integers(-3, 4, (images, count, 4)), dtype)
    most, bound = draw(st.sampled_from((-1, 0, 2, 9, 2**40))), draw(st.integers(0, count))
    least = draw(st.sampled_from((None, -math.inf, 0.25, math.nan)))
    limits = np.asarray(most), np.asarray(draw(st.sampled_from((0.0, 0.4, 1.0))), dtype)
    limits += () if least is None else (np.asarray(least, dtype),)
    scores = draw(values((images, classes, count), dtype))
    return Drawn(SuppressionAttrs(bound, draw(st.booleans())), (boxes, scores, *limits))


DRAWS: dict[OpDef, Strategy] = {FOUND: _found(), NONZERO: _nonzero(), UNIQUE: _unique(), SUPPRESSION: _suppression()}
