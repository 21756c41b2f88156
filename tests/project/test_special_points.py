"""Slopes where a function has a kink, a pole or a bound, and empty batches: the numbers are PyTorch's."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import Tensor, nn
from lucid.errors import ExecutionError, OptionError, ShapeError
from lucid.nn import functional as F

INF, NAN = np.inf, np.nan
both = pytest.mark.parametrize("wrap", [lambda f: f, lucid.compile], ids=["eager", "compiled"])

SLOPES: list[tuple[str, Callable[[Any], Any], list[float], list[float]]] = [
    ("relu6", F.relu6, [-1, 0, 3, 6, 7, NAN], [0, 0, 1, 0, 0, 1]),
    ("hardtanh", F.hardtanh, [-2, -1, 0, 1, 2], [0, 0, 1, 0, 0]),
    ("clip", lambda x: x.clip(-1, 1), [-2, -1, 0, 1, 2, NAN], [0, 1, 1, 1, 0, 0]),
    ("clip by a tensor", lambda x: x.clip(lucid.tensor(-1.0), lucid.tensor(1.0)), [-2, -1, 0, 1, 2], [0, 1, 1, 1, 0]),
    ("relu", F.relu, [-1, 0, -0.0, 1, NAN], [0, 0, 0, 1, 1]),
    ("abs", abs, [-1, 0, -0.0, 2], [-1, 0, 0, 1]),
    ("sqrt", lambda x: x.sqrt(), [0, 4], [INF, 0.25]),
    ("std of equal values", lambda x: x.std(), [2, 2, 2], [0, 0, 0]),
    ("std of zeros", lambda x: x.std(), [0, 0, 0], [0, 0, 0]),
    ("norm of zeros", lambda x: F.normalize(x, dim=0), [0, 0], [1e12, 1e12]),
    ("1-norm of zeros", lambda x: F.normalize(x, 1.0, 0), [0, 0], [1e12, 1e12]),
    ("3-norm of zeros", lambda x: F.normalize(x, 3.0, 0), [0, 0], [1e12, 1e12]),
    ("1.5-norm with a zero", lambda x: F.normalize(x, 1.5, 0)[1], [0, 4, 4], [0, 2 ** (-11 / 3), -(2 ** (-11 / 3))]),
    *(
        (f"{p}-norm of nothing but zeros", lambda x, p=p: x.norm(p), [0, -0.0], [0, 0])
        for p in (0.5, 1, 1.5, 2, 3, INF)
    ),
    ("norm of a row of zeros", lambda x: x.reshape(2, 2).norm(dim=1), [0, 0, 3, -4], [0, 0, 0.6, -0.8]),
    ("maximum of equal ones", lambda x: lucid.maximum(x, 1.0), [0, 1, 2, NAN], [0, 0.5, 1, 1]),
    ("smooth l1", lambda x: F.smooth_l1_loss(x, lucid.zeros(5), "none"), [-INF, -1, 0, 0.5, INF], [-1, -1, 0, 0.5, 1]),
    ("huber", lambda x: F.huber_loss(x, lucid.zeros(4), "none", 2.0), [-INF, -2, 0.5, INF], [-2, -2, 0.5, 2]),
    ("pow 0", lambda x: x**0, [0, -1, NAN], [0, 0, 0]),
    ("0 to the power", lambda x: 0.0**x, [0, 1], [0, 0]),
]


@both
@pytest.mark.parametrize(("name", "function", "points", "slopes"), SLOPES, ids=[row[0] for row in SLOPES])
def test_slopes(name: str, function: Any, points: list[float], slopes: list[float], wrap: Any) -> None:
    x = Tensor(np.array(points, np.float32), requires_grad=True)
    wrap(function)(x).sum().backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), np.array(slopes, np.float32), rtol=1e-6)


CURVES: list[tuple[str, Callable[[Any], Any], list[float], list[float]]] = [
    ("sinc", lucid.sinc, [0, 1, 1e30], [-(math.pi**2) / 3, 2, 0]),
    ("logaddexp", lambda x: lucid.logaddexp(x, 1.0), [1, 3, INF, -INF], [0.25, 0.104994, 0, 0]),
    ("logaddexp2", lambda x: lucid.logaddexp2(x, 1.0), [1], [math.log(2) / 4]),
    ("logcumsumexp", lambda x: x.logcumsumexp(0)[1], [2, 2], [0, 0]),
    ("of one of them", lambda x: lucid.stack([x[0], 0 * x[1]]).logcumsumexp(0)[1], [0, 2], [0.25, 0]),
    ("smooth l1", lambda x: F.smooth_l1_loss(x, lucid.zeros(4), "none", 0.5), [-INF, 0, 0.25, 1], [0, 2, 2, 0]),
    ("huber", lambda x: F.huber_loss(x, lucid.zeros(4), "none", 2.0), [-3, 0, 0.5, INF], [0, 1, 1, 0]),
]


@both
@pytest.mark.parametrize(("name", "function", "points", "curves"), CURVES, ids=[row[0] for row in CURVES])
def test_slopes_of_slopes(name: str, function: Any, points: list[float], curves: list[float], wrap: Any) -> None:
    """Of the sum of the slopes, where what is smooth is put together from what is not."""
    slopes = wrap(lambda x: lucid.grad(lambda x: function(x).sum())(x))
    x = Tensor(np.array(points, np.float32), requires_grad=True)
    slopes(x).sum().backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), np.array(curves, np.float32), rtol=1e-5, atol=1e-7)


@both
def test_other_norms(wrap: Any) -> None:
    x = Tensor(np.array([[3.0, -4.0, 0.0]], np.float32))
    for p, norm in ((2.0, 5.0), (INF, 4.0), (0.0, 2.0), (1.0, 7.0)):
        np.testing.assert_allclose(wrap(lambda x, p=p: F.normalize(x, p))(x).numpy(), x.numpy() / norm, rtol=1e-6)


# ---------------------------------------------------------------- empty batches and arguments


@both
@pytest.mark.parametrize("size", [(4, 2), (3, 2), (1, 1)])
def test_adaptive_pools_of_an_empty_batch(size: tuple[int, int], wrap: Any) -> None:
    for layer in (nn.AdaptiveMaxPool2d(size), nn.AdaptiveAvgPool2d(size)):
        x = lucid.zeros(0, 3, 8, 8).requires_grad_()
        y = wrap(layer)(x)
        assert y.shape == (0, 3, *size)
        y.sum().backward()
        assert x.grad is not None and x.grad.shape == x.shape


@both
def test_batch_norm_of_nothing(wrap: Any) -> None:
    norm = lambda x: F.batch_norm(x, None, None, training=True)  # noqa: E731
    for shape in ((0,), (0, 3), (0, 3, 2), (2, 3, 0)):
        assert wrap(norm)(lucid.zeros(*shape)).shape == shape
    assert F.batch_norm(lucid.zeros(0), lucid.zeros(1), lucid.ones(1)).shape == (0,)
    for shape in ((1,), (3,), (1, 3)):
        with pytest.raises(ShapeError):
            wrap(norm)(lucid.zeros(*shape))


TRANSPOSED = [  # stride, padding, output padding, dilation, height and width of the result for 4 by 5
    (1, 0, 1, 2, (9, 10)), (2, 0, 2, 3, (15, 17)), (1, 0, 2, 3, (12, 13)), (1, 1, 1, 2, (7, 8)), (2, 2, 2, 3, (11, 13)),
    ((3, 2), 0, (2, 3), (2, 4), (16, 20)), ((1, 2), (0, 1), (1, 2), (2, 3), (9, 15)),
]  # fmt: skip


@both
@pytest.mark.parametrize("row", TRANSPOSED, ids=str)
def test_output_padding_below_the_dilation(row: Any, wrap: Any) -> None:
    stride, padding, more, dilation, shape = row
    layer = nn.ConvTranspose2d(2, 3, 3, stride, padding, more, dilation=dilation)
    x = Tensor(np.random.default_rng(0).standard_normal((1, 2, 4, 5)).astype(np.float32), requires_grad=True)
    y = wrap(layer)(x)
    assert y.shape == (1, 3, *shape)
    np.testing.assert_allclose(y.numpy(), scattered(layer, x.numpy(), shape), rtol=1e-4, atol=1e-5)
    y.sum().backward()
    assert layer.bias.grad.tolist() == [shape[0] * shape[1]] * 3


def scattered(layer: Any, x: Any, shape: tuple[int, int]) -> Any:
    """The definition: each element of x adds its multiple of the kernel, and the rest is the bias."""
    (sv, sh), (dv, dh), (top, left, *_) = layer.stride, layer.dilation, (*layer.padding,)
    w = layer.weight.numpy()
    y = np.zeros((1, 3, 200, 200), np.float32)
    for i, j, a, b in np.ndindex(x.shape[2], x.shape[3], *w.shape[2:]):
        y[0, :, i * sv + a * dv, j * sh + b * dh] += x[0, :, i, j] @ w[:, :, a, b]
    return y[:, :, top : top + shape[0], left : left + shape[1]] + layer.bias.numpy().reshape(3, 1, 1)


def test_output_padding_of_the_stride_and_the_dilation_is_refused() -> None:
    with pytest.raises(OptionError, match="output_padding"):
        F.conv_transpose2d(lucid.ones(1, 1, 4, 4), lucid.ones(1, 1, 3, 3), None, 2, 0, 3, 1, 3)


def test_window_arguments_may_be_sequences_of_one() -> None:
    x, w = lucid.ones(1, 2, 7, 7), lucid.ones(2, 2, 3, 3)
    for one in ((2,), [2]):
        for function in (
            lambda v: F.avg_pool2d(x, v), lambda v: F.avg_pool2d(x, 3, v), lambda v: F.avg_pool2d(x, 4, 1, v),
            lambda v: F.max_pool2d(x, v, None), lambda v: F.max_pool2d(x, 3, v), lambda v: F.max_pool2d(x, 4, 1, v),
            lambda v: F.max_pool2d(x, 3, 1, 0, v), lambda v: F.conv2d(x, w, None, v),
            lambda v: F.conv2d(x, w, None, 1, v),
            lambda v: F.conv2d(x, w, None, 1, 0, v), lambda v: F.conv_transpose2d(x, w, None, v),
            lambda v: F.conv_transpose2d(x, w, None, 1, v), lambda v: F.conv_transpose2d(x, w, None, 3, 0, v),
            lambda v: nn.AvgPool2d(v)(x), lambda v: nn.MaxPool2d(v, v)(x),
        ):  # fmt: skip
            assert np.array_equal(function(one).numpy(), function(2).numpy())
    assert F.avg_pool2d(x, 3, ()).shape == F.max_pool2d(x, 3, []).shape == (1, 2, 2, 2)
    with pytest.raises(OptionError):
        F.avg_pool2d(x, ())


@both
def test_label_smoothing_with_a_symbolic_number_of_classes(wrap: Any) -> None:
    f = lambda x, t: F.cross_entropy(x, t, label_smoothing=0.1)  # noqa: E731
    net = lucid.compile(f, lucid.spec("N", "C"), lucid.spec("N", dtype="int64"))
    x, t = lucid.ones(2, 5), lucid.zeros(2, dtype="int64")
    np.testing.assert_allclose(net(x, t).item(), np.log(5), rtol=1e-6)


LEVEL = {
    "sign": lambda x: x.sign(), "floor": lambda x: x.floor(), "ceil": lambda x: x.ceil(), "round": lambda x: x.round(),
    "round to digits": lambda x: x.round(1), "floor division": lambda x: x // 2, "of a divisor": lambda x: 2 // x,
}  # fmt: skip


@both
@pytest.mark.parametrize("name", LEVEL)
def test_what_is_level_between_its_steps_has_gradients_of_zeros(name: str, wrap: Any) -> None:
    x = Tensor([1.5, -0.3], requires_grad=True)
    y = wrap(LEVEL[name])(x)
    assert y.requires_grad
    y.sum().backward()
    assert x.grad is not None and x.grad.tolist() == [0.0, 0.0]


@both
@pytest.mark.parametrize("made", [lambda x: x > 0, lambda x: x == 1, lambda x: x.argmax(), lambda x: x.long().float()])
def test_what_has_no_slope_at_all_requires_no_gradient(made: Any, wrap: Any) -> None:
    assert not wrap(made)(Tensor([1.5, -0.3], requires_grad=True)).requires_grad


@both
@pytest.mark.parametrize(
    ("x", "target", "words"),
    [
        ([1.5, 0.2], [1.0, 0.0], "the input must lie between 0 and 1 everywhere, got 0.2 to 1.5; of logits take"),
        ([-0.1], [0.0], "the input must lie"), ([math.nan], [0.0], "the input must lie"),
        ([0.5], [1.5], "the target must lie"), ([0.5], [-1.0], "the target must lie"),
    ],
)  # fmt: skip
def test_binary_cross_entropy_takes_probabilities_only(x: Any, target: Any, words: str, wrap: Any) -> None:
    with pytest.raises(ExecutionError, match=words):
        wrap(F.binary_cross_entropy)(Tensor(x), Tensor(target))
    with pytest.raises(ExecutionError, match=words):
        wrap(nn.BCELoss())(Tensor(x, requires_grad=True), Tensor(target)).backward()


def test_a_model_that_takes_some_numbers_only_is_verified_and_tuned() -> None:
    def f(p: Any, t: Any, n: Any) -> Any:
        return F.binary_cross_entropy(p @ p, t) + (5 // n).sum() + (lucid.ones(3, 3)[n] @ p).sum()

    p, t = np.full((3, 3), 0.25, np.float32), np.ones((3, 3), np.float32)
    n = np.array([1, 2])
    for options in ({"verify": True}, {"tune": True}):
        got = lucid.compile(f, **options)(p, t, n)  # type: ignore[arg-type]
        np.testing.assert_allclose(got.item(), f(Tensor(p), Tensor(t), Tensor(n)).item(), rtol=1e-6)


# ---------------------------------------------------------------- scalars


@both
@pytest.mark.parametrize("dim", [0, -1])
def test_a_scalar_has_one_axis_of_one_element(dim: int, wrap: Any) -> None:
    for function, value, slope in (
        (lambda x: x.softmax(dim), 1.0, 0.0),
        (lambda x: x.log_softmax(dim), 0.0, 0.0),
        (lambda x: x.cumsum(dim), 3.0, 1.0),
        (lambda x: x.max(dim)[0], 3.0, 1.0),
        (lambda x: x.min(dim, keepdim=True).values, 3.0, 1.0),
        (lambda x: x.argmax(dim), 0, None),
        (lambda x: x.min(dim)[1], 0, None),
    ):
        x = Tensor(np.float32(3.0), requires_grad=True)
        y = wrap(function)(x)
        assert y.shape == () and y.item() == value
        if slope is not None:
            y.backward()
            assert x.grad is not None and x.grad.item() == slope
    with pytest.raises(ShapeError, match="axis 1 is out of range"):
        wrap(lambda x: x.softmax(1))(Tensor(3.0))
