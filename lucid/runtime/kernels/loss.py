"""Kernels of the losses that are ops of their own."""

from __future__ import annotations

from ...graph.ops import loss as ops
from ..planning.registry import kernel
from ..program.emitter import Emitter
from .calls import check_probabilities


@kernel(ops.BINARY_CROSS_ENTROPY)
def binary_cross_entropy(k: Emitter) -> None:
    (x, target), (y,) = k.ins, k.outs
    for name, probabilities in (("input", x), ("target", target)):
        k.line(f"{k.use(check_probabilities)}({name!r}, {probabilities})")
    a, b = (k.scratch(y.shape, x.dtype, name) for name in ("log", "log1m"))
    k.line(f"np.log({x}, out={a})")
    k.line(f"np.maximum({a}, -100, out={a})")
    k.line(f"np.negative({x}, out={b})")
    k.line(f"np.log1p({b}, out={b})")
    k.line(f"np.maximum({b}, -100, out={b})")
    # -(t a + (1 - t) b) = t (b - a) - b
    k.line(f"np.subtract({b}, {a}, out={a})")
    k.line(f"np.multiply({a}, {target}, out={a})")
    k.line(f"np.subtract({a}, {b}, out={y})")
    k.may_overwrite(0, 0, 1)
