"""The methods and operators that tensors and symbols share; each is one of the functions of ``graph.ops``."""

from __future__ import annotations

from typing import Any, TypeVar

from ..errors import OptionError
from .opdef import AbstractTensor
from .ops import elementwise as ew
from .ops import indexing, linalg, norm, reduce, subscript
from .ops import shape as sh
from .types import DType

S = TypeVar("S", bound="Operators")


class Operators(AbstractTensor):
    """PyTorch's names for the ops, as methods. Shapes broadcast as in NumPy, dtypes promote as in PyTorch."""

    __slots__ = ()
    __array_ufunc__ = None  # ndarray + tensor asks the tensor

    # ------------------------------------------------------------ what it is

    @property
    def shape(self) -> tuple[Any, ...]:
        return self.type.shape

    @property
    def dtype(self) -> DType:
        return self.type.dtype

    @property
    def ndim(self) -> int:
        return self.type.rank

    def dim(self) -> int:
        """Number of axes."""
        return self.type.rank

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size of one axis."""
        return self.shape if dim is None else self.shape[sh.normal_axis("size", dim, self.type.rank)]

    def numel(self) -> Any:
        """Number of elements."""
        total: Any = 1
        for dim in self.shape:
            total = total * dim
        return total

    # ------------------------------------------------------------ arithmetic

    def __add__(self, other: Any) -> Any:
        return ew.add(self, other)

    def __radd__(self, other: Any) -> Any:
        return ew.add(other, self)

    def __sub__(self, other: Any) -> Any:
        return ew.sub(self, other)

    def __rsub__(self, other: Any) -> Any:
        return ew.sub(other, self)

    def __mul__(self, other: Any) -> Any:
        return ew.mul(self, other)

    def __rmul__(self, other: Any) -> Any:
        return ew.mul(other, self)

    def __truediv__(self, other: Any) -> Any:
        return ew.div(self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return ew.div(other, self)

    def __pow__(self, other: Any) -> Any:
        return ew.pow_(self, other)

    def __rpow__(self, other: Any) -> Any:
        return ew.pow_(other, self)

    def __matmul__(self, other: Any) -> Any:
        return linalg.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return linalg.matmul(other, self)

    def __neg__(self: S) -> S:
        return ew.neg(self)

    def __pos__(self: S) -> S:
        return self

    def __abs__(self: S) -> S:
        return ew.abs_(self)

    # ------------------------------------------------------------ comparison and logic

    def __eq__(self, other: object) -> Any:
        return ew.compare(ew.EQUAL, self, other)

    def __ne__(self, other: object) -> Any:
        return ew.compare(ew.NOT_EQUAL, self, other)

    def __lt__(self, other: Any) -> Any:
        return ew.compare(ew.LESS, self, other)

    def __le__(self, other: Any) -> Any:
        return ew.compare(ew.LESS_EQUAL, self, other)

    def __gt__(self, other: Any) -> Any:
        return ew.compare(ew.GREATER, self, other)

    def __ge__(self, other: Any) -> Any:
        return ew.compare(ew.GREATER_EQUAL, self, other)

    __hash__ = object.__hash__

    def __and__(self, other: Any) -> Any:
        return ew.logical(ew.AND, self, other)

    def __or__(self, other: Any) -> Any:
        return ew.logical(ew.OR, self, other)

    __rand__ = __and__
    __ror__ = __or__

    def __invert__(self: S) -> S:
        return ew.invert(self)

    # ------------------------------------------------------------ element-wise

    add, sub, mul, div, pow = ew.add, ew.sub, ew.mul, ew.div, ew.pow_
    maximum, minimum, clip, clamp = ew.maximum, ew.minimum, ew.clip, ew.clip
    neg, abs, sign, exp, log, sqrt = ew.neg, ew.abs_, ew.sign, ew.exp, ew.log, ew.sqrt
    sin, cos, erf, tanh, sigmoid, relu = ew.sin, ew.cos, ew.erf, ew.tanh, ew.sigmoid, ew.relu
    floor, ceil, round = ew.floor, ew.ceil, ew.round_

    def where(self, condition: Any, other: Any) -> Any:
        """This where ``condition`` holds, else ``other``."""
        return ew.where(condition, self, other)

    def to(self: S, dtype: object) -> S:
        """With another element type."""
        return ew.cast(self, dtype)

    astype = to

    def float(self: S) -> S:
        return ew.cast(self, "float32")

    def double(self: S) -> S:
        return ew.cast(self, "float64")

    def long(self: S) -> S:
        return ew.cast(self, "int64")

    def bool(self: S) -> S:
        return ew.cast(self, "bool")

    # ------------------------------------------------------------ reduction

    sum, mean, var, std, amax, amin = reduce.sum, reduce.mean, reduce.var, reduce.std, reduce.amax, reduce.amin
    max, min, argmax, argmin, cumsum = reduce.max, reduce.min, reduce.argmax, reduce.argmin, reduce.cumsum
    logsumexp, sum_to = reduce.logsumexp, reduce.sum_to

    # ------------------------------------------------------------ shape and indexing

    reshape, view, flatten, permute, transpose = sh.reshape, sh.reshape, sh.flatten, sh.permute, sh.transpose
    swapaxes, unflatten, tile, repeat = sh.transpose, sh.unflatten, sh.tile, sh.repeat
    expand, broadcast_to, squeeze, unsqueeze = sh.expand, sh.broadcast_to, sh.squeeze, sh.unsqueeze
    repeat_interleave = sh.repeat_interleave
    narrow, gather, take_along_dim = indexing.narrow, indexing.gather, indexing.take_along_dim
    split, chunk, flip, roll = indexing.split, indexing.chunk, indexing.flip, indexing.roll
    index_select, masked_fill = indexing.index_select, indexing.masked_fill
    softmax, log_softmax = norm.softmax, norm.log_softmax
    matmul = linalg.matmul

    def __getitem__(self: S, key: Any) -> S:
        return subscript.getitem(self, key)

    @property
    def T(self: S) -> S:
        """The transpose of a matrix."""
        if self.type.rank != 2:
            raise OptionError(f"T is for matrices; this tensor is {self.type}; use permute or transpose")
        return sh.transpose(self, 0, 1)
