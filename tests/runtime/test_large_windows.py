"""Max pooling over windows as large as the image: values, gradients, and the gradients of those."""

from __future__ import annotations

import math
import tracemalloc
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.nn import functional as F

SHAPES = [  # image, kernel, stride, padding, dilation
    ((2, 3, 24, 20), (24, 20), (24, 20), 0, 1),
    ((2, 3, 24, 20), (19, 17), (2, 1), 0, 1),
    ((1, 2, 24, 20), (18, 16), (3, 2), (5, 4), 1),
    ((2, 1, 30, 26), (11, 9), (1, 3), 2, (2, 3)),
    ((1, 4, 3, 40), (1, 33), (1, 1), 0, 1),
]
KINDS = ["numbers", "ties", "equal", "one NaN", "NaNs", "infinities"]


def image(kind: str, shape: tuple[int, ...]) -> Any:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape).astype(np.float32)
    if kind == "ties":
        x = np.round(x)
    elif kind == "equal":
        x[:] = 2.0
    elif kind == "one NaN":
        x[0, 0, shape[2] // 2, shape[3] // 2] = np.nan
    elif kind == "NaNs":
        x[rng.random(shape) < 0.02] = np.nan
    elif kind == "infinities":
        x[:] = -np.inf
    return x


def _expected(x: Any, dy: Any, kernel: Any, stride: Any, padding: Any, dilation: Any) -> tuple[Any, Any]:
    """Window by window: the first NaN wins, else the first maximum; padding is the least of numbers."""
    (top, left), (down, right) = (v if isinstance(v, tuple) else (v, v) for v in (padding, dilation))
    y, dx = np.empty(dy.shape, x.dtype), np.zeros(x.shape, np.float64)
    for n, c, r, q in np.ndindex(dy.shape):
        rows = [i for i in range(kernel[0]) if 0 <= r * stride[0] - top + i * down < x.shape[2]]
        cols = [j for j in range(kernel[1]) if 0 <= q * stride[1] - left + j * right < x.shape[3]]
        at = np.ix_([r * stride[0] - top + i * down for i in rows], [q * stride[1] - left + j * right for j in cols])
        window = x[n, c][at]
        first = np.argmax(np.isnan(window)) if np.isnan(window).any() else np.argmax(window)
        i, j = np.unravel_index(first, window.shape)
        y[n, c, r, q] = window[i, j]
        dx[n, c, at[0][i, 0], at[1][0, j]] += dy[n, c, r, q]
    return y, dx


@pytest.mark.parametrize("wrap", [lambda f: f, lucid.compile], ids=["eager", "compiled"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("shape", "kernel", "stride", "padding", "dilation"), SHAPES, ids=str)
def test_values_and_gradients(
    shape: tuple[int, ...], kernel: Any, stride: Any, padding: Any, dilation: Any, kind: str, wrap: Any
) -> None:
    def pool(x: Any) -> Any:
        return F.max_pool2d(x, kernel, stride, padding, dilation, pad_value=-math.inf)

    data = image(kind, shape)
    for x in (lucid.Tensor(data), lucid.Tensor(data.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2))):
        x.requires_grad_()
        y = wrap(pool)(x)
        dy = np.random.default_rng(1).standard_normal(y.shape).astype(np.float32)
        want, gradient = _expected(data, dy, kernel, stride, padding, dilation)
        np.testing.assert_array_equal(y.numpy(), want)
        y.backward(dy)
        assert x.grad is not None
        np.testing.assert_allclose(x.grad.numpy(), gradient, rtol=1e-5, atol=1e-5)


def test_padding_that_wins_takes_the_gradient_with_it() -> None:
    x = lucid.Tensor(np.full((1, 1, 20, 20), -1.0, np.float32), requires_grad=True)
    y = F.max_pool2d(x, (20, 20), 1, 2)
    want = np.zeros((5, 5))
    want[2, 2] = -1.0  # only the middle window sees no padding
    assert y.tolist() == [[want.tolist()]]
    y.sum().backward()
    assert x.grad is not None
    assert x.grad[0, 0, 0, 0].item() == x.grad.sum().item() == 1.0


def test_the_gradient_of_the_gradient() -> None:
    rng = np.random.default_rng(0)
    x, v = (rng.standard_normal((2, 2, 16, 15)).astype(np.float32) for _ in range(2))

    def along(x: Any, v: Any) -> Any:  # x and the sum of the gradient of pool(x)**3, along v
        pooled = lambda x: (F.max_pool2d(x, (14, 13), 1) ** 3).sum()  # noqa: E731
        return (lucid.grad(pooled)(x) * v).sum()

    got = lucid.grad(along)(x, v).numpy()
    want = np.zeros(x.shape)
    for n, c, r, q in np.ndindex(2, 2, 3, 3):
        window = x[n, c, r : r + 14, q : q + 13]
        i, j = np.unravel_index(np.argmax(window), window.shape)
        want[n, c, r + i, q + j] += 6 * window[i, j] * v[n, c, r + i, q + j]
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def test_a_program_does_not_grow_with_the_window() -> None:
    sizes = []
    for size in (16, 256):
        net = lucid.compile(nn.MaxPool2d(size, size))
        x = lucid.Tensor(np.random.default_rng(0).random((1, 1, size, size), np.float32), requires_grad=True)
        net(x)
        tracemalloc.start()
        net(x).sum().backward()
        sizes.append(tracemalloc.get_traced_memory()[1] / x.numel())
        tracemalloc.stop()
    assert sizes[1] < 100  # bytes for each tap; a view and a call for each take more than a thousand
