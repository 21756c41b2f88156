"""Unpooling: layers that put maxima back to their positions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, TypeAlias

from ..tensor.tensor import Tensor
from . import functional as F
from .checks import sizes
from .module import Module

Sizes: TypeAlias = "int | tuple[int, ...]"


class _MaxUnpool(Module):
    axes: ClassVar[int]

    def __init__(self, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0) -> None:
        super().__init__()
        self.kernel_size = sizes(self, "kernel_size", kernel_size, axes=self.axes)
        self.stride = self.kernel_size if stride is None else sizes(self, "stride", stride, axes=self.axes)
        self.padding = sizes(self, "padding", padding, 0, self.axes)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    """The partial inverse of ``MaxPool1d``: maxima (N, C, L) or (C, L) at their positions, zeros elsewhere.

    Called with both results of a pooling with ``return_indices=True``, and with the size before it if that is
    ambiguous.

    Parameters
    ----------
    kernel_size, stride, padding
        Those of the pooling. ``stride`` is the kernel size by default.
    """

    axes = 1

    def forward(self, x: Tensor, indices: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        return F.max_unpool1d(x, indices, self.kernel_size, self.stride, self.padding, output_size)


class MaxUnpool2d(_MaxUnpool):
    """As :class:`MaxUnpool1d`, of images (N, C, H, W) or (C, H, W); sizes are an int or two (vertical, horizontal)."""

    axes = 2

    def forward(self, x: Tensor, indices: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        return F.max_unpool2d(x, indices, self.kernel_size, self.stride, self.padding, output_size)


class MaxUnpool3d(_MaxUnpool):
    """As :class:`MaxUnpool1d`, of volumes (N, C, D, H, W) or (C, D, H, W); sizes are an int or three."""

    axes = 3

    def forward(self, x: Tensor, indices: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        return F.max_unpool3d(x, indices, self.kernel_size, self.stride, self.padding, output_size)
