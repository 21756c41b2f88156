"""Power-average pooling layers."""

from __future__ import annotations

from typing import ClassVar, TypeAlias

from ..errors import OptionError
from ..tensor.tensor import Tensor
from . import functional as F
from .checks import flag, real, sizes
from .module import Module

Sizes: TypeAlias = "int | tuple[int, ...]"


class _LPPool(Module):
    axes: ClassVar[int]

    def __init__(
        self, norm_type: float, kernel_size: Sizes, stride: Sizes | None = None, ceil_mode: bool = False
    ) -> None:
        super().__init__()
        real(self, "norm_type", norm_type)
        if norm_type == 0:
            raise OptionError(f"{type(self).__name__}: norm_type must not be 0")
        sizes(self, "kernel_size", kernel_size, axes=self.axes)
        if stride is not None:
            sizes(self, "stride", stride, axes=self.axes)
        self.norm_type, self.kernel_size, self.stride = norm_type, kernel_size, stride
        self.ceil_mode = flag(self, "ceil_mode", ceil_mode)

    def _arguments(self) -> tuple[object, ...]:
        return self.norm_type, self.kernel_size, self.stride, self.ceil_mode

    def extra_repr(self) -> str:
        window = f"kernel_size={self.kernel_size}, stride={self.stride}"
        return f"norm_type={self.norm_type}, {window}, ceil_mode={self.ceil_mode}"


class LPPool1d(_LPPool):
    """The ``norm_type``-norm of sliding windows of signals (N, C, L) or (C, L).

    Parameters
    ----------
    norm_type
        Which power; signs are kept by odd ones, as in PyTorch.
    kernel_size, stride
        Ints. ``stride`` is the kernel size when omitted.
    ceil_mode
        Allow a last window that extends beyond the end.
    """

    axes = 1

    def forward(self, x: Tensor) -> Tensor:
        return F.lp_pool1d(x, *self._arguments())


class LPPool2d(_LPPool):
    """As :class:`LPPool1d`, of images (N, C, H, W) or (C, H, W); sizes are an int or two (vertical, horizontal)."""

    axes = 2

    def forward(self, x: Tensor) -> Tensor:
        return F.lp_pool2d(x, *self._arguments())


class LPPool3d(_LPPool):
    """As :class:`LPPool1d`, of volumes (N, C, D, H, W) or (C, D, H, W).

    Sizes are an int or three (depth, vertical, horizontal).
    """

    axes = 3

    def forward(self, x: Tensor) -> Tensor:
        return F.lp_pool3d(x, *self._arguments())
