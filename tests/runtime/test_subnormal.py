"""Subnormal weights become zeros where they are laid out for a program; with ``exact`` they stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.runtime.program.subnormal import flush, has_subnormals

Array = np.ndarray[Any, Any]


def decayed(shape: tuple[int, ...], dtype: str = "float32", seed: int = 0) -> Array:
    """Numbers of which a third have decayed to almost nothing."""
    rng = np.random.default_rng(seed)
    numbers = rng.standard_normal(shape).astype(dtype)
    numbers[rng.random(shape) < 0.3] *= np.finfo(dtype).tiny / 8
    return numbers


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [0, 1, 7, 100_001])
def test_what_is_subnormal_becomes_zero(dtype: str, size: int) -> None:
    numbers = decayed((size,), dtype)
    least = np.finfo(dtype).tiny
    special = np.array([np.inf, -np.inf, np.nan, least, -least, least / 2, -least / 2, -0.0], dtype)
    array = np.concatenate([numbers, special])
    wanted = np.where(np.abs(array) < least, 0, array)
    assert has_subnormals(array)
    flush(array)
    np.testing.assert_array_equal(array, wanted)
    np.testing.assert_array_equal(np.signbit(array), np.signbit(np.concatenate([numbers, special])))
    assert not has_subnormals(array)


@pytest.mark.parametrize("constant", [1e-40, -0.0])
def test_a_constant_stays_what_it_is(constant: float) -> None:
    """Only weights are taken for zeros."""
    x = np.float32([1e20, 2.0])
    found = lucid.compile(lambda t: t * constant)(x).numpy()
    assert found.tobytes() == (x * np.float32(constant)).tobytes()


def test_whole_numbers_have_none() -> None:
    assert not has_subnormals(np.arange(3)) and not has_subnormals(np.zeros((2, 0), np.float32))


def network(dtype: str = "float32") -> nn.Module:
    layers = nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Flatten()
    model = nn.Sequential(*layers, nn.Linear(16 * 36, 70), nn.Linear(70, 5)).to(dtype).eval()
    for seed, parameter in enumerate(model.parameters()):
        parameter.copy_(decayed(parameter.shape, dtype, seed) * 0.1)
    return model


def kept(net: Any) -> list[Array]:
    """What programs keep of the parameters, and the parameters as they read them."""
    programs = list(net._store._programs.values())
    executables = [p() for p in programs]
    laid = [
        place
        for one in executables
        for array, place in zip(one._memory.copies.arrays, one._memory.copies.places, strict=True)
        if place is not array
    ]
    packed = [
        one._memory.packed[at.packing].memory[at.offset : at.offset + y.type.nbytes].view(y.type.dtype)
        for one in executables
        for y, at in one.plan.places.items()
        if at.memory == "packed"
    ]
    return [*laid, *packed]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_packed_weights_hold_no_subnormal_number_unless_exact(dtype: str) -> None:
    model, x = network(dtype), np.random.default_rng(0).standard_normal((2, 3, 6, 6)).astype(dtype)
    with lucid.no_grad():
        wanted = model(x).numpy()
        for exact in (False, True):
            net = lucid.compile(model, exact=exact)
            np.testing.assert_allclose(net(x).numpy(), wanted, rtol=1e-4, atol=1e-4)
            arrays = kept(net)
            assert arrays
            assert any(map(has_subnormals, arrays)) == exact
            model[0].weight.mul_(2.0)  # packed anew
            net(x)
            assert any(map(has_subnormals, kept(net))) == exact
            model[0].weight.mul_(0.5)
    assert all(has_subnormals(p.numpy()) for p in (model[0].weight, model[5].weight))


def test_weights_that_are_read_as_they_are_are_laid_out_anew() -> None:
    """A product with a weight that nothing packs, and weights that a step of an optimiser changes."""
    weight = nn.Parameter(decayed((40, 30)))

    class Product(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = weight

        def forward(self, x: Any) -> Any:
            return x @ self.weight

    model, x = Product(), np.ones((3, 40), np.float32)
    net = lucid.compile(model)
    net(x).sum().backward()
    assert weight.grad is not None
    np.testing.assert_array_equal(weight.grad.numpy(), np.full((40, 30), 3, np.float32))
    assert not any(map(has_subnormals, kept(net)))
    with lucid.no_grad():
        weight.mul_(2.0)
    np.testing.assert_allclose(net(x).numpy(), x @ weight.numpy(), rtol=1e-4, atol=1e-5)
