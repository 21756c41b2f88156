"""Element-wise ops."""

from __future__ import annotations

import math

from .....graph.opdef import OpDef
from .....graph.ops import elementwise as ew
from .....graph.ops import trigonometry as tr
from .....graph.ops.bounds import CLIP, ClipAttrs
from .....graph.ops.loss import BINARY_CROSS_ENTROPY
from .....graph.ops.promotion import CAST, CastAttrs
from .....graph.ops.rounding import ROUND_STRAIGHT, ROUND_TO, RoundToAttrs
from .....graph.types import bool_, is_float
from ...model import SMALL
from ...narrow_types import FLOATS
from ...one_to_one import UNARY
from ..draft import Item
from ..registry import KIND_OF, Use, writer

BINARY: dict[OpDef, str] = {
    ew.SUB: "Sub", ew.DIV: "Div", ew.POW: "Pow", ew.EQUAL: "Equal", ew.LESS: "Less", ew.LESS_EQUAL: "LessOrEqual",
    ew.GREATER: "Greater", ew.GREATER_EQUAL: "GreaterOrEqual",
}  # fmt: skip

OF_NUMBERS: dict[OpDef, str] = {
    ew.ADD: "Add", ew.MUL: "Mul", ew.MAXIMUM: "Max", ew.MINIMUM: "Min", ew.AND: "BitwiseAnd", ew.OR: "BitwiseOr",
}  # fmt: skip
OF_TRUTHS: dict[OpDef, str] = {
    ew.ADD: "Or", ew.MUL: "And", ew.MAXIMUM: "Or", ew.MINIMUM: "And", ew.AND: "And", ew.OR: "Or",
}  # fmt: skip
"""For ops with different operators for numbers and booleans, the one for booleans."""


@writer(*UNARY.values())
def unary(use: Use) -> Item:
    if use.node.op is ew.RELU and not is_float(use.type.dtype):
        return use.emit("Max", *use.inputs, use.number(0))
    return use.emit(NAMES[use.node.op], *use.inputs)


NAMES: dict[OpDef, str] = {op: name for name, op in UNARY.items()}


@writer(ew.SQRT)
def sqrt(use: Use[ew.SqrtAttrs]) -> Item:
    return use.emit("Sqrt", *use.inputs)


@writer(*BINARY)
def binary(use: Use) -> Item:
    return use.emit(BINARY[use.node.op], *use.inputs, dtype=use.type.dtype)


@writer(ew.NOT_EQUAL)
def not_equal(use: Use) -> Item:
    return use.emit("Not", use.emit("Equal", *use.inputs, dtype=bool_))


@writer(*OF_TRUTHS)
def logical(use: Use) -> Item:
    name = (OF_TRUTHS if use.type.dtype == bool_ else OF_NUMBERS)[use.node.op]
    if name.startswith("Bitwise"):
        use.need(18, "an operator for bits")
    return use.emit(name, *use.inputs)


@writer(ew.NOT)
def invert(use: Use) -> Item:
    if use.type.dtype == bool_:
        return use.emit("Not", *use.inputs)
    use.need(18, "an operator for bits")
    return use.emit("BitwiseNot", *use.inputs)


@writer(ew.WHERE)
def where(use: Use) -> Item:
    """Truth values are combined, for which the usual runtimes lack the operator."""
    condition, yes, no = use.inputs
    if use.type.dtype != bool_:
        return use.emit("Where", condition, yes, no, dtype=use.type.dtype)
    return use.emit("Or", use.emit("And", condition, yes), use.emit("And", use.emit("Not", condition), no))


@writer(CAST)
def cast(use: Use[CastAttrs]) -> Item:
    return use.cast(use.inputs[0], use.attrs.dtype)


@writer(ROUND_STRAIGHT)
def round_straight(use: Use) -> Item:
    return use.emit("Round", *use.inputs)


@writer(ew.LEAKY_RELU)
def leaky_relu(use: Use[ew.AlphaAttrs]) -> Item:
    (x,), alpha = use.inputs, use.attrs.alpha
    if use.is_said(alpha):
        return use.emit("LeakyRelu", x, alpha=alpha)
    return _by_sign(use, x, use.emit("Mul", x, use.number(alpha)))


@writer(ew.ELU)
def elu(use: Use[ew.AlphaAttrs]) -> Item:
    (x,), alpha = use.inputs, use.attrs.alpha
    if use.is_said(alpha):
        return use.emit("Elu", x, alpha=alpha)
    return _by_sign(use, x, use.emit("Mul", use.emit("Elu", x, alpha=1.0), use.number(alpha)))


def _by_sign(use: Use, x: Item, below: Item) -> Item:
    """One number where the input is above 0, and another elsewhere."""
    return use.emit("Where", use.emit("Greater", x, use.number(0), dtype=bool_), x, below, dtype=x.dtype)


@writer(ew.GELU)
def gelu(use: Use[ew.GeluAttrs]) -> Item:
    (x,) = use.inputs
    if use.opset >= 20:
        return use.emit("Gelu", x, approximate=use.attrs.approximate)
    if use.attrs.approximate == "tanh":
        cube = use.emit("Mul", use.emit("Mul", x, x), use.emit("Mul", x, use.number(ew.GELU_CUBE)))
        inner = use.emit("Tanh", use.emit("Mul", use.emit("Add", x, cube), use.number(ew.GELU_SCALE)))
    else:
        inner = use.emit("Erf", use.emit("Div", x, use.number(math.sqrt(2))))
    return use.emit("Mul", use.emit("Mul", x, use.emit("Add", inner, use.number(1))), use.number(0.5))


@writer(ew.SILU)
def silu(use: Use) -> Item:
    (x,) = use.inputs
    return use.emit("Mul", x, use.emit("Sigmoid", x))


@writer(ew.SOFTPLUS)
def softplus(use: Use[ew.SoftplusAttrs]) -> Item:
    (x,), attrs = use.inputs, use.attrs
    if attrs == ew.SoftplusAttrs():
        return use.emit("Softplus", x)
    beta = use.number(attrs.beta)
    scaled = use.emit("Mul", x, beta)
    soft = use.emit("Div", use.emit("Softplus", scaled), beta)
    beyond = use.emit("Greater", scaled, use.number(attrs.threshold), dtype=bool_)
    return use.emit("Where", beyond, x, soft, dtype=use.type.dtype)


@writer(ew.EXPM1)
def expm1(use: Use) -> Item:
    """``tanh(x / 2) * (exp(x) + 1)``, which is exact where ``exp(x)`` is nearly 1."""
    (x,) = use.inputs
    half = use.emit("Tanh", use.emit("Mul", x, use.number(0.5)))
    return use.emit("Mul", half, use.emit("Add", use.emit("Exp", x), use.number(1)))


@writer(ew.LOG1P)
def log1p(use: Use) -> Item:
    """``x * log(u) / (u - 1)`` with ``u = 1 + x``, whose rounding is in both; where ``u`` is 1 or infinite, ``x``."""
    (x,), one = use.inputs, use.number(1)
    u = use.emit("Add", x, one)
    ratio = use.emit("Mul", x, use.emit("Div", use.emit("Log", u), use.emit("Sub", u, one)))
    same = use.emit("Or", *(use.emit("Equal", u, use.number(at), dtype=bool_) for at in (1, math.inf)))
    log = use.emit(
        "Where", use.emit("Equal", x, use.number(-1), dtype=bool_), use.number(-math.inf), ratio, dtype=x.dtype
    )
    return use.emit("Where", same, x, log, dtype=x.dtype)


@writer(ew.LOG2, ew.LOG10)
def other_log(use: Use) -> Item:
    base = 2 if use.node.op is ew.LOG2 else 10
    return use.emit("Div", use.emit("Log", *use.inputs), use.number(math.log(base)))


@writer(tr.ATAN2)
def atan2(use: Use) -> Item:
    """The angle from the absolute values of both coordinates, then moved to the quadrant that their signs indicate."""
    sizes = [use.emit("Abs", one) for one in use.inputs]
    angle = use.emit("Atan", use.emit("Div", *sizes))
    both = use.emit("And", *(use.emit("Equal", one, use.number(math.inf), dtype=bool_) for one in sizes))
    angle = use.emit("Where", both, use.number(math.pi / 4), angle, dtype=angle.dtype)
    numbers = use.emit("Equal", sizes[1], sizes[1], dtype=bool_)
    none = use.emit("And", use.emit("Equal", sizes[0], use.number(0), dtype=bool_), numbers)
    angle = use.emit("Where", none, use.number(0), angle, dtype=angle.dtype)
    under, behind = (_negative(use, one) for one in use.inputs)
    angle = use.emit("Where", behind, use.emit("Sub", use.number(math.pi), angle), angle, dtype=angle.dtype)
    return use.emit("Where", under, use.emit("Neg", angle), angle, dtype=angle.dtype)


def _negative(use: Use, x: Item) -> Item:
    """Where the sign is negative, including that of a zero."""
    is_negative_zero = use.emit("Equal", use.emit("Div", use.number(1), x), use.number(-math.inf), dtype=bool_)
    return use.emit("Or", use.emit("Less", x, use.number(0), dtype=bool_), is_negative_zero)


@writer(ROUND_TO)
def round_to(use: Use[RoundToAttrs]) -> Item:
    """A cast to the type and back; if it saturates, the input is clipped to the range of the type first."""
    (x,), a = use.inputs, use.attrs
    kind = next(kind for kind, name in FLOATS.items() if name == a.to)
    since = 19 if "float8" in a.to else 23 if "float4" in a.to else 0
    use.need(since, f"the type {a.to}")
    if a.saturate and kind not in SMALL:
        x = use.emit("Clip", x, use.number(-a.format.largest), use.number(a.format.largest))
    y = use.emit("Cast", x, to=kind, saturate=int(a.saturate) if 17 <= kind <= 20 else None)
    return use.emit("Cast", y, to=KIND_OF[x.dtype])


@writer(CLIP)
def clip(use: Use[ClipAttrs]) -> Item:
    low, high = (None if bound is None else use.number(bound) for bound in (use.attrs.low, use.attrs.high))
    return use.emit("Clip", use.inputs[0], low, high)


@writer(ew.REMAINDER)
def remainder(use: Use) -> Item:
    a, b = use.inputs
    if not is_float(a.dtype):
        by_zero, divisor = _safe(use)
        return use.emit("Where", by_zero, use.number(0), use.emit("Mod", a, divisor), dtype=a.dtype)
    rest = use.emit("Mod", a, b, fmod=1)
    return use.emit("Where", _has_wrong_sign(use, rest, b), use.emit("Add", rest, b), rest, dtype=a.dtype)


def _has_wrong_sign(use: Use, rest: Item, b: Item) -> Item:
    """Where the remainder of a division towards zero does not have the sign of the divisor."""
    zero = use.number(0)
    some = use.emit("Not", use.emit("Equal", rest, zero, dtype=bool_))
    signs = (use.emit("Less", one, zero, dtype=bool_) for one in (rest, b))
    return use.emit("And", some, use.emit("Xor", *signs))


def _safe(use: Use) -> tuple[Item, Item]:
    """Where an integer is divided by zero, which aborts some runtimes, and divisors without zeros."""
    b = use.inputs[1]
    by_zero = use.emit("Equal", b, use.number(0), dtype=bool_)
    return by_zero, use.emit("Where", by_zero, use.number(1), b, dtype=b.dtype)


@writer(ew.FLOOR_DIVIDE)
def floor_divide(use: Use) -> Item:
    """As NumPy's, also for divisors of zero: the remainder is subtracted first, so the quotient is nearly whole."""
    a, b = use.inputs
    by_zero, divisor = (None, b) if is_float(a.dtype) else _safe(use)
    rest = use.emit("Mod", a, divisor, fmod=1)
    quotient = use.emit("Div", use.emit("Sub", a, rest), divisor)
    quotient = use.emit("Round", quotient) if by_zero is None else quotient
    lower = use.emit("Sub", quotient, use.number(1))
    whole = use.emit("Where", _has_wrong_sign(use, rest, divisor), lower, quotient, dtype=a.dtype)
    if by_zero is not None:
        return use.emit("Where", by_zero, use.number(0), whole, dtype=a.dtype)
    at_zero = use.emit("Equal", b, use.number(0), dtype=bool_)
    return use.emit("Where", at_zero, use.emit("Div", a, b), whole, dtype=a.dtype)


@writer(BINARY_CROSS_ENTROPY)
def binary_cross_entropy(use: Use) -> Item:
    x, target = use.inputs
    one, least = use.number(1), use.number(-100)

    def share(p: Item, t: Item) -> Item:
        return use.emit("Mul", t, use.emit("Max", use.emit("Log", p), least))

    others = share(use.emit("Sub", one, x), use.emit("Sub", one, target))
    return use.emit("Neg", use.emit("Add", share(x, target), others))
