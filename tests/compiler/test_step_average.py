"""An average of the weights that a step keeps is what ``update_parameters`` makes after it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.errors import LucidError, OptionError
from lucid.optim.swa_utils import AveragedModel, get_ema_avg_fn, get_ema_multi_avg_fn

from .test_step import LOSS, NETS, RULES, alike, batches, eager, mlp, twins

MEANS: list[dict[str, Any]] = [
    {"multi_avg_fn": get_ema_multi_avg_fn(0.5)}, {}, {"avg_fn": get_ema_avg_fn(0.9), "use_buffers": True},
]  # fmt: skip


def same(a: nn.Module, b: nn.Module) -> None:
    for (name, one), other in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy(), err_msg=name)


def test_an_average_of_the_weights_follows() -> None:
    model, optimizer, other, its = twins(mlp, RULES["sgd"])
    step = lucid.compile_step(other, LOSS, its)
    averages = [AveragedModel(one, multi_avg_fn=get_ema_multi_avg_fn(0.5)) for one in (model, other)]
    for x, y in batches(3):
        eager(model, optimizer, x, y)
        step(x, y)
        for average, one in zip(averages, (model, other), strict=True):
            average.update_parameters(one)
    alike(averages[0].module, averages[1].module)


@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("share", [1, 2])
def test_the_step_keeps_it_itself(mean: dict[str, Any], share: int) -> None:
    """Of what is trained, frozen, a buffer or unused, in one program from the first update on."""
    build, shape = NETS["lenet"]

    def more() -> nn.Module:
        model = build()
        model[0].weight.requires_grad = False
        model.register_buffer("spare", lucid.ones(2))
        return model

    model, optimizer, other, its = twins(more, RULES["momentum"])
    after, within = (AveragedModel(one, **mean) for one in (model, other))
    step = lucid.compile_step(model, LOSS, optimizer, accumulate=share)
    both = lucid.compile_step(other, LOSS, its, accumulate=share, average=within)
    for number, (x, y) in enumerate(batches(4 * share, shape), 1):
        lucid.manual_seed(number)
        loss = float(step(x, y))
        if number % share == 0:
            after.update_parameters(model)
        lucid.manual_seed(number)
        assert float(both(x, y)) == loss
    same(model, other)
    same(after, within)
    assert int(within.n_averaged) == 4
    assert len(both._traces) == share  # no other graph for the first value


def test_an_average_may_be_loaded_and_saved_with_the_step(tmp_path: Path) -> None:
    model, optimizer, other, its = twins(mlp, RULES["adam"])
    first, second = AveragedModel(model), AveragedModel(other)
    step = lucid.compile_step(model, LOSS, optimizer, average=first)
    given = batches(6)
    for batch in given[:3]:
        step(*batch)
    step.save(tmp_path / "step.lucid")
    again = lucid.load(tmp_path / "step.lucid")
    other.load_state_dict(model.state_dict())
    its.load_state_dict(optimizer.state_dict())
    second.load_state_dict(first.state_dict())
    beside = lucid.compile_step(other, LOSS, its, average=second)
    for batch in given[3:]:
        assert float(step(*batch)) == float(beside(*batch)) == float(again(*batch))
    same(first, second)
    held = again.state_dict()
    np.testing.assert_array_equal(held["optimizer.average.0.weight"].numpy(), first.module[0].weight.numpy())


def test_averages_that_are_none_of_the_model() -> None:
    model = mlp()
    optimizer = RULES["sgd"](model.parameters())

    def step(average: Any, model: Any = model) -> Any:
        return lucid.compile_step(model, LOSS, optimizer, average=average)

    with pytest.raises(OptionError, match="average is a swa_utils"):
        step(model)
    with pytest.raises(OptionError, match="the model is a function"):
        step(AveragedModel(model), lambda x: model(x))
    with pytest.raises(OptionError, match="give AveragedModel an avg_fn"):
        step(AveragedModel(model, multi_avg_fn=lambda averages, values, count: None))
    x, y = batches(1)[0]
    outside = lucid.ones(1)
    for rule, words in (
        (lambda a, b, n: min(0.9, n) * a, "value of a tensor is not known"), (lambda a, b, n: a * float(n), "no float"),
        (lambda a, b, n: 3.0, "gives 3.0"), (lambda a, b, n: b.sum(), r"gives float32\[\]"),
        (lambda a, b, n: a * outside, "reads a tensor that it is not given"),
    ):  # fmt: skip
        with pytest.raises(LucidError, match=words):
            step(AveragedModel(model, avg_fn=rule))(x, y)
    with pytest.raises(OptionError, match="other parameters or buffers"):
        step(AveragedModel(nn.Linear(2, 2)))
