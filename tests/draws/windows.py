"""Poolings and convolutions, and their gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from lucid.graph.opdef import NoAttrs, OpDef
from lucid.graph.ops import avgpool, conv, pool
from lucid.graph.ops import elementwise as ew
from lucid.graph.ops.bounds import ClipAttrs
from lucid.graph.ops.conv_pool import CONV_POOL, ConvPoolAttrs
from lucid.reference.evaluator import run_reference

from ..op_checks import types_of
from .arrays import FINITE, Array, Draw, Drawn, Shape, Strategy, accepted, dtypes, values

IMAGES = st.sampled_from((1, 2, 3, 1, 2, 3, 1, 2, 3, 0))
CHANNELS = st.sampled_from((1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 0))


def _pair(least: int, most: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(least, most), st.integers(least, most))


#: Of poolings: windows that overlap, that leave gaps, and that hang over the end.
_KERNELS, _STRIDES = _pair(2, 4) | _pair(1, 3), _pair(2, 3) | _pair(1, 3)


def _extents(kernel: Sequence[int], dilation: Sequence[int]) -> tuple[int, ...]:
    return tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))


@st.composite
def _pads(draw: Draw, extents: Sequence[int]) -> tuple[int, int, int, int]:
    """(top, left, bottom, right), each smaller than a window."""
    top, left, bottom, right = (draw(st.integers(0, min(e - 1, 3))) for e in (*extents, *extents))
    return top, left, bottom, right


@st.composite
def _image(draw: Draw, channels: int, extents: Sequence[int], pads: Sequence[int]) -> Shape:
    """A batch of images that windows fit into."""
    least = (max(1, e - pads[i] - pads[2 + i]) for i, e in enumerate(extents))
    height, width = (draw(st.integers(low, max(low, 6))) for low in least)
    return draw(IMAGES), channels, height, width


# ---------------------------------------------------------------- max pooling


@st.composite
def _max_attrs(draw: Draw, dtype: str) -> pool.MaxPoolAttrs:
    kernel, dilation = draw(_KERNELS), draw(_pair(1, 2))
    pads = draw(_pads(_extents(kernel, dilation)))
    outside = draw(st.sampled_from((0.0, -math.inf, 1.0) if dtype.startswith("u") else (0.0, -math.inf, -1.0)))
    return pool.MaxPoolAttrs(kernel, draw(_STRIDES), pads, dilation, draw(st.booleans()), outside)


@st.composite
def _max_pool(draw: Draw, kinds: str = "fiu") -> Drawn:
    dtype = draw(dtypes(kinds))
    a = draw(_max_attrs(dtype))
    shape = draw(_image(draw(CHANNELS), _extents(a.kernel, a.dilation), a.padding))
    return Drawn(a, (draw(values(shape, dtype)),))


_MAX_POOL = _max_pool().filter(lambda drawn: accepted(pool.MAX_POOL, drawn))
_FLOAT_MAX_POOL = _max_pool("f").filter(lambda drawn: accepted(pool.MAX_POOL, drawn))


@st.composite
def _pooled(draw: Draw) -> tuple[pool.MaxPoolGradAttrs, Array, Array]:
    """A max pooling, what it pooled, and the index it gave."""
    drawn = draw(_FLOAT_MAX_POOL)
    (x,) = drawn.arrays
    attrs: Any = drawn.attrs
    return pool.MaxPoolGradAttrs(attrs, x.shape[2:]), x, run_reference(pool.MAX_POOL, attrs, [x])[1]


@st.composite
def _max_grad(draw: Draw) -> Drawn:
    attrs, x, index = draw(_pooled())
    return Drawn(attrs, (draw(values(index.shape, x.dtype.name)), index))


@st.composite
def _max_gather(draw: Draw) -> Drawn:
    attrs, x, index = draw(_pooled())
    return Drawn(attrs, (x, index))


@st.composite
def _max_positions(draw: Draw) -> Drawn:
    attrs, _, index = draw(_pooled())
    return Drawn(attrs, (index,))


# ---------------------------------------------------------------- average pooling


@st.composite
def _avg_pool(draw: Draw) -> Drawn:
    kernel = draw(_KERNELS)
    pads = draw(_pads(kernel))
    often = st.sampled_from((True, True, False))  # what a window that hangs over is divided by
    divisor = draw(st.sampled_from((None, None, None, 1, 3)))
    a = avgpool.AvgPoolAttrs(kernel, draw(_STRIDES), pads, draw(often), draw(often), divisor)
    shape = draw(_image(draw(CHANNELS), kernel, pads))
    return Drawn(a, (draw(values(shape, draw(dtypes()))),))


_AVG_POOL = _avg_pool().filter(lambda drawn: accepted(avgpool.AVG_POOL, drawn))


@st.composite
def _avg_grad(draw: Draw) -> Drawn:
    drawn = draw(_AVG_POOL)
    (x,) = drawn.arrays
    attrs: Any = drawn.attrs
    (y,) = avgpool.AVG_POOL.infer_types(attrs, types_of([x]))
    return Drawn(avgpool.AvgPoolGradAttrs(attrs, x.shape[2:]), (draw(values(y.concrete, x.dtype.name)),))


@st.composite
def _adaptive(draw: Draw, kinds: str = "f") -> Drawn:
    """Height and width of the result (or of what was pooled) may be larger than those of the input."""
    shape = draw(st.tuples(IMAGES, CHANNELS, st.integers(1, 6), st.integers(1, 6)))
    return Drawn(avgpool.AdaptiveAttrs(draw(_pair(1, 7))), (draw(values(shape, draw(dtypes(kinds)))),))


def _backwards(drawn: Drawn) -> Drawn:
    attrs: Any = drawn.attrs
    return Drawn(avgpool.AdaptiveGradAttrs(attrs.size), drawn.arrays)


# ---------------------------------------------------------------- convolutions


def _finite(shape: Sequence[int], dtype: str) -> st.SearchStrategy[Any]:
    """Without infinities: zeros that stand for padding, or a transform, would make NaN of them."""
    return values(tuple(shape), dtype, FINITE)


@st.composite
def _conv(draw: Draw) -> Drawn:
    """Also pointwise (kernels of size 1), 3 by 3 with stride 1, and depthwise convolutions."""
    kernel = draw(st.sampled_from(((3, 3), (1, 1), (3, 3), (2, 3), (1, 4), (3, 2))))
    stride = draw(st.just((1, 1)) | _pair(1, 3))
    dilation = draw(st.just((1, 1)) | _pair(1, 2))
    groups, wide, out = draw(st.sampled_from(((1, 2, 3), (1, 1, 1), (1, 3, 4), (2, 2, 1), (3, 1, 1), (4, 1, 2))))
    extents = _extents(kernel, dilation)
    pads, dtype = draw(_pads(extents)), draw(dtypes())
    x = draw(_finite(draw(_image(groups * wide, extents, pads)), dtype))
    w = draw(_finite((groups * out, wide, *kernel), dtype))
    bias = [draw(_finite((groups * out,), dtype))] if draw(st.booleans()) else []
    return Drawn(conv.ConvAttrs(stride, pads, dilation, groups), (x, w, *bias))


@st.composite
def _conv_grad(draw: Draw, of_weight: bool) -> Drawn:
    drawn = draw(_conv())
    x, w = drawn.arrays[:2]
    attrs: Any = drawn.attrs
    (y,) = conv.CONV.infer_types(attrs, types_of([x, w]))
    dy = draw(_finite(y.concrete, x.dtype.name))
    if of_weight:
        return Drawn(conv.ConvWeightAttrs(attrs, w.shape[2:]), (x, dy))
    return Drawn(conv.ConvInputAttrs(attrs, x.shape[2:]), (dy, w))


@st.composite
def _conv_transpose(draw: Draw) -> Drawn:
    drawn = draw(_conv())
    x, w = drawn.arrays[:2]
    a: Any = drawn.attrs
    out = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(a.stride, a.dilation, strict=True))
    source = draw(_finite((x.shape[0], w.shape[0], *x.shape[2:]), x.dtype.name))
    bias = [draw(_finite((x.shape[1],), x.dtype.name))] if draw(st.booleans()) else []
    return Drawn(conv.ConvTransposeAttrs(a, out), (source, w, *bias))  # type: ignore[arg-type]


ACTIVATIONS = st.sampled_from((
    (None, NoAttrs()), ("Relu", NoAttrs()), ("Tanh", NoAttrs()), ("Sigmoid", NoAttrs()), ("Silu", NoAttrs()),
    ("LeakyRelu", ew.AlphaAttrs(0.1)), ("LeakyRelu", ew.AlphaAttrs(-0.5)), ("Elu", ew.AlphaAttrs()),
    ("Gelu", ew.GeluAttrs()), ("Clip", ClipAttrs(0.0, 1.0)),
))  # fmt: skip


@st.composite
def _conv_pool(draw: Draw) -> Drawn:
    """With a pooling, with a residual that is added, or with neither."""
    drawn = draw(_conv())
    attrs: Any = drawn.attrs
    then = draw(st.sampled_from(("pooling", "residual", "nothing")))
    windows = draw(_max_attrs("float32")) if then == "pooling" else None
    residual = []
    if then == "residual":
        (y,) = conv.CONV.infer_types(attrs, types_of(drawn.arrays))
        residual.append(draw(_finite(y.concrete, y.dtype.name)))
    fused = ConvPoolAttrs(attrs, *draw(ACTIVATIONS), windows, residual=bool(residual))
    return Drawn(fused, (*drawn.arrays, *residual))


DRAWS: dict[OpDef, Strategy] = {
    pool.MAX_POOL: _MAX_POOL,
    pool.MAX_POOL_GRAD: _max_grad(),
    pool.MAX_POOL_GATHER: _max_gather(),
    pool.MAX_POOL_POSITIONS: _max_positions(),
    avgpool.AVG_POOL: _AVG_POOL,
    avgpool.AVG_POOL_GRAD: _avg_grad(),
    avgpool.ADAPTIVE_AVG_POOL: _adaptive(),
    avgpool.ADAPTIVE_AVG_POOL_GRAD: _adaptive().map(_backwards),
    avgpool.ADAPTIVE_ARG_MAX: _adaptive("fiu"),
    conv.CONV: _conv(),
    conv.CONV_GRAD_INPUT: _conv_grad(of_weight=False),
    conv.CONV_GRAD_WEIGHT: _conv_grad(of_weight=True),
    conv.CONV_TRANSPOSE: _conv_transpose().filter(lambda drawn: accepted(conv.CONV_TRANSPOSE, drawn)),
    CONV_POOL: _conv_pool().filter(lambda drawn: accepted(CONV_POOL, drawn)),
}
