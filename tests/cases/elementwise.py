"""Element-wise functions over shapes that broadcast, their options, integers and bools, and values at the edge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lucid.graph.ops import bits, bounds
from lucid.graph.ops import elementwise as ew
from lucid.graph.ops.rare_elementwise import gcd

from .case import Case

Make = Callable[[np.random.Generator, str], tuple[np.ndarray[Any, Any], ...]]

#: Shapes of two operands, broadcast both ways, and with empty and 0-d ones.
PAIRS = {
    "same": ((2, 3), (2, 3)),
    "row": ((4, 3), (3,)),
    "column": ((4, 1), (1, 3)),
    "image": ((2, 3, 4, 5), (3, 1, 1)),
    "images": ((2, 3, 4, 5), (2, 3, 4, 5)),
    "scalar-left": ((), (3, 2)),
    "scalar-both": ((), ()),
    "empty": ((0, 3), (3,)),
}

SINGLE = {"matrix": (3, 4), "image": (2, 3, 4, 5), "scalar": (), "empty": (2, 0, 3)}


def normal(*shapes: tuple[int, ...], scale: float = 1.0) -> Make:
    """Normally distributed inputs."""
    return lambda rng, dtype: tuple(np.asarray(scale * rng.standard_normal(s), dtype) for s in shapes)


def positive(*shapes: tuple[int, ...], low: float = 0.3, high: float = 2.5) -> Make:
    """Uniformly distributed inputs away from 0."""
    return lambda rng, dtype: tuple(np.asarray(rng.uniform(low, high, s), dtype) for s in shapes)


def away(*shapes: tuple[int, ...]) -> Make:
    """Inputs of either sign, away from 0 and from each other, where a kink or pole may be."""

    def make(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray[Any, Any], ...]:
        arrays = []
        for i, shape in enumerate(shapes):
            size = int(np.prod(shape))
            steps = 0.37 + 0.31 * np.arange(size) + 0.1 * i
            arrays.append(np.asarray((rng.permutation(steps) * rng.choice([-1, 1], size)).reshape(shape), dtype))
        return tuple(arrays)

    return make


def fixed(*values: Any) -> Make:
    """Given values: lists of floats take the dtype asked for, arrays stay as they are."""
    return lambda rng, dtype: tuple(v if isinstance(v, np.ndarray) else np.asarray(v, dtype) for v in values)


def _unary(
    name: str, function: Any, torch: Any, make: Callable[..., Make] = normal, *, gradient: bool = True
) -> list[Case]:
    return [Case(f"{name}-{kind}", function, make(shape), torch, gradient=gradient) for kind, shape in SINGLE.items()]


def _binary(name: str, function: Any, torch: Any, make: Callable[..., Make], *, gradient: bool = True) -> list[Case]:
    return [Case(f"{name}-{kind}", function, make(*shapes), torch, gradient=gradient) for kind, shapes in PAIRS.items()]


UNARY = [
    *_unary("neg", ew.neg, lambda torch, x: -x),
    *_unary("abs", ew.abs_, lambda torch, x: x.abs(), away),
    *_unary("sign", ew.sign, lambda torch, x: torch.sign(x), away),
    *_unary("exp", ew.exp, lambda torch, x: torch.exp(x)),
    *_unary("log", ew.log, lambda torch, x: torch.log(x), positive),
    *_unary("log1p", ew.log1p, lambda torch, x: torch.log1p(x), positive),
    *_unary("log2", ew.log2, lambda torch, x: torch.log2(x), positive),
    *_unary("log10", ew.log10, lambda torch, x: torch.log10(x), positive),
    *_unary("expm1", ew.expm1, lambda torch, x: torch.expm1(x)),
    *_unary("sqrt", ew.sqrt, lambda torch, x: torch.sqrt(x), positive),
    *_unary("sin", ew.sin, lambda torch, x: torch.sin(x)),
    *_unary("cos", ew.cos, lambda torch, x: torch.cos(x)),
    *_unary("erf", ew.erf, lambda torch, x: torch.erf(x)),
    *_unary("tanh", ew.tanh, lambda torch, x: torch.tanh(x)),
    *_unary("sigmoid", ew.sigmoid, lambda torch, x: torch.sigmoid(x)),
    *_unary("relu", ew.relu, lambda torch, x: torch.relu(x), away),
    *_unary("leaky-relu", ew.leaky_relu, lambda torch, x: torch.nn.functional.leaky_relu(x), away),
    *_unary("elu", ew.elu, lambda torch, x: torch.nn.functional.elu(x), away),
    *_unary("gelu", ew.gelu, lambda torch, x: torch.nn.functional.gelu(x)),
    *_unary("silu", ew.silu, lambda torch, x: torch.nn.functional.silu(x)),
    *_unary("hard-swish", ew.hardswish, lambda torch, x: torch.nn.functional.hardswish(x)),
    *_unary("softplus", ew.softplus, lambda torch, x: torch.nn.functional.softplus(x)),
    *_unary("floor", ew.floor, lambda torch, x: torch.floor(x), away, gradient=False),
    *_unary("ceil", ew.ceil, lambda torch, x: torch.ceil(x), away, gradient=False),
    *_unary("round", ew.round_, lambda torch, x: torch.round(x), away, gradient=False),
    *_unary("clip", lambda x: bounds.clip(x, -0.8, 1.1), lambda torch, x: torch.clip(x, -0.8, 1.1), away),
]

OPTIONS = [
    *(
        Case(
            f"leaky-relu-slope{slope}",
            lambda x, s=slope: ew.leaky_relu(x, s),
            away((3, 4)),
            lambda torch, x, s=slope: torch.nn.functional.leaky_relu(x, s),
        )
        for slope in (0.0, 0.5, 1.0, 1.5, -0.2)
    ),
    *(
        Case(
            f"elu-alpha{alpha}",
            lambda x, a=alpha: ew.elu(x, a),
            away((3, 4)),
            lambda torch, x, a=alpha: torch.nn.functional.elu(x, a),
        )
        for alpha in (0.0, 0.5, 2.0)
    ),
    *(
        Case(
            f"gelu-tanh-{kind}",
            lambda x: ew.gelu(x, "tanh"),
            normal(shape, scale=2.0),
            lambda torch, x: torch.nn.functional.gelu(x, approximate="tanh"),
        )
        for kind, shape in SINGLE.items()
    ),
    *(
        Case(
            f"softplus-beta{beta}-threshold{threshold}",
            lambda x, b=beta, t=threshold: ew.softplus(x, b, t),
            away((5, 8)),
            lambda torch, x, b=beta, t=threshold: torch.nn.functional.softplus(x, b, t),
        )
        for beta, threshold in ((2.0, 20.0), (1.0, 3.0), (0.5, 1.0))
    ),
    *(
        Case(
            f"clip-{low}-{high}",
            lambda x, a=low, b=high: bounds.clip(x, a, b),
            away((4, 5)),
            lambda torch, x, a=low, b=high: torch.clip(x, a, b),
        )
        for low, high in ((None, 0.5), (-1, None), (2.0, -2.0), (0, 6), (float("-inf"), 1.0))
    ),
    Case("clip-tensors", bounds.clip, away((4, 3), (3,), (3,)), lambda torch, x, a, b: torch.clip(x, a, b)),
    *(
        Case(
            f"pow-{exponent}",
            lambda x, e=exponent: ew.pow_(x, e),
            positive((3, 4)) if exponent != 2 else away((3, 4)),
            lambda torch, x, e=exponent: x**e,
        )
        for exponent in (2, 3, 0, 0.5, -1.5, 1)
    ),
    Case("pow-of-number", lambda x: ew.pow_(2.0, x), normal((3, 4)), lambda torch, x: 2.0**x),
    Case("pow-negative-base", lambda x: ew.pow_(x, 3), away((3, 4)), lambda torch, x: x**3),
    Case("pow-zero-base", lambda x: ew.pow_(x, 2), fixed([0.0, 1.0, -2.0]), lambda torch, x: x**2),
    Case("cast-to-float64", lambda x: ew.cast(x, "float64"), normal((3, 4)), lambda torch, x: x.double()),
    Case("cast-to-int", lambda x: ew.cast(x, "int32"), away((3, 4)), lambda torch, x: x.int(), gradient=False),
    Case(
        "cast-to-bool",
        lambda x: ew.cast(x, "bool"),
        fixed([0.0, 0.5, -0.0]),
        lambda torch, x: x.bool(),
        gradient=False,
    ),
    Case(
        "cast-and-back",
        lambda x: ew.cast(ew.cast(x, "float64"), x.type.dtype) * 2,
        normal((3,)),
        lambda torch, x: x * 2,
    ),
]

_COMPARISONS: dict[str, tuple[Any, Any]] = {
    "equal": (ew.EQUAL, lambda torch, a, b: a == b),
    "not-equal": (ew.NOT_EQUAL, lambda torch, a, b: a != b),
    "less": (ew.LESS, lambda torch, a, b: a < b),
    "less-equal": (ew.LESS_EQUAL, lambda torch, a, b: a <= b),
    "greater": (ew.GREATER, lambda torch, a, b: a > b),
    "greater-equal": (ew.GREATER_EQUAL, lambda torch, a, b: a >= b),
}

#: No quotient near an integer, where the remainder jumps.
_PARTS = fixed([[5.3, -2.7, 7.1], [-0.4, 2.9, -8.2]], [2.0, 1.7, -3.0])

BINARY = [
    *_binary("add", ew.add, lambda torch, a, b: a + b, normal),
    *_binary("sub", ew.sub, lambda torch, a, b: a - b, normal),
    *_binary("mul", ew.mul, lambda torch, a, b: a * b, normal),
    *_binary("div", ew.div, lambda torch, a, b: a / b, positive),
    *_binary("pow", ew.pow_, lambda torch, a, b: a**b, positive),
    *_binary("maximum", ew.maximum, lambda torch, a, b: torch.maximum(a, b), away),
    *_binary("minimum", ew.minimum, lambda torch, a, b: torch.minimum(a, b), away),
    Case("floor_divide", ew.floor_divide, _PARTS, lambda torch, a, b: a // b, gradient=False),
    Case("remainder", ew.remainder, _PARTS, lambda torch, a, b: a % b),
]

_TIED = fixed([[1.0, 2.0, 3.0], [1.0, -2.0, 0.0]], [1.0, 3.0, 3.0])

COMPARED = [
    Case(f"{name}-{kind}", lambda a, b, op=op: ew.compare(op, a, b), make, torch, gradient=False)
    for name, (op, torch) in _COMPARISONS.items()
    for kind, make in {
        "ties": _TIED,
        "nan": fixed([float("nan"), 1.0, float("nan"), float("inf")], [float("nan"), float("nan"), 1.0, float("inf")]),
        "ints": fixed(np.array([1, 2, 3]), np.array([3, 2, 1])),
        "empty": normal((0, 3), (3,)),
    }.items()
]


def _condition(shape: tuple[int, ...], *others: tuple[int, ...]) -> Make:
    return lambda rng, dtype: (rng.random(shape) < 0.5, *normal(*others)(rng, dtype))


WHERE = [
    Case(f"where-{kind}", ew.where, _condition(*shapes), lambda torch, c, a, b: torch.where(c, a, b))
    for kind, shapes in {
        "same": ((3, 4), (3, 4), (3, 4)),
        "row-column": ((3, 1), (4,), (3, 4)),
        "all-broadcast": ((3, 1), (1, 4), ()),
        "condition-widest": ((2, 3, 4, 5), (3, 1, 1), ()),
        "images": ((2, 3, 4, 5), (2, 3, 4, 5), (2, 3, 4, 5)),
        "scalar": ((), (), ()),
        "empty": ((0, 3), (3,), ()),
    }.items()
] + [
    Case(
        "where-numbers",
        lambda c: ew.where(c, 1.5, 0),
        _condition((3, 4)),
        lambda torch, c: torch.where(c, 1.5, 0.0),
        gradient=False,
    ),
    Case(
        "where-number-left",
        lambda c, x: ew.where(c, 0, x),
        _condition((3, 4), (3, 4)),
        lambda torch, c, x: torch.where(c, 0, x),
    ),
    Case(
        "where-same-tensor",
        lambda x: ew.where(ew.compare(ew.GREATER, x, 0), x, ew.neg(x)),
        away((3, 4)),
        lambda torch, x: torch.where(x > 0, x, -x),
    ),
]

_INTS = fixed(np.array([[-7, 0, 3], [2, -1, 5]], "int32"), np.array([2, -3, 4], "int32"))
_BYTES = fixed(np.array([200, 3, 0], "uint8"), np.array([100, 3, 7], "uint8"))
_BOOLS = fixed(np.array([[True, False], [False, False]]), np.array([True, False]))


def _fixed_dtype(name: str, function: Any, make: Make, torch: Any) -> Case:
    return Case(name, function, make, torch, gradient=False)


_DIVIDED = fixed(np.array([7, -7, 7, -7, 0, 1 << 60]), np.array([2, 2, -2, -2, 3, 7]))


def _bits(x: Any) -> Any:
    return bits.bit_cast(x, f"int{8 * x.type.dtype.itemsize}")


INTEGERS = [
    Case("bit-cast", _bits, normal((3, 4)), gradient=False),
    Case(
        "bit-cast-back",
        lambda x: bits.bit_cast(x, "float32"),
        fixed(np.arange(6, dtype=np.int32) + 1065353216),
        gradient=False,
    ),
    _fixed_dtype("int-add", ew.add, _INTS, lambda torch, a, b: a + b),
    _fixed_dtype("int-sub", ew.sub, _INTS, lambda torch, a, b: a - b),
    _fixed_dtype("int-mul", ew.mul, _INTS, lambda torch, a, b: a * b),
    _fixed_dtype("int-div", ew.div, _INTS, lambda torch, a, b: a / b),
    _fixed_dtype("int-pow", ew.pow_, _INTS, lambda torch, a, b: a**b),
    _fixed_dtype(
        "int-pow-negative",
        ew.pow_,
        fixed(np.array([2, -1, 1, 3, 0, -1]), np.array([-1, -3, -2, 2, -1, -2])),
        lambda torch, a, b: a**b,
    ),
    _fixed_dtype("int-floor_divide", ew.floor_divide, _DIVIDED, lambda torch, a, b: a // b),
    _fixed_dtype("int-remainder", ew.remainder, _DIVIDED, lambda torch, a, b: a % b),
    _fixed_dtype("int-maximum", ew.maximum, _INTS, lambda torch, a, b: torch.maximum(a, b)),
    _fixed_dtype("int-minimum", ew.minimum, _INTS, lambda torch, a, b: torch.minimum(a, b)),
    _fixed_dtype("int-and", lambda a, b: ew.logical(ew.AND, a, b), _INTS, lambda torch, a, b: a & b),
    _fixed_dtype("int-or", lambda a, b: ew.logical(ew.OR, a, b), _INTS, lambda torch, a, b: a | b),
    _fixed_dtype("int-gcd", gcd, _DIVIDED, lambda torch, a, b: torch.gcd(a, b)),
    _fixed_dtype("int-neg", lambda a, b: ew.neg(a), _INTS, lambda torch, a, b: -a),
    _fixed_dtype("int-abs", lambda a, b: ew.abs_(a), _INTS, lambda torch, a, b: a.abs()),
    _fixed_dtype("int-sign", lambda a, b: ew.sign(a), _INTS, lambda torch, a, b: a.sign()),
    _fixed_dtype("int-relu", lambda a, b: ew.relu(a), _INTS, lambda torch, a, b: a.relu()),
    _fixed_dtype("int-invert", lambda a, b: ew.invert(a), _INTS, lambda torch, a, b: ~a),
    _fixed_dtype("int-floor", lambda a, b: ew.floor(a), _INTS, lambda torch, a, b: a.floor()),
    _fixed_dtype("int-clip", lambda a, b: bounds.clip(a, -1, 3), _INTS, lambda torch, a, b: a.clip(-1, 3)),
    _fixed_dtype("int-clip-float", lambda a, b: bounds.clip(a, -0.5, 3), _INTS, lambda torch, a, b: a.clip(-0.5, 3)),
    _fixed_dtype("int-exp", lambda a, b: ew.exp(a), _INTS, lambda torch, a, b: a.exp()),
    _fixed_dtype("byte-add", ew.add, _BYTES, lambda torch, a, b: a + b),
    _fixed_dtype("byte-neg", lambda a, b: ew.neg(a), _BYTES, lambda torch, a, b: -a),
    _fixed_dtype("byte-pow", ew.pow_, _BYTES, lambda torch, a, b: a**b),
    _fixed_dtype("bool-and", lambda a, b: ew.logical(ew.AND, a, b), _BOOLS, lambda torch, a, b: a & b),
    _fixed_dtype("bool-or", lambda a, b: ew.logical(ew.OR, a, b), _BOOLS, lambda torch, a, b: a | b),
    _fixed_dtype("bool-not", lambda a, b: ew.invert(a), _BOOLS, lambda torch, a, b: ~a),
    _fixed_dtype("bool-add", ew.add, _BOOLS, lambda torch, a, b: a + b),
    _fixed_dtype("bool-mul", ew.mul, _BOOLS, lambda torch, a, b: a * b),
    _fixed_dtype("bool-maximum", ew.maximum, _BOOLS, lambda torch, a, b: torch.maximum(a, b)),
    _fixed_dtype("bool-times-number", lambda a, b: ew.mul(a, 2), _BOOLS, lambda torch, a, b: a * 2),
]

_INF = float("inf")
_EDGE = fixed([0.0, -0.0, 1e-30, -1e-30, 1.0, -1.0, 30.0, -30.0, 90.0, -90.0, 800.0, -800.0, _INF, -_INF, float("nan")])
#: PyTorch's gelu is NaN at +inf in float32, ours is +inf as the limit is.
_FINITE = fixed([0.0, -0.0, 1e-30, -1e-30, 1.0, -1.0, 5.0, -5.0, 30.0, -30.0, 800.0, -800.0, float("nan")])
_SMOOTH: dict[str, tuple[Any, Any]] = {
    "neg": (ew.neg, lambda torch, x: -x),
    "abs": (ew.abs_, lambda torch, x: x.abs()),
    "sign": (ew.sign, lambda torch, x: x.sign()),
    "exp": (ew.exp, lambda torch, x: x.exp()),
    "log": (ew.log, lambda torch, x: x.log()),
    "sqrt": (ew.sqrt, lambda torch, x: x.sqrt()),
    "sin": (ew.sin, lambda torch, x: x.sin()),
    "erf": (ew.erf, lambda torch, x: x.erf()),
    "tanh": (ew.tanh, lambda torch, x: x.tanh()),
    "sigmoid": (ew.sigmoid, lambda torch, x: x.sigmoid()),
    "relu": (ew.relu, lambda torch, x: x.relu()),
    "leaky-relu": (ew.leaky_relu, lambda torch, x: torch.nn.functional.leaky_relu(x)),
    "elu": (ew.elu, lambda torch, x: torch.nn.functional.elu(x)),
    "gelu": (ew.gelu, lambda torch, x: torch.nn.functional.gelu(x)),
    "gelu-tanh": (lambda x: ew.gelu(x, "tanh"), lambda torch, x: torch.nn.functional.gelu(x, approximate="tanh")),
    "silu": (ew.silu, lambda torch, x: torch.nn.functional.silu(x)),
    "hard-swish": (ew.hardswish, lambda torch, x: torch.nn.functional.hardswish(x)),
    "softplus": (ew.softplus, lambda torch, x: torch.nn.functional.softplus(x)),
    "clip": (lambda x: bounds.clip(x, -1, 2), lambda torch, x: x.clip(-1, 2)),
    "round": (ew.round_, lambda torch, x: x.round()),
    "reciprocal": (lambda x: ew.div(1.0, x), lambda torch, x: 1.0 / x),
    "maximum": (lambda x: ew.maximum(x, 0.5), lambda torch, x: torch.maximum(x, torch.tensor(0.5, dtype=x.dtype))),
    "isnan": (ew.isnan, lambda torch, x: x.isnan()),
}

EDGES = [
    Case(f"{name}-edge", ours, _FINITE if name.startswith("gelu") else _EDGE, theirs, gradient=False)
    for name, (ours, theirs) in _SMOOTH.items()
]

CASES = [*UNARY, *OPTIONS, *BINARY, *COMPARED, *WHERE, *INTEGERS, *EDGES]
