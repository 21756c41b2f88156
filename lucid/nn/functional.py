"""The functions of ``torch.nn.functional``, under the same names and with the same order of arguments."""

from __future__ import annotations

from typing import Any

from ..errors import OptionError, ShapeError
from ..graph.ops.avgpool import adaptive_avg_pool2d as adaptive_avg_pool2d
from ..graph.ops.avgpool import adaptive_max_pool2d as adaptive_max_pool2d
from ..graph.ops.avgpool import avg_pool2d as avg_pool2d
from ..graph.ops.conv import conv2d as conv2d
from ..graph.ops.conv import conv_transpose2d as conv_transpose2d
from ..graph.ops.elementwise import clip, maximum, sqrt, where
from ..graph.ops.elementwise import elu as elu
from ..graph.ops.elementwise import gelu as gelu
from ..graph.ops.elementwise import leaky_relu as leaky_relu
from ..graph.ops.elementwise import relu as relu
from ..graph.ops.elementwise import sigmoid as sigmoid
from ..graph.ops.elementwise import silu as silu
from ..graph.ops.elementwise import softplus as softplus
from ..graph.ops.elementwise import tanh as tanh
from ..graph.ops.indexing import embedding as embedding
from ..graph.ops.indexing import one_hot as one_hot
from ..graph.ops.linalg import linear as linear
from ..graph.ops.loss import binary_cross_entropy as binary_cross_entropy
from ..graph.ops.loss import binary_cross_entropy_with_logits as binary_cross_entropy_with_logits
from ..graph.ops.loss import cross_entropy as cross_entropy
from ..graph.ops.loss import huber_loss as huber_loss
from ..graph.ops.loss import kl_div as kl_div
from ..graph.ops.loss import l1_loss as l1_loss
from ..graph.ops.loss import mse_loss as mse_loss
from ..graph.ops.loss import nll_loss as nll_loss
from ..graph.ops.loss import smooth_l1_loss as smooth_l1_loss
from ..graph.ops.norm import batch_norm as batch_norm
from ..graph.ops.norm import group_norm as group_norm
from ..graph.ops.norm import instance_norm as instance_norm
from ..graph.ops.norm import layer_norm as layer_norm
from ..graph.ops.norm import log_softmax as log_softmax
from ..graph.ops.norm import softmax as softmax
from ..graph.ops.pad import pad as pad
from ..graph.ops.pool import max_pool2d as max_pool2d
from ..graph.ops.random import dropout as dropout
from ..graph.ops.random import dropout2d as dropout2d
from ..graph.ops.shape import flatten as flatten
from ..graph.ops.shape import unflatten as unflatten


def hardtanh(x: Any, min_val: float = -1.0, max_val: float = 1.0) -> Any:
    """``x`` held between ``min_val`` and ``max_val``."""
    if not min_val < max_val:
        raise OptionError(f"hardtanh: min_val {min_val} must be below max_val {max_val}")
    return clip(x, min_val, max_val)


def relu6(x: Any) -> Any:
    """``x`` held between 0 and 6."""
    return clip(x, 0.0, 6.0)


def logsigmoid(x: Any) -> Any:
    """``log(sigmoid(x))``, without overflow."""
    return -softplus(-x)


def prelu(x: Any, weight: Any) -> Any:
    """``x`` where positive, else ``weight * x``; the weight has one element, or one for each channel (axis 1)."""
    count = weight.type.shape[0] if weight.type.rank == 1 else None
    channels = x.type.shape[1] if x.type.rank > 1 else 1
    if count not in (1, channels):
        raise ShapeError(f"prelu: the weight {weight.type} has neither one element nor one per channel of {x.type}")
    if count != 1:
        weight = weight.reshape(count, *(1,) * (x.type.rank - 2))
    return where(x > 0, x, weight * x)


def normalize(x: Any, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Any:
    """``x`` divided by its ``p``-norm along ``dim``, or by ``eps`` where that is smaller."""
    if p == 2:
        norm = sqrt((x * x).sum(dim, keepdim=True))
    elif p == 1:
        norm = abs(x).sum(dim, keepdim=True)
    else:
        norm = (abs(x) ** p).sum(dim, keepdim=True) ** (1 / p)
    return x / maximum(norm, eps)
