"""Resizing along any axes, and its gradient."""

from __future__ import annotations

import math

from hypothesis import strategies as st

from lucid.graph.opdef import OpDef
from lucid.graph.ops.resize import RESIZE, RESIZE_GRAD, ResizeAttrs, ResizeGradAttrs
from lucid.graph.resampling import COORDINATES, MODES, ROUNDINGS

from .arrays import FINITE, SPECIAL, Draw, Drawn, Shape, Strategy, dtypes, shapes, subset_of, values

_SCALES = st.sampled_from((0.3, 0.5, 0.8, 1.0, 1.5, 1.7, 2.0, 2.3))
_ENDS = st.sampled_from(((0.0, 1.0), (-0.2, 0.9), (0.3, 1.4), (0.8, 0.1)))


@st.composite
def _attrs(draw: Draw, whole: Shape) -> ResizeAttrs:
    """Sizes of their own, or what a scale makes of those that are there; often how images are made larger."""
    chosen = draw(subset_of(range(len(whole))))
    sizes, scales = [], []
    for axis in chosen:
        scale = draw(st.none() | _SCALES)
        multiples = st.integers(1, 3).map(lambda count, size=whole[axis]: count * size)
        own = draw(st.integers(1, 7) | multiples)
        made = own if scale is None else math.floor(whole[axis] * scale)
        sizes.append(max(made, 1))
        scales.append(scale if made else None)
    coordinates = draw(st.sampled_from(COORDINATES))
    crop = tuple(draw(_ENDS) for _ in chosen) if coordinates == "tf_crop_and_resize" else ()
    return ResizeAttrs(
        chosen, tuple(sizes), tuple(scales), draw(st.sampled_from(MODES)), coordinates,
        draw(st.sampled_from(ROUNDINGS)), draw(st.sampled_from((-0.75, -0.5))), draw(st.booleans()),
        draw(st.booleans()), crop, draw(st.sampled_from((0.0, 1.0))),
    )  # fmt: skip


@st.composite
def _resize(draw: Draw) -> Drawn:
    """Numbers that are not finite stay where nothing is multiplied with 0."""
    whole = draw(shapes(1, limit=100, empty=False))
    a = draw(_attrs(whole))
    nearest = a.mode == "nearest"
    return Drawn(a, (draw(values(whole, draw(dtypes("fiu" if nearest else "f")), SPECIAL if nearest else FINITE)),))


@st.composite
def _resize_grad(draw: Draw) -> Drawn:
    whole = draw(shapes(1, limit=100, empty=False))
    a = draw(_attrs(whole))
    made = list(whole)
    for axis, size in zip(a.axes, a.sizes, strict=True):
        made[axis] = int(size)  # type: ignore[arg-type]  # concrete
    return Drawn(ResizeGradAttrs(a, whole), (draw(values(tuple(made), draw(dtypes()), FINITE)),))


DRAWS: dict[OpDef, Strategy] = {RESIZE: _resize(), RESIZE_GRAD: _resize_grad()}
