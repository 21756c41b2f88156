"""Changes in place of parts, and of what gradients flow through: a gradient is passed on, or refused, never lost."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import Tensor
from lucid.errors import GradientError, LucidError, TraceError
from lucid.nn import functional as F

X = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], np.float32)


@pytest.mark.parametrize(
    "part", [lambda t: t[0], lambda t: t.reshape(-1)[:3], lambda t: t.t()[:, 0], lambda t: t.diagonal()[:1]]
)
def test_a_gradient_into_a_part_of_a_tensor_without_history_is_not_lost_silently(part: Any) -> None:
    """The whole tensor has no history: read after that, it would pass no gradient on."""
    whole, grows = lucid.zeros(2, 3), Tensor([1.0], requires_grad=True)
    for change in (lambda: part(whole).add_(grows), lambda: part(whole).__setitem__(..., grows)):
        with pytest.raises(GradientError, match="without history"):
            change()
        with lucid.no_grad():
            change()
    alone = part(lucid.zeros(2, 3))  # whose whole nobody has any more
    alone[...] = grows
    assert alone.requires_grad
    whole[0] = grows
    part(whole).add_(0.0)
    assert whole.requires_grad


def test_a_diagonal_is_where_the_matrix_lies() -> None:
    for axes in ((0, 1), (1, 2), (1, 0)):
        for offset in (-1, 0, 2):
            batch = lucid.arange(24.0).reshape(2, 3, 4)
            wanted = batch.numpy().copy()
            batch.diagonal(offset, *axes).mul_(-1)
            i, j = np.nonzero(np.eye(*np.take(wanted.shape, axes), offset))
            np.moveaxis(wanted, axes, (0, 1))[i, j] *= -1
            np.testing.assert_array_equal(batch.numpy(), wanted)
    square = lucid.zeros(3, 3)
    square.diagonal().fill_(1)
    np.testing.assert_array_equal(square.numpy(), np.eye(3))

    def filled(x: Any) -> Any:
        y = x * 1
        y.diagonal().zero_()
        return y

    for specs in ((), (lucid.spec("N", "N"),)):
        with pytest.raises(TraceError, match="another name"):
            lucid.compile(filled, *specs)(square)


@pytest.mark.parametrize(
    "take",
    [
        lambda x: x.transpose(1, 2).diagonal(0, 1, 2), lambda x: x[:, :, :2].diagonal(0, 1, 2),
        lambda x: x.diagonal(0, 0, 2), lambda x: x.unfold(1, 2, 1), lambda x: lucid.einsum("bii->bi", x),
    ],
)  # fmt: skip
def test_a_part_that_has_to_be_a_copy_is_not_written_to(take: Any) -> None:
    whole = lucid.zeros(2, 3, 3)
    part = take(whole)
    for change in (lambda: part.add_(1.0), lambda: part.fill_(1.0), lambda: part[0].copy_(lucid.ones(*part.shape[1:]))):
        with pytest.raises(LucidError, match="clone"):
            change()
    part.clone().add_(1.0)
    assert not whole.numpy().any()

    def changed(x: Any) -> Any:
        y = x * 1
        take(y).fill_(1.0)
        return y

    with pytest.raises(TraceError, match="another name"):
        lucid.compile(changed)(whole)
    lucid.zeros(2, 3).diagonal(7).fill_(1.0)


def _scaled_within(x: Any) -> Any:
    y = x * 2
    with lucid.no_grad():
        y.mul_(3)
    return y


def _row_within(x: Any) -> Any:
    y = lucid.zeros(2, 3)
    y[0] = x[0]
    with lucid.no_grad():
        y[1] = 1.0
    return y


def _copied_within(x: Any) -> Any:
    y = x * 2
    with lucid.no_grad():
        y.copy_(x)
    return y


@pytest.mark.parametrize("f", [_scaled_within, _row_within, _copied_within])
def test_a_trace_refuses_a_change_within_no_grad_of_what_gradients_flow_through(f: Any) -> None:
    with pytest.raises(TraceError, match=r"within no_grad .*test_parts_in_place\.py:\d+"):
        lucid.compile(f)(X)


def test_and_takes_one_of_what_they_do_not_flow_through() -> None:
    def f(x: Any) -> Any:
        mask, detached, number = lucid.zeros_like(x), x.detach() * 2, (x > 2).float()
        whole, place = x.long(), x.topk(3)[1]
        rounded = whole.float()
        with lucid.no_grad():
            own = x * 2
            for y in (mask, detached, number, own, whole, place, rounded):
                y[0] = 3
                y.mul_(2)
        return x * mask + detached + x * number * own + whole * place + rounded

    eager, traced = Tensor(X, requires_grad=True), Tensor(X, requires_grad=True)
    f(eager).sum().backward()
    lucid.compile(f)(traced).sum().backward()
    assert eager.grad is not None and traced.grad is not None
    np.testing.assert_allclose(traced.grad.numpy(), eager.grad.numpy(), rtol=1e-6)


def test_what_is_copied_over_a_traced_value_takes_the_gradient() -> None:
    def f(x: Any, y: Any) -> Any:
        z = x * 2
        z.copy_(y * 3)
        return z.sum()

    x, y = Tensor(X, requires_grad=True), Tensor(X, requires_grad=True)
    lucid.compile(f)(x, y).backward()
    assert y.grad is not None and (x.grad is None or not x.grad.numpy().any())
    np.testing.assert_array_equal(y.grad.numpy(), np.full((2, 3), 3.0))


@pytest.mark.parametrize(
    "f",
    [
        lambda t: t.flip(0), lambda t: t.roll(0), lambda t: t.rot90(2), lambda t: t.repeat(1, 1), lambda t: t.tile(1),
        lambda t: t.diff(0), lambda t: lucid.fliplr(t), lambda t: lucid.repeat_interleave(t, 1, 0),
        lambda t: F.pad(t, (0, 0)), lambda t: F.pad(t, (-1, 0)),
        lambda t: F.interpolate(t[None], scale_factor=1), lambda t: F.pixel_shuffle(t[None], 1),
    ],
)  # fmt: skip
def test_what_pytorch_copies_is_not_written_into_its_argument(f: Any) -> None:
    x = Tensor(X)
    f(x).zero_()
    np.testing.assert_array_equal(x.numpy(), X)
    x.requires_grad = True
    (f(x).mul_(2) * 3).sum().backward()
    kept = f(Tensor(np.ones_like(X))).numpy().sum()
    assert x.grad is not None and x.grad.numpy().sum() == 6 * kept

    def changed(x: Any) -> Any:
        y = x * 1
        f(y).zero_()
        return y

    with suppress(TraceError):  # a trace may refuse it
        np.testing.assert_array_equal(lucid.compile(changed)(X).numpy(), X)
    whole = lucid.tensor([[1, 2], [3, 4]])
    for copied in (whole.floor(), whole.nan_to_num(), whole[:1].cumprod(0)):
        copied.zero_()
    assert whole.tolist() == [[1, 2], [3, 4]]
