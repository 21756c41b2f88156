"""Power-average pooling: roots of sums of powers."""

from __future__ import annotations

import math

from ...errors import OptionError
from ..opdef import AbstractTensor
from .avgpool import AvgPoolAttrs, avg_pool_attrs
from .composite import flat_pow
from .elementwise import pow_
from .pool_axes import average_pool
from .shape import squeeze
from .windows import Numbers, image_batch


def power_pool(attrs: AvgPoolAttrs, x: AbstractTensor, p: float, dilation: Numbers) -> AbstractTensor:
    """The ``p``-th roots of what the windows' means of ``x ** p`` come to, times the elements of a window."""
    count = math.prod(attrs.kernel) if attrs.divisor_override is None else attrs.divisor_override
    return flat_pow(average_pool(attrs, pow_(x, p), dilation) * float(count), 1 / p)


def _lp_pool(
    axes: int, x: AbstractTensor, norm_type: float, kernel_size: object, stride: object, ceil_mode: bool
) -> AbstractTensor:
    op = f"lp_pool{axes}d"
    if norm_type == 0:
        raise OptionError(f"{op}: norm_type must not be 0")
    x, single = image_batch(op, x, axes)
    attrs = avg_pool_attrs(op, axes, kernel_size, stride, 0, ceil_mode, True, None)
    y = power_pool(attrs, x, norm_type, (1,) * axes)
    return squeeze(y, 0) if single else y


def lp_pool1d(
    x: AbstractTensor, norm_type: float, kernel_size: object, stride: object = None, ceil_mode: bool = False
) -> AbstractTensor:
    """The ``norm_type``-norm of each window of signals (N, C, L) or (C, L), as ``torch.nn.functional.lp_pool1d``.

    Signs are kept by odd powers, as there. ``stride=None`` is the kernel size.
    """
    return _lp_pool(1, x, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(
    x: AbstractTensor, norm_type: float, kernel_size: object, stride: object = None, ceil_mode: bool = False
) -> AbstractTensor:
    """As :func:`lp_pool1d`, of images (N, C, H, W) or (C, H, W)."""
    return _lp_pool(2, x, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(
    x: AbstractTensor, norm_type: float, kernel_size: object, stride: object = None, ceil_mode: bool = False
) -> AbstractTensor:
    """As :func:`lp_pool1d`, of volumes (N, C, D, H, W) or (C, D, H, W)."""
    return _lp_pool(3, x, norm_type, kernel_size, stride, ceil_mode)
