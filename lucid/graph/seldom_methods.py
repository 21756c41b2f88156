"""Tensor methods that are seldom called: the functions of :mod:`.seldom`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

from ..base.lazy import LazyModule
from .late import late
from .opdef import AbstractTensor

if TYPE_CHECKING:
    from .ops.histograms import Histogram
    from .ops.seldom_elementwise import Mantissa
    from .ops.sorting import Ordered

R = TypeVar("R", bound=AbstractTensor)
G = TypeVar("G")
Method: TypeAlias = "Callable[..., G]"

seldom = LazyModule("lucid.graph.seldom")


class SeldomMethods(AbstractTensor, Generic[R]):
    """What tensors and symbols have besides."""

    __slots__ = ()

    bitwise_left_shift: Method[R] = late(seldom)
    bitwise_right_shift: Method[R] = late(seldom)
    fmax: Method[R] = late(seldom)
    fmin: Method[R] = late(seldom)
    isposinf: Method[R] = late(seldom)
    isneginf: Method[R] = late(seldom)
    isreal: Method[R] = late(seldom)
    positive: Method[R] = late(seldom)
    angle: Method[R] = late(seldom)
    gcd: Method[R] = late(seldom)
    lcm: Method[R] = late(seldom)
    ldexp: Method[R] = late(seldom)
    frexp: Method[Mantissa] = late(seldom)
    nextafter: Method[R] = late(seldom)
    mvlgamma: Method[R] = late(seldom)
    i0: Method[R] = late(seldom)
    hardshrink: Method[R] = late(seldom)
    prelu: Method[R] = late(seldom)
    addbmm: Method[R] = late(seldom)
    addmv: Method[R] = late(seldom)
    addr: Method[R] = late(seldom)
    ger: Method[R] = late(seldom)
    cholesky_solve: Method[R] = late(seldom)
    cholesky_inverse: Method[R] = late(seldom)
    pinverse: Method[R] = late(seldom)
    renorm: Method[R] = late(seldom)
    bernoulli: Method[R] = late(seldom)
    diagflat: Method[R] = late(seldom)
    diagonal_scatter: Method[R] = late(seldom)
    select_scatter: Method[R] = late(seldom)
    slice_scatter: Method[R] = late(seldom)
    index_reduce: Method[R] = late(seldom)
    put: Method[R] = late(seldom)
    narrow_copy: Method[R] = late(seldom)
    split_with_sizes: Method[tuple[R, ...]] = late(seldom)
    sum_to_size: Method[R] = late(seldom)
    histc: Method[R] = late(seldom)
    histogram: Method[Histogram] = late(seldom)
    mode: Method[Ordered] = late(seldom)
    msort: Method[R] = late(seldom)
    nanmedian: Method[R | Ordered] = late(seldom)
    nonzero_static: Method[R] = late(seldom)
    unique_consecutive: Method[R | tuple[R, ...]] = late(seldom)
