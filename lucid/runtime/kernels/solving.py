"""Kernels of inverses, linear systems and factorisations by elimination."""

from __future__ import annotations

from ...graph.ops.solving import CHOLESKY, INVERSE, SLOG_DET, SOLVE
from ..planning.registry import kernel
from ..program.emitter import Emitter
from .calls import cholesky_factor, inverse, solution


@kernel(INVERSE)
def inv(k: Emitter) -> None:
    (x,), (y,) = k.ins, k.outs
    k.line(f"{y}[...] = {k.use(inverse)}({x})")


@kernel(SOLVE)
def solve(k: Emitter) -> None:
    (a, b), (y,) = k.ins, k.outs
    k.line(f"{y}[...] = {k.use(solution)}({a}, {b})")


@kernel(CHOLESKY)
def cholesky(k: Emitter) -> None:
    (x,), (y,) = k.ins, k.outs
    k.line(f"{y}[...] = {k.use(cholesky_factor)}({x})")


@kernel(SLOG_DET)
def slogdet(k: Emitter) -> None:
    (x,), (sign, size) = k.ins, k.outs
    found = k.scratch((2, *x.shape[:-2]), x.dtype, "found")
    k.line(f"{found}[...] = np.linalg.slogdet({x})")
    for i, y in enumerate((sign, size)):
        if y is not None:
            k.line(f"{y}[...] = {found}[{i}]")
