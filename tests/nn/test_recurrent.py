"""Recurrent layers against a loop over their equations, and what they refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.errors import DTypeError, LucidError, OptionError, ShapeError
from lucid.tensor.tensor import Tensor

Array = np.ndarray[Any, Any]


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def by_hand(module: Any, suffix: str, x: Array, states: list[Array]) -> list[Array]:
    """One time, by the equations of PyTorch's pages."""
    w, u = (module.get_parameter(f"weight_{which}{suffix}").numpy() for which in ("ih", "hh"))
    b, c = (module.get_parameter(f"bias_{which}{suffix}").numpy() for which in ("ih", "hh"))
    seen, own, h = x @ w.T + b, states[0] @ u.T + c, states[0]
    if isinstance(module, nn.RNN | nn.RNNCell):
        return [np.tanh(seen + own)]
    if isinstance(module, nn.GRU | nn.GRUCell):
        (sr, sz, sn), (hr, hz, hn) = np.split(seen, 3, -1), np.split(own, 3, -1)
        z = sigmoid(sz + hz)
        return [(1 - z) * np.tanh(sn + sigmoid(sr + hr) * hn) + z * h]
    i, f, g, o = np.split(seen + own, 4, -1)
    cell = sigmoid(f) * states[1] + sigmoid(i) * np.tanh(g)
    return [sigmoid(o) * np.tanh(cell), cell]


def make(kind: str, **options: Any) -> Any:
    lucid.manual_seed(0)
    return getattr(nn, kind)(3, 4, dtype="float64", **options)


def noise(*shape: int) -> Array:
    return np.random.default_rng(0).standard_normal(shape)


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_two_layers_that_go_both_ways(kind: str) -> None:
    layer, x, count = make(kind, num_layers=2, bidirectional=True), noise(5, 2, 3), 2 if kind == "LSTM" else 1
    y, last = layer(x)
    below, ends = x, []
    for number in range(2):
        made = []
        for suffix, order in ((f"_l{number}", range(5)), (f"_l{number}_reverse", range(4, -1, -1))):
            states, every = [np.zeros((2, 4))] * count, np.zeros((5, 2, 4))
            for t in order:
                states = by_hand(layer, suffix, below[t], states)
                every[t] = states[0]
            made.append(every)
            ends.append(states)
        below = np.concatenate(made, -1)
    np.testing.assert_allclose(y.detach(), below, atol=1e-12)
    found = last if kind == "LSTM" else [last]
    for got, wanted in zip(found, zip(*ends, strict=True), strict=True):
        np.testing.assert_allclose(got.detach(), np.stack(wanted), atol=1e-12)


@pytest.mark.parametrize("kind", ["RNNCell", "GRUCell", "LSTMCell"])
def test_a_cell(kind: str) -> None:
    cell, states = make(kind), [noise(2, 4), 0.5 * noise(2, 4)][: 2 if kind == "LSTMCell" else 1]
    found = cell(noise(2, 3), tuple(states) if len(states) > 1 else states[0])
    wanted = by_hand(cell, "", noise(2, 3), states)
    for got, want in zip(found if len(states) > 1 else [found], wanted, strict=True):
        np.testing.assert_allclose(got.detach(), want, atol=1e-12)


def test_a_layer_is_one_op_and_its_gradient_another() -> None:
    net = lucid.compile(nn.LSTM(3, 4, bidirectional=True))
    net(noise(5, 2, 3).astype(np.float32))[0].sum().backward()
    assert [node.op.name for _, node in net.traced.nodes()].count("LSTM") == 1


def test_any_number_of_times() -> None:
    layer = make("GRU", batch_first=True)
    net = lucid.compile(layer, lucid.spec("N", "T", 3, dtype="float64"))
    for batch, times in ((1, 1), (3, 7), (2, 0), (0, 2)):
        for got, wanted in zip(net(noise(batch, times, 3)), layer(noise(batch, times, 3)), strict=True):
            np.testing.assert_allclose(got.detach(), wanted.detach(), atol=1e-12)


def test_dropout_stands_between_layers() -> None:
    layer = make("RNN", num_layers=2, dropout=1.0)
    quiet = layer(noise(5, 2, 3))[0].detach().numpy()
    np.testing.assert_allclose(quiet[:, 0], quiet[:, 1], atol=1e-12)  # the second layer sees nothing of the input
    assert np.abs(layer.eval()(noise(5, 2, 3))[0].detach().numpy() - quiet).max() > 0.01
    with pytest.warns(UserWarning, match="stands between layers, and there is one"):
        make("RNN", dropout=0.5)


def test_parameters_lie_within_the_bound() -> None:
    layer = nn.LSTM(3, 100)
    assert all(0.08 < abs(p.detach().numpy()).max() <= 0.1 for p in layer.parameters())
    layer.flatten_parameters()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.LSTM(3, 4, proj_size=4), OptionError, "proj_size 4 must be less than hidden_size 4"),
        (lambda: nn.LSTM(3, 0), OptionError, "LSTM: hidden_size must be positive, got 0"),
        (lambda: nn.RNN(3, 4, nonlinearity="sin"), OptionError, "RNN: nonlinearity is one of 'tanh', 'relu'"),
        (lambda: nn.GRU(3, 4, bidirectional=1), OptionError, "GRU: bidirectional is True or False"),
        (lambda: nn.GRU(3, 4)(noise(5)), ShapeError, r"GRU: needs an input \(T, N, I\)"),
        (lambda: nn.GRU(3, 4, batch_first=True)(noise(1, 2, 3, 4)), ShapeError, r"GRU: needs an input \(N, T, I\)"),
        (lambda: make("GRU")(noise(5, 2, 4)), ShapeError, "GRU: has input_size=3, .* 4 features"),
        (lambda: make("GRU")(noise(5, 2, 3), noise(2, 4)), ShapeError, r"GRU: a state must have shape \(1, 2, 4\)"),
        (lambda: make("LSTM")(noise(5, 2, 3), noise(1, 2, 4)), OptionError, "LSTM: the state is h and c"),
        (lambda: make("LSTM")(noise(5, 2, 3), (Tensor([1.0]),)), OptionError, "LSTM: the state is h and c"),
        (lambda: make("GRU")(noise(5, 2, 3), noise(1, 2, 4).astype("f4")), DTypeError, "needs states of the input's"),
        (lambda: make("GRU")(noise(5, 2, 3).astype("f4")), DTypeError, "needs floating-point tensors of one type"),
        (lambda: make("LSTMCell")(noise(5, 2, 3)), ShapeError, r"LSTMCell: needs an input \(N, I\)"),
    ],
)
def test_what_is_refused(call: Any, error: type[LucidError], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("directions", [1, 2])
def test_a_projected_state_is_of_any_length_and_saved(directions: int, tmp_path: Path) -> None:
    """Compiled once for sequences of every length; what is saved gives the same."""
    layer = nn.LSTM(3, 5, proj_size=2, bidirectional=directions == 2)
    sizes = ("T", "N", 3), (directions, "N", 2), (directions, "N", 5)
    net = lucid.compile(lambda x, h, c: layer(x, (h, c)), *(lucid.spec(*size) for size in sizes))
    net.save(tmp_path / "net.lucid")
    again = lucid.load(tmp_path / "net.lucid")
    for times in (1, 2, 7):
        given = [lucid.randn(*size) for size in ((times, 4, 3), (directions, 4, 2), (directions, 4, 5))]
        wanted, (h, c) = layer(given[0], (given[1], given[2]))
        assert wanted.shape == (times, 4, 2 * directions) and h.shape == (directions, 4, 2)
        for results in (net(*given), again(*given)):
            for got, want in zip((results[0], *results[1]), (wanted, h, c), strict=True):
                np.testing.assert_allclose(got.numpy(), want.numpy(), atol=1e-6)
