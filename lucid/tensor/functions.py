"""The top-level functions: ops on tensors, arrays and nested lists."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from ..base.checks import flag, number
from ..errors import OptionError, ShapeError
from ..graph import math_methods, selection_methods
from ..graph.drawing import drawing
from ..graph.math_methods import MathMethods
from ..graph.ops import bounds, composite, diagonals, indexing, linalg, nonelementary, reduce, repeats, slices, stacks
from ..graph.ops import elementwise as ew
from ..graph.ops import norm as normal
from ..graph.ops import random as draws
from ..graph.ops import shape as sh
from ..graph.ops.einsum import einsum as _einsum
from ..graph.public import apart, filling, operand, order, public, tensor, whole
from ..graph.selection_methods import SelectionMethods
from ..graph.trace import active_trace
from ..graph.types import is_float
from .generator import Generator
from .tensor import Tensor


def _face(function: Callable[..., object]) -> Callable[..., Tensor]:
    return public(function)


def _apart(function: Callable[..., object]) -> Callable[..., Tensor]:
    return apart(public(function))


abs = _face(ew.abs_)
neg = _face(ew.neg)
sign = _face(ew.sign)
exp = _face(ew.exp)
log = _face(ew.log)
sqrt = _face(ew.sqrt)
absolute, negative = abs, neg
sin = _face(ew.sin)
cos = _face(ew.cos)
erf = _face(ew.erf)
tanh = _face(ew.tanh)
sigmoid = _face(ew.sigmoid)
relu = _face(ew.relu)
silu = _face(ew.silu)
gelu = _face(ew.gelu)
floor = _apart(ew.floor)
ceil = _apart(ew.ceil)
round = _apart(ew.round_)
tan = _face(composite.tan)
log1p = _face(ew.log1p)
log2 = _face(ew.log2)
log10 = _face(ew.log10)
expm1 = _face(ew.expm1)
square = _face(composite.square)
rsqrt = _face(composite.rsqrt)
reciprocal = _face(composite.reciprocal)
isnan = _face(ew.isnan)
isinf = _face(composite.isinf)
isfinite = _face(composite.isfinite)
isclose = _face(composite.isclose)

add = _face(composite.add)
sub = _face(composite.sub)
mul = _face(ew.mul)
div = _face(composite.div)
pow = _face(ew.pow_)
subtract, multiply, divide, true_divide = sub, mul, div, div
floor_divide = _face(ew.floor_divide)
remainder = _face(ew.remainder)
maximum = _face(ew.maximum)
minimum = _face(ew.minimum)
eq = _face(composite.eq)
ne = _face(composite.ne)
lt = _face(composite.lt)
le = _face(composite.le)
gt = _face(composite.gt)
ge = _face(composite.ge)
logical_and = _face(composite.logical_and)
logical_or = _face(composite.logical_or)
logical_xor = _face(composite.logical_xor)
logical_not = _face(composite.logical_not)
bitwise_and = _face(composite.bitwise_and)
bitwise_or = _face(composite.bitwise_or)
bitwise_xor = _face(composite.bitwise_xor)
bitwise_not = _face(ew.invert)
greater, greater_equal, less, less_equal, not_equal = gt, ge, lt, le, ne
clip = clamp = _face(bounds.clip)
clamp_min: Callable[..., Tensor] = public(bounds.clamp_min, min=operand)
clamp_max: Callable[..., Tensor] = public(bounds.clamp_max, max=operand)
_where = _face(ew.where)


@functools.wraps(_where)
def where(condition: object, *choices: object, **kwargs: object) -> Tensor:
    if choices or kwargs:
        return _where(condition, *choices, **kwargs)
    places: Tensor = nonzero(condition, as_tuple=True)  # a tuple of them, as in PyTorch and NumPy
    return places


sum = _face(reduce.sum)
prod = _face(reduce.prod)
mean = _face(reduce.mean)
var = _face(reduce.var)
std = _face(reduce.std)
amax = _face(reduce.amax)
amin = _face(reduce.amin)
argmax = _face(reduce.argmax)
argmin = _face(reduce.argmin)
cumsum = _face(reduce.cumsum)
logsumexp = _face(reduce.logsumexp)
all = _face(composite.all_)
any = _face(composite.any_)
count_nonzero = _face(composite.count_nonzero)


def _extremum(by_axis: Callable[..., object], of_two: Callable[..., object], name: str) -> Callable[..., Any]:
    """As ``torch.max``: of all elements, along an axis, or of two tensors element-wise."""
    one, two = public(by_axis, name), public(of_two, name)

    def extremum(x: object, *args: object, **kwargs: object) -> Any:
        pair = "other" in kwargs or (bool(args) and isinstance(args[0], Tensor | np.ndarray))
        return two(x, *args, **kwargs) if pair else one(x, *args, **kwargs)

    extremum.__name__ = extremum.__qualname__ = name
    extremum.__doc__ = by_axis.__doc__
    return extremum


max, min = _extremum(reduce.max, ew.maximum, "max"), _extremum(reduce.min, ew.minimum, "min")

matmul = _face(linalg.matmul)
bmm = _face(linalg.bmm)
dot = _face(linalg.dot)
outer = _face(linalg.outer)
mm = _face(composite.mm)
mv = _face(composite.mv)
t = _face(composite.transposed)
einsum = _face(_einsum)
softmax = _face(normal.softmax)
log_softmax = _face(normal.log_softmax)

reshape = _face(sh.reshape)
flatten = _face(sh.flatten)
permute = _face(sh.permute)
transpose = _face(sh.transpose)
swapaxes = swapdims = transpose
squeeze = _face(sh.squeeze)
unsqueeze = _face(sh.unsqueeze)
unflatten = _face(sh.unflatten)
broadcast_to = _face(sh.broadcast_to)
tile = _apart(sh.tile)
repeat_interleave = apart(public(repeats.repeat_interleave, output_size=None))
concat = cat = concatenate = _face(sh.concat)
stack = _face(sh.stack)
vstack, hstack = _face(stacks.vstack), _face(stacks.hstack)
dstack, column_stack = _face(stacks.dstack), _face(stacks.column_stack)
atleast_1d, atleast_2d, atleast_3d = map(_face, (stacks.atleast_1d, stacks.atleast_2d, stacks.atleast_3d))
movedim = moveaxis = public(composite.movedim, destination=None)
ravel = _face(sh.flatten)

gather = _face(indexing.gather)
index_select = _face(indexing.index_select)
take_along_dim = _face(indexing.take_along_dim)
masked_fill: Callable[..., Tensor] = public(indexing.masked_fill, value=filling)
narrow = _face(slices.narrow)
flip, fliplr, flipud = _apart(slices.flip), _apart(slices.fliplr), _apart(slices.flipud)
roll = _apart(slices.roll)
split, chunk, unbind = public(slices.split), public(slices.chunk), public(slices.unbind)
tril, triu = _face(diagonals.tril), _face(diagonals.triu)
clone, detach = _face(composite.clone), _face(composite.detach)

_methods = vars(SelectionMethods).__getitem__
topk, sort, argsort, median = map(_methods, ("topk", "sort", "argsort", "median"))
nonzero, argwhere, masked_select = map(_methods, ("nonzero", "argwhere", "masked_select"))
unique, bincount = map(_methods, ("unique", "bincount"))
scatter, scatter_add, scatter_reduce = map(_methods, ("scatter", "scatter_add", "scatter_reduce"))
index_add, index_copy, index_fill = map(_methods, ("index_add", "index_copy", "index_fill"))
index_put, masked_scatter, kthvalue = map(_methods, ("index_put", "masked_scatter", "kthvalue"))
take, select, diff, rot90, multinomial = map(_methods, ("take", "select", "diff", "rot90", "multinomial"))
tensor_split, hsplit, vsplit, dsplit = map(_methods, ("tensor_split", "hsplit", "vsplit", "dsplit"))
cdist, broadcast_tensors, cartesian_prod = (
    selection_methods.cdist,
    selection_methods.broadcast_tensors,
    selection_methods.cartesian_prod,
)
searchsorted, bucketize, isin = selection_methods.searchsorted, selection_methods.bucketize, selection_methods.isin

_methods = vars(MathMethods).__getitem__
trunc, asin, acos, atan, atan2 = map(_methods, ("trunc", "asin", "acos", "atan", "atan2"))
arcsin, arccos, arctan, arctan2, fix = asin, acos, atan, atan2, trunc
sinh, cosh, asinh, acosh, atanh = map(_methods, ("sinh", "cosh", "asinh", "acosh", "atanh"))
arcsinh, arccosh, arctanh = asinh, acosh, atanh
erfc, erfinv, lgamma, digamma = map(_methods, ("erfc", "erfinv", "lgamma", "digamma"))
polygamma: Callable[..., Tensor] = public(nonelementary.polygamma_at, "polygamma", n=whole)
hypot, logaddexp, logaddexp2, xlogy = map(_methods, ("hypot", "logaddexp", "logaddexp2", "xlogy"))
sinc, exp2, frac, fmod, heaviside = map(_methods, ("sinc", "exp2", "frac", "fmod", "heaviside"))
nan_to_num, logit, signbit, copysign = map(_methods, ("nan_to_num", "logit", "signbit", "copysign"))
float_power, deg2rad, rad2deg = map(_methods, ("float_power", "deg2rad", "rad2deg"))
sgn = sign
cumprod, cummax, cummin, logcumsumexp = map(_methods, ("cumprod", "cummax", "cummin", "logcumsumexp"))
aminmax, nansum, nanmean, cov, corrcoef = map(_methods, ("aminmax", "nansum", "nanmean", "cov", "corrcoef"))
quantile, nanquantile, lerp = map(_methods, ("quantile", "nanquantile", "lerp"))
addmm, baddbmm, addcmul, addcdiv = map(_methods, ("addmm", "baddbmm", "addcmul", "addcdiv"))
inner, vdot, kron, dist, cross = map(_methods, ("inner", "vdot", "kron", "dist", "cross"))
diag, diagonal, diag_embed, trace = map(_methods, ("diag", "diagonal", "diag_embed", "trace"))
det, logdet, slogdet, inverse = map(_methods, ("det", "logdet", "slogdet", "inverse"))
cholesky, matrix_exp, matrix_power = map(_methods, ("cholesky", "matrix_exp", "matrix_power"))
var_mean, std_mean, meshgrid = math_methods.var_mean, math_methods.std_mean, math_methods.meshgrid
block_diag, tensordot, chain_matmul = math_methods.block_diag, math_methods.tensordot, math_methods.chain_matmul
trapezoid = trapz = math_methods.trapezoid

norm: Callable[..., Tensor] = public(composite.norm, p=order)

rand_like = drawing(_face(draws.rand_like), "rand_like")
randn_like = drawing(_face(draws.randn_like), "randn_like")
_bernoulli: Callable[..., Tensor] = drawing(public(draws.bernoulli, p=tensor), "bernoulli")


@functools.wraps(_bernoulli)
def bernoulli(p: object, *, generator: Generator | None = None) -> Tensor:
    if isinstance(p, Tensor) and active_trace.get() is None and p.numel():
        low, high = (float(x) for x in (p.amin(), p.amax()))
        if not (low >= 0 and high <= 1):  # of NaN neither is true
            raise OptionError(f"bernoulli: p holds probabilities, from 0 to 1, got {low:.6g} to {high:.6g}")
    return _bernoulli(p, generator=generator)


def is_tensor(value: object) -> bool:
    """Whether ``value`` is a Lucid tensor."""
    return isinstance(value, Tensor)


def is_floating_point(x: Tensor) -> bool:
    """Whether the elements are float32 or float64."""
    return is_float(tensor("is_floating_point", "x", x, None).type.dtype)


def numel(x: Tensor) -> Any:
    """Number of elements."""
    return cast(Tensor, tensor("numel", "x", x, None)).numel()


def equal(a: npt.ArrayLike | Tensor, b: npt.ArrayLike | Tensor) -> bool:
    """Whether two tensors have the same shape and elements."""
    first, second = (x if isinstance(x, Tensor) else Tensor(x) for x in (a, b))
    return bool(first.shape == second.shape and all(eq(first, second)).item())


def allclose(
    a: npt.ArrayLike | Tensor,
    b: npt.ArrayLike | Tensor,
    rtol: float = 1e-5,
    atol: float = 1e-8,
    equal_nan: bool = False,
) -> bool:
    """Whether all elements of two tensors differ by at most ``atol + rtol * |b|``."""
    rtol, atol = (
        number("allclose", name, value, 0, below=math.inf) for name, value in (("rtol", rtol), ("atol", atol))
    )
    composite.check_alike("allclose", *(x if isinstance(x, Tensor) else 0 for x in (a, b)))
    first, second = (np.asarray(x if isinstance(x, Tensor) else Tensor(x)) for x in (a, b))
    try:
        return bool(np.allclose(first, second, rtol, atol, flag("allclose", "equal_nan", equal_nan)))
    except ValueError as error:
        raise ShapeError(f"allclose: shapes {first.shape} and {second.shape} do not broadcast") from error
