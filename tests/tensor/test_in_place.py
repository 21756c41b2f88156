"""Changes in place: the values and gradients of PyTorch (written down here), eagerly and in a trace."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lucid
from lucid import Tensor, nn
from lucid.errors import DTypeError, GradientError, LucidError, ShapeError

X = np.arange(1.0, 7.0, dtype=np.float32).reshape(2, 3)


def leaf() -> Tensor:
    return Tensor(X, requires_grad=True)


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (lambda t: t.add_(1), X + 1),
        (lambda t: t.sub_(1.5), X - 1.5),
        (lambda t: t.mul_(X), X * X),
        (lambda t: t.div_(2), X / 2),
        (lambda t: t.pow_(2), X**2),
        (lambda t: t.clamp_(2, 4), X.clip(2, 4)),
        (lambda t: t.zero_(), X * 0),
        (lambda t: t.fill_(3), X * 0 + 3),
        (lambda t: t.neg_().abs_(), X),
        (lambda t: t.masked_fill_(X > 3, 0.0), np.where(X > 3, 0, X)),
        (lambda t: t.remainder_(2), X % 2),
    ],
)
def test_methods_change_the_tensor_and_return_it(change: Any, wanted: Any) -> None:
    t = Tensor(X)
    view, version = t.detach(), t.version
    assert change(t) is t
    np.testing.assert_allclose(t.numpy(), wanted, rtol=1e-6)
    np.testing.assert_array_equal(view.numpy(), t.numpy())  # the memory is the same
    assert t.version > version
    with lucid.no_grad():
        p = nn.Parameter(X)
        change(p)
        np.testing.assert_allclose(p.numpy(), wanted, rtol=1e-6)
        assert p.is_leaf
        assert p.requires_grad


KEYS: list[Any] = [
    0, -1, (1, 2), slice(0, 1), (slice(None), 1), (..., 0), slice(None, None, -1), [0, 1], [1, 1],
    (slice(None), [2, 0]), X > 2, np.array([True, False]), (0, slice(None, None, 2)), ..., Tensor([1]),
    ([0, 1], [2, 2]), [],
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_items_are_set_as_in_numpy(key: Any) -> None:
    plain = np.asarray(key) if isinstance(key, Tensor) else np.zeros(0, int) if str(key) == "[]" else key
    for value in (7.0, np.float32(2), "part"):
        wanted = X.copy()
        given: Any = -X[plain] if value == "part" else value
        wanted[plain] = given
        t = Tensor(X)
        t[key] = given
        np.testing.assert_array_equal(t.numpy(), wanted)
        strange = Tensor(np.asfortranarray(X))
        strange[key] = given
        np.testing.assert_array_equal(strange.numpy(), wanted)

        def f(x: Any, key: Any = key, given: Any = given) -> Any:
            y = x * 1
            y[key] = given
            return y

        if not isinstance(key, Tensor):  # whose value would be frozen
            np.testing.assert_array_equal(lucid.compile(f)(X).numpy(), wanted)
        np.testing.assert_array_equal(f(leaf()).detach().numpy(), wanted)


def test_gradients_flow_to_what_was_set_and_to_the_rest() -> None:
    def f(x: Any, v: Any) -> Any:
        y = x * 2
        y[0] = v * 3
        y[:, 1] = v[1] * v[2]
        y.mul_(2)
        return (y * y).sum()

    a, v = leaf(), Tensor([1.0, 2.0, 3.0], requires_grad=True)
    f(a, v).backward()
    assert a.grad is not None
    assert v.grad is not None
    # d/dx of sum (2 y)^2 = 8 y dy; y = 2x in the second row but column 1, 3v in the first, v1 v2 in column 1
    np.testing.assert_allclose(a.grad.numpy(), [[0, 0, 0], [8 * 8 * 2, 0, 8 * 12 * 2]])
    np.testing.assert_allclose(v.grad.numpy(), [8 * 3 * 3, 2 * 8 * 6 * 3, 8 * 9 * 3 + 2 * 8 * 6 * 2])
    net = lucid.compile(f)
    b, w = leaf(), Tensor([1.0, 2.0, 3.0], requires_grad=True)
    net(b, w).backward()
    assert b.grad is not None
    assert w.grad is not None
    np.testing.assert_allclose(b.grad.numpy(), a.grad.numpy())
    np.testing.assert_allclose(w.grad.numpy(), v.grad.numpy())


def test_a_leaf_with_a_gradient_is_refused() -> None:
    p = nn.Parameter(X)
    for change in (lambda: p.add_(1), lambda: p.__setitem__(0, 1.0), p.zero_):
        with pytest.raises(GradientError, match=r"no_grad"):
            change()
    np.testing.assert_array_equal(p.numpy(), X)


def test_a_tensor_takes_on_the_history_of_what_is_written_into_it() -> None:
    w, t = leaf(), Tensor(X)
    t.mul_(w)
    assert t.requires_grad
    t.sum().backward()
    np.testing.assert_array_equal(w.grad.numpy(), X)  # type: ignore[union-attr]


def test_values_that_a_gradient_needs_and_that_are_gone() -> None:
    x = leaf()
    y = x.exp()
    y.add_(1)  # the gradient of exp is its result
    with pytest.raises(GradientError, match="in place"):
        y.sum().backward()
    x = leaf()
    y = x * 2
    z = y * y
    y.zero_()
    with pytest.raises(GradientError, match="in place"):
        z.sum().backward()
    x = leaf()
    y = x * 2
    z = y + 1  # needs no value
    y.zero_()
    z.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.full((2, 3), 2))  # type: ignore[union-attr]


def test_what_was_read_before_keeps_its_history() -> None:
    x = leaf()
    y = x * 2
    before = y * 3
    y.mul_(5)
    (before.sum() + y.sum()).backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.full((2, 3), 6 + 10))  # type: ignore[union-attr]


def test_a_view_goes_on_as_what_it_shows_does() -> None:
    x = leaf()
    y = x * 2
    row = y[0]
    y.mul_(3)
    (row * 2).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [[12, 12, 12], [0, 0, 0]])  # type: ignore[union-attr]


def test_what_a_gradient_needs_is_not_changed_past_the_history() -> None:
    p = nn.Parameter(X)
    loss = (p * p).sum()
    p.data.copy_(X + 1)
    with pytest.raises(GradientError, match="in place"):
        loss.backward()


def test_a_compiled_model_sees_what_is_changed_under_any_name() -> None:
    for change in (
        lambda p: p.data.mul_(2),
        lambda p: p.detach().__setitem__(0, 9.0),
        lambda p: p.data.copy_(p.numpy() + 1),
        lambda p: p[0].data.zero_(),
    ):
        m = nn.Linear(32, 64)
        net, x = lucid.compile(m), np.ones((64, 32), np.float32)
        with lucid.no_grad():
            net(x)
            change(m.weight)
            np.testing.assert_allclose(net(x).numpy(), m(x).numpy(), rtol=1e-5)


def test_buffers_are_updated_in_a_trace() -> None:
    class Count(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("seen", Tensor([0.0, 0.0]))

        def forward(self, x: Any) -> Any:
            self.seen.add_(1)
            self.seen[1] = x.sum()
            return x * self.seen[0]

    eager, traced = Count(), Count()
    net = lucid.compile(traced)
    with lucid.no_grad():
        for scale in (1, 2, 3):
            x = X * scale
            np.testing.assert_array_equal(net(x).numpy(), eager(x).numpy())
            np.testing.assert_array_equal(traced.seen.numpy(), eager.seen.numpy())


def _before_it_is_changed(x: Any) -> Any:
    y = x.clone()
    y.add_(1)
    z = y.clone()
    z.mul_(2)
    made = lucid.zeros(2, 3)
    made[0] = y[0]
    return x + y * z + made


def _view(x: Any) -> Any:
    y = x * 2
    row = y[0]
    y.add_(1)
    return row + y


def _of_a_view(x: Any) -> Any:
    y = x * 2
    y[0].add_(1)
    return y


def _row_doubled(x: Any) -> Any:
    y = x * 2
    y[0] *= 2
    return y


def _running_sum(x: Any) -> Any:
    y = x * 1
    for i in range(1, len(y)):
        y[i] += y[i - 1]
    return y


def _half_of_the_columns(x: Any) -> Any:
    y = x.clone()
    y[..., ::2] += 1
    y[:, 1] = y[:, 0] - y[:, 2]
    return y.exp()


def _filled_by_steps(x: Any) -> Any:
    made = lucid.zeros(3)
    made[0] = 1
    made[1] += made[0]
    made[2] = made[1] + x.mean()
    return x * made


def _through_a_view(x: Any) -> Any:
    flat = (x * 3).reshape(-1)
    flat[::2] = 9
    return flat * 2


def _stale_view(x: Any) -> Any:
    y = x * 2
    row = y[0]
    y[0] = 5.0
    return row


def _stale_base(x: Any) -> Any:
    y = x * 2
    y.reshape(-1)[0] = 5.0
    return y + 1


def _stale_clone(x: Any) -> Any:
    y = x * 2
    row = y[0][1:]
    y.add_(1)
    return row.clone()


def _stale_made(x: Any) -> Any:
    made = lucid.zeros(2, 3)
    turned = made.t()
    made[0, 1] = 4.0
    return x @ turned


OF_ANY_SIZE = [
    _row_doubled, _half_of_the_columns, _through_a_view, _view, _of_a_view, _stale_view, _stale_base, _stale_clone,
]  # fmt: skip
OF_ONE_SIZE = [_running_sum, _filled_by_steps, _before_it_is_changed, _stale_made]


@pytest.mark.parametrize(
    ("f", "specs"), [(f, ()) for f in OF_ANY_SIZE + OF_ONE_SIZE] + [(f, (lucid.spec("N", 3),)) for f in OF_ANY_SIZE]
)
def test_what_shares_memory_is_changed_in_a_trace_as_it_is_eagerly(f: Any, specs: Any) -> None:
    eager, traced = Tensor(X, requires_grad=True), Tensor(X, requires_grad=True)
    net = lucid.compile(f, *specs)
    for _ in range(2):
        np.testing.assert_allclose(net(traced).numpy(), f(eager).detach().numpy(), rtol=1e-6)
    f(eager).square().sum().backward()
    net(traced).square().sum().backward()
    assert eager.grad is not None and traced.grad is not None
    np.testing.assert_allclose(traced.grad.numpy(), eager.grad.numpy(), rtol=1e-6)


def _updated_after(view: Any) -> nn.Module:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("b", Tensor([1.0, 2.0, 3.0]))

        def forward(self, x: Any) -> Any:
            part = view(self.b)
            self.b.add_(1)
            return x * part

    return Model()


def test_a_view_of_a_buffer_is_never_older_than_the_buffer() -> None:
    views: list[Any] = [
        lambda b: b[:1], lambda b: b.reshape(1, 3), lambda b: b.expand(2, 3), lambda b: b, lambda b: b.detach(),
        lambda b: b.clone(), lambda b: b.detach()[:1], lambda b: b[1:].detach()[:1],
    ]  # fmt: skip
    with lucid.no_grad():
        for view in views:
            eager, traced = _updated_after(view), _updated_after(view)
            net = lucid.compile(traced)
            for _ in range(2):
                np.testing.assert_array_equal(net(X).numpy(), eager(Tensor(X)).numpy())
                np.testing.assert_array_equal(traced.b.numpy(), eager.b.numpy())


def test_a_detached_tensor_of_a_trace_has_the_memory_it_came_from() -> None:
    def f(x: Any) -> Any:
        made = lucid.tensor([1.0, 2.0, 3.0])
        same = made.detach()
        made[1] = 5.0
        return x * same

    np.testing.assert_array_equal(lucid.compile(f)(X).numpy(), f(Tensor(X)).numpy())


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda t: t.add_(np.ones((4, 2, 3), np.float32)), ShapeError),
        (lambda t: t.__setitem__(0, [1.0, 2.0]), ShapeError),
        (lambda t: t.__setitem__(5, 1.0), LucidError),
        (lambda t: t.__setitem__("a", 1.0), LucidError),
        (lambda t: t.__setitem__(0, "a"), DTypeError),
        (lambda t: t.__setitem__(0, None), DTypeError),
        (lambda t: t.long().add_(1.5), DTypeError),
        (lambda t: t.long().__setitem__(0, 1.5), DTypeError),
        (lambda t: t.add_("x"), DTypeError),
        (lambda t: t.fill_(object()), DTypeError),
    ],
)
def test_changes_that_do_not_fit(change: Any, error: type[Exception]) -> None:
    t = Tensor(X)
    with pytest.raises(error):
        change(t)
    np.testing.assert_array_equal(t.numpy(), X)
    with pytest.raises(error):
        lucid.compile(lambda x: change(x * 1))(X)


def test_a_change_by_what_was_computed_from_the_tensor_itself() -> None:
    x = lucid.tensor([1.0, 2.0], requires_grad=True)
    y = x * 3
    y.mul_(y.sum())
    y.sum().backward()  # (3 a + 3 b) ** 2
    assert x.grad is not None and x.grad.tolist() == [54.0, 54.0]
    x.grad = None
    p, q = x * 3, x * 5
    p.add_(q)
    q.mul_(p)
    (p.sum() + q.sum()).backward()  # 8 x + 40 x ** 2
    assert x.grad is not None and x.grad.tolist() == [88.0, 168.0]
    y = x.exp()
    y.mul_(x)
    with pytest.raises(GradientError, match="in place"):  # the gradient of exp is what it had made
        y.sum().backward()


def test_a_copy_for_a_change_is_not_what_was_made_if_that_had_been_written() -> None:
    x = leaf()
    y = x * 2
    with lucid.no_grad():
        y.detach().zero_()
    y.mul_(x)  # of 0, as it is by now: the gradient of x is that of what was there, 2 x, times x, and 0
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), 2 * X)  # type: ignore[union-attr]
    x = leaf()
    y = x.exp()
    with lucid.no_grad():
        y.detach().zero_()
    y.mul_(x)
    with pytest.raises(GradientError, match="in place"):
        y.sum().backward()


@pytest.mark.parametrize("wrap", [lambda f: f, lucid.compile, lambda f: lucid.compile(f, lucid.spec("N", 2, 3))])
def test_a_number_is_put_where_a_mask_holds_whose_content_is_not_known(wrap: Any) -> None:
    x = np.linspace(-1, 1, 12, dtype=np.float32).reshape(2, 2, 3)

    def f(x: Any) -> Any:
        y, keep, rows = x * 1, x < 2, x * 1
        y[y < 0] = 0.5
        y[y == lucid.amax(y)] = x.mean()
        keep[x > 0.5] = 0
        rows[x.sum(-1) > 0] = -1
        return y, keep, rows

    y, keep, rows = (one.numpy() for one in wrap(f)(lucid.tensor(x)))
    wanted = np.where(x < 0, 0.5, x)
    np.testing.assert_allclose(y, np.where(wanted == wanted.max(), x.mean(), wanted), atol=1e-6)
    assert (keep == (x <= 0.5)).all()
    np.testing.assert_array_equal(rows, np.where((x.sum(-1) > 0)[..., None], -1, x))


def test_gradients_of_what_a_mask_chooses() -> None:
    x, value = lucid.tensor([-1.0, 2.0, 3.0], requires_grad=True), lucid.tensor(5.0, requires_grad=True)
    y = x * 2
    y[y > 3] = value
    (y * lucid.tensor([1.0, 10.0, 100.0])).sum().backward()
    assert x.grad is not None and value.grad is not None
    assert x.grad.tolist() == [2.0, 0.0, 0.0] and value.grad.item() == 110.0
    with pytest.raises(ShapeError, match="mask"):
        y[lucid.tensor([True, False])] = 1.0
    with pytest.raises(DTypeError, match="does not fit into a tensor of bool"):
        (x > 0)[0] = 2


def test_a_value_that_goes_nowhere_has_a_gradient_of_zeros() -> None:
    """As in PyTorch, and as a compiled model has it."""
    for key in (lambda y: y[:, 0] > 5, lambda y: slice(0, 0)):
        x, v = Tensor(np.ones((3, 4)), requires_grad=True), Tensor(np.ones(4), requires_grad=True)
        y = x * 1.0
        y[key(y)] = v
        (y * y).sum().backward()
        assert v.grad is not None and x.grad is not None
        np.testing.assert_array_equal(v.grad.numpy(), np.zeros(4))
        np.testing.assert_array_equal(x.grad.numpy(), np.full((3, 4), 2.0))
