"""Statistics: moments, extrema, sums without NaN, quantiles, and covariances."""

from __future__ import annotations

from typing import NamedTuple

from ...base.checks import shown
from ...errors import DTypeError, OptionError, ShapeError
from ..opdef import AbstractTensor, Operand
from ..types import Axes, int64, is_float
from . import elementwise as ew
from . import reduce
from . import shape as sh
from .bounds import clip
from .composite import all_, any_, eq, ge, isinf, le, logical_and
from .diagonals import diagonal
from .expect import expect
from .indexing import gather
from .linalg import matmul
from .promotion import cast, floating
from .sorting import sort
from .source import full


def var_mean(
    x: AbstractTensor, dim: Axes = None, correction: float = 1, keepdim: bool = False
) -> tuple[AbstractTensor, AbstractTensor]:
    """Variance and mean over ``dim``, as ``var`` and ``mean`` give them."""
    return reduce.var(x, dim, correction, keepdim), reduce.mean(x, None if isinstance(dim, bool) else dim, keepdim)


def std_mean(
    x: AbstractTensor, dim: Axes = None, correction: float = 1, keepdim: bool = False
) -> tuple[AbstractTensor, AbstractTensor]:
    """Standard deviation and mean over ``dim``, as ``std`` and ``mean`` give them."""
    return reduce.std(x, dim, correction, keepdim), reduce.mean(x, None if isinstance(dim, bool) else dim, keepdim)


class Extrema(NamedTuple):
    """The smallest and the largest element."""

    min: AbstractTensor
    max: AbstractTensor


def aminmax(x: AbstractTensor, dim: int | None = None, keepdim: bool = False) -> Extrema:
    """The smallest and the largest element over an axis, or of all; equal ones share the gradient."""
    return Extrema(reduce.amin(x, dim, keepdim), reduce.amax(x, dim, keepdim))


def nansum(x: AbstractTensor, dim: Axes = None, keepdim: bool = False, dtype: object = None) -> AbstractTensor:
    """Sum over ``dim`` of the elements that are not NaN, in ``dtype``."""
    return reduce.sum(ew.where(ew.isnan(x), full(x, 0, ()), x), dim, keepdim, dtype)


def nanmean(x: AbstractTensor, dim: Axes = None, keepdim: bool = False, dtype: object = None) -> AbstractTensor:
    """Mean over ``dim`` of the elements that are not NaN, in ``dtype``."""
    x = x if dtype is None else cast(x, dtype)
    if not is_float(x.type.dtype):
        raise DTypeError(f"nanmean: needs a floating-point tensor, got {x.type}")
    counts = reduce.sum(cast(ew.invert(ew.isnan(x)), x.type.dtype), dim, keepdim)
    return ew.div(nansum(x, dim, keepdim), counts)


INTERPOLATIONS = ("linear", "lower", "higher", "nearest", "midpoint")


def quantile(
    x: AbstractTensor, q: Operand, dim: int | None = None, keepdim: bool = False, interpolation: str = "linear"
) -> AbstractTensor:
    """The value below which the fraction ``q`` of the elements lies, along ``dim`` or of all; NaN if one is NaN.

    Parameters
    ----------
    x
        Floating-point numbers.
    q
        Fractions from 0 to 1: one, or a vector of them, for which the result has a new first axis.
    dim, keepdim
        The axis, and whether it is kept with size 1.
    interpolation
        The result for a fraction between two elements: interpolated (``"linear"``), the ``"lower"``, the ``"higher"``
        or the ``"nearest"`` of the two, or their ``"midpoint"``.
    """
    return _quantile("quantile", x, q, dim, keepdim, interpolation)


def nanquantile(
    x: AbstractTensor, q: Operand, dim: int | None = None, keepdim: bool = False, interpolation: str = "linear"
) -> AbstractTensor:
    """As :func:`quantile`, ignoring NaNs."""
    return _quantile("nanquantile", x, q, dim, keepdim, interpolation)


def _quantile(
    op: str, x: AbstractTensor, q: Operand, dim: int | None, keepdim: bool, interpolation: str
) -> AbstractTensor:
    if interpolation not in INTERPOLATIONS:
        raise OptionError(f"{op}: interpolation is one of {', '.join(INTERPOLATIONS)}, got {shown(interpolation)}")
    if not is_float(x.type.dtype):
        raise DTypeError(f"{op}: needs a floating-point tensor, got {x.type}")
    q = _shares(op, x, q)
    if q.type.rank > 1 or not is_float(q.type.dtype):
        raise ShapeError(f"{op}: q is a number or a vector of them, got {q.type}")
    axis = 0 if dim is None else sh.normal_axis(op, dim, x.type.rank, scalar=True)
    lanes = sh.reshape(x, -1) if dim is None or not x.type.rank else sh.permute(x, _to_the_end(axis, x.type.rank))
    reduce.check_not_empty(op, lanes.type, (lanes.type.rank - 1,))
    found = _of_lanes(op, lanes, cast(sh.reshape(q, -1), x.type.dtype), interpolation)
    kept = [1 if dim is None or i == axis else size for i, size in enumerate(x.type.shape)]
    shape = kept if keepdim else lanes.type.shape[:-1]
    last = found.type.rank - 1
    front = sh.permute(found, (last, *range(last)))
    return sh.reshape(front, (*q.type.shape, *shape))


def _shares(op: str, x: AbstractTensor, q: Operand) -> AbstractTensor:
    """Check ``q``: a number at once, a tensor when the program runs."""
    words, (_, shares) = f"{op}: q must lie between 0 and 1", ew.promote(x, q)
    if not isinstance(q, int | float):
        return expect(shares, all_(logical_and(ge(shares, 0), le(shares, 1))), True, f"{words} everywhere")
    if not 0 <= q <= 1:
        raise OptionError(f"{words}, got {q}")
    return shares


def _to_the_end(axis: int, rank: int) -> tuple[int, ...]:
    return (*(i for i in range(rank) if i != axis), axis)


def _of_lanes(op: str, x: AbstractTensor, q: AbstractTensor, interpolation: str) -> AbstractTensor:
    """Quantiles of the last axis, as a last axis."""
    unknown = ew.isnan(x)
    if op == "nanquantile":
        most = clip(reduce.sum(ew.invert(unknown), -1, True) - 1, 0)
        ranks = ew.mul(q, cast(most, x.type.dtype))
    else:
        last = cast(full(x, x.type.shape[-1] - 1, (), int64), x.type.dtype)
        ranks = ew.where(any_(unknown, -1, True), last, ew.mul(q, last))
    if interpolation in ("lower", "higher", "nearest"):
        rounded = {"lower": ew.floor(ranks), "higher": ew.ceil(ranks), "nearest": ew.round_(ranks)}[interpolation]
        return gather(sort(x).values, -1, cast(rounded, int64))
    values, below = sort(x).values, ew.floor(ranks)
    low, high = (gather(values, -1, cast(place, int64)) for place in (below, ew.ceil(ranks)))
    share: AbstractTensor | float = 0.5 if interpolation == "midpoint" else ew.sub(ranks, below)
    apart = ew.where(logical_and(eq(low, high), isinf(low)), 0.0, ew.sub(high, low))
    from_high = ew.sub(high, ew.mul(apart, 1.0 - share))
    return ew.where(isinf(low), from_high, ew.add(low, ew.mul(apart, share)))


def cov(
    x: AbstractTensor,
    *,
    correction: int = 1,
    fweights: AbstractTensor | None = None,
    aweights: AbstractTensor | None = None,
) -> AbstractTensor:
    """The covariance matrix of variables, which are the rows of ``x``.

    Parameters
    ----------
    x
        A row for each variable, a column for each observation; a vector is one variable, whose variance is a scalar.
    correction
        Sums are divided by the number of observations minus this.
    fweights
        How many times each observation counts, as integers.
    aweights
        The weight of each observation.
    """
    if x.type.rank > 2:
        raise ShapeError(f"cov: needs a matrix, with a row for each variable, got {x.type}")
    rows = floating(sh.reshape(x, 1, -1) if x.type.rank < 2 else x)
    weights, total = _weights(rows, fweights, aweights)
    mean = ew.div(reduce.sum(rows if weights is None else ew.mul(rows, weights), 1, True), total)
    apart = ew.sub(rows, mean)
    taken: AbstractTensor | float = correction
    if weights is not None and aweights is not None:
        taken = ew.div(ew.mul(reduce.sum(ew.mul(weights, aweights)), correction), total)
    count = clip(ew.sub(total, taken), 0)
    found = matmul(apart, sh.transpose(apart if weights is None else ew.mul(apart, weights), 0, 1))
    return sh.reshape(ew.div(found, count), (x.type.shape[0],) * 2 if x.type.rank == 2 and x.type.shape[0] != 1 else ())


def _weights(
    rows: AbstractTensor, fweights: AbstractTensor | None, aweights: AbstractTensor | None
) -> tuple[AbstractTensor | None, AbstractTensor]:
    """The weight of each observation (None for 1), and the divisor of the sums."""
    given = [w for w in (fweights, aweights) if w is not None]
    for weights in given:
        if weights.type.shape != rows.type.shape[1:]:
            raise ShapeError(f"cov: weights are a vector, with a number for each column of {rows.type}: {weights.type}")
    if fweights is not None and is_float(fweights.type.dtype):
        raise DTypeError(f"cov: fweights are integers, got {fweights.type}")
    if not given:
        return None, cast(full(rows, rows.type.shape[1], (), int64), rows.type.dtype)
    weights = cast(given[0] if len(given) == 1 else ew.mul(*given), rows.type.dtype)
    return weights, reduce.sum(weights)


def corrcoef(x: AbstractTensor) -> AbstractTensor:
    """The matrix of correlation coefficients of variables, which are the rows of ``x``."""
    found = cov(x)
    if not found.type.rank:
        return ew.div(found, found)
    deviation = ew.sqrt(diagonal(found))
    found = ew.div(ew.div(found, sh.unsqueeze(deviation, 1)), sh.unsqueeze(deviation, 0))
    return clip(found, -1.0, 1.0)
