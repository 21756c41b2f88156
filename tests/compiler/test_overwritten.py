"""What a compiled model writes into its own state keeps the gradients that the eager model has of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import Tensor, nn

X = np.arange(6.0, dtype=np.float32).reshape(2, 3) / 4


class Net(nn.Module):
    """A model that writes its parameter, its buffer or both before it reads them."""

    def __init__(self, write: Callable[[Net, Any], None]) -> None:
        super().__init__()
        self.w = nn.Parameter(np.full((3, 3), 0.5, np.float32))
        self.linear = nn.Linear(3, 3)
        self.register_buffer("kept", Tensor([0.5, -1.0, 2.0]))
        self.write = write

    def forward(self, x: Any) -> Any:
        y = self.linear(x)
        self.write(self, y)
        return (y - self.kept) @ self.w * self.w.sum()


def _within(self: Net, y: Any) -> None:
    with lucid.no_grad():
        self.w.div_(self.w.norm(dim=1, keepdim=True))


def _twice(self: Net, y: Any) -> None:
    with lucid.no_grad():
        self.w.copy_(self.w * 0.7)
        self.w[0] = 2.0


def _clamped_data(self: Net, y: Any) -> None:
    self.w.data.clamp_(-0.3, 0.3)


def _set_data(self: Net, y: Any) -> None:
    self.w.data = self.w.data * 0.7


def _moved(self: Net, y: Any) -> None:
    self.kept.mul_(0.9).add_(y.mean(0))


def _copied(self: Net, y: Any) -> None:
    self.kept.copy_(y[0] * 2)


def _copied_without_history(self: Net, y: Any) -> None:
    self.kept.copy_(y[0].detach() * 2)
    with lucid.no_grad():
        self.kept.copy_(y[0] * self.kept)
    self.kept.data = y[1] + self.kept


@pytest.mark.parametrize("write", [_within, _twice, _clamped_data, _set_data, _moved, _copied, _copied_without_history])
def test_gradients_are_those_of_the_eager_model(write: Callable[[Net, Any], None]) -> None:
    lucid.manual_seed(0)
    eager, other = Net(write), Net(write)
    other.load_state_dict(eager.state_dict())
    compiled = lucid.compile(other)
    x, again = Tensor(X, requires_grad=True), Tensor(X, requires_grad=True)
    wanted, got = eager(x), compiled(again)
    np.testing.assert_allclose(got.numpy(), wanted.numpy(), rtol=1e-6)
    (wanted * wanted).sum().backward()
    (got * got).sum().backward()
    np.testing.assert_allclose(again.grad.numpy(), x.grad.numpy(), rtol=1e-6)  # type: ignore[union-attr]
    for (name, p), q in zip(eager.named_parameters(), other.parameters(), strict=True):
        assert p.grad is not None and q.grad is not None, name
        np.testing.assert_allclose(q.grad.numpy(), p.grad.numpy(), rtol=1e-6, err_msg=name)
    for name, value in eager.state_dict().items():
        np.testing.assert_allclose(other.state_dict()[name].numpy(), value.numpy(), rtol=1e-6, err_msg=name)
    for _ in range(2):  # nothing of the call before is left to go back through
        compiled(X).sum().backward()
    assert not other.kept.requires_grad
