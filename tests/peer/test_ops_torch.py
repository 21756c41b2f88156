"""Every row of the table that PyTorch has too: results and gradients agree, in float32 and float64.

Where PyTorch has no gradient for an input and we have one, the row's function detaches that input and the row has
the tag ``torch-partial-gradient``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lucid.graph.ops import bounds, reduce
from lucid.graph.ops import elementwise as ew
from lucid.graph.types import is_float
from lucid.nn import functional as F
from lucid.tensor.tensor import Tensor

from ..cases.activation import activation_of
from ..cases.case import Case
from ..op_checks import all_cases, assert_close, inputs_of

CASES = [case for case in all_cases() if case.torch is not None]

both_dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])


def _tuple(results: Any) -> tuple[Any, ...]:
    return tuple(results) if isinstance(results, tuple | list) else (results,)


def _array(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    return np.array(tensor.detach().numpy())


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")  # it pads a copy, and says so
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@both_dtypes
def test_results_and_gradients_are_those_of_pytorch(case: Case, dtype: str) -> None:
    arrays = inputs_of(case, dtype)
    tolerance = {"float32": case.rtol, "float64": min(case.rtol, 1e-11)}
    ours = [Tensor(a, requires_grad=case.gradient and a.dtype.kind == "f") for a in arrays]
    theirs = [torch.from_numpy(a.copy()).requires_grad_(x.requires_grad) for a, x in zip(arrays, ours, strict=True)]
    assert case.torch is not None
    results, expected = _tuple(case.function(*ours)), _tuple(case.torch(torch, *theirs))
    for i, (y, e) in enumerate(zip(results, expected, strict=True)):
        assert_close(np.array(y.numpy()), _array(e), f"result {i}", tolerance)
    if not case.gradient:
        return
    rng = np.random.default_rng(3)
    for y, e in zip(results, expected, strict=True):
        if is_float(y.dtype):
            seed = np.asarray(rng.standard_normal(y.shape), dtype)
            assert y.requires_grad == e.requires_grad
            if y.requires_grad:
                y.backward(seed)
                e.backward(torch.from_numpy(seed), retain_graph=True)
    for i, (x, t) in enumerate(zip(ours, theirs, strict=True)):
        if x.requires_grad:
            if t.grad is None and "torch-partial-gradient" in case.tags:
                continue
            gradient = np.zeros_like(arrays[i]) if x.grad is None else np.array(x.grad.numpy())
            wanted = np.zeros_like(arrays[i]) if t.grad is None else _array(t.grad)
            assert_close(gradient, wanted, f"gradient of input {i}", {k: 10 * v for k, v in tolerance.items()})


_INF = float("inf")
_FAR = [-_INF, -1e30, -1e15, -200.0, -90.0, -20.0, -0.0, 0.0, 20.0, 90.0, 200.0, 1e15, 1e30, _INF]
_SLOPES: dict[str, tuple[Any, Any]] = {
    "sigmoid": (ew.sigmoid, torch.sigmoid),
    "tanh": (ew.tanh, torch.tanh),
    "erf": (ew.erf, torch.erf),
    "relu": (ew.relu, torch.relu),
    "silu": (ew.silu, torch.nn.functional.silu),
    "gelu": (ew.gelu, torch.nn.functional.gelu),
    "gelu-tanh": (lambda x: ew.gelu(x, "tanh"), lambda x: torch.nn.functional.gelu(x, approximate="tanh")),
    "elu": (ew.elu, torch.nn.functional.elu),
    "softplus": (ew.softplus, torch.nn.functional.softplus),
    "leaky-relu": (ew.leaky_relu, torch.nn.functional.leaky_relu),
    "abs": (ew.abs_, torch.abs),
    "clip": (lambda x: bounds.clip(x, -1, 1), lambda x: torch.clip(x, -1, 1)),
    "logsumexp": (reduce.logsumexp, lambda x: torch.logsumexp(x, 0)),
}


@pytest.mark.parametrize("name", sorted(_SLOPES))
@both_dtypes
def test_slopes_far_from_zero_are_numbers_where_those_of_pytorch_are(name: str, dtype: str) -> None:
    ours, theirs = _SLOPES[name]
    far = np.array(_FAR[:-1] if name == "logsumexp" else _FAR, dtype)
    x, t = Tensor(far, requires_grad=True), torch.from_numpy(far.copy()).requires_grad_()
    y, e = ours(x), theirs(t)
    y.backward(np.ones(y.shape, dtype))
    e.sum().backward()
    assert x.grad is not None and t.grad is not None
    gradient, wanted = np.array(x.grad.numpy()), _array(t.grad)
    number = ~np.isnan(wanted)
    assert_close(gradient[number], wanted[number], name)


_KINKS: dict[str, tuple[float, ...]] = {
    "hardsigmoid": (), "hardswish": (), "hardshrink": (), "softshrink": (), "relu6": (), "hardtanh": (), "celu": (),
    "selu": (), "threshold": (0.5, 20.0), "leaky_relu": (), "elu": (), "softsign": (), "logsigmoid": (),
}  # fmt: skip


@pytest.mark.parametrize("name", _KINKS)
@both_dtypes
def test_on_kinks_and_far_out_an_activation_is_that_of_pytorch(name: str, dtype: str) -> None:
    points = np.array([-_INF, -9e9, -3.0, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 3.0, 6.0, 9e9, _INF, np.nan], dtype)
    x, t = Tensor(points, requires_grad=True), torch.from_numpy(points.copy()).requires_grad_()
    theirs = activation_of(torch, name)
    y, e = getattr(F, name)(x, *_KINKS[name]), theirs(t, *_KINKS[name])
    y.backward(np.ones(y.shape, dtype))
    e.sum().backward()
    assert x.grad is not None and t.grad is not None
    wanted, slopes = _array(e), _array(t.grad)
    number = ~np.isnan(wanted) | np.isnan(points)
    assert_close(np.array(y.numpy())[number], wanted[number], name)
    known = ~np.isnan(slopes) & ~np.isnan(points)
    assert_close(np.array(x.grad.numpy())[known], slopes[known], f"slope of {name}")
