"""What a step gives its loss: outputs and target, or the outputs alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import lucid
from lucid import Tensor, nn

from .test_step import RULES, alike, batches, twins


class Scaled(nn.Module):
    """Takes two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 5)

    def forward(self, x: Tensor, factor: Tensor) -> Tensor:
        return self.layer(x) * factor


class Squares(nn.Module):
    def forward(self, outputs: Tensor) -> Tensor:
        return (outputs * outputs).mean()


@pytest.mark.parametrize("loss", [Squares(), lambda outputs: (outputs * outputs).mean()], ids=["module", "function"])
def test_a_loss_of_the_outputs_alone_leaves_all_arguments_to_the_model(loss: Callable[..., Tensor]) -> None:
    model, optimizer, other, same = twins(Scaled, RULES["sgd"])
    factor = np.array([[0.5], [2.0]] * 3, np.float32)
    step = lucid.compile_step(other, loss, same, metrics={"largest": lambda outputs: outputs.abs().max()})
    for x, _ in batches(3):
        optimizer.zero_grad()
        outputs = model(Tensor(x), Tensor(factor))
        wanted = loss(outputs)
        wanted.backward()
        optimizer.step()
        found, metrics = step(x, factor)
        assert float(found) == pytest.approx(float(wanted), abs=1e-6)
        assert float(metrics["largest"]) == pytest.approx(float(outputs.abs().max()), abs=1e-6)
    alike(model, other)
    assert list(step.graph.inputs)[:2] == ["x", "factor"]
