"""Layers that learn their size from the first input, dicts of parameters, and what both refuse."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn, optim
from lucid.errors import LucidError

LAYERS: list[tuple[Any, Any, tuple[int, ...]]] = [
    (lambda: nn.LazyLinear(4), lambda: nn.Linear(3, 4), (2, 3)),
    (lambda: nn.LazyLinear(4, bias=False), lambda: nn.Linear(3, 4, bias=False), (2, 5, 3)),
    (lambda: nn.LazyConv1d(6, 3, padding="same"), lambda: nn.Conv1d(4, 6, 3, padding="same"), (2, 4, 7)),
    (lambda: nn.LazyConv2d(6, (3, 2), 2, 1, groups=2), lambda: nn.Conv2d(4, 6, (3, 2), 2, 1, groups=2), (2, 4, 7, 6)),
    (lambda: nn.LazyConv2d(6, 3, padding_mode="circular", padding=1),
     lambda: nn.Conv2d(4, 6, 3, padding_mode="circular", padding=1), (4, 7, 6)),
    (lambda: nn.LazyConv3d(6, 2, bias=False), lambda: nn.Conv3d(4, 6, 2, bias=False), (1, 4, 3, 4, 5)),
    (lambda: nn.LazyConvTranspose1d(6, 3, 2, 1, 1), lambda: nn.ConvTranspose1d(4, 6, 3, 2, 1, 1), (2, 4, 7)),
    (lambda: nn.LazyConvTranspose2d(6, 3, dilation=2), lambda: nn.ConvTranspose2d(4, 6, 3, dilation=2), (2, 4, 7, 6)),
    (lambda: nn.LazyConvTranspose3d(6, 2, groups=2), lambda: nn.ConvTranspose3d(4, 6, 2, groups=2), (1, 4, 3, 4, 5)),
    (lambda: nn.LazyBatchNorm1d(), lambda: nn.BatchNorm1d(3), (5, 3)),
    (lambda: nn.LazyBatchNorm2d(affine=False), lambda: nn.BatchNorm2d(3, affine=False), (2, 3, 4, 5)),
    (lambda: nn.LazyBatchNorm3d(1e-3, 0.2), lambda: nn.BatchNorm3d(3, 1e-3, 0.2), (2, 3, 2, 4, 5)),
    (lambda: nn.LazyInstanceNorm1d(), lambda: nn.InstanceNorm1d(3, affine=True, track_running_stats=True), (5, 3, 4)),
    (lambda: nn.LazyInstanceNorm2d(1e-5, 0.1, False, False), lambda: nn.InstanceNorm2d(3), (2, 3, 4, 5)),
    (lambda: nn.LazyInstanceNorm3d(), lambda: nn.InstanceNorm3d(3, 1e-5, 0.1, True, True), (2, 3, 2, 4, 5)),
]  # fmt: skip
every = pytest.mark.parametrize(("lazy", "known", "shape"), LAYERS, ids=[repr(lazy()) for lazy, _, _ in LAYERS])


@every
def test_after_the_first_input_it_is_the_layer(lazy: Any, known: Any, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    layer, wanted = lazy(), known()
    assert isinstance(layer, type(wanted))
    lucid.manual_seed(3)
    y = layer(x)
    lucid.manual_seed(3)
    wanted = known()
    assert type(layer) is type(wanted) and repr(layer) == repr(wanted)
    assert {name: t.shape for name, t in layer.state_dict().items()} == {
        n: t.shape for n, t in wanted.state_dict().items()
    }
    np.testing.assert_array_equal(y.numpy(), wanted(x).numpy())
    for name, tensor in layer.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), wanted.state_dict()[name].numpy())
    np.testing.assert_allclose(lucid.compile(layer.eval())(x).numpy(), wanted.eval()(x).numpy(), rtol=1e-4, atol=1e-5)


@every
def test_a_state_says_the_size_too(lazy: Any, known: Any, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float64)
    layer, wanted = lazy().double(), known().double()
    layer.load_state_dict(wanted.state_dict())
    np.testing.assert_array_equal(layer(x).numpy(), wanted(x).numpy())
    if [*wanted.parameters()]:
        again, axis = lazy().double(), -1 if isinstance(wanted, nn.Linear) else 0 if shape == (4, 7, 6) else 1
        again.load_state_dict(wanted.state_dict())
        with pytest.raises(LucidError, match="the input asks for"):
            again(np.concatenate([x, x], axis))


def test_an_optimiser_may_be_made_before() -> None:
    lucid.manual_seed(0)
    model = nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    x = np.random.default_rng(0).standard_normal((3, 2, 5, 5)).astype(np.float32)
    before = copy.deepcopy(model)
    assert repr(before[0]) == repr(model[0]) and "LazyConv2d(0, 4" in repr(before)
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        loss = model(x).square().sum()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert "Lazy" not in repr(model)
    assert [type(p) for p in model.parameters()] == [nn.Parameter] * 6
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.eval()(x).numpy(), model.eval()(x).numpy())


def test_what_has_no_size_is_not_traced() -> None:
    model = nn.Sequential(nn.LazyLinear(2))
    with pytest.raises(LucidError, match="call the model once on an example before it is compiled"):
        lucid.compile(model)(np.ones((2, 3), np.float32))
    model(np.ones((2, 3), np.float32))
    assert lucid.compile(model)(np.ones((2, 3), np.float32)).shape == (2, 2)


def test_a_dict_of_parameters() -> None:
    lucid.manual_seed(0)
    held = nn.ParameterDict({"left": nn.Parameter(np.ones(2)), "right": lucid.tensor([2.0])})
    held["more"] = nn.Parameter([3.0])
    assert list(held) == list(held.keys()) == ["left", "right", "more"] and len(held) == 3 and "left" in held
    assert [name for name, _ in held.named_parameters()] == list(held.state_dict()) == list(held)
    assert held.get("none") is None and held.setdefault("left", nn.Parameter([0.0])) is held["left"]
    assert held.pop("more").item() == 3.0 and [p.shape for p in held.values()] == [(2,), (1,)]
    assert repr(held) == "ParameterDict(left: float64[2], right: float32[1])"
    held.update([("right", nn.Parameter([5.0]))])
    assert dict(held.items())["right"].item() == 5.0
    with pytest.raises(LucidError, match="there is no parameter 'none'"):
        held["none"]
    with pytest.raises(LucidError, match="takes a dict, or pairs of a name and a parameter"):
        nn.ParameterDict([1])  # type: ignore[list-item]
    held.clear()
    assert len(held) == 0 and len(nn.ParameterDict()) == 0
