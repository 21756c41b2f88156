"""Max pooling over windows at random places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, TypeAlias

from ..errors import OptionError
from ..tensor.tensor import Tensor
from . import functional as F
from .checks import each, flag, real, size, sizes
from .module import Module
from .pooling import Maxima

Sizes: TypeAlias = "int | Sequence[int]"


class _FractionalMaxPool(Module):
    axes: ClassVar[int]

    def __init__(
        self,
        kernel_size: Sizes,
        output_size: Sizes | None = None,
        output_ratio: float | Sequence[float] | None = None,
        return_indices: bool = False,
        _random_samples: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size = sizes(self, "kernel_size", kernel_size, axes=self.axes)
        if (output_size is None) == (output_ratio is None):
            raise OptionError(f"{type(self).__name__}: give output_size or output_ratio, and not both")
        self.output_size = None if output_size is None else each(self, "output_size", output_size, size)
        self.output_ratio = None if output_ratio is None else each(self, "output_ratio", output_ratio, real)
        self.return_indices = flag(self, "return_indices", return_indices)
        self.register_buffer("_random_samples", _random_samples)

    def _arguments(self) -> tuple[object, ...]:
        return self.kernel_size, self.output_size, self.output_ratio, self.return_indices, self._random_samples


class FractionalMaxPool2d(_FractionalMaxPool):
    """Maximum over windows of images (N, C, H, W) or (C, H, W) that begin at random places (Graham, 2014).

    Parameters
    ----------
    kernel_size
        An int, or two (vertical, horizontal).
    output_size, output_ratio
        The size of the result, or its share of the image's: one for both axes, or two.
    return_indices
        Also return the positions of the maxima, as ``row * W + column``.
    """

    axes = 2

    def forward(self, x: Tensor) -> Maxima:
        found: Maxima = F.fractional_max_pool2d(x, *self._arguments())
        return found


class FractionalMaxPool3d(_FractionalMaxPool):
    """As :class:`FractionalMaxPool2d`, of volumes (N, C, D, H, W) or (C, D, H, W)."""

    axes = 3

    def forward(self, x: Tensor) -> Maxima:
        found: Maxima = F.fractional_max_pool3d(x, *self._arguments())
        return found
