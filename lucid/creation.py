"""Functions that make tensors. While a model is traced they record how, so that sizes may be symbolic and every
run draws anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .errors import DTypeError, OptionError, ShapeError, TraceError
from .graph.dims import SymDim
from .graph.ops import random
from .graph.ops.elementwise import cast
from .graph.ops.reduce import cumsum
from .graph.ops.shape import as_shape
from .graph.ops.source import full as full_op
from .graph.trace import active_trace
from .graph.types import DType, Shape, as_dtype, bool_, float32, int64, is_float
from .runtime.rng import generator, next_key
from .tensor import Tensor

_WORLD: Final = Tensor(0.0)
"""Where ops without inputs are applied: at once, or in the trace under way."""


def _leaf(x: Tensor, requires_grad: bool) -> Tensor:
    if requires_grad:
        if active_trace.get() is not None:
            raise TraceError("a tensor made while a model is traced keeps no gradient; make it outside, or a Parameter")
        x.requires_grad = True
    return x


def _shape(op: str, size: Sequence[Any]) -> Shape:
    dims = as_shape(op, size)
    if any(isinstance(dim, int) and dim < 0 for dim in dims):
        raise ShapeError(f"{op}: sizes must not be negative, got {dims}")
    return dims


def _filled(op: str, size: Sequence[Any], value: Any, dtype: DType, requires_grad: bool) -> Tensor:
    shape = _shape(op, size)
    if active_trace.get() is not None:
        return _leaf(full_op(_WORLD, value, shape, dtype), requires_grad)
    return _leaf(Tensor.wrap(np.full(shape, value, dtype)), requires_grad)


def tensor(data: npt.ArrayLike | Tensor, dtype: object = None, requires_grad: bool = False) -> Tensor:
    """A tensor with a copy of ``data``; Python floats become float32, ints int64."""
    return Tensor(data, requires_grad, dtype)


def from_numpy(array: npt.NDArray[Any]) -> Tensor:
    """A tensor that shares the array's memory.

    A compiled model that reads it as a weight is told of changes made through the array by ``tensor.touch()``.
    """
    if not isinstance(array, np.ndarray):
        raise DTypeError(f"from_numpy: needs an array, got {type(array).__name__}")
    if array.dtype != as_dtype(array.dtype):
        raise DTypeError(f"from_numpy: the byte order of {array.dtype} is foreign; convert the array first")
    return Tensor.wrap(array)


def full(size: Sequence[Any], fill_value: float, dtype: object = None, requires_grad: bool = False) -> Tensor:
    """``fill_value`` everywhere; its type decides the dtype where that is not given."""
    natural = bool_ if isinstance(fill_value, bool | np.bool_) else int64
    kind = float32 if isinstance(fill_value, float | np.floating) else natural
    return _filled("full", (size,), fill_value, kind if dtype is None else as_dtype(dtype), requires_grad)


def zeros(*size: Any, dtype: object = "float32", requires_grad: bool = False) -> Tensor:
    """Zeros of the given shape."""
    return _filled("zeros", size, 0, as_dtype(dtype), requires_grad)


def ones(*size: Any, dtype: object = "float32", requires_grad: bool = False) -> Tensor:
    """Ones of the given shape."""
    return _filled("ones", size, 1, as_dtype(dtype), requires_grad)


def empty(*size: Any, dtype: object = "float32", requires_grad: bool = False) -> Tensor:
    """A tensor to be filled; it holds zeros, so that no run depends on what was in memory."""
    return _filled("empty", size, 0, as_dtype(dtype), requires_grad)


def full_like(x: Tensor, fill_value: float, dtype: object = None, requires_grad: bool = False) -> Tensor:
    """``fill_value`` in the shape, and unless given the dtype, of ``x``."""
    wanted = x.type.dtype if dtype is None else as_dtype(dtype)
    return _filled("full_like", (x.type.shape,), fill_value, wanted, requires_grad)


def zeros_like(x: Tensor, dtype: object = None, requires_grad: bool = False) -> Tensor:
    """Zeros in the shape, and unless given the dtype, of ``x``."""
    return full_like(x, 0, dtype, requires_grad)


def ones_like(x: Tensor, dtype: object = None, requires_grad: bool = False) -> Tensor:
    """Ones in the shape, and unless given the dtype, of ``x``."""
    return full_like(x, 1, dtype, requires_grad)


def eye(n: int, m: int | None = None, dtype: object = "float32", requires_grad: bool = False) -> Tensor:
    """Ones on the diagonal of an ``n`` by ``m`` matrix, ``m`` being ``n`` where not given."""
    rows, columns = _shape("eye", (n, n if m is None else m))
    if not (isinstance(rows, int) and isinstance(columns, int)):
        raise TraceError(f"eye: sizes must be known while tracing, got {rows} and {columns}")
    return _leaf(Tensor.wrap(np.eye(rows, columns, dtype=as_dtype(dtype))), requires_grad)


def arange(start: Any, end: Any = None, step: Any = 1, dtype: object = None, requires_grad: bool = False) -> Tensor:
    """``start``, ``start + step``… below ``end``; with one argument from 0 to it.

    Ints give int64, floats float32. A symbolic end needs step 1.
    """
    first, last = (0, start) if end is None else (start, end)
    first, last = (getattr(value, "sym", value) for value in (first, last))
    if isinstance(first, SymDim) or isinstance(last, SymDim):
        if step != 1:
            raise OptionError(f"arange: a symbolic range has step 1, got {step!r}")
        counted: Tensor = cumsum(full_op(_WORLD, 1, (last - first,), int64), 0) + (first - 1)
        return cast(counted, int64 if dtype is None else dtype)
    if step == 0:
        raise OptionError("arange: step must not be 0")
    values = np.arange(first, last, step)
    natural = float32 if is_float(values.dtype) else int64
    return _leaf(Tensor.wrap(values.astype(natural if dtype is None else as_dtype(dtype))), requires_grad)


def linspace(start: float, end: float, steps: int, dtype: object = "float32", requires_grad: bool = False) -> Tensor:
    """``steps`` numbers from ``start`` to ``end``, both included, at equal distances."""
    if isinstance(steps, bool) or not hasattr(steps, "__index__") or steps < 0:
        raise OptionError(f"linspace: steps is an int of at least 0, got {steps!r}")
    return _leaf(Tensor.wrap(np.linspace(start, end, steps).astype(as_dtype(dtype))), requires_grad)


def rand(*size: Any, dtype: object = "float32", requires_grad: bool = False) -> Tensor:
    """Uniform numbers in [0, 1)."""
    return _leaf(random.rand_like(_WORLD, _shape("rand", size), dtype), requires_grad)


def randn(*size: Any, dtype: object = "float32", requires_grad: bool = False) -> Tensor:
    """Standard normal numbers."""
    return _leaf(random.randn_like(_WORLD, _shape("randn", size), dtype), requires_grad)


def randint(low: int, high: Any = None, size: Sequence[Any] | None = None, dtype: object = "int64") -> Tensor:
    """Integers from ``low`` (0 where left out) up to, not including, ``high``: ``randint(10, (2, 3))`` draws digits."""
    if size is None:
        if not isinstance(high, tuple | list):
            raise OptionError("randint: give (high, size) or (low, high, size)")
        low, high, size = 0, low, high
    for name, bound in (("low", low), ("high", high)):
        if isinstance(bound, bool) or not isinstance(bound, int | np.integer):
            raise OptionError(f"randint: {name} is an int, got {bound!r}")
    if not low < high:
        raise OptionError(f"randint: low {low} must be below high {high}")
    unit: Any = random.rand_like(_WORLD, _shape("randint", (size,)), "float64")
    drawn: Tensor = cast((unit * float(high - low)).floor(), int64) + int(low)
    return cast(drawn, dtype)


def randperm(n: int) -> Tensor:
    """The numbers below ``n`` in random order, int64."""
    if active_trace.get() is not None:
        raise TraceError("randperm: cannot be drawn while a model is traced; draw it outside and pass it in")
    if isinstance(n, bool) or not hasattr(n, "__index__") or n < 0:
        raise OptionError(f"randperm: needs an int of at least 0, got {n!r}")
    return Tensor.wrap(generator(next_key()).permutation(n.__index__()).astype(np.int64))
