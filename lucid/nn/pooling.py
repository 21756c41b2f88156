"""Pooling layers."""

from __future__ import annotations

from typing import Any, ClassVar, TypeAlias

from ..base.checks import shown
from ..errors import OptionError
from ..graph.ops.avgpool import OUTPUT_SIZES
from ..graph.ops.pool import OMITTED, warn_of_omitted_stride
from ..tensor.tensor import Tensor
from . import functional as F
from .checks import flag, real, size, sizes
from .module import Module

Sizes: TypeAlias = "int | tuple[int, ...]"
Maxima: TypeAlias = "Tensor | tuple[Tensor, Tensor]"


class _Pool(Module):
    """A pooling over sliding windows along ``axes``."""

    axes: ClassVar[int]

    def __init__(self, kernel_size: Sizes, stride: Sizes | None, padding: Sizes, ceil_mode: bool) -> None:
        super().__init__()
        self.kernel_size = sizes(self, "kernel_size", kernel_size, axes=self.axes)
        self.stride = self.kernel_size if stride is None else sizes(self, "stride", stride, axes=self.axes)
        self.padding = sizes(self, "padding", padding, 0, self.axes)
        self.ceil_mode = flag(self, "ceil_mode", ceil_mode)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _MaxPool(_Pool):
    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode)
        self.dilation = sizes(self, "dilation", dilation, axes=self.axes)
        for pad, kernel, step in zip(self.padding, self.kernel_size, self.dilation, strict=True):
            if pad > step * (kernel - 1):
                raise OptionError(
                    f"{type(self).__name__}: padding {self.padding} lets a window of kernel_size {self.kernel_size}, "
                    f"dilation {self.dilation}, see only padding; use less padding or a larger kernel"
                )
        self.return_indices = flag(self, "return_indices", return_indices)

    def _arguments(self) -> tuple[object, ...]:
        return self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, dilation={self.dilation}, ceil_mode={self.ceil_mode}"


class MaxPool2d(_MaxPool):
    """Maximum over sliding windows of images (N, C, H, W) or (C, H, W).

    Parameters
    ----------
    kernel_size, stride, padding
        An int, or two (vertical, horizontal). ``stride`` is 1 when omitted, with a warning for larger windows; None
        stands for the kernel size.
    dilation
        Distance between the elements of a window.
    return_indices
        Also return the positions of the maxima, as ``row * W + column``.
    ceil_mode
        Allow a last window that extends beyond the end.
    pad_value
        The elements of the padding: 0 by default, which can win over negatives; -inf never wins, as in PyTorch.

    Notes
    -----
    H_out = floor((H + 2 padding - dilation (kernel_size - 1) - 1) / stride) + 1. The gradient goes to the first
    maximum of each window, in row-major order; the padding's share goes nowhere.
    """

    axes = 2

    def __init__(
        self,
        kernel_size: Sizes = 1,
        stride: Sizes | None = OMITTED,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
        *,
        pad_value: float = 0.0,
    ) -> None:
        super().__init__(kernel_size, stride, padding, dilation, return_indices, ceil_mode)
        self.pad_value = real(self, "pad_value", pad_value)
        if stride is OMITTED:
            warn_of_omitted_stride("MaxPool2d", self.kernel_size)

    def forward(self, x: Tensor) -> Any:
        return F.max_pool2d(x, *self._arguments(), pad_value=self.pad_value)

    def extra_repr(self) -> str:
        ordinary = {"dilation": (1, 1), "ceil_mode": False, "pad_value": 0.0, "return_indices": False}
        others = [f"{name}={getattr(self, name)}" for name, value in ordinary.items() if getattr(self, name) != value]
        return ", ".join([_Pool.extra_repr(self), *others])


class MaxPool1d(_MaxPool):
    """Maximum over sliding windows of signals (N, C, L) or (C, L), as PyTorch's.

    Parameters
    ----------
    kernel_size, stride, padding, dilation
        Ints. ``stride`` is the kernel size when omitted; padding never wins.
    return_indices
        Also return the positions of the maxima.
    ceil_mode
        Allow a last window that extends beyond the end.
    """

    axes = 1

    def forward(self, x: Tensor) -> Maxima:
        found: Maxima = F.max_pool1d(x, *self._arguments())
        return found


class MaxPool3d(_MaxPool):
    """Maximum over sliding windows of volumes (N, C, D, H, W) or (C, D, H, W), as PyTorch's.

    Parameters
    ----------
    kernel_size, stride, padding, dilation
        An int, or three (depth, vertical, horizontal). ``stride`` is the kernel size when omitted; padding never wins.
    return_indices
        Also return the positions of the maxima, as ``(plane * H + row) * W + column``.
    ceil_mode
        Allow a last window that extends beyond the end.
    """

    axes = 3

    def forward(self, x: Tensor) -> Maxima:
        found: Maxima = F.max_pool3d(x, *self._arguments())
        return found


class _AvgPool(_Pool):
    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode)
        if any(2 * pad > kernel for pad, kernel in zip(self.padding, self.kernel_size, strict=True)):
            raise OptionError(
                f"{type(self).__name__}: padding {self.padding} is more than half of the kernel_size {self.kernel_size}"
            )
        self.count_include_pad = flag(self, "count_include_pad", count_include_pad)

    def _arguments(self) -> tuple[object, ...]:
        return self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad


class AvgPool1d(_AvgPool):
    """Mean over sliding windows of signals (N, C, L) or (C, L).

    Parameters are those of :class:`AvgPool2d`, with one number for the one axis and without a divisor.
    """

    axes = 1

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool1d(x, *self._arguments())


class _AvgPoolWithDivisor(_AvgPool):
    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, count_include_pad)
        self.divisor_override = None if divisor_override is None else size(self, "divisor_override", divisor_override)


class AvgPool2d(_AvgPoolWithDivisor):
    """Mean over sliding windows of images (N, C, H, W) or (C, H, W).

    Parameters
    ----------
    kernel_size, stride, padding
        An int, or two (vertical, horizontal). ``stride`` is the kernel size when omitted.
    ceil_mode
        Allow a last window that extends beyond the end.
    count_include_pad
        Count the zeros of the padding in the mean.
    divisor_override
        Divide each sum by this instead of the count.
    """

    axes = 2

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, *self._arguments(), self.divisor_override)


class AvgPool3d(_AvgPoolWithDivisor):
    """Mean over sliding windows of volumes (N, C, D, H, W) or (C, D, H, W).

    Parameters are those of :class:`AvgPool2d`, with an int or three (depth, vertical, horizontal).
    """

    axes = 3

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool3d(x, *self._arguments(), self.divisor_override)


class _AdaptivePool(Module):
    axes: ClassVar[int]

    def __init__(self, output_size: int | tuple[int | None, ...] | None) -> None:
        super().__init__()
        each = tuple(output_size) if isinstance(output_size, tuple | list) else (output_size,) * self.axes
        if len(each) != self.axes:
            raise OptionError(
                f"{type(self).__name__}: output_size is {OUTPUT_SIZES[self.axes]}, got {shown(output_size)}"
            )
        self.output_size = tuple(n if n is None else size(self, "output_size", n) for n in each)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptivePool):
    """Mean over windows that divide the signal into ``output_size``."""

    axes = 1

    def forward(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool1d(x, self.output_size)


class AdaptiveAvgPool2d(_AdaptivePool):
    """Mean over windows that divide the image into ``output_size``: an int, or two; None keeps the input's size."""

    axes = 2

    def forward(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(x, self.output_size)


class AdaptiveAvgPool3d(_AdaptivePool):
    """Mean over windows that divide the volume into ``output_size``: an int, or three; None keeps the input's size."""

    axes = 3

    def forward(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool3d(x, self.output_size)


class _AdaptiveMaxPool(_AdaptivePool):
    def __init__(self, output_size: int | tuple[int | None, ...] | None, return_indices: bool = False) -> None:
        super().__init__(output_size)
        self.return_indices = flag(self, "return_indices", return_indices)


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """Maximum over windows that divide the signal into ``output_size``.

    With ``return_indices`` also the positions of the maxima.
    """

    axes = 1

    def forward(self, x: Tensor) -> Maxima:
        found: Maxima = F.adaptive_max_pool1d(x, self.output_size, self.return_indices)
        return found


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """Maximum over windows that divide the image into ``output_size``: an int, or two; None keeps the input's size.

    With ``return_indices`` also the positions of the maxima, as ``row * W + column``.
    """

    axes = 2

    def forward(self, x: Tensor) -> Any:
        return F.adaptive_max_pool2d(x, self.output_size, self.return_indices)


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """Maximum over windows that divide the volume into ``output_size``: an int, or three; None keeps the input's size.

    With ``return_indices`` also the positions of the maxima, as ``(plane * H + row) * W + column``.
    """

    axes = 3

    def forward(self, x: Tensor) -> Maxima:
        found: Maxima = F.adaptive_max_pool3d(x, self.output_size, self.return_indices)
        return found
