"""Image windows as columns (``unfold``), and columns summed to an image (``fold``).

It works along one axis after the other, so there are only as many slices as the kernel's height and width together.
"""

from __future__ import annotations

from functools import reduce

from ...base.checks import per_axis
from ...errors import ShapeError
from ..dims import Dim, as_dim, exact_quotient
from ..opdef import AbstractTensor, apply
from ..windows import Window
from .pad import pad
from .shape import permute, reshape, squeeze, stack, unsqueeze
from .slices import SLICE_GRAD, SliceGradAttrs, take_slice
from .windows import count_windows, image_batch, rely_on_something, windows_along


def unfold(
    x: AbstractTensor, kernel_size: object, dilation: object = 1, padding: object = 0, stride: object = 1
) -> AbstractTensor:
    """The windows of images (N, C, H, W) or (C, H, W), each as a column: (N, C kh kw, windows) or (C kh kw, windows).

    Parameters
    ----------
    x
        Any tensor of that rank.
    kernel_size, dilation, padding, stride
        An int, or two (vertical, horizontal); the padding is of zeros.
    """
    x, single = image_batch("unfold", x)
    rows, columns = _windows("unfold", kernel_size, dilation, padding, stride)
    high, wide = count_windows("unfold", x.type, (rows, columns))
    rely_on_something(*x.type.shape[2:], high, wide)
    x = pad(x, (columns.before, columns.after, rows.before, rows.after))
    y = _taken(_taken(x, 2, rows, high), 4, columns, wide)  # (N, C, kh, high, kw, wide)
    taps = x.type.shape[1] * rows.kernel * columns.kernel
    y = reshape(permute(y, (0, 1, 2, 4, 3, 5)), (x.type.shape[0], taps, high * wide))
    return squeeze(y, 0) if single else y


def fold(
    x: AbstractTensor, output_size: object, kernel_size: object, dilation: object = 1, padding: object = 0,
    stride: object = 1,
) -> AbstractTensor:  # fmt: skip
    """Images of ``output_size`` to which each column (N, C kh kw, windows) or (C kh kw, windows) is added.

    Parameters
    ----------
    x
        Columns, as :func:`unfold` makes them.
    output_size
        An int, or two (height, width).
    kernel_size, dilation, padding, stride
        Those of :func:`unfold`.
    """
    if x.type.rank not in (2, 3):
        raise ShapeError(f"fold: needs columns (N, C kh kw, windows) or (C kh kw, windows), got {x.type}")
    x, single = (unsqueeze(x, 0), True) if x.type.rank == 2 else (x, False)
    rows, columns = _windows("fold", kernel_size, dilation, padding, stride)
    size = output_size if isinstance(output_size, tuple | list) else (output_size,) * 2
    height, width = (as_dim(one, "fold: output_size") for one in (size if len(size) == 2 else size * 2))
    channels = exact_quotient(x.type.shape[1], rows.kernel * columns.kernel)
    if channels is None:
        raise ShapeError(f"fold: the columns of {x.type} do not divide into {rows.kernel} x {columns.kernel} elements")
    image = x.type.with_shape((x.type.shape[0], channels, height, width))
    high, wide = count_windows("fold", image, (rows, columns))
    if x.type.shape[2] != high * wide:
        raise ShapeError(f"fold: images {height} x {width} have {high} x {wide} such windows, the columns are {x.type}")
    x = reshape(x, (x.type.shape[0], channels, rows.kernel, columns.kernel, high, wide))
    x = _added(permute(x, (0, 1, 2, 4, 3, 5)), 4, columns, width + columns.before + columns.after)
    x = _added(x, 2, rows, height + rows.before + rows.after)
    y = take_slice(x, (0, 0, rows.before, columns.before), image.shape)
    return squeeze(y, 0) if single else y


def _windows(op: str, kernel_size: object, dilation: object, padding: object, stride: object) -> tuple[Window, ...]:
    kernel, step = per_axis(op, "kernel_size", kernel_size, 1), per_axis(op, "stride", stride, 1)
    pads, gap = per_axis(op, "padding", padding, 0), per_axis(op, "dilation", dilation, 1)
    return windows_along(op, 2, kernel, step, pads * 2, gap)


def _taken(x: AbstractTensor, axis: int, window: Window, count: Dim) -> AbstractTensor:
    """``x`` with the taps of the windows along ``axis`` as one axis, and these windows as the next."""
    shape, rank = x.type.shape, x.type.rank
    if window.dilation == 1 and window.stride == window.kernel:  # side by side
        x = take_slice(x, (0,) * rank, (*shape[:axis], count * window.kernel, *shape[axis + 1 :]))
        x = reshape(x, (*shape[:axis], count, window.kernel, *shape[axis + 1 :]))
        return permute(x, (*range(axis), axis + 1, axis, *range(axis + 2, rank + 1)))
    sizes = (*shape[:axis], count, *shape[axis + 1 :])
    return stack([take_slice(x, start, sizes, step) for start, step in _taps(window, axis, rank)], axis)


def _added(x: AbstractTensor, axis: int, window: Window, size: Dim) -> AbstractTensor:
    """The transpose of :func:`_taken`: one axis of ``size`` in place of the taps and the windows."""
    shape, rank = x.type.shape, x.type.rank - 1
    count, whole = shape[axis + 1], (*shape[:axis], size, *shape[axis + 2 :])
    sizes = (*shape[:axis], count, *shape[axis + 2 :])
    parts = []
    for tap, (start, step) in enumerate(_taps(window, axis, rank)):
        part = take_slice(x, [tap if i == axis else 0 for i in range(rank + 1)], (*shape[:axis], 1, *shape[axis + 1 :]))
        parts.append(apply(SLICE_GRAD, SliceGradAttrs(start, sizes, step, whole), reshape(part, sizes)))
    return reduce(lambda a, b: a + b, parts)


def _taps(window: Window, axis: int, rank: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Where each tap of the windows begins, and how far its elements lie apart, as starts and steps of a slice."""
    steps = tuple(window.stride if i == axis else 1 for i in range(rank))
    return [
        (tuple(tap * window.dilation if i == axis else 0 for i in range(rank)), steps) for tap in range(window.kernel)
    ]
