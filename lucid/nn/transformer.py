"""Encoders of transformers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TypeAlias

from ..base.checks import shown
from ..errors import OptionError
from ..tensor.tensor import Tensor
from . import functional as F
from .attention import MultiheadAttention
from .checks import choice, flag, size
from .container import ModuleList
from .dropout import Dropout
from .linear import Linear
from .module import Module
from .normalization import LayerNorm

Activation: TypeAlias = "Callable[[Tensor], Tensor]"


class TransformerEncoderLayer(Module):
    """Attention of a sequence to itself, and a perceptron of two layers, each added to what it is given.

    Called with the sequence, ``src_mask=None``, ``src_key_padding_mask=None`` and ``is_causal=False``: the masks of
    :class:`MultiheadAttention`.

    Parameters
    ----------
    d_model
        Features of the sequence.
    nhead
        Heads of the attention.
    dim_feedforward
        Features between the two layers.
    dropout
        While training, the probability with which features, and shares of the attention, are zeroed.
    activation
        Between the two layers: "relu", "gelu" or a function.
    layer_norm_eps
        Of the normalisations.
    batch_first
        Whether sequences are (N, T, features), not (T, N, features).
    norm_first
        Whether what is given is normalised before each of the two parts, not the sum after it.
    bias
        Whether layers and normalisations add biases.
    device, dtype
        "cpu", if given; element type of the parameters, float32 when omitted.
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Activation = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: object = None,
        dtype: object = None,
    ) -> None:
        super().__init__()
        self.self_attn = MultiheadAttention(
            d_model, nhead, dropout, bias, batch_first=batch_first, device=device, dtype=dtype
        )
        self.linear1 = Linear(d_model, dim_feedforward, bias, device, dtype)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, device, dtype)
        self.norm_first = flag(self, "norm_first", norm_first)
        self.norm1 = LayerNorm(d_model, layer_norm_eps, True, bias, device, dtype)
        self.norm2 = LayerNorm(d_model, layer_norm_eps, True, bias, device, dtype)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        if isinstance(activation, str):
            activation = F.gelu if choice(self, "activation", activation, "relu", "gelu") == "gelu" else F.relu
        elif not callable(activation):
            raise OptionError(f"TransformerEncoderLayer: activation is a name or a function, got {shown(activation)}")
        self.activation = activation

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        def attended(x: Tensor) -> Tensor:
            y, _ = self.self_attn(x, x, x, src_key_padding_mask, False, src_mask, True, is_causal)
            return self.dropout1(y)  # type: ignore[no-any-return]

        def fed(x: Tensor) -> Tensor:
            return self.dropout2(self.linear2(self.dropout(self.activation(self.linear1(x)))))  # type: ignore[no-any-return]

        if self.norm_first:
            x = src + attended(self.norm1(src))
            return x + fed(self.norm2(x))
        x = self.norm1(src + attended(src))
        return self.norm2(x + fed(x))  # type: ignore[no-any-return]


class TransformerEncoder(Module):
    """Layers one on another, each with the same masks.

    Called with the sequence, ``mask=None``, ``src_key_padding_mask=None`` and ``is_causal=None``.

    Parameters
    ----------
    encoder_layer
        The layer of which all are copies.
    num_layers
        How many there are.
    norm
        What comes last, if anything.
    enable_nested_tensor, mask_check
        Of PyTorch's way around padding, which there is none of here: padded places are computed as others are.
    """

    def __init__(
        self,
        encoder_layer: Module,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        super().__init__()
        flag(self, "enable_nested_tensor", enable_nested_tensor)
        flag(self, "mask_check", mask_check)
        if not isinstance(encoder_layer, Module):
            raise OptionError(f"TransformerEncoder: encoder_layer is a module, got {shown(encoder_layer)}")
        self.num_layers = size(self, "num_layers", num_layers)
        self.layers = ModuleList([copy.deepcopy(encoder_layer) for _ in range(self.num_layers)])
        self.norm = norm

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        for layer in self.layers:
            src = layer(src, mask, src_key_padding_mask, bool(is_causal))
        return src if self.norm is None else self.norm(src)
