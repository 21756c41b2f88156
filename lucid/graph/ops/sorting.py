"""Sorting, and order statistics."""

from __future__ import annotations

import math
from typing import NamedTuple

from ...base.checks import integer
from ..dims import Dim, as_dim
from ..opdef import AbstractTensor
from ..types import int64, is_float
from .composite import any_, eq, logical_and, logical_or
from .elementwise import isnan, where
from .indexing import gather
from .promotion import cast
from .reduce import amax, amin, argmax, check_not_empty
from .reduce import sum as total
from .shape import flatten, normal_axis, reshape, squeeze, unsqueeze
from .slices import piece
from .top_k import top_k


class Ordered(NamedTuple):
    """Elements in order along an axis, and their indices."""

    values: AbstractTensor
    indices: AbstractTensor


def topk(x: AbstractTensor, k: Dim, dim: int = -1, largest: bool = True, sorted: bool = True) -> Ordered:
    """The ``k`` largest (or smallest) elements along ``dim``, in order, and their indices.

    NaN is larger than all; of equal ones the first comes first.
    """
    axis = normal_axis("topk", dim, x.type.rank, scalar=True)
    lane = x if x.type.rank else reshape(x, 1)
    values, indices = top_k(lane, as_dim(k, "topk"), axis, largest)
    return Ordered(values, indices) if x.type.rank else Ordered(*(squeeze(y, 0) for y in (values, indices)))


def sort(x: AbstractTensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Ordered:
    """The elements sorted along ``dim``, and their indices; stable, with NaN larger than all numbers."""
    axis = normal_axis("sort", dim, x.type.rank, scalar=True)
    return topk(x, x.type.shape[axis] if x.type.rank else 1, dim, descending)


def argsort(x: AbstractTensor, dim: int = -1, descending: bool = False, stable: bool = False) -> AbstractTensor:
    """The indices that sort the elements along ``dim``."""
    return sort(x, dim, descending).indices


def kthvalue(x: AbstractTensor, k: int, dim: int = -1, keepdim: bool = False) -> Ordered:
    """The ``k``-th smallest element along ``dim``, counted from 1, and its index; NaN is larger than all numbers."""
    values, indices = sort(x, dim)
    if not x.type.rank:
        integer("kthvalue", "k", k, 1, 1)
        return Ordered(values, indices)
    size = x.type.shape[dim]
    place = integer("kthvalue", "k", k, 1, *([size] if isinstance(size, int) else [])) - 1
    axis = normal_axis("kthvalue", dim, x.type.rank)
    found = Ordered(piece(values, axis, place, 1), piece(indices, axis, place, 1))
    return found if keepdim else Ordered(squeeze(found.values, axis), squeeze(found.indices, axis))


def median(x: AbstractTensor, dim: int | None = None, keepdim: bool = False) -> AbstractTensor | Ordered:
    """The middle element (the lower of two), or with ``dim`` the pair (values, indices); NaN if one is NaN.

    Of no elements at all it is NaN.

    With ``dim``, one of several equal elements gets the gradient; without, they share it.
    """
    if dim is None:
        if (nothing := of_nothing(x)) is not None:
            return nothing
        return _of_all(flatten(x)) if x.type.rank else x
    axis = normal_axis("median", dim, x.type.rank, scalar=True)
    found = _middle(x if x.type.rank else reshape(x, 1), axis)
    if not keepdim or not x.type.rank:
        return found
    shape = (*x.type.shape[:axis], 1, *x.type.shape[axis + 1 :])
    return Ordered(reshape(found.values, shape), reshape(found.indices, shape))


def of_nothing(x: AbstractTensor) -> AbstractTensor | None:
    """NaN, the median of an empty floating-point tensor; None for any other tensor."""
    nothing = is_float(x.type.dtype) and 0 in x.type.shape
    return total(x) * math.nan if nothing else None


def _middle(x: AbstractTensor, axis: int) -> Ordered:
    check_not_empty("median", x.type, (axis,))
    place = (x.type.shape[axis] - 1) // 2
    values, indices = (squeeze(piece(y, axis, place, 1), axis) for y in top_k(x, place + 1, axis, largest=False))
    if not is_float(x.type.dtype):
        return Ordered(values, indices)
    unknown = isnan(x)
    indices = where(any_(unknown, axis), argmax(cast(unknown, int64), axis), indices)
    return Ordered(squeeze(gather(x, axis, unsqueeze(indices, axis)), axis), indices)


def _of_all(x: AbstractTensor) -> AbstractTensor:
    """The same of one axis, as an extremum of those that equal it, which share the gradient."""
    return all_of_them(x, _middle(x, 0).values)


def all_of_them(x: AbstractTensor, value: AbstractTensor) -> AbstractTensor:
    """The element ``value`` of a vector; all elements equal to it (or NaN, if it is) share its gradient."""
    if not is_float(value.type.dtype):
        return value
    same = logical_or(eq(x, value), logical_and(isnan(x), isnan(value)))
    least = amin(where(same, x, math.inf))
    return where(eq(value, -math.inf), least, amax(where(same, x, -math.inf)))
