"""Stacking tensors along existing or new axes."""

from __future__ import annotations

from collections.abc import Sequence

from ..opdef import AbstractTensor, T
from .shape import concat, reshape, unsqueeze


def vstack(tensors: Sequence[AbstractTensor]) -> AbstractTensor:
    """The tensors below one another, vectors as rows."""
    return concat([atleast_2d(x) for x in tensors], 0)


def hstack(tensors: Sequence[AbstractTensor]) -> AbstractTensor:
    """The tensors beside one another: vectors along their only axis, others along the second."""
    parts = [reshape(x, 1) if x.type.rank == 0 else x for x in tensors]
    return concat(parts, 0 if parts and parts[0].type.rank == 1 else 1)


def dstack(tensors: Sequence[AbstractTensor]) -> AbstractTensor:
    """The tensors behind one another, along the third axis."""
    return concat([atleast_3d(x) for x in tensors], 2)


def column_stack(tensors: Sequence[AbstractTensor]) -> AbstractTensor:
    """The tensors beside one another, vectors as columns."""
    return concat([reshape(x, -1, 1) if x.type.rank < 2 else x for x in tensors], 1)


def atleast_1d(x: T) -> T:
    """``x``, a scalar as a vector."""
    return x if x.type.rank else reshape(x, 1)


def atleast_2d(x: T) -> T:
    """``x``, a scalar or vector as one row of a matrix."""
    return x if x.type.rank > 1 else reshape(x, 1, -1)


def atleast_3d(x: T) -> T:
    """``x``, of less than three axes with a last one of size 1 (a vector with a first one too)."""
    return x if x.type.rank > 2 else unsqueeze(atleast_2d(x), -1)
