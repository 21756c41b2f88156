"""Modules that reshape, and the identity."""

from __future__ import annotations

from collections.abc import Sequence

from ..base.checks import shown
from ..errors import OptionError
from ..tensor.tensor import Tensor
from . import functional as F
from .checks import size
from .module import Module


class Identity(Module):
    """Its argument, unchanged. It takes any arguments, so that it can stand in for another module."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return x


class Flatten(Module):
    """Merge the axes from ``start_dim`` to ``end_dim`` (both included)."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = size(self, "start_dim", start_dim, -32)
        self.end_dim = size(self, "end_dim", end_dim, -32)

    def forward(self, x: Tensor) -> Tensor:
        return F.flatten(x, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Split axis ``dim`` into axes of sizes ``unflattened_size``, one of which may be -1."""

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        super().__init__()
        self.dim = size(self, "dim", dim, -32)
        if not isinstance(unflattened_size, tuple | list):
            raise OptionError(f"Unflatten: unflattened_size is a tuple of ints, got {shown(unflattened_size)}")
        self.unflattened_size = tuple(size(self, "unflattened_size", n, -1) for n in unflattened_size)

    def forward(self, x: Tensor) -> Tensor:
        return F.unflatten(x, self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
