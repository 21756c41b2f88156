"""Layers that change the size of images."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import OptionError
from ..tensor.tensor import Tensor
from . import checks
from . import functional as F
from .module import Module

MODES = ("nearest", "nearest-exact", "linear", "bilinear", "bicubic", "trilinear", "area")


def _factor(owner: object, name: str, value: object) -> float:
    return checks.real(owner, name, value, 0.0)


class Upsample(Module):
    """Resize images: :func:`lucid.nn.functional.interpolate` as a layer.

    Parameters
    ----------
    size
        The new size of the axes after the channels: an int, or one for each.
    scale_factor
        Instead of ``size``, the factor of these axes: a number, or one for each.
    mode
        "nearest", "nearest-exact", "linear", "bilinear", "bicubic", "trilinear" or "area".
    align_corners
        For the linear modes and the cubic: the centres of the corner pixels stay where they are.
    recompute_scale_factor
        Compute positions from the rounded sizes, not from ``scale_factor``.
    """

    def __init__(
        self,
        size: int | Sequence[int] | None = None,
        scale_factor: float | Sequence[float] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        super().__init__()
        if (size is None) == (scale_factor is None):
            raise OptionError(f"{type(self).__name__}: give either size or scale_factor")
        self.size = None if size is None else checks.each(self, "size", size, checks.size)
        self.scale_factor = None if scale_factor is None else checks.each(self, "scale_factor", scale_factor, _factor)
        self.mode = checks.choice(self, "mode", mode, *MODES)
        self.align_corners = self._flag("align_corners", align_corners)
        self.recompute_scale_factor = self._flag("recompute_scale_factor", recompute_scale_factor)

    def _flag(self, name: str, value: bool | None) -> bool | None:
        return None if value is None else checks.flag(self, name, value)

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(
            x, self.size, self.scale_factor, self.mode, self.align_corners, self.recompute_scale_factor
        )

    def extra_repr(self) -> str:
        given = f"size={self.size}" if self.scale_factor is None else f"scale_factor={self.scale_factor}"
        return f"{given}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """:class:`Upsample` of mode "nearest"."""

    def __init__(
        self, size: int | Sequence[int] | None = None, scale_factor: float | Sequence[float] | None = None
    ) -> None:
        super().__init__(size, scale_factor, "nearest")


class UpsamplingBilinear2d(Upsample):
    """:class:`Upsample` of mode "bilinear", with ``align_corners``."""

    def __init__(
        self, size: int | Sequence[int] | None = None, scale_factor: float | Sequence[float] | None = None
    ) -> None:
        super().__init__(size, scale_factor, "bilinear", True)


class PixelShuffle(Module):
    """Channels (…, C r², H, W) as pixels (…, C, H r, W r), where ``r`` is ``upscale_factor``."""

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        self.upscale_factor = checks.size(self, "upscale_factor", upscale_factor)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(x, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """Pixels (…, C, H r, W r) as channels (…, C r², H, W), where ``r`` is ``downscale_factor``."""

    def __init__(self, downscale_factor: int) -> None:
        super().__init__()
        self.downscale_factor = checks.size(self, "downscale_factor", downscale_factor)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_unshuffle(x, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"


class ChannelShuffle(Module):
    """The channels of (N, C, …), taken from ``groups`` groups in turn."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = checks.size(self, "groups", groups)

    def forward(self, x: Tensor) -> Tensor:
        return F.channel_shuffle(x, self.groups)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"
