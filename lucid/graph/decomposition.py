"""Decomposing composite ops into the ops that define them."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import GraphError
from .builder import Builder
from .ir import Graph
from .opdef import Attrs, OpDef, TypeAttrs
from .ops.source import INPUT
from .trace import Tracer
from .types import TensorType


def decomposition(op: OpDef, attrs: Attrs, types: Sequence[TensorType]) -> Graph:
    """The graph of a composite op's definition."""
    if op.decompose is None:
        raise GraphError(f"{op.name} has neither a kernel nor a decomposition: lucid.extend.kernel registers one")
    tracer = Tracer(Builder())
    inputs = [tracer.emit(INPUT, TypeAttrs(t.shape, t.dtype), name=f"x{i}")[0] for i, t in enumerate(types)]
    results = op.decompose(attrs, *inputs)
    results = results if isinstance(results, tuple) else (results,)
    return tracer.builder.finish([y.value for y in results])
