"""The gradient of a run reads what buffers held when it read them, also those that it has written over since."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import Tensor, nn

B = np.array([2.0, 3.0], np.float32)


class _Model(nn.Module):
    def __init__(self, change: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        self.register_buffer("b", Tensor(B))
        self.change = change

    def forward(self, x: Any) -> Any:
        y = x * self.b
        self.change(self.b, x)
        return y


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "change", [lambda b, x: b.add_(1), lambda b, x: b.mul_(x), lambda b, x: b[:1].zero_(), lambda b, x: b.copy_(x * 5)]
)
def test_a_buffer_that_the_run_itself_writes_over(change: Any, training: bool) -> None:
    net = lucid.compile(_Model(change).train(training))
    for _ in range(3):
        held, x = net.b.numpy().copy(), Tensor([1.0, 4.0], requires_grad=True)
        later, again = net(x), Tensor([1.0, 4.0], requires_grad=True)
        after = net.b.numpy().copy()
        net(again).sum().backward()
        later.sum().backward()  # after another run
        np.testing.assert_array_equal(x.grad.numpy(), held)  # type: ignore[union-attr]
        np.testing.assert_array_equal(again.grad.numpy(), after)  # type: ignore[union-attr]


def test_the_gradient_of_a_function_that_changes_its_argument_is_for_what_it_was_given() -> None:
    def f(x: Any) -> Any:
        x *= x
        return (x * 3).sum()

    np.testing.assert_array_equal(lucid.grad(f)(Tensor([1.0, 4.0])).numpy(), [6.0, 24.0])
