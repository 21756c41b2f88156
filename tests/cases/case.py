"""What a row of the test table says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Case:
    """One application of a function of ``lucid``.

    Attributes
    ----------
    name
        Unique label, as ``relu`` or ``conv2d-stride2-groups2``.
    function
        Takes tensors (eager or symbols), returns a tensor or a tuple of them.
    make
        ``make(rng, dtype)`` returns the input arrays; float inputs have the dtype asked for.
    torch
        The same in PyTorch: ``torch(module torch, *torch tensors)``; None where it has no such function.
    gradient
        Whether to check gradients by finite differences (float64).
    ops
        Names of IR ops this row is meant to cover.
    rtol
        Relative tolerance against PyTorch in float32; say why where it is not the default.
    """

    name: str
    function: Callable[..., Any]
    make: Callable[[np.random.Generator, str], tuple[np.ndarray[Any, Any], ...]]
    torch: Callable[..., Any] | None = None
    gradient: bool = True
    ops: tuple[str, ...] = ()
    rtol: float = 1e-5
    tags: frozenset[str] = field(default_factory=frozenset)
