"""Transformer encoders."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import ClassVar, TypeAlias

from ..base.checks import shown
from ..errors import OptionError
from ..tensor.tensor import Tensor
from . import functional as F
from .attention import MultiheadAttention
from .checks import choice, flag, layers
from .container import ModuleList
from .dropout import Dropout
from .linear import Linear
from .module import Module
from .normalization import LayerNorm

Activation: TypeAlias = "Callable[[Tensor], Tensor]"


class Layer(Module):
    """Base class of encoder and decoder layers: attentions and a two-layer perceptron with residual connections."""

    attentions: ClassVar[tuple[str, ...]] = ("self_attn",)

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
        for name in self.attentions:
            attention = MultiheadAttention(
                d_model, nhead, dropout, bias, batch_first=batch_first, device=device, dtype=dtype
            )
            self.add_module(name, attention)
        self.linear1 = Linear(d_model, dim_feedforward, bias, device, dtype)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, device, dtype)
        self.norm_first = flag(self, "norm_first", norm_first)
        parts = range(1, len(self.attentions) + 2)
        for part in parts:
            self.add_module(f"norm{part}", LayerNorm(d_model, layer_norm_eps, True, bias, device, dtype))
        for part in parts:
            self.add_module(f"dropout{part}", Dropout(dropout))
        if isinstance(activation, str):
            activation = F.gelu if choice(self, "activation", activation, "relu", "gelu") == "gelu" else F.relu
        elif not callable(activation):
            raise OptionError(f"{type(self).__name__}: activation is a name or a function, got {shown(activation)}")
        self.activation = activation

    def _in_turn(self, x: Tensor, *parts: Callable[[Tensor], Tensor]) -> Tensor:
        """Apply parts with residual connections, each normalised before the part or after the sum."""
        for number, part in enumerate(parts, 1):
            norm, dropout = getattr(self, f"norm{number}"), getattr(self, f"dropout{number}")
            x = x + dropout(part(norm(x))) if self.norm_first else norm(x + dropout(part(x)))
        return x

    @staticmethod
    def _attended(
        attention: Module, x: Tensor, to: Tensor, mask: Tensor | None, padding: Tensor | None, is_causal: bool
    ) -> Tensor:
        y: Tensor = attention(x, to, to, padding, False, mask, True, is_causal)[0]
        return y

    def _fed(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear2(self.dropout(self.activation(self.linear1(x))))
        return y


class TransformerEncoderLayer(Layer):
    """Self-attention and a two-layer perceptron, each with a residual connection.

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
        The probability of zeroing features and attention weights while training.
    activation
        Between the two layers: "relu", "gelu" or a function.
    layer_norm_eps
        The ``eps`` of the normalisations.
    batch_first
        Whether sequences are (N, T, features), not (T, N, features).
    norm_first
        Whether to normalise the input of each of the two parts rather than the sum after it.
    bias
        Whether layers and normalisations add biases.
    device, dtype
        The device can only be "cpu"; the element type of the parameters is float32 by default.
    """

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        def attended(x: Tensor) -> Tensor:
            return self._attended(self.self_attn, x, x, src_mask, src_key_padding_mask, is_causal)

        return self._in_turn(src, attended, self._fed)


class Stack(Module):
    """A stack of copies of a layer (the argument ``name``), and an optional final normalisation."""

    def __init__(self, name: str, layer: Module, num_layers: int, norm: Module | None) -> None:
        super().__init__()
        if not isinstance(layer, Module):
            raise OptionError(f"{type(self).__name__}: {name} is a module, got {shown(layer)}")
        self.num_layers = layers(self, num_layers)
        self.layers = ModuleList([copy.deepcopy(layer) for _ in range(self.num_layers)])
        self.norm = norm

    def _through(self, x: Tensor, *given: object) -> Tensor:
        """Apply the layers to ``x``, each with the same further arguments."""
        for layer in self.layers:
            x = layer(x, *given)
        return x if self.norm is None else self.norm(x)


class TransformerEncoder(Stack):
    """A stack of layers, all with the same masks.

    Called with the sequence, ``mask=None``, ``src_key_padding_mask=None`` and ``is_causal=None``.

    Parameters
    ----------
    encoder_layer
        The layer that is copied.
    num_layers
        The number of layers.
    norm
        A final layer, such as a normalisation, or None.
    enable_nested_tensor, mask_check
        For PyTorch's fast path around padding, which does not exist here: padded positions are computed like others.
    """

    def __init__(
        self,
        encoder_layer: Module,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        flag(self, "enable_nested_tensor", enable_nested_tensor)
        flag(self, "mask_check", mask_check)
        super().__init__("encoder_layer", encoder_layer, num_layers, norm)

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        return self._through(src, mask, src_key_padding_mask, bool(is_causal))
