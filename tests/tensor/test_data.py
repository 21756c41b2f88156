"""``t.data = u`` takes the memory of ``u``, as in PyTorch: what has the memory that ``t`` had keeps it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lucid
from lucid import Tensor, nn, optim
from lucid.errors import DTypeError, GradientError, LucidError, ShapeError

wraps = pytest.mark.parametrize(
    "wrap", [lambda m: m, lucid.compile, lambda m: lucid.compile(m, exact=True)], ids=["eager", "compiled", "exact"]
)


def network() -> nn.Module:
    lucid.manual_seed(0)
    layers = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 8, 1), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(8 * 16, 70)).eval()


def image() -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).standard_normal((2, 2, 4, 4)).astype(np.float32)


@wraps
def test_weights_are_put_aside_and_back(wrap: Any) -> None:
    model, x = network(), image()
    net = wrap(model)
    averaged = {name: p.data.clone() * 0.5 for name, p in model.named_parameters()}
    for _ in range(2):
        with lucid.no_grad():
            for p in model.parameters():
                p.add_(0.1)
        before = net(x).numpy().copy()
        aside = {name: p.data for name, p in model.named_parameters()}
        for name, p in model.named_parameters():
            p.data = averaged[name]
        other = network()
        other.load_state_dict({name: p.detach().numpy() for name, p in (*averaged.items(), *model.named_buffers())})
        np.testing.assert_allclose(net(x).numpy(), other(x).numpy(), rtol=1e-4, atol=1e-5)
        for name, p in model.named_parameters():
            p.data = aside[name]
        np.testing.assert_array_equal(net(x).numpy(), before)


@wraps
def test_two_weights_change_places(wrap: Any) -> None:
    a, b, x = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False), lucid.ones(1, 3)
    net, other = wrap(a), wrap(b)
    of_a, of_b = net(x).tolist(), other(x).tolist()
    a.weight.data, b.weight.data = b.weight.data, a.weight.data
    assert net(x).tolist() == of_b and other(x).tolist() == of_a
    b.weight.data = a.weight.data
    a.weight.data.fill_(1.0)
    assert other(x).tolist() == net(x).tolist() == [[3.0, 3.0, 3.0]]


@wraps
def test_all_weights_in_one_piece_of_memory(wrap: Any) -> None:
    model, x = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)), lucid.ones(1, 3)
    net = wrap(model)
    flat = lucid.zeros(sum(p.numel() for p in model.parameters()))
    net(x)
    begin = 0
    for p in model.parameters():
        part = flat[begin : begin + p.numel()]
        begin += p.numel()
        part.copy_(p.data.view(-1))
        p.data = part.view(p.shape)
    flat.fill_(1.0)
    assert net(x).tolist() == [[17.0, 17.0]]
    net(x).sum().backward()
    optim.SGD(model.parameters(), lr=1.0).step()
    assert flat.tolist() == [-1.0] * 12 + [-1.0] * 4 + [-3.0] * 8 + [0.0] * 2


@wraps
def test_another_shape_and_dtype(wrap: Any) -> None:
    model, x = nn.Linear(3, 3, bias=False), lucid.ones(2, 3)
    net = wrap(model)
    net(x)
    model.weight.data = lucid.ones(5, 3)
    assert net(x).tolist() == [[3.0] * 5] * 2
    net(x).sum().backward()
    assert model.weight.grad is not None and model.weight.grad.shape == (5, 3)
    model.weight.data = lucid.ones(1, 3, dtype="float64") * 2
    assert net(x.double()).tolist() == [[6.0]] * 2


def test_history_that_needs_what_was_there_is_refused() -> None:
    x, w = (lucid.tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    y = (x * w).sum()
    w.data = lucid.tensor([5.0, 6.0])
    with pytest.raises(GradientError, match="changed in place"):
        y.backward()


def test_arrays_are_copied_and_nonsense_refused() -> None:
    t, array = lucid.tensor([1.0, 2.0], requires_grad=True), np.array([3.0, 4.0])
    kept = t.data
    t.data = array
    array[0] = 9.0
    assert t.tolist() == [3.0, 4.0] and t.dtype == "float32" and kept.tolist() == [1.0, 2.0]
    for wrong in (None, "x", 1 + 2j, [1, [2]], {}):
        with pytest.raises(LucidError):
            t.data = wrong  # type: ignore[assignment]
    with pytest.raises(ShapeError):
        t.data = 5.0
    with pytest.raises(DTypeError, match="floating-point"):
        t.data = Tensor([1, 2])
    assert t.tolist() == [3.0, 4.0]
