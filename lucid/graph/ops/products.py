"""Tensor products beyond matmul: tensordot, outer, cross and chained products; and areas."""

from __future__ import annotations

from collections.abc import Sequence

from ...base.checks import integer, shown
from ...errors import OptionError, ShapeError
from ..assume import is_equal
from ..dims import Dim
from ..opdef import AbstractTensor
from ..types import broadcast_shapes, product
from . import elementwise as ew
from . import reduce
from . import shape as sh
from .composite import norm
from .linalg import check_rank, dot, matmul
from .promotion import floating
from .slices import piece


def tensordot(a: AbstractTensor, b: AbstractTensor, dims: object = 2) -> AbstractTensor:
    """Sum of products over several axes: the last ``dims`` of ``a`` with the first of ``b``, or two lists of axes."""
    if isinstance(dims, list | tuple):
        if len(dims) != 2:
            raise OptionError(f"tensordot: dims is a number of axes, or two lists of them, got {shown(dims)}")
        ours, theirs = (sh.normal_axes("tensordot", axes, x.type.rank) for axes, x in zip(dims, (a, b), strict=True))
    else:
        count = integer("tensordot", "dims", dims, 0)
        if count > min(a.type.rank, b.type.rank):
            raise ShapeError(f"tensordot: {a.type} and {b.type} do not have {count} axes each")
        ours, theirs = list(range(a.type.rank - count, a.type.rank)), list(range(count))
    inner = [[x.type.shape[axis] for axis in axes] for x, axes in ((a, ours), (b, theirs))]
    if len(ours) != len(theirs) or inner[0] != inner[1]:
        raise ShapeError(
            f"tensordot: axes {ours} of {a.type} and {theirs} of {b.type} do not have the same sizes",
            unequal=(inner[0], inner[1]),
        )
    a, b = ew.promote(a, b)
    left, right = ([i for i in range(x.type.rank) if i not in axes] for x, axes in ((a, ours), (b, theirs)))
    shape = [a.type.shape[i] for i in left] + [b.type.shape[i] for i in right]
    size = product(inner[0])
    rows = sh.reshape(sh.permute(a, (*left, *ours)), (product(a.type.shape[i] for i in left), size))
    columns = sh.reshape(sh.permute(b, (*theirs, *right)), (size, product(b.type.shape[i] for i in right)))
    return sh.reshape(matmul(rows, columns), shape)


def kron(a: AbstractTensor, b: AbstractTensor) -> AbstractTensor:
    """The products of all elements of ``a`` with the whole of ``b``, side by side (Kronecker's product)."""
    rank = max(a.type.rank, b.type.rank)
    first, second = ((1,) * (rank - x.type.rank) + x.type.shape for x in (a, b))
    spread = sh.reshape(a, [n for size in first for n in (size, 1)])
    beside = sh.reshape(b, [n for size in second for n in (1, size)])
    return sh.reshape(ew.mul(spread, beside), [n * m for n, m in zip(first, second, strict=True)])


def inner(a: AbstractTensor, b: AbstractTensor) -> AbstractTensor:
    """Sums of products over the last axes; with a scalar, the product."""
    if not a.type.rank or not b.type.rank:
        return ew.mul(a, b)
    return tensordot(a, b, ([-1], [-1]))


def vdot(a: AbstractTensor, b: AbstractTensor) -> AbstractTensor:
    """Inner product of two vectors."""
    return dot(a, b)


def vecdot(a: AbstractTensor, b: AbstractTensor, dim: int = -1) -> AbstractTensor:
    """Sums of products along ``dim``; the others are broadcast."""
    return reduce.sum(ew.mul(a, b), dim)


def dist(a: AbstractTensor, b: AbstractTensor, p: float = 2.0) -> AbstractTensor:
    """The ``p``-norm of ``a - b``."""
    return norm(floating(ew.sub(a, b)), p)


def cross(a: AbstractTensor, b: AbstractTensor, dim: int | None = None) -> AbstractTensor:
    """The vectors at right angles to both, along an axis of size 3; without ``dim`` along the first such axis."""
    rank = max(a.type.rank, b.type.rank)
    a, b = (sh.reshape(x, (1,) * (rank - x.type.rank) + x.type.shape) for x in ew.promote(a, b))
    if dim is None:
        dim = next((i for i, size in enumerate(a.type.shape) if is_equal(size, 3)), None)
    axis = -1 if dim is None else sh.normal_axis("cross", dim, rank)
    if dim is None or any(not is_equal(x.type.shape[axis], 3) for x in (a, b)):
        raise ShapeError(f"cross: needs vectors of three numbers, got {a.type} and {b.type}")
    shape = broadcast_shapes("cross", a.type.shape, b.type.shape)
    a, b = sh.expand(a, shape), sh.expand(b, shape)

    def rolled(x: AbstractTensor, by: int) -> AbstractTensor:
        return sh.concat([piece(x, axis, by, 3 - by), piece(x, axis, 0, by)], axis)

    return ew.sub(ew.mul(rolled(a, 1), rolled(b, 2)), ew.mul(rolled(a, 2), rolled(b, 1)))


def cross_along(a: AbstractTensor, b: AbstractTensor, *, dim: int = -1) -> AbstractTensor:
    """The vectors at right angles to both, along an axis of size 3."""
    return cross(a, b, dim)


def multi_dot(tensors: Sequence[AbstractTensor]) -> AbstractTensor:
    """The product of several matrices, in the order that takes the fewest operations; the ends may be vectors."""
    if len(tensors) < 2:
        raise ShapeError(f"multi_dot: needs at least two matrices, got {len(tensors)}")
    parts = list(ew.promote(*tensors))
    row, column = parts[0].type.rank == 1, parts[-1].type.rank == 1
    parts[0] = sh.unsqueeze(parts[0], 0) if row else parts[0]
    parts[-1] = sh.unsqueeze(parts[-1], 1) if column else parts[-1]
    for i, x in enumerate(parts):
        check_rank("multi_dot", 2, **{f"tensors[{i}]": x})
    y = _chained(parts)
    y = sh.squeeze(y, 0) if row else y
    return sh.squeeze(y, -1) if column else y


def _chained(parts: Sequence[AbstractTensor]) -> AbstractTensor:
    """The cheapest order, from those of all shorter chains; a symbolic size counts as a large one."""
    sizes = [_known(x.type.shape[0]) for x in parts] + [_known(parts[-1].type.shape[1])]
    count = len(parts)
    cost = {(i, i): 0 for i in range(count)}
    cut: dict[tuple[int, int], int] = {}
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            cost[i, j], cut[i, j] = min(
                (cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k) for k in range(i, j)
            )

    def made(i: int, j: int) -> AbstractTensor:
        return parts[i] if i == j else matmul(made(i, cut[i, j]), made(cut[i, j] + 1, j))

    return made(0, count - 1)


def _known(size: Dim) -> int:
    return size if isinstance(size, int) else 1024


def chain_matmul(*operands: AbstractTensor) -> AbstractTensor:
    """As :func:`multi_dot`, with the matrices as arguments."""
    return multi_dot(operands) if len(operands) != 1 else operands[0]


def trapezoid(y: AbstractTensor, x: AbstractTensor | None = None, *, dx: float = 1.0, dim: int = -1) -> AbstractTensor:
    """The area below ``y`` along ``dim``, by trapezoids between the points ``x``, or of width ``dx``."""
    axis = sh.normal_axis("trapezoid", dim, y.type.rank)
    size = y.type.shape[axis]
    if is_equal(size, 0):
        return reduce.sum(floating(y), axis)
    y = floating(y)
    sums = ew.add(piece(y, axis, 1, size - 1), piece(y, axis, 0, size - 1))
    if x is None:
        return ew.mul(reduce.sum(sums, axis), dx / 2)
    along = 0 if x.type.rank == 1 else sh.normal_axis("trapezoid", dim, x.type.rank)
    if not is_equal(x.type.shape[along], size):
        raise ShapeError(f"trapezoid: {x.type} are not the points of axis {axis} of {y.type}")
    widths = ew.sub(piece(x, along, 1, size - 1), piece(x, along, 0, size - 1))
    if x.type.rank == 1:
        widths = sh.reshape(widths, (size - 1, *(1,) * (y.type.rank - 1 - axis)))
    return ew.div(reduce.sum(ew.mul(sums, widths), axis), 2)
