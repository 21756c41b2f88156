"""Sums of products in index notation."""

from __future__ import annotations

import string
from typing import Any

import numpy as np

from ...errors import DTypeError, OptionError, ShapeError
from ..batching import Batch, Outputs
from ..dims import Dim
from ..opdef import AbstractTensor, Attrs, GradContext, Gradients, OpDef, apply, attributes, register
from ..types import DType, TensorType, bool_, format_shape, int64
from .elementwise import EQUAL, cast, compare, promote
from .reduce import CUMSUM, CumSumAttrs
from .shape import expand, permute, reshape
from .source import full


@attributes
class EinsumAttrs(Attrs):
    """One letter per axis of each operand and of the result; an axis that is not in the result is summed over."""

    operands: tuple[str, ...]
    result: str

    @property
    def equation(self) -> str:
        return f"{','.join(self.operands)}->{self.result}"


def label_sizes(attrs: EinsumAttrs, *shapes: tuple[Dim, ...]) -> dict[str, Dim]:
    """Size of each index; raises where operands disagree."""
    sizes: dict[str, Dim] = {}
    if len(attrs.operands) != len(shapes):
        raise ShapeError(f"Einsum: {attrs.equation!r} has {len(attrs.operands)} operands, got {len(shapes)}")
    for labels, shape in zip(attrs.operands, shapes, strict=True):
        if len(labels) != len(shape):
            raise ShapeError(f"Einsum: {labels!r} of {attrs.equation!r} does not fit the shape {format_shape(shape)}")
        for label, dim in zip(labels, shape, strict=True):
            if sizes.setdefault(label, dim) != dim:
                raise ShapeError(f"Einsum: index {label!r} of {attrs.equation!r} has sizes {sizes[label]} and {dim}")
    return sizes


def _infer(attrs: EinsumAttrs, *inputs: TensorType) -> TensorType:
    if not inputs:
        raise ShapeError("Einsum: needs at least one operand")
    if len({t.dtype for t in inputs}) > 1 or inputs[0].dtype == bool_:
        raise DTypeError(f"Einsum: needs numbers of one element type, got {' and '.join(map(str, inputs))}")
    if not set("".join((*attrs.operands, attrs.result))) <= set(string.ascii_letters):
        raise OptionError(f"Einsum: the indices of {attrs.equation!r} are not all letters from a to z or A to Z")
    sizes = label_sizes(attrs, *(t.shape for t in inputs))
    if len(set(attrs.result)) < len(attrs.result) or not set(attrs.result) <= set(sizes):
        raise ShapeError(f"Einsum: each index of the result of {attrs.equation!r} must be one of the operands', once")
    return inputs[0].with_shape(sizes[label] for label in attrs.result)


def _gradient(c: GradContext[EinsumAttrs]) -> Gradients:
    return [_operand_gradient(c, i) if wanted else None for i, wanted in enumerate(c.wanted)]


def _operand_gradient(c: GradContext[EinsumAttrs], index: int) -> AbstractTensor:
    """The cotangent times the other operands, over this operand's axes.

    An index that occurs twice in the operand gets a second name and an identity matrix that ties the two;
    one that occurs nowhere else was summed over, so its gradient is the same everywhere.
    """
    a, x = c.attrs, c.inputs[index]
    factors = [(a.result, c.dy)]
    factors += [(a.operands[i], operand) for i, operand in enumerate(c.inputs) if i != index]
    known = set().union(*(labels for labels, _ in factors))
    spare = (letter for letter in string.ascii_letters if letter not in "".join(a.operands))
    target: list[str] = []
    for label, dim in zip(a.operands[index], x.type.shape, strict=True):
        if label in target:
            other = next(spare)
            factors.append((label + other, _identity(x, dim)))
            known |= {label, other}
            label = other
        target.append(label)
    given = [label for label in target if label in known]
    dx = apply(
        EINSUM, EinsumAttrs(tuple(labels for labels, _ in factors), "".join(given)), *(tensor for _, tensor in factors)
    )
    dims = zip(target, x.type.shape, strict=True)
    return expand(reshape(dx, tuple(dim if label in known else 1 for label, dim in dims)), x.type.shape)


def _identity(like: AbstractTensor, dim: Dim) -> AbstractTensor:
    dtype: DType = like.type.dtype
    count = apply(CUMSUM, CumSumAttrs(0), full(like, 1, (dim,), int64))
    return cast(compare(EQUAL, reshape(count, (dim, 1)), count), dtype)


def _batch(batch: Batch[EinsumAttrs]) -> Outputs | None:
    """One more index, of those operands that differ from row to row."""
    used = {*"".join(batch.attrs.operands)}
    extra = next((letter for letter in string.ascii_letters if letter not in used), None)
    if extra is None:
        return None
    operands = tuple(
        extra * differs + labels for labels, differs in zip(batch.attrs.operands, batch.batched, strict=True)
    )
    return batch.apply(EinsumAttrs(operands, extra + batch.attrs.result), *batch.inputs)


EINSUM = register(
    OpDef("Einsum", _infer, _gradient, attrs=EinsumAttrs, inputs=("*operands",), batch=_batch, family="linear")
)


def einsum(equation: str, *operands: Any) -> AbstractTensor:
    """Sum of products in index notation, as ``numpy.einsum`` and ``torch.einsum``.

    Parameters
    ----------
    equation
        ``"bij,bjk->bik"``: a letter for each axis. Without ``->`` the result has the letters that occur
        once, in alphabetical order. ``...`` stands for axes that broadcast. A letter twice in one operand
        takes its diagonal.
    *operands
        As many tensors as the equation names. Axes of size 1 broadcast.
    """
    if len(operands) == 1 and isinstance(operands[0], list | tuple):
        operands = tuple(operands[0])
    text = equation.replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    _check_equation(equation, [*terms, right])
    if len(terms) != len(operands):
        raise ShapeError(f"einsum: {equation!r} names {len(terms)} operands, got {len(operands)}")
    operands = tuple(promote(*operands)) if len(operands) > 1 else operands
    ellipsis = _ellipsis_labels(equation, terms, operands)
    labels = [_named(equation, term, ellipsis, operand.type) for term, operand in zip(terms, operands, strict=True)]
    if not arrow:
        every = left.replace("...", "").replace(",", "")
        right = ("..." if "..." in left else "") + "".join(sorted(x for x in set(every) if every.count(x) == 1))
    result = right.replace("...", ellipsis)
    labels, operands = _without_ones(labels, operands)
    return _apply(EinsumAttrs(tuple(labels), result), operands)


def _apply(attrs: EinsumAttrs, operands: tuple[AbstractTensor, ...]) -> AbstractTensor:
    """Apply the op; what only rearranges one operand is a transpose."""
    if (
        len(operands) == 1
        and sorted(attrs.operands[0]) == sorted(attrs.result)
        and len(set(attrs.result)) == len(attrs.result)
    ):
        return permute(operands[0], tuple(attrs.operands[0].index(label) for label in attrs.result))
    made: AbstractTensor = apply(EINSUM, attrs, *operands)
    if len(operands) == 1 and set(attrs.operands[0]) == set(attrs.result):  # a diagonal
        places = {label: number for number, label in enumerate(sorted(set(attrs.operands[0])))}
        seen, wanted = ([places[label] for label in term] for term in (attrs.operands[0], attrs.result))
        made.part_of(operands[0], lambda whole: _apply(attrs, (whole,)), lambda array: np.einsum(array, seen, wanted))
    return made


def _check_equation(equation: str, terms: list[str]) -> None:
    for term in terms:
        plain = term.replace("...", "", 1)
        if any(letter not in string.ascii_letters for letter in plain):
            raise OptionError(f"einsum: {equation!r} may hold letters, commas, one '->' and one '...' per operand")


def _ellipsis_labels(equation: str, terms: list[str], operands: tuple[AbstractTensor, ...]) -> str:
    """Letters for the axes that ``...`` stands for, aligned at the right."""
    ranks = [
        operand.type.rank - len(term.replace("...", ""))
        for term, operand in zip(terms, operands, strict=True)
        if "..." in term
    ]
    spare = [letter for letter in string.ascii_letters if letter not in equation]
    count = max(ranks, default=0)
    if count > len(spare):
        raise OptionError(f"einsum: {equation!r} needs more than the {len(string.ascii_letters)} letters there are")
    return "".join(spare[: max(count, 0)])


def _named(equation: str, term: str, ellipsis: str, type_: TensorType) -> str:
    plain = term.replace("...", "")
    hidden = type_.rank - len(plain)
    if hidden < 0 or (hidden and "..." not in term):
        raise ShapeError(f"einsum: {term!r} of {equation!r} does not fit an operand of type {type_}")
    return term.replace("...", ellipsis[len(ellipsis) - hidden :] if hidden else "")


def _without_ones(labels: list[str], operands: tuple[AbstractTensor, ...]) -> tuple[list[str], tuple[Any, ...]]:
    """Drop axes of size 1 whose index is larger elsewhere: they broadcast."""
    larger = {
        label
        for term, operand in zip(labels, operands, strict=True)
        for label, dim in zip(term, operand.type.shape, strict=True)
        if dim != 1
    }
    terms, squeezed = [], []
    for term, operand in zip(labels, operands, strict=True):
        pairs = list(zip(term, operand.type.shape, strict=True))
        kept = [(label, dim) for label, dim in pairs if dim != 1 or label not in larger]
        terms.append("".join(label for label, _ in kept))
        squeezed.append(reshape(operand, tuple(dim for _, dim in kept)))
    return terms, tuple(squeezed)
