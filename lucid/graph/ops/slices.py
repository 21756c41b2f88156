"""Slices, and functions composed of them: narrowing, flipping, rolling."""

from __future__ import annotations

from collections.abc import Sequence

from ...base.checks import shown
from ...errors import OptionError, ShapeError, TraceError
from ..assume import is_at_least, is_equal
from ..batching import prepend_axis
from ..dims import Dim, as_dim, exact_quotient
from ..opdef import AbstractTensor, Attrs, GradContext, Gradients, OpDef, T, apply, attributes, register
from ..types import Axes, Shape, TensorType, format_shape, int64
from .elementwise import where
from .shape import concat, flatten, normal_axes, normal_axis, reshape, squeeze
from .source import full

_ZERO: Dim = 0


@attributes
class SliceAttrs(Attrs):
    """Per axis: the first index, how many elements, and the step between them (may be negative)."""

    starts: tuple[Dim, ...]
    sizes: tuple[Dim, ...]
    steps: tuple[int, ...]


@attributes
class SliceGradAttrs(SliceAttrs):
    """``shape`` is that of the tensor that was sliced."""

    shape: Shape = ()


def _check_slice(attrs: SliceAttrs, shape: Shape) -> None:
    if not len(attrs.starts) == len(attrs.sizes) == len(attrs.steps) == len(shape):
        raise ShapeError(f"Slice: {len(attrs.starts)} starts for a tensor of rank {len(shape)}")
    if any(isinstance(size, int) and size < 0 for size in attrs.sizes):
        raise ShapeError(f"Slice: a part of {format_shape(shape)} has no negative sizes: {format_shape(attrs.sizes)}")
    for axis, (start, size, step, dim) in enumerate(zip(attrs.starts, attrs.sizes, attrs.steps, shape, strict=True)):
        if step == 0:
            raise ShapeError(f"Slice: the step of axis {axis} is 0")
        if not all(isinstance(v, int) for v in (start, size, dim)) or size == 0:
            continue
        last = start + (size - 1) * step
        if not (0 <= start < dim and 0 <= last < dim):  # type: ignore[operator]
            raise ShapeError(f"Slice: {start}..{last} leaves axis {axis} of size {dim}")


def _slice_infer(attrs: SliceAttrs, x: TensorType) -> TensorType:
    _check_slice(attrs, x.shape)
    return x.with_shape(attrs.sizes)


def _slice_grad_infer(attrs: SliceGradAttrs, dy: TensorType) -> TensorType:
    _check_slice(attrs, attrs.shape)
    if dy.shape != attrs.sizes:
        raise ShapeError(f"SliceGrad: the gradient {dy} does not have the slice's shape {attrs.sizes}")
    return dy.with_shape(attrs.shape)


def _slice_gradient(c: GradContext[SliceAttrs]) -> Gradients:
    a = c.attrs
    return [apply(SLICE_GRAD, SliceGradAttrs(a.starts, a.sizes, a.steps, c.inputs[0].type.shape), c.dy)]


def _slice_grad_gradient(c: GradContext[SliceGradAttrs]) -> Gradients:
    return [apply(SLICE, SliceAttrs(c.attrs.starts, c.attrs.sizes, c.attrs.steps), c.dy)]


def _put_back(attrs: SliceAttrs, x: AbstractTensor, part: AbstractTensor) -> AbstractTensor:
    """``x`` with ``part`` in place of the slice: a concatenation if its elements are neighbours."""
    if 0 in attrs.sizes:  # so that an empty part has a gradient too
        return reshape(concat([flatten(x), flatten(part)]), x.type.shape)
    if any(abs(step) != 1 for step in attrs.steps):
        there = SliceGradAttrs(attrs.starts, attrs.sizes, attrs.steps, x.type.shape)
        chosen = apply(SLICE_GRAD, there, full(part, 1, attrs.sizes, int64))
        return where(chosen == 1, apply(SLICE_GRAD, there, part), x)
    reversed_axes = [axis for axis, step in enumerate(attrs.steps) if step < 0]
    ends = zip(attrs.starts, attrs.sizes, attrs.steps, strict=True)
    starts = [start + (size - 1) * step if step < 0 else start for start, size, step in ends]
    return _pieced(x, starts, flip(part, reversed_axes) if reversed_axes else part, 0)


def _pieced(x: AbstractTensor, starts: Sequence[Dim], part: AbstractTensor, first: int) -> AbstractTensor:
    """``x`` with ``part`` put at ``starts``; the two may differ in size in the axes from ``first`` on."""
    sizes = part.type.shape
    axis = next((i for i in range(first, len(sizes)) if sizes[i] != x.type.shape[i]), None)
    if axis is None:
        return part
    start, size, whole = starts[axis], sizes[axis], x.type.shape[axis]
    inner = _pieced(piece(x, axis, start, size), starts, part, axis + 1)
    before = [] if start == 0 else [piece(x, axis, 0, start)]
    after = [] if whole - start == size else [piece(x, axis, start + size, whole - start - size)]
    return concat([*before, inner, *after], axis)


SLICE = register(
    OpDef("Slice", _slice_infer, _slice_gradient, attrs=SliceAttrs, batch=prepend_axis, view=True, put_back=_put_back)
)


SLICE_GRAD = register(
    OpDef(
        "SliceGrad", _slice_grad_infer, _slice_grad_gradient, attrs=SliceGradAttrs, inputs=("dy",), outputs=("dx",),
        batch=prepend_axis, family="gradient",
    )
)  # fmt: skip


def take_slice(x: T, starts: Sequence[Dim], sizes: Sequence[Dim], steps: Sequence[int] | None = None) -> T:
    """``sizes[i]`` elements along axis i, from ``starts[i]`` on, ``steps[i]`` apart; ``x`` itself if that is all."""
    attrs = SliceAttrs(tuple(starts), tuple(sizes), tuple(steps) if steps is not None else (1,) * x.type.rank)
    if attrs.sizes == x.type.shape and not any(attrs.starts) and all(step == 1 for step in attrs.steps):
        return x
    result: T = apply(SLICE, attrs, x)
    return result


def narrow(x: T, dim: int, start: Dim, length: Dim) -> T:
    """``length`` elements of ``x`` along ``dim``, from ``start`` on; a negative start counts from the end."""
    axis = normal_axis("narrow", dim, x.type.rank)
    first, count = as_dim(start, "narrow"), as_dim(length, "narrow")
    return piece(x, axis, first if is_at_least(first, 0) else x.type.shape[axis] + first, count)


def piece(x: T, axis: int, start: Dim, size: Dim) -> T:
    """``size`` elements of ``x`` along ``axis`` from ``start`` on; ``start`` must not be negative."""
    starts = tuple(start if i == axis else 0 for i in range(x.type.rank))
    return take_slice(x, starts, tuple(size if i == axis else d for i, d in enumerate(x.type.shape)))


def split(x: T, split_size_or_sections: object, dim: int = 0) -> tuple[T, ...]:
    """``x`` cut along ``dim`` into pieces of one size (the last may be smaller), or of the sizes listed."""
    axis = normal_axis("split", dim, x.type.rank)
    whole = x.type.shape[axis]
    if isinstance(split_size_or_sections, list | tuple):
        sizes = [as_dim(size, "split") for size in split_size_or_sections]
        if sum(sizes, start=_ZERO) != whole or any(isinstance(size, int) and size < 0 for size in sizes):
            raise ShapeError(
                f"split: {sizes} do not add up to axis {axis} of size {whole}",
                unequal=([whole], [sum(sizes, start=_ZERO)]),
            )
    else:
        sizes = _pieces(whole, as_dim(split_size_or_sections, "split"), axis)
    pieces, start = [], _ZERO
    for size in sizes:
        pieces.append(piece(x, axis, start, size))
        start = start + size
    return tuple(pieces)


def _pieces(whole: Dim, size: Dim, axis: int) -> list[Dim]:
    if is_equal(whole, 0):
        if is_at_least(size, 0):
            return [0]
    elif is_at_least(size, 1):
        if isinstance(whole, int) and isinstance(size, int):
            return [min(size, whole - start) for start in range(0, whole, size)]
        return [size] * _count(whole, size, axis)
    raise OptionError(f"split: pieces must have at least one element, got a size of {size}")


def _count(whole: Dim, size: Dim, axis: int) -> int:
    count = exact_quotient(whole, size)
    if not isinstance(count, int):
        raise ShapeError(
            f"split: how many pieces of {size} axis {axis} of symbolic size {whole} has is not known while tracing; "
            f"list the sizes of the pieces, or compile with that dimension fixed"
        )
    return count


def chunk(x: T, chunks: int, dim: int = 0) -> tuple[T, ...]:
    """``x`` cut along ``dim`` into at most ``chunks`` pieces of one size (the last may be smaller)."""
    if isinstance(chunks, bool) or not isinstance(chunks, int) or chunks < 1:
        raise OptionError(f"chunk: chunks must be a positive int, got {shown(chunks)}")
    axis = normal_axis("chunk", dim, x.type.rank)
    whole = x.type.shape[axis]
    if isinstance(whole, int):
        return split(x, max(-(-whole // chunks), 1), axis) if whole else split(x, [0] * chunks, axis)
    size = exact_quotient(whole, chunks)
    if size is None:
        raise ShapeError(
            f"chunk: axis {axis} of symbolic size {whole} does not divide into {chunks} for certain; "
            f"compile with that dimension fixed",
            unequal=([whole], [whole // chunks * chunks]),
        )
    return split(x, [size] * chunks, axis)


def flip(x: T, *dims: Axes) -> T:
    """``x`` with the order of its elements reversed along the axes."""
    axes = dims[0] if len(dims) == 1 and isinstance(dims[0], list | tuple) else dims
    rank, shape = x.type.rank, x.type.shape
    chosen = normal_axes("flip", axes, rank)
    starts = [shape[i] - 1 if i in chosen else 0 for i in range(rank)]
    return take_slice(x, starts, shape, [-1 if i in chosen else 1 for i in range(rank)])


def roll(x: AbstractTensor, shifts: int | tuple[int, ...], dims: int | tuple[int, ...] | None = None) -> AbstractTensor:
    """``x`` shifted cyclically along ``dims``; the flat tensor without ``dims``."""
    if dims is None:
        if not hasattr(shifts, "__index__"):
            raise OptionError(f"roll: the shift is an int, or there are as many dims as shifts, got {shown(shifts)}")
        return reshape(roll(flatten(x), shifts, 0), x.type.shape)
    steps, axes = (v if isinstance(v, tuple | list) else (v,) for v in (shifts, dims))
    if len(steps) != len(axes):
        raise OptionError(f"roll: {len(steps)} shifts for {len(axes)} dims")
    for step, dim in zip(steps, axes, strict=True):
        axis = normal_axis("roll", dim, x.type.rank)
        x = _rolled(x, as_dim(step, "roll"), axis)
    return x


def _rolled(x: AbstractTensor, step: Dim, axis: int) -> AbstractTensor:
    size = x.type.shape[axis]
    if step == 0 or is_equal(size, 0):
        return x
    if not (is_at_least(size, step) and is_at_least(size, -step)):
        step = step - step // size * size
    cut = size - step if is_at_least(step, 0) else -step
    return concat([piece(x, axis, cut, size - cut), piece(x, axis, 0, cut)], axis)


def fliplr(x: T) -> T:
    """``x`` with the second axis reversed."""
    return flip(x, 1)


def flipud(x: T) -> T:
    """``x`` with the first axis reversed."""
    return flip(x, 0)


def unbind(x: T, dim: int = 0) -> tuple[T, ...]:
    """The slices of ``x`` along ``dim``, without that axis."""
    axis = normal_axis("unbind", dim, x.type.rank)
    count = x.type.shape[axis]
    if not isinstance(count, int):
        raise TraceError(
            f"unbind: axis {axis} of {x.type} has no known size, so the number of results would differ from call to "
            f"call; compile with that size fixed"
        )
    return tuple(squeeze(piece(x, axis, i, 1), axis) for i in range(count))
