"""Attention of several heads and encoders beside PyTorch's: same parameters by name, same results and gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn as tn

import lucid
from lucid import nn
from lucid.nn import functional as F
from lucid.tensor.tensor import Tensor

from .training import trains_alike

Array = np.ndarray[Any, Any]
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
both_dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])

CAUSAL = np.triu(np.ones((5, 5), bool), 1)
PADDING = np.array([[False, False, False, True, True], [False] * 5])
MASKS: dict[str, dict[str, Array]] = {
    "none": {},
    "causal": {"attn_mask": CAUSAL},
    "numbers": {"attn_mask": np.random.default_rng(3).standard_normal((5, 5))},
    "each head": {"attn_mask": np.random.default_rng(4).standard_normal((6, 5, 5))},
    "padding": {"key_padding_mask": PADDING},
    "both": {"key_padding_mask": PADDING, "attn_mask": CAUSAL},
}
ATTENTION: list[dict[str, Any]] = [
    {}, {"batch_first": True}, {"bias": False}, {"kdim": 4, "vdim": 7}, {"add_bias_kv": True}, {"add_zero_attn": True},
]  # fmt: skip
ENCODERS: list[dict[str, Any]] = [
    {}, {"batch_first": True, "activation": "gelu"}, {"norm_first": True}, {"bias": False, "layer_norm_eps": 1e-3},
]  # fmt: skip


def twins(ours: nn.Module, theirs: tn.Module, dtype: str) -> tuple[nn.Module, tn.Module]:
    """Both with the same random state, in evaluation, in which dropout does nothing."""
    theirs = theirs.to(getattr(torch, dtype))
    ours.to(dtype)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype) * 0.5)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    return ours.eval(), theirs.eval()


def typed(mask: dict[str, Array], dtype: str) -> dict[str, Array]:
    return {name: one if one.dtype == bool else one.astype(dtype) for name, one in mask.items()}


def close(ours: Any, theirs: torch.Tensor | None, dtype: str, what: str) -> None:
    assert theirs is not None, what
    got, wanted = np.asarray(ours), theirs.detach().numpy()
    assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype), what
    scale = max(1.0, float(np.abs(wanted).max(initial=0.0)))
    np.testing.assert_allclose(got, wanted, rtol=0, atol=TOLERANCE[dtype] * scale, err_msg=what)


def compare(
    ours: nn.Module, theirs: tn.Module, arrays: list[Array], dtype: str, mine: Callable[..., Any],
    other: Callable[..., Any],
) -> None:  # fmt: skip
    """Results and all gradients, eager and compiled; a function says how a module is called with tensors."""
    wanted_in = [torch.from_numpy(a.copy()).requires_grad_() for a in arrays]
    expected = [y for y in other(theirs, *wanted_in) if y is not None]
    rng = np.random.default_rng(2)
    seeds = [rng.standard_normal(tuple(y.shape)).astype(dtype) for y in expected]
    torch.autograd.backward(expected, [torch.from_numpy(seed) for seed in seeds])
    wanted = dict(theirs.named_parameters())
    for how, call in (("eager", ours), ("compiled", lucid.compile(ours))):
        for parameter in ours.parameters():
            parameter.grad = None
        given = [Tensor(a, requires_grad=True) for a in arrays]
        results = [y for y in mine(call, *given) if y is not None]
        for y, want in zip(results, expected, strict=True):
            close(y.detach(), want, dtype, f"{how} result")
        lucid.stack([(y * Tensor(seed)).sum() for y, seed in zip(results, seeds, strict=True)]).sum().backward()
        for x, theirs_in in zip(given, wanted_in, strict=True):
            close(x.grad, theirs_in.grad, dtype, f"{how} gradient of an input")
        for name, parameter in ours.named_parameters():
            close(parameter.grad, wanted[name].grad, dtype, f"{how} gradient of {name}")


@both_dtypes
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("weights", [True, False])
@pytest.mark.parametrize("options", ATTENTION, ids=str)
def test_attention_is_pytorchs(options: dict[str, Any], weights: bool, mask: str, dtype: str) -> None:
    ours, theirs = twins(nn.MultiheadAttention(6, 3, **options), tn.MultiheadAttention(6, 3, **options), dtype)
    rng, first = np.random.default_rng(1), options.get("batch_first", False)
    sizes = (6, options.get("kdim", 6), options.get("vdim", 6))
    arrays = [rng.standard_normal((2, 5, n) if first else (5, 2, n)).astype(dtype) for n in sizes]
    masks = typed(MASKS[mask], dtype)
    for average in (True, False) if weights else (True,):
        theirs.zero_grad()
        flags = {"need_weights": weights, "average_attn_weights": average}
        compare(
            ours, theirs, arrays, dtype, lambda net, *xs, flags=flags: net(*xs, **masks, **flags),
            lambda net, *xs, flags=flags: net(*xs, **{n: torch.from_numpy(m) for n, m in masks.items()}, **flags),
        )  # fmt: skip


@both_dtypes
@pytest.mark.parametrize("mask", ["none", "causal", "padding", "both"])
@pytest.mark.parametrize("options", ENCODERS, ids=str)
def test_encoders_are_pytorchs(options: dict[str, Any], mask: str, dtype: str) -> None:
    def build(module: Any) -> Any:
        layer = module.TransformerEncoderLayer(6, 3, 8, **options)
        return module.TransformerEncoder(layer, 2, module.LayerNorm(6), enable_nested_tensor=False)

    ours, theirs = twins(build(nn), build(tn), dtype)
    x = np.random.default_rng(1).standard_normal((2, 5, 6) if options.get("batch_first") else (5, 2, 6)).astype(dtype)
    masks = {"mask": MASKS[mask].get("attn_mask"), "src_key_padding_mask": MASKS[mask].get("key_padding_mask")}
    tensors = {name: None if one is None else torch.from_numpy(one) for name, one in masks.items()}
    compare(ours, theirs, [x], dtype, lambda net, x: [net(x, **masks)], lambda net, x: [net(x, **tensors)])


def decoder(module: Any, name: str, options: dict[str, Any]) -> Any:
    """A part of a transformer, or one; PyTorch's own encoder would warn that it nests no tensors."""
    layer = module.TransformerDecoderLayer(6, 3, 8, 0.0, **options)
    if name == "TransformerDecoderLayer":
        return layer
    if name == "TransformerDecoder":
        return module.TransformerDecoder(layer, 2, module.LayerNorm(6))
    encoder = module.TransformerEncoder(
        module.TransformerEncoderLayer(6, 3, 8, 0.0, **options), 1, module.LayerNorm(6), enable_nested_tensor=False
    )
    return module.Transformer(6, 3, 1, 2, 8, 0.0, custom_encoder=encoder, **options)


@both_dtypes
@pytest.mark.parametrize("masked", [False, True], ids=["seen", "masked"])
@pytest.mark.parametrize("options", ENCODERS, ids=str)
@pytest.mark.parametrize("name", ["TransformerDecoderLayer", "TransformerDecoder", "Transformer"])
def test_decoders_are_pytorchs(name: str, options: dict[str, Any], masked: bool, dtype: str) -> None:
    """Of a sequence that does not see what comes later, to another of which each has its own end."""
    ours, theirs = twins(decoder(nn, name, options), decoder(tn, name, options), dtype)
    rng, first = np.random.default_rng(1), options.get("batch_first", False)
    memory, tgt = (rng.standard_normal((2, n, 6) if first else (n, 2, 6)).astype(dtype) for n in (5, 4))
    masks: dict[str, Array] = {}
    if masked:
        masks = {"tgt_mask": CAUSAL[:4, :4], "tgt_key_padding_mask": PADDING[:, :4], "memory_key_padding_mask": PADDING}
        masks |= {"memory_mask": np.eye(4, 5, dtype=bool)} | ({"src_mask": CAUSAL} if name == "Transformer" else {})
    tensors = {name: torch.from_numpy(mask.copy()) for name, mask in masks.items()}
    arrays = [memory, tgt] if name == "Transformer" else [tgt, memory]
    compare(
        ours, theirs, arrays, dtype, lambda net, *xs: [net(*xs, **masks)], lambda net, *xs: [net(*xs, **tensors)]
    )  # fmt: skip


def test_a_mask_of_what_comes_later_is_pytorchs() -> None:
    ours, theirs = (m.Transformer.generate_square_subsequent_mask(4) for m in (nn, tn))
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    assert ours.dtype == np.float32


def test_a_query_that_sees_nothing_is_pytorchs() -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((2, 3, 4, 5)).astype(np.float32) for _ in range(3)]
    seen = rng.random((4, 4)) > 0.5
    seen[1] = False
    with torch.no_grad():
        wanted = tn.functional.scaled_dot_product_attention(*map(torch.from_numpy, arrays), torch.from_numpy(seen))
    close(F.scaled_dot_product_attention(*arrays, seen).detach(), wanted, "float32", "a row that is masked whole")
    assert not wanted[:, :, 1].any()


def test_parameters_are_drawn_as_pytorch_draws_them() -> None:
    """The same bounds; a bias of the projections is zeros."""
    lucid.manual_seed(0)
    wider: dict[str, Any] = {"kdim": 50, "add_bias_kv": True}
    for options in ({}, wider):
        ours, theirs = nn.MultiheadAttention(600, 3, **options), tn.MultiheadAttention(600, 3, **options)
        for name, wanted in theirs.state_dict().items():
            assert np.std(ours.state_dict()[name].numpy()) == pytest.approx(wanted.std().item(), rel=0.2), name


def test_training_is_pytorchs() -> None:
    """Ten steps of a classifier of sequences, from the same weights."""

    def build(module: Any) -> Any:
        class Net(module.Module):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                layer = module.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
                self.encoder = module.TransformerEncoder(layer, 2, enable_nested_tensor=False)
                self.head = module.Linear(8, 3)

            def forward(self, x: Any) -> Any:
                return self.head(self.encoder(x).mean(1))

        return Net()

    trains_alike(build, 8)
