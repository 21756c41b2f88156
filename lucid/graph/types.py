"""Tensor types: shape, element type and memory order."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, NoReturn, TypeAlias

import numpy as np

from ..base.arrays import Array
from ..base.checks import LARGEST, shown
from ..base.structs import struct
from ..errors import DTypeError, OptionError, ShapeError, from_handler
from .dims import Dim, SymDim, evaluate, parse_dim, substitute

DType: TypeAlias = "np.dtype[np.generic]"
Shape: TypeAlias = "tuple[Dim, ...]"
Axes: TypeAlias = "int | Sequence[int] | None"

#: The element types a value may have.
DTYPES: Mapping[str, DType] = {
    name: np.dtype(name)
    for name in (
        "float32", "float64", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    )
}  # fmt: skip

#: No value may be larger than the address space of a 64-bit processor (128 TiB).
MAX_BYTES = 2**47

_SUPPORTED = frozenset(DTYPES.values())

float32, float64, int64, bool_ = (DTYPES[name] for name in ("float32", "float64", "int64", "bool"))

#: Memory order of a four-dimensional tensor whose channels lie innermost (logical N, C, H, W).
CHANNELS_LAST = (0, 2, 3, 1)


def order_of(array: Array) -> tuple[int, ...] | None:
    """The memory order of an array: channels last, or None for row-major and everything else."""
    if array.ndim != 4 or array.flags.c_contiguous:
        return None
    return CHANNELS_LAST if array.transpose(CHANNELS_LAST).flags.c_contiguous else None


def wide(dtype: DType) -> DType:
    """The type used to compute with numbers of this type: a wider one for types of 16 bits, below 8 bits, and float8.

    Types that are not numbers, such as strings and dates, are returned unchanged.
    """
    if dtype.itemsize > 2:
        return dtype
    name = dtype.name
    if name in DTYPES or ("int" not in name and "float" not in name):
        return dtype
    return DTYPES["float32" if "float" in name else "uint8" if name.startswith("uint") else "int8"]


def widened(array: Array) -> Array:
    """The array converted to the type that it is computed with."""
    return array.astype(wide(array.dtype), copy=False)


def as_dtype(value: object) -> DType:
    """The supported NumPy dtype that ``value`` names."""
    if isinstance(value, np.dtype) and value in _SUPPORTED:
        return value
    try:
        if not isinstance(value, np.dtype | type) and not (isinstance(value, str) and value.isprintable()):
            raise TypeError  # NumPy takes None for float64, and whatever has a dtype for that
        dtype: DType = np.dtype(value)
    except Exception as error:
        if from_handler(error):
            raise
        raise DTypeError(f"{shown(value)} is not an element type; use one of {', '.join(DTYPES)}") from error
    if dtype.name not in DTYPES:
        raise DTypeError(f"element type {dtype.name} is not supported; use one of {', '.join(DTYPES)}")
    return DTYPES[dtype.name]


def is_float(dtype: DType) -> bool:
    return dtype.kind == "f"


def flaw(type_: TensorType) -> str:
    """Why this cannot be the type of a value, or an empty string. Third-party type rules may return anything."""
    if not isinstance(type_.dtype, np.dtype) or type_.dtype not in _SUPPORTED:
        return f"{type_.dtype!r} is not a supported element type"
    if not isinstance(type_.shape, tuple):
        return f"a shape is a tuple, got {type_.shape!r}"
    for dim in type_.shape:
        if (type(dim) is not int and not isinstance(dim, SymDim)) or (isinstance(dim, int) and dim < 0):
            return f"a dimension is a non-negative int or symbolic, got {dim!r}"
    return ""


def widths_hint(dtypes: Iterable[np.dtype[Any]]) -> str:
    """What to do if float64 meets float32, for the end of a message; empty for other element types."""
    if not {float32, float64} <= set(dtypes):
        return ""
    return (
        '. NumPy makes float64 by default: give x.astype("float32"), or make a model\'s parameters float64 too '
        "with model.double()"
    )


@struct(frozen=True)
class TensorType:
    """Shape (ints and symbolic dims), element type, and order of the axes in memory.

    Attributes
    ----------
    shape
        Logical shape; for images always (N, C, H, W).
    dtype
        One of :data:`DTYPES`.
    order
        The logical axes from outermost to innermost in memory, or None for row-major. It says
        nothing about what is computed, only how a buffer is laid out.
    """

    shape: Shape
    dtype: DType
    order: tuple[int, ...] | None = None

    def __call__(self, *args: object) -> NoReturn:
        """PyTorch's ``t.type()`` and ``t.type(dtype)``: says what to type instead."""
        raise OptionError(f"type: a tensor's type is no method, it is {self}; t.dtype tells, and t.to(dtype) converts")

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @cached_property
    def symbols(self) -> frozenset[str]:
        """Names of all symbols in the shape."""
        return frozenset(name for dim in self.shape if isinstance(dim, SymDim) for name in dim.symbols)

    @property
    def size(self) -> Dim:
        """Number of elements."""
        return product(self.shape)

    @property
    def concrete(self) -> tuple[int, ...]:
        """The shape, all of whose dims must be ints."""
        if self.symbols:
            raise ShapeError(f"the shape {format_shape(self.shape)} still has symbolic dimensions")
        return self.shape  # type: ignore[return-value]

    @property
    def nbytes(self) -> int:
        """Bytes of one value of this (concrete) type."""
        return math.prod(self.concrete) * self.dtype.itemsize

    def with_shape(self, shape: Iterable[Dim]) -> TensorType:
        """The same with another shape, row-major."""
        return TensorType(tuple(shape), self.dtype)

    def with_dtype(self, dtype: DType) -> TensorType:
        """The same with another element type."""
        return TensorType(self.shape, dtype)

    def with_order(self, order: tuple[int, ...] | None) -> TensorType:
        """The same with another order in memory."""
        return self if order == self.order else replace(self, order=order)

    def same_value(self, other: TensorType) -> bool:
        """Equal shape and element type, whatever the memory order."""
        return self.shape == other.shape and self.dtype == other.dtype

    def bind(self, sizes: Mapping[str, int]) -> TensorType:
        """This type with every symbol replaced by its size."""
        if not self.symbols:
            return self
        bound = replace(self, shape=tuple(evaluate(dim, sizes) for dim in self.shape))
        if min(bound.concrete) < 0 or bound.nbytes > MAX_BYTES:
            raise ShapeError(f"{self} cannot be {format_shape(bound.shape)}, which it is for the sizes {dict(sizes)}")
        return bound

    def substitute(self, sizes: Mapping[str, Dim]) -> TensorType:
        """This type with the symbols that a size or dim is given for replaced; the others stay."""
        return replace(self, shape=tuple(substitute(dim, sizes) for dim in self.shape))

    def __str__(self) -> str:
        order = "" if self.order is None else "@" + "".join(map(str, self.order))
        return f"{self.dtype.type.__name__}[{', '.join(map(str, self.shape))}]{order}"


def product(dims: Iterable[Dim]) -> Dim:
    """The product of dims, 1 for none."""
    total: Dim = 1
    for dim in dims:
        total = total * dim
    return total


def format_shape(shape: Iterable[Dim]) -> str:
    dims = [str(dim) for dim in shape]
    return f"({dims[0]},)" if len(dims) == 1 else f"({', '.join(dims)})"


def spec(*dims: int | str | SymDim, dtype: object = "float32") -> TensorType:
    """Describe an input: ``lucid.spec("N", 1, 28, 28)`` is a float32 image batch of any size.

    Parameters
    ----------
    *dims
        Non-negative ints, names of symbolic dimensions, or sums, products and quotients of both: ``"2*h"`` is an even
        size. The same name always means the same size.
    dtype
        Element type, float32 by default.
    """
    shape: list[Dim] = []
    for given in dims:
        dim = parse_dim(given) if isinstance(given, str) else given
        if isinstance(dim, SymDim) or (isinstance(dim, int) and not isinstance(dim, bool) and 0 <= dim <= LARGEST):
            shape.append(dim)
        else:
            raise ShapeError(f"spec: a dimension is a non-negative int or a name, got {shown(given)}")
    return TensorType(tuple(shape), as_dtype(dtype))


def broadcast_shapes(op: str, *shapes: Shape) -> Shape:
    """The NumPy broadcast of the shapes; a symbolic dim matches itself and 1 only."""
    if all(shape == shapes[0] for shape in shapes[1:]):
        return shapes[0] if shapes else ()
    rank = max(map(len, shapes))
    result: list[Dim] = []
    for axis in range(-rank, 0):
        dims = list(dict.fromkeys(shape[axis] for shape in shapes if len(shape) >= -axis and shape[axis] != 1))
        if len(dims) > 1:
            listed = " and ".join(format_shape(shape) for shape in shapes)
            raise ShapeError(
                f"{op}: shapes {listed} do not broadcast (axis {axis} differs)", unequal=(dims[:-1], dims[1:])
            )
        result.append(dims[0] if dims else 1)
    return tuple(result)
