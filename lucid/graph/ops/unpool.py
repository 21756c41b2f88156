"""Max unpooling: each maximum at its position in an image of zeros."""

from __future__ import annotations

from collections.abc import Sequence

from ...base.checks import per_axis
from ...errors import DTypeError, OptionError, ShapeError
from ..dims import Dim, as_dim
from ..opdef import AbstractTensor
from ..types import int64, product
from .promotion import cast
from .put import counted, put
from .shape import reshape, squeeze, unsqueeze
from .source import full


def unpool(x: AbstractTensor, places: AbstractTensor, sizes: Sequence[Dim]) -> AbstractTensor:
    """Images (N, C, *sizes) of zeros, with the elements of ``x`` where ``places`` say: numbers in a flat image."""
    batch, channels, *image = x.type.shape
    count = product(image)
    flat = full(x, 0.0, (batch, channels, product(sizes)))
    rows, columns = (reshape(counted(x, n), shape) for n, shape in ((batch, (batch, 1, 1)), (channels, (channels, 1))))
    at = reshape(cast(places, int64), (batch, channels, count))
    y = put(flat, (0, 1, 2), [rows, columns, at], reshape(x, (batch, channels, count)))
    return reshape(y, (batch, channels, *sizes))


def _unpooled(
    axes: int, x: AbstractTensor, indices: AbstractTensor, kernel_size: object, stride: object, padding: object,
    output_size: Sequence[object] | None,
) -> AbstractTensor:  # fmt: skip
    op = f"max_unpool{axes}d"
    if x.type.rank not in (axes + 1, axes + 2) or indices.type.shape != x.type.shape:
        raise ShapeError(
            f"{op}: needs maxima of {axes} axes behind their channels, and as many indices; got {x.type} and "
            f"{indices.type}"
        )
    if indices.type.dtype.kind not in "iu":
        raise DTypeError(f"{op}: indices must be integers, got {indices.type}")
    single = x.type.rank == axes + 1
    if single:
        x, indices = unsqueeze(x, 0), unsqueeze(indices, 0)
    kernel = per_axis(op, "kernel_size", kernel_size, 1, axes)
    step = kernel if stride is None else per_axis(op, "stride", stride, 1, axes)
    pads = per_axis(op, "padding", padding, 0, axes)
    sizes = [(n - 1) * s - 2 * p + k for n, k, s, p in zip(x.type.shape[2:], kernel, step, pads, strict=True)]
    y = unpool(x, indices, sizes if output_size is None else _asked(op, output_size, sizes, step))
    return squeeze(y, 0) if single else y


def _asked(op: str, output_size: Sequence[object], usual: Sequence[Dim], stride: Sequence[int]) -> list[Dim]:
    """A size that was pooled to this one: less than a step from the usual one."""
    asked = [as_dim(size, f"{op}: output_size") for size in tuple(output_size)[-len(usual) :]]
    if len(asked) < len(usual):
        raise ShapeError(f"{op}: output_size has a number for each of {len(usual)} axes, got {tuple(output_size)}")
    for size, one, step in zip(asked, usual, stride, strict=True):
        if isinstance(size, int) and isinstance(one, int) and not one - step < size < one + step:
            raise OptionError(f"{op}: output_size {size} must lie between {one - step} and {one + step}")
    return asked


def max_unpool1d(
    x: AbstractTensor, indices: AbstractTensor, kernel_size: object, stride: object = None, padding: object = 0,
    output_size: Sequence[object] | None = None,
) -> AbstractTensor:  # fmt: skip
    """Signals (N, C, L) or (C, L) of zeros, but for the maxima that ``max_pool1d`` found at ``indices``.

    Parameters
    ----------
    x, indices
        The two results of the pooling.
    kernel_size, stride, padding
        Those of the pooling; the stride is the kernel size when omitted.
    output_size
        The size before the pooling, where several are pooled to the same.
    """
    return _unpooled(1, x, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(
    x: AbstractTensor, indices: AbstractTensor, kernel_size: object, stride: object = None, padding: object = 0,
    output_size: Sequence[object] | None = None,
) -> AbstractTensor:  # fmt: skip
    """As :func:`max_unpool1d`, of images (N, C, H, W) or (C, H, W)."""
    return _unpooled(2, x, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(
    x: AbstractTensor, indices: AbstractTensor, kernel_size: object, stride: object = None, padding: object = 0,
    output_size: Sequence[object] | None = None,
) -> AbstractTensor:  # fmt: skip
    """As :func:`max_unpool1d`, of volumes (N, C, D, H, W) or (C, D, H, W)."""
    return _unpooled(3, x, indices, kernel_size, stride, padding, output_size)
