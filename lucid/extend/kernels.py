"""Registering third-party kernels."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from ..graph.opdef import OpDef
from ..runtime.planning import registry
from ..runtime.planning.registry import lowerings

P = ParamSpec("P")
R = TypeVar("R")


def _after_own(register: Callable[P, R]) -> Callable[P, R]:
    """The function that registers kernels, which first imports Lucid's own kernels of the same ops.

    These are imported when one is first needed. If one of their names were taken by then, the error would come from
    that import, and from whatever op is run first, rather than from the line that took it.
    """

    @wraps(register)
    def registering(*ops: P.args, **traits: P.kwargs) -> R:
        for op in ops:
            if isinstance(op, OpDef):  # anything else is refused by the function itself
                lowerings(op)
        return register(*ops, **traits)

    return registering


kernel = _after_own(registry.kernel)
