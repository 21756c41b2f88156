"""Shapes, element types, values and memory layouts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from hypothesis import strategies as st

from lucid.errors import LucidError
from lucid.graph.opdef import Attrs, OpDef
from lucid.graph.types import CHANNELS_LAST, DTYPES

from ..op_checks import strided, types_of

Array: TypeAlias = "np.ndarray[Any, Any]"
Shape: TypeAlias = "tuple[int, ...]"
Draw: TypeAlias = "Callable[..., Any]"


@dataclass(frozen=True)
class Drawn:
    """One application of an op."""

    attrs: Attrs
    arrays: tuple[Array, ...]


Strategy: TypeAlias = "st.SearchStrategy[Drawn]"

SIDE = 6
"""The longest axis."""

LIMIT = 300
"""The most elements of one array: references are slow."""

FLOATS = ("float32", "float64")
FINITE = (0.0, -0.0)
SPECIAL = (*FINITE, math.inf, -math.inf, math.nan)
LARGE = (*SPECIAL, 1e4, -1e4)


def dtypes(kinds: str = "f") -> st.SearchStrategy[str]:
    """Names of the element types of some kinds; floats two times of three, where they are among them."""
    floats = st.sampled_from(FLOATS)
    others = [name for name, dtype in DTYPES.items() if dtype.kind in kinds and dtype.kind != "f"]
    if "f" not in kinds:
        return st.sampled_from(others)
    return st.one_of(floats, floats, st.sampled_from(others)) if others else floats


@st.composite
def shapes(draw: Draw, least: int = 0, most: int = 5, *, empty: bool = True, limit: int = LIMIT) -> Shape:
    """A shape of a rank between ``least`` and ``most``; one in eight has an axis without elements."""
    dims: list[int] = []
    ranks = [rank for rank in (0, 1, 2, 3, 4, 4, 5) if least <= rank <= most]
    for _ in range(draw(st.sampled_from(ranks))):
        dims.append(draw(st.integers(1, min(SIDE, limit))))
        limit //= dims[-1]
    if empty and dims and draw(st.integers(0, 7)) == 7:
        dims[draw(st.integers(0, len(dims) - 1))] = 0
    return tuple(dims[:: draw(st.sampled_from((1, -1)))])


@st.composite
def broadcastable(draw: Draw, shape: Shape) -> Shape:
    """A shape that broadcasts to ``shape``: leading axes left out, others of size 1."""
    kept = shape[draw(st.sampled_from((0, 0, 0, 0, len(shape) // 2, len(shape)))) :]
    return tuple(draw(st.sampled_from((dim, dim, 1))) for dim in kept)


def axes(rank: int, least: int = 0) -> st.SearchStrategy[tuple[int, ...]]:
    """Some axes, ascending."""
    chosen = st.sets(st.integers(0, rank - 1), min_size=least) if rank else st.just(set())
    return chosen.map(lambda found: tuple(sorted(found)))


def subset_of(items: Sequence[int]) -> st.SearchStrategy[tuple[int, ...]]:
    """At least one of the items, in their order."""
    return st.sets(st.sampled_from(items), min_size=1).map(lambda found: tuple(sorted(found)))


#: What makes the values of an array: element by element hypothesis would be slow.
GENERATORS = st.integers(0, 2**32 - 1).map(np.random.default_rng)


@st.composite
def values(
    draw: Draw, shape: Shape, dtype: str, special: tuple[float, ...] = SPECIAL, *, extreme: bool = True
) -> Array:
    """An array with ties and, in three of four draws, some of the ``special`` numbers.

    Integers lie within -4…8; where ``extreme``, three of four draws hold the ends of their range too.
    """
    rng = draw(GENERATORS)
    spiced = rng.random() < 0.75
    kind = np.dtype(dtype).kind
    if kind == "b":
        return np.asarray(rng.random(shape) < 0.5)
    if kind != "f":
        x = np.asarray(rng.integers(0 if kind == "u" else -4, 9, shape), dtype)
        limits = np.iinfo(dtype)
        spice = np.array([limits.min, limits.max, 0], dtype)
        return _mixed(rng, x, spice) if extreme and spiced else x
    x = rng.integers(-12, 13, shape) * 0.25
    if rng.random() < 0.5:
        x = x + 0.5 * rng.standard_normal(shape)
    x = np.asarray(x, dtype)
    if not spiced:
        return x
    return _mixed(rng, x, np.asarray(rng.choice(special, 3), dtype))


def _mixed(rng: np.random.Generator, x: Array, spice: Array) -> Array:
    """``x`` with some of its elements replaced."""
    return np.where(rng.random(x.shape) < 0.15, rng.choice(spice, x.shape), x)


@st.composite
def between(draw: Draw, shape: Shape, dtype: str, low: float, high: float) -> Array:
    """Floats from ``low`` to ``high``, both ends among them."""
    rng = draw(GENERATORS)
    x = np.asarray(low + (high - low) * rng.random(shape), dtype)
    return _mixed(rng, x, np.array([low, high], dtype)) if rng.random() < 0.5 else x


@st.composite
def indices(draw: Draw, shape: Shape, size: int, *, negative: bool = False) -> Array:
    """Integers of any type below ``size``; ``shape`` must be empty where ``size`` is 0."""
    dtype = draw(st.sampled_from(("int64", "int64", "int32", "int8", "uint8", "uint64")))
    low = -size if negative and dtype.startswith("i") else 0
    return np.asarray(draw(GENERATORS).integers(low, max(size, 1), shape), dtype)


def accepted(op: OpDef, drawn: Drawn) -> bool:
    """Whether the op's type rule takes what was drawn: for windows that fit only together."""
    try:
        op.infer_types(drawn.attrs, types_of(drawn.arrays))
    except LucidError:
        return False
    return True


# ---------------------------------------------------------------- memory layouts


def _turned(x: Array) -> Array:
    """The first axis innermost, or a batch of images with its channels innermost."""
    order = CHANNELS_LAST if x.ndim == 4 else (*range(1, x.ndim), *range(min(x.ndim, 1)))
    return x.transpose(order).copy().transpose(np.argsort(order))


def _backwards(x: Array) -> Array:
    """Every axis with a negative stride."""
    back = (slice(None, None, -1),) * x.ndim
    return x[(*back, ...)].copy()[(*back, ...)]


def _locked(x: Array) -> Array:
    x = x.copy()
    x.flags.writeable = False
    return x


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "C": np.array,
    "Fortran": lambda x: np.array(x, order="F"),
    "turned": _turned,
    "backwards": _backwards,
    "gaps": strided,
    "read-only": _locked,
}
