"""Reductions over every kind of axes, with empty, 0-d, integer and not finite inputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.graph.opdef import apply
from lucid.graph.ops import reduce

from .case import Case
from .elementwise import away, fixed, normal, positive

_NAN, _INF = float("nan"), float("inf")

#: Shape and ``dim``.
_OVER: dict[str, tuple[tuple[int, ...], Any]] = {
    "all": ((3, 4), None),
    "rows": ((3, 4), 0),
    "last": ((3, 4), -1),
    "two": ((2, 3, 4), (0, 2)),
    "spatial": ((2, 3, 4, 5), (2, 3)),
    "channels": ((2, 3, 4, 5), 1),
    "batch": ((2, 3, 4, 5), (0, -1, -2)),
    "one": ((3, 1), 1),
    "scalar": ((), None),
    "scalar-dim": ((), -1),
    "no-rows": ((0, 3), 1),
}

_SMOOTH: dict[str, tuple[Any, Any, Any]] = {
    "sum": (reduce.sum, lambda torch: torch.sum, normal),
    "mean": (reduce.mean, lambda torch: torch.mean, normal),
    "amax": (reduce.amax, lambda torch: torch.amax, away),
    "amin": (reduce.amin, lambda torch: torch.amin, away),
    "logsumexp": (reduce.logsumexp, lambda torch: torch.logsumexp, normal),
}


def _theirs(pick: Any, dim: Any, keepdim: bool, rank: int) -> Any:
    axes = tuple(range(rank)) if dim is None else dim
    return lambda torch, x: pick(torch)(x, dim=axes, keepdim=keepdim)


SMOOTH = [
    Case(
        f"{name}-{kind}{'-keepdim' if keepdim else ''}",
        lambda x, f=ours, d=dim, k=keepdim: f(x, d, keepdim=k),
        make(shape),
        _theirs(theirs, dim, keepdim, len(shape)),
    )
    for name, (ours, theirs, make) in _SMOOTH.items()
    for kind, (shape, dim) in _OVER.items()
    for keepdim in (False, True)
]

SPREAD = [
    Case(
        f"{name}-{kind}-correction{correction}{'-keepdim' if keepdim else ''}",
        lambda x, f=ours, d=dim, c=correction, k=keepdim: f(x, d, correction=c, keepdim=k),
        normal(shape),
        None  # PyTorch warns of too few elements even where there is nothing to divide
        if kind == "no-rows"
        else lambda torch, x, n=name, d=dim, c=correction, k=keepdim: getattr(torch, n)(
            x, dim=d, correction=c, keepdim=k
        ),
    )
    for name, ours in (("var", reduce.var), ("std", reduce.std))
    for kind, (shape, dim) in _OVER.items()
    if kind not in ("one", "scalar", "scalar-dim")
    for correction, keepdim in ((1, False), (0, True), (0.5, False))
]

_FACTORS: dict[str, Any] = {
    "zero": fixed([[2.0, 0.0, 3.0], [1.0, -2.0, 4.0]]),
    "zeros": fixed([[0.0, 2.0, 0.0], [0.0, 0.0, 0.0]]),
    "tiny": fixed([[1e-20, 2e-20, 3.0], [1e15, 2.0, 1e14]]),
}


def _times(x: Any, dims: Any, keepdim: bool) -> Any:
    """PyTorch multiplies along one axis at a time."""
    dims = tuple(range(x.ndim)) if dims is None else dims if isinstance(dims, tuple) else (dims,)
    for dim in sorted((d % max(x.ndim, 1) for d in dims), reverse=True):
        x = x.prod(dim, keepdim=keepdim)
    return x


PRODUCTS = [
    *(
        Case(
            f"prod-{kind}{'-keepdim' if keepdim else ''}",
            lambda x, d=dim, k=keepdim: reduce.prod(x, d, k),
            normal(shape),
            lambda torch, x, d=dim, k=keepdim: _times(x, d, k),
        )
        for kind, (shape, dim) in _OVER.items()
        for keepdim in (False, True)
    ),
    *(
        Case(
            f"prod-{kind}-{dim}",
            lambda x, d=dim: reduce.prod(x, d),
            make,
            lambda torch, x, d=dim: _times(x, d, False),
            gradient=kind != "tiny",  # whose differences are none
        )
        for kind, make in _FACTORS.items()
        for dim in (None, 0, 1)
    ),
    Case("prod-of-none", lambda x: reduce.prod(x, 0), normal((0, 3)), lambda torch, x: x.prod(0)),
    Case("int-prod", reduce.prod, fixed(np.array([[3, -1, 2], [7, 7, 1]], "int32")), lambda torch, x: x.prod()),
    Case("byte-prod", reduce.prod, fixed(np.array([200, 100], "uint8")), lambda torch, x: x.prod()),
    Case("bool-prod", reduce.prod, fixed(np.array([True, True])), lambda torch, x: x.prod()),
    Case(
        "prod-dtype",
        lambda x: reduce.prod(x, 0, dtype="int32"),
        fixed(np.array([[200, 100], [2, 1]], "uint8")),
        lambda torch, x: x.prod(0, dtype=torch.int32),
    ),
]

_POSITIONS: dict[str, tuple[tuple[int, ...], int | None]] = {
    "all": ((3, 4), None),
    "rows": ((3, 4), 0),
    "last": ((3, 4), -1),
    "channels": ((2, 3, 4, 5), 1),
    "no-rows": ((0, 3), 1),
}

POSITIONS = [
    Case(
        f"{name}-{kind}{'-keepdim' if keepdim else ''}",
        lambda x, f=ours, d=dim, k=keepdim: f(x, d, k),
        away(shape),
        lambda torch, x, n=name, d=dim, k=keepdim: getattr(torch, n)(x, dim=d, keepdim=k),
        gradient=False,
    )
    for name, ours in (("argmax", reduce.argmax), ("argmin", reduce.argmin))
    for kind, (shape, dim) in _POSITIONS.items()
    for keepdim in (False, True)
]

EXTREMA = [
    Case(
        f"{name}-{kind}{'-keepdim' if keepdim else ''}",
        lambda x, f=ours, d=dim, k=keepdim: f(x, d, k),
        away(shape),
        lambda torch, x, n=name, d=dim, k=keepdim: getattr(torch, n)(x, dim=d, keepdim=k),
    )
    for name, ours in (("max", reduce.max), ("min", reduce.min))
    for kind, (shape, dim) in _POSITIONS.items()
    if dim is not None
    for keepdim in (False, True)
] + [
    Case("max-of-all", reduce.max, away((3, 4)), lambda torch, x: x.max()),
    Case("min-of-all", reduce.min, away((3, 4)), lambda torch, x: x.min()),
]

CUMULATIVE = [
    Case(
        f"cumsum-{kind}",
        lambda x, d=dim: reduce.cumsum(x, d),
        normal(shape),
        lambda torch, x, d=dim: torch.cumsum(x, d),
    )
    for kind, shape, dim in (
        ("rows", (3, 4), 0),
        ("last", (3, 4), -1),
        ("channels", (2, 3, 4, 5), 1),
        ("vector", (5,), 0),
        ("empty", (0, 3), 0),
    )
]

SUM_TO = [
    Case(
        f"sum-to-{'x'.join(map(str, target)) or 'scalar'}",
        lambda x, t=target: reduce.sum_to(x, t),
        normal((2, 3, 4)),
        lambda torch, x, t=target: x.sum_to_size(t),
        tags=frozenset({"static"}),
    )
    for target in ((2, 3, 4), (3, 4), (1, 3, 1), (4,), ())
]

_TIES = fixed([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]])
_WITH_NAN = fixed([[1.0, _NAN, 3.0, _NAN], [_INF, -_INF, 0.0, 2.0], [-_INF] * 4, [_INF] * 4])
_NUMBERS = fixed(np.array([[3, -1, 2], [7, 7, 0]], "int32"))
_BYTES = fixed(np.array([[200, 100, 3], [1, 255, 255]], "uint8"))
_BOOLS = fixed(np.array([[True, False, True], [False, False, False]]))


def _exact(name: str, function: Any, make: Any, torch: Any) -> Case:
    return Case(name, function, make, torch, gradient=False)


EDGES = [
    *(
        _exact(
            f"{name}-nan",
            lambda x, f=ours: f(x, 1),
            _WITH_NAN,
            lambda torch, x, n=name: getattr(torch, n)(x, dim=1),
        )
        for name, ours in (
            ("sum", reduce.sum),
            ("mean", reduce.mean),
            ("amax", reduce.amax),
            ("amin", reduce.amin),
            ("argmax", reduce.argmax),
            ("argmin", reduce.argmin),
            ("max", reduce.max),
            ("min", reduce.min),
            ("cumsum", reduce.cumsum),
            ("logsumexp", reduce.logsumexp),
        )
    ),
    _exact("argmax-ties", lambda x: reduce.argmax(x, 1), _TIES, lambda torch, x: torch.argmax(x, 1)),
    _exact("argmin-ties", lambda x: reduce.argmin(x, 1), _TIES, lambda torch, x: torch.argmin(x, 1)),
    _exact("amax-ties", lambda x: reduce.amax(x, 1), _TIES, lambda torch, x: torch.amax(x, 1)),
    _exact("logsumexp-big", lambda x: reduce.logsumexp(x, 0), fixed([1000.0, 999.0]), lambda torch, x: x.logsumexp(0)),
    _exact("sum-of-none", lambda x: reduce.sum(x, 0), normal((0, 3)), lambda torch, x: x.sum(0)),
    _exact("mean-of-none", lambda x: reduce.mean(x, 0), normal((0, 3)), lambda torch, x: x.mean(0)),
    _exact("logsumexp-of-none", lambda x: reduce.logsumexp(x, 0), normal((0, 3)), lambda torch, x: x.logsumexp(0)),
    _exact("var-of-one", lambda x: reduce.var(x, 1), normal((3, 1)), None),
    _exact("var-of-less", lambda x: reduce.var(x, 1, correction=3), positive((3, 2)), None),
    *(
        Case(f"no-axes-{op.name}", lambda x, op=op: apply(op, reduce.ReduceAttrs(()), x), normal((2, 3)), None)
        for op in (reduce.SUM, reduce.MEAN, reduce.MAX)
    ),
    _exact("int-sum", lambda x: reduce.sum(x, 1), _NUMBERS, lambda torch, x: x.sum(1)),
    _exact("int-amax", lambda x: reduce.amax(x, 1), _NUMBERS, lambda torch, x: x.amax(1)),
    _exact("int-amin", lambda x: reduce.amin(x, 0), _NUMBERS, lambda torch, x: x.amin(0)),
    _exact("int-argmax", lambda x: reduce.argmax(x, 1), _NUMBERS, lambda torch, x: x.argmax(1)),
    _exact("int-cumsum", lambda x: reduce.cumsum(x, 1), _NUMBERS, lambda torch, x: x.cumsum(1)),
    _exact("byte-sum", lambda x: reduce.sum(x, 1), _BYTES, lambda torch, x: x.sum(1)),
    _exact("byte-cumsum", lambda x: reduce.cumsum(x, 1), _BYTES, lambda torch, x: x.cumsum(1)),
    _exact("bool-sum", reduce.sum, _BOOLS, lambda torch, x: x.sum()),
    _exact("bool-amax", lambda x: reduce.amax(x, 1), _BOOLS, lambda torch, x: x.amax(1)),
    _exact("bool-amin", lambda x: reduce.amin(x, 1), _BOOLS, lambda torch, x: x.amin(1)),
]

CASES = [*SMOOTH, *PRODUCTS, *SPREAD, *POSITIONS, *EXTREMA, *CUMULATIVE, *SUM_TO, *EDGES]
