"""Rows of sums over the processes of a group, in a process by itself."""

from __future__ import annotations

from lucid.graph.opdef import AbstractTensor, apply, apply_all
from lucid.graph.ops.exchange import BEGIN, END, BeginAttrs, EndAttrs

from .case import Case
from .shape import normal


def _added(*xs: AbstractTensor) -> tuple[AbstractTensor, ...]:
    flat = apply(BEGIN, BeginAttrs(0), *xs)
    return apply_all(END, EndAttrs(0, tuple(x.type.shape for x in xs)), flat)


CASES = [
    Case("all-reduce", lambda x, y: _added(x * 2.0, y), normal((3, 4), (2,)), gradient=False),
    Case("all-reduce-empty", lambda x, y: _added(x, y), normal((0, 4), ()), gradient=False),
    Case("all-reduce-flat", lambda x: _added(x * 2.0), normal((6,)), gradient=False),
    Case("all-reduce-turned", lambda x: _added(x.transpose(0, 1)), normal((3, 4)), gradient=False),
]
