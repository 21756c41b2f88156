"""Batching rules: how the node of one row becomes nodes that compute a whole batch of rows (:mod:`.vectorize`).

A row is what one call of the mapped function is given. A batched operand has the batch axis in front, as axis 0; the
others are shared by all rows and keep the shape that they have for one. A rule returns results that all have the batch
axis, or None for a case that it does not cover. Most ops use one of the rules below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, Generic, Protocol, TypeVar

from ..base.structs import struct
from .attrs import Attrs, R
from .dims import Dim
from .opdef import A, AbstractTensor, Bindable, OpDef, apply_all
from .types import Shape, TensorType

Outputs = Sequence[AbstractTensor]
N = TypeVar("N", bound=Attrs)


class RegionOfRows(Protocol):
    """Vectorises a region: see :attr:`Batch.region`."""

    def __call__(
        self, region: R, types: Sequence[TensorType], batched: Sequence[bool], wanted: Sequence[bool], /
    ) -> R: ...


@struct(frozen=True)
class Batch(Generic[A]):
    """The node that a batching rule is to apply to a batch.

    Attributes
    ----------
    op, attrs
        The op of the node, and its attributes for one row.
    inputs
        The operands. Random keys are an exception to the batch axis: a batched key is a scalar, one key for the batch.
    batched
        For each operand, whether it is batched.
    outputs
        The types of the results for one row.
    size
        The number of rows: the size of the batch axis.
    run
        ``run(region, inputs, batched)`` emits a region of one row for the batch, and returns its results; those that
        ``depends`` marks have the batch axis.
    region
        ``region(region, types, batched, wanted)`` returns the vectorised region, for inputs of these types; those of
        its outputs that are ``wanted`` have the batch axis.
    depends
        ``depends(region, batched)`` says for each output of a region whether it depends on a batched input.
    """

    op: OpDef[A]
    attrs: A
    inputs: tuple[AbstractTensor, ...]
    batched: tuple[bool, ...]
    outputs: tuple[TensorType, ...]
    size: Dim
    run: Callable[[Bindable, Outputs, Sequence[bool]], Outputs]
    region: RegionOfRows
    depends: Callable[[Bindable, Sequence[bool]], Sequence[bool]]

    def row(self, number: int) -> Shape:
        """The shape of an operand for one row."""
        return self.inputs[number].type.shape[self.batched[number] :]

    def whole(self, number: int) -> AbstractTensor:
        """An operand with the batch axis; one that all rows share is repeated along it."""
        return with_batch_axis(self.inputs[number], self.batched[number], self.size)

    def aligned(self, number: int, rank: int) -> AbstractTensor:
        """An operand reshaped so that its rows broadcast against rows of up to ``rank`` axes, as they do one by one."""
        x = self.inputs[number]
        return (
            x.reshape((self.size, *(1,) * (rank - len(self.row(number))), *self.row(number)))
            if self.batched[number]
            else x
        )

    def apply(self, attrs: Attrs, *inputs: AbstractTensor) -> Outputs:
        """The op with other attributes and operands."""
        return apply_all(self.op, attrs, *inputs)


def with_batch_axis(x: AbstractTensor, batched: bool, size: Dim) -> AbstractTensor:
    """A value with the batch axis, along which it is repeated unless it is batched already."""
    return x if batched else x.expand((size, *x.type.shape))


#: The attributes that depend on the number of axes, and what they become with one more axis in front.
_WITH_LEADING_AXIS: Final[Mapping[str, Callable[..., object]]] = {
    "axis": lambda axis, size: axis + 1,
    "axes": lambda axes, size: tuple(axis + 1 for axis in axes),
    "perm": lambda perm, size: (0, *(axis + 1 for axis in perm)),
    "shape": lambda shape, size: (size, *shape),
    "sizes": lambda sizes, size: (size, *sizes),
    "starts": lambda starts, size: (0, *starts),
    "steps": lambda steps, size: (1, *steps),
    "before": lambda before, size: (0, *before),
    "after": lambda after, size: (0, *after),
}  # fmt: skip


def with_leading_axis(attrs: N, size: Dim) -> N:
    """The attributes of an op for tensors with one more axis in front, of this size."""
    rules = _WITH_LEADING_AXIS
    return replace(attrs, **{name: rules[name](value, size) for name, value in attrs.items() if name in rules})


def broadcast_rows(batch: Batch) -> Outputs:
    """The rule of ops that broadcast their operands: element-wise ones and matrix products."""
    rank = max(len(batch.row(i)) for i in range(len(batch.inputs)))
    return batch.apply(batch.attrs, *(batch.aligned(i, rank) for i in range(len(batch.inputs))))


def prepend_axis(batch: Batch) -> Outputs:
    """The rule of ops that accept one more axis in front, once the attributes that count axes include it."""
    return batch.apply(with_leading_axis(batch.attrs, batch.size), *(batch.whole(i) for i in range(len(batch.inputs))))


def prepend_axis_to_first(batch: Batch) -> Outputs | None:
    """The rule of :func:`prepend_axis` for the case in which only the first operand is batched."""
    return None if any(batch.batched[1:]) else batch.apply(with_leading_axis(batch.attrs, batch.size), *batch.inputs)


def merge_rows(x: AbstractTensor, axis: int) -> AbstractTensor:
    """The rows of a batch concatenated along one of their axes, which the batch axis is merged into."""
    size, *row = x.type.shape
    permuted = x.permute((*range(1, axis + 1), 0, *range(axis + 1, len(row) + 1)))
    return permuted.reshape((*row[:axis], size * row[axis], *row[axis + 1 :]))


def split_rows(batch: Batch, number: int, y: AbstractTensor, axis: int) -> AbstractTensor:
    """The inverse of :func:`merge_rows`, for a result."""
    row = batch.outputs[number].shape
    split = y.reshape((*row[:axis], batch.size, *row[axis:]))
    return split.permute((axis, *range(axis), *range(axis + 1, len(row) + 1)))


def apply_merged(
    batch: Batch, inputs: Sequence[int | None], outputs: Sequence[int], attrs: Attrs | None = None
) -> Outputs | None:
    """The op applied once to merged rows (:func:`merge_rows`), along these axes of the operands and of the results.

    None instead of an axis marks an operand that all rows must share.
    """
    if any(axis is None and batched for axis, batched in zip(inputs, batch.batched, strict=True)):
        return None
    given = [
        x if axis is None else merge_rows(batch.whole(i), axis)
        for i, (x, axis) in enumerate(zip(batch.inputs, inputs, strict=True))
    ]
    found = batch.apply(attrs or batch.attrs, *given)
    return [split_rows(batch, i, y, axis) for i, (y, axis) in enumerate(zip(found, outputs, strict=True))]


def merge_batches(batch: Batch) -> Outputs | None:
    """The rule of ops whose axis 0 is a batch axis of their own: both are merged into one larger batch."""
    return apply_merged(batch, (0,) * len(batch.inputs), (0,) * len(batch.outputs))


def merge_first_batch(batch: Batch) -> Outputs | None:
    """The rule of :func:`merge_batches` for ops whose further operands are weights or tables, which all rows share."""
    return apply_merged(batch, (0, *(None,) * (len(batch.inputs) - 1)), (0,) * len(batch.outputs))
