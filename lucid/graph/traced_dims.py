"""Symbolic sizes as a model sees them while it is traced, and numbers computed from them."""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Callable
from typing import Any, NoReturn, TypeAlias

from ..errors import TraceError
from .dims import SymDim
from .opdef import AbstractTensor
from .ops.promotion import cast
from .ops.source import full
from .trace import active_trace, user_location
from .types import float32, float64, is_float

Operation: TypeAlias = Callable[[AbstractTensor, AbstractTensor], AbstractTensor]
"""An operation on two tensors."""


class TracedDim:
    """A symbolic size as a model sees it while it is traced: arithmetic works, branching on its value does not."""

    __slots__ = ("sym",)

    def __init__(self, dim: SymDim) -> None:
        self.sym = dim

    @staticmethod
    def wrap(dim: object) -> Any:
        return TracedDim(dim) if isinstance(dim, SymDim) else dim

    def _with(self, other: object, function: Callable[..., object]) -> object:
        """The result for two sizes; with a tensor or another number, the size is treated as a tensor."""
        if isinstance(other, AbstractTensor):
            return NotImplemented
        if isinstance(other, float | TracedNumber):
            return function(TracedNumber.of(self), other)
        return TracedDim.wrap(function(self.sym, other.sym if isinstance(other, TracedDim) else other))

    def __add__(self, other: object) -> object:
        return self._with(other, operator.add)

    def __sub__(self, other: object) -> object:
        return self._with(other, operator.sub)

    def __rsub__(self, other: object) -> object:
        return self._with(other, lambda mine, other: other - mine)

    def __mul__(self, other: object) -> object:
        return self._with(other, operator.mul)

    def __floordiv__(self, other: object) -> object:
        return self._with(other, operator.floordiv)

    def __rfloordiv__(self, other: object) -> object:
        return self._with(other, lambda mine, other: other // mine)

    def __mod__(self, other: object) -> object:
        return self._with(other, lambda mine, other: mine - mine // other * other)

    def __neg__(self) -> object:
        return TracedDim.wrap(-self.sym)

    def __truediv__(self, other: object) -> object:
        return NotImplemented if isinstance(other, AbstractTensor) else TracedNumber.of(self) / other

    def __rtruediv__(self, other: float | TracedNumber) -> object:
        return other / TracedNumber.of(self)

    def __pow__(self, other: object) -> object:
        if isinstance(other, AbstractTensor):
            return NotImplemented
        if type(other) is int and other >= 0:
            return TracedDim.wrap(functools.reduce(operator.mul, itertools.repeat(self.sym, other), 1))
        return TracedNumber.of(self) ** other

    __radd__ = __add__
    __rmul__ = __mul__

    def _refuse(self, *others: object) -> Any:
        if any(isinstance(other, AbstractTensor) for other in others):
            return NotImplemented  # as a tensor decides nothing, it answers itself
        trace = active_trace.get()
        if trace is not None and trace.tracer.is_found(self.sym):
            raise TraceError(
                f"the size {self.sym} depends on data, so its value is not known while the model is traced "
                f"({user_location()}). Keep to arithmetic on it, or decide on it outside the compiled model"
            )
        raise TraceError(
            f"the size {self.sym} is symbolic, so its value is not known while the model is traced "
            f"({user_location()}). Compile with that dimension fixed, lucid.spec with a number in its place, "
            f"or keep to arithmetic on it"
        )

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _refuse
    __bool__ = __int__ = __index__ = __float__ = __iter__ = _refuse
    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return str(self.sym)


def _compared(function: Operation) -> Callable[[TracedNumber, object], AbstractTensor]:
    """A comparison: with a tensor it gives a tensor; otherwise it raises, as a branch would depend on it."""

    def compared(self: TracedNumber, other: object) -> AbstractTensor:
        return function(self.beside(other), other) if isinstance(other, AbstractTensor) else self._refuse()

    return compared


Computed: TypeAlias = "TracedNumber | AbstractTensor"
"""The result of arithmetic with another operand."""


class TracedNumber:
    """A number computed from symbolic sizes that is not a size, such as ``rows.shape[0] / 2``: like a Python float.

    A tensor combined with it keeps its element type; until then it is computed in double precision, as without a trace.
    """

    __slots__ = ("_make", "_text")

    def __init__(self, make: Callable[[AbstractTensor], AbstractTensor], text: str) -> None:
        self._make, self._text = make, text if len(text) < 80 else "(…)"

    @staticmethod
    def of(value: TracedDim | float) -> TracedNumber:
        """A size or a plain number as a :class:`TracedNumber`."""
        number = value.sym if isinstance(value, TracedDim) else value
        return TracedNumber(lambda like: full(like, number, (), float64), str(number))

    def beside(self, x: AbstractTensor) -> AbstractTensor:
        """The number as a scalar to compute with ``x``, of its dtype if that is floating-point."""
        return cast(self._make(x), x.type.dtype if is_float(x.type.dtype) else float32)

    def _with(self, other: object, function: Operation, sign: str, *, reflected: bool = False) -> Computed:
        if isinstance(other, AbstractTensor):
            return function(other, self.beside(other)) if reflected else function(self.beside(other), other)
        if not isinstance(other, TracedNumber | TracedDim | int | float):
            return NotImplemented  # type: ignore[no-any-return]
        number = other if isinstance(other, TracedNumber) else TracedNumber.of(other)
        a, b = (number, self) if reflected else (self, number)
        return TracedNumber(lambda like: function(a._make(like), b._make(like)), f"({a!r} {sign} {b!r})")

    def __add__(self, other: object) -> Computed:
        return self._with(other, operator.add, "+")

    def __sub__(self, other: object) -> Computed:
        return self._with(other, operator.sub, "-")

    def __rsub__(self, other: object) -> Computed:
        return self._with(other, operator.sub, "-", reflected=True)

    def __mul__(self, other: object) -> Computed:
        return self._with(other, operator.mul, "*")

    def __truediv__(self, other: object) -> Computed:
        return self._with(other, operator.truediv, "/")

    def __rtruediv__(self, other: object) -> Computed:
        return self._with(other, operator.truediv, "/", reflected=True)

    def __pow__(self, other: object) -> Computed:
        return self._with(other, operator.pow, "**")

    def __rpow__(self, other: object) -> Computed:
        return self._with(other, operator.pow, "**", reflected=True)

    __radd__ = __add__
    __rmul__ = __mul__

    def __neg__(self) -> TracedNumber:
        return TracedNumber(lambda like: -self._make(like), f"-{self!r}")

    def _refuse(self) -> NoReturn:
        raise TraceError(
            f"the number {self!r} is computed from sizes that are not known while the model is traced "
            f"({user_location()}). Keep to arithmetic on it, or decide on it outside the compiled model"
        )

    __eq__, __ne__, __lt__, __le__, __gt__, __ge__ = map(  # type: ignore[assignment]
        _compared, (operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge)
    )
    __bool__ = __int__ = __float__ = __round__ = __iter__ = _refuse
    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return self._text
