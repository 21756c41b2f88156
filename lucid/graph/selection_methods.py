"""Tensor methods that sort, search, select and scatter elements, and the functions of the same names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeAlias, TypeVar

from .drawing import drawing
from .opdef import AbstractTensor
from .ops import assignment, distance, fresh, nonzero_unique, parts, sampling, searching, sorting
from .ops import scatter as places
from .public import apart, filling, flag, index, operand, public, scalar, sequence, size, string, tensor, whole

R = TypeVar("R", bound=AbstractTensor)
G = TypeVar("G")
Method: TypeAlias = "Callable[..., G]"


class SelectionMethods(AbstractTensor, Generic[R]):
    """Methods of tensors and symbols that sort, search, select and scatter elements."""

    __slots__ = ()

    topk: Method[sorting.Ordered] = public(sorting.topk, k=None, largest=flag, sorted=flag)
    sort: Method[sorting.Ordered] = public(sorting.sort, descending=flag, stable=flag)
    argsort: Method[R] = public(sorting.argsort, descending=flag, stable=flag)
    median: Method[R | sorting.Ordered] = public(sorting.median)
    nonzero: Method[R | tuple[R, ...]] = public(nonzero_unique.nonzero, as_tuple=flag)
    argwhere: Method[R] = public(nonzero_unique.argwhere)
    masked_select: Method[R] = public(nonzero_unique.masked_select)
    unique: Method[R | tuple[R, ...]] = public(
        nonzero_unique.unique, sorted=flag, return_inverse=flag, return_counts=flag
    )
    bincount: Method[R] = public(nonzero_unique.bincount, x=index, weights=tensor, minlength=None)

    multinomial: Method[R] = drawing(public(sampling.multinomial, num_samples=whole, replacement=flag), "multinomial")

    scatter: Method[R] = public(places.scatter, src=operand, reduce=None)
    scatter_add: Method[R] = public(places.scatter_add, src=tensor)
    scatter_reduce: Method[R] = public(places.scatter_reduce, src=tensor, reduce=string, include_self=flag)
    index_add: Method[R] = public(places.index_add, source=tensor)
    index_copy: Method[R] = public(places.index_copy, source=tensor)
    index_fill: Method[R] = public(places.index_fill, value=filling)

    index_put: Method[R] = public(assignment.index_put, indices=sequence, values=tensor, accumulate=flag)
    masked_scatter: Method[R] = public(assignment.masked_scatter, mask=tensor, source=tensor)
    kthvalue: Method[sorting.Ordered] = public(sorting.kthvalue, k=None)
    new_zeros: Method[R] = public(fresh.new_zeros, device=None)
    new_ones: Method[R] = public(fresh.new_ones, device=None)
    new_empty: Method[R] = public(fresh.new_empty, device=None)
    new_full: Method[R] = public(fresh.new_full, size=None, fill_value=scalar, device=None)
    new_tensor: Method[R] = public(fresh.new_tensor, data=None, device=None)

    take: Method[R] = public(parts.take)
    select: Method[R] = public(parts.select, index=size)
    unfold: Method[R] = public(parts.unfold, dimension=None, size=None, step=None)
    diff: Method[R] = apart(public(parts.diff, n=None, prepend=tensor, append=tensor))
    rot90: Method[R] = apart(public(parts.rot90, k=whole))
    tensor_split: Method[tuple[R, ...]] = public(parts.tensor_split, indices_or_sections=None)
    hsplit: Method[tuple[R, ...]] = public(parts.hsplit, indices_or_sections=None)
    vsplit: Method[tuple[R, ...]] = public(parts.vsplit, indices_or_sections=None)
    dsplit: Method[tuple[R, ...]] = public(parts.dsplit, indices_or_sections=None)


cdist: Method[AbstractTensor] = public(distance.cdist, x1=tensor, x2=tensor)
broadcast_tensors: Method[tuple[AbstractTensor, ...]] = public(parts.broadcast_tensors)
cartesian_prod: Method[AbstractTensor] = public(parts.cartesian_prod)
searchsorted: Method[AbstractTensor] = public(
    searching.searchsorted,
    sorted_sequence=tensor,
    values=operand,
    out_int32=flag,
    right=flag,
    side=string,
    sorter=index,
)
bucketize: Method[AbstractTensor] = public(
    searching.bucketize, x=operand, boundaries=tensor, out_int32=flag, right=flag
)
isin: Method[AbstractTensor] = public(
    searching.isin, elements=operand, test_elements=operand, assume_unique=flag, invert=flag
)
