"""NumPy's functions on tensors: ``np.exp(t)`` and ``np.mean(t)`` apply the corresponding ops.

So gradients flow through them, and they are recorded while a model is traced. A NumPy function without such an op runs
on the arrays of tensors and returns arrays; for a tensor with a history it raises, with advice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import GradientError, OptionError, TraceError
from ..graph import math_methods, selection_methods
from ..graph.math_methods import MathMethods
from ..graph.opdef import AbstractTensor
from ..graph.ops import (
    bounds,
    composite,
    cumulative,
    diagonals,
    indexing,
    linalg,
    parts,
    products,
    reduce,
    slices,
    special,
    statistics,
)  # fmt: skip
from ..graph.ops import elementwise as ew
from ..graph.ops import pad as padding
from ..graph.ops import shape as sh
from ..graph.ops import trigonometry as tr
from ..graph.ops.einsum import einsum
from ..graph.ops.repeats import repeat_interleave
from ..graph.ops.source import full
from ..graph.public import public, scalar, tensor
from ..graph.rare_methods import RareMethods
from ..graph.selection_methods import SelectionMethods
from ..graph.trace import active_trace, user_location
from ..graph.types import Axes, DType, float64, is_float

Function = Callable[..., Any]


def _seldom(name: str) -> Function:
    """A method that is looked up when it is first called."""
    return lambda *operands: getattr(RareMethods, name)(*operands)


_UFUNCS: Mapping[str, Function] = {
    "add": public(ew.add), "subtract": public(ew.sub), "multiply": public(ew.mul), "divide": public(ew.div),
    "floor_divide": public(ew.floor_divide), "remainder": public(ew.remainder), "power": public(ew.pow_),
    "float_power": public(special.float_power), "divmod": composite.divmod_, "matmul": public(linalg.matmul),
    "maximum": public(ew.maximum), "minimum": public(ew.minimum), "equal": public(composite.eq),
    "not_equal": public(composite.ne), "less": public(composite.lt), "less_equal": public(composite.le),
    "greater": public(composite.gt), "greater_equal": public(composite.ge),
    "logical_and": public(composite.logical_and), "logical_or": public(composite.logical_or),
    "logical_xor": public(composite.logical_xor), "logical_not": public(composite.logical_not),
    "bitwise_and": public(composite.bitwise_and), "bitwise_or": public(composite.bitwise_or),
    "bitwise_xor": public(composite.bitwise_xor), "invert": ew.invert, "negative": ew.neg, "positive": lambda x: x,
    "absolute": ew.abs_, "fabs": ew.abs_, "sign": ew.sign, "exp": ew.exp, "log": ew.log, "log2": ew.log2,
    "log10": ew.log10, "expm1": ew.expm1, "log1p": ew.log1p, "sqrt": ew.sqrt,
    "square": composite.square, "reciprocal": composite.reciprocal, "sin": ew.sin, "cos": ew.cos,
    "tan": composite.tan, "tanh": ew.tanh, "floor": ew.floor, "ceil": ew.ceil, "rint": ew.round_,
    "isnan": ew.isnan, "isinf": composite.isinf, "isfinite": composite.isfinite, "signbit": special.signbit,
    "arcsin": tr.asin, "arccos": tr.acos, "arctan": tr.atan, "arctan2": public(tr.atan2), "sinh": tr.sinh,
    "cosh": tr.cosh, "arcsinh": tr.asinh, "arccosh": tr.acosh, "arctanh": tr.atanh, "trunc": composite.trunc,
    "hypot": public(special.hypot), "logaddexp": public(special.logaddexp), "logaddexp2": public(special.logaddexp2),
    "fmod": public(special.fmod), "copysign": public(special.copysign), "exp2": special.exp2,
    "left_shift": _seldom("bitwise_left_shift"), "right_shift": _seldom("bitwise_right_shift"),
    "deg2rad": special.deg2rad, "radians": special.deg2rad, "rad2deg": special.rad2deg, "degrees": special.rad2deg,
}  # fmt: skip
"""The functions by NumPy's names; those with one operand always get a tensor."""

_REDUCTIONS: Mapping[str, Function] = {
    "add": reduce.sum, "multiply": reduce.prod, "maximum": reduce.amax, "minimum": reduce.amin,
    "logical_and": composite.all_, "logical_or": composite.any_,
}  # fmt: skip


def apply_ufunc(ufunc: np.ufunc, method: str, inputs: Sequence[object], options: Mapping[str, object]) -> Any:
    """``ufunc(*inputs)``, or one of its methods, if an input is a tensor."""
    if not options and method == "__call__" and ufunc.__name__ in _UFUNCS:
        return _UFUNCS[ufunc.__name__](*inputs)
    if method == "reduce" and ufunc.__name__ in _REDUCTIONS and set(options) <= {"axis", "keepdims"}:
        axis = options.get("axis", 0)
        return _over(_REDUCTIONS[ufunc.__name__], inputs[0], axis, options.get("keepdims", False))
    return _on_arrays(f"np.{ufunc.__name__}", getattr(ufunc, method), inputs, options)


def apply_function(function: Function, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Call a NumPy function other than a ufunc, if an argument is a tensor."""
    known = _FUNCTIONS.get(function.__name__)
    if known is not None and getattr(np, function.__name__, None) is function:
        return known(*args, **kwargs)
    if function is np.linalg.norm:
        return _norm(*args, **kwargs)
    return _on_arrays(f"np.{function.__name__}", function, args, kwargs)


def _on_arrays(name: str, function: Function, args: Sequence[Any], kwargs: Mapping[str, object]) -> object:
    def plain(value: Any) -> Any:
        if isinstance(value, AbstractTensor):
            if active_trace.get() is not None:
                raise TraceError(
                    f"{name} has no op behind it, so it cannot be part of a traced model ({user_location()}): use "
                    f"tensor operations, or compute it outside the compiled model and pass it in"
                )
            if getattr(value, "requires_grad", False):
                raise GradientError(
                    f"{name} has no op behind it, so no gradient would flow through it: use tensor operations, or "
                    f"say that none shall with {name}(t.detach().numpy())"
                )
            return np.asarray(value)
        if type(value) in (list, tuple):
            return type(value)(map(plain, value))
        return value

    arrays = [plain(value) for value in args]
    try:
        return function(*arrays, **{key: plain(value) for key, value in kwargs.items()})
    except ValueError as error:
        if "read-only" not in str(error):
            raise
        raise OptionError(
            f"{name} writes into an array, and those of tensors are read-only: give it np.array(t), and t.copy_() what "
            f"comes of it"
        ) from error


# ---------------------------------------------------------------- functions, with NumPy's arguments


def _over(function: Function, a: Any, axis: object, keepdims: object) -> Any:
    """``function`` over axes; for an empty tuple, each element is reduced alone (PyTorch would take all axes)."""
    if reduce.names_none(axis):
        return function(sh.unsqueeze(a, -1), -1, False)
    return function(a, axis, bool(keepdims))


def _reduction(function: Function) -> Function:
    def reduced(
        a: AbstractTensor, axis: object = None, dtype: object = None, out: None = None, keepdims: object = False
    ) -> Any:
        if out is not None:
            raise OptionError("out= is not possible with tensors; use the result")
        return _over(function, a if dtype is None else ew.cast(a, dtype), axis, keepdims)

    return reduced


def _mean(function: Function) -> Function:
    """As NumPy, compute means of bools and integers in float64: ``np.mean(predicted == labels)``."""
    reduced = _reduction(function)

    def mean(
        a: AbstractTensor, axis: object = None, dtype: object = None, out: None = None, keepdims: object = False
    ) -> Any:
        return reduced(a, axis, dtype or _floating(a), out, keepdims)

    return mean


def _floating(a: AbstractTensor) -> DType | None:
    return None if is_float(a.type.dtype) else float64


def _where(condition: object, *choices: object) -> object:
    return _choice(condition, *choices) if choices else _on_arrays("np.where", np.where, (condition,), {})


def _outer(a: AbstractTensor, b: AbstractTensor) -> object:
    return _product(_flat(a), _flat(b))


def _flat(x: AbstractTensor | npt.ArrayLike) -> object:
    return sh.flatten(x) if isinstance(x, AbstractTensor) else np.ravel(x)


def _spread(function: Function) -> Function:
    def reduced(
        a: AbstractTensor,
        axis: object = None,
        dtype: object = None,
        out: None = None,
        ddof: float = 0,
        keepdims: object = False,
    ) -> Any:
        reduced = _reduction(lambda x, dim, keepdim: function(x, dim, ddof, keepdim))
        return reduced(a, axis, dtype or _floating(a), out, keepdims)

    return reduced


def _chosen(function: Function) -> Function:
    return lambda a, axis=None, out=None, *, keepdims=False: _over(function, a, axis, keepdims)


def _norm(x: AbstractTensor, ord: Any = None, axis: Axes = None, keepdims: bool = False) -> Any:
    matrix = (axis is None and x.type.rank == 2) or isinstance(axis, tuple | list)
    if ord is not None and matrix and ord != "fro":
        return _on_arrays("np.linalg.norm", np.linalg.norm, (x, ord, axis, keepdims), {})
    return composite.norm(x, 2.0 if ord in (None, "fro") else ord, axis, keepdims)


def _repeat(a: AbstractTensor, repeats: object, axis: int | None = None) -> AbstractTensor:
    return repeat_interleave(a, repeats, axis)


def _transpose(a: AbstractTensor, axes: Sequence[int] | None = None) -> AbstractTensor:
    return sh.permute(a, tuple(range(a.type.rank))[::-1] if axes is None else tuple(axes))


def _split(ary: AbstractTensor, indices_or_sections: Any, axis: int = 0) -> list[AbstractTensor]:
    size = ary.type.shape[sh.normal_axis("np.split", axis, ary.type.rank)]
    if isinstance(indices_or_sections, int):
        if not isinstance(size, int) or size % indices_or_sections:
            raise OptionError(f"np.split: {size} elements do not divide into {indices_or_sections} equal parts")
        return list(slices.split(ary, size // indices_or_sections, axis))
    ends = [*indices_or_sections, size]
    return list(slices.split(ary, [b - a for a, b in zip([0, *ends], ends, strict=False)], axis))


def _pad(
    array: AbstractTensor, pad_width: npt.ArrayLike, mode: str = "constant", constant_values: float = 0.0
) -> AbstractTensor:
    pairs = np.broadcast_to(np.asarray(pad_width), (array.type.rank, 2)).tolist()
    names = {"wrap": "circular", "edge": "replicate"}
    flat = [amount for pair in reversed(pairs) for amount in pair]
    return padding.pad(array, flat, names.get(mode, mode), constant_values if mode == "constant" else None)


def _dot(a: AbstractTensor, b: AbstractTensor) -> object:
    scalar = any(np.ndim(x) == 0 if not isinstance(x, AbstractTensor) else x.type.rank == 0 for x in (a, b))
    return (_UFUNCS["multiply"] if scalar else _UFUNCS["matmul"])(a, b)


def _running(function: Function) -> Function:
    return lambda a, axis=None: function(sh.flatten(a), 0) if axis is None else function(a, axis)


def _diff(a: object, n: int = 1, axis: int = -1, prepend: object = None, append: object = None) -> object:
    return _differences(a, n, axis, prepend, append)


def _trapezoid(y: object, x: object = None, dx: float = 1.0, axis: int = -1) -> object:
    return _area(y, x, dx=dx, dim=axis)


def _isin(
    element: object, test_elements: object, assume_unique: bool = False, invert: bool = False, kind: object = None
) -> object:
    return _among(element, test_elements, assume_unique, invert)


def _searchsorted(a: object, v: object, side: str = "left", sorter: object = None) -> object:
    return _search(a, v, side=side, sorter=sorter)


def _filled(value: Any) -> Function:
    value = scalar("np.full_like", "fill_value", value, None)
    return lambda a, dtype=None: full(a, value, None, None if dtype is None else np.dtype(dtype))


_concat, _stack = public(sh.concat), public(sh.stack)
_choice, _product = public(ew.where), public(linalg.outer)
_numbered, _differences = vars(MathMethods)["nan_to_num"], vars(SelectionMethods)["diff"]
_among, _search, _area, _tensordot = (
    selection_methods.isin, selection_methods.searchsorted, math_methods.trapezoid, math_methods.tensordot,
)  # fmt: skip

_FUNCTIONS: Mapping[str, Function] = {
    "sum": _reduction(reduce.sum), "prod": _reduction(reduce.prod), "mean": _mean(reduce.mean),
    "max": _chosen(reduce.amax), "min": _chosen(reduce.amin),
    "amax": _chosen(reduce.amax), "amin": _chosen(reduce.amin),
    "std": _spread(lambda a, *rest: ew.sqrt(reduce.var(a, *rest))), "var": _spread(reduce.var),
    "argmax": _chosen(reduce.argmax), "argmin": _chosen(reduce.argmin),
    "all": _chosen(composite.all_), "any": _chosen(composite.any_),
    "cumsum": _running(reduce.cumsum), "cumprod": _running(cumulative.cumprod),
    "nansum": _reduction(statistics.nansum), "nanmean": _mean(statistics.nanmean),
    "nan_to_num": lambda x, copy=True, nan=0.0, posinf=None, neginf=None: _numbered(x, nan, posinf, neginf),
    "sinc": special.sinc, "diff": _diff, "trapezoid": _trapezoid, "isin": _isin, "searchsorted": _searchsorted,
    "diag": diagonals.diag, "diagonal": diagonals.diagonal, "tril": diagonals.tril, "triu": diagonals.triu,
    "trace": lambda a, offset=0, axis1=0, axis2=1: reduce.sum(diagonals.diagonal(a, offset, axis1, axis2), -1),
    "rot90": lambda m, k=1, axes=(0, 1): parts.rot90(m, k, axes),
    "kron": public(products.kron, a=tensor, b=tensor), "inner": public(products.inner, a=tensor, b=tensor),
    "vdot": lambda a, b: _UFUNCS["matmul"](_flat(a), _flat(b)),
    "tensordot": lambda a, b, axes=2: _tensordot(a, b, axes),
    "concatenate": lambda arrays, axis=0: _concat(arrays, axis), "stack": lambda arrays, axis=0: _stack(arrays, axis),
    "reshape": lambda a, shape, **_: sh.reshape(a, *(shape if isinstance(shape, tuple | list) else (shape,))),
    "ravel": lambda a, order="C": sh.flatten(a), "transpose": _transpose,
    "swapaxes": sh.transpose, "moveaxis": composite.movedim, "squeeze": lambda a, axis=None: sh.squeeze(a, axis),
    "expand_dims": lambda a, axis: sh.unsqueeze(a, axis), "broadcast_to": lambda a, shape: sh.broadcast_to(a, shape),
    "where": _where, "clip": lambda a, a_min=None, a_max=None: bounds.clip(a, a_min, a_max),
    "dot": _dot, "outer": _outer, "einsum": lambda *operands: einsum(*operands),
    "flip": lambda m, axis=None: slices.flip(m, *(range(m.type.rank) if axis is None else (axis,))),
    "roll": lambda a, shift, axis=None: slices.roll(a, shift, axis), "split": _split,
    "tile": lambda a, reps: sh.tile(a, *(reps if isinstance(reps, tuple | list) else (reps,))), "repeat": _repeat,
    "take_along_axis": lambda a, indices, axis=-1: indexing.take_along_dim(a, indices, axis), "pad": _pad,
    "round": lambda a, decimals=0: ew.round_(a, decimals), "around": lambda a, decimals=0: ew.round_(a, decimals),
    "zeros_like": _filled(0), "ones_like": _filled(1), "empty_like": _filled(0),
    "full_like": lambda a, fill_value, dtype=None: _filled(fill_value)(a, dtype),
    "shape": lambda a: a.shape, "ndim": lambda a: a.type.rank,
    "size": lambda a, axis=None: a.numel() if axis is None else a.shape[axis],
}  # fmt: skip


class NumPyProtocol:
    """The methods of a tensor that NumPy calls."""

    __slots__ = ()

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: object, **options: object) -> Any:
        return apply_ufunc(ufunc, method, inputs, options)

    def __array_function__(self, function: Function, types: Any, args: Any, kwargs: Any) -> Any:
        return apply_function(function, args, kwargs)
