"""Proof by sampling: what a pass returns must compute what it was given computes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from zlib import crc32

import numpy as np

from .errors import PassError
from .graph.ir import Graph, Value
from .graph.ops.random import RANDOM_KEY
from .graph.types import TensorType
from .passes.pipeline import Observer, Pass
from .runtime.reference import reference_values
from .tensor import Tensor

SYMBOL_SIZE = 2
"""The size that symbolic dimensions get."""

TOLERANCE = {"float32": 1e-4, "float64": 1e-9}
"""Largest difference allowed, relative to the largest value of the reference: passes may reorder sums."""


def check_pass(state: Mapping[str, Tensor]) -> Observer:
    """An observer that compares each pass's graphs on sampled inputs by the reference executor."""

    def observe(applied: Pass, before: Graph, after: Graph) -> None:
        sizes = dict.fromkeys(before.symbols, SYMBOL_SIZE)
        old, new = before.bind(sizes), after.bind(sizes)
        rng = np.random.default_rng(0)
        inputs = [_sample(rng, t) for t in old.input_types]
        parameters = {name: tensor._array for name, tensor in state.items()}
        want = reference_values(old, inputs, parameters, _keys(old))
        have = reference_values(new, inputs, parameters, _keys(new))
        for index, (a, b) in enumerate(zip(old.results, new.results, strict=True)):
            if not _close(want[a], have[b]):
                culprit = _first_difference(old, new, want, have) or str(b)
                raise PassError(
                    f"pass {applied.name} changed result {index}: node {culprit} differs from the reference by "
                    f"{_difference(want[a], have[b]):.3g}"
                )

    return observe


def _sample(rng: np.random.Generator, type_: TensorType) -> np.ndarray[Any, Any]:
    if type_.dtype.kind == "f":
        return rng.standard_normal(type_.concrete).astype(type_.dtype)
    return rng.integers(0, 2, type_.concrete).astype(type_.dtype)


def _keys(graph: Graph) -> dict[Value, np.ndarray[Any, Any]]:
    """A key for every random draw that depends on the node's name alone: both graphs draw the same numbers."""
    names = [name for name, node in graph.nodes() if node.op is RANDOM_KEY]
    return {Value(name): np.array(crc32(name.encode()), np.uint64) for name in names}


def _difference(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
    with np.errstate(all="ignore"):
        both = np.abs(a.astype(np.float64) - b.astype(np.float64))
    return float(np.nanmax(both, initial=0.0))


def _close(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.dtype.kind != "f":
        return bool(np.array_equal(a, b))
    scale = float(np.max(np.abs(a), initial=1.0, where=np.isfinite(a)))
    return bool(np.allclose(a, b, rtol=0.0, atol=TOLERANCE[a.dtype.name] * scale, equal_nan=True))


def _first_difference(old: Graph, new: Graph, want: Mapping[Value, Any], have: Mapping[Value, Any]) -> str | None:
    """The first node that both graphs have under one name and type, with different values."""
    for name in new.order:
        if (
            name in old
            and new.node(name).outputs == old.node(name).outputs
            and not _close(want[Value(name)], have[Value(name)])
        ):
            return name
    return None
