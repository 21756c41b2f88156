"""Pooling layers."""

from __future__ import annotations

from typing import Any

from ..base.checks import shown
from ..errors import OptionError
from ..graph.ops.pool import OMITTED, warn_of_omitted_stride
from ..tensor.tensor import Tensor
from . import functional as F
from .checks import flag, real, size, sizes
from .module import Module


class MaxPool2d(Module):
    """Maximum over sliding windows of images (N, C, H, W) or (C, H, W).

    Parameters
    ----------
    kernel_size, stride, padding
        An int, or two (vertical, horizontal). ``stride`` is 1 when omitted, with a warning for larger windows; None
        stands for the kernel size.
    dilation
        Distance between the elements of a window.
    return_indices
        Also return where the maxima stand, as ``row * W + column``.
    ceil_mode
        Let a last window hang over the end.
    pad_value
        What the padding holds: 0 when omitted, so that it can win over negatives; -inf never wins, as in PyTorch.

    Notes
    -----
    H_out = floor((H + 2 padding - dilation (kernel_size - 1) - 1) / stride) + 1. The gradient goes to the first
    maximum of each window, in row-major order; the padding's share goes nowhere.
    """

    def __init__(
        self,
        kernel_size: int | tuple[int, ...] = 1,
        stride: int | tuple[int, ...] | None = OMITTED,
        padding: int | tuple[int, ...] = 0,
        dilation: int | tuple[int, ...] = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
        *,
        pad_value: float = 0.0,
    ) -> None:
        super().__init__()
        self.kernel_size = sizes(self, "kernel_size", kernel_size)
        self.stride = self.kernel_size if stride is None else sizes(self, "stride", stride)
        self.padding = sizes(self, "padding", padding, 0)
        self.dilation = sizes(self, "dilation", dilation)
        for pad, kernel, step in zip(self.padding, self.kernel_size, self.dilation, strict=True):
            if pad > step * (kernel - 1):
                raise OptionError(
                    f"MaxPool2d: padding {self.padding} lets a window of kernel_size {self.kernel_size}, dilation "
                    f"{self.dilation}, see only padding; use less padding or a larger kernel"
                )
        self.ceil_mode = flag(self, "ceil_mode", ceil_mode)
        self.pad_value = real(self, "pad_value", pad_value)
        self.return_indices = flag(self, "return_indices", return_indices)
        if stride is OMITTED:
            warn_of_omitted_stride("MaxPool2d", self.kernel_size)

    def forward(self, x: Tensor) -> Any:
        return F.max_pool2d(
            x,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.ceil_mode,
            pad_value=self.pad_value,
            return_indices=self.return_indices,
        )

    def extra_repr(self) -> str:
        shown = f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
        ordinary = {"dilation": (1, 1), "ceil_mode": False, "pad_value": 0.0, "return_indices": False}
        others = [f"{name}={getattr(self, name)}" for name, value in ordinary.items() if getattr(self, name) != value]
        return ", ".join([shown, *others])


class AvgPool2d(Module):
    """Mean over sliding windows of images (N, C, H, W) or (C, H, W).

    Parameters
    ----------
    kernel_size, stride, padding
        An int, or two (vertical, horizontal). ``stride`` is the kernel size when omitted.
    ceil_mode
        Let a last window hang over the end.
    count_include_pad
        Count the zeros of the padding in the mean.
    divisor_override
        Divide each sum by this instead of the count.
    """

    def __init__(
        self,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] | None = None,
        padding: int | tuple[int, int] = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size = sizes(self, "kernel_size", kernel_size)
        self.stride = self.kernel_size if stride is None else sizes(self, "stride", stride)
        self.padding = sizes(self, "padding", padding, 0)
        if any(2 * pad > kernel for pad, kernel in zip(self.padding, self.kernel_size, strict=True)):
            raise OptionError(
                f"AvgPool2d: padding {self.padding} is more than half of the kernel_size {self.kernel_size}"
            )
        self.ceil_mode = flag(self, "ceil_mode", ceil_mode)
        self.count_include_pad = flag(self, "count_include_pad", count_include_pad)
        self.divisor_override = None if divisor_override is None else size(self, "divisor_override", divisor_override)

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(
            x,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _AdaptivePool2d(Module):
    def __init__(self, output_size: int | tuple[int | None, int | None] | None) -> None:
        super().__init__()
        pair = tuple(output_size) if isinstance(output_size, tuple | list) else (output_size, output_size)
        if len(pair) != 2:
            raise OptionError(
                f"{type(self).__name__}: output_size is one int or two (height, width), got {shown(output_size)}"
            )
        self.output_size = tuple(n if n is None else size(self, "output_size", n) for n in pair)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool2d(_AdaptivePool2d):
    """Mean over windows that divide the image into ``output_size``: an int, or two; None keeps the input's size."""

    def forward(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(x, self.output_size)


class AdaptiveMaxPool2d(_AdaptivePool2d):
    """Maximum over windows that divide the image into ``output_size``: an int, or two; None keeps the input's size.

    With ``return_indices`` also where the maxima stand, as ``row * W + column``.
    """

    def __init__(self, output_size: int | tuple[int | None, int | None] | None, return_indices: bool = False) -> None:
        super().__init__(output_size)
        self.return_indices = flag(self, "return_indices", return_indices)

    def forward(self, x: Tensor) -> Any:
        return F.adaptive_max_pool2d(x, self.output_size, self.return_indices)
