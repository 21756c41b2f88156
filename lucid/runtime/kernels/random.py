"""Kernels of the random ops: NumPy's generator on the key."""

from __future__ import annotations

import numpy as np

from ...graph.ops import random as ops
from ...graph.rng import generator, next_key
from ..planning.registry import kernel
from ..program.emitter import Emitter, Operand


@kernel(ops.RANDOM_KEY)
def random_key(k: Emitter) -> None:
    k.line(f"{k.outs[0]}[...] = {k.use(next_key)}()")


def _draw(k: Emitter, key: Operand, target: Operand, method: str) -> None:
    """Draw into row-major memory: the generator writes in memory order, and results must not depend on the layout."""
    k.line(f"{k.use(generator)}({key}).{method}(dtype=np.{target.dtype.name}, out={target})")


@kernel(ops.RANDOM_UNIFORM, ops.RANDOM_NORMAL)
def draw(k: Emitter) -> None:
    (key,), (y,) = k.ins, k.outs
    method = "random" if k.node.op is ops.RANDOM_UNIFORM else "standard_normal"
    target = y if y.type.order is None else k.scratch(y.shape, y.dtype)
    _draw(k, key, target, method)
    if target is not y:
        k.line(f"{y}[...] = {target}")


@kernel(ops.DROPOUT)
def dropout(k: Emitter) -> None:
    (x, key), (y,), p = k.ins, k.outs, k.attrs.p
    if p == 1:
        k.line(f"{y}.fill(0)")
        return
    draws = k.scratch(x.shape, np.dtype(np.float32), "draws")
    dropped = k.scratch(x.shape, np.dtype(np.bool_), "dropped")
    _draw(k, key, draws, "random")
    k.line(f"np.less({draws}, {k.number(p)}, out={dropped})")
    k.line(f"np.multiply({x}, {k.number(1 / (1 - p))}, out={y})")
    k.line(f"np.copyto({y}, 0, where={dropped})")
    k.may_overwrite(0, 0)
