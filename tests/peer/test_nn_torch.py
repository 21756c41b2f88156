"""Every module beside PyTorch's: same state dict, same results and gradients, in training and in evaluation."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn as tn

from lucid import nn
from lucid.graph.types import is_float
from lucid.tensor.tensor import Tensor

Array = np.ndarray[Any, Any]


def images(*shape: int) -> Callable[[np.random.Generator, str], tuple[Array, ...]]:
    return lambda rng, dtype: (rng.standard_normal(shape).astype(dtype),)


MAPS, SIGNALS, VOLUMES = images(2, 4, 9, 8), images(2, 4, 11), images(2, 4, 5, 7, 6)


@dataclass(frozen=True)
class Layer:
    """The same layer in both worlds; ``theirs`` is built from the module ``torch.nn``."""

    name: str
    ours: Callable[[], nn.Module]
    theirs: Callable[[], tn.Module]
    make: Callable[[np.random.Generator, str], tuple[Array, ...]] = MAPS
    same_repr: bool = True  # False where an argument is only ours or only theirs, or pairs are kept as such


def conv(name: str, *args: Any, channels: int = 4, **kwargs: Any) -> Layer:
    return Layer(
        name,
        lambda: nn.Conv2d(channels, *args, **kwargs),
        lambda: tn.Conv2d(channels, *args, **kwargs),
        images(2, channels, 9, 8),
    )


def transposed(name: str, *args: Any, **kwargs: Any) -> Layer:
    return Layer(name, lambda: nn.ConvTranspose2d(4, *args, **kwargs), lambda: tn.ConvTranspose2d(4, *args, **kwargs))


def max_pool(name: str, kernel: Any, stride: Any = None, padding: Any = 0, **kwargs: Any) -> Layer:
    return Layer(
        name,
        lambda: nn.MaxPool2d(kernel, stride, padding, pad_value=-math.inf, **kwargs),
        lambda: tn.MaxPool2d(kernel, stride, padding, **kwargs),
        same_repr=False,
    )


def same(name: str, *args: Any, make: Any = MAPS, **kwargs: Any) -> Layer:
    known = name.startswith(("LP", "Layer", "RMS", "LocalResponse"))
    same_repr = not any(word in name for word in ("Pool", "Norm", "Upsampl")) or known
    label = f"{name}-{'-'.join(map(str, [*args, *(f'{k}={v}' for k, v in kwargs.items())]))}".rstrip("-")
    return Layer(
        label, lambda: getattr(nn, name)(*args, **kwargs), lambda: getattr(tn, name)(*args, **kwargs), make, same_repr
    )


def fractional(name: str, drawn: float, *args: Any, make: Any = MAPS, **kwargs: Any) -> Layer:
    """A layer that is given what it would draw."""
    samples = np.full((2, 4, int(name[-2])), drawn, np.float32)
    return Layer(
        f"{name}-{drawn}",
        lambda: getattr(nn, name)(*args, _random_samples=Tensor(samples), **kwargs),
        lambda: getattr(tn, name)(*args, _random_samples=torch.from_numpy(samples.copy()), **kwargs),
        make,
        same_repr=False,
    )


def PAIR(rng: np.random.Generator, dtype: str) -> tuple[Array, ...]:  # noqa: N802 - beside the others
    return rng.standard_normal((6, 3)).astype(dtype), rng.standard_normal((6, 4)).astype(dtype)


def TWO(rng: np.random.Generator, dtype: str) -> tuple[Array, ...]:  # noqa: N802
    return rng.standard_normal((6, 3)).astype(dtype), rng.standard_normal((6, 3)).astype(dtype)


def vectors(count: int) -> Callable[[np.random.Generator, str], tuple[Array, ...]]:
    return lambda rng, dtype: tuple(rng.standard_normal((6, 3)).astype(dtype) for _ in range(count))


def signed(count: int, shape: tuple[int, ...]) -> Callable[[np.random.Generator, str], tuple[Array, ...]]:
    """So many tensors, and integers of 1 and -1."""
    signs = np.array([1, -1, -1, 1, 1])
    return lambda rng, dtype: (*(rng.standard_normal((5, *shape)).astype(dtype) for _ in range(count)), signs)


def scores(rng: np.random.Generator, dtype: str) -> tuple[Array, ...]:
    return rng.standard_normal((5, 4)).astype(dtype), rng.integers(0, 4, 5)


def labels(rng: np.random.Generator, dtype: str) -> tuple[Array, ...]:
    return rng.standard_normal((2, 4)).astype(dtype), np.array([[3, 0, -1, 1], [0, 1, 2, -1]])


def variances(rng: np.random.Generator, dtype: str) -> tuple[Array, ...]:
    """Some less than the least."""
    return *vectors(2)(rng, dtype), rng.choice([1e-3, 0.5, 2.0], (6, 3)).astype(dtype)


def spoken(rng: np.random.Generator, dtype: str) -> tuple[Array, ...]:
    numbers = rng.standard_normal((6, 2, 4)).astype(dtype)
    return numbers, np.array([[0, 2, 2], [3, 0, 0]]), np.array([6, 5]), np.array([3, 2])


class OurSpoken(nn.Module):
    """The loss of log-probabilities that are made of numbers: what PyTorch gives as its gradient is that of these."""

    def __init__(self) -> None:
        super().__init__()
        self.loss = nn.CTCLoss(1)

    def forward(self, x: Tensor, *sequences: Tensor) -> Any:
        return self.loss(nn.functional.log_softmax(x, -1), *sequences)


class TheirSpoken(tn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.loss = tn.CTCLoss(1)

    def forward(self, x: torch.Tensor, *sequences: torch.Tensor) -> Any:
        return self.loss(torch.log_softmax(x, -1), *sequences)


def offsets(rng: np.random.Generator, dtype: str) -> tuple[Array, ...]:
    return rng.integers(0, 7, 9), np.array([0, 2, 2, 5])


def tokens(rng: np.random.Generator, dtype: str) -> tuple[Array, ...]:
    return (rng.integers(0, 7, (3, 5)),)


class Hardsigmoid(tn.Hardsigmoid):
    """PyTorch's own takes the nearest float32 for a sixth, in float64 too."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return tn.functional.relu6(input + 3) / 6


LAYERS = [
    same("Linear", 8, 5),
    same("Linear", 8, 5, bias=False, make=images(3, 8)),
    conv("conv", 6, 3),
    conv("conv-stride", 6, 3, stride=2, padding=1),
    conv("conv-uneven", 6, (3, 2), stride=(1, 2), padding=(2, 0), dilation=(1, 2), bias=False),
    conv("conv-groups", 6, 3, padding=1, groups=2),
    conv("conv-depthwise", 8, 3, padding=1, groups=4),
    conv("conv-1x1", 6, 1),
    conv("conv-same", 6, 3, padding="same", dilation=2),
    conv("conv-valid", 6, 3, padding="valid"),
    transposed("transposed", 6, 3),
    transposed("transposed-stride", 6, 3, stride=2, padding=1, output_padding=1),
    transposed("transposed-groups", 6, (3, 2), stride=(2, 3), groups=2, bias=False, dilation=(2, 1)),
    max_pool("maxpool", 2),
    max_pool("maxpool-overlap", 3, 2, 1),
    max_pool("maxpool-dilated", (3, 2), (1, 2), (1, 0), dilation=(2, 1)),
    max_pool("maxpool-ceil", 3, 2, 1, ceil_mode=True),
    same("AvgPool2d", 2),
    same("AvgPool2d", 3, 2, 1, count_include_pad=False),
    same("AvgPool2d", (3, 2), (2, 1), (1, 0), ceil_mode=True),
    same("AvgPool2d", 2, divisor_override=3),
    same("AdaptiveAvgPool2d", 1),
    same("AdaptiveAvgPool2d", (4, None)),
    same("AdaptiveMaxPool2d", (3, 4)),
    same("Upsample", scale_factor=2),
    same("Upsample", (5, 12), mode="nearest-exact"),
    same("Upsample", scale_factor=(1.5, 0.7), mode="bilinear"),
    same("Upsample", (5, 12), mode="bicubic", align_corners=True),
    same("Upsample", 3, mode="area"),
    same("Upsample", scale_factor=1.7, mode="linear", recompute_scale_factor=True, make=images(2, 3, 8)),
    same("Upsample", (2, 5, 9), mode="trilinear", make=images(2, 2, 3, 4, 5)),
    same("UpsamplingBilinear2d", (5, 12)),
    same("PixelShuffle", 2),
    same("PixelUnshuffle", 3, make=images(2, 4, 9, 6)),
    same("Conv1d", 4, 6, 3, stride=2, padding=1, groups=2, make=SIGNALS),
    same("Conv1d", 4, 6, 4, padding="same", dilation=2, bias=False, make=SIGNALS),
    same("Conv3d", 4, 6, 2, padding=1, make=VOLUMES),
    same("Conv3d", 4, 6, (3, 2, 1), stride=(2, 1, 2), padding=(1, 0, 2), dilation=(1, 2, 1), groups=2, make=VOLUMES),
    *(
        same(f"Conv{axes}d", 4, 5, 3, padding=padding, padding_mode=mode, make=make)
        for axes, make in ((1, SIGNALS), (3, VOLUMES))
        for padding, mode in ((1, "reflect"), (2, "replicate"), ("same", "circular"))
    ),
    same("ConvTranspose1d", 4, 6, 3, stride=2, padding=1, output_padding=1, groups=2, make=SIGNALS),
    same("ConvTranspose3d", 4, 6, (2, 3, 2), (2, 1, 3), (0, 1, 0), (1, 0, 2), 2, dilation=(1, 2, 1), make=VOLUMES),
    same("MaxPool1d", 3, make=SIGNALS),
    same("MaxPool1d", 3, 2, 1, 2, ceil_mode=True, make=SIGNALS),
    same("MaxPool3d", 2, make=VOLUMES),
    same("MaxPool3d", (3, 2, 2), (2, 1, 2), 1, ceil_mode=True, make=VOLUMES),
    same("AvgPool1d", 3, 2, 1, True, False, make=SIGNALS),
    same("AvgPool3d", 2, make=VOLUMES),
    same("AvgPool3d", (3, 2, 2), 2, 1, True, False, make=VOLUMES),
    same("AvgPool3d", 2, divisor_override=3, make=VOLUMES),
    same("AdaptiveAvgPool1d", 4, make=SIGNALS),
    same("AdaptiveMaxPool1d", 4, make=SIGNALS),
    same("AdaptiveAvgPool3d", (2, None, 3), make=VOLUMES),
    same("AdaptiveMaxPool3d", (2, None, 3), make=VOLUMES),
    same("BatchNorm3d", 4, make=VOLUMES),
    *(
        same(f"{kind}Pad{axes}d", *args, make=make)
        for kind, *args in (("Zero", 2), ("Constant", 1, 3.5), ("Reflection", 2), ("Replication", 3), ("Circular", 1))
        for axes, make in ((1, SIGNALS), (2, MAPS), (3, VOLUMES))
    ),
    same("ZeroPad1d", (1, -2), make=SIGNALS),
    same("ReflectionPad2d", (1, 2, 3, 0)),
    same("ReplicationPad3d", (1, 2, 0, 0, 2, 1), make=VOLUMES),
    same("ConstantPad2d", (1, 0, 0, 2), -1.5, make=images(4, 9, 8)),
    same("LPPool1d", 2, 3, ceil_mode=True, make=SIGNALS),
    same("LPPool2d", 2, (3, 2), stride=(2, 1)),
    same("LPPool3d", 2, 2, make=VOLUMES),
    fractional("FractionalMaxPool2d", 0.3, 2, (4, 3)),
    fractional("FractionalMaxPool2d", 0.7, (3, 2), output_ratio=0.5),
    fractional("FractionalMaxPool3d", 0.2, 2, 3, make=images(2, 4, 5, 6, 6)),
    same("Unfold", 3, padding=1, stride=2),
    same("Fold", (5, 6), 2, make=images(2, 12, 20)),
    same("ChannelShuffle", 2),
    same("RMSNorm", 8),
    same("RMSNorm", (9, 8), eps=1e-3),
    same("RMSNorm", (9, 8), elementwise_affine=False),
    same("LocalResponseNorm", 3, 0.5, 0.7, 2.0),
    same("Bilinear", 3, 4, 5, make=PAIR),
    same("Bilinear", 3, 4, 5, bias=False, make=PAIR),
    same("CosineSimilarity", make=TWO),
    same("CosineSimilarity", 0, 1e-3, make=TWO),
    same("PairwiseDistance", 1.0, keepdim=True, make=TWO),
    *(same("EmbeddingBag", 7, 3, mode=mode, make=tokens) for mode in ("sum", "mean", "max")),
    same("EmbeddingBag", 7, 3, padding_idx=-2, make=offsets),
    *(same("TripletMarginLoss", swap=swap, p=p, make=vectors(3)) for swap, p in ((False, 2.0), (True, 1.0))),
    same("TripletMarginWithDistanceLoss", margin=0.5, reduction="sum", make=vectors(3)),
    same("MarginRankingLoss", 0.5, make=signed(2, ())),
    same("CosineEmbeddingLoss", 0.1, reduction="none", make=signed(2, (3,))),
    same("HingeEmbeddingLoss", 0.7, make=signed(1, ())),
    same("SoftMarginLoss", make=signed(1, ())),
    same("MultiMarginLoss", 2, 0.5, make=scores),
    same("MultiLabelMarginLoss", make=labels),
    same("MultiLabelSoftMarginLoss", make=vectors(2)),
    same("PoissonNLLLoss", full=False, make=vectors(2)),
    same("GaussianNLLLoss", eps=1e-2, full=True, make=variances),
    Layer("CTCLoss", OurSpoken, TheirSpoken, spoken, same_repr=False),
    same("InstanceNorm1d", 4, affine=True, track_running_stats=True, make=SIGNALS),
    same("InstanceNorm3d", 4, affine=True, make=VOLUMES),
    same("BatchNorm1d", 4, make=images(6, 4)),
    same("BatchNorm1d", 4, momentum=None, make=images(6, 4, 5)),
    same("BatchNorm2d", 4),
    same("BatchNorm2d", 4, momentum=None, eps=1e-3),
    same("BatchNorm2d", 4, momentum=0.3, affine=False),
    same("BatchNorm2d", 4, track_running_stats=False),
    same("InstanceNorm2d", 4),
    same("InstanceNorm2d", 4, affine=True, track_running_stats=True),
    same("LayerNorm", 8),
    same("LayerNorm", (9, 8), eps=1e-3),
    same("LayerNorm", (9, 8), elementwise_affine=False),
    same("LayerNorm", 8, bias=False),
    same("GroupNorm", 2, 4),
    same("GroupNorm", 4, 4, affine=False),
    same("Embedding", 7, 3, make=tokens),
    same("Embedding", 7, 3, padding_idx=2, make=tokens),
    same("Embedding", 7, 3, padding_idx=-1, make=tokens),
    same("Flatten"),
    same("Flatten", 2, 3),
    same("Unflatten", 1, (2, 2)),
    same("Identity"),
    *(same(name, 0.0) for name in ("Dropout", "Dropout2d", "AlphaDropout", "FeatureAlphaDropout")),
    same("Dropout1d", 0.0, make=SIGNALS),
    same("Dropout3d", 0.0, make=VOLUMES),
    *(same(name) for name in ("ReLU", "ReLU6", "Sigmoid", "Tanh", "SiLU", "LeakyReLU", "ELU", "GELU", "Softplus")),
    *(same(name) for name in ("Mish", "Hardswish", "LogSigmoid", "Softsign", "Tanhshrink", "SELU")),
    *(same(name) for name in ("CELU", "GLU", "Hardshrink", "Softshrink", "Hardtanh", "Softmax2d")),
    Layer("Hardsigmoid", nn.Hardsigmoid, Hardsigmoid),
    same("GLU", 1),
    same("Softmin", dim=1),
    same("Threshold", 0.1, 2.5),
    same("Hardshrink", 0.8),
    same("Softshrink", 0.8),
    same("RReLU", 0.25, 0.25),
    same("LeakyReLU", 0.2),
    same("ELU", alpha=0.5),
    same("GELU", approximate="tanh"),
    same("Softplus", beta=2.0, threshold=1.0),
    same("Hardtanh", -0.5, 0.7),
    same("PReLU"),
    same("PReLU", 4),
    same("Softmax", dim=1),
    same("LogSoftmax", dim=-1),
]


def twins(layer: Layer, dtype: str) -> tuple[nn.Module, tn.Module]:
    """Ours and theirs with the same random state, which goes from theirs to ours by name."""
    ours, theirs = layer.ours(), layer.theirs()
    theirs = theirs.to(getattr(torch, dtype))
    ours.to(dtype)
    rng = np.random.default_rng(1)
    with torch.no_grad():
        for name, tensor in theirs.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(torch.from_numpy(0.5 + rng.random(tuple(tensor.shape))))
                if name == "weight" and getattr(theirs, "padding_idx", None) is not None:
                    tensor[theirs.padding_idx] = 0  # type: ignore[index]
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def assert_same(ours: Any, theirs: torch.Tensor, dtype: str, what: str) -> None:
    got, wanted = np.asarray(ours), theirs.detach().numpy()
    assert got.shape == wanted.shape, what
    assert got.dtype == wanted.dtype, what
    scale = max(1.0, float(np.abs(wanted).max(initial=0.0)))
    tolerance = {"float32": 1e-5, "float64": 1e-12}[dtype] * scale
    np.testing.assert_allclose(got, wanted, rtol=0, atol=tolerance, err_msg=what)


def assert_same_state(ours: nn.Module, theirs: tn.Module, dtype: str) -> None:
    state, wanted = ours.state_dict(), theirs.state_dict()
    assert list(state) == list(wanted)
    for name, tensor in wanted.items():
        assert_same(state[name], tensor, dtype, name)


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_a_module_is_pytorchs(layer: Layer, dtype: str, mode: str) -> None:
    ours, theirs = twins(layer, dtype)
    ours.train(mode == "train")
    theirs.train(mode == "train")
    rng = np.random.default_rng(2)
    for _ in range(2):  # twice, so that running statistics have moved before
        arrays = layer.make(rng, dtype)
        inputs = [Tensor(a, requires_grad=is_float(a.dtype)) for a in arrays]
        others = [torch.from_numpy(a.copy()).requires_grad_(is_float(a.dtype)) for a in arrays]
        y, expected = ours(*inputs), theirs(*(other.clone() for other in others))  # it may write into a clone
        assert_same(y, expected, dtype, "result")
        if expected.requires_grad:
            seed = rng.standard_normal(tuple(expected.shape)).astype(dtype)
            y.backward(seed)
            expected.backward(torch.from_numpy(seed))
        for x, other in zip(inputs, others, strict=True):
            if other.grad is not None:
                assert_same(x.grad, other.grad, dtype, "gradient of the input")
    assert_same_state(ours, theirs, dtype)
    gradients = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        wanted = gradients.pop(name).grad
        assert wanted is not None
        assert_same(parameter.grad, wanted, dtype, f"gradient of {name}")
    assert not gradients


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_state_goes_back(layer: Layer) -> None:
    ours, theirs = layer.ours(), layer.theirs()
    theirs.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in ours.state_dict().items()})
    assert_same_state(ours, theirs, "float32")


@pytest.mark.parametrize("layer", [x for x in LAYERS if x.same_repr], ids=lambda layer: layer.name)
def test_it_prints_the_same(layer: Layer) -> None:
    assert repr(layer.ours()) == repr(layer.theirs())


LOSSES: list[tuple[str, dict[str, Any], str]] = [
    *(("CrossEntropyLoss", {"reduction": r}, "classes") for r in ("mean", "sum", "none")),
    ("CrossEntropyLoss", {"ignore_index": 1}, "classes"),
    ("CrossEntropyLoss", {"label_smoothing": 0.2, "weight": True}, "classes"),
    ("CrossEntropyLoss", {"weight": True}, "maps"),
    ("CrossEntropyLoss", {"label_smoothing": 0.1}, "probabilities"),
    ("NLLLoss", {"weight": True, "ignore_index": 2}, "classes"),
    ("NLLLoss", {"reduction": "sum"}, "maps"),
    *(("MSELoss", {"reduction": r}, "numbers") for r in ("mean", "sum", "none")),
    ("L1Loss", {}, "numbers"),
    ("SmoothL1Loss", {"beta": 0.5}, "numbers"),
    ("SmoothL1Loss", {"beta": 0.0, "reduction": "sum"}, "numbers"),
    ("HuberLoss", {"delta": 0.7}, "numbers"),
    ("BCELoss", {"weight": True}, "units"),
    ("BCEWithLogitsLoss", {"pos_weight": True}, "units"),
    ("BCEWithLogitsLoss", {"weight": True, "reduction": "sum"}, "units"),
    ("KLDivLoss", {"reduction": "batchmean"}, "probabilities"),
    ("KLDivLoss", {"log_target": True}, "numbers"),
]


def loss_data(kind: str, dtype: str) -> tuple[Array, Array]:
    rng = np.random.default_rng(3)
    if kind == "classes":
        return rng.standard_normal((6, 4)).astype(dtype), np.array([0, 1, 2, 3, 1, 2])
    if kind == "maps":
        return rng.standard_normal((2, 4, 3, 3)).astype(dtype), rng.integers(0, 4, (2, 3, 3))
    if kind == "probabilities":
        return rng.standard_normal((6, 4)).astype(dtype), rng.dirichlet(np.ones(4), 6).astype(dtype)
    if kind == "units":
        return rng.random((6, 4)).astype(dtype), rng.random((6, 4)).astype(dtype)
    return rng.standard_normal((6, 4)).astype(dtype), rng.standard_normal((6, 4)).astype(dtype)


@pytest.mark.parametrize(("name", "options", "kind"), LOSSES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_loss_is_pytorchs(name: str, options: dict[str, Any], kind: str, dtype: str) -> None:
    weights = np.array([0.5, 1.0, 2.0, 0.25], dtype)
    weighted = {"weight", "pos_weight"} & set(options)
    ours = getattr(nn, name)(**options | {k: Tensor(weights) for k in weighted})
    theirs = getattr(tn, name)(**options | {k: torch.from_numpy(weights) for k in weighted})
    x, target = loss_data(kind, dtype)
    a, b = Tensor(x, requires_grad=True), torch.from_numpy(x.copy()).requires_grad_()
    with warnings.catch_warnings():  # PyTorch warns of what the mean of a divergence is
        warnings.simplefilter("ignore", UserWarning)
        expected = theirs(b, torch.from_numpy(target))
    y = ours(a, Tensor(target))
    assert_same(y, expected, dtype, "loss")
    y.sum().backward()
    expected.sum().backward()
    assert b.grad is not None
    assert_same(a.grad, b.grad, dtype, "gradient")
