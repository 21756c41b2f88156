"""Sampling images at computed positions, by interpolation between pixels."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TypeAlias

from ...base.checks import shown
from ...errors import OptionError, ShapeError
from ..dims import Dim
from ..opdef import AbstractTensor
from ..types import product
from .bounds import clip
from .composite import eq, ge, gt, le, logical_and
from .elementwise import abs_, floor, remainder, round_, where
from .indexing import gather
from .promotion import cast
from .shape import expand, reshape, unsqueeze
from .source import full

MODES = ("bilinear", "nearest", "bicubic")
PADDINGS = ("zeros", "border", "reflection")
CUBIC = -0.75

Tap = tuple[AbstractTensor, AbstractTensor | None]
"""Positions along an axis, and their weights where these are not 1."""

Size: TypeAlias = "AbstractTensor | float"
"""How many pixels an axis has: a tensor where that is not known before the call."""


def grid_sample(
    x: AbstractTensor,
    grid: AbstractTensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> AbstractTensor:
    """The images at the places of a grid (``torch.nn.functional.grid_sample``).

    Parameters
    ----------
    x
        (N, C, H, W), or (N, C, D, H, W).
    grid
        (N, H', W', 2), or (N, D', H', W', 3): places as (x, y) or (x, y, z); -1 and 1 are the ends of
        the image.
    mode
        "bilinear" (which is linear along all axes of a volume), "nearest", or "bicubic" for images.
    padding_mode
        What lies outside: "zeros", the "border"'s pixels, or the image's "reflection".
    align_corners
        Whether -1 and 1 are the centres of the pixels at the ends, and not their outer edges.
    """
    _check(x, grid, mode, padding_mode)
    axes, corners = x.type.rank - 2, bool(align_corners)
    along = []
    for axis, size in enumerate(x.type.shape[2:]):
        place = grid[(..., axes - 1 - axis)]
        place = (place + 1) * (size - 1 if corners else size) * 0.5 - (0.0 if corners else 0.5)
        along.append(taps(place, size, mode, padding_mode, corners))
    return sampled(x, along)


def sampled(x: AbstractTensor, along: Sequence[Sequence[Tap]]) -> AbstractTensor:
    """Images (N, C, …) at places that are made of pixels along each of their axes, (N, …) of them: (N, C, …)."""
    batch, channels, *sizes = x.type.shape
    made = along[0][0][0].type.shape[1:]
    flat, count = reshape(x, (batch, channels, product(sizes))), product(made)
    total: AbstractTensor | None = None
    for chosen in itertools.product(*along):
        index = chosen[0][0]
        for (position, _), size in zip(chosen[1:], sizes[1:], strict=True):
            index = index * size + position
        spread = expand(reshape(index, (batch, 1, count)), (batch, channels, count))
        part = reshape(gather(flat, 2, spread), (batch, channels, *made))
        for _, weight in chosen:
            part = part if weight is None else part * unsqueeze(weight, 1)
        total = part if total is None else total + part
    assert total is not None
    return total


def _check(x: AbstractTensor, grid: AbstractTensor, mode: str, padding_mode: str) -> None:
    for name, value, known in (("mode", mode, MODES), ("padding_mode", padding_mode, PADDINGS)):
        if value not in known:
            raise OptionError(f"grid_sample: {name} is one of {', '.join(known)}, got {shown(value)}")
    rank = x.type.rank
    if rank not in (4, 5) or (mode == "bicubic" and rank == 5):
        kinds = "images (N, C, H, W)" if mode == "bicubic" else "images (N, C, H, W) or volumes (N, C, D, H, W)"
        raise ShapeError(f"grid_sample: mode {mode} takes {kinds}, got {x.type}")
    if grid.type.rank != rank or grid.type.shape[-1] != rank - 2 or grid.type.shape[0] != x.type.shape[0]:
        raise ShapeError(
            f"grid_sample: {x.type} needs a grid of as many images and axes, with {rank - 2} numbers for "
            f"each place, got {grid.type}"
        )


def taps(place: AbstractTensor, dim: Dim, mode: str, padding: str, corners: bool) -> list[Tap]:
    """The pixels, with their weights, from which each place is interpolated along one axis of ``dim`` pixels."""
    size = float(dim) if isinstance(dim, int) else full(place, dim, ())
    if mode != "bicubic":
        place = _inside(place, size, padding, corners)
    if mode == "nearest":
        return [_tap(round_(place), None, size, padding)]
    first = floor(place)
    part = place - first
    if mode == "bilinear":
        return [_tap(first, 1 - part, size, padding), _tap(first + 1, part, size, padding)]
    return [
        _tap(_inside(first + float(i), size, padding, corners), _cubic(part - float(i)), size, padding)
        for i in range(-1, 3)
    ]


def _tap(position: AbstractTensor, weight: AbstractTensor | None, size: Size, padding: str) -> Tap:
    """A position as an index; one outside, which only zeros leave there, weighs nothing. NaN is the first, by NaN."""
    if padding == "zeros":
        inside = cast(logical_and(ge(position, 0), le(position, size - 1)), position.type.dtype)
        weight = inside if weight is None else weight * inside
    known = where(eq(position, position), position, 0.0)
    return cast(clip(known, 0.0, size - 1), "int64"), weight


def _inside(place: AbstractTensor, size: Size, padding: str, corners: bool) -> AbstractTensor:
    """Places that are brought into the image."""
    if padding == "zeros":
        return place
    if padding == "reflection":
        place = _reflected(place, *((0.0, size - 1) if corners else (-0.5, size)))
    return clip(place, 0.0, size - 1)


def _reflected(place: AbstractTensor, low: float, span: Size) -> AbstractTensor:
    """Places mirrored at both ends, of which the lower is ``low``; at the one place there is where both are one."""
    if isinstance(span, float) and not span:
        return place * 0
    apart = remainder(abs_(place - low), 2 * span)
    mirrored = where(apart > span, 2 * span - apart, apart) + low
    return mirrored if isinstance(span, float) else where(gt(span, 0), mirrored, place * 0)


def _cubic(distance: AbstractTensor) -> AbstractTensor:
    """The cubic convolution kernel (Keys, 1981)."""
    x = abs_(distance)
    near = ((CUBIC + 2) * x - (CUBIC + 3)) * x * x + 1
    far = CUBIC * (((x - 5) * x + 8) * x - 4)
    return where(x <= 1, near, far)
