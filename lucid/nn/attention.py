"""Multi-head attention."""

from __future__ import annotations

from ..errors import OptionError, ShapeError
from ..graph.opdef import AbstractTensor
from ..graph.ops import attention_scores as at
from ..graph.ops.attention import attend
from ..graph.ops.composite import logical_not
from ..graph.ops.elementwise import add, cast
from ..graph.ops.linalg import linear
from ..graph.ops.norm import softmax
from ..graph.ops.random import dropout
from ..graph.ops.reduce import mean
from ..graph.ops.shape import concat, expand, permute, reshape, squeeze, unsqueeze
from ..graph.ops.slices import narrow
from ..graph.ops.source import full
from ..graph.types import Shape, bool_, is_float
from ..tensor.tensor import Tensor
from . import init
from .checks import divides, flag, parameter_type, real, size, tensor
from .linear import Linear
from .module import Module, Parameter


class MultiheadAttention(Module):
    """Multi-head attention (Vaswani et al., 2017): each head attends to a part of the projected features.

    Called with query, key, value, ``key_padding_mask=None``, ``need_weights=True``, ``attn_mask=None``,
    ``average_attn_weights=True`` and ``is_causal=False``, it returns the result and the attention weights of
    the keys, None unless ``need_weights``. Masks are of bools, where true hides a key, or of numbers that are added. A
    query that sees no key gives NaN, or where no weights are wanted the bias of ``out_proj``. ``is_causal`` is only a
    hint of what ``attn_mask`` is, which has to be given. The scores of a sequence are held whole only where weights are
    wanted.

    Parameters
    ----------
    embed_dim
        Features of queries and results, which ``num_heads`` divides.
    num_heads
        The number of heads.
    dropout
        The probability of zeroing attention weights while training.
    bias
        Whether projections add biases.
    add_bias_kv
        Whether to append a learnt key and value.
    add_zero_attn
        Whether to append a key and a value of zeros.
    kdim, vdim
        Features of keys and values; ``embed_dim`` when omitted.
    batch_first
        Whether inputs and results are (N, T, features), not (T, N, features). They may come without a batch.
    device, dtype
        The device can only be "cpu"; the element type of the parameters is float32 by default.

    Attributes
    ----------
    in_proj_weight, in_proj_bias
        Of queries, keys and values, below one another; with ``kdim`` or ``vdim`` there are ``q_proj_weight``,
        ``k_proj_weight`` and ``v_proj_weight`` instead of the one weight.
    bias_k, bias_v
        What ``add_bias_kv`` adds.
    out_proj
        The layer that makes the result from those of all heads.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: object = None,
        dtype: object = None,
    ) -> None:
        super().__init__()
        self.embed_dim = size(self, "embed_dim", embed_dim)
        self.num_heads = size(self, "num_heads", num_heads)
        divides(self, "num_heads", self.num_heads, embed_dim=self.embed_dim)
        self.head_dim = self.embed_dim // self.num_heads
        self.dropout = real(self, "dropout", dropout, 0.0, 1.0)
        self.batch_first = flag(self, "batch_first", batch_first)
        self.add_zero_attn = flag(self, "add_zero_attn", add_zero_attn)
        self.kdim = self.embed_dim if kdim is None else size(self, "kdim", kdim)
        self.vdim = self.embed_dim if vdim is None else size(self, "vdim", vdim)
        kind, e = parameter_type(self, device, dtype), self.embed_dim
        alike = self.kdim == self.vdim == e
        for name, inputs in (("q", e), ("k", self.kdim), ("v", self.vdim)):
            self.register_parameter(f"{name}_proj_weight", None if alike else Parameter.blank((e, inputs), kind))
        self.in_proj_weight = Parameter.blank((3 * e, e), kind) if alike else None
        self.in_proj_bias = Parameter.blank((3 * e,), kind) if flag(self, "bias", bias) else None
        self.out_proj = Linear(e, e, bias, device, dtype)
        for name in ("bias_k", "bias_v"):
            added = flag(self, "add_bias_kv", add_bias_kv)
            self.register_parameter(name, Parameter.blank((1, 1, e), kind) if added else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Reinitialise the projections: random weights, and biases of zeros."""
        for name in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"):
            if getattr(self, name) is not None:
                init.xavier_uniform_(getattr(self, name))
        for bias in (self.in_proj_bias, self.out_proj.bias):
            if bias is not None:
                init.zeros_(bias)
        for name in ("bias_k", "bias_v"):
            if getattr(self, name) is not None:
                init.xavier_normal_(getattr(self, name))

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        if is_causal and attn_mask is None:
            raise OptionError("MultiheadAttention: is_causal says what attn_mask is, which has to be given")
        x = self._inputs(query, key, value)
        single = x[0].type.rank == 2
        q, k, v = (self._heads(one, single) for one in self._projected(*x))
        mask = self._mask(q, k, key_padding_mask, attn_mask)
        k, v, mask = self._more(k, v, mask)
        rate = self.dropout if self.training else 0.0
        shares: AbstractTensor | None = None
        if need_weights:
            shares = dropout(softmax(at.masked(at.scores("MultiheadAttention", q, k), mask), -1), rate)
            y = at.per_head("MultiheadAttention", shares, v)
            shares = mean(shares, 1) if average_attn_weights else shares
            shares = squeeze(shares, 0) if single else shares
        else:
            y = attend("MultiheadAttention", q, k, v, mask, dropout=rate)
        y = linear(self._joined(y, single), self.out_proj.weight, self.out_proj.bias)
        return y, shares  # type: ignore[return-value]  # of the world of x

    def _inputs(self, query: object, key: object, value: object) -> list[AbstractTensor]:
        """Queries, keys and values as tensors; those that are the same object stay the same."""
        known: dict[int, AbstractTensor] = {}
        found = [known.setdefault(id(x), tensor(self, x)) for x in (query, key, value)]
        wanted = self.embed_dim, self.kdim, self.vdim
        for what, x, features in zip(("query", "key", "value"), found, wanted, strict=True):
            if x.type.rank not in (2, 3) or x.type.rank != found[0].type.rank or x.type.shape[-1] != features:
                layout = f"{'(N, T, ' if self.batch_first else '(T, N, '}{features}) or (T, {features})"
                raise ShapeError(f"MultiheadAttention: the {what} is {layout}, as the query is; got {x.type}")
        if found[1].type.shape[:-1] != found[2].type.shape[:-1]:
            raise ShapeError(
                f"MultiheadAttention: there is a value for each key; got {found[1].type} and {found[2].type}"
            )
        return found

    def _projected(self, query: AbstractTensor, key: AbstractTensor, value: AbstractTensor) -> list[AbstractTensor]:
        """The three projections; those of the same tensor are computed as one product."""
        e, bias, whole = self.embed_dim, self.in_proj_bias, self.in_proj_weight
        if whole is None:
            weights = [getattr(self, f"{name}_proj_weight") for name in "qkv"]
            biases = [None if bias is None else narrow(bias, 0, i * e, e) for i in range(3)]
            return [linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases, strict=True)]
        found: list[AbstractTensor] = []
        counts = [3] if query is key is value else [1, 2] if key is value else [1, 1, 1]
        for count in counts:
            x, first = (query, key, value)[len(found)], len(found) * e
            weight = whole if count == 3 else narrow(whole, 0, first, count * e)
            shift = bias if bias is None or count == 3 else narrow(bias, 0, first, count * e)
            y = linear(x, weight, shift)
            found += [narrow(y, -1, i * e, e) for i in range(count)]
        return found

    def _heads(self, x: AbstractTensor, single: bool) -> AbstractTensor:
        """Split the features into heads: (N, H, T, features of a head)."""
        x = unsqueeze(x, 0 if self.batch_first else 1) if single else x
        apart = reshape(x, (*x.type.shape[:2], self.num_heads, self.head_dim))
        return permute(apart, (0, 2, 1, 3) if self.batch_first else (1, 2, 0, 3))

    def _joined(self, y: AbstractTensor, single: bool) -> AbstractTensor:
        """Concatenate the features of all heads."""
        y = permute(y, (0, 2, 1, 3) if self.batch_first else (2, 0, 1, 3))
        y = reshape(y, (*y.type.shape[:2], self.embed_dim))
        return squeeze(y, 0 if self.batch_first else 1) if single else y

    def _mask(
        self, query: AbstractTensor, key: AbstractTensor, padding: object, given: object
    ) -> AbstractTensor | None:
        """Both masks as one: of bools, true where a query sees a key, or of numbers to add."""
        batch, heads, queries, keys = *query.type.shape[:3], key.type.shape[2]
        shapes: list[tuple[str, object, list[Shape], Shape]] = [
            ("key_padding_mask", padding, [(batch, keys), *([(keys,)] if batch == 1 else [])], (batch, 1, 1, keys)),
            ("attn_mask", given, [(queries, keys)], (1, 1, queries, keys)),
        ]
        found: AbstractTensor | None = None
        for what, mask, wanted, shape in shapes:
            if mask is None:
                continue
            one: AbstractTensor = tensor(self, mask)
            if what == "attn_mask" and one.type.rank == 3:
                wanted, shape = [(batch * heads, queries, keys)], (batch, heads, queries, keys)
            if one.type.shape not in wanted or not (one.type.dtype == bool_ or is_float(one.type.dtype)):
                raise ShapeError(
                    f"MultiheadAttention: {what} is of bools or floating-point numbers and has shape {wanted[0]}"
                    f"{f', or ({batch} * {heads}, {queries}, {keys})' if what == 'attn_mask' else ''}; got {one.type}"
                )
            one = reshape(logical_not(one) if one.type.dtype == bool_ else cast(one, query.type.dtype), shape)
            if found is not None and bool_ not in (one.type.dtype, found.type.dtype):
                found = add(one, found)
            else:
                found = at.both(*sorted((one, found), key=lambda x: x is None or x.type.dtype != bool_))
        return found

    def _more(
        self, key: AbstractTensor, value: AbstractTensor, mask: AbstractTensor | None
    ) -> tuple[AbstractTensor, AbstractTensor, AbstractTensor | None]:
        """Append the learnt key and value and those of zeros, which every query sees; also to the mask."""
        batch, heads, _, features = key.type.shape
        shape: Shape = (batch, heads, 1, features)
        more: list[tuple[AbstractTensor, AbstractTensor]] = []
        if self.bias_k is not None and self.bias_v is not None:
            learnt = (expand(reshape(one, (1, heads, 1, features)), shape) for one in (self.bias_k, self.bias_v))
            more.append((next(learnt), next(learnt)))
        if self.add_zero_attn:
            more.append((full(key, 0, shape),) * 2)
        if not more:
            return key, value, mask
        if mask is not None:
            seen = full(mask, mask.type.dtype == bool_, (*mask.type.shape[:-1], len(more)))
            mask = concat([mask, seen], -1)
        return concat([key, *(k for k, _ in more)], 2), concat([value, *(v for _, v in more)], 2), mask
