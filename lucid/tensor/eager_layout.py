"""The memory layout of eager results: element-wise ops keep that of their operands, as in PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

import numpy as np

from ..base.arrays import Array
from ..graph.dims import evaluate
from ..graph.opdef import OpDef
from .strides import elementwise
from .views import Held

_Seen: TypeAlias = "tuple[tuple[int, ...], tuple[int, ...]]"


def with_operand_layout(op: OpDef, inputs: Sequence[Held], arrays: tuple[Array, ...]) -> tuple[Array, ...]:
    """The results of an element-wise op, copied to the memory layout that its operands determine."""
    if not op.elementwise or all(x._array.flags.c_contiguous for x in inputs):
        return arrays
    operands = tuple([_seen(x._array) for x in inputs])
    return tuple([_as(y, _order(y.shape, operands)) for y in arrays])


def copy_keeping_layout(array: Array) -> Array:
    """A copy whose axes follow each other in memory as those of the array do."""
    return array.copy() if array.flags.c_contiguous else _as(array.copy(), _order(array.shape, (_seen(array),)))


def _seen(array: Array) -> _Seen:
    return array.shape, tuple([step // array.itemsize for step in array.strides])


@lru_cache(maxsize=4096)
def _order(shape: tuple[int, ...], operands: tuple[_Seen, ...]) -> tuple[int, ...] | None:
    """The axes from the outermost to the innermost in memory; None for row-major order."""
    steps = elementwise(shape, operands)
    order = sorted(range(len(shape)), key=lambda axis: -evaluate(steps[axis], {}))
    return None if order == list(range(len(shape))) else tuple(order)


def _as(array: Array, order: tuple[int, ...] | None) -> Array:
    if order is None:
        return array
    made = np.empty([array.shape[axis] for axis in order], array.dtype).transpose(np.argsort(order))
    made[...] = array
    return made
