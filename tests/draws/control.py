"""What runs graphs: each with bodies that read some of their operands, and leave others alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from lucid.graph.opdef import NoAttrs, OpDef
from lucid.graph.ops.composite import lt
from lucid.graph.ops.control import IF, IfAttrs
from lucid.graph.ops.custom_gradient import CUSTOM_GRADIENT, ONCE, CustomGradientAttrs
from lucid.graph.ops.loops import LOOP, SCAN, Along, LoopAttrs, ScanAttrs
from lucid.graph.region import Region

from ..op_checks import trace, types_of
from .arrays import Array, Draw, Drawn, Strategy, between, dtypes, shapes

_BRANCHES: tuple[Callable[[Any, Any], tuple[Any, Any]], ...] = (
    lambda x, y: (x * y, x + 1.0),
    lambda x, y: (x, y),
    lambda x, y: (y.tanh(), x),
    lambda x, y: ((x + y).tanh(), x - y),
)
"""Two arrays of one shape from two."""

_TURNS = st.sampled_from((1, 2, 3, 5, 0))
_ALONG = st.builds(Along, st.integers(0, 1), st.booleans())


def _region(body: Callable[..., Sequence[Any]], *arrays: Array) -> Region:
    return Region(trace(lambda *xs: tuple(body(*xs)), types_of(arrays)))


@st.composite
def _two(draw: Draw) -> tuple[Array, Array]:
    shape, dtype = draw(shapes()), draw(dtypes())
    return draw(between(shape, dtype, -1.0, 1.0)), draw(between(shape, dtype, -1.0, 1.0))


@st.composite
def _if(draw: Draw) -> Drawn:
    x, y = draw(_two())
    then, otherwise = (_region(draw(st.sampled_from(_BRANCHES)), x, y) for _ in range(2))
    return Drawn(IfAttrs(then, otherwise), (np.array(draw(st.booleans())), x, y))


@st.composite
def _scan(draw: Draw) -> Drawn:
    """A vector is carried over slices of a matrix, with another that is captured."""
    turns, dtype, size = draw(_TURNS), draw(dtypes()), draw(st.integers(0, 4))
    scanned, stacked, branch = draw(_ALONG), draw(_ALONG), draw(st.sampled_from(_BRANCHES))
    shape = (size, turns) if scanned.axis else (turns, size)
    h, w, xs = (draw(between(shape, dtype, -1.0, 1.0)) for shape in ((size,), (size,), shape))

    def turn(h: Any, x: Any, w: Any) -> tuple[Any, Any]:
        new, other = branch(h, x)
        return new * w, other

    attrs = ScanAttrs(_region(turn, h, np.zeros(size, dtype), w), turns, 1, (scanned,), (stacked,))
    return Drawn(attrs, (h, xs, w))


@st.composite
def _loop(draw: Draw) -> Drawn:
    """It goes on for as long as the number of the turn, or a sum of what is carried, says."""
    (x, y), most, end = draw(_two()), draw(_TURNS), draw(st.integers(-1, 5))
    branch, counted = draw(st.sampled_from(_BRANCHES)), draw(st.booleans())

    def turn(number: Any, x: Any, y: Any) -> tuple[Any, Any, Any]:
        new, other = branch(x, y)
        return lt(number, end) if counted else lt((new * new).sum(), 3.7), new, other

    attrs = LoopAttrs(_region(turn, np.zeros((), np.int64), x, y))
    return Drawn(attrs, (np.array(most), np.array(draw(st.booleans())), x, y))


@st.composite
def _custom_gradient(draw: Draw) -> Drawn:
    """One value and what two gradients are for, with one that is captured."""
    (value, x), (y, w) = draw(_two()), draw(_two())
    y, w = np.resize(y, x.shape).astype(x.dtype), np.resize(w, x.shape).astype(x.dtype)
    branch = draw(st.sampled_from(_BRANCHES))
    region = _region(lambda dy, value, w: branch(dy * w, value), value, value, w)
    return Drawn(CustomGradientAttrs(1, region), (value, x, y, w))


@st.composite
def _once(draw: Draw) -> Drawn:
    return Drawn(NoAttrs(), draw(_two()))


DRAWS: dict[OpDef, Strategy] = {
    IF: _if(), SCAN: _scan(), LOOP: _loop(), CUSTOM_GRADIENT: _custom_gradient(), ONCE: _once(),
}  # fmt: skip
