"""Linear algebra, under the names of ``torch.linalg``: products, norms, inverses, determinants, factors of matrices.

Matrices stand in the last two axes, the others are batches. Eigenvalues there are of symmetric matrices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .base.absent import LINALG, face
from .graph.ops import (
    decompositions,
    determinant,
    diagonals,
    linalg,
    matrix_exponential,
    products,
    solving,
    systems,
    vector_norms,
)
from .graph.public import apart, at_least_0, flag, operand, public, size, string, tensor, whole
from .tensor.tensor import Tensor

norm: Callable[..., Tensor] = public(vector_norms.norm_of_either, "norm", ord=None)
vector_norm: Callable[..., Tensor] = public(vector_norms.vector_norm, ord=None)
matrix_norm: Callable[..., Tensor] = public(vector_norms.matrix_norm, ord=None)

matmul: Callable[..., Tensor] = public(linalg.matmul)
multi_dot: Callable[..., Tensor] = public(products.multi_dot)
matrix_exp: Callable[..., Tensor] = public(matrix_exponential.matrix_exp)
matrix_power: Callable[..., Tensor] = apart(public(solving.matrix_power, n=whole))
vecdot: Callable[..., Tensor] = public(products.vecdot, a=operand, b=operand)
cross: Callable[..., Tensor] = public(products.cross_along, "cross", a=tensor, b=tensor)
diagonal: Callable[..., Tensor] = public(diagonals.diagonal_of_matrices, "diagonal", offset=whole, dim2=None)

inv: Callable[..., Tensor] = public(solving.inv)
solve: Callable[..., Tensor] = public(solving.solve, a=tensor, b=tensor, left=flag)
solve_triangular: Callable[..., Tensor] = public(
    systems.solve_triangular, a=tensor, b=tensor, upper=flag, left=flag, unitriangular=flag
)
lstsq: Callable[..., systems.LeastSquares] = public(systems.lstsq, a=tensor, b=tensor, rcond=at_least_0)
pinv: Callable[..., Tensor] = public(systems.pinv, rtol=at_least_0, hermitian=flag)
matrix_rank: Callable[..., Tensor] = public(systems.matrix_rank, atol=at_least_0, rtol=at_least_0, hermitian=flag)
cond: Callable[..., Tensor] = public(systems.cond, p=None)
tensorsolve: Callable[..., Tensor] = public(systems.tensorsolve, a=tensor, b=tensor, dims=None)
tensorinv: Callable[..., Tensor] = public(systems.tensorinv, ind=whole)
vander: Callable[..., Tensor] = public(systems.vander, N=size)
cholesky: Callable[..., Tensor] = public(solving.cholesky, upper=flag)
det: Callable[..., Tensor] = public(determinant.det)
slogdet: Callable[..., solving.SignAndLog] = public(solving.slogdet)

eigh: Callable[..., decompositions.Eigen] = public(decompositions.eigh, UPLO=string)
eigvalsh: Callable[..., Tensor] = public(decompositions.eigvalsh, UPLO=string)
svd: Callable[..., decompositions.Singular] = public(decompositions.svd, full_matrices=flag)
svdvals: Callable[..., Tensor] = public(decompositions.svdvals)
qr: Callable[..., decompositions.Triangular] = public(decompositions.qr)

__all__ = [
    "cholesky", "cond", "cross", "det", "diagonal", "eigh", "eigvalsh", "inv", "lstsq", "matmul", "matrix_exp",
    "matrix_norm", "matrix_power", "matrix_rank", "multi_dot", "norm", "pinv", "qr", "slogdet", "solve",
    "solve_triangular", "svd", "svdvals", "tensorinv", "tensorsolve", "vander", "vecdot", "vector_norm",
]  # fmt: skip

if not TYPE_CHECKING:  # to the type checker a name that is not here is an error
    __getattr__, __dir__ = face(globals(), LINALG, __all__)
