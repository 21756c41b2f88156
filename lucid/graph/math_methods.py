"""Tensor methods of mathematics and statistics, and the functions of the same names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeAlias, TypeVar

from .opdef import AbstractTensor
from .ops import (
    algebra,
    composite,
    cumulative,
    determinant,
    diagonals,
    matrix_exponential,
    nonelementary,
    products,
    solving,
    sorting,
    special,
    statistics,
)
from .ops import trigonometry as tr
from .public import apart, flag, index, number, operand, public, scalar, string, tensor, whole

R = TypeVar("R", bound=AbstractTensor)
G = TypeVar("G")
Method: TypeAlias = "Callable[..., G]"


class MathMethods(AbstractTensor, Generic[R]):
    """Methods of tensors and symbols for special functions, statistics, products and diagonals."""

    __slots__ = ()

    trunc: Method[R] = apart(public(composite.trunc))
    asin: Method[R] = public(tr.asin)
    acos: Method[R] = public(tr.acos)
    atan: Method[R] = public(tr.atan)
    atan2: Method[R] = public(tr.atan2)
    sinh: Method[R] = public(tr.sinh)
    cosh: Method[R] = public(tr.cosh)
    asinh: Method[R] = public(tr.asinh)
    acosh: Method[R] = public(tr.acosh)
    atanh: Method[R] = public(tr.atanh)
    arcsin: Method[R] = asin
    arccos: Method[R] = acos
    arctan: Method[R] = atan
    arctan2: Method[R] = atan2
    arcsinh: Method[R] = asinh
    arccosh: Method[R] = acosh
    arctanh: Method[R] = atanh
    fix: Method[R] = trunc
    erfc: Method[R] = public(nonelementary.erfc)
    erfinv: Method[R] = public(nonelementary.erfinv)
    lgamma: Method[R] = public(nonelementary.lgamma)
    digamma: Method[R] = public(nonelementary.digamma)
    polygamma: Method[R] = public(nonelementary.polygamma, n=whole)
    hypot: Method[R] = public(special.hypot)
    logaddexp: Method[R] = public(special.logaddexp)
    logaddexp2: Method[R] = public(special.logaddexp2)
    xlogy: Method[R] = public(special.xlogy)
    sinc: Method[R] = public(special.sinc)
    exp2: Method[R] = public(special.exp2)
    frac: Method[R] = public(special.frac)
    fmod: Method[R] = public(special.fmod)
    heaviside: Method[R] = public(special.heaviside, values=operand)
    nan_to_num: Method[R] = apart(public(special.nan_to_num, nan=scalar, posinf=scalar, neginf=scalar))
    logit: Method[R] = public(special.logit)
    signbit: Method[R] = public(special.signbit)
    copysign: Method[R] = public(special.copysign)
    float_power: Method[R] = public(special.float_power)
    deg2rad: Method[R] = public(special.deg2rad)
    rad2deg: Method[R] = public(special.rad2deg)

    cumprod: Method[R] = apart(public(cumulative.cumprod))
    cummax: Method[sorting.Ordered] = public(cumulative.cummax)
    cummin: Method[sorting.Ordered] = public(cumulative.cummin)
    logcumsumexp: Method[R] = public(cumulative.logcumsumexp)
    aminmax: Method[statistics.Extrema] = public(statistics.aminmax)
    nansum: Method[R] = public(statistics.nansum)
    nanmean: Method[R] = public(statistics.nanmean)
    quantile: Method[R] = public(statistics.quantile, q=operand, interpolation=string)
    nanquantile: Method[R] = public(statistics.nanquantile, q=operand, interpolation=string)
    cov: Method[R] = public(statistics.cov, correction=number, fweights=index, aweights=tensor)
    corrcoef: Method[R] = public(statistics.corrcoef)

    lerp: Method[R] = public(algebra.lerp, end=tensor, weight=operand)
    addmm: Method[R] = public(algebra.addmm, a=tensor, b=tensor)
    baddbmm: Method[R] = public(algebra.baddbmm, a=tensor, b=tensor)
    addcmul: Method[R] = public(algebra.addcmul, a=tensor, b=tensor)
    addcdiv: Method[R] = public(algebra.addcdiv, a=tensor, b=tensor)
    inner: Method[R] = public(products.inner, a=tensor, b=tensor)
    vdot: Method[R] = public(products.vdot, a=tensor, b=tensor)
    kron: Method[R] = public(products.kron, a=tensor, b=tensor)
    dist: Method[R] = public(products.dist, a=tensor, b=tensor)
    cross: Method[R] = public(products.cross, a=tensor, b=tensor)

    diag: Method[R] = public(diagonals.diag)
    diagonal: Method[R] = public(diagonals.diagonal, offset=whole, dim2=None)
    diag_embed: Method[R] = public(diagonals.diag_embed, offset=whole, dim2=None)
    trace: Method[R] = public(diagonals.trace)
    det: Method[R] = public(determinant.det)
    logdet: Method[R] = public(solving.logdet)
    slogdet: Method[solving.SignAndLog] = public(solving.slogdet)
    inverse: Method[R] = public(solving.inv, "inverse")
    cholesky: Method[R] = public(solving.cholesky, upper=flag)
    matrix_exp: Method[R] = public(matrix_exponential.matrix_exp)
    matrix_power: Method[R] = apart(public(solving.matrix_power, n=whole))


var_mean: Method[tuple[AbstractTensor, AbstractTensor]] = public(statistics.var_mean)
std_mean: Method[tuple[AbstractTensor, AbstractTensor]] = public(statistics.std_mean)
meshgrid: Method[tuple[AbstractTensor, ...]] = public(algebra.meshgrid, indexing=string)
block_diag: Method[AbstractTensor] = public(diagonals.block_diag)
tensordot: Method[AbstractTensor] = public(products.tensordot, a=tensor, b=tensor)
chain_matmul: Method[AbstractTensor] = public(products.chain_matmul)
trapezoid: Method[AbstractTensor] = public(products.trapezoid, y=tensor, dx=number)
