"""Rows of what LAPACK takes apart, without the signs that it chooses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lucid.graph.ops import decompositions

from .case import Case
from .shape import normal


def _sizes(function: Callable[..., Any]) -> Callable[..., tuple[Any, ...]]:
    return lambda x: tuple(abs(one) for one in function(x))


def _case(name: str, shape: tuple[int, ...], function: str, op: str, **options: Any) -> Case:
    def torch(torch: Any, x: Any) -> tuple[Any, ...]:
        return _sizes(lambda x: getattr(torch.linalg, function)(x, **options))(x)

    ours = getattr(decompositions, function)
    return Case(name, _sizes(lambda x: ours(x, **options)), normal(shape), torch, ops=(op,))


CASES = [
    Case(
        "eigh",
        lambda x: _sizes(decompositions.eigh)(x + x.mT),
        normal((2, 3, 3)),
        lambda torch, x: _sizes(torch.linalg.eigh)(x + x.mT),
        ops=("Eigh",),
        rtol=1e-4,  # where two are near one another
    ),
    _case("svd", (2, 3, 2), "svd", "Svd", full_matrices=False),
    _case("svd-wide", (2, 4), "svd", "Svd", full_matrices=False),
    *(
        Case(
            f"pinv-{label}",
            decompositions.pseudo_inverse,
            normal(shape),
            lambda torch, x: torch.linalg.pinv(x),
            ops=("Pinv",),
        )
        for label, shape in (("tall", (2, 4, 3)), ("wide", (2, 3)), ("empty", (2, 0, 3)))
    ),
    _case("qr", (2, 4, 3), "qr", "Qr"),
    _case("qr-wide", (2, 4), "qr", "Qr", mode="complete"),
]
