"""Element-wise ops, with NumPy broadcasting and PyTorch's promotion of element types."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Unpack

import numpy as np
import numpy.typing as npt

from ...base.checks import shown
from ...errors import DTypeError, OptionError
from ..opdef import (
    NO_GRADIENT,
    A,
    AbstractTensor,
    Attrs,
    GradContext,
    GradientRule,
    Gradients,
    InferRule,
    NoAttrs,
    NoGradient,
    OpDef,
    Operand,
    T,
    UnaryTraits,
    apply,
    attributes,
    register,
)
from ..types import DType, TensorType, bool_, broadcast_shapes, float32, is_float
from .promotion import CAST as CAST
from .promotion import CastAttrs as CastAttrs
from .promotion import cast as cast
from .promotion import floating
from .promotion import promote as promote
from .promotion import promoted as promoted
from .source import constant, full

# ---------------------------------------------------------------- type rules


#: Sets of element types, as NumPy's kind letters: f(loat), i(nt), u(nsigned), b(ool).
_FLOATS, NUMBERS, _INTEGRAL, _ALL = "f", "fiu", "iub", "fiub"


def check_kind(op: str, kinds: str, x: TensorType) -> None:
    """Raise unless the element type of ``x`` is one of ``kinds`` (NumPy's kind letters)."""
    if x.dtype.kind not in kinds:
        wanted = {"f": "floating-point numbers", "fiu": "numbers", "iub": "integers or bools", "iu": "integers"}[kinds]
        raise DTypeError(f"{op}: needs {wanted}, got {x}")


def _like_input(op: str, kinds: str) -> Callable[[Attrs, TensorType], TensorType]:
    def infer(attrs: Attrs, x: TensorType) -> TensorType:
        check_kind(op, kinds, x)
        return TensorType(x.shape, x.dtype)

    return infer


def _broadcast(op: str, kinds: str, result: DType | None) -> Callable[..., TensorType]:
    def infer(attrs: Attrs, a: TensorType, b: TensorType) -> TensorType:
        if a.dtype != b.dtype:
            raise DTypeError(f"{op}: element types differ: {a} and {b}")
        check_kind(op, kinds, a)
        return TensorType(broadcast_shapes(op, a.shape, b.shape), result or a.dtype)

    return infer


# ---------------------------------------------------------------- definitions


def unary(
    name: str,
    gradient: GradientRule[A] | NoGradient,
    kinds: str = _FLOATS,
    attrs: type[A] = NoAttrs,  # type: ignore[assignment]  # which A is where none is given
    *,
    infer: InferRule[A] | None = None,
    **traits: Unpack[UnaryTraits],
) -> OpDef[A]:
    """Define and register an element-wise op of one operand."""
    rule = infer or _like_input(name, kinds)
    return register(OpDef(name, rule, gradient, attrs=attrs, elementwise=True, **traits))


def _binary(
    name: str,
    gradient: GradientRule | NoGradient,
    kinds: str = _ALL,
    result: DType | None = None,
    *,
    commutative: bool = False,
    cheap: bool = False,
) -> OpDef:
    rule = _broadcast(name, kinds, result)
    return register(
        OpDef(name, rule, gradient, inputs=("a", "b"), elementwise=True, commutative=commutative, cheap=cheap)
    )


def reduced(c: GradContext, *gradients: Callable[[], AbstractTensor | None]) -> Gradients:
    """Each wanted gradient, summed over the axes along which its input was broadcast."""
    return [
        None if not wanted or (dx := g()) is None else dx.sum_to(x.type.shape)
        for g, x, wanted in zip(gradients, c.inputs, c.wanted, strict=True)
    ]


def _from_output(rule: Callable[[AbstractTensor], AbstractTensor]) -> GradientRule:
    return lambda c: [c.dy * rule(c.outputs[0])]


def _from_input(rule: Callable[[AbstractTensor], AbstractTensor]) -> GradientRule:
    return lambda c: [c.dy * rule(c.inputs[0])]


@attributes
class AlphaAttrs(Attrs):
    alpha: float = 1.0


@attributes
class GeluAttrs(Attrs):
    """``approximate`` is "none" or "tanh"."""

    approximate: str = "none"


@attributes
class SoftplusAttrs(Attrs):
    beta: float = 1.0
    threshold: float = 20.0


@attributes
class SqrtAttrs(Attrs):
    """The slope at 0 is 0 if ``flat``, else infinite."""

    flat: bool = False


#: The tanh approximation of gelu is ``x * (1 + tanh(GELU_SCALE * (x + GELU_CUBE * x**3))) / 2``.
GELU_SCALE, GELU_CUBE = math.sqrt(2 / math.pi), 0.044715


def _gelu_slope(x: AbstractTensor, approximate: str) -> AbstractTensor:
    if approximate == "tanh":
        square = x * x
        t = tanh(GELU_SCALE * x * (1 + GELU_CUBE * square))
        return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * (GELU_SCALE * (1 + 3 * GELU_CUBE * square))
    return 0.5 * (1 + erf(x * math.sqrt(0.5))) + x * exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))


def _gelu_gradient(c: GradContext[GeluAttrs]) -> Gradients:
    return [c.dy * _gelu_slope(c.inputs[0], c.attrs.approximate)]


def _softplus_gradient(c: GradContext[SoftplusAttrs]) -> Gradients:
    x, a = c.inputs[0], c.attrs
    return [where(x * a.beta > a.threshold, c.dy, c.dy * sigmoid(x * a.beta))]


def _level(c: GradContext) -> Gradients:
    """The gradient of a step function: zeros, as in PyTorch, rather than no gradient."""
    return reduced(c, *[lambda: full(c.dy, 0.0)] * len(c.inputs))


def _sqrt_gradient(c: GradContext[SqrtAttrs]) -> Gradients:
    dx = c.dy * 0.5 / c.outputs[0]
    return [where(c.outputs[0] == 0, 0.0, dx) if c.attrs.flat else dx]


def _leaky_relu_gradient(c: GradContext[AlphaAttrs]) -> Gradients:
    return [where(c.inputs[0] > 0, c.dy, c.dy * c.attrs.alpha)]


def _elu_gradient(c: GradContext[AlphaAttrs]) -> Gradients:
    x, alpha = c.inputs[0], c.attrs.alpha
    return [c.dy * where(x > 0, full(x, 1.0, ()), alpha * exp(minimum(x, 0.0)))]


def _abs_gradient(c: GradContext) -> Gradients:
    return [c.dy * sign(c.inputs[0])]


def _sin_gradient(c: GradContext) -> Gradients:
    return [c.dy * cos(c.inputs[0])]


def _cos_gradient(c: GradContext) -> Gradients:
    return [-c.dy * sin(c.inputs[0])]


def _erf_slope(x: AbstractTensor) -> AbstractTensor:
    return exp(-(x * x)) * (2 / math.sqrt(math.pi))


def _silu_slope(x: AbstractTensor) -> AbstractTensor:
    s = sigmoid(x)
    return s * (1 + x * (1 - s))


def _hard_swish_slope(x: AbstractTensor) -> AbstractTensor:
    """The hard sigmoid in it has slope 0 at -3 and at 3."""
    return where(x <= -3.0, 0.0, where(x >= 3.0, full(x, 1.0, ()), x * (1 / 3) + 0.5))


def _pow_gradient(c: GradContext) -> Gradients:
    a, b = c.inputs
    return reduced(
        c,
        lambda: where(b == 0, full(a, 0.0, ()), c.dy * b * a ** (b - 1)),
        # 0**b is 0 (or 1) around any b >= 0, so its slope in b is 0 there, not 0 * log(0)
        lambda: where((a == 0) & (b >= 0), full(a, 0.0, ()), c.dy * c.outputs[0] * log(a)),
    )


def _extremum_gradient(loses: Callable[[AbstractTensor, AbstractTensor], AbstractTensor]) -> GradientRule:
    """As in PyTorch: the winner takes the gradient; equal operands take half each; with a NaN, both take all of it."""

    def rule(c: GradContext) -> Gradients:
        a, b = c.inputs
        share = where(a == b, c.dy * 0.5, c.dy)
        return reduced(c, lambda: where(loses(a, b), 0.0, share), lambda: where(loses(b, a), 0.0, share))

    return rule


NEG = unary("Neg", lambda c: [-c.dy], NUMBERS)
ABS = unary("Abs", _abs_gradient, NUMBERS, idempotent=True)
SIGN = unary("Sign", _level, NUMBERS, idempotent=True)
EXP = unary("Exp", _from_output(lambda y: y), monotone=True, root=-math.inf)
EXPM1 = unary("Expm1", _from_output(lambda y: y + 1), monotone=True)
LOG = unary("Log", lambda c: [c.dy / c.inputs[0]])
LOG1P = unary("Log1p", lambda c: [c.dy / (c.inputs[0] + 1)])
LOG2 = unary("Log2", lambda c: [c.dy / (c.inputs[0] * math.log(2))])
LOG10 = unary("Log10", lambda c: [c.dy / (c.inputs[0] * math.log(10))])
SQRT = unary("Sqrt", _sqrt_gradient, attrs=SqrtAttrs)
SIN = unary("Sin", _sin_gradient)
COS = unary("Cos", _cos_gradient)
ERF = unary("Erf", _from_input(_erf_slope), monotone=True, root=0.0)
TANH = unary("Tanh", _from_output(lambda y: 1 - y * y), monotone=True, root=0.0, activation=True)
SIGMOID = unary("Sigmoid", _from_output(lambda y: y * (1 - y)), monotone=True, root=-math.inf, activation=True)
RELU = unary(
    "Relu", lambda c: [where(c.outputs[0] <= 0, 0.0, c.dy)], NUMBERS,
    monotone=True, root=-math.inf, activation=True, idempotent=True,
)  # fmt: skip
LEAKY_RELU = unary(
    "LeakyRelu", _leaky_relu_gradient, attrs=AlphaAttrs, activation=True, monotone=lambda attrs: attrs.alpha >= 0
)
ELU = unary("Elu", _elu_gradient, attrs=AlphaAttrs, activation=True)
GELU = unary("Gelu", _gelu_gradient, attrs=GeluAttrs, activation=True)
SILU = unary("Silu", _from_input(_silu_slope), activation=True)
HARD_SWISH = unary("HardSwish", _from_input(_hard_swish_slope), activation=True)
SOFTPLUS = unary("Softplus", _softplus_gradient, attrs=SoftplusAttrs, activation=True)
FLOOR = unary("Floor", _level, monotone=True, root=0.0, idempotent=True)
CEIL = unary("Ceil", _level, monotone=True, root=0.0, idempotent=True)
ROUND = unary("Round", _level, monotone=True, root=0.0, idempotent=True)
NOT = unary("Not", NO_GRADIENT, _INTEGRAL)

ADD = _binary("Add", lambda c: reduced(c, lambda: c.dy, lambda: c.dy), commutative=True)
SUB = _binary("Sub", lambda c: reduced(c, lambda: c.dy, lambda: -c.dy), NUMBERS, cheap=True)
MUL = _binary(
    "Mul", lambda c: reduced(c, lambda: c.dy * c.inputs[1], lambda: c.dy * c.inputs[0]), commutative=True, cheap=True
)
DIV = _binary(
    "Div", lambda c: reduced(c, lambda: c.dy / c.inputs[1], lambda: -c.dy * c.outputs[0] / c.inputs[1]), _FLOATS
)
POW = _binary("Pow", _pow_gradient, NUMBERS)
MAXIMUM = _binary("Maximum", _extremum_gradient(lambda a, b: a < b), commutative=True)
MINIMUM = _binary("Minimum", _extremum_gradient(lambda a, b: a > b), commutative=True)
EQUAL = _binary("Equal", NO_GRADIENT, result=bool_, commutative=True)
NOT_EQUAL = _binary("NotEqual", NO_GRADIENT, result=bool_, commutative=True)
LESS = _binary("Less", NO_GRADIENT, result=bool_)
LESS_EQUAL = _binary("LessEqual", NO_GRADIENT, result=bool_)
GREATER = _binary("Greater", NO_GRADIENT, result=bool_)
GREATER_EQUAL = _binary("GreaterEqual", NO_GRADIENT, result=bool_)
AND = _binary("And", NO_GRADIENT, _INTEGRAL, commutative=True)
OR = _binary("Or", NO_GRADIENT, _INTEGRAL, commutative=True)
FLOOR_DIVIDE = _binary("FloorDivide", _level, NUMBERS)
GCD = _binary("Gcd", NO_GRADIENT, "iu", commutative=True)
REMAINDER = _binary("Remainder", lambda c: reduced(c, lambda: c.dy, lambda: -c.dy * floor_divide(*c.inputs)), NUMBERS)


def _where_infer(attrs: Attrs, condition: TensorType, a: TensorType, b: TensorType) -> TensorType:
    if condition.dtype != bool_:
        raise DTypeError(f"Where: the condition must be bool, got {condition}")
    if a.dtype != b.dtype:
        raise DTypeError(f"Where: element types differ: {a} and {b}")
    return TensorType(broadcast_shapes("Where", condition.shape, a.shape, b.shape), a.dtype)


def _where_gradient(c: GradContext) -> Gradients:
    condition = c.inputs[0]
    return reduced(c, lambda: None, lambda: where(condition, c.dy, 0.0), lambda: where(condition, 0.0, c.dy))


WHERE = register(OpDef("Where", _where_infer, _where_gradient, inputs=("condition", "a", "b"), elementwise=True))


# ---------------------------------------------------------------- functions


def _simple(op: OpDef, *, cast_integers: bool = True) -> Callable[[T], T]:
    def function(x: T) -> T:
        result: T = apply(op, NoAttrs(), floating(x) if cast_integers else x)
        return result

    return _documented(function, op)


def _rounding(op: OpDef) -> Callable[[T], T]:
    def function(x: T) -> T:
        if x.type.dtype.kind in "iu":
            return x
        result: T = apply(op, NoAttrs(), x)
        return result

    return _documented(function, op)


def _documented(function: Callable[[T], T], op: OpDef) -> Callable[[T], T]:

    function.__name__ = function.__qualname__ = op.name.lower()
    function.__doc__ = f"Element-wise ``{op.name}`` of a tensor of any shape."
    return function


neg = _simple(NEG, cast_integers=False)
abs_ = _simple(ABS, cast_integers=False)
exp = _simple(EXP)
expm1 = _simple(EXPM1)
log = _simple(LOG)
log1p = _simple(LOG1P)
log2 = _simple(LOG2)
log10 = _simple(LOG10)
sin = _simple(SIN)
cos = _simple(COS)
erf = _simple(ERF)
tanh = _simple(TANH)
sigmoid = _simple(SIGMOID)
relu = _simple(RELU, cast_integers=False)
silu = _simple(SILU)
hardswish = _simple(HARD_SWISH)
floor = _rounding(FLOOR)
ceil = _rounding(CEIL)
_round = _rounding(ROUND)


def round_(x: AbstractTensor, decimals: int = 0) -> AbstractTensor:
    """Round to the nearest integer, or to ``decimals`` digits after the point; ties go to the even neighbour."""
    if decimals == 0:
        return _round(x)
    scale = 10.0**decimals
    scaled = mul(x, scale) if decimals > 0 else div(x, 10.0**-decimals)
    rounded = _round(scaled)
    return div(rounded, scale) if decimals > 0 else cast(mul(rounded, 10.0**-decimals), x.type.dtype)


def sign(x: T) -> T:
    """-1, 0 or 1 as each element is negative, zero or positive; NaN stays, and so do bools."""
    result: T = x if x.type.dtype == bool_ else apply(SIGN, NoAttrs(), x)
    return result


def sqrt(x: T) -> T:
    """Element-wise square root; its slope at 0 is infinite."""
    result: T = apply(SQRT, SqrtAttrs(), floating(x))
    return result


def flat_sqrt(x: T) -> T:
    """The square root with slope 0 at 0, for norms and standard deviations."""
    result: T = apply(SQRT, SqrtAttrs(flat=True), floating(x))
    return result


def leaky_relu(x: T, negative_slope: float = 0.01) -> T:
    """``x`` where positive, else ``negative_slope * x``."""
    result: T = apply(LEAKY_RELU, AlphaAttrs(float(negative_slope)), floating(x))
    return result


def elu(x: T, alpha: float = 1.0) -> T:
    """``x`` where positive, else ``alpha * (exp(x) - 1)`` (Clevert et al., 2015)."""
    result: T = apply(ELU, AlphaAttrs(float(alpha)), floating(x))
    return result


def gelu(x: T, approximate: str = "none") -> T:
    """``x * Phi(x)`` (Hendrycks and Gimpel, 2016), exactly by erf or ``approximate="tanh"``."""
    if approximate not in ("none", "tanh"):
        raise OptionError(f'gelu: approximate is "none" or "tanh", got {shown(approximate)}')
    result: T = apply(GELU, GeluAttrs(approximate), floating(x))
    return result


def softplus(x: T, beta: float = 1.0, threshold: float = 20.0) -> T:
    """``log(1 + exp(beta * x)) / beta``, and ``x`` itself where ``beta * x > threshold``."""
    result: T = apply(SOFTPLUS, SoftplusAttrs(float(beta), float(threshold)), floating(x))
    return result


def _two(op: OpDef, a: Operand, b: Operand) -> AbstractTensor:
    return apply(op, NoAttrs(), *promote(a, b))


def add(a: Operand, b: Operand) -> AbstractTensor:
    """``a + b``."""
    return _two(ADD, a, b)


def sub(a: Operand, b: Operand) -> AbstractTensor:
    """``a - b``."""
    return _two(SUB, a, b)


def mul(a: Operand, b: Operand) -> AbstractTensor:
    """``a * b``."""
    return _two(MUL, a, b)


def div(a: Operand, b: Operand) -> AbstractTensor:
    """``a / b``; integers are divided as float32."""
    return apply(DIV, NoAttrs(), *(floating(x) for x in promote(a, b)))


def floor_divide(a: Operand, b: Operand) -> AbstractTensor:
    """``a // b``, rounded towards minus infinity; integer division by 0 is an error when the program runs."""
    return _two(FLOOR_DIVIDE, a, b)


def remainder(a: Operand, b: Operand) -> AbstractTensor:
    """``a % b`` with the sign of ``b``; integers modulo 0 are an error when the program runs."""
    return _two(REMAINDER, a, b)


def pow_(a: Operand, b: Operand) -> AbstractTensor:
    """``a ** b``; for integers, a negative number ``b`` is refused, and negative elements give the truncated power."""
    if isinstance(b, int | np.integer) and b < 0 and isinstance(a, AbstractTensor) and not is_float(a.type.dtype):
        raise OptionError(f"pow: an integer to the power of {b} is no integer; write x.float() ** {b}, got {a.type}")
    return _two(POW, a, b)


def maximum(a: Operand, b: Operand) -> AbstractTensor:
    """The larger of two; NaN if either is."""
    return _two(MAXIMUM, a, b)


def minimum(a: Operand, b: Operand) -> AbstractTensor:
    """The smaller of two; NaN if either is."""
    return _two(MINIMUM, a, b)


def compare(op: OpDef, a: Operand, b: Operand) -> AbstractTensor:
    """A comparison op, as a bool tensor."""
    return _two(op, a, b)


def isnan(x: AbstractTensor) -> AbstractTensor:
    """Whether each element is NaN, the only value that differs from itself."""
    return _two(NOT_EQUAL, x, x)


def logical(op: OpDef, a: Operand, b: Operand) -> AbstractTensor:
    """``And`` or ``Or``: logical on bools, bit by bit on integers."""
    return _two(op, a, b)


def where(condition: AbstractTensor | npt.ArrayLike, a: Operand, b: Operand) -> AbstractTensor:
    """``a`` where ``condition`` (a bool tensor or array) holds, else ``b``; broadcast together."""
    tensor = next((x for x in (condition, a, b) if isinstance(x, AbstractTensor)), None)
    if tensor is None:
        raise DTypeError("where: none of its arguments is a tensor")
    if not isinstance(condition, AbstractTensor):
        condition = constant(tensor, np.asarray(condition, bool))
    if not any(isinstance(x, AbstractTensor) for x in (a, b)):
        a = constant(tensor, np.asarray(a, float32.name if isinstance(a, float) else None))
    return apply(WHERE, NoAttrs(), condition, *promote(a, b))


def invert(x: T) -> T:
    """Logical not of bools, bitwise not of integers."""
    result: T = apply(NOT, NoAttrs(), x)
    return result
