"""Windows of images as columns, and back."""

from __future__ import annotations

from typing import TypeAlias

from ..tensor.tensor import Tensor
from . import functional as F
from .checks import sizes
from .module import Module

Sizes: TypeAlias = "int | tuple[int, ...]"


class Unfold(Module):
    """The windows of images (N, C, H, W) or (C, H, W) as columns (N, C kh kw, windows) or (C kh kw, windows).

    Parameters
    ----------
    kernel_size, dilation, padding, stride
        An int, or two (vertical, horizontal); the padding is of zeros.
    """

    def __init__(self, kernel_size: Sizes, dilation: Sizes = 1, padding: Sizes = 0, stride: Sizes = 1) -> None:
        super().__init__()
        names = ("kernel_size", "dilation", "padding", "stride")
        for name, value in zip(names, (kernel_size, dilation, padding, stride), strict=True):
            sizes(self, name, value, 0 if name == "padding" else 1)
            setattr(self, name, value)

    def _windows(self) -> tuple[object, ...]:
        return self.kernel_size, self.dilation, self.padding, self.stride

    def forward(self, x: Tensor) -> Tensor:
        return F.unfold(x, *self._windows())

    def extra_repr(self) -> str:
        names = ("kernel_size", "dilation", "padding", "stride")
        return ", ".join(f"{name}={getattr(self, name)}" for name in names)


class Fold(Unfold):
    """Images of ``output_size`` to which every column that :class:`Unfold` makes is added at its window.

    Parameters
    ----------
    output_size
        An int, or two (height, width).
    kernel_size, dilation, padding, stride
        As in :class:`Unfold`.
    """

    def __init__(
        self, output_size: Sizes, kernel_size: Sizes, dilation: Sizes = 1, padding: Sizes = 0, stride: Sizes = 1
    ) -> None:
        super().__init__(kernel_size, dilation, padding, stride)
        sizes(self, "output_size", output_size)
        self.output_size = output_size

    def forward(self, x: Tensor) -> Tensor:
        return F.fold(x, self.output_size, *self._windows())

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}, {super().extra_repr()}"
