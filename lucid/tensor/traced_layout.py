"""The memory layout that tensors of a trace would have eagerly, derived from their operands' (:mod:`.strides`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..base.arrays import Array
from ..graph.opdef import Attrs, OpDef
from ..graph.ops.shape import ShapeAttrs, TransposeAttrs
from ..graph.ops.slices import SliceAttrs
from ..graph.types import Shape
from .strides import Layout, Strides, elementwise, in_rows, lies_in_rows, repeats, reshaped
from .tensor import Tensor
from .traced import TracedTensor


def layout_of(x: object) -> Layout | None:
    """The layout of an operand; None for row-major."""
    if isinstance(x, TracedTensor):
        return x.layout
    if isinstance(x, Tensor) and not x._array.flags.c_contiguous:
        array = x._array
        return Layout(lambda: tuple(step // array.itemsize for step in array.strides))
    return None


def _strides(x: Tensor) -> Strides | None:
    layout = layout_of(x)
    return in_rows(x.type.shape) if layout is None else layout.strides


def view_layout(op: OpDef, attrs: Attrs, x: object) -> Layout | None:
    """The layout of the view of ``x`` by an op."""
    if not isinstance(x, Tensor) or (isinstance(attrs, ShapeAttrs) and op.put_back and layout_of(x) is None):
        return None  # a reshape of a row-major value
    return Layout(lambda: _seen(op, attrs, x))


def _seen(op: OpDef, attrs: Attrs, x: Tensor) -> Strides | None:
    strides, shape = _strides(x), x.type.shape
    if strides is None:
        return None
    if isinstance(attrs, TransposeAttrs):
        return tuple(strides[axis] for axis in attrs.perm)
    if isinstance(attrs, SliceAttrs):
        return tuple(own * step for own, step in zip(strides, attrs.steps, strict=True))
    if isinstance(attrs, ShapeAttrs):
        if op.put_back is not None:
            found = reshaped(shape, strides, attrs.shape)
            return in_rows(attrs.shape) if found is None else found
        lead = len(attrs.shape) - len(shape)
        pairs = zip(shape, strides, attrs.shape[lead:], strict=True)
        return (*[0] * lead, *(own if size == new else 0 for size, own, new in pairs))
    return strides


def part_layout(x: object, see: Callable[[Array], Array]) -> Layout:
    """The layout of the view of ``x`` that ``see`` takes of an array; unknown for symbolic sizes."""

    def find() -> Strides | None:
        assert isinstance(x, Tensor)
        shape, strides = x.type.shape, _strides(x)
        sizes = [size for size in shape if isinstance(size, int)]
        steps = [step for step in strides or () if isinstance(step, int)]
        if len(sizes) < len(shape) or len(steps) < len(shape):
            return None
        return see(
            np.lib.stride_tricks.as_strided(np.zeros(1, np.int8), sizes, steps)
        ).strides  # of an array that takes a single byte

    return Layout(find)


def computed_layout(op: OpDef, shape: Shape, inputs: Sequence[object]) -> Layout | None:
    """The layout of an op's result if an input is not row-major, else None."""
    if op.elementwise:
        return Layout(lambda: _elementwise(shape, inputs))
    if op.family == "reduce" or op.channels_last or op.windowed:
        return Layout(lambda: None)
    return None


def copied_layout(x: Tensor) -> Layout | None:
    """The layout of a copy of ``x``."""
    return None if layout_of(x) is None else Layout(lambda: _elementwise(x.type.shape, [x]))


def _elementwise(shape: Shape, inputs: Sequence[object]) -> Strides | None:
    operands = [(x.type.shape, _strides(x)) for x in inputs if isinstance(x, Tensor)]
    known = [(own, strides) for own, strides in operands if strides is not None]
    return elementwise(shape, known) if len(known) == len(operands) else None


def is_surely_view(x: object, shape: Shape) -> bool:
    """Whether a reshape of ``x`` is a view in any layout, or because ``x`` is row-major."""
    assert isinstance(x, Tensor)
    several = [[size for size in one if size != 1] for one in (x.type.shape, shape)]
    return layout_of(x) is None or several[0] == several[1]


def is_view(x: object, shape: Shape) -> bool | None:
    """Whether a reshape of ``x`` is a view of it; None if unknown."""
    assert isinstance(x, Tensor)
    strides = _strides(x)
    return None if strides is None else reshaped(x.type.shape, strides, shape) is not None


def is_in_rows(x: object) -> bool | None:
    """Whether ``x`` is row-major; None if unknown."""
    assert isinstance(x, Tensor)
    strides = _strides(x)
    return None if strides is None else lies_in_rows(x.type.shape, strides)


def overlaps(x: Tensor) -> bool:
    """Whether several elements share one memory location, as far as is known."""
    strides = None if layout_of(x) is None else _strides(x)
    return strides is not None and repeats(x.type.shape, strides)
