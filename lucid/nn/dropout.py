"""Dropout layers."""

from __future__ import annotations

from ..tensor.tensor import Tensor
from . import functional as F
from .checks import flag, real
from .module import Module


class Dropout(Module):
    """While training, zero each element with probability ``p`` and divide the others by ``1 - p``.

    ``inplace`` says that the input is not needed any more; it is left as it is all the same.
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = flag(self, "inplace", inplace)
        self.p = real(self, "p", p, 0.0, 1.0)

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Dropout2d(Dropout):
    """As :class:`Dropout`, with whole channels of (N, C, …) as the unit."""

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout2d(x, self.p, self.training)
