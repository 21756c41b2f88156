"""Convolution layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar, TypeAlias

from ..base.checks import IN_WORDS, shown
from ..errors import OptionError
from ..tensor.tensor import Tensor
from . import functional as F
from . import init
from .checks import choice, divides, flag, parameter_type, size, sizes
from .module import Module, Parameter

Sizes: TypeAlias = "int | tuple[int, ...]"


class _Conv(Module):
    """Base class of convolutions over images with ``axes`` axes.

    In ``transposed`` ones the first two axes of the weight are swapped.
    """

    axes: ClassVar[int]
    transposed: ClassVar[bool] = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes | str = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: object = None,
        dtype: object = None,
    ) -> None:
        super().__init__()
        self.in_channels = size(self, "in_channels", in_channels)
        self.out_channels = size(self, "out_channels", out_channels)
        self.kernel_size = sizes(self, "kernel_size", kernel_size, axes=self.axes, single=False)
        self.stride = sizes(self, "stride", stride, axes=self.axes)
        self.dilation = sizes(self, "dilation", dilation, axes=self.axes)
        self.padding = self._padding(padding)
        self.groups = size(self, "groups", groups)
        divides(self, "groups", self.groups, in_channels=self.in_channels, out_channels=self.out_channels)
        first, second = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        self.padding_mode = self._padding_mode(padding_mode)
        shape, kind = (first, second // self.groups, *self.kernel_size), parameter_type(self, device, dtype)
        self.weight = Parameter.blank(shape, kind)
        self.bias = Parameter.blank((out_channels,), kind) if flag(self, "bias", bias) else None
        self.reset_parameters()

    def _padding(self, padding: object) -> tuple[int, ...] | str:
        if not isinstance(padding, str):
            return sizes(self, "padding", padding, 0, self.axes)
        name = type(self).__name__
        if self.transposed or padding not in ("valid", "same"):
            named = "" if self.transposed else ', or "valid" or "same"'
            raise OptionError(f"{name}: padding is {IN_WORDS[self.axes]}{named}, got {shown(padding)}")
        if padding == "same" and set(self.stride) != {1}:
            raise OptionError(f'{name}: padding="same" needs stride 1, got {self.stride}; give the padding as numbers')
        return padding

    def _padding_mode(self, mode: object) -> str:
        found = choice(self, "padding_mode", mode, "zeros", "reflect", "replicate", "circular")
        if self.transposed and found != "zeros":
            raise OptionError(
                f'{type(self).__name__}: padding_mode is "zeros", got {shown(mode)}; pad the input instead'
            )
        return found

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(math.prod(self.weight.shape[1:]))
            init.uniform_(self.bias, -bound, bound)

    def _convolve(self, function: Callable[..., Tensor], x: Tensor) -> Tensor:
        padding: Sizes | str = self.padding
        if self.padding_mode != "zeros" and padding != "valid":
            x, padding = F.pad(x, self._added(), self.padding_mode), 0
        return function(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def _added(self) -> list[int]:
        """The padding as :func:`~lucid.nn.functional.pad` takes it: before and after the last axis, and so on."""
        if not isinstance(self.padding, str):
            return [amount for amount in reversed(self.padding) for _ in range(2)]
        totals = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True)]
        return [amount for total in reversed(totals) for amount in (total // 2, total - total // 2)]

    def extra_repr(self) -> str:
        parts = [f"{self.in_channels}, {self.out_channels}", f"kernel_size={self.kernel_size}", f"stride={self.stride}"]
        ordinary = {
            "padding": (0,) * self.axes,
            "dilation": (1,) * self.axes,
            "output_padding": (0,) * self.axes,
            "groups": 1,
            "padding_mode": "zeros",
        }
        for name, value in ordinary.items():
            own = getattr(self, name, value)
            if own != value:
                parts.append(f"{name}={own}")
        if self.bias is None:
            parts.append("bias=False")
        return ", ".join(parts)


class Conv2d(_Conv):
    """Two-dimensional convolution (cross-correlation) of images (N, C, H, W) or (C, H, W).

    Parameters
    ----------
    in_channels, out_channels
        Channels before and after.
    kernel_size, stride, padding, dilation
        An int, or two (vertical, horizontal). Padding may also be "valid" or "same".
    groups
        The number of groups of channels, each convolved separately.
    bias
        Whether to add one.
    padding_mode
        The contents of the padding: "zeros"; "reflect", the mirrored image; "replicate", the edge; "circular", the
        opposite side.
    device, dtype
        The device can only be "cpu"; the element type of the parameters is float32 by default.

    Attributes
    ----------
    weight
        Shape (out_channels, in_channels / groups, kh, kw); weight and bias start uniform within ±1/sqrt(fan_in).
    bias
        Shape (out_channels,), or None.
    """

    axes = 2

    def forward(self, x: Tensor) -> Tensor:
        return self._convolve(F.conv2d, x)


class Conv1d(_Conv):
    """Convolution (cross-correlation) of signals (N, C, L) or (C, L).

    Parameters are those of :class:`Conv2d`, with one number for the one axis; the weight is
    (out_channels, in_channels / groups, k).
    """

    axes = 1

    def forward(self, x: Tensor) -> Tensor:
        return self._convolve(F.conv1d, x)


class Conv3d(_Conv):
    """Convolution (cross-correlation) of volumes (N, C, D, H, W) or (C, D, H, W).

    Parameters are those of :class:`Conv2d`, with an int or three (depth, vertical, horizontal); the weight is
    (out_channels, in_channels / groups, kd, kh, kw).
    """

    axes = 3

    def forward(self, x: Tensor) -> Tensor:
        return self._convolve(F.conv3d, x)


class _Transposed(_Conv):
    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes = 0,
        output_padding: Sizes = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Sizes = 1,
        padding_mode: str = "zeros",
        device: object = None,
        dtype: object = None,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype
        )
        self.output_padding = sizes(self, "output_padding", output_padding, 0, self.axes)
        for extra, stride_, dilation_ in zip(self.output_padding, self.stride, self.dilation, strict=True):
            if extra >= max(stride_, dilation_):
                raise OptionError(
                    f"{type(self).__name__}: output_padding {self.output_padding} must be smaller than the "
                    f"stride {self.stride} or the dilation {self.dilation}"
                )

    def _convolve(self, function: Callable[..., Tensor], x: Tensor) -> Tensor:
        return function(
            x, self.weight, self.bias, self.stride, self.padding, self.output_padding, self.groups, self.dilation
        )


class ConvTranspose2d(_Transposed):
    """Transposed convolution: the gradient of a convolution with respect to its input, as a layer.

    Parameters
    ----------
    in_channels, out_channels
        Channels before and after.
    kernel_size, stride, padding, dilation
        Those of the convolution whose gradient this is.
    output_padding
        Rows and columns added at the bottom and right, fewer than the stride or the dilation.
    groups, bias, device, dtype
        As in :class:`Conv2d`.
    padding_mode
        "zeros".

    Attributes
    ----------
    weight
        Shape (in_channels, out_channels / groups, kh, kw).
    bias
        Shape (out_channels,), or None.
    """

    axes = 2

    def forward(self, x: Tensor) -> Tensor:
        return self._convolve(F.conv_transpose2d, x)


class ConvTranspose1d(_Transposed):
    """Transposed convolution of signals (N, C, L) or (C, L).

    Parameters are those of :class:`ConvTranspose2d`, with one number for the one axis.
    """

    axes = 1

    def forward(self, x: Tensor) -> Tensor:
        return self._convolve(F.conv_transpose1d, x)


class ConvTranspose3d(_Transposed):
    """Transposed convolution of volumes (N, C, D, H, W) or (C, D, H, W).

    Parameters are those of :class:`ConvTranspose2d`, with an int or three (depth, vertical, horizontal).
    """

    axes = 3

    def forward(self, x: Tensor) -> Tensor:
        return self._convolve(F.conv_transpose3d, x)


Conv2D = Conv2d
