"""Rows of what runs graphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lucid.graph.opdef import NoAttrs, apply, apply_all
from lucid.graph.ops.composite import lt
from lucid.graph.ops.control import cond
from lucid.graph.ops.custom_gradient import CUSTOM_GRADIENT, ONCE, CustomGradientAttrs
from lucid.graph.ops.loops import Along, loop, scan
from lucid.graph.ops.shape import stop_gradient
from lucid.graph.ops.source import constant, full
from lucid.graph.region import Region

from ..op_checks import trace
from .case import Case
from .shape import Make, normal


def _with(condition: bool, *shapes: tuple[int, ...]) -> Make:
    def make(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray[Any, Any], ...]:
        return np.array(condition), *(rng.standard_normal(shape).astype(dtype) for shape in shapes)

    return make


def _if(label: str, ours: Callable[..., Any], theirs: Callable[..., Any], *shapes: tuple[int, ...]) -> list[Case]:
    return [
        Case(f"if-{label}-{taken}", ours, _with(taken, *shapes), theirs, ops=("If",)) for taken in (True, False)
    ]  # fmt: skip


def _nested(c: Any, x: Any, y: Any) -> Any:
    def inner() -> Any:
        return cond(x.sum() > y.sum(), lambda: [x * y], lambda: [x - y])

    return tuple(cond(c, inner, lambda: [y.exp()]))


def _cell(h: Any, x: Any, w: Any) -> Any:
    return (h @ w + x).tanh()


def _recurrent(along: Along, onto: Along) -> Callable[..., Any]:
    """A plain recurrent layer, with the squares of its states."""

    def ours(x: Any, h: Any, w: Any) -> Any:
        def turn(h: Any, x: Any) -> Any:
            h = _cell(h, x, w)
            return [h, h * h]

        return tuple(scan(turn, [h], [x], x.type.shape[along.axis], [along], lambda _: [onto]))

    return ours


def _theirs(axis: int, reverse: bool, onto: int, back: bool) -> Callable[..., Any]:
    def theirs(torch: Any, x: Any, h: Any, w: Any) -> Any:
        rows = []
        for one in x.unbind(axis)[:: -1 if reverse else 1]:
            h = _cell(h, one, w)
            rows.append(h * h)
        return h + 0, torch.stack(rows[:: -1 if back else 1], onto)

    return theirs


def _scan(label: str, axis: int, reverse: bool, onto: int, back: bool, *shapes: tuple[int, ...]) -> Case:
    return Case(
        f"scan-{label}", _recurrent(Along(axis, reverse), Along(onto, back)), normal(*shapes),
        _theirs(axis, reverse, onto, back), ops=("Scan",), tags=frozenset({"static"}),
    )  # fmt: skip


def _exchange(a: Any, b: Any) -> Any:
    """Each turn exchanges what it carries."""
    return tuple(scan(lambda a, b: [b, a * b, a], [a, b], [], 3))


def _inputless(x: Any) -> Any:
    def turn(number: Any, x: Any) -> Any:
        return [number + 1, x * 2, number, x.sum()]

    return tuple(scan(turn, [constant(x, np.int64(0)), x], [], 4))


def _nested_loops(x: Any) -> Any:
    """Running sums of rows, row by row."""

    def row(total: Any, x: Any) -> Any:
        zero = full(x, 0.0, ())
        last, sums = scan(lambda s, v: [s + v * v, s * v], [zero], [x], x.type.shape[0])
        return [total + last, sums]

    return tuple(scan(row, [full(x, 0.0, ())], [x], x.type.shape[0]))


def _doubled(x: Any, y: Any) -> Any:
    """As often as it takes."""

    def turn(number: Any, x: Any, count: Any) -> Any:
        return [lt(x.abs().sum(), 100.0), x * 2 + y, count + number]

    found = loop(turn, constant(x, np.int64(9)), lt(x.abs().sum(), 100.0), [x, constant(x, np.int64(0))])
    return tuple(found)


def _own_gradient(x: Any, w: Any) -> Any:
    """Two values with the gradients that they would have anyhow, of which the last operand is captured."""
    y, z = stop_gradient(x) * stop_gradient(w), stop_gradient(x).exp()
    types = [one.type for one in (y, z, y, z, w)]
    backward = Region(trace(lambda dy, dz, y, z, w: (dy * w + dz * z, (dy * y) / w), types))
    return apply_all(CUSTOM_GRADIENT, CustomGradientAttrs(2, backward), y, z, x, w, w)


CASES = [
    *_if(
        "product", lambda c, x, w: tuple(cond(c, lambda: [(x @ w).tanh()], lambda: [(x * 2).exp() @ w])),
        lambda torch, c, x, w: (x @ w).tanh() if c else (x * 2).exp() @ w, (3, 4), (4, 2),
    ),
    *_if(
        "captures-differ", lambda c, x, y: tuple(cond(c, lambda: [x * x, x], lambda: [y, y * 3])),
        lambda torch, c, x, y: (x * x, x + 0) if c else (y + 0, y * 3), (2, 3), (2, 3),
    ),
    *_if(
        "nested", _nested,
        lambda torch, c, x, y: ((x * y) if x.sum() > y.sum() else (x - y)) if c else y.exp(), (2, 3), (2, 3),
    ),
    *_if(
        "empty", lambda c, x: tuple(cond(c, lambda: [x * 2], lambda: [x - 1])),
        lambda torch, c, x: x * 2 if c else x - 1, (0, 3),
    ),
    _scan("forward", 0, False, 0, False, (5, 2, 3), (2, 3), (3, 3)),
    _scan("backward", 0, True, 0, True, (4, 2, 3), (2, 3), (3, 3)),
    _scan("axes", 1, False, 2, False, (2, 4, 3), (2, 3), (3, 3)),
    _scan("axes-turned", 2, True, 1, False, (2, 3, 4), (2, 3), (3, 3)),
    _scan("one", 0, False, 0, False, (1, 2, 3), (2, 3), (3, 3)),
    Case(
        "scan-none", lambda x, h, w: _recurrent(Along(), Along())(x, h, w), normal((0, 2, 3), (2, 3), (3, 3)),
        ops=("Scan",), tags=frozenset({"static"}),
    ),
    Case("scan-exchange", _exchange, normal((2, 3), (2, 3)), ops=("Scan",)),
    Case("scan-counts", _inputless, normal((2, 3)), ops=("Scan",)),
    Case("scan-nested", _nested_loops, normal((3, 4)), ops=("Scan",), tags=frozenset({"static"})),
    Case("loop", _doubled, normal((2, 3), (2, 3)), gradient=False, ops=("Loop",)),
    Case(
        "custom-gradient", _own_gradient, normal((2, 3), (2, 3)), lambda torch, x, w: (x * w, x.exp()),
        ops=("CustomGradient",), tags=frozenset({"static"}),
    ),
    Case(
        "once-differentiable", lambda x, y: apply(ONCE, NoAttrs(), x * 2, x, y), normal((2, 3), (4,)),
        lambda torch, x, y: x * 2, gradient=False, ops=("OnceDifferentiable",),
    ),
]  # fmt: skip
