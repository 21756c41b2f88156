"""In-place variants of functions as tensor methods: ``x.exp_()`` sets ``x`` to ``x.exp()``.

They are derived here from the functions of the same names. The checks before a change, and how the tensor takes on the
result, are the same for all (:mod:`.inplace`, :mod:`.views`, :mod:`.tracing`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np

from ..base.arrays import Array
from ..base.lazy import LazyModule
from ..graph.operators import Operators
from ..graph.ops.elementwise import where
from ..graph.ops.promotion import cast
from ..graph.trace import active_trace
from .grad_mode import is_grad_enabled

Method: TypeAlias = Callable[..., Any]

rare, draws = LazyModule("lucid.graph.rare"), LazyModule("lucid.graph.draws")


def wants_gradient(x: object) -> bool:
    """Whether it is a tensor whose history a change has to record."""
    if active_trace.get() is not None:  # where the property raises, for code that would branch on it
        return bool(getattr(x, "_requires_grad", False))
    return isinstance(x, Changes) and bool(getattr(x, "requires_grad", False))


def changing(name: str, function: Method) -> Method:
    """The function ``name_``, which sets its first argument, a tensor, to the result of ``function``."""

    def changed(self: Changes, *args: object, **kwargs: object) -> object:
        tracked = is_grad_enabled() and any(wants_gradient(x) for x in (self, *args, *kwargs.values()))
        source = self._before_change(tracked, f"{name}_")
        return self._become(f"{name}_", _level(source, function(source, *args, **kwargs), tracked))

    changed.__name__ = changed.__qualname__ = f"{name}_"
    changed.__doc__ = f"``{name}``, in place."
    return changed


def _method(name: str, space: LazyModule | None = None) -> Method:
    """The method ``name_``, which sets the tensor to the result of ``name``, a method or a function of ``space``."""
    if space is None:
        return changing(name, lambda source, *args, **kwargs: getattr(source, name)(*args, **kwargs))
    return changing(name, lambda source, *args, **kwargs: getattr(space, name)(source, *args, **kwargs))


def _methods(names: str) -> Iterator[Method]:
    """The in-place methods of several functions."""
    return map(_method, names.split())


def _operator(symbol: str, binary: Method) -> Method:
    """An in-place operator, such as ``+=``."""

    def changed(self: Changes, other: object) -> object:
        tracked = is_grad_enabled() and (wants_gradient(self) or wants_gradient(other))
        source = self._before_change(tracked, symbol)
        result = binary(source, other)
        return result if result is NotImplemented else self._become(symbol, _level(source, result, tracked))

    return changed


def _level(source: Any, result: Any, tracked: bool) -> object:
    """The result of a change. One whose op has no gradient, as a comparison, gets zeros: the history ends here."""
    if not tracked or active_trace.get() is not None or result.requires_grad or not source.requires_grad:
        return result
    fits = result.shape == source.shape  # else the change is refused
    return where(np.array(True), cast(result, source.dtype), source) if fits else result


class Changes:
    """The functions that change a tensor in place."""

    __slots__ = ()

    _array: Array

    def _before_change(self, tracked: bool, name: str) -> Any:
        """The value before a change, copied if the history still needs it."""
        raise NotImplementedError  # a tensor has its own

    def _become(self, name: str, result: Any) -> object:
        """Take on the result of a change, and its history."""
        raise NotImplementedError  # a tensor has its own

    add_, sub_, mul_, div_, pow_ = _methods("add sub mul div pow")
    subtract_, multiply_, divide_, true_divide_ = _methods("subtract multiply divide true_divide")
    floor_divide_, remainder_, fmod_, float_power_ = _methods("floor_divide remainder fmod float_power")
    clamp_, clip_, clamp_min_, clamp_max_ = _methods("clamp clip clamp_min clamp_max")
    neg_, negative_, abs_, absolute_, sign_, sgn_ = _methods("neg negative abs absolute sign sgn")
    exp_, exp2_, expm1_, log_, log2_, log10_, log1p_ = _methods("exp exp2 expm1 log log2 log10 log1p")
    sqrt_, rsqrt_, square_, reciprocal_ = _methods("sqrt rsqrt square reciprocal")
    sin_, cos_, tan_, asin_, acos_, atan_, atan2_ = _methods("sin cos tan asin acos atan atan2")
    arcsin_, arccos_, arctan_, arctan2_ = _methods("arcsin arccos arctan arctan2")
    sinh_, cosh_, tanh_, asinh_, acosh_, atanh_ = _methods("sinh cosh tanh asinh acosh atanh")
    arcsinh_, arccosh_, arctanh_, sinc_ = _methods("arcsinh arccosh arctanh sinc")
    deg2rad_, rad2deg_, hypot_, copysign_, heaviside_ = _methods("deg2rad rad2deg hypot copysign heaviside")
    erf_, erfc_, erfinv_, lgamma_, digamma_, polygamma_ = _methods("erf erfc erfinv lgamma digamma polygamma")
    sigmoid_, logit_, relu_, xlogy_ = _methods("sigmoid logit relu xlogy")
    floor_, ceil_, round_, trunc_, fix_, frac_ = _methods("floor ceil round trunc fix frac")
    nan_to_num_, lerp_, masked_fill_, cumsum_, cumprod_ = _methods("nan_to_num lerp masked_fill cumsum cumprod")
    eq_, ne_, lt_, le_, gt_, ge_ = _methods("eq ne lt le gt ge")
    not_equal_, less_, less_equal_ = _methods("not_equal less less_equal")
    greater_, greater_equal_ = _methods("greater greater_equal")
    logical_and_, logical_or_, logical_xor_, logical_not_ = _methods("logical_and logical_or logical_xor logical_not")
    bitwise_and_, bitwise_or_, bitwise_xor_, bitwise_not_ = _methods("bitwise_and bitwise_or bitwise_xor bitwise_not")
    bitwise_left_shift_, bitwise_right_shift_ = _methods("bitwise_left_shift bitwise_right_shift")
    scatter_, scatter_add_, scatter_reduce_ = _methods("scatter scatter_add scatter_reduce")
    index_add_, index_copy_, index_fill_ = _methods("index_add index_copy index_fill")
    index_put_, masked_scatter_, tril_, triu_ = _methods("index_put masked_scatter tril triu")
    addmm_, addcmul_, addcdiv_, baddbmm_ = _methods("addmm addcmul addcdiv baddbmm")
    addbmm_, addmv_, addr_, renorm_ = _methods("addbmm addmv addr renorm")
    gcd_, lcm_, ldexp_, nextafter_, mvlgamma_, i0_ = _methods("gcd lcm ldexp nextafter mvlgamma i0")
    index_reduce_, put_, fill_diagonal_ = *_methods("index_reduce put"), _method("fill_diagonal", rare)
    normal_, log_normal_, uniform_ = (_method(name, draws) for name in ("normal", "log_normal", "uniform"))
    exponential_, cauchy_, geometric_ = (_method(name, draws) for name in ("exponential", "cauchy", "geometric"))
    bernoulli_, random_ = (_method(name, draws) for name in ("bernoulli", "random"))

    __iadd__, __isub__ = _operator("+=", Operators.__add__), _operator("-=", Operators.__sub__)
    __imul__, __itruediv__ = _operator("*=", Operators.__mul__), _operator("/=", Operators.__truediv__)
    __ifloordiv__, __imod__ = _operator("//=", Operators.__floordiv__), _operator("%=", Operators.__mod__)
    __ipow__, __iand__ = _operator("**=", Operators.__pow__), _operator("&=", Operators.__and__)
    __ior__, __ixor__ = _operator("|=", Operators.__or__), _operator("^=", Operators.__xor__)
    __ilshift__, __irshift__ = _operator("<<=", Operators.__lshift__), _operator(">>=", Operators.__rshift__)
