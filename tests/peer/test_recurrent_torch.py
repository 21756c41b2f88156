"""Recurrent layers and cells beside PyTorch's: same parameters by name, same results and gradients."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn as tn

import lucid
from lucid import nn
from lucid.tensor.tensor import Tensor

from .training import trains_alike

Array = np.ndarray[Any, Any]
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
LAYERS = [
    *(
        (kind, {"num_layers": layers, "bidirectional": both, "batch_first": first, "bias": bias})
        for kind in ("RNN", "GRU", "LSTM")
        for layers, both, first, bias in ((1, False, False, True), (1, True, True, True), (3, True, False, False))
    ),
    ("RNN", {"nonlinearity": "relu", "num_layers": 2}),
    ("LSTM", {"num_layers": 2, "dropout": 0.4}),
    ("LSTM", {"proj_size": 3}),
    ("LSTM", {"proj_size": 1, "num_layers": 2, "bidirectional": True, "batch_first": True, "bias": False}),
]
CELLS = [("RNNCell", {}), ("RNNCell", {"nonlinearity": "relu"}), ("GRUCell", {}), ("LSTMCell", {}),
         ("LSTMCell", {"bias": False}), ("GRUCell", {"bias": False})]  # fmt: skip
both_dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])


def twins(kind: str, options: dict[str, Any], dtype: str) -> tuple[nn.Module, tn.Module]:
    """The same layer in both, with the parameters of theirs; in evaluation, in which dropout does nothing."""
    ours = getattr(nn, kind)(4, 5, **options).to(dtype)
    theirs = getattr(tn, kind)(4, 5, **options).to(getattr(torch, dtype))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    return ours.eval(), theirs.eval()


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, tuple | list):
        yield from itertools.chain.from_iterable(map(leaves, value))
    elif value is not None:
        yield value


def nested(arrays: list[Any]) -> Any:
    """A state as a layer takes it: None, one, or a pair."""
    return None if not arrays else arrays[0] if len(arrays) == 1 else tuple(arrays)


def close(ours: Any, theirs: torch.Tensor, dtype: str, what: str) -> None:
    got, wanted = np.asarray(ours), theirs.detach().numpy()
    assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype), what
    scale = max(1.0, float(np.abs(wanted).max(initial=0.0)))
    np.testing.assert_allclose(got, wanted, rtol=0, atol=TOLERANCE[dtype] * scale, err_msg=what)


def compare(ours: nn.Module, theirs: tn.Module, arrays: list[Array], dtype: str) -> None:
    """Results and all gradients, eager and compiled."""
    wanted_in = [torch.from_numpy(a.copy()).requires_grad_() for a in arrays]
    expected = list(leaves(theirs(wanted_in[0], nested(wanted_in[1:]))))
    rng = np.random.default_rng(2)
    seeds = [rng.standard_normal(tuple(y.shape)).astype(dtype) for y in expected]
    total = sum(((y * torch.from_numpy(seed)).sum() for y, seed in zip(expected, seeds, strict=True)), torch.zeros(()))
    total.backward()
    wanted = dict(theirs.named_parameters())
    for how, call in (("eager", ours), ("compiled", lucid.compile(ours))):
        for parameter in ours.parameters():
            parameter.grad = None
        given = [Tensor(a, requires_grad=True) for a in arrays]
        results = list(leaves(call(given[0], nested(given[1:]))))
        for y, want in zip(results, expected, strict=True):
            close(y.detach(), want, dtype, f"{how} result")
        lucid.stack([(y * Tensor(seed)).sum() for y, seed in zip(results, seeds, strict=True)]).sum().backward()
        for x, other in zip(given, wanted_in, strict=True):
            close(x.grad, other.grad, dtype, f"{how} gradient of an input")  # type: ignore[arg-type]
        for name, parameter in ours.named_parameters():
            close(parameter.grad, wanted[name].grad, dtype, f"{how} gradient of {name}")  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize(("kind", "options"), LAYERS)
@pytest.mark.parametrize("given", ["states", "zeros", "single"])
@both_dtypes
def test_a_layer_is_pytorchs(kind: str, options: dict[str, Any], given: str, dtype: str) -> None:
    ours, theirs = twins(kind, options, dtype)
    rng = np.random.default_rng(1)
    depth = options.get("num_layers", 1) * (1 + options.get("bidirectional", False))
    sizes = (3, 6) if options.get("batch_first") else (6, 3)
    shapes: list[tuple[int, ...]] = [(6, 4) if given == "single" else (*sizes, 4)]
    state = (depth, 5) if given == "single" else (depth, 3, 5)
    states = [(*state[:-1], options.get("proj_size", 5)), state] if kind == "LSTM" else [state]
    shapes += states * (given != "zeros")
    compare(ours, theirs, [rng.standard_normal(shape).astype(dtype) for shape in shapes], dtype)


@pytest.mark.parametrize(("kind", "options"), CELLS)
@pytest.mark.parametrize("given", ["states", "zeros", "single"])
@both_dtypes
def test_a_cell_is_pytorchs(kind: str, options: dict[str, Any], given: str, dtype: str) -> None:
    ours, theirs = twins(kind, options, dtype)
    rng = np.random.default_rng(1)
    batch = () if given == "single" else (3,)
    count = 0 if given == "zeros" else 2 if kind == "LSTMCell" else 1
    shapes = [(*batch, 4), *[(*batch, 5)] * count]
    compare(ours, theirs, [rng.standard_normal(shape).astype(dtype) for shape in shapes], dtype)


@pytest.mark.parametrize(("kind", "options"), [*LAYERS, *CELLS])
def test_it_prints_the_same(kind: str, options: dict[str, Any]) -> None:
    assert repr(getattr(nn, kind)(4, 5, **options)) == repr(getattr(tn, kind)(4, 5, **options))


def test_training_is_pytorchs() -> None:
    """Ten steps of a classifier over sequences, from the same weights."""

    def build(module: Any) -> Any:
        class Net(module.Module):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self.lstm = module.LSTM(4, 8, 2, batch_first=True, bidirectional=True)
                self.head = module.Linear(16, 3)

            def forward(self, x: Any) -> Any:
                return self.head(self.lstm(x)[0][:, -1])

        return Net()

    trains_alike(build, 4)
