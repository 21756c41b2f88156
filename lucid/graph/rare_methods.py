"""Tensor methods that are rarely used: the functions of :mod:`.rare`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

from ..base.lazy import LazyModule
from .lazy_methods import lazy_method
from .opdef import AbstractTensor

if TYPE_CHECKING:
    from .ops.histograms import Histogram
    from .ops.rare_elementwise import Mantissa
    from .ops.sorting import Ordered

R = TypeVar("R", bound=AbstractTensor)
G = TypeVar("G")
Method: TypeAlias = "Callable[..., G]"

rare = LazyModule("lucid.graph.rare")


class RareMethods(AbstractTensor, Generic[R]):
    """What tensors and symbols have besides."""

    __slots__ = ()

    bitwise_left_shift: Method[R] = lazy_method(rare)
    bitwise_right_shift: Method[R] = lazy_method(rare)
    fmax: Method[R] = lazy_method(rare)
    fmin: Method[R] = lazy_method(rare)
    isposinf: Method[R] = lazy_method(rare)
    isneginf: Method[R] = lazy_method(rare)
    isreal: Method[R] = lazy_method(rare)
    positive: Method[R] = lazy_method(rare)
    angle: Method[R] = lazy_method(rare)
    gcd: Method[R] = lazy_method(rare)
    lcm: Method[R] = lazy_method(rare)
    ldexp: Method[R] = lazy_method(rare)
    frexp: Method[Mantissa] = lazy_method(rare)
    nextafter: Method[R] = lazy_method(rare)
    mvlgamma: Method[R] = lazy_method(rare)
    i0: Method[R] = lazy_method(rare)
    hardshrink: Method[R] = lazy_method(rare)
    prelu: Method[R] = lazy_method(rare)
    addbmm: Method[R] = lazy_method(rare)
    addmv: Method[R] = lazy_method(rare)
    addr: Method[R] = lazy_method(rare)
    ger: Method[R] = lazy_method(rare)
    cholesky_solve: Method[R] = lazy_method(rare)
    cholesky_inverse: Method[R] = lazy_method(rare)
    pinverse: Method[R] = lazy_method(rare)
    renorm: Method[R] = lazy_method(rare)
    bernoulli: Method[R] = lazy_method(rare)
    diagflat: Method[R] = lazy_method(rare)
    diagonal_scatter: Method[R] = lazy_method(rare)
    select_scatter: Method[R] = lazy_method(rare)
    slice_scatter: Method[R] = lazy_method(rare)
    index_reduce: Method[R] = lazy_method(rare)
    put: Method[R] = lazy_method(rare)
    narrow_copy: Method[R] = lazy_method(rare)
    split_with_sizes: Method[tuple[R, ...]] = lazy_method(rare)
    sum_to_size: Method[R] = lazy_method(rare)
    histc: Method[R] = lazy_method(rare)
    histogram: Method[Histogram] = lazy_method(rare)
    mode: Method[Ordered] = lazy_method(rare)
    msort: Method[R] = lazy_method(rare)
    nanmedian: Method[R | Ordered] = lazy_method(rare)
    nonzero_static: Method[R] = lazy_method(rare)
    unique_consecutive: Method[R | tuple[R, ...]] = lazy_method(rare)
