"""Layers that are a few ops together: what is drawn, what is refused, and that compiled models do the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.errors import LucidError
from lucid.nn import functional as F

IMAGE = np.random.default_rng(0).standard_normal((2, 4, 9, 8)).astype(np.float32)
IDS = np.array([[1, 2, 3], [4, 0, 0]])


@pytest.mark.parametrize("function", [F.fractional_max_pool2d, lucid.compile(F.fractional_max_pool2d)])
def test_fractional_windows_are_drawn_anew_and_cover_the_image(function: Any) -> None:
    lucid.manual_seed(0)
    seen = set()
    for _ in range(8):
        y, index = function(IMAGE, 3, output_size=(4, 3), return_indices=True)
        flat = IMAGE.reshape(2, 4, -1)
        np.testing.assert_array_equal(
            np.take_along_axis(flat, index.numpy().reshape(2, 4, -1), 2).reshape(y.shape), y.numpy()
        )
        seen.add(index.numpy().tobytes())
    assert len(seen) > 1
    whole = F.fractional_max_pool2d(IMAGE, (9, 8), output_size=1)
    np.testing.assert_array_equal(whole.numpy()[..., 0, 0], IMAGE.max((2, 3)))


LAYERS: list[tuple[nn.Module, tuple[Any, ...]]] = [
    (nn.ReflectionPad2d((1, 2, 3, 0)), (IMAGE,)), (nn.ZeroPad2d(-1), (IMAGE,)), (nn.LPPool2d(2, 3, 2), (IMAGE,)),
    (nn.Unfold(3, 1, 1, 2), (IMAGE,)), (nn.RMSNorm(8), (IMAGE,)), (nn.LocalResponseNorm(3), (IMAGE,)),
    (nn.ChannelShuffle(2), (IMAGE,)), (nn.Bilinear(8, 8, 3), (IMAGE, IMAGE)),
    (nn.CosineSimilarity(), (IMAGE, IMAGE + 1)),
    (nn.PairwiseDistance(), (IMAGE, IMAGE + 1)), (nn.EmbeddingBag(5, 3), (IDS,)),
    (nn.EmbeddingBag(5, 3, mode="max", padding_idx=0), (IDS,)),
    (nn.MaxUnpool2d(2), (IMAGE, np.arange(IMAGE.size).reshape(IMAGE.shape) % IMAGE[0, 0].size * 4)),
]  # fmt: skip


@pytest.mark.parametrize(("layer", "inputs"), LAYERS, ids=[repr(layer) for layer, _ in LAYERS])
def test_a_compiled_layer_of_any_batch_is_the_layer(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
    specs = [lucid.spec("N", *x.shape[1:], dtype=x.dtype) for x in inputs]
    net = lucid.compile(layer, *specs)
    for arrays in (inputs, tuple(x[:1] for x in inputs), tuple(x[:0] for x in inputs)):
        tensors = [lucid.tensor(x, requires_grad=x.dtype.kind == "f") for x in arrays]
        others = [lucid.tensor(x, requires_grad=x.dtype.kind == "f") for x in arrays]
        y, wanted = net(*tensors), layer(*others)
        np.testing.assert_allclose(y.numpy(), wanted.numpy(), rtol=1e-5, atol=1e-6)
        for result in (y, wanted):
            result.square().sum().backward()
        for x, other in zip(tensors, others, strict=True):
            if other.grad is not None:
                assert x.grad is not None
                np.testing.assert_allclose(x.grad.numpy(), other.grad.numpy(), rtol=1e-4, atol=1e-5)


def test_a_fold_of_what_was_unfolded_counts_the_windows() -> None:
    columns = F.unfold(IMAGE, 2)
    counts = F.fold(F.unfold(np.ones_like(IMAGE), 2), (9, 8), 2)
    np.testing.assert_allclose(F.fold(columns, (9, 8), 2).numpy(), IMAGE * counts.numpy(), rtol=1e-6)


def test_unknown_sizes_of_images() -> None:
    def both(x: Any) -> Any:
        return F.fold(F.unfold(x, 3, padding=1), x.shape[2:], 3, padding=1)

    net = lucid.compile(both, lucid.spec(2, 4, "H", "W"))
    for x in (IMAGE, IMAGE[:, :, :5, :7]):
        np.testing.assert_allclose(net(x).numpy(), both(x).numpy(), rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: nn.ReflectionPad1d(1)(IMAGE), r"ReflectionPad1d: needs a tensor \(N, C, L\) or \(C, L\)"),
        (lambda: nn.ZeroPad2d((1, 2)), "ZeroPad2d: padding is one int or 4"),
        (lambda: nn.CircularPad2d("1"), "CircularPad2d: padding"),  # type: ignore[arg-type]
        (lambda: nn.LPPool2d(0, 2), "LPPool2d: norm_type must not be 0"),
        (lambda: F.lp_pool1d(IMAGE, 2, 3), "lp_pool1d: needs a tensor"),
        (lambda: F.unfold(IMAGE, 10), "unfold: a window of 10"),
        (lambda: F.fold(IMAGE[:, :, 0], 3, 3), "fold: the columns of"),
        (lambda: F.fold(IMAGE, (4, 3), 2), "fold: needs columns"),
        (lambda: F.fold(np.ones((1, 8, 5)), (4, 3), 2), "fold: images 4 x 3 have 3 x 2 such windows"),
        (lambda: F.rms_norm(IMAGE, 9), "rms_norm: the last axes"),
        (lambda: F.rms_norm(IMAGE, 8, np.ones(7)), "rms_norm: the weight must have shape"),
        (lambda: F.rms_norm(IDS, 3), "rms_norm: needs a floating-point tensor"),
        (lambda: F.local_response_norm(IMAGE[0, 0], 3), "local_response_norm: needs axes after"),
        (lambda: nn.LocalResponseNorm(0), "LocalResponseNorm: size must be positive"),
        (lambda: F.bilinear(IMAGE, IMAGE[:1], np.ones((2, 8, 8))), "bilinear: the weight"),
        (lambda: F.bilinear(IMAGE, IMAGE, np.ones((2, 8, 8)), np.ones(3)), "bilinear: the bias"),
        (lambda: F.channel_shuffle(IMAGE, 3), "channel_shuffle: the 4 channels"),
        (lambda: F.cosine_similarity(IDS, IDS), "cosine_similarity: needs floating-point"),
        (lambda: F.embedding_bag(IDS, np.ones((5, 2)), max_norm=1.0), "max_norm, scale_grad_by_freq and sparse"),
        (lambda: nn.EmbeddingBag(5, 2, mode="median"), "EmbeddingBag: mode is one of"),
        (lambda: F.embedding_bag(IDS[0], np.ones((5, 2))), "embedding_bag: needs bags as a matrix"),
        (lambda: F.embedding_bag(IDS[0], np.ones((5, 2)), [1, 2]), "the first bag must begin at 0"),
        (lambda: F.embedding_bag(IDS, np.ones((5, 2)), per_sample_weights=np.ones((2, 3))), 'for mode "sum" only'),
        (lambda: F.fractional_max_pool2d(IMAGE, 2), "give output_size or output_ratio"),
        (lambda: F.fractional_max_pool2d(IMAGE, 2, output_ratio=1.5), "output_ratio"),
        (lambda: F.fractional_max_pool2d(IMAGE, 5, 6), "6 windows of 5 do not fit the height 9"),
        (lambda: nn.FractionalMaxPool2d(2), "FractionalMaxPool2d: give output_size or output_ratio"),
    ],
)  # fmt: skip
def test_what_is_refused_says_why(make: Callable[[], object], words: str) -> None:
    with pytest.raises(LucidError, match=words):
        make()
