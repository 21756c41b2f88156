"""Whole random models, compiled at every setting, against the reference: forward and backward."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import Tensor
from lucid.autodiff.reverse import differentiate
from lucid.reference import evaluate_reference

from ..random_models import RandomModel

COUNT = 120
"""As many as there are settings; the sweep ``models`` of tests/soak goes on with others."""
BATCHES = (2, 1, 3)


def reference(compiled: Any, model: RandomModel, x: np.ndarray[Any, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Outputs, and gradients by name of the sum of all outputs weighted by their own values (float64)."""
    graph = compiled.traced.bind({"N": len(x)}) if compiled.traced.symbols else compiled.traced
    wanted = [*graph.inputs, *graph.parameters.values()]
    joint = differentiate(graph, wanted).graph
    parameters = {n: t.numpy() for n, t in (*model.named_parameters(), *model.named_buffers())}
    outputs = evaluate_reference(graph, [x], parameters)
    distinct = dict(zip(graph.outputs, outputs, strict=True))
    results = evaluate_reference(joint, [x, *distinct.values()], parameters)
    names = ["input", *graph.parameters]
    return outputs, dict(zip(names, results[len(outputs) :], strict=True))


def close(have: Any, want: Any, what: str) -> None:
    scale = max(1.0, float(np.abs(want).max(initial=0.0)))
    # float32 sums in another order; the gradients of these models reach through ten steps
    np.testing.assert_allclose(np.asarray(have), want, rtol=0, atol=2e-4 * scale, err_msg=what)


@pytest.mark.parametrize("chunk", range(12))
def test_random_models(chunk: int) -> None:
    for seed in range(chunk, COUNT, 12):
        check(seed)


def check(seed: int) -> None:
    model = RandomModel(seed)
    symbolic = seed % 2 == 0
    specs = [lucid.spec("N", *model.input_shape)] if symbolic else []
    model.train(seed % 3 == 0)
    compiled = lucid.compile(model, *specs, exact=seed % 5 == 0, verify=seed % 8 == 0, threads=1 + seed % 2)
    for n in BATCHES[: 2 if symbolic else 1]:
        x = np.random.default_rng(seed + n).standard_normal((n, *model.input_shape)).astype(np.float32)
        with lucid.no_grad():
            outputs = compiled(x)
        want, gradients = reference(compiled, model, x)
        for i, (have, expected) in enumerate(zip(outputs, want, strict=True)):
            close(have, expected, f"model {seed}, output {i}, inference")
        leaf = Tensor(x, requires_grad=True)
        model.zero_grad()
        tracked = compiled(leaf)
        for i, (have, expected) in enumerate(zip(tracked, want, strict=True)):
            close(have, expected, f"model {seed}, output {i}, training")
        total = sum((y * y.detach()).sum() for y in tracked)
        eager = copy.deepcopy(model)(Tensor(x, requires_grad=True))
        assert [y.requires_grad for y in tracked] == [y.requires_grad for y in eager], f"model {seed}"
        if total.requires_grad:
            total.backward()
        for name, parameter in (("input", leaf), *model.named_parameters()):
            if name in gradients:
                have = np.zeros_like(gradients[name]) if parameter.grad is None else parameter.grad
                close(have, gradients[name], f"model {seed}, gradient of {name}")
