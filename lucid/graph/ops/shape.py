"""Ops that rearrange elements without computing: reshape, transpose, expand, concatenate."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...base.checks import shown
from ...errors import DTypeError, OptionError, ShapeError
from ..assume import is_at_least, is_equal
from ..batching import Batch, Outputs, prepend_axis, with_leading_axis
from ..dims import Dim, as_dim, exact_quotient
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
    attributes,
    register,
)
from ..types import Shape, TensorType, format_shape, product
from .elementwise import promote


def normal_axis(op: str, axis: object, rank: int, *, scalar: bool = False) -> int:
    """``axis`` as a non-negative number; raises if it is out of range for the rank.

    With ``scalar``, axes 0 and -1 of a tensor of rank 0 are accepted, as by those functions of PyTorch that keep
    sizes or remove the axis.
    """
    if isinstance(axis, bool) or not hasattr(axis, "__index__"):
        raise OptionError(f"{op}: an axis is an int, got {shown(axis)}")
    index: int = axis.__index__()
    count = 1 if scalar and rank == 0 else rank
    if not -count <= index < count:
        raise ShapeError(f"{op}: axis {index} is out of range for a tensor of rank {rank}")
    return index % count


def normal_axes(op: str, axes: object, rank: int) -> list[int]:
    """One axis or several as non-negative numbers, all different; a scalar counts as having one axis."""
    listed = axes if isinstance(axes, list | tuple) else (axes,)
    normal = [normal_axis(op, axis, rank, scalar=True) for axis in listed]
    if len(set(normal)) < len(normal):
        raise ShapeError(f"{op}: axes {axes} repeat")
    return normal


def along(op: str, x: T, dim: object, function: Callable[[T, int], T]) -> T:
    """``function(x, axis)``; a scalar is treated as a vector of one element, as in PyTorch."""
    axis = normal_axis(op, dim, x.type.rank, scalar=True)
    result: T = function(x, axis) if x.type.rank else reshape(function(reshape(x, 1), axis), ())
    return result


def as_shape(op: str, dims: Sequence[object]) -> Shape:
    """``dims`` (or a single sequence of them) as a shape; a -1 is kept."""
    if len(dims) == 1 and isinstance(dims[0], Sequence) and not isinstance(dims[0], (str, bytes)):
        dims = dims[0]
    for dim in dims:
        if hasattr(dim, "sym"):  # a symbolic size: note that the trace takes it to be no -1
            is_at_least(dim.sym, 0)
    return tuple(as_dim(dim, op) for dim in dims)


@attributes
class ShapeAttrs(Attrs):
    shape: Shape


@attributes
class TransposeAttrs(Attrs):
    """Output axis i is input axis ``perm[i]``."""

    perm: tuple[int, ...]


@attributes
class AxisAttrs(Attrs):
    axis: int


def _reshape_infer(attrs: ShapeAttrs, x: TensorType) -> TensorType:
    if product(attrs.shape) != x.size or any(isinstance(dim, int) and dim < 0 for dim in attrs.shape):
        raise ShapeError(
            f"Reshape: {format_shape(x.shape)} has {x.size} elements, "
            f"{format_shape(attrs.shape)} has {product(attrs.shape)}",
            unequal=([x.size], [product(attrs.shape)]),
        )
    return x.with_shape(attrs.shape)


def _transpose_infer(attrs: TransposeAttrs, x: TensorType) -> TensorType:
    if sorted(attrs.perm) != list(range(x.rank)):
        raise ShapeError(f"Transpose: {attrs.perm} is no permutation of the {x.rank} axes of {x}")
    return x.with_shape(x.shape[axis] for axis in attrs.perm)


def inverse_permutation(perm: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted(range(len(perm)), key=perm.__getitem__))


def _expand_infer(attrs: ShapeAttrs, x: TensorType) -> TensorType:
    lead = len(attrs.shape) - x.rank
    negative = any(isinstance(dim, int) and dim < 0 for dim in attrs.shape)
    if lead < 0 or negative or any(old not in (1, new) for old, new in zip(x.shape, attrs.shape[lead:], strict=True)):
        widened = [(old, new) for old, new in zip(x.shape, attrs.shape[max(lead, 0) :], strict=False) if old != 1]
        raise ShapeError(
            f"Expand: {format_shape(x.shape)} does not broadcast to {format_shape(attrs.shape)}",
            unequal=([old for old, _ in widened], [new for _, new in widened]),
        )
    return x.with_shape(attrs.shape)


def _concat_infer(attrs: AxisAttrs, *inputs: TensorType) -> TensorType:
    if not inputs:
        raise ShapeError("Concat: needs at least one tensor")
    first, axis = inputs[0], attrs.axis
    if not 0 <= axis < first.rank:
        raise ShapeError(f"Concat: axis {axis} is out of range for rank {first.rank}")
    total: Dim = 0
    for x in inputs:
        if x.dtype != first.dtype:
            raise DTypeError(f"Concat: element types differ: {first} and {x}")
        beside, others = ((*t.shape[:axis], *t.shape[axis + 1 :]) for t in (first, x))
        if x.rank != first.rank or beside != others:
            raise ShapeError(f"Concat: shapes {first} and {x} differ outside axis {axis}", unequal=(beside, others))
        total = total + x.shape[axis]
    return first.with_shape((*first.shape[:axis], total, *first.shape[axis + 1 :]))


def _stop_infer(attrs: Attrs, x: TensorType) -> TensorType:
    return TensorType(x.shape, x.dtype)


def _overwritten_infer(attrs: Attrs, value: TensorType, x: TensorType) -> TensorType:
    if (value.shape, value.dtype) != (x.shape, x.dtype):
        raise ShapeError(f"Overwritten: {value} does not take the place of {x}")
    return TensorType(x.shape, x.dtype)


def _expand_batch(batch: Batch[ShapeAttrs]) -> Outputs:
    return batch.apply(with_leading_axis(batch.attrs, batch.size), batch.aligned(0, len(batch.attrs.shape)))


def _concat_gradient(c: GradContext[AxisAttrs]) -> Gradients:
    axis, gradients = c.attrs.axis, []
    start: Dim = 0
    for x, wanted in zip(c.inputs, c.wanted, strict=True):
        stop = start + x.type.shape[axis]
        gradients.append(c.dy.piece(axis, start, stop - start) if wanted else None)
        start = stop
    return gradients


RESHAPE = register(
    OpDef(
        "Reshape", _reshape_infer, lambda c: [reshape(c.dy, c.inputs[0].type.shape)], attrs=ShapeAttrs,
        batch=prepend_axis, view=True, put_back=lambda attrs, x, part: reshape(part, x.type.shape),
    )
)  # fmt: skip
TRANSPOSE = register(
    OpDef(
        "Transpose",
        _transpose_infer,
        lambda c: [permute(c.dy, inverse_permutation(c.attrs.perm))],
        attrs=TransposeAttrs,
        batch=prepend_axis,
        view=True,
        put_back=lambda attrs, x, part: permute(part, inverse_permutation(attrs.perm)),
    )
)
EXPAND = register(
    OpDef(
        "Expand",
        _expand_infer,
        lambda c: [c.dy.sum_to(c.inputs[0].type.shape)],
        attrs=ShapeAttrs,
        batch=_expand_batch,
        view=True,
    )
)
#: The identity, through which no gradient flows back.
STOP_GRADIENT = register(
    OpDef(
        "StopGradient", _stop_infer, NO_GRADIENT, batch=prepend_axis, view=True, gradient_only=True, family="gradient"
    )
)
#: A parameter into which a value without history was written: the new value, with the gradient of the parameter.
OVERWRITTEN = register(
    OpDef(
        "Overwritten",
        _overwritten_infer,
        lambda c: [None, c.dy],
        inputs=("value", "x"),
        batch=prepend_axis,
        view=True,
        gradient_only=True,
        family="gradient",
    )
)
CONCAT = register(
    OpDef(
        "Concat", _concat_infer, _concat_gradient, attrs=AxisAttrs, inputs=("*tensors",), batch=prepend_axis,
        family="shape",
    )
)  # fmt: skip


def reshape(x: T, *shape: object) -> T:
    """``x`` with its elements in a new shape; one dim may be -1 and is then inferred."""
    dims = as_shape("reshape", shape)
    dims = _filled("reshape", x.type.shape, dims)
    if dims == x.type.shape:
        return x
    result: T = apply(RESHAPE, ShapeAttrs(dims), x)
    return result


def reshaped_order(x: TensorType, shape: Shape) -> tuple[int, ...] | None:
    """The memory order of a reshape that only adds or removes axes of size 1, so that no element moves.

    None for any other reshape, and if the result is not channels-last.
    """
    before = [axis for axis, size in enumerate(x.shape) if size != 1]
    after = [axis for axis, size in enumerate(shape) if size != 1]
    if [x.shape[axis] for axis in before] != [shape[axis] for axis in after]:
        return None
    place = dict(zip(before, after, strict=True))
    lie = [place[axis] for axis in x.order or range(x.rank) if axis in place]
    last = (0, *range(2, len(shape)), 1)
    return last if lie != after and [axis for axis in last if axis in after] == lie else None


def parted_order(x: TensorType, shape: Shape) -> tuple[int, ...] | None:
    """The memory order of a reshape that splits one axis, or merges axes that are neighbours in memory.

    None for any other reshape, and if the result is row-major. Merged axes may have to be permuted among themselves.
    """
    sizes = x.shape
    before = next((i for i, pair in enumerate(zip(sizes, shape, strict=False)) if pair[0] != pair[1]), 0)
    rest = zip(reversed(sizes[before:]), reversed(shape[before:]), strict=False)
    after = next((i for i, pair in enumerate(rest) if pair[0] != pair[1]), 0)
    old, new = range(before, len(sizes) - after), range(before, len(shape) - after)
    order = x.order or tuple(range(x.rank))
    first = min(order.index(axis) for axis in old) if old else 0
    if min(len(old), len(new)) != 1 or set(order[first : first + len(old)]) != set(old):
        return None
    kept = [axis if axis < before else axis + len(new) - len(old) for axis in order if axis not in old]
    result = (*kept[:first], *new, *kept[first:])
    return None if result == tuple(range(len(shape))) else result


def transposed_order(x: TensorType, perm: tuple[int, ...]) -> tuple[int, ...] | None:
    """The memory order of a transposed value whose elements do not move; None if it is row-major."""
    order = tuple(perm.index(axis) for axis in x.order or range(x.rank))
    return None if order == tuple(range(x.rank)) else order


def _filled(owner: str, shape: Shape, dims: Shape) -> Shape:
    """``dims`` with the -1 replaced, so that there are as many elements as in ``shape``."""
    if dims.count(-1) > 1 or any(isinstance(dim, int) and dim < -1 for dim in dims):
        raise ShapeError(f"{owner}: {format_shape(dims)} needs non-negative dims, one of which may be -1")
    if -1 not in dims:
        return dims
    known = product(dim for dim in dims if dim != -1)
    if is_equal(known, 0):
        raise ShapeError(
            f"{owner}: beside a size of 0 the -1 in {format_shape(dims)} could be any size; give a number, or use "
            f"flatten(1) to keep the first axis of {format_shape(shape)}"
        )
    whole = product(shape)
    rest = exact_quotient(whole, known)
    if rest is None:
        raise ShapeError(
            f"{owner}: {format_shape(shape)} does not divide into {format_shape(dims)}",
            unequal=([whole], [whole // known * known]),
        )
    return tuple(rest if dim == -1 else dim for dim in dims)


def flatten(x: T, start_dim: int = 0, end_dim: int = -1) -> T:
    """``x`` with the axes from ``start_dim`` to ``end_dim`` (both included) merged."""
    shape = x.type.shape
    first, last = (normal_axis("flatten", axis, len(shape), scalar=True) for axis in (start_dim, end_dim))
    if first > last:
        raise OptionError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
    return reshape(x, (*shape[:first], product(shape[first : last + 1]), *shape[last + 1 :]))


def permute(x: T, *axes: object) -> T:
    """``x`` with axis i of the result taken from axis ``axes[i]``."""
    if len(axes) == 1 and isinstance(axes[0], Sequence):
        axes = tuple(axes[0])
    perm = tuple(normal_axis("permute", axis, x.type.rank) for axis in axes)
    if perm == tuple(range(x.type.rank)):
        return x
    result: T = apply(TRANSPOSE, TransposeAttrs(perm), x)
    return result


def transpose(x: T, dim0: int, dim1: int) -> T:
    """``x`` with two axes swapped."""
    rank = x.type.rank
    a, b = (normal_axis("transpose", dim, rank, scalar=True) for dim in (dim0, dim1))
    swapped = {a: b, b: a}
    perm = [swapped.get(axis, axis) for axis in range(rank)]
    return permute(x, perm)


def expand(x: T, *shape: object) -> T:
    """``x`` broadcast to ``shape``; -1 keeps a dim."""
    dims = as_shape("expand", shape)
    lead = len(dims) - x.type.rank
    dims = tuple(x.type.shape[i - lead] if dim == -1 and i >= lead else dim for i, dim in enumerate(dims))
    if dims == x.type.shape:
        return x
    result: T = apply(EXPAND, ShapeAttrs(dims), x)
    return result


def squeeze(x: T, dim: int | tuple[int, ...] | None = None) -> T:
    """``x`` without its axes of size 1, or without those listed (an axis of another size stays)."""
    shape = x.type.shape
    chosen = range(len(shape)) if dim is None else normal_axes("squeeze", dim, len(shape))
    return reshape(x, tuple(d for i, d in enumerate(shape) if not (i in chosen and is_equal(d, 1))))


def unsqueeze(x: T, dim: int) -> T:
    """``x`` with a new axis of size 1 at ``dim``."""
    axis = normal_axis("unsqueeze", dim, x.type.rank + 1)
    return reshape(x, (*x.type.shape[:axis], 1, *x.type.shape[axis:]))


def unflatten(x: T, dim: int, sizes: Sequence[object]) -> T:
    """``x`` with axis ``dim`` split into axes of ``sizes``, one of which may be -1."""
    axis = normal_axis("unflatten", dim, x.type.rank)
    inner, whole = as_shape("unflatten", (tuple(sizes),)), x.type.shape[axis]
    if not inner:
        raise ShapeError("unflatten: give at least one size")
    inner = _filled("unflatten", (whole,), inner)
    if product(inner) != whole:
        raise ShapeError(f"unflatten: axis {axis} of size {whole} does not divide into {format_shape(inner)}")
    return reshape(x, (*x.type.shape[:axis], *inner, *x.type.shape[axis + 1 :]))


def broadcast_to(x: T, shape: Sequence[object]) -> T:
    """``x`` broadcast to ``shape`` (``expand`` with the shape as one argument)."""
    return expand(x, tuple(shape))


def stop_gradient(x: T) -> T:
    """``x`` as a value through which no gradient flows: ``detach`` as an op."""
    result: T = apply(STOP_GRADIENT, NoAttrs(), x)
    return result


def overwritten(value: T, x: AbstractTensor) -> T:
    """``value``, with the gradient flowing to ``x`` instead."""
    result: T = apply(OVERWRITTEN, NoAttrs(), value, x)
    return result


def concat(tensors: Sequence[AbstractTensor], dim: int = 0) -> AbstractTensor:
    """The tensors one after another along an existing axis; element types are promoted.

    A vector of no elements fits beside tensors of any shape, as in PyTorch: loops begin with it.
    """
    if isinstance(tensors, AbstractTensor) or not tensors or not all(isinstance(x, AbstractTensor) for x in tensors):
        raise ShapeError("concat: needs a non-empty sequence of tensors")
    parts = promote(*tensors)
    if any(x.type.rank != 1 for x in parts):
        parts = [x for x in parts if x.type.shape != (0,)]
    axis = normal_axis("concat", dim, parts[0].type.rank)
    return apply(CONCAT, AxisAttrs(axis), *parts)


def stack(tensors: Sequence[AbstractTensor], dim: int = 0) -> AbstractTensor:
    """The tensors, all of one shape, side by side along a new axis."""
    if isinstance(tensors, AbstractTensor) or not tensors:
        raise ShapeError("stack: needs a non-empty sequence of tensors")
    if len({x.type.shape for x in tensors}) > 1:
        raise ShapeError(f"stack: the shapes differ: {', '.join(format_shape(x.type.shape) for x in tensors)}")
    axis = normal_axis("stack", dim, tensors[0].type.rank + 1)
    return concat([unsqueeze(x, axis) for x in tensors], axis)


def _repeat(op: str, x: T, repeats: Shape) -> T:
    """``x`` repeated ``repeats[i]`` times along axis i; with more repeats than axes, new axes are added in front."""
    if any(isinstance(count, int) and count < 0 for count in repeats):
        raise OptionError(f"{op}: repeats must not be negative, got {format_shape(repeats)}")
    shape = ((1,) * (len(repeats) - x.type.rank)) + x.type.shape
    apart = tuple(dim for size in shape for dim in (1, size))
    spread = tuple(dim for count, size in zip(repeats, shape, strict=True) for dim in (count, size))
    whole = tuple(count * size for count, size in zip(repeats, shape, strict=True))
    return reshape(expand(reshape(x, apart), spread), whole)


def repeat(x: T, *sizes: object) -> T:
    """``x`` repeated ``sizes[i]`` times along axis i (``torch.Tensor.repeat``, ``numpy.tile``)."""
    repeats = as_shape("repeat", sizes)
    if len(repeats) < x.type.rank:
        raise ShapeError(f"repeat: {x.type} needs at least {x.type.rank} repeats, got {format_shape(repeats)}")
    return _repeat("repeat", x, repeats)


def tile(x: T, *dims: object) -> T:
    """As ``Tensor.repeat``; with fewer repeats than axes, the leading axes are not repeated."""
    repeats = as_shape("tile", dims)
    return _repeat("tile", x, (1,) * (x.type.rank - len(repeats)) + repeats)


def repeat_interleave(x: T, repeats: int, dim: int | None = None) -> T:
    """Each element of the flat tensor, or each slice along ``dim``, ``repeats`` times in a row."""
    count = as_dim(repeats, "repeat_interleave")
    if isinstance(count, int) and count < 0:
        raise OptionError(f"repeat_interleave: repeats must not be negative, got {count}")
    x = flatten(x) if dim is None else x
    axis = normal_axis("repeat_interleave", 0 if dim is None else dim, x.type.rank)
    before, size, after = x.type.shape[:axis], x.type.shape[axis], x.type.shape[axis + 1 :]
    spread = expand(unsqueeze(x, axis + 1), (*before, size, count, *after))
    return reshape(spread, (*before, size * count, *after))


def shuffle_channels(x: T, groups: int) -> T:
    """The channels (axis 1), taken from ``groups`` groups in turn (``torch.nn.functional.channel_shuffle``)."""
    if x.type.rank < 3:
        raise ShapeError(f"channel_shuffle: needs axes after the batch and channel axes, got {x.type}")
    each = exact_quotient(x.type.shape[1], groups)
    if each is None:
        raise ShapeError(f"channel_shuffle: the {x.type.shape[1]} channels of {x.type} do not divide into {groups}")
    return reshape(transpose(unflatten(x, 1, (groups, each)), 1, 2), x.type.shape)


def depth_to_space(x: T, block: int, *, deep_first: bool = True) -> T:
    """Channels rearranged into blocks of ``block`` by ``block`` pixels.

    With ``deep_first`` the channels of one block are adjacent, as in ``torch.nn.functional.pixel_shuffle``.
    """
    *lead, channels, height, width = x.type.shape
    kept, at = exact_quotient(channels, block * block), len(lead)
    if kept is None:
        raise ShapeError(f"depth_to_space: the {channels} channels of {x.type} do not divide into {block} x {block}")
    parts = (kept, block, block) if deep_first else (block, block, kept)
    order = (0, 3, 1, 4, 2) if deep_first else (2, 3, 0, 4, 1)
    apart = permute(reshape(x, (*lead, *parts, height, width)), (*range(at), *(at + axis for axis in order)))
    return reshape(apart, (*lead, kept, height * block, width * block))


def space_to_depth(x: T, block: int, *, deep_first: bool = True) -> T:
    """The inverse of :func:`depth_to_space`."""
    *lead, channels, height, width = x.type.shape
    rows, columns, at = exact_quotient(height, block), exact_quotient(width, block), len(lead)
    if rows is None or columns is None:
        raise ShapeError(f"space_to_depth: the image {x.type} does not divide into blocks of {block} x {block}")
    order = (0, 2, 4, 1, 3) if deep_first else (2, 4, 0, 1, 3)
    apart = reshape(x, (*lead, channels, rows, block, columns, block))
    apart = permute(apart, (*range(at), *(at + axis for axis in order)))
    return reshape(apart, (*lead, channels * block * block, rows, columns))
