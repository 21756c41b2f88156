"""Attention of several heads and encoders against their definition in NumPy, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.errors import LucidError
from lucid.nn import functional as F
from lucid.tensor.tensor import Tensor

from .test_attention import by_hand, noise

Array = np.ndarray[Any, Any]


def make(*arguments: Any, **options: Any) -> Any:
    """A layer whose biases are not zeros."""
    lucid.manual_seed(0)
    layer = nn.MultiheadAttention(*arguments, dtype="float64", **options)
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.5)
    return layer


def attended(layer: Any, q: Array, k: Array, v: Array, added: Array | None = None) -> tuple[Array, Array]:
    """Result and shares of inputs (N, T, features); a mask of numbers (N, H, L, S), or what broadcasts to it."""
    state = {name: value.numpy() for name, value in layer.state_dict().items()}
    if "in_proj_weight" in state:
        weights = np.split(state["in_proj_weight"], 3)
    else:
        weights = [state[f"{name}_proj_weight"] for name in "qkv"]
    biases = np.split(state.get("in_proj_bias", np.zeros(3 * layer.embed_dim)), 3)
    q, k, v = (x @ w.T + b for x, w, b in zip((q, k, v), weights, biases, strict=True))
    batch = len(q)
    for name in ("bias_k", "bias_v"):
        if name in state:
            more = np.broadcast_to(state[name], (batch, 1, layer.embed_dim))
            k, v = (np.concatenate([k, more], 1), v) if name == "bias_k" else (k, np.concatenate([v, more], 1))
    if layer.add_zero_attn:
        k, v = (np.concatenate([x, np.zeros((batch, 1, layer.embed_dim))], 1) for x in (k, v))
    q, k, v = (x.reshape(batch, -1, layer.num_heads, layer.head_dim).swapaxes(1, 2) for x in (q, k, v))
    if added is not None:
        added = np.concatenate([added, np.zeros((*added.shape[:-1], k.shape[2] - added.shape[-1]))], -1)
    every = np.broadcast_to(np.eye(k.shape[2]), (batch, layer.num_heads, k.shape[2], k.shape[2]))
    shares = by_hand(q, k, np.ascontiguousarray(every), added)
    y = (shares @ v).swapaxes(1, 2).reshape(batch, -1, layer.embed_dim)
    return y @ state["out_proj.weight"].T + state.get("out_proj.bias", 0), shares


MASK = np.where(noise(4, 5, seed=7) > 0, 0.0, -np.inf)
MASK[:, 0] = 0
PADDING = np.array([[False, False, False, True, False], [False, False, False, False, True]])
HIDDEN = np.where(PADDING, -np.inf, 0.0)[:, None, None]
PER_HEAD = noise(2 * 3, 4, 5, seed=8)
MASKS: dict[str, tuple[dict[str, Array], Array | None]] = {
    "none": ({}, None),
    "bools": ({"attn_mask": MASK < 0}, MASK),
    "numbers": ({"attn_mask": noise(4, 5)}, noise(4, 5)),
    "each head": ({"attn_mask": PER_HEAD}, PER_HEAD.reshape(2, 3, 4, 5)),
    "padding": ({"key_padding_mask": PADDING}, HIDDEN),
    "both": ({"key_padding_mask": PADDING, "attn_mask": MASK < 0}, MASK + HIDDEN),
    "bools and numbers": ({"key_padding_mask": PADDING, "attn_mask": noise(4, 5)}, noise(4, 5) + HIDDEN),
    "numbers and bools": ({"key_padding_mask": noise(2, 5), "attn_mask": MASK < 0}, noise(2, 5)[:, None, None] + MASK),
    "numbers twice": ({"key_padding_mask": noise(2, 5), "attn_mask": MASK}, noise(2, 5)[:, None, None] + MASK),
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("options", [{}, {"kdim": 5, "vdim": 7}, {"bias": False, "add_bias_kv": True},
                                     {"add_zero_attn": True, "add_bias_kv": True, "batch_first": True}])  # fmt: skip
def test_each_head_attends(mask: str, options: dict[str, Any]) -> None:
    layer, (given, added) = make(6, 3, **options), MASKS[mask]
    q, k, v = noise(2, 4, 6), noise(2, 5, layer.kdim, seed=1), noise(2, 5, layer.vdim, seed=2)
    wanted, shares = attended(layer, q, k, v, None if added is None else np.broadcast_to(added, (2, 3, 4, 5)))
    turn = (lambda x: x) if layer.batch_first else (lambda x: x.swapaxes(0, 1))
    for call in (layer, lucid.compile(layer)):
        for weights, average in ((True, True), (True, False), (False, True)):
            y, found = call(turn(q), turn(k), turn(v), need_weights=weights, average_attn_weights=average, **given)
            np.testing.assert_allclose(turn(y.detach().numpy()), wanted, atol=1e-12)
            if weights:
                np.testing.assert_allclose(found.detach(), shares.mean(1) if average else shares, atol=1e-12)
            else:
                assert found is None


def test_inputs_without_a_batch() -> None:
    layer = make(6, 3)
    q, k = noise(4, 6), noise(5, 6, seed=1)
    y, shares = layer(q, k, k, PADDING[0])
    wanted, every = attended(layer, q[None], k[None], k[None], HIDDEN[:1])
    np.testing.assert_allclose(y.detach(), wanted[0], atol=1e-12)
    np.testing.assert_allclose(shares.detach(), every[0].mean(0), atol=1e-12)


def test_the_projections_of_one_tensor_are_one_product() -> None:
    layer, x, memory = make(6, 3), noise(4, 2, 6), noise(5, 2, 6)
    for pick, products in (
        (lambda x, m: (x, x, x), 2), (lambda x, m: (x, m, m), 3), (lambda x, m: (x, m, m + 0.0), 4),
    ):  # fmt: skip
        net = lucid.compile(lambda x, m, pick=pick: layer(*pick(x, m))[0])
        wanted, _ = attended(layer, *(one.swapaxes(0, 1) for one in pick(x, memory)))
        np.testing.assert_allclose(net(x, memory).detach(), wanted.swapaxes(0, 1), atol=1e-12)
        assert [node.op.name for _, node in net.traced.nodes()].count("Linear") == products


def test_a_query_that_sees_nothing_is_as_in_pytorch() -> None:
    layer, x, hidden = make(6, 3), noise(4, 2, 6), np.ones((4, 4), bool)
    assert np.isnan(layer(x, x, x, attn_mask=hidden)[0].detach().numpy()).all()
    y, _ = layer(x, x, x, attn_mask=hidden, need_weights=False)
    np.testing.assert_array_equal(y.detach().numpy(), np.broadcast_to(layer.out_proj.bias.detach(), y.shape))


def normalized(layer: Any, x: Array) -> Array:
    scale, shift = layer.weight.detach().numpy(), 0 if layer.bias is None else layer.bias.detach().numpy()
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + layer.eps) * scale + shift


def encoded(layer: Any, x: Array, added: Array | None) -> Array:
    """By the equations: a sequence (N, T, features)."""

    def feed(x: Array) -> Array:
        hidden = layer.activation(layer.linear1(Tensor(x)))
        return np.asarray(layer.linear2(hidden).detach())

    if layer.norm_first:
        z = normalized(layer.norm1, x)
        x = x + attended(layer.self_attn, z, z, z, added)[0]
        return x + feed(normalized(layer.norm2, x))
    x = normalized(layer.norm1, x + attended(layer.self_attn, x, x, x, added)[0])
    return normalized(layer.norm2, x + feed(x))


@pytest.mark.parametrize("activation", ["relu", "gelu", F.silu])
@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_layers_of_an_encoder(activation: Any, norm_first: bool, bias: bool) -> None:
    lucid.manual_seed(0)
    layer = nn.TransformerEncoderLayer(
        6, 3, 8, activation=activation, batch_first=True, norm_first=norm_first, bias=bias, dtype="float64"
    )
    net = nn.TransformerEncoder(layer, 2, nn.LayerNorm(6, dtype="float64")).eval()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.5)
    x, causal = noise(2, 5, 6), np.triu(np.full((5, 5), -np.inf), 1)
    wanted = x
    for one in net.layers:
        wanted = encoded(one, wanted, np.broadcast_to(causal + HIDDEN, (2, 3, 5, 5)))
    wanted = normalized(net.norm, wanted)
    for call in (net, lucid.compile(net)):
        y = call(x, causal < 0, PADDING, is_causal=True)
        np.testing.assert_allclose(y.detach(), wanted, atol=1e-12)


def test_an_encoder_takes_any_length_and_learns() -> None:
    lucid.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    net = lucid.compile(nn.TransformerEncoder(layer, 2), lucid.spec("N", "T", 8))
    for shape in ((2, 5, 8), (1, 1, 8), (3, 7, 8), (0, 4, 8)):
        x = noise(*shape).astype(np.float32)
        plain = nn.TransformerEncoder(layer, 2)
        plain.load_state_dict(net.state_dict())
        np.testing.assert_allclose(net(x).detach(), plain(x).detach(), atol=1e-5)
    step, x = lucid.optim.Adam(net.parameters(), 0.01), noise(4, 6, 8).astype(np.float32)
    losses = []
    for _ in range(30):
        step.zero_grad()
        loss = F.mse_loss(net(x), x[:, ::-1].copy())
        loss.backward()
        step.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_dropout_is_of_training() -> None:
    lucid.manual_seed(0)
    layer, x = nn.TransformerEncoderLayer(6, 3, 8, dropout=0.5), noise(5, 2, 6).astype(np.float32)
    first, second = layer(x).detach().numpy(), layer(x).detach().numpy()
    assert np.abs(first - second).max() > 0.01
    layer.eval()
    np.testing.assert_array_equal(layer(x).detach().numpy(), layer(x).detach().numpy())
    whole = nn.MultiheadAttention(6, 3, dropout=1.0)
    assert not whole(x, x, x)[1].detach().numpy().any()


X = noise(4, 2, 6).astype(np.float32)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: nn.MultiheadAttention(6, 4), "num_heads 4 does not divide embed_dim 6"),
        (lambda: nn.MultiheadAttention(6, 3)(X, X[..., :5], X), r"the key is \(T, N, 6\) or \(T, 6\)"),
        (lambda: nn.MultiheadAttention(6, 3)(X, X, X[:3]), "there is a value for each key"),
        (lambda: nn.MultiheadAttention(6, 3)(X[0], X, X), "as the query is"),
        (lambda: nn.MultiheadAttention(6, 3)(X, X, X, is_causal=True), "has to be given"),
        (lambda: nn.MultiheadAttention(6, 3)(X, X, X, attn_mask=np.zeros((4, 3))), r"has shape \(4, 4\)"),
        (lambda: nn.MultiheadAttention(6, 3)(X, X, X, np.zeros((4, 2), bool)), "key_padding_mask .* shape"),
        (lambda: nn.MultiheadAttention(6, 3)(X, X, X, attn_mask=np.zeros((4, 4), int)), "bools or floating-point"),
        (lambda: nn.TransformerEncoderLayer(6, 3, activation="swish"), "activation is one of 'relu', 'gelu'"),
        (lambda: nn.TransformerEncoderLayer(6, 3, activation=3), "a name or a function"),  # type: ignore[arg-type]
        (lambda: nn.TransformerEncoder(3, 2), "encoder_layer is a module"),  # type: ignore[arg-type]
        (lambda: nn.TransformerEncoder(nn.ReLU(), 0), "num_layers must be positive"),
    ],
)
def test_what_makes_no_sense_is_refused(call: Any, words: str) -> None:
    with pytest.raises(LucidError, match=words):
        call()
