"""Ops with data-dependent sizes: results are padded to the largest size possible, then the valid part is taken.

So all types are static, with one exception: a size that data decides is a symbol, whose value a scalar of the graph
gives (see :mod:`lucid.graph.stages`).
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
    """``size`` is the symbol of a number that data decides, or that number where it is known."""

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


#: The first rows of ``x``, as many as ``count`` says.
FOUND = register(
    OpDef(
        "Found", _found_infer, _found_gradient, attrs=FoundAttrs, inputs=("x", "count"), view=True, finds=True,
        family="shape",
    )
)  # fmt: skip


def found(x: T, count: AbstractTensor) -> T:
    """The first ``count`` rows of ``x``, a scalar of int64."""
    size, count = count.as_size()
    if isinstance(size, int):
        return piece(x, 0, 0, size)
    result: T = apply(FOUND, FoundAttrs(size), x, count)
    return result


def _nonzero_infer(attrs: NoAttrs, x: TensorType) -> tuple[TensorType, TensorType]:
    return TensorType((x.size, x.rank), int64), TensorType((), int64)


#: The places of the elements that are not 0, a row for each, then rows of zeros; and how many there are.
NONZERO = register(OpDef("NonZero", _nonzero_infer, NO_GRADIENT, outputs=("places", "count"), family="other"))


def places(x: AbstractTensor) -> AbstractTensor:
    """Where the elements that are not 0 are, a row for each; those of a scalar have no numbers."""
    array = known(x)
    return found(*apply_all(NONZERO, NoAttrs(), x)) if array is None else x.constant(np.argwhere(array))


def indices(x: AbstractTensor) -> tuple[AbstractTensor, ...]:
    """The same as a vector for each axis; a scalar is taken for a vector of one."""
    array = known(x)
    if array is not None:
        return tuple(x.constant(one) for one in np.atleast_1d(array).nonzero())
    rows = places(x if x.type.rank else reshape(x, (1,)))
    return tuple(reshape(piece(rows, 1, axis, 1), rows.type.shape[:1]) for axis in range(max(x.type.rank, 1)))


def known(x: AbstractTensor) -> Array | None:
    """What a tensor holds where that is known, so that nothing needs to be padded; None within a graph."""
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
    """``x`` up to ``stop`` along an axis, which counts from the end where it is negative, or as far as there is any."""
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


#: The different elements or slices (the axis first, then zeros); of each where the first is; of every element which of
#: them it is; how many there are of each; and how many are different.
UNIQUE = register(
    OpDef(
        "Unique", _unique_infer, NO_GRADIENT, attrs=UniqueAttrs,
        outputs=("values", "first", "inverse", "counts", "count"), family="other",
    )
)  # fmt: skip


def different(
    x: AbstractTensor, axis: int | None, ordered: bool = True, *, nan_alike: bool = True
) -> tuple[AbstractTensor, ...]:
    """The different elements, or slices along ``axis``; where the first of each is; which each is; how many of each."""
    array = known(x)
    if array is not None:
        return tuple(x.constant(one) for one in unique_elements(array, axis, ordered, nan_alike))
    values, first, inverse, counts, count = apply_all(UNIQUE, UniqueAttrs(axis, ordered, nan_alike), x)
    values, first, counts = (found(one, count) for one in (values, first, counts))
    return movedim(values, 0, axis) if axis else values, first, inverse, counts


@attributes
class SuppressionAttrs(Attrs):
    """Of a class there are at most ``most``; boxes are given by corners or are ``centred``."""

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
"""So many boxes of a class may be more than an image of any size has; of more, it is rather all that are wanted."""


def suppressed(
    boxes: AbstractTensor, scores: AbstractTensor, *limits: AbstractTensor, bound: int | None, centred: bool
) -> AbstractTensor:  # fmt: skip
    """A row (image, class, box) for each box that is left (see :data:`SUPPRESSION`).

    Of the first of the limits, how many there are of a class, a ``bound`` may be known.
    """
    count: Dim = scores.type.shape[-1] if scores.type.rank else 0
    if bound is not None:
        most = max(bound, 0)
        count = min(count, most) if isinstance(count, int) else most if most <= FEW_BOXES else count
    return found(*apply_all(SUPPRESSION, SuppressionAttrs(count, centred), boxes, scores, *limits))
