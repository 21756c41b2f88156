"""Batching rules: how an op that is written for one row is applied to a batch of rows (:mod:`.vectorize`).

Operands that differ from row to row have the axis of the batch in front; the others are as for one row. A rule gives
results that all have it, or None for what it does not cover. Most ops have one of the rules here.
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
    """Makes a region of one row one of all."""

    def __call__(
        self, region: R, types: Sequence[TensorType], batched: Sequence[bool], wanted: Sequence[bool], /
    ) -> R: ...


@struct(frozen=True)
class Batch(Generic[A]):
    """What a batching rule knows about the node that it applies to a batch.

    Attributes
    ----------
    op, attrs
        What is applied, as for one row.
    inputs
        The operands. A random key that is another for each row is still one, and the only batch of rank 0.
    batched
        For each operand, whether it has the axis of the batch.
    outputs
        The types of the results of one row.
    size
        How many rows there are.
    run
        ``run(region, inputs, batched)`` computes the results of a region of one row for all rows.
    region
        ``region(region, types, batched, wanted)`` is that as a region, for inputs of these types. Of its outputs those
        that are ``wanted`` have the axis of the batch.
    depends
        ``depends(region, batched)`` says for each output of a region whether it differs from row to row.
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
        """The shape of an operand of one row."""
        return self.inputs[number].type.shape[self.batched[number] :]

    def whole(self, number: int) -> AbstractTensor:
        """An operand with the axis of the batch, along which it is repeated if it is the same for all rows."""
        return widened(self.inputs[number], self.batched[number], self.size)

    def aligned(self, number: int, rank: int) -> AbstractTensor:
        """An operand whose rows broadcast as they do alone, beside others of up to ``rank`` axes."""
        x = self.inputs[number]
        return (
            x.reshape((self.size, *(1,) * (rank - len(self.row(number))), *self.row(number)))
            if self.batched[number]
            else x
        )

    def apply(self, attrs: Attrs, *inputs: AbstractTensor) -> Outputs:
        """The op with other attributes and operands."""
        return apply_all(self.op, attrs, *inputs)


def widened(x: AbstractTensor, batched: bool, size: Dim) -> AbstractTensor:
    """A value with the axis of the batch, along which it is repeated if it has none."""
    return x if batched else x.expand((size, *x.type.shape))


#: The fields of attributes that say something of each axis, or of some, and what they are with one more axis in front.
_MOVED: Final[Mapping[str, Callable[..., object]]] = {
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


def moved(attrs: N, size: Dim) -> N:
    """The attributes of an op for tensors with one more axis in front, of ``size``."""
    return replace(attrs, **{name: _MOVED[name](value, size) for name, value in attrs.items() if name in _MOVED})


def broadcast(b: Batch) -> Outputs:
    """Of ops that broadcast their operands, element-wise ones and products of matrices."""
    rank = max(len(b.row(i)) for i in range(len(b.inputs)))
    return b.apply(b.attrs, *(b.aligned(i, rank) for i in range(len(b.inputs))))


def in_front(b: Batch) -> Outputs:
    """Of ops that can do with one more axis in front, if the attributes that count axes take it into account."""
    return b.apply(moved(b.attrs, b.size), *(b.whole(i) for i in range(len(b.inputs))))


def first_in_front(b: Batch) -> Outputs | None:
    """As :func:`in_front`, where only the first operand differs from row to row."""
    return None if any(b.batched[1:]) else b.apply(moved(b.attrs, b.size), *b.inputs)


def fold(x: AbstractTensor, axis: int) -> AbstractTensor:
    """A batch, its rows side by side along one of their axes."""
    size, *row = x.type.shape
    turned = x.permute((*range(1, axis + 1), 0, *range(axis + 1, len(row) + 1)))
    return turned.reshape((*row[:axis], size * row[axis], *row[axis + 1 :]))


def unfold(b: Batch, number: int, y: AbstractTensor, axis: int) -> AbstractTensor:
    """The inverse of :func:`fold`, of a result."""
    row = b.outputs[number].shape
    apart = y.reshape((*row[:axis], b.size, *row[axis:]))
    return apart.permute((axis, *range(axis), *range(axis + 1, len(row) + 1)))


def folded(
    b: Batch, inputs: Sequence[int | None], outputs: Sequence[int], attrs: Attrs | None = None
) -> Outputs | None:
    """The op applied once to rows side by side, along these axes of operands and results.

    None stands for operands that must be the same for all rows.
    """
    if any(axis is None and batched for axis, batched in zip(inputs, b.batched, strict=True)):
        return None
    given = [
        x if axis is None else fold(b.whole(i), axis) for i, (x, axis) in enumerate(zip(b.inputs, inputs, strict=True))
    ]
    found = b.apply(attrs or b.attrs, *given)
    return [unfold(b, i, y, axis) for i, (y, axis) in enumerate(zip(found, outputs, strict=True))]


def of_images(b: Batch) -> Outputs | None:
    """Of ops on a batch of images each: one larger batch."""
    return folded(b, (0,) * len(b.inputs), (0,) * len(b.outputs))


def first_of_images(b: Batch) -> Outputs | None:
    """The same of ops with tables or weights behind the images."""
    return folded(b, (0, *(None,) * (len(b.inputs) - 1)), (0,) * len(b.outputs))
