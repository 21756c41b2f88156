"""The functions that are rarely used, as people call them: this module is read when the first of them is asked for.

They are the methods of :mod:`.rare_methods`, and functions of ``lucid``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from .drawing import drawing
from .opdef import AbstractTensor
from .ops import activation, algebra, bitwise, distance, histograms, linalg, nonelementary, slices, systems
from .ops import drawn as draws
from .ops import rare_elementwise as ew
from .ops import rare_places as places
from .ops.sorting import Ordered
from .public import apart, at_least_0, filling, flag, number, operand, public, sequence, size, string, tensor, whole

Function: TypeAlias = Callable[..., AbstractTensor]


def _number_or_tensor(owner: str, name: str, value: object, world: AbstractTensor | None) -> AbstractTensor:
    return tensor(owner, name, np.asarray(value, np.float32) if isinstance(value, int | float) else value, world)


def _bins(owner: str, name: str, value: object, world: AbstractTensor | None) -> object:
    """A number, a vector of edges, or a list with one of these for each coordinate."""
    if owner == "histogramdd" and isinstance(value, list | tuple):
        return [_bins("histogram", name, one, world) for one in value]
    return tensor(owner, name, value, world) if isinstance(value, list | tuple | np.ndarray) else value


bitwise_left_shift: Function = public(bitwise.shift_left, "bitwise_left_shift")
bitwise_right_shift: Function = public(bitwise.shift_right, "bitwise_right_shift")
fmax: Function = public(ew.fmax)
fmin: Function = public(ew.fmin)
isposinf: Function = public(ew.isposinf)
isneginf: Function = public(ew.isneginf)
isreal: Function = public(ew.isreal)
positive: Function = public(ew.positive)
angle: Function = public(ew.angle)
gcd: Function = public(ew.gcd)
lcm: Function = public(ew.lcm)
ldexp: Function = public(ew.ldexp)
frexp: Callable[..., ew.Mantissa] = public(ew.frexp)
nextafter: Function = public(ew.nextafter)
mvlgamma: Function = public(ew.mvlgamma, p=whole)
i0: Function = public(nonelementary.i0)
hardshrink: Function = public(activation.hardshrink, lambd=number)
prelu: Function = public(activation.prelu)

addbmm: Function = public(algebra.addbmm, a=tensor, b=tensor)
addmv: Function = public(algebra.addmv, a=tensor, b=tensor)
addr: Function = public(algebra.addr, a=tensor, b=tensor)
ger: Function = public(linalg.outer, "ger")
cholesky_solve: Function = public(systems.cholesky_solve, b=tensor, factor=tensor, upper=flag)
cholesky_inverse: Function = public(systems.cholesky_inverse, factor=tensor, upper=flag)
pinverse: Function = public(systems.pinv, "pinverse", rtol=at_least_0, hermitian=flag)
renorm: Function = apart(public(places.renorm, maxnorm=number))
pdist: Function = public(distance.pdist)

normal: Function = drawing(
    public(draws.normal_with, "normal", mean=_number_or_tensor, std=operand, size=None), "normal"
)
bernoulli: Function = drawing(public(draws.bernoulli_of, "bernoulli", p=number), "bernoulli")
diagflat: Function = public(places.diagflat, offset=whole)
diagonal_scatter: Function = public(places.diagonal_scatter, src=tensor, offset=whole, dim2=None)
select_scatter: Function = public(places.select_scatter, src=tensor, index=size)
slice_scatter: Function = public(places.slice_scatter, src=tensor, end=None, step=whole)
fill_diagonal: Function = public(places.fill_diagonal, fill_value=filling, wrap=flag)
index_reduce: Function = public(places.index_reduce, source=tensor, reduce=string, include_self=flag)
put: Function = public(places.put_flat, "put", source=tensor, accumulate=flag)
narrow_copy: Function = apart(public(slices.narrow, "narrow_copy"))
split_with_sizes: Callable[..., tuple[AbstractTensor, ...]] = public(places.split_with_sizes, split_sizes=sequence)
sum_to_size: Function = public(places.sum_to_size)

histogram: Callable[..., histograms.Histogram] = public(
    histograms.histogram, bins=_bins, range=sequence, weight=tensor, density=flag
)
histogramdd: Callable[..., histograms.Histograms] = public(
    histograms.histogramdd, bins=_bins, range=sequence, weight=tensor, density=flag
)
histc: Function = public(places.histc, bins=None, min=number, max=number)
mode: Callable[..., Ordered] = public(places.mode, dim=None)
msort: Function = public(places.msort)
nanmedian: Callable[..., AbstractTensor | Ordered] = public(places.nanmedian)
nonzero_static: Function = public(places.nonzero_static, size=None, fill_value=whole)
unique_consecutive: Callable[..., AbstractTensor | tuple[AbstractTensor, ...]] = public(
    places.unique_consecutive, return_inverse=flag, return_counts=flag
)
