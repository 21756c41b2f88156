"""Sequences of several lengths beside PyTorch's: packed, padded, and through recurrent layers, eagerly and compiled."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn as tn
from torch.nn.utils import rnn as theirs_of

import lucid
from lucid import nn
from lucid.nn.utils import rnn as ours_of

from .test_recurrent_torch import twins

LENGTHS = [[5, 3, 3, 1], [2, 5, 1, 4], [3, 3, 2, 1]]
LAYERS = [
    *((kind, {"num_layers": 2, "bidirectional": both}) for kind in ("RNN", "GRU", "LSTM") for both in (False, True)),
    ("LSTM", {"proj_size": 3, "bidirectional": True}),
    ("LSTM", {"proj_size": 3, "num_layers": 2}),
]


def same(ours: Any, theirs: Any, what: str = "") -> None:
    if isinstance(theirs, tuple | list):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            same(one, other, what)
    elif theirs is None:
        assert ours is None
    else:
        assert tuple(ours.shape) == tuple(theirs.shape), what
        np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), atol=1e-10, err_msg=what)


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("first", [False, True])
def test_packing(lengths: list[int], first: bool) -> None:
    rows = [np.random.default_rng(i).standard_normal((n, 2)) for i, n in enumerate(lengths)]
    in_order = sorted(lengths, reverse=True) == lengths
    a, b = [lucid.tensor(row) for row in rows], [torch.from_numpy(row) for row in rows]
    x, y = ours_of.pad_sequence(a, first, 7.0), theirs_of.pad_sequence(b, first, 7.0)
    same(x, y)
    same(ours_of.pad_sequence(a, first, 7.0, "left"), theirs_of.pad_sequence(b, first, 7.0, "left"))
    same(ours_of.unpad_sequence(x, lengths, first), theirs_of.unpad_sequence(y.clone(), torch.tensor(lengths), first))
    p = ours_of.pack_padded_sequence(x, lengths, first, in_order)
    q = theirs_of.pack_padded_sequence(y, torch.tensor(lengths), first, in_order)
    for _ in range(2):
        same(tuple(p), tuple(q))
        same(ours_of.pad_packed_sequence(p, first, -1.0), theirs_of.pad_packed_sequence(q, first, -1.0))
        same(ours_of.pad_packed_sequence(p, first, -1.0, 8), theirs_of.pad_packed_sequence(q, first, -1.0, 8))
        p = nn.utils.rnn.PackedSequence(p.data * 2, p.batch_sizes, p.sorted_indices, p.unsorted_indices)  # type: ignore[arg-type]
        q = theirs_of.PackedSequence(q.data * 2, q.batch_sizes, q.sorted_indices, q.unsorted_indices)
    same(tuple(ours_of.pack_sequence(a, False)), tuple(theirs_of.pack_sequence(b, False)))
    same(ours_of.unpack_sequence(ours_of.pack_sequence(a, False)), b)


@pytest.mark.parametrize(("kind", "options"), LAYERS)
@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("way", ["eager", "compiled", "compiled for lengths"])
def test_layers(kind: str, options: dict[str, Any], lengths: list[int], begun: bool, way: str) -> None:
    torch.manual_seed(0)
    ours, theirs = twins(kind, options, "float64")
    rng, ways = np.random.default_rng(0), 1 + options.get("bidirectional", False)
    count = ways * options.get("num_layers", 1)
    x = rng.standard_normal((5, 4, 4))
    x[np.arange(5)[:, None] >= np.array(lengths)] = 1e3  # what is padded must not be seen
    widths = [options.get("proj_size", 5), 5][: 2 if kind == "LSTM" else 1]
    states = [rng.standard_normal((count, 4, width)) for width in widths] if begun else []

    def run(u: Any, layer: Any, x: Any, lengths: Any, states: Any) -> Any:
        state = None if not states else states[0] if len(states) == 1 else tuple(states)
        packed, last = layer(u.pack_padded_sequence(x, lengths, enforce_sorted=False), state)
        y, sizes = u.pad_packed_sequence(packed, total_length=5)
        return y, last, sizes

    a = [lucid.tensor(one, requires_grad=True) for one in (x, *states)]
    b = [torch.tensor(one, requires_grad=True) for one in (x, *states)]
    found: Any = run
    given: Any = lengths
    if way == "compiled":
        net = lucid.compile(lambda *args: run(ours_of, ours, args[0], lengths, args[1:]))
        found = lambda u, layer, x, n, states: net(x, *states)  # noqa: E731
    elif way == "compiled for lengths":
        any_net = lucid.compile(lambda n, *args: run(ours_of, ours, args[0], n, args[1:]))
        any_net(np.array([1, 1, 1, 1]), *a)
        found = lambda u, layer, x, n, states: any_net(np.array(n), x, *states)  # noqa: E731
    y, z = found(ours_of, ours, a[0], given, a[1:]), run(theirs_of, theirs, b[0], torch.tensor(lengths), b[1:])
    same(y, z)
    for result in (y, z):
        total = (result[0] ** 2).sum()
        for one in result[1] if kind == "LSTM" else [result[1]]:
            total = total + (one * one * one).sum()
        total.backward()
    same([one.grad for one in a], [one.grad for one in b])
    named = dict(theirs.named_parameters())
    for name, p in ours.named_parameters():
        same(p.grad, named[name].grad, name)


def test_a_compiled_step_over_lengths() -> None:
    torch.manual_seed(0)
    ours, theirs = twins("GRU", {"bidirectional": True}, "float64")

    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = ours

        def forward(self, x: Any, lengths: Any) -> Any:
            return self.layer(ours_of.pack_padded_sequence(x, lengths, enforce_sorted=False))[1]

    step = lucid.compile_step(Last(), lambda h, _: (h * h).mean(), lucid.optim.SGD(ours.parameters(), lr=0.5))
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.5)
    x = np.random.default_rng(0).standard_normal((5, 4, 4))
    for lengths in LENGTHS:
        packed = theirs_of.pack_padded_sequence(torch.tensor(x), torch.tensor(lengths), enforce_sorted=False)
        loss = (theirs(packed)[1] ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert float(step(x, np.array(lengths), x)) == pytest.approx(float(loss.detach()), rel=1e-9)
    assert isinstance(theirs, tn.GRU)
