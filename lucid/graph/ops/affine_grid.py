"""The places of an image's pixels, moved by a matrix: what ``grid_sample`` looks up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...base.checks import shown
from ...errors import ShapeError
from ..opdef import AbstractTensor
from .linalg import matmul
from .shape import reshape, transpose


def affine_grid(theta: AbstractTensor, size: Sequence[object], align_corners: bool | None = None) -> AbstractTensor:
    """A grid for ``grid_sample``, (N, H, W, 2) or (N, D, H, W, 3).

    Parameters
    ----------
    theta
        For each image a matrix that moves a place (x, y, 1) or (x, y, z, 1): (N, 2, 3) or (N, 3, 4).
    size
        Of the images: (N, C, H, W) or (N, C, D, H, W).
    align_corners
        Whether -1 and 1 are the centres of the pixels at the ends, and not their outer edges.
    """
    sizes = [n for n in tuple(size)[2:] if isinstance(n, int) and n >= 0]
    axes = len(sizes)
    if axes not in (2, 3) or len(tuple(size)) != axes + 2:
        raise ShapeError(f"affine_grid: size is (N, C, H, W) or (N, C, D, H, W), got {shown(tuple(size))}")
    if theta.type.rank != 3 or theta.type.shape[1:] != (axes, axes + 1):
        raise ShapeError(f"affine_grid: {axes} axes need matrices (N, {axes}, {axes + 1}), got {theta.type}")
    ends = [1.0 if align_corners else 1 - 1 / max(n, 1) for n in sizes]
    steps = [np.linspace(-end, end, n) if n > 1 else np.zeros(n) for end, n in zip(ends, sizes, strict=True)]
    along = np.meshgrid(*steps, indexing="ij")
    places = np.stack([*along[::-1], np.ones_like(along[0])], -1).reshape(-1, axes + 1)
    moved = matmul(theta.constant(places.astype(theta.type.dtype)), transpose(theta, 1, 2))
    return reshape(moved, (theta.type.shape[0], *sizes, axes))
