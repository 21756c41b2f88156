"""Element-wise ops, and programs of several."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st

from lucid.graph.opdef import Attrs, NoAttrs, OpDef, TypeAttrs
from lucid.graph.ops import elementwise as ew
from lucid.graph.ops import trigonometry as tr
from lucid.graph.ops.bits import BIT_CAST
from lucid.graph.ops.bounds import CLIP, ClipAttrs
from lucid.graph.ops.fused import FUSED_ELEMENTWISE, FUSED_LOOP, FusedAttrs, Instruction, LoopAttrs, Result
from lucid.graph.ops.loss import BINARY_CROSS_ENTROPY
from lucid.graph.ops.nonelementary import (
    BESSEL_I,
    ERFC,
    ERFCX,
    ERFINV,
    LGAMMA,
    NDTRI,
    POLYGAMMA,
    BesselAttrs,
    PolygammaAttrs,
)
from lucid.graph.ops.random import DROPOUT, RANDOM_NORMAL, RANDOM_UNIFORM, DropoutAttrs
from lucid.graph.ops.reduce import ReduceAttrs
from lucid.graph.ops.rounding import FLOAT_FORMATS, ROUND_STRAIGHT, ROUND_TO, RoundToAttrs
from lucid.graph.ops.source import FULL, FullAttrs
from lucid.graph.types import DTYPES

from .arrays import LARGE, SPECIAL, Draw, Drawn, Strategy, between, broadcastable, dtypes, shapes, subset_of, values

_NONE = st.just(NoAttrs())
_SLOPES = st.sampled_from((0.01, 1.0, 0.0, 0.5, 2.0, -0.5)).map(ew.AlphaAttrs)
_GELUS = st.sampled_from(("none", "tanh")).map(ew.GeluAttrs)
_ROOTS = st.booleans().map(ew.SqrtAttrs)
_FORMATS = st.builds(RoundToAttrs, st.sampled_from(sorted(FLOAT_FORMATS)), st.booleans())
_SOFTPLUS = st.builds(ew.SoftplusAttrs, st.sampled_from((1.0, 0.5, 2.0, -1.0)), st.sampled_from((20.0, 1.0)))


@st.composite
def _unary(draw: Draw, kinds: str = "f", attrs: st.SearchStrategy[Any] = _NONE) -> Drawn:
    x = draw(values(draw(shapes()), draw(dtypes(kinds)), LARGE))
    return Drawn(draw(attrs), (x,))


@st.composite
def _binary(draw: Draw, kinds: str = "fiub", extreme: bool = True) -> Drawn:
    shape, dtype = draw(shapes()), draw(dtypes(kinds))
    operand = broadcastable(shape).flatmap(lambda s: values(s, dtype, LARGE, extreme=extreme))
    return Drawn(NoAttrs(), (draw(operand), draw(operand)))


@st.composite
def _division(draw: Draw) -> Drawn:
    """Integers are not divided by 0."""
    dividend, divisor = draw(_binary("fiu")).arrays
    return Drawn(NoAttrs(), (dividend, divisor if divisor.dtype.kind == "f" else np.where(divisor == 0, 1, divisor)))


@st.composite
def _where(draw: Draw) -> Drawn:
    shape, dtype = draw(shapes()), draw(dtypes("fiub"))
    operands = (draw(broadcastable(shape).flatmap(lambda s, t=t: values(s, t))) for t in ("bool", dtype, dtype))
    return Drawn(NoAttrs(), tuple(operands))


@st.composite
def _clip(draw: Draw) -> Drawn:
    dtype = draw(dtypes("fiu"))
    bounds: tuple[Any, ...] = (-math.inf, -1.0, -0.0, 0.5, 1.0) if dtype.startswith("f") else (0, 1, 3)
    low = draw(st.sampled_from((None, *bounds)))
    high = draw(st.sampled_from(bounds if low is None else (None, *bounds)))
    return Drawn(ClipAttrs(low, high), (draw(values(draw(shapes()), dtype)),))


@st.composite
def _cast(draw: Draw) -> Drawn:
    """What no integer can hold stays out of casts from floats to integers."""
    source, target = draw(dtypes("fiub")), draw(dtypes("fiub"))
    shape = draw(shapes())
    if source.startswith("f") and DTYPES[target].kind in "iu":
        x = draw(between(shape, source, 0.0 if DTYPES[target].kind == "u" else -100.0, 100.0))
    else:
        x = draw(values(shape, source))
    return Drawn(ew.CastAttrs(DTYPES[target]), (x,))


@st.composite
def _bit_cast(draw: Draw) -> Drawn:
    """To a type of the same size."""
    x = draw(values(draw(shapes()), draw(dtypes("fiub"))))
    fitting = [dtype for dtype in DTYPES.values() if dtype.itemsize == x.itemsize and dtype.kind != "b"]
    return Drawn(ew.CastAttrs(draw(st.sampled_from(fitting))), (x,))


@st.composite
def _full(draw: Draw) -> Drawn:
    dtype = DTYPES[draw(dtypes("fiub"))]
    numbers = {"f": (1.5, *SPECIAL, 3), "i": (-3, 0, 7), "u": (0, 200), "b": (True, False)}[dtype.kind]
    return Drawn(FullAttrs(draw(shapes()), dtype, draw(st.sampled_from(numbers))), ())


@st.composite
def _cross_entropy(draw: Draw) -> Drawn:
    shape, dtype = draw(shapes()), draw(dtypes())
    return Drawn(NoAttrs(), (draw(between(shape, dtype, 0.0, 1.0)), draw(between(shape, dtype, 0.0, 1.0))))


_KEYS = st.integers(0, 2**64 - 1).map(lambda key: np.array(key, np.uint64))


@st.composite
def _numbers(draw: Draw) -> Drawn:
    return Drawn(TypeAttrs(draw(shapes()), DTYPES[draw(dtypes())]), (draw(_KEYS),))


@st.composite
def _dropout(draw: Draw) -> Drawn:
    probability = draw(st.sampled_from((0.5, 0.0, 0.1, 1.0)))
    return Drawn(DropoutAttrs(probability), (draw(values(draw(shapes()), draw(dtypes()))), draw(_KEYS)))


# ---------------------------------------------------------------- fused programs

#: Ops that do not enlarge rounding errors, so that a program of them has the accuracy of one.
_STEPS: dict[OpDef, tuple[int, st.SearchStrategy[Attrs]]] = {
    ew.ADD: (2, _NONE), ew.SUB: (2, _NONE), ew.MUL: (2, _NONE), ew.MAXIMUM: (2, _NONE), ew.MINIMUM: (2, _NONE),
    ew.NEG: (1, _NONE), ew.ABS: (1, _NONE), ew.RELU: (1, _NONE), ew.TANH: (1, _NONE), ew.SIGMOID: (1, _NONE),
    ew.ERF: (1, _NONE), ew.SILU: (1, _NONE), ew.HARD_SWISH: (1, _NONE), ew.SIGN: (1, _NONE),
    ew.GELU: (1, _GELUS), ew.LEAKY_RELU: (1, _SLOPES), ew.ELU: (1, _SLOPES),
    CLIP: (1, st.just(ClipAttrs(-1.0, 0.5))),
}  # fmt: skip


@st.composite
def _fused(draw: Draw) -> Drawn:
    """A program whose last op has the whole shape; half of them choose by a comparison of two inputs."""
    shape, dtype = draw(shapes()), draw(dtypes())
    ranges = [shape, *(draw(broadcastable(shape)) for _ in range(draw(st.integers(0, 2))))]
    arrays = tuple(draw(between(s, dtype, -1.5, 1.5)) for s in ranges)
    count, program = len(arrays), []
    known = list(range(count))
    if draw(st.booleans()):
        a, b = draw(st.sampled_from(known)), draw(st.sampled_from(known))
        program += [Instruction("Less", NoAttrs(), (a, b)), Instruction("Where", NoAttrs(), (count, 0, b))]
        known.append(count + 1)
    for _ in range(draw(st.integers(0, 4))):
        op = draw(st.sampled_from(list(_STEPS)))
        arity, attrs = _STEPS[op]
        operands = tuple(draw(st.sampled_from(known)) for _ in range(arity))
        known.append(count + len(program))
        program.append(Instruction(op.name, draw(attrs), operands))
    program.append(Instruction("Add", NoAttrs(), (known[-1], 0)))
    return Drawn(FusedAttrs(count, tuple(program)), arrays)


@st.composite
def _loop(draw: Draw) -> Drawn:
    """Such a program with sums and means of its first input and its last value, and that value itself or not."""
    fused = draw(_fused())
    x, last = fused.arrays[0], fused.attrs.inputs + len(fused.attrs.program) - 1
    results = [Result(last)] if not x.ndim or draw(st.booleans()) else []
    for op in ("Sum", "Mean") if x.size else ("Sum",):
        if x.ndim:
            attrs = ReduceAttrs(draw(subset_of(range(x.ndim))), draw(st.booleans()))
            results.append(Result(draw(st.sampled_from((0, last))), op, attrs))
    return Drawn(LoopAttrs(fused.attrs.inputs, fused.attrs.program, tuple(results)), fused.arrays)


_FLOATS = (
    ew.EXPM1, ew.LOG1P, ew.LOG2, ew.LOG10,
    ew.EXP, ew.LOG, ew.SIN, ew.COS, ew.ERF, ew.TANH, ew.SIGMOID, ew.SILU, ew.FLOOR, ew.CEIL, ew.ROUND,
    ROUND_STRAIGHT, ew.HARD_SWISH,
    ERFC, ERFCX, ERFINV, NDTRI, LGAMMA,
    tr.ASIN, tr.ACOS, tr.ATAN, tr.SINH, tr.COSH, tr.ASINH, tr.ACOSH, tr.ATANH,
)  # fmt: skip
_COMPARISONS = (ew.EQUAL, ew.NOT_EQUAL, ew.LESS, ew.LESS_EQUAL, ew.GREATER, ew.GREATER_EQUAL)

DRAWS: dict[OpDef, Strategy] = {
    **{op: _unary() for op in _FLOATS},
    **{op: _unary("fiu") for op in (ew.NEG, ew.ABS, ew.SIGN, ew.RELU)},
    ew.NOT: _unary("iub"),
    ew.LEAKY_RELU: _unary(attrs=_SLOPES),
    ew.ELU: _unary(attrs=_SLOPES),
    ew.GELU: _unary(attrs=_GELUS),
    ew.SOFTPLUS: _unary(attrs=_SOFTPLUS),
    ew.SQRT: _unary(attrs=_ROOTS),
    ROUND_TO: _unary(attrs=_FORMATS),
    POLYGAMMA: _unary(attrs=st.sampled_from((0, 1, 2, 5)).map(PolygammaAttrs)),
    BESSEL_I: _unary(attrs=st.builds(BesselAttrs, st.sampled_from((0, 1)), st.booleans())),
    CLIP: _clip(),
    ew.CAST: _cast(),
    BIT_CAST: _bit_cast(),
    **{op: _binary() for op in (ew.ADD, ew.MUL, ew.MAXIMUM, ew.MINIMUM, *_COMPARISONS)},
    ew.SUB: _binary("fiu"),
    ew.GCD: _binary("iu"),
    **{op: _division() for op in (ew.FLOOR_DIVIDE, ew.REMAINDER)},
    **{op: _binary("f") for op in (ew.DIV, tr.ATAN2)},
    ew.POW: _binary("fiu", extreme=False),
    ew.AND: _binary("iub"),
    ew.OR: _binary("iub"),
    ew.WHERE: _where(),
    FUSED_ELEMENTWISE: _fused(),
    FUSED_LOOP: _loop(),
    FULL: _full(),
    BINARY_CROSS_ENTROPY: _cross_entropy(),
    RANDOM_UNIFORM: _numbers(),
    RANDOM_NORMAL: _numbers(),
    DROPOUT: _dropout(),
}

#: Results that both round alike, if at all: compared bit by bit, signs of zeros included.
EXACT = frozenset(
    {FULL, ew.WHERE, ew.CAST, BIT_CAST, ew.NEG, ew.ADD, ew.SUB, ew.MUL, ew.DIV, ew.SQRT, ew.FLOOR, ew.CEIL, ew.ROUND,
     ROUND_STRAIGHT, ROUND_TO}
)  # fmt: skip
