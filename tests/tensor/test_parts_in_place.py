"""Changes in place of parts, and of what gradients flow through: a gradient is passed on, never lost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lucid
from lucid import Tensor
from lucid.errors import LucidError
from lucid.nn import functional as F

X = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], np.float32)


@pytest.mark.parametrize(
    "part", [lambda t: t[0], lambda t: t.reshape(-1)[:3], lambda t: t.t()[:, 0], lambda t: t.diagonal()[:1]]
)
def test_a_gradient_into_a_part_of_a_tensor_without_history_is_passed_on_by_that(part: Any) -> None:
    for change in (lambda t, v: t.add_(v), lambda t, v: t.__setitem__(..., v), lambda t, v: t.__iadd__(v)):
        whole, grows = lucid.zeros(2, 3), Tensor([1.0], requires_grad=True)
        with lucid.no_grad():
            change(part(whole), grows)
        assert not whole.requires_grad
        change(part(whole), grows)
        assert whole.requires_grad and not whole.is_leaf
        (whole * 2).sum().backward()
        assert grows.grad is not None and grows.grad.item() == 2 * part(whole).numel()
        part(whole).add_(0.0)


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
        np.testing.assert_array_equal(lucid.compile(filled, *specs)(lucid.ones(3, 3)).numpy(), 1 - np.eye(3))


@pytest.mark.parametrize(
    "take",
    [
        lambda x: x.transpose(1, 2).diagonal(0, 1, 2), lambda x: x[:, :, :2].diagonal(0, 1, 2),
        lambda x: x.diagonal(0, 0, 2), lambda x: x.unfold(1, 1, 2), lambda x: x.unfold(-1, 3, 3),
        lambda x: lucid.einsum("bii->bi", x), lambda x: x.transpose(0, 2).diagonal(1),
    ],
)  # fmt: skip
def test_a_part_that_does_not_lie_in_rows_is_written_to(take: Any) -> None:
    given = np.arange(18.0).reshape(2, 3, 3)
    wanted = given + 1
    for number in np.asarray(take(Tensor(given))).reshape(-1):
        wanted[given == number] = number * 2 + 1
    slope = np.where(np.isin(given, np.asarray(take(Tensor(given)))), 2, 1)

    def changed(x: Any) -> Any:
        y = x * 1
        part = take(y)
        part *= 2
        y += 1
        return y + (take(y) - part).sum()

    for run in (changed, lucid.compile(changed), lucid.compile(changed, lucid.spec("N", 3, 3, dtype="float64"))):
        x = Tensor(given, requires_grad=True)
        y = run(x)
        np.testing.assert_array_equal(y.detach().numpy(), wanted)
        y.sum().backward()
        np.testing.assert_array_equal(x.grad.numpy(), slope)  # type: ignore[union-attr]


def test_windows_that_overlap_are_seen_and_not_written_to() -> None:
    def seen(x: Any) -> Any:
        y = x * 1
        windows = y.unfold(0, 2, 1)
        y += 1
        return windows

    def written(x: Any) -> Any:
        y = x * 1
        y.unfold(0, 2, 1).add_(1)
        return y

    x = Tensor([1.0, 2.0, 3.0])
    for run in (seen, lucid.compile(seen)):
        assert run(x).tolist() == [[2.0, 3.0], [3.0, 4.0]]
    for run in (written, lucid.compile(written)):
        with pytest.raises(LucidError, match="clone"):
            run(x)


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


def _part_within(x: Any) -> Any:
    y = x * 2
    with lucid.no_grad():
        y[0].mul_(3)
    return y * y


@pytest.mark.parametrize("f", [_scaled_within, _row_within, _copied_within, _part_within])
def test_a_change_within_no_grad_leaves_the_history_as_it_is(f: Any) -> None:
    eager, traced = Tensor(X, requires_grad=True), Tensor(X, requires_grad=True)
    wanted, got = f(eager), lucid.compile(f)(traced)
    np.testing.assert_array_equal(got.detach().numpy(), wanted.detach().numpy())
    wanted.sum().backward()
    got.sum().backward()
    assert eager.grad is not None and traced.grad is not None
    np.testing.assert_array_equal(traced.grad.numpy(), eager.grad.numpy())


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

    np.testing.assert_array_equal(lucid.compile(changed)(X).numpy(), X)
    whole = lucid.tensor([[1, 2], [3, 4]])
    for copied in (whole.floor(), whole.nan_to_num(), whole[:1].cumprod(0)):
        copied.zero_()
    assert whole.tolist() == [[1, 2], [3, 4]]
