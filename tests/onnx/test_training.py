"""The optimisers of ONNX's preview of training against the format's own reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lucid
from lucid.errors import LucidError

from .models import Case, agrees, expected, one

Array = np.ndarray[Any, Any]
X = [np.random.default_rng(i).standard_normal((2, 3)).astype(np.float32) for i in range(8)]
RATE = np.float32(0.1).reshape(())


def step(op: str, turn: int, tensors: list[Array], outputs: int, **attributes: Any) -> Case:
    domain = "ai.onnx.preview.training"
    return one(op, [RATE, np.array(turn), *tensors], outputs, domain=domain, norm_coefficient=0.01, **attributes)


SIZES = [np.abs(x) for x in X]
MOMENTUM, ADAM = (
    {"alpha": 0.9, "beta": 0.8},
    {"alpha": 0.9, "beta": 0.99, "epsilon": 1e-3, "norm_coefficient_post": 0.1},
)
ADAGRAD = {"epsilon": 1e-3, "decay_factor": 0.1}
CASES = {
    f"{op} {mode} {turn} {count}": step(op, turn, tensors, len(tensors) - count, **attributes)
    for turn in (0, 3)
    for count, momentum, adagrad, adam in (
        (1, X[:3], [*X[:2], SIZES[2]], [*X[:3], SIZES[3]]), (2, X[:6], [*X[:4], *SIZES[4:6]], [*X[:6], *SIZES[6:]]),
    )
    for op, mode, tensors, attributes in (
        ("Momentum", "standard", momentum, {**MOMENTUM, "mode": "standard"}),
        ("Momentum", "nesterov", momentum, {**MOMENTUM, "mode": "nesterov"}),
        ("Adagrad", "", adagrad, ADAGRAD), ("Adam", "", adam, ADAM),
    )
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_step_is_what_the_format_says(name: str) -> None:
    wanted = expected(*CASES[name])
    agrees(CASES[name], [y.astype(np.float32) for y in wanted])  # some of which it gives as float64


@pytest.mark.parametrize(
    ("case", "words"),
    [
        (step("Momentum", 0, X[:3], 2, **MOMENTUM, mode="other"), "unknown mode 'other'"),
        (step("Adagrad", 0, X[:4], 2), "takes a tensor, its gradient and 1 states for each, and got 4"),
    ],
)
def test_what_makes_no_sense_is_refused(case: Case, words: str) -> None:
    with pytest.raises(LucidError, match=words):
        lucid.onnx.load(case.proto)(*case.inputs.values())
