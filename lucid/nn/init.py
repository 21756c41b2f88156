"""Initialisers: they fill a tensor in place, and return it.

They draw from ``generator``, or where that is None from the one that ``lucid.manual_seed`` seeds.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..base.absent import INIT, face
from ..base.arrays import Array
from ..base.checks import choice, integer, number, shown
from ..errors import DTypeError, OptionError, ShapeError
from ..graph import rng
from ..graph.types import is_float
from ..tensor.generator import Generator, keys_of
from ..tensor.tensor import Tensor


def _check(name: str, tensor: object, rank: int = 0) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise OptionError(f"{name}: fills a tensor, got {type(tensor).__name__}")
    if not is_float(tensor.dtype):
        raise DTypeError(f"{name}: fills floating-point tensors, got {tensor.type}")
    if tensor.ndim < rank:
        raise ShapeError(f"{name}: needs at least {rank} axes, got {tensor.type}")
    return tensor


def _next(name: str, generator: Generator | None) -> np.random.Generator:
    """NumPy's generator for the next draw."""
    return rng.generator(keys_of(name, generator).next())


def _normal(name: str, tensor: Tensor, generator: Generator | None) -> Array:
    numbers: Any = _next(name, generator)
    return np.asarray(numbers.standard_normal(tensor.shape, dtype=tensor.dtype))


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with uniform numbers between ``a`` and ``b``."""
    _check("uniform_", tensor)
    a, b = (number("uniform_", name, value, below=math.inf) for name, value in (("a", a), ("b", b)))
    if not a <= b:
        raise OptionError(f"uniform_: a must not exceed b, got {a} and {b}")
    numbers: Any = _next("uniform_", generator)
    values = np.asarray(numbers.random(tensor.shape, dtype=tensor.dtype))
    values *= b - a
    values += a
    return tensor.copy_(values)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with normal numbers with the given mean and standard deviation."""
    _check("normal_", tensor)
    mean, std = number("normal_", "mean", mean, below=math.inf), number("normal_", "std", std, below=math.inf)
    if std < 0:
        raise OptionError(f"normal_: std must not be negative, got {std}")
    values = _normal("normal_", tensor, generator)
    values *= std
    values += mean
    return tensor.copy_(values)


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:
    """Fill with normal numbers, each drawn again until it is between ``a`` and ``b``."""
    _check("trunc_normal_", tensor)
    mean, std = (number("trunc_normal_", n, v, below=math.inf) for n, v in (("mean", mean), ("std", std)))
    a, b = (number("trunc_normal_", name, value) for name, value in (("a", a), ("b", b)))
    if not (a < b and std > 0):
        raise OptionError(f"trunc_normal_: needs a < b and a positive std, got a={a}, b={b}, std={std}")
    low, high = (a - mean) / std, (b - mean) / std
    inside = (math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2))) / 2
    numbers, count = _next("trunc_normal_", generator), math.prod(tensor.shape)
    nearest = min(max(low, 0.0), high)  # where the density is largest
    reach = min(12.0, 40 / max(abs(nearest), 1.0))  # beyond it the density is less than e**-40 of that there
    values = np.empty(0)
    while values.size < count:
        if inside > 0.2:
            drawn = numbers.standard_normal(2 * count + 16)
            drawn = drawn[(drawn >= low) & (drawn <= high)]
        else:
            drawn = numbers.uniform(max(low, nearest - reach), min(high, nearest + reach), 2 * count + 16)
            drawn = drawn[numbers.random(drawn.size) < np.exp((nearest**2 - drawn**2) / 2)]
        values = np.concatenate([values, drawn])
    return tensor.copy_((values[:count] * std + mean).reshape(tensor.shape).astype(tensor.dtype).clip(a, b))


def constant_(tensor: Tensor, val: float) -> Tensor:
    """``val`` everywhere."""
    _check("constant_", tensor)
    with np.errstate(over="ignore"):
        return tensor.copy_(np.full(tensor.shape, number("constant_", "val", val, nan=True), tensor.dtype))


def zeros_(tensor: Tensor) -> Tensor:
    """Zeros."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """Ones."""
    return constant_(tensor, 1.0)


def eye_(tensor: Tensor) -> Tensor:
    """The identity matrix."""
    if _check("eye_", tensor, 2).ndim != 2:
        raise ShapeError(f"eye_: fills matrices, got {tensor.type}")
    return tensor.copy_(np.eye(*tensor.shape, dtype=tensor.dtype))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """A convolution weight that passes on its input channels, as far as there are outputs in each group."""
    if _check("dirac_", tensor, 3).ndim > 5:
        raise ShapeError(f"dirac_: fills convolution weights, got {tensor.type}")
    if tensor.shape[0] % integer("dirac_", "groups", groups):
        raise OptionError(f"dirac_: {groups} groups do not divide {tensor.shape[0]} output channels")
    array = np.zeros(tensor.shape, tensor.dtype)
    centre = tuple(size // 2 for size in tensor.shape[2:])
    share = tensor.shape[0] // groups
    for group in range(groups):
        for i in range(min(share, tensor.shape[1])):
            array[(group * share + i, i, *centre)] = 1
    return tensor.copy_(array)


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor for weights before this non-linearity that keeps the variance.

    Parameters
    ----------
    nonlinearity
        "linear", "conv2d", "conv_transpose2d", "sigmoid", "tanh", "relu", "leaky_relu" or "selu".
    param
        The negative slope of "leaky_relu", 0.01 when omitted.
    """
    slope = 0.01 if param is None else number("calculate_gain", "param", param, below=math.inf)
    gains = {
        "linear": 1.0,
        "conv2d": 1.0,
        "conv_transpose2d": 1.0,
        "sigmoid": 1.0,
        "tanh": 5 / 3,
        "relu": math.sqrt(2),
        "leaky_relu": math.sqrt(2 / (1 + slope**2)),
        "selu": 3 / 4,
    }
    return gains[choice("calculate_gain", "nonlinearity", nonlinearity, tuple(gains))]


def _fans(name: str, tensor: Tensor) -> tuple[int, int]:
    """(fan_in, fan_out): the inputs of each output, and the outputs of each input."""
    _check(name, tensor, 2)
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def _kaiming_std(name: str, tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if not isinstance(mode, str) or mode not in ("fan_in", "fan_out"):
        raise OptionError(f'{name}: mode is "fan_in" or "fan_out", got {shown(mode)}')
    a = number(name, "a", a, below=math.inf)
    fan = _fans(name, tensor)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(max(fan, 1))


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Uniform within ``±gain * sqrt(6 / (fan_in + fan_out))`` (Glorot and Bengio, 2010)."""
    gain = number("xavier_uniform_", "gain", gain, 0, below=math.inf)
    bound = gain * math.sqrt(6.0 / max(sum(_fans("xavier_uniform_", tensor)), 1))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Normal with variance ``gain**2 * 2 / (fan_in + fan_out)`` (Glorot and Bengio, 2010)."""
    gain = number("xavier_normal_", "gain", gain, 0, below=math.inf)
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / max(sum(_fans("xavier_normal_", tensor)), 1)), generator)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Uniform within ``±gain * sqrt(3 / fan)`` (He et al., 2015); ``a`` is the slope of leaky ReLU."""
    bound = math.sqrt(3.0) * _kaiming_std("kaiming_uniform_", tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Normal with standard deviation ``gain / sqrt(fan)`` (He et al., 2015); ``a`` is the slope of leaky ReLU."""
    return normal_(tensor, 0.0, _kaiming_std("kaiming_normal_", tensor, a, mode, nonlinearity), generator)


def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Orthonormal rows or columns times ``gain`` (Saxe et al., 2014), with the axes after the first merged."""
    _check("orthogonal_", tensor, 2)
    gain = number("orthogonal_", "gain", gain, below=math.inf)
    rows, columns = tensor.shape[0], math.prod(tensor.shape[1:])
    square = _next("orthogonal_", generator).standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(square)
    q = q * np.where(np.diag(r) < 0, -1.0, 1.0)  # makes the distribution uniform
    q = q.T if rows < columns else q
    return tensor.copy_((gain * q).reshape(tensor.shape).astype(tensor.dtype))


if not TYPE_CHECKING:  # to the type checker a name that is not here is an error
    __getattr__, __dir__ = face(globals(), INIT)
