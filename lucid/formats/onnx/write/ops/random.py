"""Random numbers, which the other runtime draws in its own way; Lucid's seeds have no effect on them."""

from __future__ import annotations

import numpy as np

from .....graph.opdef import TypeAttrs
from .....graph.ops.random import DROPOUT, RANDOM_KEY, RANDOM_NORMAL, RANDOM_UNIFORM, DropoutAttrs
from .....graph.types import Shape, bool_
from ..draft import Item, UnwritableError
from ..registry import KIND_OF, Use, writer


@writer(RANDOM_KEY)
def key(use: Use) -> Item:
    """Nothing in the file: the runtime keeps its own random state."""
    if use.graph.reads[use.value] > 1 or None in use.readers(0):
        raise UnwritableError("its numbers are drawn twice from one key, and ONNX draws new ones each time")
    return Item("", use.type.dtype)


@writer(RANDOM_UNIFORM, RANDOM_NORMAL)
def draw(use: Use[TypeAttrs]) -> Item:
    return _drawn(use, "RandomUniform" if use.node.op is RANDOM_UNIFORM else "RandomNormal", use.attrs.shape)


def _drawn(use: Use, op: str, shape: Shape) -> Item:
    if use.inputs[-1].name:
        raise UnwritableError("its key is given, and ONNX draws by none")
    dtype = use.type.dtype
    known = [dim for dim in shape if isinstance(dim, int)]
    if len(known) == len(shape) > 0:
        return use.emit(op, dtype=dtype, settings={"shape": known, "dtype": KIND_OF[dtype]})
    like = use.emit("ConstantOfShape", use.shape(shape), dtype=dtype, value=np.zeros(1, dtype))
    return use.emit(f"{op}Like", like, dtype=dtype)


@writer(DROPOUT)
def dropout(use: Use[DropoutAttrs]) -> Item:
    x, p = use.inputs[0], use.attrs.p
    kept = use.emit("GreaterOrEqual", _drawn(use, "RandomUniform", use.type.shape), use.number(p), dtype=bool_)
    scaled = use.emit("Mul", x, use.number(1 / (1 - p) if p < 1 else 0))
    return use.emit("Where", kept, scaled, use.number(0), dtype=x.dtype)
