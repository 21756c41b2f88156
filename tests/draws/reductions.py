"""Reductions, normalisations, and sums of products."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from lucid.graph.opdef import NoAttrs, OpDef
from lucid.graph.ops import linalg, norm, reduce
from lucid.graph.ops.decompositions import EIGH, PINV, QR, SVD, FactorAttrs, PseudoInverseAttrs
from lucid.graph.ops.determinant import DET
from lucid.graph.ops.einsum import EINSUM, EinsumAttrs
from lucid.graph.ops.fused_linear import FUSED_LINEAR, FusedLinearAttrs
from lucid.graph.ops.matrix_exponential import MATRIX_EXP
from lucid.graph.ops.shape import AxisAttrs
from lucid.graph.ops.solving import CHOLESKY, INVERSE, SLOG_DET, SOLVE
from lucid.graph.ops.top_k import TOP_K, TopKAttrs

from .arrays import (
    FINITE,
    GENERATORS,
    Draw,
    Drawn,
    Shape,
    Strategy,
    axes,
    between,
    broadcastable,
    dtypes,
    shapes,
    values,
)
from .windows import ACTIVATIONS

_EPS = st.sampled_from((1e-5, 1e-3))


@st.composite
def _reduce(draw: Draw, kinds: str = "f", *, empty: bool = True) -> Drawn:
    """Where there must be something to choose from, the reduced axes are not empty."""
    whole = draw(shapes())
    chosen = draw(axes(len(whole)))
    if not empty:
        whole = tuple(max(dim, 1) if axis in chosen else dim for axis, dim in enumerate(whole))
    return Drawn(reduce.ReduceAttrs(chosen, draw(st.booleans())), (draw(values(whole, draw(dtypes(kinds)))),))


@st.composite
def _position(draw: Draw) -> Drawn:
    whole = list(draw(shapes(1)))
    axis = draw(st.integers(0, len(whole) - 1))
    whole[axis] = max(whole[axis], 1)
    return Drawn(reduce.ArgAttrs(axis, draw(st.booleans())), (draw(values(tuple(whole), draw(dtypes("fiub")))),))


@st.composite
def _top_k(draw: Draw) -> Drawn:
    """Few of many, all, or none."""
    whole = list(draw(shapes(1)))
    axis = draw(st.integers(0, len(whole) - 1))
    whole[axis] = draw(st.just(whole[axis]) | st.just(20)) if len(whole) < 4 else whole[axis]
    k = draw(st.integers(0, whole[axis]) | st.just(min(whole[axis], 1)))
    x = draw(values(tuple(whole), draw(dtypes("fiub"))))
    return Drawn(TopKAttrs(axis, k, draw(st.booleans())), (x,))


@st.composite
def _cumsum(draw: Draw) -> Drawn:
    x = draw(values(draw(shapes(1)), draw(dtypes("fiu"))))
    return Drawn(reduce.CumSumAttrs(draw(st.integers(0, x.ndim - 1)), draw(st.booleans())), (x,))


@st.composite
def _softmax(draw: Draw) -> Drawn:
    x = draw(values(draw(shapes(1)), draw(dtypes())))
    return Drawn(AxisAttrs(draw(st.integers(0, x.ndim - 1))), (x,))


# ---------------------------------------------------------------- normalisations


@st.composite
def _standardize(draw: Draw) -> Drawn:
    x = draw(values(draw(shapes()), draw(dtypes())))
    return Drawn(norm.StandardizeAttrs(draw(axes(x.ndim)), draw(_EPS)), (x,))


@st.composite
def _batch_norm(draw: Draw) -> Drawn:
    """A variance that is not tiny: the kernel's scale and shift would cancel out less exactly."""
    x = draw(values(draw(shapes(2)), draw(dtypes())))
    vector, dtype = x.shape[1:2], x.dtype.name
    statistics = draw(between(vector, dtype, -1.0, 1.0)), draw(between(vector, dtype, 0.25, 4.0))
    affine = (draw(values(vector, dtype, FINITE)) for _ in range(draw(st.integers(0, 2))))
    return Drawn(norm.BatchNormAttrs(draw(_EPS)), (x, *statistics, *affine))


@st.composite
def _layer_norm(draw: Draw) -> Drawn:
    x = draw(values(draw(shapes(1)), draw(dtypes())))
    rank = draw(st.integers(1, x.ndim))
    affine = (draw(values(x.shape[-rank:], x.dtype.name, FINITE)) for _ in range(draw(st.integers(0, 2))))
    return Drawn(norm.LayerNormAttrs(rank, draw(_EPS)), (x, *affine))


@st.composite
def _group_norm(draw: Draw) -> Drawn:
    groups, whole = draw(st.integers(1, 3)), draw(shapes(2, limit=100))
    x = draw(values((whole[0], groups * whole[1], *whole[2:]), draw(dtypes())))
    affine = (draw(values(x.shape[1:2], x.dtype.name, FINITE)) for _ in range(draw(st.integers(0, 2))))
    return Drawn(norm.GroupNormAttrs(groups, draw(_EPS)), (x, *affine))


# ---------------------------------------------------------------- sums of products


def _size() -> st.SearchStrategy[int]:
    """Of an axis; 0 is rare."""
    return st.sampled_from((1, 2, 3, 4, 5, 6, 2, 3, 4, 5, 6, 0))


@st.composite
def _matmul(draw: Draw) -> Drawn:
    batch, dtype = draw(shapes(0, 3, limit=12)), draw(dtypes("fiu"))
    rows, depth, columns = draw(_size()), draw(_size()), draw(_size())
    left, right = draw(broadcastable(batch)), draw(broadcastable(batch))
    return Drawn(NoAttrs(), (draw(values((*left, rows, depth), dtype)), draw(values((*right, depth, columns), dtype))))


@st.composite
def _det(draw: Draw) -> Drawn:
    """Small ones, as the definition goes over every minor."""
    batch, size = draw(shapes(0, 3, limit=12)), draw(st.integers(0, 4))
    return Drawn(NoAttrs(), (draw(between((*batch, size, size), draw(dtypes()), -1.0, 1.0)),))


@st.composite
def _regular(draw: Draw, sides: bool = False) -> Drawn:
    """Symmetric matrices of a diagonal that is larger than the sums beside it, and right-hand sides where asked for."""
    batch, size = draw(shapes(0, 3, limit=12)), draw(st.integers(0, 4))
    x = draw(between((*batch, size, size), draw(dtypes()), -1.0, 1.0))
    more = [draw(between((*batch, size, draw(_size())), x.dtype.name, -1.0, 1.0))] if sides else []
    return Drawn(NoAttrs(), ((x + np.swapaxes(x, -1, -2) + 9 * np.eye(size, dtype=x.dtype)).astype(x.dtype), *more))


@st.composite
def _small(draw: Draw) -> Drawn:
    """Square matrices whose exponentials are not large."""
    batch, size = draw(shapes(0, 3, limit=12)), draw(st.integers(0, 4))
    return Drawn(NoAttrs(), (draw(between((*batch, size, size), draw(dtypes()), -1.0, 1.0)),))


@st.composite
def _linear(draw: Draw) -> Drawn:
    x = draw(values(draw(shapes(1)), draw(dtypes("fiu"))))
    outputs, dtype = draw(_size()), x.dtype.name
    bias = [draw(values((outputs,), dtype))] if draw(st.booleans()) else []
    return Drawn(NoAttrs(), (x, draw(values((outputs, x.shape[-1]), dtype)), *bias))


@st.composite
def _fused_linear(draw: Draw) -> Drawn:
    drawn = draw(_linear().filter(lambda drawn: drawn.arrays[0].dtype.kind == "f"))
    return Drawn(FusedLinearAttrs(*draw(ACTIVATIONS)), drawn.arrays)


@st.composite
def _einsum(draw: Draw) -> Drawn:
    """One to three operands of up to four axes, diagonals among them; finite, for terms are summed in any order."""
    sizes = {label: draw(_size()) for label in "abcd"}
    dtype = draw(dtypes("fiu"))
    terms = draw(st.lists(st.text("abcd", max_size=4), min_size=1, max_size=3))
    labels = sorted(set("".join(terms)))
    result = "".join(draw(st.permutations(labels)))[: draw(st.integers(0, len(labels)))]
    ranges: list[Shape] = [tuple(sizes[label] for label in term) for term in terms]
    arrays = tuple(draw(values(shape, dtype, FINITE, extreme=False)) for shape in ranges)
    return Drawn(EinsumAttrs(tuple(terms), result), arrays)


@st.composite
def _product(draw: Draw) -> Drawn:
    """Two operands whose indices are batches, rows, columns, or summed, in any order: one matrix product."""
    sizes = {label: draw(_size()) for label in "abcde"[: draw(st.integers(1, 5))]}
    places = {label: draw(st.sampled_from(((0, 1, 2), (0, 2), (1, 2), (0, 1)))) for label in sizes}
    left, right, result = (
        "".join(draw(st.permutations([label for label in sizes if place in places[label]]))) for place in range(3)
    )
    dtype = draw(dtypes("fiu"))
    ranges: list[Shape] = [tuple(sizes[label] for label in term) for term in (left, right)]
    arrays = tuple(draw(values(shape, dtype, FINITE, extreme=False)) for shape in ranges)
    return Drawn(EinsumAttrs((left, right), result), arrays)


@st.composite
def _apart(draw: Draw, op: OpDef) -> Drawn:
    """Matrices whose eigenvalues, or singular values, lie apart, so that their vectors are known but for signs."""
    symmetric = op is EIGH
    rng, dtype, batch = draw(GENERATORS), draw(dtypes("f")), draw(shapes(0, 2, limit=6))
    rows, columns = draw(st.integers(0, 4)), draw(st.integers(0, 4))
    columns = rows if symmetric else columns
    left, right = (np.linalg.qr(rng.standard_normal((*batch, n, n)))[0] for n in (rows, columns))
    middle = np.eye(rows, columns) * (1.0 + np.arange(columns))
    x = np.asarray(left @ middle @ (left if symmetric else right).swapaxes(-1, -2), dtype)
    whole = draw(st.booleans()) and (op is QR or rows == columns)
    if op is PINV:
        return Drawn(PseudoInverseAttrs(draw(st.sampled_from((None, 0.0, 0.4)))), (x,))
    return Drawn(NoAttrs() if symmetric else FactorAttrs(rows >= columns, whole), (x,))


DRAWS: dict[OpDef, Strategy] = {
    reduce.SUM: _reduce("fiu"),
    reduce.PROD: _reduce("fiu"),
    reduce.PRODUCT_OF_OTHERS: _softmax(),
    reduce.MEAN: _reduce(),
    reduce.MAX: _reduce("fiub", empty=False),
    reduce.MIN: _reduce("fiub", empty=False),
    reduce.LOG_SUM_EXP: _reduce(),
    reduce.ARGMAX: _position(),
    reduce.ARGMIN: _position(),
    reduce.CUMSUM: _cumsum(),
    TOP_K: _top_k(),
    norm.SOFTMAX: _softmax(),
    norm.LOG_SOFTMAX: _softmax(),
    norm.STANDARDIZE: _standardize(),
    norm.BATCH_NORM: _batch_norm(),
    norm.LAYER_NORM: _layer_norm(),
    norm.GROUP_NORM: _group_norm(),
    linalg.MATMUL: _matmul(),
    linalg.LINEAR: _linear(),
    DET: _det(),
    INVERSE: _regular(),
    SOLVE: _regular(sides=True),
    CHOLESKY: _regular(),
    SLOG_DET: _regular(),
    MATRIX_EXP: _small(),
    **{op: _apart(op) for op in (EIGH, SVD, QR, PINV)},
    FUSED_LINEAR: _fused_linear(),
    EINSUM: _einsum() | _product(),
}
