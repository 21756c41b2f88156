"""Padding of signals, images and volumes, as layers: one for each mode and number of axes.

``padding`` is an int for all sides, or the numbers of elements before and after the last axis, then the one before it,
and so on. Negative numbers remove elements.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, TypeAlias

from ..base.checks import shown
from ..errors import OptionError
from ..tensor.tensor import Tensor
from . import functional as F
from .checks import images, real, size
from .module import Module

Sides: TypeAlias = "int | Sequence[int]"

_MOST = 1 << 62


class _Pad(Module):
    axes: ClassVar[int]
    mode: ClassVar[str]

    def __init__(self, padding: Sides) -> None:
        super().__init__()
        sides = tuple(padding) if isinstance(padding, tuple | list) else (padding,) * 2 * self.axes
        if len(sides) != 2 * self.axes:
            raise OptionError(f"{type(self).__name__}: padding is one int or {2 * self.axes}, got {shown(padding)}")
        self.padding = tuple(size(self, "padding", side, -_MOST) for side in sides)

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(images(self, x, self.axes), self.padding, self.mode)

    def extra_repr(self) -> str:
        return str(self.padding)


class _ConstantPad(_Pad):
    mode = "constant"

    def __init__(self, padding: Sides, value: float) -> None:
        super().__init__(padding)
        self.value = real(self, "value", value)

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(images(self, x, self.axes), self.padding, self.mode, self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad):
    """Signals (N, C, L) or (C, L) with ``value`` added on both sides."""

    axes = 1


class ConstantPad2d(_ConstantPad):
    """Images (N, C, H, W) or (C, H, W) with ``value`` added on all sides."""

    axes = 2


class ConstantPad3d(_ConstantPad):
    """Volumes (N, C, D, H, W) or (C, D, H, W) with ``value`` added on all sides."""

    axes = 3


class _ZeroPad(_Pad):
    mode, value = "constant", 0.0


class ZeroPad1d(_ZeroPad):
    """Signals (N, C, L) or (C, L) with zeros added on both sides."""

    axes = 1


class ZeroPad2d(_ZeroPad):
    """Images (N, C, H, W) or (C, H, W) with zeros added on all sides."""

    axes = 2


class ZeroPad3d(_ZeroPad):
    """Volumes (N, C, D, H, W) or (C, D, H, W) with zeros added on all sides."""

    axes = 3


class _ReflectionPad(_Pad):
    mode = "reflect"


class ReflectionPad1d(_ReflectionPad):
    """Signals (N, C, L) or (C, L) mirrored at both ends, without repeating these."""

    axes = 1


class ReflectionPad2d(_ReflectionPad):
    """Images (N, C, H, W) or (C, H, W) mirrored at all edges, without repeating these."""

    axes = 2


class ReflectionPad3d(_ReflectionPad):
    """Volumes (N, C, D, H, W) or (C, D, H, W) mirrored at all faces, without repeating these."""

    axes = 3


class _ReplicationPad(_Pad):
    mode = "replicate"


class ReplicationPad1d(_ReplicationPad):
    """Signals (N, C, L) or (C, L) with both ends repeated."""

    axes = 1


class ReplicationPad2d(_ReplicationPad):
    """Images (N, C, H, W) or (C, H, W) with all edges repeated."""

    axes = 2


class ReplicationPad3d(_ReplicationPad):
    """Volumes (N, C, D, H, W) or (C, D, H, W) with all faces repeated."""

    axes = 3


class _CircularPad(_Pad):
    mode = "circular"


class CircularPad1d(_CircularPad):
    """Signals (N, C, L) or (C, L) continued cyclically at both ends."""

    axes = 1


class CircularPad2d(_CircularPad):
    """Images (N, C, H, W) or (C, H, W) continued cyclically at all edges."""

    axes = 2


class CircularPad3d(_CircularPad):
    """Volumes (N, C, D, H, W) or (C, D, H, W) continued cyclically at all faces."""

    axes = 3
