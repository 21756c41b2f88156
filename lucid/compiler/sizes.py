"""The properties of a call's arrays that a program depends on: symbolic sizes and memory orders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from ..base.arrays import Array
from ..base.checks import shown
from ..errors import DTypeError, ShapeError
from ..graph.dims import SymDim, evaluate
from ..graph.equations import line
from ..graph.ir import Graph
from ..graph.types import order_of, widths_hint

Sizes: TypeAlias = "tuple[tuple[str, int], ...]"
Orders: TypeAlias = "tuple[tuple[int, ...] | None, ...]"


def orders_of(arrays: Sequence[Array]) -> Orders:
    """The memory orders of arrays; empty if none is channels-last."""
    orders = tuple(map(order_of, arrays))
    return orders if any(orders) else ()


def sizes_of(graph: Graph, arrays: Sequence[Array]) -> Sizes:
    """The size of each symbolic dimension in these arrays; raises if an array does not fit its input."""
    found: dict[str, int] = {}
    types = graph.input_types
    for name, type_, array in zip(graph.inputs, types, arrays, strict=True):
        if array.dtype != type_.dtype:
            raise DTypeError(
                f"input {shown(name)} is compiled for {type_}, got {array.dtype}{list(array.shape)}"
                + widths_hint((type_.dtype, array.dtype))
            )
        fits = len(type_.shape) == len(array.shape)
        for want, have in zip(type_.shape, array.shape, strict=False):
            measured = line(want)
            if measured is not None:
                size = measured.size(have)
                fits = fits and size is not None and found.setdefault(measured.name, size) == size
            elif not isinstance(want, SymDim):
                fits = fits and want == have
        if not fits:
            known = ", ".join(f"{k}={v}" for k, v in found.items())
            raise ShapeError(
                f"input {shown(name)} is compiled for {type_}, got {array.dtype}{list(array.shape)}"
                + (f" where {known}" if known else "")
            )
    for name, type_, array in zip(graph.inputs, types, arrays, strict=True):
        if any(evaluate(want, found) != have for want, have in zip(type_.shape, array.shape, strict=True)):
            raise ShapeError(f"input {shown(name)} is compiled for {type_}, got {list(array.shape)}")
    return tuple(sorted(found.items()))
