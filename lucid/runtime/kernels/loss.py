"""Kernels of the losses that are ops of their own."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from ...errors import ExecutionError
from ...graph.ops import loss as ops
from ..planning.registry import kernel
from ..program.emitter import Emitter

Array: TypeAlias = "np.ndarray[Any, Any]"


def check_probabilities(name: str, x: Array) -> None:
    """Raise where an array holds anything but numbers from 0 to 1."""
    if x.size and not (x.min() >= 0 and x.max() <= 1):  # of NaN neither is true
        hint = "; of logits take binary_cross_entropy_with_logits" if name == "input" else ""
        raise ExecutionError(
            f"binary_cross_entropy: the {name} must lie between 0 and 1 everywhere, got {x.min():.6g} to "
            f"{x.max():.6g}{hint}"
        )


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
