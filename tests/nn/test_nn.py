"""Layers: what their constructors refuse, running statistics, dropout, initialisers, functions of our own."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest

from lucid import nn
from lucid.errors import DTypeError, LucidError, OptionError, ShapeError
from lucid.nn import functional as F
from lucid.nn import init
from lucid.tensor.creation import manual_seed
from lucid.tensor.tensor import Tensor, no_grad
from lucid.tensor.tracing import Recorder


def noise(*shape: int, seed: int = 0) -> Tensor:
    return Tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Conv2d(0, 1, 1), "Conv2d: in_channels must be positive, got 0"),
        (lambda: nn.Conv2d(1, 2.0, 1), "Conv2d: out_channels must be an int .* got 2.0"),
        (lambda: nn.Conv2d(1, 1, True), "Conv2d: kernel_size must be an int .* got True"),
        (lambda: nn.Conv2d(1, 1, (3, 3, 3)), r"Conv2d: kernel_size must be one int or two .*got 3: \(3, 3, 3\)"),
        (lambda: nn.Conv2d(1, 1, 3, stride=0), "Conv2d: stride must be positive, got 0"),
        (lambda: nn.Conv2d(1, 1, 3, padding=-1), "Conv2d: padding must be at least 0, got -1"),
        (lambda: nn.Conv2d(1, 1, 3, padding="full"), "Conv2d: padding is .* got 'full'"),
        (lambda: nn.Conv2d(1, 1, 3, stride=2, padding="same"), "needs stride 1"),
        (lambda: nn.Conv2d(4, 6, 3, groups=4), "Conv2d: groups 4 does not divide out_channels 6"),
        (lambda: nn.Conv2d(1, 1, 3, bias=1), "Conv2d: bias is True or False, got 1"),
        (lambda: nn.ConvTranspose2d(1, 1, 3, output_padding=1), "output_padding .* must be smaller than the stride"),
        (lambda: nn.ConvTranspose2d(1, 1, 3, padding="same"), "ConvTranspose2d: padding is one int or two"),
        (lambda: nn.MaxPool2d(0), "MaxPool2d: kernel_size must be positive, got 0"),
        (lambda: nn.MaxPool2d(2, -1), "MaxPool2d: stride must be positive, got -1"),
        (lambda: nn.MaxPool2d(2, 2, 2), "see only padding"),
        (lambda: nn.MaxPool2d(2, pad_value=math.nan), "MaxPool2d: pad_value must lie between"),
        (lambda: nn.MaxPool2d((2, 2, 2)), "MaxPool2d: kernel_size must be one int or two"),
        (lambda: nn.MaxPool2d(2, dilation=1.5), "MaxPool2d: dilation must be an int"),
        (lambda: nn.AvgPool2d(2, padding=2), r"AvgPool2d: padding \(2, 2\) is more than half"),
        (lambda: nn.AvgPool2d(2, divisor_override=0), "divisor_override must be positive"),
        (lambda: nn.AdaptiveAvgPool2d((1, 2, 3)), "output_size is one int or two"),
        (lambda: nn.AdaptiveMaxPool2d(0), "AdaptiveMaxPool2d: output_size must be positive"),
        (lambda: nn.Linear(3, -1), "Linear: out_features must be positive, got -1"),
        (lambda: nn.Linear(3, 1, dtype="int64"), "parameters are floating-point, not int64"),
        (lambda: nn.BatchNorm2d(3, eps=-1.0), "BatchNorm2d: eps must lie between 0 and inf"),
        (lambda: nn.BatchNorm2d(3, momentum=2.0), "BatchNorm2d: momentum must lie between 0 and 1"),
        (lambda: nn.GroupNorm(3, 4), "GroupNorm: num_groups 3 does not divide num_channels 4"),
        (lambda: nn.LayerNorm(()), "LayerNorm: normalized_shape must name at least one axis"),
        (lambda: nn.Dropout(1.5), "Dropout: p must lie between 0 and 1, got 1.5"),
        (lambda: nn.Embedding(3, 2, padding_idx=3), "padding_idx 3 is out of range for 3 rows"),
        (lambda: nn.Hardtanh(1.0, -1.0), "min_val 1.0 must be below max_val -1.0"),
        (lambda: nn.GELU("fast"), "GELU: approximate is one of 'none', 'tanh', got 'fast'"),
        (lambda: nn.MSELoss("max"), "MSELoss: reduction is one of"),
        (lambda: nn.CrossEntropyLoss(label_smoothing=2), "label_smoothing must lie between 0 and 1"),
    ],
)
def test_constructors_refuse(make: Any, message: str) -> None:
    with pytest.raises(LucidError, match=message):
        make()


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (nn.BatchNorm2d(3), (2, 3), r"BatchNorm2d: needs an input \(N, C, H, W\)"),
        (nn.BatchNorm1d(3), (2, 4), "BatchNorm1d: has num_features=3"),
        (nn.BatchNorm1d(3), (1, 3), "more than one value per channel"),
        (nn.GroupNorm(1, 3), (2, 4), "GroupNorm: has num_channels=3"),
        (nn.Conv2d(3, 1, 3), (1, 4, 5, 5), "4 channels"),
        (nn.Linear(3, 1), (2, 4), "(?i)linear"),
        (nn.MaxPool2d(4, 1), (1, 1, 3, 3), "larger than the height 3"),
    ],
)
def test_layers_refuse_inputs(layer: nn.Module, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        layer(noise(*shape))


def test_the_page_and_its_alias() -> None:
    assert nn.Conv2D is nn.Conv2d
    pool = nn.MaxPool2d()
    assert (pool.kernel_size, pool.stride, pool.padding) == ((1, 1), (1, 1), (0, 0))
    with pytest.warns(UserWarning, match="stride is left out"):
        assert nn.MaxPool2d(3).stride == (1, 1)
    assert nn.MaxPool2d(3, None).stride == (3, 3)
    assert repr(nn.MaxPool2d(2, 2)) == "MaxPool2d(kernel_size=(2, 2), stride=(2, 2), padding=(0, 0))"
    x = Tensor([[[-1.0, -2.0]]])
    assert nn.MaxPool2d((1, 2), 1, padding=(0, 1))(x).tolist() == [[[0.0, -1.0, 0.0]]]
    value, position = nn.MaxPool2d((1, 2), 1, return_indices=True)(x)
    assert (value.tolist(), position.tolist()) == ([[[-1.0]]], [[[0]]])


# ---------------------------------------------------------------- statistics


def test_running_statistics_move_while_training_only() -> None:
    norm = nn.BatchNorm2d(2, momentum=0.25)
    x = noise(3, 2, 4, 4)
    norm(x)
    mean = np.asarray(x).mean((0, 2, 3))
    var = np.asarray(x).var((0, 2, 3), ddof=1)
    np.testing.assert_allclose(norm.running_mean, 0.25 * mean, rtol=1e-5)
    np.testing.assert_allclose(norm.running_var, 0.75 + 0.25 * var, rtol=1e-5)
    assert norm.num_batches_tracked.item() == 1
    before = copy.deepcopy(norm.state_dict())
    norm.eval()(x)
    with no_grad():
        norm(x)
    assert all(np.array_equal(before[k], v) for k, v in norm.state_dict().items())
    norm.reset_running_stats()
    assert norm.num_batches_tracked.item() == 0


def test_without_momentum_statistics_are_averages() -> None:
    norm = nn.BatchNorm1d(2, momentum=None)
    batches = [noise(5, 2, seed=seed) for seed in range(4)]
    for x in batches:
        norm(x)
    np.testing.assert_allclose(norm.running_mean, np.mean([np.asarray(x).mean(0) for x in batches], 0), rtol=1e-5)


@pytest.mark.parametrize("momentum", [0.1, None])
def test_a_trace_updates_statistics_at_every_run(momentum: float | None) -> None:
    norm = nn.BatchNorm1d(2, momentum=momentum)
    before = copy.deepcopy(norm.state_dict())
    recorder = Recorder({id(t): n for n, t in [*norm.named_parameters(), *norm.named_buffers()]})
    with recorder.active():
        y = norm(recorder.input(noise(5, 2).type, "x"))
    graph = recorder.finish([y])
    assert {name for name, _ in graph.updates} == {"running_mean", "running_var", "num_batches_tracked"}
    assert all(np.array_equal(before[k], v) for k, v in norm.state_dict().items())


# ---------------------------------------------------------------- dropout


def test_dropout() -> None:
    layer = nn.Dropout(0.25)
    x = Tensor(np.ones((100, 100), np.float32), requires_grad=True)
    manual_seed(3)
    y = layer(x)
    values, counts = np.unique(np.asarray(y.detach()), return_counts=True)
    np.testing.assert_allclose(values, [0, 4 / 3], rtol=1e-6)
    assert 2300 < counts[0] < 2700
    y.sum().backward()
    assert x.grad is not None
    assert np.array_equal(x.grad.numpy(), y.detach().numpy())
    manual_seed(3)
    assert np.array_equal(layer(x).detach().numpy(), y.detach().numpy())
    assert layer.eval()(x) is x
    channels = np.asarray(nn.Dropout2d(0.5)(Tensor(np.ones((8, 8, 3, 3)))))
    assert set(channels.reshape(64, 9).sum(1)) == {0.0, 18.0}


def test_padding_row_of_an_embedding() -> None:
    table = nn.Embedding(4, 3, padding_idx=-1)
    assert table.padding_idx == 3
    assert not table.weight.numpy()[3].any()
    table(Tensor([[0, 3]])).sum().backward()
    assert table.weight.grad is not None
    assert table.weight.grad.numpy().sum(1).tolist() == [3.0, 0.0, 0.0, 0.0]


# ---------------------------------------------------------------- initialisers


def blank(*shape: int, dtype: str = "float32") -> Tensor:
    return Tensor(np.zeros(shape, dtype))


def spread(t: Tensor) -> tuple[float, float]:
    return float(np.std(t.numpy())), float(np.abs(t.numpy()).max())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_initialisers_spread_as_they_say(dtype: str) -> None:
    manual_seed(0)
    t = blank(64, 32, 3, 3, dtype=dtype)
    fan_in, fan_out = 32 * 9, 64 * 9
    for fill, std in (
        (lambda: init.uniform_(t, -2.0, 2.0), 2 / math.sqrt(3)),
        (lambda: init.normal_(t, 0.0, 3.0), 3.0),
        (lambda: init.xavier_uniform_(t, 2.0), 2 * math.sqrt(2 / (fan_in + fan_out))),
        (lambda: init.xavier_normal_(t), math.sqrt(2 / (fan_in + fan_out))),
        (lambda: init.kaiming_uniform_(t), math.sqrt(2 / fan_in)),
        (lambda: init.kaiming_uniform_(t, a=math.sqrt(5)), math.sqrt(1 / 3 / fan_in)),
        (lambda: init.kaiming_normal_(t, mode="fan_out", nonlinearity="relu"), math.sqrt(2 / fan_out)),
        (lambda: init.kaiming_normal_(t, nonlinearity="tanh"), 5 / 3 / math.sqrt(fan_in)),
    ):
        assert fill() is t
        assert t.dtype.name == dtype
        assert spread(t)[0] == pytest.approx(std, rel=0.03)
        assert abs(float(t.numpy().mean())) < 0.03 * std
    assert spread(init.uniform_(t, -1.0, 1.0))[1] <= 1.0


@pytest.mark.parametrize(("a", "b"), [(-2.0, 2.0), (-0.1, 0.2), (3.0, 5.0), (-9.0, -4.0), (0.0, 50.0)])
def test_truncated_normal(a: float, b: float) -> None:
    manual_seed(0)
    values = init.trunc_normal_(blank(200, 50), 0.0, 1.0, a, b).numpy()
    assert a <= values.min() < values.max() <= b
    grid = np.linspace(a, b, 200001)
    density = np.exp(-(grid**2) / 2)
    mean = (grid * density).sum() / density.sum()
    assert values.mean() == pytest.approx(mean, abs=0.05 * float(values.std()))


def test_structured_initialisers() -> None:
    assert init.constant_(blank(2), 3.5).tolist() == [3.5, 3.5]
    assert init.eye_(blank(2, 3)).tolist() == [[1, 0, 0], [0, 1, 0]]
    manual_seed(0)
    for shape in ((6, 4), (4, 6), (4, 2, 3)):
        q = init.orthogonal_(blank(*shape, dtype="float64"), gain=2.0).numpy().reshape(shape[0], -1)
        product = q @ q.T if q.shape[0] <= q.shape[1] else q.T @ q
        np.testing.assert_allclose(product, 4 * np.eye(min(q.shape)), atol=1e-12)
    conv = nn.Conv2d(4, 4, 3, padding=1, groups=2, bias=False)
    init.dirac_(conv.weight, groups=2)
    x = noise(1, 4, 5, 5)
    np.testing.assert_allclose(conv(x).detach(), x, rtol=1e-6)


def test_seeds_make_models_repeat() -> None:
    def build() -> dict[str, Any]:
        return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Linear(3, 4), nn.Embedding(3, 2)).state_dict()

    manual_seed(7)
    a = build()
    b = build()
    manual_seed(7)
    c = build()
    assert all(np.array_equal(a[k], c[k]) for k in a)
    assert not any(np.array_equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: init.uniform_(blank(1), 2.0, 1.0), OptionError, "a must not exceed b"),
        (lambda: init.normal_(blank(1), std=-1), OptionError, "std must not be negative"),
        (lambda: init.trunc_normal_(blank(1), a=1, b=1), OptionError, "needs a < b"),
        (lambda: init.xavier_uniform_(blank(3)), ShapeError, "xavier_uniform_: needs at least 2 axes"),
        (lambda: init.kaiming_normal_(blank(3, 3), mode="fan"), OptionError, 'mode is "fan_in" or "fan_out"'),
        (lambda: init.kaiming_normal_(blank(3, 3), nonlinearity="swish"), OptionError, "nonlinearity is one of"),
        (lambda: init.eye_(blank(2, 2, 2)), ShapeError, "fills matrices"),
        (lambda: init.dirac_(blank(3, 1, 1), groups=2), OptionError, "2 groups do not divide 3"),
        (lambda: init.zeros_(Tensor([1, 2])), DTypeError, "fills floating-point tensors"),
        (lambda: init.zeros_(np.zeros(2)), OptionError, "fills a tensor, got ndarray"),
    ],
)
def test_initialisers_refuse(call: Any, error: type[LucidError], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


# ---------------------------------------------------------------- functions of our own


def test_small_functions() -> None:
    x = Tensor([[-8.0, -0.5, 3.0, 9.0]])
    assert F.relu6(x).tolist() == [[0, 0, 3, 6]]
    assert F.hardtanh(x, -1.0, 4.0).tolist() == [[-1, -0.5, 3, 4]]
    assert F.prelu(x, Tensor([0.5])).tolist() == [[-4, -0.25, 3, 9]]
    assert F.prelu(x, Tensor([1.0, 2.0, 3.0, 4.0])).tolist() == [[-8, -1, 3, 9]]
    np.testing.assert_allclose(F.logsigmoid(x), -np.log1p(np.exp([[8.0, 0.5, -3.0, -9.0]])), rtol=1e-4)
    for p in (1.0, 2.0, 3.0):
        np.testing.assert_allclose(np.linalg.norm(F.normalize(x, p).numpy(), p, axis=1), 1, rtol=1e-6)
    assert F.normalize(Tensor([[0.0, 0.0]])).tolist() == [[0, 0]]
    with pytest.raises(ShapeError, match="neither one element nor one per channel"):
        F.prelu(x, Tensor([1.0, 2.0]))
    with pytest.raises(OptionError, match="min_val"):
        F.hardtanh(x, 1.0, 1.0)
