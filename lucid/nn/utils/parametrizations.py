"""PyTorch's parametrisations: weight normalisation, spectral normalisation and orthogonal weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ... import linalg
from ...base.absent import PARAMETRIZATIONS, face
from ...base.checks import choice, flag
from ...errors import ShapeError
from ...tensor import creation, functions
from ...tensor.grad_mode import no_grad
from ...tensor.tensor import Tensor
from .. import functional as F
from .. import init
from ..module import Module
from .norms import (
    FIRST_STEPS,
    axis_of,
    default_axis,
    first_vectors,
    matrix_of,
    norms_of,
    over_sigma,
    power_steps,
    spectral_numbers,
    weight_of,
    with_norms,
)
from .parametrize import register_parametrization

M = TypeVar("M", bound=Module)


class _WeightNorm(Module):
    older = "g", "v"
    """The suffixes by which state dicts of the older ``nn.utils.weight_norm`` name the tensors; these load too."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.dim = axis

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return with_norms(weight_g, weight_v, self.dim)

    def right_inverse(self, weight: Tensor) -> Sequence[Tensor]:
        return norms_of(weight, self.dim), weight


def weight_norm(module: M, name: str = "weight", dim: int | None = 0) -> M:
    """Split a weight into the norm and the direction of each slice, and learn these (Salimans and Kingma, 2016).

    The norms are ``parametrizations.weight.original0``, and the directions are those of ``original1``. State dicts of
    the older function, where these are ``weight_g`` and ``weight_v``, load too.

    Parameters
    ----------
    module
        The module that has the weight.
    name
        The weight's name.
    dim
        The axis whose slices have a norm each; None for one norm of the whole.

    Returns
    -------
    The module itself.
    """
    weight = _matrix_or_more("weight_norm", module, name, 0)
    register_parametrization(module, name, _WeightNorm(axis_of("weight_norm", weight, dim)))
    return module


class _SpectralNorm(Module):
    def __init__(self, weight: Tensor, steps: int, axis: int, eps: float) -> None:
        super().__init__()
        self.n_power_iterations, self.dim, self.eps = steps, axis, eps
        if weight.ndim > 1:
            with no_grad():
                matrix = matrix_of(weight, axis)
                u, v = first_vectors(matrix, eps)
                power_steps(matrix, u, v, FIRST_STEPS, eps)
            self.register_buffer("_u", u)
            self.register_buffer("_v", v)

    def forward(self, weight: Tensor) -> Tensor:
        if weight.ndim == 1:
            return F.normalize(weight, dim=0, eps=self.eps)
        matrix, u, v = matrix_of(weight, self.dim), self.get_buffer("_u"), self.get_buffer("_v")
        if self.training:
            power_steps(matrix, u, v, self.n_power_iterations, self.eps)
        return over_sigma(weight, matrix, u, v)

    def right_inverse(self, value: Tensor) -> Tensor:
        return value


def spectral_norm(
    module: M, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> M:
    """Divide a weight by its largest singular value, estimated by power iteration (Miyato et al., 2018).

    In training, power iteration continues whenever the weight is read; within ``parametrize.cached()``, at the first
    read only.

    Parameters
    ----------
    module
        The module that has the weight.
    name
        The weight's name.
    n_power_iterations
        The number of steps at each read.
    eps
        The least norm to divide by.
    dim
        The axis of the outputs, 0 by default (1 of transposed convolutions).

    Returns
    -------
    The module itself.
    """
    weight = _matrix_or_more("spectral_norm", module, name, 1)
    numbers = spectral_numbers("spectral_norm", weight, n_power_iterations, default_axis(module, dim), eps)
    register_parametrization(module, name, _SpectralNorm(weight, *numbers))
    return module


class _Orthogonal(Module):
    """Computes an orthogonal matrix from the lower triangle of ``weight``, as PyTorch does, for its state dicts."""

    def __init__(self, weight: Tensor, how: str, based: bool) -> None:
        super().__init__()
        self.orthogonal_map, self.shape, self.based = how, weight.shape, based
        if based:
            self.register_buffer("base", None)

    def forward(self, weight: Tensor) -> Tensor:
        wide = weight.shape[-2] < weight.shape[-1]
        x = weight.mT if wide else weight
        q = _by_reflections(x) if self.orthogonal_map == "householder" else self._by_rotations(x)
        base = dict(self.named_buffers(recurse=False)).get("base")
        found: Tensor = q if base is None else base @ q
        result: Tensor = found.mT if wide else found
        return result

    def _by_rotations(self, x: Tensor) -> Tensor:
        rows, columns = x.shape[-2:]
        x = F.pad(x.tril(), (0, rows - columns)) if rows != columns else x.tril()
        skew = x - x.mT
        if self.orthogonal_map == "matrix_exp":
            rotation: Tensor = functions.matrix_exp(skew).narrow(-1, 0, columns)
            return rotation
        one = creation.eye(rows, dtype=x.dtype)
        found: Tensor = linalg.solve(one - skew / 2, one + skew / 2).narrow(-1, 0, columns)
        return found

    def right_inverse(self, value: Tensor) -> Tensor:
        if value.shape != self.shape:
            raise ShapeError(f"orthogonal: the weight is of shape {self.shape}, got {value.type}")
        wide, q = value.shape[-2] < value.shape[-1], value.detach()
        q = q.mT if wide else q
        if not self.based:
            if self.orthogonal_map != "householder":
                raise NotImplementedError  # not every orthogonal matrix is such an exponential, or quotient
            found = _reflections_of(q)
            return found.mT.contiguous() if wide else found
        rows, columns = q.shape[-2:]
        if rows != columns:
            q = functions.cat([q, init.normal_(q.new_empty(*q.shape[:-2], rows, rows - columns))], -1)
        self.base = q.clone() if rows == columns and _is_orthogonal(q) else _orthogonal_of(q)
        return Tensor(np.broadcast_to(np.negative(np.eye(*value.shape[-2:], dtype=value.dtype)), value.shape))


def _by_reflections(x: Tensor) -> Tensor:
    """The first columns of a product of Householder reflections, as PyTorch's ``householder_product``.

    Of the vectors ``V`` the product is ``1 - V S V.mT``, where the inverse of ``S`` is the upper triangle of ``V.mT V``
    with half its diagonal (Joffrain et al., 2006): a single linear system instead of one reflection after another.
    """
    rows, columns = x.shape[-2:]
    one = creation.eye(rows, columns, dtype=x.dtype)
    v = x.tril(-1) + one
    products = v.mT @ v
    middle = products.triu(1) + (products * 0.5).tril().triu()
    q = one - v @ linalg.solve(middle, v[..., :columns, :].mT)
    signs = x.detach().diagonal(dim1=-2, dim2=-1).trunc()
    return q * signs.unsqueeze(-2)


def _reflections_of(q: Tensor) -> Tensor:
    """The Householder vectors whose product has the columns of ``q``, orthogonalised; the signs are on the diagonal."""
    raw, scale = np.linalg.qr(q.numpy(), mode="raw")
    vectors = np.swapaxes(raw, -1, -2).copy()
    diagonal = np.arange(vectors.shape[-1])
    signs = np.sign(vectors[..., diagonal, diagonal])
    vectors[..., diagonal, diagonal] = np.where(scale == 0, -signs, signs)
    return Tensor(vectors)


def _is_orthogonal(q: Tensor) -> bool:
    """Whether a square matrix is orthogonal within rounding errors."""
    x = q.numpy()
    size = x.shape[-1]
    bound = 10 * size * np.finfo(x.dtype).eps
    return bool(np.allclose(np.swapaxes(x, -1, -2) @ x, np.eye(size), rtol=0, atol=bound))


def _orthogonal_of(q: Tensor) -> Tensor:
    """The columns orthogonalised one after the other, each in its original direction."""
    found, triangle = np.linalg.qr(q.numpy())
    signs = np.sign(np.diagonal(triangle, axis1=-2, axis2=-1))
    return Tensor(found * signs[..., None, :])


def orthogonal(
    module: M, name: str = "weight", orthogonal_map: str | None = None, *, use_trivialization: bool = True
) -> M:
    """Keep a weight orthogonal: its columns, or its rows if there are fewer of these, are orthonormal.

    Parameters
    ----------
    module
        The module that has the weight.
    name
        The weight's name.
    orthogonal_map
        How the weight is computed from the parameter: "matrix_exp" (the default for square weights), "householder" (the
        default for others) or "cayley".
    use_trivialization
        Whether the computed matrix multiplies a fixed one, the buffer ``base``: the initial weight, which assigning to
        the weight replaces.

    Returns
    -------
    The module itself.
    """
    weight = _matrix_or_more("orthogonal", module, name, 2)
    rows, columns = weight.shape[-2:]
    usual = "matrix_exp" if rows == columns else "householder"
    options = ("matrix_exp", "cayley", "householder")
    how = choice("orthogonal", "orthogonal_map", usual if orthogonal_map is None else orthogonal_map, options)
    based = flag("orthogonal", "use_trivialization", use_trivialization)
    register_parametrization(module, name, _Orthogonal(weight, how, based), unsafe=True)
    return module


def _matrix_or_more(what: str, module: Module, name: str, axes: int) -> Tensor:
    """The tensor to be parametrised; raises if it has fewer than ``axes`` axes."""
    named = isinstance(module, Module) and isinstance(name, str)
    found = getattr(module, name, None) if named else None
    if not isinstance(found, Tensor):
        found = weight_of(what, module, name)  # which says what is wrong
    if found.ndim < axes:
        raise ShapeError(f"{what}: needs a weight of at least {axes} axes, {name!r} is {found.type}")
    return found


if not TYPE_CHECKING:  # to the type checker a name that is not here is an error
    __getattr__, __dir__ = face(globals(), PARAMETRIZATIONS)
