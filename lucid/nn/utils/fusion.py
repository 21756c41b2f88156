"""Batch normalisation put into the weights of the layer before it, for evaluation.

``lucid.compile(model.eval())`` does so by itself; these are for models that are to stay modules.
"""

from __future__ import annotations

import copy
from typing import TypeVar

import numpy as np

from ...errors import OptionError
from ...graph.types import DType
from ...tensor.grad_mode import no_grad
from ...tensor.tensor import Tensor
from ..conv import Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from ..linear import Linear
from ..module import Module
from ..normalization import BATCH_NORMS
from ..parameter import Parameter
from .norms import own_parameters

M = TypeVar("M", bound=Module)

TRANSPOSED = (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)
CONVOLUTIONS = (Conv1d, Conv2d, Conv3d, *TRANSPOSED)


def fuse_conv_bn_eval(conv: M, bn: Module, transpose: bool = False) -> M:
    """A convolution that computes what the convolution and the batch normalisation after it do in evaluation.

    Parameters
    ----------
    conv, bn
        Both in evaluation mode; they are not changed.
    transpose
        As in PyTorch; whether the convolution is transposed is known of it.
    """
    _check("fuse_conv_bn_eval", conv, bn, CONVOLUTIONS)
    return _fused("fuse_conv_bn_eval", conv, bn, 1 if isinstance(conv, TRANSPOSED) else 0)


def fuse_linear_bn_eval(linear: M, bn: Module) -> M:
    """A linear layer that computes what the layer and the batch normalisation after it do in evaluation.

    Parameters
    ----------
    linear, bn
        Both in evaluation mode; they are not changed.
    """
    _check("fuse_linear_bn_eval", linear, bn, (Linear,))
    return _fused("fuse_linear_bn_eval", linear, bn, 0)


def _check(what: str, layer: Module, bn: Module, kinds: tuple[type[Module], ...]) -> None:
    for module, wanted in ((layer, kinds), (bn, BATCH_NORMS)):
        if not isinstance(module, wanted):
            names = " or ".join(kind.__name__ for kind in wanted)
            raise OptionError(f"{what}: needs a {names}, got a {type(module).__name__}")
        if module.training:
            raise OptionError(f"{what}: the {type(module).__name__} is in training mode; call eval() first")
    if "running_mean" not in dict(bn.named_buffers(recurse=False)):
        raise OptionError(f"{what}: the {type(bn).__name__} has no running statistics")


def _fused(what: str, layer: M, bn: Module, axis: int) -> M:
    """The layer with other parameters; each part of its weight along the axis is of one output."""
    weight, bias = layer.get_parameter("weight"), own_parameters(layer).get("bias")
    mean, variance = (bn.get_buffer(name).numpy().astype(np.float64) for name in ("running_mean", "running_var"))
    scale = 1 / np.sqrt(variance + getattr(bn, "eps"))  # noqa: B009 - modules' attributes are of any type
    shift = -mean * scale
    gamma, beta = map(own_parameters(bn).get, ("weight", "bias"))
    if gamma is not None:
        scale, shift = scale * gamma.numpy(), shift * gamma.numpy()
    groups = getattr(layer, "groups", 1) if axis else 1
    outputs = weight.shape[axis] * groups
    if scale.size != outputs:
        raise OptionError(f"{what}: the layer has {outputs} outputs, the {type(bn).__name__} {scale.size} features")
    made = copy.deepcopy(layer)
    with no_grad():
        made.weight = _like(weight, _scaled(weight, scale, axis, groups), weight.dtype)
        added = shift + (0 if bias is None else bias.numpy() * scale) + (0 if beta is None else beta.numpy())
        made.bias = _like(bias if bias is not None else weight, added, weight.dtype)
    return made


def _scaled(weight: Tensor, scale: np.ndarray[tuple[int, ...], np.dtype[np.float64]], axis: int, groups: int) -> object:
    """The weight with the part of each output scaled; of a transposed convolution these lie group by group."""
    array = weight.numpy()
    if not axis:
        return array * scale.reshape(-1, *[1] * (array.ndim - 1))
    parts = array.reshape(groups, -1, *array.shape[1:]) * scale.reshape(groups, 1, -1, *[1] * (array.ndim - 2))
    return parts.reshape(array.shape)


def _like(old: Tensor, value: object, dtype: DType) -> Parameter:
    return Parameter(np.asarray(value, dtype), old.requires_grad)
