"""Fully connected layers."""

from __future__ import annotations

import math

from ..tensor.tensor import Tensor
from . import functional as F
from . import init
from .checks import flag, parameter_type, size
from .module import Module, Parameter


class Linear(Module):
    """``y = x @ weight.T + bias`` over the last axis.

    Parameters
    ----------
    in_features, out_features
        Sizes of the last axis before and after.
    bias
        Whether to add one.
    device, dtype
        The device can only be "cpu"; the element type of the parameters is float32 by default.

    Attributes
    ----------
    weight
        Shape (out_features, in_features); weight and bias start uniform within ±1/sqrt(in_features).
    bias
        Shape (out_features,), or None.
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: object = None, dtype: object = None
    ) -> None:
        super().__init__()
        self.in_features = size(self, "in_features", in_features)
        self.out_features = size(self, "out_features", out_features)
        kind = parameter_type(self, device, dtype)
        self.weight = Parameter.blank((out_features, in_features), kind)
        self.bias = Parameter.blank((out_features,), kind) if flag(self, "bias", bias) else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features)
            init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Bilinear(Module):
    """``y[o] = x1 @ weight[o] @ x2 + bias[o]`` over the last axes.

    Parameters
    ----------
    in1_features, in2_features, out_features
        Sizes of the last axes of the two inputs and of the result.
    bias
        Whether to add one.
    device, dtype
        The device can only be "cpu"; the element type of the parameters is float32 by default.

    Attributes
    ----------
    weight
        Shape (out_features, in1_features, in2_features); weight and bias start uniform within ±1/sqrt(in1_features).
    bias
        Shape (out_features,), or None.
    """

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        device: object = None,
        dtype: object = None,
    ) -> None:
        super().__init__()
        self.in1_features = size(self, "in1_features", in1_features)
        self.in2_features = size(self, "in2_features", in2_features)
        self.out_features = size(self, "out_features", out_features)
        kind = parameter_type(self, device, dtype)
        self.weight = Parameter.blank((out_features, in1_features, in2_features), kind)
        self.bias = Parameter.blank((out_features,), kind) if flag(self, "bias", bias) else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        bound = 1 / math.sqrt(self.in1_features)
        for parameter in self.parameters(recurse=False):
            init.uniform_(parameter, -bound, bound)

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return F.bilinear(x1, x2, self.weight, self.bias)

    def extra_repr(self) -> str:
        inputs = f"in1_features={self.in1_features}, in2_features={self.in2_features}"
        return f"{inputs}, out_features={self.out_features}, bias={self.bias is not None}"
