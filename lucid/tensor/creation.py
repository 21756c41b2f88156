"""Functions that create tensors. While a model is traced they are recorded, so sizes may be symbolic, and random
numbers are drawn at every run."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar
from typing import cast as cast_type

import numpy as np
import numpy.typing as npt

from ..base import checks
from ..base.checks import shown
from ..errors import DTypeError, LucidError, OptionError, ShapeError, TraceError
from ..graph import public, rng
from ..graph.assume import is_at_least
from ..graph.dims import SymDim, as_dim
from ..graph.drawing import drawing_from
from ..graph.ops import random
from ..graph.ops.diagonals import tril, triu
from ..graph.ops.elementwise import cast
from ..graph.ops.promotion import check_fits
from ..graph.ops.reduce import cumsum
from ..graph.ops.shape import as_shape
from ..graph.ops.source import full as full_op
from ..graph.trace import active_trace, user_location
from ..graph.types import DType, Shape, as_dtype, bool_, float32, int64, is_float
from .generator import Generator, keys_of, seed_of
from .tensor import Tensor

F = TypeVar("F", bound=Callable[..., Tensor])

_WORLD: Final = Tensor(0.0)
"""Ops without inputs are applied to this: eagerly, or in the current trace."""


def _leaf(x: Tensor, requires_grad: bool) -> Tensor:
    if requires_grad:
        if active_trace.get() is not None:
            raise TraceError("a tensor made while a model is traced keeps no gradient; make it outside, or a Parameter")
        x.requires_grad = True
    return x


def _shape(op: str, size: Sequence[object]) -> Shape:
    dims = as_shape(op, size)
    if any(isinstance(dim, int) and dim < 0 for dim in dims):
        raise ShapeError(f"{op}: sizes must not be negative, got {dims}")
    return dims


def _value(op: str, value: object) -> bool | int | float:
    """A fill value as a number; it may be a tensor or array with one element."""
    if isinstance(value, Tensor | np.ndarray) and value.ndim == 0:
        value = value.item()
    return public.scalar(op, "the value", value, None)


def _filled(op: str, size: Sequence[object], value: float, dtype: DType, requires_grad: bool) -> Tensor:
    shape = _shape(op, size)
    check_fits(value, dtype)
    if dtype.kind in "iu" and isinstance(value, float) and not math.isfinite(value):
        raise DTypeError(f"{op}: {value} does not fit the element type {dtype.name}")
    if active_trace.get() is not None:
        return _leaf(full_op(_WORLD, value, shape, dtype), requires_grad)
    return _leaf(Tensor.wrap(np.full(shape, value, dtype)), requires_grad)


def _creator(function: F) -> F:
    """Add ``device=``, which must be "cpu", and ``size=`` for functions that take ``*size``; check for huge sizes."""
    name = function.__name__
    several = bool(function.__code__.co_flags & 0x04)

    @functools.wraps(function)
    def make(*args: object, device: object = None, **kwargs: object) -> Tensor:
        checks.check_device(name, device)
        checks.flag(name, "requires_grad", kwargs.get("requires_grad", False))
        if several and "size" in kwargs and not args:
            args = (kwargs.pop("size"),)
        try:
            return function(*args, **kwargs)
        except LucidError:
            raise
        except (MemoryError, OverflowError, ValueError) as error:
            raise ShapeError(f"{name}: a tensor of that size cannot be made: {error}") from error

    return cast_type("F", make)


def _kind(dtype: object) -> DType:
    return float32 if dtype is None else as_dtype(dtype)


@_creator
def tensor(data: npt.ArrayLike | Tensor, dtype: object = None, requires_grad: bool = False) -> Tensor:
    """A tensor with a copy of ``data``; Python floats become float32, ints int64."""
    return Tensor(data, requires_grad, dtype)


@_creator
def from_numpy(array: npt.NDArray[Any]) -> Tensor:
    """A tensor that shares the array's memory.

    After changing the array, call ``tensor.touch()``, so that compiled models that use the tensor as a weight notice.
    """
    if not isinstance(array, np.ndarray):
        raise DTypeError(f"from_numpy: needs an array, got {type(array).__name__}")
    if array.dtype != as_dtype(array.dtype):
        raise DTypeError(f"from_numpy: the byte order of {array.dtype} is foreign; convert the array first")
    return Tensor.wrap(array)


@_creator
def as_tensor(data: npt.ArrayLike | Tensor, dtype: object = None) -> Tensor:
    """``data`` as a tensor: a tensor itself, or sharing an array's memory, if the element type stays the same."""
    if isinstance(data, Tensor):
        return data if dtype is None else data.to(dtype)
    if isinstance(data, np.ndarray) and data.dtype == as_dtype(data.dtype) and dtype in (None, data.dtype):
        return Tensor.wrap(data)
    return Tensor(data, dtype=dtype)


@_creator
def full(size: Sequence[Any], fill_value: float, dtype: object = None, requires_grad: bool = False) -> Tensor:
    """A tensor filled with ``fill_value``, whose type is the default for ``dtype``."""
    value = _value("full", fill_value)
    natural = float32 if isinstance(value, float) else bool_ if isinstance(value, bool) else int64
    sizes = size if isinstance(size, tuple | list) else (size,)
    return _filled("full", (tuple(sizes),), value, natural if dtype is None else as_dtype(dtype), requires_grad)


@_creator
def zeros(*size: object, dtype: object = None, requires_grad: bool = False) -> Tensor:
    """Zeros of the given shape."""
    return _filled("zeros", size, 0, _kind(dtype), requires_grad)


@_creator
def ones(*size: object, dtype: object = None, requires_grad: bool = False) -> Tensor:
    """Ones of the given shape."""
    return _filled("ones", size, 1, _kind(dtype), requires_grad)


@_creator
def empty(*size: object, dtype: object = None, requires_grad: bool = False) -> Tensor:
    """A tensor to be filled; it holds zeros, so that results do not depend on what was in memory."""
    return _filled("empty", size, 0, _kind(dtype), requires_grad)


@_creator
def empty_like(x: Tensor, dtype: object = None, requires_grad: bool = False) -> Tensor:
    """A tensor of zeros, to be filled, with the shape of ``x`` and by default its dtype."""
    return full_like(x, 0, dtype, requires_grad)


@_creator
def full_like(x: Tensor, fill_value: float, dtype: object = None, requires_grad: bool = False) -> Tensor:
    """A tensor filled with ``fill_value``, with the shape of ``x`` and by default its dtype."""
    type_ = public.tensor("full_like", "x", x, None).type
    wanted = type_.dtype if dtype is None else as_dtype(dtype)
    return _filled("full_like", (type_.shape,), _value("full_like", fill_value), wanted, requires_grad)


@_creator
def zeros_like(x: Tensor, dtype: object = None, requires_grad: bool = False) -> Tensor:
    """Zeros with the shape of ``x`` and by default its dtype."""
    return full_like(x, 0, dtype, requires_grad)


@_creator
def ones_like(x: Tensor, dtype: object = None, requires_grad: bool = False) -> Tensor:
    """Ones with the shape of ``x`` and by default its dtype."""
    return full_like(x, 1, dtype, requires_grad)


@_creator
def eye(n: int, m: int | None = None, dtype: object = None, requires_grad: bool = False) -> Tensor:
    """An ``n`` by ``m`` matrix (``n`` by ``n`` by default) with ones on the diagonal."""
    rows, columns = _shape("eye", (n, n if m is None else m))
    if isinstance(rows, SymDim) or isinstance(columns, SymDim):
        ones = full_op(_WORLD, 1, (rows, columns), _kind(dtype))
        return _leaf(cast_type("Tensor", triu(tril(ones))), requires_grad)
    return _leaf(Tensor.wrap(np.eye(rows, columns, dtype=_kind(dtype))), requires_grad)


@_creator
def arange(start: Any, end: Any = None, step: Any = 1, dtype: object = None, requires_grad: bool = False) -> Tensor:
    """``start``, ``start + step``, … below ``end``; a single argument is the end, with start 0.

    Ints give int64, floats float32. A symbolic end needs step 1.
    """
    first, last = (0, start) if end is None else (start, end)
    first, last = (getattr(value, "sym", value) for value in (first, last))
    if isinstance(first, SymDim) or isinstance(last, SymDim):
        first, last = as_dim(first, "arange"), as_dim(last, "arange")
        if step != 1:
            raise OptionError(f"arange: a symbolic range has step 1, got {shown(step)}")
        count = last - first if is_at_least(last, first, likely=True) else 0
        counted: Tensor = cumsum(full_op(_WORLD, 1, (count,), int64), 0) + (first - 1)
        return cast(counted, int64 if dtype is None else dtype)
    for name, value in (("start", first), ("end", last), ("step", step)):
        checks.number("arange", name, value, -math.inf, below=math.inf)
        if not isinstance(value, float | np.floating):
            checks.integer("arange", name, value.item() if hasattr(value, "item") else value, -checks.LARGEST)
    if step == 0:
        raise OptionError("arange: step must not be 0")
    values = np.arange(first, last, step)
    natural = float32 if is_float(values.dtype) else int64
    return _leaf(Tensor.wrap(values.astype(natural if dtype is None else as_dtype(dtype))), requires_grad)


@_creator
def linspace(start: float, end: float, steps: int, dtype: object = None, requires_grad: bool = False) -> Tensor:
    """``steps`` evenly spaced numbers from ``start`` to ``end``, both included."""
    first, last = (checks.number("linspace", n, v, below=math.inf) for n, v in (("start", start), ("end", end)))
    values = np.linspace(first, last, checks.integer("linspace", "steps", steps, 0))
    return _leaf(Tensor.wrap(values.astype(_kind(dtype))), requires_grad)


@_creator
def logspace(
    start: float, end: float, steps: int, base: float = 10.0, dtype: object = None, requires_grad: bool = False
) -> Tensor:
    """``base`` to the powers of ``linspace(start, end, steps)``."""
    first, last, root = (
        checks.number("logspace", n, v, below=math.inf) for n, v in (("start", start), ("end", end), ("base", base))
    )
    powers = np.linspace(first, last, checks.integer("logspace", "steps", steps, 0))
    return _leaf(Tensor.wrap(np.power(float(root), powers).astype(_kind(dtype))), requires_grad)


@_creator
def tril_indices(row: int, col: int, offset: int = 0) -> Tensor:
    """The row indices, then the column indices, of the lower triangle of a ``row`` by ``col`` matrix."""
    return _triangle("tril_indices", np.tril_indices, row, col, offset)


@_creator
def triu_indices(row: int, col: int, offset: int = 0) -> Tensor:
    """The row indices, then the column indices, of the upper triangle of a ``row`` by ``col`` matrix."""
    return _triangle("triu_indices", np.triu_indices, row, col, offset)


def _triangle(op: str, indices: Callable[[int, int, int], object], row: int, col: int, offset: int) -> Tensor:
    rows, columns = (checks.integer(op, name, size, 0) for name, size in (("row", row), ("col", col)))
    places = indices(rows, checks.integer(op, "offset", offset, -checks.LARGEST), columns)
    return Tensor.wrap(np.stack(places).astype(np.int64))  # type: ignore[call-overload]  # they are a pair of arrays


@_creator
def rand(
    *size: object, generator: Generator | None = None, dtype: object = None, requires_grad: bool = False
) -> Tensor:
    """Uniform numbers in [0, 1); drawn from ``generator`` if given."""
    with drawing_from("rand", generator):
        return _leaf(random.rand_like(_WORLD, _shape("rand", size), _kind(dtype)), requires_grad)


@_creator
def randn(
    *size: object, generator: Generator | None = None, dtype: object = None, requires_grad: bool = False
) -> Tensor:
    """Standard normal numbers; drawn from ``generator`` if given."""
    with drawing_from("randn", generator):
        return _leaf(random.randn_like(_WORLD, _shape("randn", size), _kind(dtype)), requires_grad)


@_creator
def randint(
    low: int,
    high: Any = None,
    size: Sequence[object] | None = None,
    generator: Generator | None = None,
    dtype: object = "int64",
) -> Tensor:
    """Random integers from ``low`` (0 by default) to below ``high``: ``randint(10, (2, 3))`` draws digits.

    They are drawn from ``generator`` if given.
    """
    if size is None:
        if not isinstance(high, tuple | list):
            raise OptionError("randint: give (high, size) or (low, high, size)")
        low, high, size = 0, low, high
    low, high = (checks.integer("randint", n, v, -checks.LARGEST) for n, v in (("low", low), ("high", high)))
    if not low < high:
        raise OptionError(f"randint: low {low} must be below high {high}")
    with drawing_from("randint", generator):
        unit: Any = random.rand_like(_WORLD, _shape("randint", (size,)), "float64")
    drawn: Tensor = cast((unit * float(high - low)).floor(), int64) + int(low)
    return cast(drawn, dtype)


@_creator
def randperm(n: int, generator: Generator | None = None) -> Tensor:
    """The numbers below ``n`` in random order, as int64; drawn from ``generator`` if given."""
    if active_trace.get() is not None:
        raise TraceError(
            f"randperm: cannot be drawn while a model is traced ({user_location()}); draw it outside and pass it in"
        )
    count = checks.integer("randperm", "n", n, 0)
    return Tensor.wrap(rng.generator(keys_of("randperm", generator).next()).permutation(count).astype(np.int64))


def manual_seed(seed: int) -> None:
    """Seed all random draws that follow (dropout, ``rand_like``…)."""
    if active_trace.get() is not None:
        raise TraceError(
            f"manual_seed: in a model that is traced ({user_location()}) it would seed once, and not at every call; "
            f"call it outside"
        )
    rng.current_keys().seed(seed_of("manual_seed", seed))
