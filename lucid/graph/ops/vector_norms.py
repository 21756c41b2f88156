"""Norms of vectors and of matrices, as ``torch.linalg`` names them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...base.checks import number, shown
from ...errors import OptionError, ShapeError
from ..opdef import AbstractTensor
from ..types import Axes
from . import elementwise as ew
from . import reduce
from .composite import movedim, norm
from .decompositions import svdvals
from .promotion import cast, floating
from .shape import normal_axes, squeeze, unsqueeze


def _prepared(x: AbstractTensor, dtype: object) -> AbstractTensor:
    return floating(x) if dtype is None else cast(x, dtype)


def vector_norm(
    x: AbstractTensor, ord: float = 2.0, dim: Axes = None, keepdim: bool = False, *, dtype: object = None
) -> AbstractTensor:
    """The norm of order ``ord``, any number, of the vectors over ``dim`` (an axis, several, or None for all)."""
    x = _prepared(x, dtype)
    order = number("vector_norm", "ord", ord)
    if order >= 0:
        return norm(x, order, dim, keepdim)
    size = ew.abs_(x)
    if order == -math.inf:
        return reduce.amin(size, dim, keepdim)
    return ew.pow_(reduce.sum(ew.pow_(size, order), dim, keepdim), 1 / order)


def matrix_norm(
    x: AbstractTensor,
    ord: object = "fro",
    dim: Sequence[int] = (-2, -1),
    keepdim: bool = False,
    *,
    dtype: object = None,
) -> AbstractTensor:
    """The norm of the matrices over two axes: of all elements, of sums of a row or column, or of singular values.

    Parameters
    ----------
    x
        Matrices, in the axes ``dim``.
    ord
        "fro" for the root of the sum of squares; ``inf`` and ``-inf`` for the largest and the smallest sum of sizes in
        a row, 1 and -1 for those in a column; 2 and -2 for the largest and the smallest singular value, and "nuc" for
        their sum.
    dim, keepdim
        The axes of rows and columns, and whether they are kept with size 1.
    dtype
        What to compute in, where that is another element type.
    """
    x = _prepared(x, dtype)
    axes = normal_axes("matrix_norm", dim, x.type.rank) if x.type.rank > 1 else []
    if len(axes) != 2:
        raise ShapeError(f"matrix_norm: needs matrices and the two axes of them, got {x.type} and dim={shown(dim)}")
    if ord == "fro":
        return norm(x, 2.0, axes, keepdim)
    if ord == "nuc" or (isinstance(ord, int | float) and abs(ord) == 2):
        reduced = reduce.sum if ord == "nuc" else reduce.amax if ord == 2 else reduce.amin
        found = reduced(svdvals(movedim(x, axes, (-2, -1))), -1)
        for axis in sorted(axes) if keepdim else ():
            found = unsqueeze(found, axis)
        return found
    if not isinstance(ord, int | float) or abs(ord) not in (1, math.inf):
        raise OptionError(f'matrix_norm: ord is "fro", "nuc", or 1, 2, inf or minus these; got {shown(ord)}')
    rows, columns = axes
    summed, chosen = (rows, columns) if abs(ord) == 1 else (columns, rows)
    sums = reduce.sum(ew.abs_(x), summed, True)
    found = (reduce.amax if ord > 0 else reduce.amin)(sums, chosen, True)
    return found if keepdim else squeeze(found, tuple(axes))


def norm_of_either(
    x: AbstractTensor, ord: object = None, dim: Axes = None, keepdim: bool = False, *, dtype: object = None
) -> AbstractTensor:
    """The norm of the vectors, or where two axes are meant matrices, over ``dim``; without ``ord`` of all.

    Parameters
    ----------
    x
        A vector or matrix, or a tensor of any rank where ``dim`` says over which axes.
    ord
        As for ``vector_norm`` and ``matrix_norm``; None for the root of the sum of squares.
    dim, keepdim
        The axes, and whether they are kept with size 1.
    dtype
        What to compute in, where that is another element type.
    """
    x = _prepared(x, dtype)
    if ord is None:
        return vector_norm(x, 2.0, dim, keepdim)
    if dim is None and x.type.rank not in (1, 2):
        raise ShapeError(f"norm: with an order and no dim it is for vectors and matrices; this tensor is {x.type}")
    axes = normal_axes("norm", list(range(x.type.rank)) if dim is None else dim, x.type.rank)
    if len(axes) == 2:
        return matrix_norm(x, ord, (axes[0], axes[1]), keepdim)
    if len(axes) > 2 or isinstance(ord, str):
        raise OptionError(f"norm: an order is for one axis or two, and {shown(ord)} for matrices; dim is {shown(dim)}")
    return vector_norm(x, ord, dim, keepdim)  # type: ignore[arg-type]  # it says what an order is
