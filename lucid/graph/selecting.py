"""The methods by which elements are put in order, chosen and put somewhere; also the functions of the same names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeAlias, TypeVar

from .opdef import AbstractTensor
from .ops import algebra, distance, selection, sorting
from .ops import scatter as places
from .ops import trigonometry as tr
from .public import flag, index, operand, public, string, tensor

R = TypeVar("R", bound=AbstractTensor)
G = TypeVar("G")
Method: TypeAlias = "Callable[..., G]"


class Selecting(AbstractTensor, Generic[R]):
    """What tensors and symbols have beside their arithmetic."""

    __slots__ = ()

    topk: Method[sorting.Ordered] = public(sorting.topk, k=None, largest=flag, sorted=flag)
    sort: Method[sorting.Ordered] = public(sorting.sort, descending=flag, stable=flag)
    argsort: Method[R] = public(sorting.argsort, descending=flag, stable=flag)
    median: Method[R | sorting.Ordered] = public(sorting.median)
    nonzero: Method[R | tuple[R, ...]] = public(selection.nonzero, as_tuple=flag)
    masked_select: Method[R] = public(selection.masked_select)
    unique: Method[R | tuple[R, ...]] = public(selection.unique, sorted=flag, return_inverse=flag, return_counts=flag)
    bincount: Method[R] = public(selection.bincount, x=index, weights=tensor, minlength=None)

    scatter: Method[R] = public(places.scatter, src=operand, reduce=None)
    scatter_add: Method[R] = public(places.scatter_add, src=tensor)
    scatter_reduce: Method[R] = public(places.scatter_reduce, src=tensor, reduce=string, include_self=flag)
    index_add: Method[R] = public(places.index_add, source=tensor)
    index_copy: Method[R] = public(places.index_copy, source=tensor)
    index_fill: Method[R] = public(places.index_fill)

    cumprod: Method[R] = public(algebra.cumprod)
    diag: Method[R] = public(algebra.diag)
    lerp: Method[R] = public(algebra.lerp, end=tensor, weight=operand)
    addmm: Method[R] = public(algebra.addmm, a=tensor, b=tensor)
    baddbmm: Method[R] = public(algebra.baddbmm, a=tensor, b=tensor)
    addcmul: Method[R] = public(algebra.addcmul, a=tensor, b=tensor)
    addcdiv: Method[R] = public(algebra.addcdiv, a=tensor, b=tensor)

    trunc: Method[R] = public(tr.trunc)
    asin: Method[R] = public(tr.asin)
    acos: Method[R] = public(tr.acos)
    atan: Method[R] = public(tr.atan)
    atan2: Method[R] = public(tr.atan2)
    sinh: Method[R] = public(tr.sinh)
    cosh: Method[R] = public(tr.cosh)
    asinh: Method[R] = public(tr.asinh)
    acosh: Method[R] = public(tr.acosh)
    atanh: Method[R] = public(tr.atanh)


meshgrid: Method[tuple[AbstractTensor, ...]] = public(algebra.meshgrid, indexing=string)
cdist: Method[AbstractTensor] = public(distance.cdist, x1=tensor, x2=tensor)
