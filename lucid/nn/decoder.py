"""Transformer decoders, and whole transformers."""

from __future__ import annotations

import math

from ..base.checks import check_device, shown
from ..errors import OptionError, ShapeError
from ..tensor import creation
from ..tensor.tensor import Tensor
from . import functional as F
from . import init
from .checks import flag, size, tensor
from .module import Module
from .normalization import LayerNorm
from .transformer import Activation, Layer, Stack, TransformerEncoder, TransformerEncoderLayer


class TransformerDecoderLayer(Layer):
    """Self-attention, attention to another sequence and a perceptron, each with a residual connection.

    Called with the sequence, the other one (``memory``), ``tgt_mask=None``, ``memory_mask=None``,
    ``tgt_key_padding_mask=None``, ``memory_key_padding_mask=None``, ``tgt_is_causal=False`` and
    ``memory_is_causal=False``: the masks of :class:`MultiheadAttention`.

    Parameters are those of :class:`TransformerEncoderLayer`.
    """

    attentions = ("self_attn", "multihead_attn")

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        def to_itself(x: Tensor) -> Tensor:
            return self._attended(self.self_attn, x, x, tgt_mask, tgt_key_padding_mask, tgt_is_causal)

        def to_memory(x: Tensor) -> Tensor:
            return self._attended(
                self.multihead_attn, x, memory, memory_mask, memory_key_padding_mask, memory_is_causal
            )  # fmt: skip

        return self._in_turn(tgt, to_itself, to_memory, self._fed)


class TransformerDecoder(Stack):
    """A stack of layers, all with the same memory and masks; called like a single layer.

    Parameters
    ----------
    decoder_layer
        The layer that is copied.
    num_layers
        The number of layers.
    norm
        A final layer, such as a normalisation, or None.
    """

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__("decoder_layer", decoder_layer, num_layers, norm)

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        masks = (tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask)
        return self._through(tgt, memory, *masks, bool(tgt_is_causal), memory_is_causal)


class Transformer(Module):
    """An encoder of one sequence and a decoder of another (Vaswani et al., 2017).

    Called with both sequences, and if wanted with ``src_mask``, ``tgt_mask``, ``memory_mask``,
    ``src_key_padding_mask``, ``tgt_key_padding_mask``, ``memory_key_padding_mask``, ``src_is_causal``,
    ``tgt_is_causal`` and ``memory_is_causal``.

    Parameters
    ----------
    d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias
        Those of :class:`TransformerEncoderLayer`.
    num_encoder_layers, num_decoder_layers
        The numbers of layers.
    custom_encoder, custom_decoder
        Modules to use instead.
    device, dtype
        The device can only be "cpu"; the element type of the parameters is float32 by default.
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Activation = F.relu,
        custom_encoder: Module | None = None,
        custom_decoder: Module | None = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: object = None,
        dtype: object = None,
    ) -> None:
        super().__init__()
        self.d_model, self.nhead = size(self, "d_model", d_model), size(self, "nhead", nhead)
        self.batch_first = flag(self, "batch_first", batch_first)

        def norm() -> LayerNorm:
            return LayerNorm(d_model, layer_norm_eps, bias=bias, device=device, dtype=dtype)

        given = (
            d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias, device,
            dtype,
        )  # fmt: skip
        if custom_encoder is None:
            custom_encoder = TransformerEncoder(TransformerEncoderLayer(*given), num_encoder_layers, norm())
        if custom_decoder is None:
            custom_decoder = TransformerDecoder(TransformerDecoderLayer(*given), num_decoder_layers, norm())
        for name, part in (("custom_encoder", custom_encoder), ("custom_decoder", custom_decoder)):
            if not isinstance(part, Module):
                raise OptionError(f"{type(self).__name__}: {name} is a module, got {shown(part)}")
        self.encoder: Module = custom_encoder
        self.decoder: Module = custom_decoder
        for parameter in self.parameters():
            if parameter.ndim > 1:
                init.xavier_uniform_(parameter)

    def forward(
        self,
        src: Tensor,
        tgt: Tensor,
        src_mask: Tensor | None = None,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        src, tgt = tensor(self, src), tensor(self, tgt)
        if src.type.shape[-1] != self.d_model or tgt.type.shape[-1] != self.d_model:
            raise ShapeError(f"Transformer: has d_model={self.d_model}, which {src.type} and {tgt.type} have not both")
        memory = self.encoder(src, src_mask, src_key_padding_mask, src_is_causal)
        masks = (tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask)
        decoded: Tensor = self.decoder(tgt, memory, *masks, tgt_is_causal, memory_is_causal)
        return decoded

    @staticmethod
    def generate_square_subsequent_mask(sz: int, device: object = None, dtype: object = None) -> Tensor:
        """A mask to add, of ``sz`` by ``sz``: minus infinity where a query would see a later key, else 0."""
        check_device("generate_square_subsequent_mask", device)
        mask: Tensor = creation.full((sz, sz), -math.inf, dtype=dtype).triu(1)
        return mask
