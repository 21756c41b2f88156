"""A user's program, which the type checker reads (``make lint``) and the test suite runs."""

from __future__ import annotations

from typing import Any, assert_type

import numpy as np

import lucid
from lucid import CompiledModel, Tensor, nn


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x: Any) -> Any:
        return self.fc(x).relu()


def main() -> None:
    model = Net()
    net = lucid.compile(model, lucid.spec("N", 3))
    assert_type(net, CompiledModel)
    x = lucid.randn(4, 3)
    assert_type(x, Tensor)
    assert_type(x + 1, Tensor)
    assert_type(2 * x @ x.T, Tensor)
    assert_type(x // 2 % 2, Tensor)
    assert_type(-x, Tensor)
    assert_type(x > 0, Tensor)
    assert_type(x.sum(axis=0, keepdims=True), Tensor)
    assert_type(x.exp().mean(), Tensor)
    assert_type(lucid.exp(x), Tensor)
    assert_type(model.fc.weight + 1, Tensor)
    assert_type(x.split(2), tuple[Tensor, ...])
    assert_type(model.eval(), Net)
    assert_type(x.numpy(), np.ndarray[Any, Any])
    assert_type(net.source, str)

    @lucid.compile(exact=True)
    def double(t: Tensor) -> Tensor:
        return t * 2

    assert_type(double, CompiledModel)
    net(x).sum().backward()
    grad: Tensor | None = model.fc.weight.grad
    assert grad is not None
    assert grad.shape == (2, 3)


if __name__ == "__main__":
    main()
