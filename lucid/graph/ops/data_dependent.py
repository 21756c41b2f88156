"""Ops with data-dependent sizes: results are padded to the largest size possible, then the valid part is taken.

So all types are static, with one exception: a data-dependent size is a symbol, whose value is a scalar of the graph
(see :mod:`lucid.graph.stages`).
"""

from __future__ import annotations

import numpy as np

from ...base.arrays import Array
from ...errors import DTypeError, GraphError, ShapeError, TraceError
from ..dims import Dim, SymDim
from ..opdef import (
    NO_GRADIENT,
    AbstractTensor,
    Attrs,
    GradContext,
    Gradients,
    NoAttrs,
    OpDef,
    T,
    apply,
    apply_all,
    attributes,
    register,
)
from ..types import TensorType, int64, is_float
from ..unique import unique_elements
from .bounds import clip
from .composite import ge, movedim
from .elementwise import minimum, where
from .shape import reshape
from .slices import SLICE_GRAD, SliceGradAttrs, piece
from .source import full


@attributes
class FoundAttrs(Attrs):
    """``size`` is the symbol of a data-dependent size, or its number if it is known."""

    size: Dim


def _found_infer(attrs: FoundAttrs, x: TensorType, count: TensorType) -> TensorType:
    if count != TensorType((), int64):
        raise DTypeError(f"Found: how many there are is a scalar of int64, got {count}")
    if not x.rank:
        raise ShapeError("Found: needs rows to take some of, got a scalar")
    size, most = attrs.size, x.shape[0]
    if isinstance(size, SymDim) and (len(size.symbols) != 1 or str(size) not in size.symbols):
        raise GraphError(f"Found: its size is a symbol or a number, got {size}")
    if isinstance(size, int) and (size < 0 or (isinstance(most, int) and size > most)):
        raise ShapeError(f"Found: there are no {size} rows in {x}")
    return x.with_shape((size, *x.shape[1:]))


def _found_gradient(c: GradContext[FoundAttrs]) -> Gradients:
    x, dy = c.inputs[0].type, c.dy
    attrs = SliceGradAttrs((0,) * x.rank, dy.type.shape, (1,) * x.rank, x.shape)
    return [apply(SLICE_GRAD, attrs, dy), None]


#: The first ``count`` rows of ``x``.
FOUND = register(
    OpDef(
        "Found", _found_infer, _found_gradient, attrs=FoundAttrs, inputs=("x", "count"), view=True, finds=True,
        family="shape",
    )
)  # fmt: skip


def found(x: T, count: AbstractTensor) -> T:
    """The first ``count`` rows of ``x``; ``count`` is an int64 scalar."""
    size, count = count.as_size()
    if isinstance(size, int):
        return piece(x, 0, 0, size)
    result: T = apply(FOUND, FoundAttrs(size), x, count)
    return result


def _nonzero_infer(attrs: NoAttrs, x: TensorType) -> tuple[TensorType, TensorType]:
    return TensorType((x.size, x.rank), int64), TensorType((), int64)


#: The indices of the non-zero elements, a row for each, padded with rows of zeros; and their number.
NONZERO = register(OpDef("NonZero", _nonzero_infer, NO_GRADIENT, outputs=("places", "count"), family="other"))


def places(x: AbstractTensor) -> AbstractTensor:
    """The indices of the non-zero elements, a row for each; for a scalar, rows are empty."""
    array = known(x)
    return found(*apply_all(NONZERO, NoAttrs(), x)) if array is None else x.constant(np.argwhere(array))


def indices(x: AbstractTensor) -> tuple[AbstractTensor, ...]:
    """The indices of the non-zero elements, a vector for each axis; a scalar counts as a vector of one element."""
    array = known(x)
    if array is not None:
        return tuple(x.constant(one) for one in np.atleast_1d(array).nonzero())
    rows = places(x if x.type.rank else reshape(x, (1,)))
    return tuple(reshape(piece(rows, 1, axis, 1), rows.type.shape[:1]) for axis in range(max(x.type.rank, 1)))


def known(x: AbstractTensor) -> Array | None:
    """The content of a tensor if it is known, so that nothing needs padding; None within a graph."""
    if not hasattr(x, "__array__"):
        return None
    try:
        return np.asarray(x)
    except TraceError:
        return None


def taken(x: T, count: AbstractTensor, axis: int) -> T:
    """The first ``count`` elements of ``x`` along an axis."""
    return movedim(found(movedim(x, axis, 0), count), 0, axis) if axis else found(x, count)


def cut_short(x: T, stop: AbstractTensor | int, axis: int) -> T:
    """``x[:stop]`` along an axis, for a ``stop`` that may be negative or too large."""
    size = full(x, x.type.shape[axis], (), int64)
    if not isinstance(stop, int):
        stop = where(ge(stop, 0), stop, stop + size)
    return taken(x, clip(minimum(stop, size), 0), axis)


@attributes
class UniqueAttrs(Attrs):
    """``axis`` is that of the slices, None for elements; ``ordered`` or as they come first; elements that are NaN are
    the same, as NumPy and ONNX have it, where they are ``nan_alike``."""

    axis: int | None = None
    ordered: bool = True
    nan_alike: bool = True


def _unique_infer(attrs: UniqueAttrs, x: TensorType) -> tuple[TensorType, ...]:
    axis = attrs.axis
    if axis is not None and not 0 <= axis < x.rank:
        raise ShapeError(f"Unique: axis {axis} does not fit {x}")
    most: Dim = x.size if axis is None else x.shape[axis]
    rest = () if axis is None else (*x.shape[:axis], *x.shape[axis + 1 :])
    numbers = TensorType((most,), int64)
    return x.with_shape((most, *rest)), numbers, numbers, numbers, TensorType((), int64)


#: The distinct elements or slices (along the first axis, padded with zeros); the index of the first occurrence of each;
#: for every element which of them it equals; the count of each; and how many distinct ones there are.
UNIQUE = register(
    OpDef(
        "Unique", _unique_infer, NO_GRADIENT, attrs=UniqueAttrs,
        outputs=("values", "first", "inverse", "counts", "count"), family="other",
    )
)  # fmt: skip


def different(
    x: AbstractTensor, axis: int | None, ordered: bool = True, *, nan_alike: bool = True
) -> tuple[AbstractTensor, ...]:
    """The distinct elements, or slices along ``axis``; their first indices; the inverse; and their counts."""
    array = known(x)
    if array is not None:
        return tuple(x.constant(one) for one in unique_elements(array, axis, ordered, nan_alike))
    values, first, inverse, counts, count = apply_all(UNIQUE, UniqueAttrs(axis, ordered, nan_alike), x)
    values, first, counts = (found(one, count) for one in (values, first, counts))
    return movedim(values, 0, axis) if axis else values, first, inverse, counts


@attributes
class SuppressionAttrs(Attrs):
    """At most ``most`` boxes per class are selected; boxes are given by corners, or if ``centred`` by centre."""

    most: Dim
    centred: bool = False


def _suppression_infer(
    attrs: SuppressionAttrs, boxes: TensorType, scores: TensorType, *limits: TensorType
) -> tuple[TensorType, TensorType]:
    if boxes.rank != 3 or boxes.shape[2] != 4 or scores.rank != 3:
        raise ShapeError(
            f"NonMaxSuppression: takes boxes (image, box, 4) and scores (image, class, box), got {boxes} and {scores}"
        )
    images, classes, count = scores.shape
    if boxes.shape[:2] != (images, count):
        raise ShapeError(f"NonMaxSuppression: the scores {scores} are not of the boxes {boxes}")
    if not is_float(boxes.dtype) or not is_float(scores.dtype):
        raise DTypeError(f"NonMaxSuppression: takes floats, got {boxes} and {scores}")
    if (
        any(one.shape for one in limits)
        or limits[0].dtype != int64
        or not all(is_float(one.dtype) for one in limits[1:])
    ):
        raise DTypeError(
            f"NonMaxSuppression: its limits are a scalar of int64 and floats, got {', '.join(map(str, limits))}"
        )
    return TensorType((images * classes * attrs.most, 3), int64), TensorType((), int64)


#: A row (image, class, box) for each box that overlaps none of a higher score by more than ``overlap``, then rows of
#: zeros; and how many there are. Of a class there are at most ``most``, with scores higher than ``least``, if given.
SUPPRESSION = register(
    OpDef(
        "NonMaxSuppression", _suppression_infer, NO_GRADIENT, attrs=SuppressionAttrs,
        inputs=("boxes", "scores", "most", "overlap", "least?"), outputs=("boxes", "count"), family="other",
    )
)  # fmt: skip


FEW_BOXES = 1 << 12
"""A larger limit of boxes per class is understood as no limit."""


def suppressed(
    boxes: AbstractTensor, scores: AbstractTensor, *limits: AbstractTensor, bound: int | None, centred: bool
) -> AbstractTensor:  # fmt: skip
    """A row (image, class, box) for each selected box (see :data:`SUPPRESSION`).

    The first of the limits is the number of boxes per class, of which an upper ``bound`` may be known.
    """
    count: Dim = scores.type.shape[-1] if scores.type.rank else 0
    if bound is not None:
        most = max(bound, 0)
        count = min(count, most) if isinstance(count, int) else most if most <= FEW_BOXES else count
    return found(*apply_all(SUPPRESSION, SuppressionAttrs(count, centred), boxes, scores, *limits))
