"""Element-wise ops, with NumPy broadcasting and PyTorch's promotion of element types."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import DTypeError, OptionError
from ..dims import Dim, SymDim
from ..opdef import NO_GRADIENT, AbstractTensor, Attrs, GradContext, GradientRule, NoAttrs, NoGradient, OpDef, T, apply, register
from ..types import DType, TensorType, as_dtype, bool_, broadcast_shapes, float32, int64, is_float
from .source import constant, full

# ---------------------------------------------------------------- promotion of element types


def _category(dtype: DType) -> int:
    return {"b": 0, "u": 1, "i": 1, "f": 2}[dtype.kind]


def _number_category(value: object) -> int:
    return 0 if isinstance(value, bool | np.bool_) else 2 if isinstance(value, float | np.floating) else 1


def promoted(a: DType, b: DType) -> DType:
    """The dtype of ``a op b``: the wider of the higher kind (bool < integer < float), as in PyTorch."""
    if _category(a) != _category(b):
        return a if _category(a) > _category(b) else b
    return as_dtype(np.promote_types(a, b))


def promote(*operands: Any) -> list[Any]:
    """Bring tensors, arrays and numbers to one dtype; a number is weak and only raises the kind."""
    operands = tuple(getattr(x, "sym", x) for x in operands)
    world = next(x for x in operands if isinstance(x, AbstractTensor))
    values = [constant(world, x) if isinstance(x, np.ndarray | list | tuple) else x for x in operands]
    dtypes = [x.type.dtype for x in values if isinstance(x, AbstractTensor)]
    dtype = dtypes[0]
    for other in dtypes[1:]:
        dtype = promoted(dtype, other)
    for x in values:
        if not isinstance(x, AbstractTensor):
            if not isinstance(x, bool | int | float | np.generic | SymDim):
                raise DTypeError(f"an operand is neither a tensor nor a number: {type(x).__name__}")
            if _number_category(x) > _category(dtype):
                dtype = float32 if _number_category(x) == 2 else int64
    return [
        cast(x, dtype) if isinstance(x, AbstractTensor) else full(world, _plain(x), (), dtype) for x in values
    ]


def _plain(x: Any) -> bool | int | float | Dim:
    return x.item() if isinstance(x, np.generic) else x


def _floating(x: T) -> T:
    return x if is_float(x.type.dtype) else cast(x, float32)


# ---------------------------------------------------------------- type rules


def _same(attrs: Attrs, x: TensorType) -> TensorType:
    return TensorType(x.shape, x.dtype)


def _float(op: str) -> Callable[[Attrs, TensorType], TensorType]:
    def infer(attrs: Attrs, x: TensorType) -> TensorType:
        if not is_float(x.dtype):
            raise DTypeError(f"{op}: needs a floating-point tensor, got {x}")
        return TensorType(x.shape, x.dtype)

    return infer


def _number(op: str) -> Callable[[Attrs, TensorType], TensorType]:
    def infer(attrs: Attrs, x: TensorType) -> TensorType:
        if x.dtype == bool_:
            raise DTypeError(f"{op}: not defined for bool")
        return TensorType(x.shape, x.dtype)

    return infer


def _broadcast(op: str, result: DType | None = None) -> Callable[..., TensorType]:
    def infer(attrs: Attrs, *inputs: TensorType) -> TensorType:
        if len({x.dtype for x in inputs}) > 1:
            raise DTypeError(f"{op}: element types differ: {' and '.join(map(str, inputs))}")
        return TensorType(broadcast_shapes(op, *(x.shape for x in inputs)), result or inputs[0].dtype)

    return infer


# ---------------------------------------------------------------- definitions


def _unary(
    name: str,
    gradient: GradientRule | NoGradient,
    infer: Callable[..., TensorType] | None = None,
    attrs: type[Attrs] = NoAttrs,
    *,
    monotone: bool = False,
) -> OpDef:
    return register(OpDef(name, infer or _float(name), gradient, attrs=attrs, elementwise=True, monotone=monotone))


def _binary(
    name: str, gradient: GradientRule | NoGradient, result: DType | None = None, *, commutative: bool = False
) -> OpDef:
    return register(
        OpDef(
            name, _broadcast(name, result), gradient, inputs=("a", "b"), elementwise=True, commutative=commutative
        )
    )


def _reduced(c: GradContext, *gradients: Callable[[], Any]) -> list[Any | None]:
    """Each wanted gradient, summed over the axes along which its input was broadcast."""
    return [
        g().sum_to(x.type.shape) if wanted else None
        for g, x, wanted in zip(gradients, c.inputs, c.wanted, strict=True)
    ]


def _from_output(rule: Callable[[Any], Any]) -> GradientRule:
    return lambda c: [c.dy * rule(c.outputs[0])]


def _from_input(rule: Callable[[Any], Any]) -> GradientRule:
    return lambda c: [c.dy * rule(c.inputs[0])]


def _zero_unless(condition: Any, dy: Any) -> Any:
    """``dy`` where ``condition`` holds, else 0 (a product would turn inf into NaN)."""
    return where(condition, dy, 0.0)


@dataclass(frozen=True)
class CastAttrs(Attrs):
    dtype: DType


@dataclass(frozen=True)
class AlphaAttrs(Attrs):
    alpha: float = 1.0


@dataclass(frozen=True)
class GeluAttrs(Attrs):
    """``approximate`` is "none" or "tanh"."""

    approximate: str = "none"


@dataclass(frozen=True)
class SoftplusAttrs(Attrs):
    beta: float = 1.0
    threshold: float = 20.0


@dataclass(frozen=True)
class ClipAttrs(Attrs):
    low: float | None = None
    high: float | None = None


def _cast_infer(attrs: CastAttrs, x: TensorType) -> TensorType:
    return TensorType(x.shape, attrs.dtype)


def _cast_gradient(c: GradContext) -> list[Any | None]:
    source = c.inputs[0].type.dtype
    return [cast(c.dy, source) if is_float(source) and is_float(c.attrs.dtype) else None]


def _gelu_slope(x: Any, approximate: str) -> Any:
    if approximate == "tanh":
        k = math.sqrt(2 / math.pi)
        t = tanh(k * (x + 0.044715 * x * x * x))
        return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * (k * (1 + 3 * 0.044715 * x * x))
    return 0.5 * (1 + erf(x * math.sqrt(0.5))) + x * exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))


def _softplus_gradient(c: GradContext) -> list[Any]:
    x, a = c.inputs[0], c.attrs
    return [where(x * a.beta > a.threshold, c.dy, c.dy * sigmoid(x * a.beta))]


def _clip_gradient(c: GradContext) -> list[Any]:
    x, dy = c.inputs[0], c.dy
    if c.attrs.low is not None:
        dy = _zero_unless(x >= c.attrs.low, dy)
    if c.attrs.high is not None:
        dy = _zero_unless(x <= c.attrs.high, dy)
    return [dy]


def _elu_gradient(c: GradContext) -> list[Any]:
    x, alpha = c.inputs[0], c.attrs.alpha
    return [c.dy * where(x > 0, full(x, 1.0, ()), alpha * exp(minimum(x, 0.0)))]


def _silu_slope(x: Any) -> Any:
    s = sigmoid(x)
    return s * (1 + x * (1 - s))


def _pow_gradient(c: GradContext) -> list[Any | None]:
    a, b = c.inputs
    return _reduced(
        c,
        lambda: where(b == 0, full(a, 0.0, ()), c.dy * b * a ** (b - 1)),
        # 0**b is 0 (or 1) around any b >= 0, so its slope in b is 0 there, not 0 * log(0)
        lambda: where((a == 0) & (b >= 0), full(a, 0.0, ()), c.dy * c.outputs[0] * log(a)),
    )


def _extremum_gradient(wins: Callable[[Any, Any], Any]) -> GradientRule:
    """The larger (smaller) operand takes the gradient; equal ones take half each, as in PyTorch."""

    def rule(c: GradContext) -> list[Any | None]:
        a, b = c.inputs
        half = where(a == b, c.dy * 0.5, 0.0)
        return _reduced(
            c, lambda: where(wins(a, b) | (a != a), c.dy, half), lambda: where(wins(b, a) | (b != b), c.dy, half)
        )

    return rule


CAST = _unary("Cast", _cast_gradient, _cast_infer, CastAttrs)
NEG = _unary("Neg", lambda c: [-c.dy], _number("Neg"))
ABS = _unary("Abs", _from_input(lambda x: sign(x)), _number("Abs"))
SIGN = _unary("Sign", NO_GRADIENT, _number("Sign"), monotone=True)
EXP = _unary("Exp", _from_output(lambda y: y), monotone=True)
LOG = _unary("Log", lambda c: [c.dy / c.inputs[0]])
SQRT = _unary("Sqrt", lambda c: [c.dy * 0.5 / c.outputs[0]])
SIN = _unary("Sin", _from_input(lambda x: cos(x)))
COS = _unary("Cos", _from_input(lambda x: -sin(x)))
ERF = _unary("Erf", _from_input(lambda x: exp(-(x * x)) * (2 / math.sqrt(math.pi))), monotone=True)
TANH = _unary("Tanh", _from_output(lambda y: 1 - y * y), monotone=True)
SIGMOID = _unary("Sigmoid", _from_output(lambda y: y * (1 - y)), monotone=True)
RELU = _unary("Relu", lambda c: [_zero_unless(c.outputs[0] > 0, c.dy)], _number("Relu"), monotone=True)
LEAKY_RELU = _unary(
    "LeakyRelu", lambda c: [where(c.inputs[0] > 0, c.dy, c.dy * c.attrs.alpha)], attrs=AlphaAttrs
)
ELU = _unary("Elu", _elu_gradient, attrs=AlphaAttrs)
GELU = _unary("Gelu", lambda c: [c.dy * _gelu_slope(c.inputs[0], c.attrs.approximate)], attrs=GeluAttrs)
SILU = _unary("Silu", _from_input(_silu_slope))
SOFTPLUS = _unary("Softplus", _softplus_gradient, attrs=SoftplusAttrs)
CLIP = _unary("Clip", _clip_gradient, _number("Clip"), ClipAttrs, monotone=True)
FLOOR = _unary("Floor", NO_GRADIENT, monotone=True)
CEIL = _unary("Ceil", NO_GRADIENT, monotone=True)
ROUND = _unary("Round", NO_GRADIENT, monotone=True)
NOT = _unary("Not", NO_GRADIENT, _same)

ADD = _binary("Add", lambda c: _reduced(c, lambda: c.dy, lambda: c.dy), commutative=True)
SUB = _binary("Sub", lambda c: _reduced(c, lambda: c.dy, lambda: -c.dy))
MUL = _binary(
    "Mul", lambda c: _reduced(c, lambda: c.dy * c.inputs[1], lambda: c.dy * c.inputs[0]), commutative=True
)
DIV = _binary(
    "Div", lambda c: _reduced(c, lambda: c.dy / c.inputs[1], lambda: -c.dy * c.outputs[0] / c.inputs[1])
)
POW = _binary("Pow", _pow_gradient)
MAXIMUM = _binary("Maximum", _extremum_gradient(lambda a, b: a > b), commutative=True)
MINIMUM = _binary("Minimum", _extremum_gradient(lambda a, b: a < b), commutative=True)
EQUAL = _binary("Equal", NO_GRADIENT, bool_, commutative=True)
NOT_EQUAL = _binary("NotEqual", NO_GRADIENT, bool_, commutative=True)
LESS = _binary("Less", NO_GRADIENT, bool_)
LESS_EQUAL = _binary("LessEqual", NO_GRADIENT, bool_)
GREATER = _binary("Greater", NO_GRADIENT, bool_)
GREATER_EQUAL = _binary("GreaterEqual", NO_GRADIENT, bool_)
AND = _binary("And", NO_GRADIENT, commutative=True)
OR = _binary("Or", NO_GRADIENT, commutative=True)


def _where_infer(attrs: Attrs, condition: TensorType, a: TensorType, b: TensorType) -> TensorType:
    if condition.dtype != bool_:
        raise DTypeError(f"Where: the condition must be bool, got {condition}")
    if a.dtype != b.dtype:
        raise DTypeError(f"Where: element types differ: {a} and {b}")
    return TensorType(broadcast_shapes("Where", condition.shape, a.shape, b.shape), a.dtype)


def _where_gradient(c: GradContext) -> list[Any | None]:
    condition = c.inputs[0]
    return _reduced(
        c, lambda: None, lambda: where(condition, c.dy, 0.0), lambda: where(condition, 0.0, c.dy)
    )


WHERE = register(
    OpDef("Where", _where_infer, _where_gradient, inputs=("condition", "a", "b"), elementwise=True)
)


# ---------------------------------------------------------------- functions


def cast(x: T, dtype: object) -> T:
    """``x`` with another element type; itself if it has that already."""
    wanted = as_dtype(dtype)
    if x.type.dtype == wanted:
        return x
    result: T = apply(CAST, CastAttrs(wanted), x)
    return result


def _simple(op: OpDef, *, floating: bool = True) -> Callable[[T], T]:
    def function(x: T) -> T:
        result: T = apply(op, NoAttrs(), _floating(x) if floating else x)
        return result

    function.__name__ = function.__qualname__ = op.name.lower()
    function.__doc__ = f"Element-wise ``{op.name}`` of a tensor of any shape."
    return function


neg = _simple(NEG, floating=False)
abs_ = _simple(ABS, floating=False)
sign = _simple(SIGN, floating=False)
exp = _simple(EXP)
log = _simple(LOG)
sqrt = _simple(SQRT)
sin = _simple(SIN)
cos = _simple(COS)
erf = _simple(ERF)
tanh = _simple(TANH)
sigmoid = _simple(SIGMOID)
relu = _simple(RELU, floating=False)
silu = _simple(SILU)
floor = _simple(FLOOR)
ceil = _simple(CEIL)
round_ = _simple(ROUND)


def leaky_relu(x: T, negative_slope: float = 0.01) -> T:
    """``x`` where positive, else ``negative_slope * x``."""
    result: T = apply(LEAKY_RELU, AlphaAttrs(float(negative_slope)), _floating(x))
    return result


def elu(x: T, alpha: float = 1.0) -> T:
    """``x`` where positive, else ``alpha * (exp(x) - 1)`` (Clevert et al., 2015)."""
    result: T = apply(ELU, AlphaAttrs(float(alpha)), _floating(x))
    return result


def gelu(x: T, approximate: str = "none") -> T:
    """``x * Phi(x)`` (Hendrycks and Gimpel, 2016), exactly by erf or ``approximate="tanh"``."""
    if approximate not in ("none", "tanh"):
        raise OptionError(f'gelu: approximate is "none" or "tanh", got {approximate!r}')
    result: T = apply(GELU, GeluAttrs(approximate), _floating(x))
    return result


def softplus(x: T, beta: float = 1.0, threshold: float = 20.0) -> T:
    """``log(1 + exp(beta * x)) / beta``, and ``x`` itself where ``beta * x > threshold``."""
    result: T = apply(SOFTPLUS, SoftplusAttrs(float(beta), float(threshold)), _floating(x))
    return result


def clip(x: T, min: float | None = None, max: float | None = None) -> T:
    """``x`` held between ``min`` and ``max``; a bound of None is absent, NaN stays NaN."""
    if min is None and max is None:
        raise OptionError("clip: give min, max or both")
    numeric = x if is_float(x.type.dtype) or all(isinstance(b, int | None) for b in (min, max)) else _floating(x)
    result: T = apply(CLIP, ClipAttrs(min, max), numeric)
    return result


def _two(op: OpDef, a: Any, b: Any) -> Any:
    return apply(op, NoAttrs(), *promote(a, b))


def add(a: Any, b: Any) -> Any:
    """``a + b``."""
    return _two(ADD, a, b)


def sub(a: Any, b: Any) -> Any:
    """``a - b``."""
    return _two(SUB, a, b)


def mul(a: Any, b: Any) -> Any:
    """``a * b``."""
    return _two(MUL, a, b)


def div(a: Any, b: Any) -> Any:
    """``a / b``; integers are divided as float32."""
    return apply(DIV, NoAttrs(), *(_floating(x) for x in promote(a, b)))


def pow_(a: Any, b: Any) -> Any:
    """``a ** b``."""
    return _two(POW, a, b)


def maximum(a: Any, b: Any) -> Any:
    """The larger of two; NaN if either is."""
    return _two(MAXIMUM, a, b)


def minimum(a: Any, b: Any) -> Any:
    """The smaller of two; NaN if either is."""
    return _two(MINIMUM, a, b)


def compare(op: OpDef, a: Any, b: Any) -> Any:
    """A comparison op, as a bool tensor."""
    return _two(op, a, b)


def logical(op: OpDef, a: Any, b: Any) -> Any:
    """``And`` or ``Or``: logical on bools, bit by bit on integers."""
    a, b = promote(a, b)
    if is_float(a.type.dtype):
        raise DTypeError(f"{op.name}: needs bools or integers, got {a.type}")
    return apply(op, NoAttrs(), a, b)


def where(condition: Any, a: Any, b: Any) -> Any:
    """``a`` where ``condition`` (a bool tensor or array) holds, else ``b``; broadcast together."""
    world = next((x for x in (condition, a, b) if isinstance(x, AbstractTensor)), None)
    if world is None:
        raise DTypeError("where: none of its arguments is a tensor")
    if not isinstance(condition, AbstractTensor):
        condition = constant(world, np.asarray(condition, bool))
    if not any(isinstance(x, AbstractTensor) for x in (a, b)):
        a = constant(world, np.asarray(a, float32.name if isinstance(a, float) else None))
    return apply(WHERE, NoAttrs(), condition, *promote(a, b))


def invert(x: T) -> T:
    """Logical not of bools, bitwise not of integers."""
    if is_float(x.type.dtype):
        raise DTypeError(f"~: needs bools or integers, got {x.type}")
    result: T = apply(NOT, NoAttrs(), x)
    return result
