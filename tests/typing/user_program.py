"""A user's program, which the type checker reads (``make lint``) and the test suite runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, assert_type

import numpy as np

import lucid
from lucid import CompiledModel, Tensor, nn, optim


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
    y = x * 1
    y += 1
    assert_type(y, Tensor)
    assert_type(y.sum().item() + 1, Any)
    assert_type(lucid.max(x), Any)
    assert_type(y.add_(1), Any)
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
    groups = optim.SGD([{"params": model.fc.parameters(), "lr": 0.1}, {"params": [model.fc.bias]}][:1], lr=0.01)
    optim.AdamW(model.named_parameters(), lr=groups.param_groups[0]["lr"])
    names_that_are_not_here(x)


def names_that_are_not_here(x: Tensor) -> None:
    """A checker tells of each: an ignored error that is none would be one itself."""
    uses: tuple[Callable[[], object], ...] = (
        lambda: x.maen(),  # type: ignore[attr-defined]
        lambda: lucid.relus(x),  # type: ignore[attr-defined]
        lambda: nn.Linea(2, 3),  # type: ignore[attr-defined]
        lambda: nn.functional.rleu(x),  # type: ignore[attr-defined]
        lambda: nn.init.xavier(x),  # type: ignore[attr-defined]
        lambda: nn.utils.clip(x),  # type: ignore[attr-defined]
        lambda: optim.Adm,  # type: ignore[attr-defined]
        lambda: optim.lr_scheduler.Step,  # type: ignore[attr-defined]
        lambda: lucid.passes.defaults,  # type: ignore[attr-defined]
        lambda: lucid.models.resnet19,  # type: ignore[attr-defined]
    )
    for use in uses:
        try:
            use()
        except AttributeError:
            continue
        raise AssertionError("a name that is not here was found")


if __name__ == "__main__":
    main()
