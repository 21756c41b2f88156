"""Kernels, keyed by op. An op may have several lowerings; the cheapest that accepts a node is taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from ..errors import GraphError
from ..graph.ir import Node
from ..graph.opdef import OpDef
from ..graph.types import TensorType
from ..lazy import LazyModule
from .emitter import Kernel

Accepts: TypeAlias = Callable[[Node, "tuple[TensorType, ...]"], bool]
Cost: TypeAlias = Callable[[Node, "tuple[TensorType, ...]", int], float]


@dataclass(frozen=True)
class Lowering:
    """One way to run an op.

    Attributes
    ----------
    name
        As shown in a plan: ``numpy``, ``im2col``, ``winograd4``.
    emit
        The kernel.
    accepts
        Whether it can run a node on inputs of the given concrete types.
    cost
        Predicted seconds for it, on a number of threads.
    exact
        Rounds no differently from a plain sum of products.
    staged
        Wants arrays that keep their address: in a program, the caller's are copied to (and results from) the arena.
    """

    name: str
    emit: Kernel
    accepts: Accepts
    cost: Cost
    exact: bool = True
    staged: bool = False


_kernels = LazyModule("lucid.runtime.kernels")
_KERNELS: dict[OpDef, list[Lowering]] = {}


def kernel(
    *ops: OpDef,
    lowering: str = "numpy",
    accepts: Accepts = lambda node, inputs: True,
    cost: Cost = lambda node, inputs, threads: 0.0,
    exact: bool = True,
    staged: bool = False,
) -> Callable[[Kernel], Kernel]:
    """Register the decorated function as a lowering of the ops."""

    def decorate(function: Kernel) -> Kernel:
        for op in ops:
            _KERNELS.setdefault(op, []).append(Lowering(lowering, function, accepts, cost, exact, staged))
        return function

    return decorate


def lowerings(op: OpDef) -> tuple[Lowering, ...]:
    """All lowerings of an op; empty for one that has only a decomposition."""
    _kernels.elementwise  # noqa: B018 - imports the package, and so registers all kernels, at the first call
    return tuple(_KERNELS.get(op, ()))


def choose(node: Node, inputs: tuple[TensorType, ...], *, threads: int = 1, exact: bool = False) -> Lowering:
    """The cheapest lowering that accepts the node."""
    fit = [low for low in lowerings(node.op) if (low.exact or not exact) and low.accepts(node, inputs)]
    if not fit:
        listed = ", ".join(map(str, inputs))
        raise GraphError(f"{node.op.name}: no kernel accepts {node.attrs} on ({listed})")
    return min(fit, key=lambda low: low.cost(node, inputs, threads)) if len(fit) > 1 else fit[0]
