"""Inverse trigonometric functions, hyperbolic ones, and the inverses of these."""

from __future__ import annotations

from ...errors import DTypeError
from ..opdef import AbstractTensor, GradContext, Gradients, NoAttrs, OpDef, Operand, T, apply, register
from ..types import TensorType, broadcast_shapes, is_float
from .composite import eq
from .elementwise import neg, reduced, sqrt, unary, where
from .promotion import floating, promote


def _root(x: AbstractTensor) -> AbstractTensor:
    """``sqrt(1 - x²)``, which is exact near the ends."""
    return sqrt((1 - x) * (1 + x))


def _acosh_gradient(c: GradContext) -> Gradients:
    x = c.inputs[0]
    return [c.dy / sqrt((x - 1) * (x + 1))]


def _atanh_gradient(c: GradContext) -> Gradients:
    x = c.inputs[0]
    return [c.dy / ((1 - x) * (1 + x))]


def _atan2_infer(attrs: NoAttrs, a: TensorType, b: TensorType) -> TensorType:
    if a.dtype != b.dtype or not is_float(a.dtype):
        raise DTypeError(f"Atan2: needs floating-point numbers of one element type, got {a} and {b}")
    return TensorType(broadcast_shapes("Atan2", a.shape, b.shape), a.dtype)


def _atan2_gradient(c: GradContext) -> Gradients:
    a, b = c.inputs

    def slope(x: AbstractTensor) -> AbstractTensor:
        """Of a point that has no angle it is 0."""
        square = a * a + b * b
        return where(eq(square, 0.0), 0.0, x / square)

    return reduced(c, lambda: c.dy * slope(b), lambda: -c.dy * slope(a))


ASIN = unary("Asin", lambda c: [c.dy / _root(c.inputs[0])])
ACOS = unary("Acos", lambda c: [neg(c.dy / _root(c.inputs[0]))])
ATAN = unary("Atan", lambda c: [c.dy / (1 + c.inputs[0] * c.inputs[0])], monotone=True, root=0.0)
SINH = unary("Sinh", lambda c: [c.dy * cosh(c.inputs[0])], monotone=True, root=0.0)
COSH = unary("Cosh", lambda c: [c.dy * sinh(c.inputs[0])])
ASINH = unary("Asinh", lambda c: [c.dy / sqrt(1 + c.inputs[0] * c.inputs[0])], monotone=True, root=0.0)
ACOSH = unary("Acosh", _acosh_gradient)
ATANH = unary("Atanh", _atanh_gradient)
#: The angle of the point (b, a) from -π to π.
ATAN2 = register(OpDef("Atan2", _atan2_infer, _atan2_gradient, inputs=("a", "b"), elementwise=True))


def _of(op: OpDef, x: T) -> T:
    y: T = apply(op, NoAttrs(), floating(x))
    return y


def asin(x: T) -> T:
    """The angle from -π/2 to π/2 whose sine is ``x``."""
    return _of(ASIN, x)


def acos(x: T) -> T:
    """The angle from 0 to π whose cosine is ``x``."""
    return _of(ACOS, x)


def atan(x: T) -> T:
    """The angle from -π/2 to π/2 whose tangent is ``x``."""
    return _of(ATAN, x)


def sinh(x: T) -> T:
    """``(exp(x) - exp(-x)) / 2``."""
    return _of(SINH, x)


def cosh(x: T) -> T:
    """``(exp(x) + exp(-x)) / 2``."""
    return _of(COSH, x)


def asinh(x: T) -> T:
    """The number whose hyperbolic sine is ``x``."""
    return _of(ASINH, x)


def acosh(x: T) -> T:
    """The number, not negative, whose hyperbolic cosine is ``x``."""
    return _of(ACOSH, x)


def atanh(x: T) -> T:
    """The number whose hyperbolic tangent is ``x``."""
    return _of(ATANH, x)


def atan2(a: Operand, b: Operand) -> AbstractTensor:
    """The angle from -π to π of the point with the coordinates (``b``, ``a``)."""
    return apply(ATAN2, NoAttrs(), *(floating(x) for x in promote(a, b)))
