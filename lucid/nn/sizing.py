"""Normalisations that divide by a size and move nothing."""

from __future__ import annotations

from collections.abc import Sequence

from ..tensor.tensor import Tensor
from . import functional as F
from . import init
from .checks import flag, last_axes, parameter_type, real
from .checks import size as count
from .module import Module, Parameter


class RMSNorm(Module):
    """Division by the root of the mean of squares over the last axes (Zhang and Sennrich, 2019).

    Parameters
    ----------
    normalized_shape
        Their sizes.
    eps
        Added to the mean; when omitted the distance of 1 to the next number of the element type.
    elementwise_affine
        Whether to learn a scale of that shape.
    device, dtype
        "cpu", if given; element type of the parameters, float32 when omitted.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: object = None,
        dtype: object = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = last_axes(self, "normalized_shape", normalized_shape)
        self.eps = None if eps is None else real(self, "eps", eps, 0.0)
        self.elementwise_affine = flag(self, "elementwise_affine", elementwise_affine)
        kind = parameter_type(self, device, dtype)
        self.weight = Parameter.blank(self.normalized_shape, kind) if elementwise_affine else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Scale by one."""
        if self.weight is not None:
            init.ones_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class LocalResponseNorm(Module):
    """Division by ``(k + alpha * m) ** beta``, where ``m`` is the mean of the squares of ``size`` channels around each.

    It takes (N, C, …); beyond the first and last channel are zeros (Krizhevsky, Sutskever and Hinton, 2012).
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size = count(self, "size", size)
        self.alpha, self.beta, self.k = (
            real(self, name, value) for name, value in (("alpha", alpha), ("beta", beta), ("k", k))
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.local_response_norm(x, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
