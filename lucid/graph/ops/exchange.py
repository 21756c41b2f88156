"""All-reduce over a group of processes, which runs alongside other work until its result is needed.

A single process is a group of one, whose sum is its own value.
"""

from __future__ import annotations

from ...errors import DTypeError, ShapeError
from ..opdef import NO_GRADIENT, Attrs, OpDef, attributes, register
from ..types import Shape, TensorType, product


@attributes
class BeginAttrs(Attrs):
    """The number of the all-reduce within a run: they begin in this order in every process."""

    number: int


@attributes
class EndAttrs(Attrs):
    """Which all-reduce is waited for, and the shapes of the tensors in it."""

    number: int
    shapes: tuple[Shape, ...]


def _begin(attrs: BeginAttrs, *xs: TensorType) -> TensorType:
    kinds = list({x.dtype for x in xs})
    if len(kinds) != 1 or not all(kind.kind == "f" for kind in kinds):
        raise DTypeError(f"AllReduceBegin: floats of one type are added up, got {', '.join(map(str, xs))}")
    return TensorType((sum(product(x.shape) for x in xs),), kinds[0])


def _end(attrs: EndAttrs, flat: TensorType) -> tuple[TensorType, ...]:
    if flat.shape != (sum(map(product, attrs.shapes)),):
        raise ShapeError(f"AllReduceEnd: {flat} does not hold {len(attrs.shapes)} arrays of these shapes")
    return tuple(TensorType(shape, flat.dtype) for shape in attrs.shapes)


#: The concatenation of its inputs; starts summing it over all processes.
BEGIN = register(
    OpDef(
        "AllReduceBegin", _begin, NO_GRADIENT, attrs=BeginAttrs, inputs=("*xs",), outputs=("flat",), pure=False,
        exchange="begins", family="other",
    )
)  # fmt: skip

#: Waits for the sums, and splits them into their shapes.
END = register(
    OpDef(
        "AllReduceEnd", _end, NO_GRADIENT, attrs=EndAttrs, inputs=("flat",), outputs=None, view=True, pure=False,
        exchange="ends", family="other",
    )
)  # fmt: skip
