"""Dropout layers."""

from __future__ import annotations

from ..tensor.tensor import Tensor
from . import functional as F
from .checks import flag, real
from .module import Module


class _Dropout(Module):
    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = flag(self, "inplace", inplace)
        self.p = real(self, "p", p, 0.0, 1.0)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """While training, zero each element with probability ``p`` and divide the others by ``1 - p``.

    With ``inplace=True`` the input itself changes.
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.p, self.training, inplace=self.inplace)


class Dropout1d(_Dropout):
    """As :class:`Dropout`, with whole channels of (N, C, L) or (C, L) as the unit."""

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout1d(x, self.p, self.training, inplace=self.inplace)


class Dropout2d(_Dropout):
    """As :class:`Dropout`, with whole channels of (N, C, …) as the unit."""

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout2d(x, self.p, self.training, inplace=self.inplace)


class Dropout3d(_Dropout):
    """As :class:`Dropout`, with whole channels of (N, C, D, H, W) or (C, D, H, W) as the unit."""

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout3d(x, self.p, self.training, inplace=self.inplace)


class AlphaDropout(_Dropout):
    """While training, set each element with probability ``p`` to the limit of :class:`SELU` at minus infinity.

    The result is scaled and shifted to keep mean and variance (Klambauer et al., 2017).
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.alpha_dropout(x, self.p, self.training, inplace=self.inplace)


class FeatureAlphaDropout(_Dropout):
    """As :class:`AlphaDropout`, with whole channels of (N, C, …) as the unit."""

    def forward(self, x: Tensor) -> Tensor:
        return F.feature_alpha_dropout(x, self.p, self.training, inplace=self.inplace)
