"""Activation functions as modules.

``inplace=True`` is accepted where PyTorch accepts it: the input, a tensor, becomes the result (decision 0062).
"""

from __future__ import annotations

from ..errors import OptionError
from ..tensor.tensor import Tensor
from . import functional as F
from .checks import choice, flag, images, parameter_type, real, size
from .init import constant_
from .module import Module, Parameter


class _Overwriting(Module):
    """An activation with the argument ``inplace``."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = flag(self, "inplace", inplace)

    def _numbers(self) -> str:
        """What ``repr`` shows before ``inplace``."""
        return ""

    def extra_repr(self) -> str:
        return ", ".join(filter(None, [self._numbers(), "inplace=True" if self.inplace else ""]))


class ReLU(_Overwriting):
    """``max(x, 0)``."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x, inplace=self.inplace)


class Sigmoid(Module):
    """``1 / (1 + exp(-x))``."""

    def forward(self, x: Tensor) -> Tensor:
        return F.sigmoid(x)


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, x: Tensor) -> Tensor:
        return F.tanh(x)


class SiLU(_Overwriting):
    """``x * sigmoid(x)``."""

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(x, inplace=self.inplace)


class Mish(_Overwriting):
    """``x * tanh(softplus(x))`` (Misra, 2019)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.mish(x, inplace=self.inplace)


class Hardsigmoid(_Overwriting):
    """``x / 6 + 1 / 2`` clamped to between 0 and 1."""

    def forward(self, x: Tensor) -> Tensor:
        return F.hardsigmoid(x, inplace=self.inplace)

    def extra_repr(self) -> str:
        return ""


class Hardswish(_Overwriting):
    """``x`` times :class:`Hardsigmoid` of it (Howard et al., 2019)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.hardswish(x, inplace=self.inplace)

    def extra_repr(self) -> str:
        return ""


class LogSigmoid(Module):
    """``log(sigmoid(x))``, without overflow."""

    def forward(self, x: Tensor) -> Tensor:
        return F.logsigmoid(x)


class Softsign(Module):
    """``x / (1 + |x|)``."""

    def forward(self, x: Tensor) -> Tensor:
        return F.softsign(x)


class Tanhshrink(Module):
    """``x - tanh(x)``."""

    def forward(self, x: Tensor) -> Tensor:
        return F.tanhshrink(x)


class LeakyReLU(_Overwriting):
    """``x`` where positive, else ``negative_slope * x``."""

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.negative_slope = real(self, "negative_slope", negative_slope)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x, self.negative_slope, inplace=self.inplace)

    def _numbers(self) -> str:
        return f"negative_slope={self.negative_slope}"


class RReLU(_Overwriting):
    """``x`` where positive, else ``a * x``; ``a`` is drawn from ``lower`` to ``upper`` in training, else their mean."""

    def __init__(self, lower: float = 1 / 8, upper: float = 1 / 3, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.lower, self.upper = real(self, "lower", lower), real(self, "upper", upper)
        if self.lower > self.upper:
            raise OptionError(f"RReLU: lower {lower} must not be more than upper {upper}")

    def forward(self, x: Tensor) -> Tensor:
        return F.rrelu(x, self.lower, self.upper, self.training, inplace=self.inplace)

    def _numbers(self) -> str:
        return f"lower={self.lower}, upper={self.upper}"


class PReLU(Module):
    """``x`` where positive, else ``weight * x`` with a learnt weight, one or one for each channel (axis 1).

    Parameters
    ----------
    num_parameters
        1, or the number of channels.
    init
        The initial value of the weight.
    device, dtype
        The device can only be "cpu"; the element type of the parameters is float32 by default.
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
        """Set the weight to its initial value."""
        constant_(self.weight, self.init)

    def forward(self, x: Tensor) -> Tensor:
        return F.prelu(x, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class ELU(_Overwriting):
    """``x`` where positive, else ``alpha * (exp(x) - 1)``."""

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.alpha = real(self, "alpha", alpha)

    def forward(self, x: Tensor) -> Tensor:
        return F.elu(x, self.alpha, inplace=self.inplace)

    def _numbers(self) -> str:
        return f"alpha={self.alpha}"


class CELU(ELU):
    """``x`` where positive, else ``alpha * (exp(x / alpha) - 1)`` (Barron, 2017)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.celu(x, self.alpha, inplace=self.inplace)


class SELU(_Overwriting):
    """:class:`ELU` times a constant, with an ``alpha`` that keeps mean and variance (Klambauer et al., 2017)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.selu(x, inplace=self.inplace)


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


class Hardtanh(_Overwriting):
    """``x`` clamped to between ``min_val`` and ``max_val``."""

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.min_val, self.max_val = real(self, "min_val", min_val), real(self, "max_val", max_val)
        if self.min_val >= self.max_val:
            raise OptionError(f"{type(self).__name__}: min_val {min_val} must be below max_val {max_val}")

    def forward(self, x: Tensor) -> Tensor:
        return F.hardtanh(x, self.min_val, self.max_val, inplace=self.inplace)

    def _numbers(self) -> str:
        return f"min_val={self.min_val}, max_val={self.max_val}"


class ReLU6(Hardtanh):
    """``x`` clamped to between 0 and 6."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(0.0, 6.0, inplace)

    def _numbers(self) -> str:
        return ""


class Threshold(_Overwriting):
    """``x`` where it is more than ``threshold``, else ``value``."""

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.threshold, self.value = real(self, "threshold", threshold), real(self, "value", value)

    def forward(self, x: Tensor) -> Tensor:
        return F.threshold(x, self.threshold, self.value, inplace=self.inplace)

    def _numbers(self) -> str:
        return f"threshold={self.threshold}, value={self.value}"


class Hardshrink(Module):
    """``x`` where it is farther from 0 than ``lambd``, else 0."""

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = real(self, "lambd", lambd)

    def forward(self, x: Tensor) -> Tensor:
        return F.hardshrink(x, self.lambd)

    def extra_repr(self) -> str:
        return str(self.lambd)


class Softshrink(Hardshrink):
    """``x`` moved by ``lambd`` towards 0 where it is farther from it than that, else 0."""

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__(real(self, "lambd", lambd, 0.0))

    def forward(self, x: Tensor) -> Tensor:
        return F.softshrink(x, self.lambd)


class _Along(Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = size(self, "dim", dim, -32)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class GLU(_Along):
    """The first half of ``x`` along ``dim`` times the sigmoid of the second (Dauphin et al., 2017)."""

    def __init__(self, dim: int = -1) -> None:
        super().__init__(dim)

    def forward(self, x: Tensor) -> Tensor:
        return F.glu(x, self.dim)


class Softmax(_Along):
    """``exp(x)`` divided by its sum along ``dim``."""

    def forward(self, x: Tensor) -> Tensor:
        return F.softmax(x, self.dim)


class LogSoftmax(_Along):
    """The logarithm of :class:`Softmax`."""

    def forward(self, x: Tensor) -> Tensor:
        return F.log_softmax(x, self.dim)


class Softmin(_Along):
    """:class:`Softmax` of ``-x``."""

    def forward(self, x: Tensor) -> Tensor:
        return F.softmin(x, self.dim)


class Softmax2d(Module):
    """:class:`Softmax` over the channels of images (N, C, H, W) or (C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.softmax(images(self, x, 2), -3)
