"""The methods and operators that tensors and symbols share; each is a function from ``graph.ops``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, TypeAlias, TypeVar

import numpy as np

from ..base.checks import check_device, is_device
from ..errors import OptionError
from .dims import SymDim
from .math_methods import MathMethods
from .opdef import AbstractTensor
from .ops import bounds, composite, diagonals, indexing, linalg, reduce, repeats, slices, subscript
from .ops import elementwise as ew
from .ops import norm as normal
from .ops import shape as sh
from .plain_methods import PlainMethods
from .public import apart, filling, operand, order, public, tensor
from .rare_methods import RareMethods
from .selection_methods import SelectionMethods
from .types import DTYPES, DType, is_float

S = TypeVar("S", bound="Operators[Any]")
R = TypeVar("R", bound=AbstractTensor)

G = TypeVar("G")

Method: TypeAlias = "Callable[..., G]"

_add, _sub, _mul, _div, _pow = map(public, (ew.add, ew.sub, ew.mul, ew.div, ew.pow_))
_floor_divide, _remainder, _matmul = map(public, (ew.floor_divide, ew.remainder, linalg.matmul))
_eq, _ne, _lt = map(public, (composite.eq, composite.ne, composite.lt))
_le, _gt, _ge = map(public, (composite.le, composite.gt, composite.ge))
_and, _or, _xor = map(public, (composite.bitwise_and, composite.bitwise_or, composite.bitwise_xor))

_round = apart(public(ew.round_))
_where, _divmod = public(ew.where), public(composite.divmod_)

_PLAIN = ("builtins", "decimal", "fractions", "datetime")
_OPERANDS = (AbstractTensor, int, float, np.ndarray, np.generic, list, tuple, SymDim)


def _applied(function: Callable[..., object], a: object, b: object, other: object) -> Any:
    """``function(a, b)``, or NotImplemented if ``other`` is not an operand."""
    if isinstance(other, _OPERANDS) or hasattr(other, "sym") or hasattr(other, "__array__"):
        return function(a, b)
    if function is _eq or function is _ne or type(other).__module__ not in _PLAIN:
        return NotImplemented
    return function(a, b)  # which says what an operand is


def _shifted(direction: str, a: object, b: object, other: object) -> Any:
    """``a << b`` or ``a >> b``, by the class's method, which is loaded on first use (:mod:`.lazy_methods`)."""
    return _applied(getattr(Operators, f"bitwise_{direction}_shift"), a, b, other)


class Operators(SelectionMethods[R], MathMethods[R], RareMethods[R], PlainMethods):
    """PyTorch's names for the ops, as methods. Shapes broadcast as in NumPy, dtypes promote as in PyTorch.

    ``R`` is what an operation gives: an eager tensor for tensors, a symbol for symbols.
    """

    __slots__ = ()
    __array_ufunc__: Any = None  # ndarray + tensor asks the tensor

    # ------------------------------------------------------------ what it is

    @property
    def shape(self) -> tuple[Any, ...]:
        """Sizes of the axes."""
        return self.type.shape

    @shape.setter
    def shape(self, value: object) -> None:
        self._refuse_shape()

    @staticmethod
    def _refuse_shape() -> NoReturn:
        """Say what to write instead of an assignment."""
        raise OptionError("x.shape = ...: a tensor keeps its shape; write x = x.reshape(...)")

    @property
    def dtype(self) -> DType:
        """Element type, as NumPy has it."""
        return self.type.dtype

    @property
    def device(self) -> str:
        """Where it is: everything is on the processor."""
        return "cpu"

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.type.rank

    def dim(self) -> int:
        """Number of axes."""
        return self.type.rank

    ndimension = dim

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size of one axis."""
        return self.shape if dim is None else self.shape[sh.normal_axis("size", dim, self.type.rank)]

    def numel(self) -> Any:
        """Number of elements."""
        total: Any = 1
        for dim in self.shape:
            total = total * dim
        return total

    nelement = numel

    def is_floating_point(self) -> bool:
        """Whether the elements are float32 or float64."""
        return is_float(self.dtype)

    # ------------------------------------------------------------ arithmetic

    def __add__(self, other: object) -> R:
        return _applied(_add, self, other, other)  # type: ignore[no-any-return]

    def __radd__(self, other: object) -> R:
        return _applied(_add, other, self, other)  # type: ignore[no-any-return]

    def __sub__(self, other: object) -> R:
        return _applied(_sub, self, other, other)  # type: ignore[no-any-return]

    def __rsub__(self, other: object) -> R:
        return _applied(_sub, other, self, other)  # type: ignore[no-any-return]

    def __mul__(self, other: object) -> R:
        return _applied(_mul, self, other, other)  # type: ignore[no-any-return]

    def __rmul__(self, other: object) -> R:
        return _applied(_mul, other, self, other)  # type: ignore[no-any-return]

    def __truediv__(self, other: object) -> R:
        return _applied(_div, self, other, other)  # type: ignore[no-any-return]

    def __rtruediv__(self, other: object) -> R:
        return _applied(_div, other, self, other)  # type: ignore[no-any-return]

    def __floordiv__(self, other: object) -> R:
        return _applied(_floor_divide, self, other, other)  # type: ignore[no-any-return]

    def __rfloordiv__(self, other: object) -> R:
        return _applied(_floor_divide, other, self, other)  # type: ignore[no-any-return]

    def __mod__(self, other: object) -> R:
        return _applied(_remainder, self, other, other)  # type: ignore[no-any-return]

    def __rmod__(self, other: object) -> R:
        return _applied(_remainder, other, self, other)  # type: ignore[no-any-return]

    def __pow__(self, other: object) -> R:
        return _applied(_pow, self, other, other)  # type: ignore[no-any-return]

    def __rpow__(self, other: object) -> R:
        return _applied(_pow, other, self, other)  # type: ignore[no-any-return]

    def __matmul__(self, other: object) -> R:
        return _applied(_matmul, self, other, other)  # type: ignore[no-any-return]

    def __rmatmul__(self, other: object) -> R:
        return _applied(_matmul, other, self, other)  # type: ignore[no-any-return]

    def __divmod__(self, other: object) -> tuple[R, R]:
        return _applied(_divmod, self, other, other)  # type: ignore[no-any-return]

    def __rdivmod__(self, other: object) -> tuple[R, R]:
        return _applied(_divmod, other, self, other)  # type: ignore[no-any-return]

    def __neg__(self) -> R:
        return ew.neg(self)  # type: ignore[return-value]

    def __pos__(self: S) -> S:
        return self

    def __abs__(self) -> R:
        return ew.abs_(self)  # type: ignore[return-value]

    def __round__(self, ndigits: object = None) -> R:
        return _round(self, 0 if ndigits is None else ndigits)  # type: ignore[no-any-return]

    def __lshift__(self, other: object) -> R:
        return _shifted("left", self, other, other)  # type: ignore[no-any-return]

    def __rlshift__(self, other: object) -> R:
        return _shifted("left", other, self, other)  # type: ignore[no-any-return]

    def __rshift__(self, other: object) -> R:
        return _shifted("right", self, other, other)  # type: ignore[no-any-return]

    def __rrshift__(self, other: object) -> R:
        return _shifted("right", other, self, other)  # type: ignore[no-any-return]

    # ------------------------------------------------------------ comparison and logic

    def __eq__(self, other: object) -> R:  # type: ignore[override]
        return _applied(_eq, self, other, other)  # type: ignore[no-any-return]

    def __ne__(self, other: object) -> R:  # type: ignore[override]
        return _applied(_ne, self, other, other)  # type: ignore[no-any-return]

    def __lt__(self, other: object) -> R:
        return _applied(_lt, self, other, other)  # type: ignore[no-any-return]

    def __le__(self, other: object) -> R:
        return _applied(_le, self, other, other)  # type: ignore[no-any-return]

    def __gt__(self, other: object) -> R:
        return _applied(_gt, self, other, other)  # type: ignore[no-any-return]

    def __ge__(self, other: object) -> R:
        return _applied(_ge, self, other, other)  # type: ignore[no-any-return]

    def __and__(self, other: object) -> R:
        return _applied(_and, self, other, other)  # type: ignore[no-any-return]

    def __or__(self, other: object) -> R:
        return _applied(_or, self, other, other)  # type: ignore[no-any-return]

    def __xor__(self, other: object) -> R:
        return _applied(_xor, self, other, other)  # type: ignore[no-any-return]

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__

    __hash__ = object.__hash__

    def __invert__(self) -> R:
        return ew.invert(self)  # type: ignore[return-value]

    # ------------------------------------------------------------ element-wise

    add: Method[R] = public(composite.add)
    sub: Method[R] = public(composite.sub)
    subtract: Method[R] = sub
    mul: Method[R] = _mul
    multiply: Method[R] = mul
    div: Method[R] = public(composite.div)
    divide: Method[R] = div
    true_divide: Method[R] = div
    floor_divide: Method[R] = _floor_divide
    remainder: Method[R] = _remainder
    pow: Method[R] = _pow
    maximum: Method[R] = public(ew.maximum)
    minimum: Method[R] = public(ew.minimum)
    clip: Method[R] = public(bounds.clip)
    clamp: Method[R] = clip
    clamp_min: Method[R] = public(bounds.clamp_min, min=operand)
    clamp_max: Method[R] = public(bounds.clamp_max, max=operand)
    neg: Method[R] = public(ew.neg)
    negative: Method[R] = neg
    abs: Method[R] = public(ew.abs_)
    absolute: Method[R] = abs
    sign: Method[R] = apart(public(ew.sign))
    sgn: Method[R] = sign
    exp: Method[R] = public(ew.exp)
    log: Method[R] = public(ew.log)
    log1p: Method[R] = public(ew.log1p)
    log2: Method[R] = public(ew.log2)
    log10: Method[R] = public(ew.log10)
    expm1: Method[R] = public(ew.expm1)
    sqrt: Method[R] = public(ew.sqrt)
    rsqrt: Method[R] = public(composite.rsqrt)
    square: Method[R] = public(composite.square)
    reciprocal: Method[R] = public(composite.reciprocal)
    sin: Method[R] = public(ew.sin)
    cos: Method[R] = public(ew.cos)
    tan: Method[R] = public(composite.tan)
    erf: Method[R] = public(ew.erf)
    tanh: Method[R] = public(ew.tanh)
    sigmoid: Method[R] = public(ew.sigmoid)
    relu: Method[R] = public(ew.relu)
    floor: Method[R] = apart(public(ew.floor))
    ceil: Method[R] = apart(public(ew.ceil))
    round: Method[R] = apart(public(ew.round_))
    eq: Method[R] = _eq
    ne: Method[R] = _ne
    not_equal: Method[R] = ne
    lt: Method[R] = _lt
    less: Method[R] = lt
    le: Method[R] = _le
    less_equal: Method[R] = le
    gt: Method[R] = _gt
    greater: Method[R] = gt
    ge: Method[R] = _ge
    greater_equal: Method[R] = ge
    logical_and: Method[R] = public(composite.logical_and)
    logical_or: Method[R] = public(composite.logical_or)
    logical_xor: Method[R] = public(composite.logical_xor)
    logical_not: Method[R] = public(composite.logical_not)
    isnan: Method[R] = public(ew.isnan)
    isinf: Method[R] = public(composite.isinf)
    isfinite: Method[R] = public(composite.isfinite)
    isclose: Method[R] = public(composite.isclose)
    bitwise_and: Method[R] = _and
    bitwise_or: Method[R] = _or
    bitwise_xor: Method[R] = _xor
    bitwise_not: Method[R] = public(ew.invert, "bitwise_not")

    def where(self, condition: object, other: object) -> R:
        """This where ``condition`` holds, else ``other``."""
        return _where(condition, self, other)  # type: ignore[no-any-return]

    # ------------------------------------------------------------ element type

    def to(self: S, *args: object, dtype: object = None, device: object = None, copy: bool = False) -> S:
        """With another element type: ``t.to("float64")`` or ``t.to(other)``; ``t.to("cpu")``, where it is already."""
        for given in args:
            if isinstance(given, AbstractTensor):
                dtype = given.type.dtype
            elif is_device(given):
                device = given
            elif not isinstance(given, bool):
                dtype = given
        if (args and args[0] is None) or not (args or dtype is not None or device is not None):
            raise OptionError(f"to: give an element type, one of {', '.join(DTYPES)}")
        check_device("to", device)
        return self if dtype is None else ew.cast(self, dtype)

    def astype(self: S, dtype: object, copy: bool = True) -> S:
        """With another element type."""
        return ew.cast(self, dtype)

    def type_as(self: S, other: AbstractTensor) -> S:
        """With the element type of ``other``."""
        return self.to(tensor("type_as", "other", other, self))

    def float(self: S) -> S:
        """As float32."""
        return ew.cast(self, "float32")

    def double(self: S) -> S:
        """As float64."""
        return ew.cast(self, "float64")

    def long(self: S) -> S:
        """As int64."""
        return ew.cast(self, "int64")

    def int(self: S) -> S:
        """As int32."""
        return ew.cast(self, "int32")

    def bool(self: S) -> S:
        """As bools: whether each element is not 0."""
        return ew.cast(self, "bool")

    # ------------------------------------------------------------ reduction

    sum: Method[R] = public(reduce.sum)
    prod: Method[R] = public(reduce.prod)
    mean: Method[R] = public(reduce.mean)
    var: Method[R] = public(reduce.var)
    std: Method[R] = public(reduce.std)
    amax: Method[R] = public(reduce.amax)
    amin: Method[R] = public(reduce.amin)
    max: Method[Any] = public(reduce.max)
    min: Method[Any] = public(reduce.min)
    argmax: Method[R] = public(reduce.argmax)
    argmin: Method[R] = public(reduce.argmin)
    cumsum: Method[R] = public(reduce.cumsum)
    logsumexp: Method[R] = public(reduce.logsumexp)
    all: Method[R] = public(composite.all_)
    any: Method[R] = public(composite.any_)
    count_nonzero: Method[R] = public(composite.count_nonzero)
    norm: Method[R] = public(composite.norm, p=order)
    sum_to = reduce.sum_to
    piece = slices.piece

    # ------------------------------------------------------------ shape and indexing

    reshape: Method[R] = public(sh.reshape)
    view: Method[R] = reshape
    flatten: Method[R] = public(sh.flatten)
    permute: Method[R] = public(sh.permute)
    transpose: Method[R] = public(sh.transpose)
    swapaxes: Method[R] = transpose
    swapdims: Method[R] = transpose
    movedim: Method[R] = public(composite.movedim, destination=None)
    moveaxis: Method[R] = movedim
    unflatten: Method[R] = public(sh.unflatten)
    tile: Method[R] = apart(public(sh.tile))
    repeat: Method[R] = apart(public(sh.repeat))
    expand: Method[R] = public(sh.expand)
    broadcast_to: Method[R] = public(sh.broadcast_to)
    squeeze: Method[R] = public(sh.squeeze)
    unsqueeze: Method[R] = public(sh.unsqueeze)
    repeat_interleave: Method[R] = apart(public(repeats.repeat_interleave, output_size=None))
    narrow: Method[R] = public(slices.narrow)
    gather: Method[R] = public(indexing.gather)
    take_along_dim: Method[R] = public(indexing.take_along_dim)
    split: Method[tuple[R, ...]] = public(slices.split)
    chunk: Method[tuple[R, ...]] = public(slices.chunk)
    unbind: Method[tuple[R, ...]] = public(slices.unbind)
    flip: Method[R] = apart(public(slices.flip))
    fliplr: Method[R] = apart(public(slices.fliplr))
    flipud: Method[R] = apart(public(slices.flipud))
    roll: Method[R] = apart(public(slices.roll))
    index_select: Method[R] = public(indexing.index_select)
    masked_fill: Method[R] = public(indexing.masked_fill, value=filling)
    softmax: Method[R] = public(normal.softmax)
    log_softmax: Method[R] = public(normal.log_softmax)
    matmul: Method[R] = _matmul
    mm: Method[R] = public(composite.mm)
    mv: Method[R] = public(composite.mv)
    bmm: Method[R] = public(linalg.bmm)
    dot: Method[R] = public(linalg.dot)
    outer: Method[R] = public(linalg.outer)
    t: Method[R] = public(composite.transposed)
    tril: Method[R] = public(diagonals.tril)
    triu: Method[R] = public(diagonals.triu)

    def ravel(self: S) -> S:
        """As one axis."""
        return sh.flatten(self)

    def reshape_as(self: S, other: AbstractTensor) -> S:
        """In the shape of ``other``."""
        return sh.reshape(self, tensor("reshape_as", "other", other, self).type.shape)

    view_as = reshape_as

    def expand_as(self: S, other: AbstractTensor) -> S:
        """Broadcast to the shape of ``other``."""
        return sh.expand(self, tensor("expand_as", "other", other, self).type.shape)

    def __getitem__(self: S, key: object) -> S:
        return subscript.getitem(self, key)

    def __delitem__(self, key: object) -> None:
        raise OptionError("del x[...]: a tensor keeps its size; take what stays: x = x[1:], or lucid.cat of parts")

    @property
    def T(self: S) -> S:
        """The transpose of a matrix."""
        if self.type.rank != 2:
            raise OptionError(f"T is for matrices; this tensor is {self.type}; use mT, permute or transpose")
        return sh.transpose(self, 0, 1)

    @property
    def mT(self: S) -> S:  # noqa: N802 - NumPy's name
        """With the last two axes exchanged."""
        if self.type.rank < 2:
            raise OptionError(f"mT is for matrices and batches of them; this tensor is {self.type}")
        return sh.transpose(self, -2, -1)
