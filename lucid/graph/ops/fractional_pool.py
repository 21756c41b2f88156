"""Fractional max pooling: windows at random, roughly even positions (Graham, 2014)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...base.checks import number, per_axis, shown
from ...errors import OptionError, ShapeError
from ..opdef import AbstractTensor
from ..types import int64, is_float, product
from . import reduce
from .elementwise import floor
from .indexing import gather
from .promotion import cast
from .random import rand_like
from .shape import concat, expand, permute, reshape, squeeze, unsqueeze
from .source import constant, full
from .windows import SIDES, Numbers, image_batch


def fractional_max_pool2d(
    x: AbstractTensor,
    kernel_size: object,
    output_size: object = None,
    output_ratio: object = None,
    return_indices: bool = False,
    _random_samples: AbstractTensor | None = None,
) -> AbstractTensor | tuple[AbstractTensor, AbstractTensor]:
    """Maximum over windows of images (N, C, H, W) or (C, H, W) that begin at random places.

    Parameters
    ----------
    x
        Floats, whose height and width are known.
    kernel_size
        An int, or two (vertical, horizontal).
    output_size, output_ratio
        The size of the result, or its share of the image's: one for both axes, or two.
    return_indices
        Also return where each maximum stands, as int64 ``row * W + column``.
    _random_samples
        What to draw the places from in place of random numbers: (N, C, 2) between 0 and 1, for the columns first.
    """
    return _fractional(2, x, kernel_size, output_size, output_ratio, return_indices, _random_samples)


def fractional_max_pool3d(
    x: AbstractTensor,
    kernel_size: object,
    output_size: object = None,
    output_ratio: object = None,
    return_indices: bool = False,
    _random_samples: AbstractTensor | None = None,
) -> AbstractTensor | tuple[AbstractTensor, AbstractTensor]:
    """As :func:`fractional_max_pool2d`, of volumes (N, C, D, H, W) or (C, D, H, W).

    The samples are (N, C, 3), for the depth first.
    """
    return _fractional(3, x, kernel_size, output_size, output_ratio, return_indices, _random_samples)


def _fractional(
    axes: int, x: AbstractTensor, kernel_size: object, output_size: object, output_ratio: object, positions: bool,
    samples: AbstractTensor | None,
) -> AbstractTensor | tuple[AbstractTensor, AbstractTensor]:  # fmt: skip
    op = f"fractional_max_pool{axes}d"
    x, single = image_batch(op, x, axes)
    size = tuple(dim for dim in x.type.shape[2:] if isinstance(dim, int))
    if len(size) < axes or not is_float(x.type.dtype):
        raise ShapeError(f"{op}: needs floating-point images whose size is known, got {x.type}")
    kernel = per_axis(op, "kernel_size", kernel_size, 1, axes)
    wanted = sizes_wanted(op, axes, output_size, output_ratio, size)
    for side, whole, part, made in zip(SIDES[axes], size, kernel, wanted, strict=True):
        if part + made - 1 > whole:
            raise ShapeError(f"{op}: {made} windows of {part} do not fit the {side} {whole} of {x.type}")
    lead = x.type.shape[:2]
    if samples is None:
        samples = rand_like(x, (*lead, axes))
    elif samples.type.shape != (*lead, axes) or samples.type.dtype != x.type.dtype:
        raise ShapeError(f"{op}: for {x.type} the samples must be of that type and shape {(*lead, axes)}")
    permuted = range(axes)[::-1] if axes == 2 else range(axes)
    drawn = [reshape(gather(samples, 2, full(samples, i, (*lead, 1), int64)), (*lead, 1)) for i in permuted]
    taps = [_taps(s, whole, part, made) for s, whole, part, made in zip(drawn, size, kernel, wanted, strict=True)]
    best = reduce.max(_in_windows(_looked_up(x, taps), kernel, wanted), -1)
    assert isinstance(best, reduce.Extremum)
    y, index = best.values, _place(best.indices, taps, size, kernel, wanted) if positions else None
    if single:
        y, index = squeeze(y, 0), None if index is None else squeeze(index, 0)
    return y if index is None else (y, index)


def sizes_wanted(op: str, axes: int, output_size: object, output_ratio: object, size: Sequence[int]) -> Numbers:
    """The size of the result, from the one argument of two that is given."""
    if (output_size is None) == (output_ratio is None):
        raise OptionError(f"{op}: give output_size or output_ratio, and not both")
    if output_ratio is None:
        return per_axis(op, "output_size", output_size, 1, axes)
    each = output_ratio if isinstance(output_ratio, tuple | list) else (output_ratio,) * axes
    shares = [number(op, "output_ratio", one, 0.0, below=1.0) for one in each]
    if len(shares) != axes or not all(shares):
        raise OptionError(f"{op}: output_ratio is one number or {axes} between 0 and 1, got {shown(output_ratio)}")
    return per_axis(op, "output_size", [int(n * share) for n, share in zip(size, shares, strict=True)], 1, axes)


def _taps(sample: AbstractTensor, whole: int, kernel: int, count: int) -> AbstractTensor:
    """Places (N, C, count kernel) along an axis that the windows see; the last window ends where the axis does."""
    lead, last = sample.type.shape[:2], full(sample, whole - kernel, (*sample.type.shape[:2], 1), int64)
    starts = last
    if count > 1:
        step = (whole - kernel) / (count - 1)
        number = constant(sample, np.arange(count - 1, dtype=sample.type.dtype))
        first = cast(floor((number + sample) * step), int64) - cast(floor(sample * step), int64)
        starts = concat([first, last], 2)
    places = unsqueeze(starts, 3) + constant(sample, np.arange(kernel))
    return reshape(places, (*lead, count * kernel))


def _along(places: AbstractTensor, axis: int, rank: int) -> AbstractTensor:
    """Places (N, C, k) as an index along ``axis`` of images."""
    sizes = (places.type.shape[2] if i == axis else 1 for i in range(2, rank))
    return reshape(places, (*places.type.shape[:2], *sizes))


def _looked_up(x: AbstractTensor, taps: Sequence[AbstractTensor]) -> AbstractTensor:
    for axis, places in enumerate(taps, 2):
        shape = (*x.type.shape[:axis], places.type.shape[2], *x.type.shape[axis + 1 :])
        x = gather(x, axis, expand(_along(places, axis, x.type.rank), shape))
    return x


def _in_windows(x: AbstractTensor, kernel: Numbers, count: Numbers) -> AbstractTensor:
    """Images of windows side by side as (N, C, *count, elements of a window)."""
    axes, lead = len(kernel), x.type.shape[:2]
    apart = reshape(x, (*lead, *(n for pair in zip(count, kernel, strict=True) for n in pair)))
    permuted = permute(apart, (0, 1, *(2 + 2 * i for i in range(axes)), *(3 + 2 * i for i in range(axes))))
    return reshape(permuted, (*lead, *count, product(kernel)))


def _place(
    best: AbstractTensor, taps: Sequence[AbstractTensor], size: Numbers, kernel: Numbers, count: Numbers
) -> AbstractTensor:  # fmt: skip
    """Where in an image the elements stand that are the best of their windows."""
    rank, place = len(size) + 2, None
    for axis, places in enumerate(taps, 2):
        own = _along(places, axis, rank) * product(size[axis - 1 :])
        place = own if place is None else place + own
    assert place is not None
    return reshape(gather(_in_windows(place, kernel, count), rank, unsqueeze(best, rank)), best.type.shape)
