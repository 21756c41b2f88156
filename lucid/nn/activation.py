"""Activation functions as modules.

``inplace=True``, where PyTorch has it, says that the input is not needed any more. It is left as it is all the same;
compiled models reuse its memory in any case.
"""

from __future__ import annotations

from ..errors import OptionError
from ..tensor.tensor import Tensor
from . import functional as F
from .checks import choice, flag, parameter_type, real, size
from .init import constant_
from .module import Module, Parameter


class ReLU(Module):
    """``max(x, 0)``."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = flag(self, "inplace", inplace)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x)


class Sigmoid(Module):
    """``1 / (1 + exp(-x))``."""

    def forward(self, x: Tensor) -> Tensor:
        return F.sigmoid(x)


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, x: Tensor) -> Tensor:
        return F.tanh(x)


class SiLU(Module):
    """``x * sigmoid(x)``."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = flag(self, "inplace", inplace)

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(x)


class LeakyReLU(Module):
    """``x`` where positive, else ``negative_slope * x``."""

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = flag(self, "inplace", inplace)
        self.negative_slope = real(self, "negative_slope", negative_slope)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}"


class PReLU(Module):
    """``x`` where positive, else ``weight * x`` with a learnt weight, one or one for each channel (axis 1).

    Parameters
    ----------
    num_parameters
        1, or the number of channels.
    init
        What the weight starts from.
    device, dtype
        "cpu", if given; element type of the parameters, float32 when omitted.
    """

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, device: object = None, dtype: object = None
    ) -> None:
        super().__init__()
        self.num_parameters = size(self, "num_parameters", num_parameters)
        self.init = real(self, "init", init)
        self.weight = Parameter.blank((num_parameters,), parameter_type(self, device, dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the weight to what it started from."""
        constant_(self.weight, self.init)

    def forward(self, x: Tensor) -> Tensor:
        return F.prelu(x, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class ELU(Module):
    """``x`` where positive, else ``alpha * (exp(x) - 1)``."""

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = flag(self, "inplace", inplace)
        self.alpha = real(self, "alpha", alpha)

    def forward(self, x: Tensor) -> Tensor:
        return F.elu(x, self.alpha)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}"


class GELU(Module):
    """``x * Phi(x)``, exactly ("none") or by an approximation ("tanh")."""

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = choice(self, "approximate", approximate, "none", "tanh")

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(x, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class Softplus(Module):
    """``log(1 + exp(beta * x)) / beta``, and ``x`` itself where ``beta * x > threshold``."""

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = real(self, "beta", beta)
        self.threshold = real(self, "threshold", threshold)
        if self.beta == 0:
            raise OptionError("Softplus: beta must not be 0")

    def forward(self, x: Tensor) -> Tensor:
        return F.softplus(x, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class Hardtanh(Module):
    """``x`` held between ``min_val`` and ``max_val``."""

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = flag(self, "inplace", inplace)
        self.min_val, self.max_val = real(self, "min_val", min_val), real(self, "max_val", max_val)
        if self.min_val >= self.max_val:
            raise OptionError(f"{type(self).__name__}: min_val {min_val} must be below max_val {max_val}")

    def forward(self, x: Tensor) -> Tensor:
        return F.hardtanh(x, self.min_val, self.max_val)

    def extra_repr(self) -> str:
        return f"min_val={self.min_val}, max_val={self.max_val}"


class ReLU6(Hardtanh):
    """``x`` held between 0 and 6."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(0.0, 6.0, inplace)

    def extra_repr(self) -> str:
        return ""


class Softmax(Module):
    """``exp(x)`` divided by its sum along ``dim``."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = size(self, "dim", dim, -32)

    def forward(self, x: Tensor) -> Tensor:
        return F.softmax(x, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """The logarithm of :class:`Softmax`."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = size(self, "dim", dim, -32)

    def forward(self, x: Tensor) -> Tensor:
        return F.log_softmax(x, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"
