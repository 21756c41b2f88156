"""Random numbers of several distributions, in the shape and element type of a tensor."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...base.checks import integer, shown
from ...errors import DTypeError, OptionError, ShapeError
from ..dims import Dim
from ..opdef import AbstractTensor, Operand
from ..types import bool_, broadcast_shapes, float32, float64, is_float
from . import elementwise as ew
from .bounds import clip
from .composite import all_, ge, le, logical_and, lt, tan
from .expect import expect
from .promotion import cast, floating, promote
from .random import probability, rand_like, randn_like
from .shape import as_shape


def _check(op: str, x: AbstractTensor, **positive: float) -> None:
    """Raise where a tensor holds no floats, or a parameter is not positive."""
    if not is_float(x.type.dtype):
        raise DTypeError(f"{op}: draws floating-point numbers; this tensor is {x.type}")
    for name, value in positive.items():
        if not 0 < value < math.inf:
            raise OptionError(f"{op}: {name} must be positive, got {value}")


def _fine(x: AbstractTensor) -> AbstractTensor:
    """Uniform numbers with many digits."""
    return rand_like(x, None, float64)


def normal(x: AbstractTensor, mean: float = 0.0, std: float = 1.0) -> AbstractTensor:
    """Normal numbers with a mean and a standard deviation."""
    _check("normal_", x)
    if not 0 <= std < math.inf or not math.isfinite(mean):
        raise OptionError(f"normal_: needs a finite mean, and a std that is not negative, got {mean} and {std}")
    return ew.add(ew.mul(randn_like(x), std), mean)


def normal_with(mean: AbstractTensor, std: Operand = 1.0, size: Sequence[Dim] | None = None) -> AbstractTensor:
    """Normal numbers, each with its own mean and standard deviation; for two scalars, a tensor of shape ``size``."""
    mean, std = (floating(x) for x in promote(mean, std))
    std = expect(std, all_(ge(std, 0)), True, "normal: a standard deviation is not negative")
    shape = broadcast_shapes("normal", mean.type.shape, std.type.shape)
    if size is not None:
        if shape:
            raise ShapeError(f"normal: a size is for two numbers, got {mean.type} and {std.type}")
        shape = as_shape("normal", size if isinstance(size, list | tuple) else (size,))
    return ew.add(ew.mul(randn_like(mean, shape), std), mean)


def log_normal(x: AbstractTensor, mean: float = 1.0, std: float = 2.0) -> AbstractTensor:
    """Numbers whose logarithms are normal with a mean and a standard deviation."""
    _check("log_normal_", x, std=std)
    return ew.exp(ew.add(ew.mul(randn_like(x), std), mean))


def uniform(x: AbstractTensor, a: float = 0.0, b: float = 1.0) -> AbstractTensor:
    """Numbers from ``a`` to ``b``, all equally likely."""
    _check("uniform_", x)
    if not (a <= b and math.isfinite(b - a)):
        raise OptionError(f"uniform_: needs finite a <= b, got {a} and {b}")
    return ew.add(ew.mul(rand_like(x), b - a), a)


def exponential(x: AbstractTensor, lambd: float = 1.0) -> AbstractTensor:
    """Numbers of the exponential distribution of rate ``lambd``."""
    _check("exponential_", x, lambd=lambd)
    return ew.mul(ew.log1p(ew.neg(rand_like(x))), -1 / lambd)


def cauchy(x: AbstractTensor, median: float = 0.0, sigma: float = 1.0) -> AbstractTensor:
    """Numbers of the Cauchy distribution around ``median``, half of them within ``sigma``."""
    _check("cauchy_", x, sigma=sigma)
    return ew.add(ew.mul(cast(tan(ew.mul(ew.sub(_fine(x), 0.5), math.pi)), x.type.dtype), sigma), median)


def geometric(x: AbstractTensor, p: float) -> AbstractTensor:
    """How many trials there are until the first success, which has the probability ``p`` each time."""
    if x.type.dtype == bool_:
        raise DTypeError(f"geometric_: draws numbers; this tensor is {x.type}")
    if not 0 < p <= 1:
        raise OptionError(f"geometric_: p is more than 0 and at most 1, got {p}")
    if p == 1:
        return cast(ew.add(ew.floor(rand_like(x, None, float32)), 1.0), x.type.dtype)
    return cast(clip(ew.ceil(ew.div(ew.log1p(ew.neg(_fine(x))), math.log1p(-p))), 1.0), x.type.dtype)


def bernoulli(x: AbstractTensor, p: AbstractTensor | float = 0.5) -> AbstractTensor:
    """1 with the probability ``p``, a number or that of each element, else 0."""
    if isinstance(p, AbstractTensor):
        return cast(lt(_floats(x), _probabilities(p)), x.type.dtype)
    return cast(lt(_floats(x), probability("bernoulli_", p)), x.type.dtype)


def bernoulli_of(x: AbstractTensor, p: float | None = None) -> AbstractTensor:
    """1 with the probability that each element says, or ``p`` for all where it is given; else 0."""
    return bernoulli(x, _probabilities(x) if p is None else p)


def _floats(x: AbstractTensor) -> AbstractTensor:
    return rand_like(x, None, x.type.dtype if is_float(x.type.dtype) else float32)


def _probabilities(p: AbstractTensor) -> AbstractTensor:
    if not is_float(p.type.dtype):
        raise DTypeError(f"bernoulli: probabilities are floating-point numbers, got {p.type}")
    return expect(p, all_(logical_and(ge(p, 0), le(p, 1))), True, "bernoulli: probabilities are from 0 to 1")


def whole_numbers(x: AbstractTensor, low: int | None = None, high: int | None = None) -> AbstractTensor:
    """Whole numbers from ``low`` to before ``high``, all equally likely; one number alone is ``high``, from 0 on.

    Without any, they are as large as the element type has them, or up to 2**53.
    """
    dtype = x.type.dtype
    if low is not None and high is None:
        low, high = 0, low
    first = 0 if low is None else integer("random_", "from", low, -(1 << 53))
    last = _beyond(x) if high is None else integer("random_", "to", high, -(1 << 53), 1 << 53)
    if not first < last:
        raise OptionError(f"random_: from {first} to before {last} there is no whole number")
    if dtype.kind in "iu" and not np.iinfo(dtype.name).min <= first <= last - 1 <= np.iinfo(dtype.name).max:
        raise OptionError(f"random_: {first} to {last} does not fit into {shown(dtype.name)}")
    found = ew.add(ew.floor(ew.mul(_fine(x), float(last - first))), float(first))
    return cast(clip(found, float(first), float(last - 1)), dtype)


def _beyond(x: AbstractTensor) -> int:
    """The exclusive upper bound of the numbers drawn if none is given."""
    dtype = x.type.dtype
    if dtype == bool_:
        return 2
    return (1 << np.finfo(dtype.name).nmant + 1) + 1 if is_float(dtype) else min(np.iinfo(dtype.name).max + 1, 1 << 53)
