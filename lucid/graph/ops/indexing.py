"""Slicing, padding, gathering, and their transposes (which scatter)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...errors import DTypeError, ShapeError
from ..dims import Dim
from ..opdef import Attrs, GradContext, OpDef, T, apply, register
from ..types import Shape, TensorType
from .shape import AxisAttrs, normal_axis


@dataclass(frozen=True)
class SliceAttrs(Attrs):
    """Per axis: the first index, how many elements, and the step between them (may be negative)."""

    starts: tuple[Dim, ...]
    sizes: tuple[Dim, ...]
    steps: tuple[int, ...]


@dataclass(frozen=True)
class SliceGradAttrs(SliceAttrs):
    """``shape`` is that of the tensor that was sliced."""

    shape: Shape = ()


@dataclass(frozen=True)
class ScatterAttrs(Attrs):
    """``shape`` of the result, ``axis`` the indices count along."""

    axis: int
    shape: Shape


def _check_slice(attrs: SliceAttrs, shape: Shape) -> None:
    if not len(attrs.starts) == len(attrs.sizes) == len(attrs.steps) == len(shape):
        raise ShapeError(f"Slice: {len(attrs.starts)} starts for a tensor of rank {len(shape)}")
    for axis, (start, size, step, dim) in enumerate(
        zip(attrs.starts, attrs.sizes, attrs.steps, shape, strict=True)
    ):
        if step == 0:
            raise ShapeError(f"Slice: the step of axis {axis} is 0")
        if not all(isinstance(v, int) for v in (start, size, dim)) or size == 0:
            continue
        last = start + (size - 1) * step
        if not (size >= 0 and 0 <= start < dim and 0 <= last < dim):  # type: ignore[operator]
            raise ShapeError(f"Slice: {start}..{last} leaves axis {axis} of size {dim}")


def _slice_infer(attrs: SliceAttrs, x: TensorType) -> TensorType:
    _check_slice(attrs, x.shape)
    return x.with_shape(attrs.sizes)


def _slice_grad_infer(attrs: SliceGradAttrs, dy: TensorType) -> TensorType:
    _check_slice(attrs, attrs.shape)
    if dy.shape != attrs.sizes:
        raise ShapeError(f"SliceGrad: the gradient {dy} does not have the slice's shape {attrs.sizes}")
    return dy.with_shape(attrs.shape)


def _slice_gradient(c: GradContext) -> list[Any]:
    a = c.attrs
    return [apply(SLICE_GRAD, SliceGradAttrs(a.starts, a.sizes, a.steps, c.inputs[0].type.shape), c.dy)]


def _slice_grad_gradient(c: GradContext) -> list[Any]:
    return [apply(SLICE, SliceAttrs(c.attrs.starts, c.attrs.sizes, c.attrs.steps), c.dy)]


def _check_gather(op: str, axis: int, data: Shape, index: TensorType) -> None:
    if index.dtype.kind not in "iu":
        raise DTypeError(f"{op}: indices must be integers, got {index}")
    if index.rank != len(data) or not 0 <= axis < len(data):
        raise ShapeError(f"{op}: the index {index} must have the rank of the data, {len(data)}")
    for i, (have, want) in enumerate(zip(data, index.shape, strict=True)):
        if i != axis and isinstance(have, int) and isinstance(want, int) and want > have:
            raise ShapeError(f"{op}: the index {index} is larger than the data on axis {i}")


def _gather_infer(attrs: AxisAttrs, x: TensorType, index: TensorType) -> TensorType:
    _check_gather("GatherElements", attrs.axis, x.shape, index)
    return x.with_shape(index.shape)


def _scatter_infer(attrs: ScatterAttrs, dy: TensorType, index: TensorType) -> TensorType:
    _check_gather("ScatterElements", attrs.axis, attrs.shape, index)
    if dy.shape != index.shape:
        raise ShapeError(f"ScatterElements: the values {dy} and the index {index} differ in shape")
    return dy.with_shape(attrs.shape)


SLICE = register(OpDef("Slice", _slice_infer, _slice_gradient, attrs=SliceAttrs, view=True))
SLICE_GRAD = register(
    OpDef("SliceGrad", _slice_grad_infer, _slice_grad_gradient, attrs=SliceGradAttrs, inputs=("dy",), outputs=("dx",))
)
GATHER_ELEMENTS = register(
    OpDef(
        "GatherElements",
        _gather_infer,
        lambda c: [
            apply(SCATTER_ELEMENTS, ScatterAttrs(c.attrs.axis, c.inputs[0].type.shape), c.dy, c.inputs[1]),
            None,
        ],
        attrs=AxisAttrs,
        inputs=("x", "index"),
    )
)
#: Zeros of ``shape`` to which each value is added at its index along the axis.
SCATTER_ELEMENTS = register(
    OpDef(
        "ScatterElements",
        _scatter_infer,
        lambda c: [apply(GATHER_ELEMENTS, AxisAttrs(c.attrs.axis), c.dy, c.inputs[1]), None],
        attrs=ScatterAttrs,
        inputs=("values", "index"),
    )
)


def narrow(x: T, dim: int, start: Dim, length: Dim) -> T:
    """``length`` elements of ``x`` along ``dim``, from ``start`` on."""
    axis = normal_axis("narrow", dim, x.type.rank)
    shape = x.type.shape
    starts = tuple(start if i == axis else 0 for i in range(len(shape)))
    sizes = tuple(length if i == axis else d for i, d in enumerate(shape))
    result: T = apply(SLICE, SliceAttrs(starts, sizes, (1,) * len(shape)), x)
    return result


def gather(x: T, dim: int, index: Any) -> T:
    """Elements of ``x`` at ``index`` along ``dim``; ``index`` has the rank of ``x`` (``torch.gather``)."""
    result: T = apply(GATHER_ELEMENTS, AxisAttrs(normal_axis("gather", dim, x.type.rank)), x, index)
    return result
