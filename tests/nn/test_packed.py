"""What of packed sequences is refused, and what of them a trace does not know."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.errors import ExecutionError, LucidError, ShapeError, TraceError
from lucid.nn.utils import rnn

X = np.linspace(-1, 1, 24, dtype=np.float32).reshape(4, 3, 2)


def packed(lengths: Any, **options: Any) -> Any:
    return rnn.pack_padded_sequence(lucid.tensor(X), lengths, **options)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: packed([1, 2, 3]), "enforce_sorted=False"),
        (lambda: packed([5, 2, 1]), "do not fit"),
        (lambda: packed([3, 2, 0]), "do not fit.*each from 1 to 4"),
        (lambda: packed([3, 2]), "do not fit"),
        (lambda: packed([3.0, 2.0, 1.0]), "integers"),
        (lambda: packed([[3, 2, 1]]), "integers"),
        (lambda: rnn.pad_packed_sequence(packed([3, 2, 1]), total_length=2), "up to 3"),
        (lambda: rnn.pad_packed_sequence(X), "PackedSequence"),  # type: ignore[arg-type]
        (lambda: rnn.pad_sequence([]), "no sequences"),
        (lambda: rnn.pad_sequence([lucid.zeros(2, 3), lucid.zeros(2, 4)]), "first axis only"),
        (lambda: rnn.pad_sequence([lucid.zeros(2)], padding_side="middle"), "left"),
        (lambda: rnn.PackedSequence(lucid.zeros(4, 2), [1, 3]), "do not fit"),
        (lambda: rnn.PackedSequence(lucid.zeros(5, 2), [3, 1]), "do not fit"),
        (lambda: nn.LSTM(2, 3)(rnn.pack_sequence([lucid.zeros(3)])), r"\(T, N, I\)"),
        (lambda: nn.LSTM(3, 3)(packed([3, 2, 1])), "input_size=3"),
    ],
)
def test_what_is_refused(make: Any, words: str) -> None:
    with pytest.raises(LucidError, match=words):
        make()


def test_what_a_trace_does_not_know_of_lengths() -> None:
    n = np.array([3, 2, 1])
    for function, words in (
        (lambda x, n: rnn.pad_packed_sequence(rnn.pack_padded_sequence(x, n))[0], "total_length"),
        (lambda x, n: rnn.pack_padded_sequence(x, n).data, "total_length"),
        (lambda x, n: rnn.pack_padded_sequence(x, n).batch_sizes, "batch_sizes of packed"),
    ):
        with pytest.raises(TraceError, match=words):
            lucid.compile(function)(X, n)


def test_one_trace_for_all_sizes_and_lengths() -> None:
    lucid.manual_seed(0)
    layer = nn.LSTM(2, 3, bidirectional=True)

    def run(x: Any, n: Any) -> Any:
        y, (h, _) = layer(rnn.pack_padded_sequence(x, n, enforce_sorted=False))
        return rnn.pad_packed_sequence(y, total_length=x.shape[0])[0], h

    net = lucid.compile(run, lucid.spec("T", "N", 2), lucid.spec("N", dtype="int64"))
    for lengths in ([1, 4, 2], [4, 4, 4], [2, 1]):
        x = lucid.tensor(X[:, : len(lengths)])
        y, h = net(x, np.array(lengths))
        for row, length in enumerate(lengths):  # each as if it were alone
            alone, (last, _) = layer(x[:length, row : row + 1])
            np.testing.assert_allclose(y[:length, row].detach(), alone[:, 0].detach(), atol=3e-7)  # 2e-8 was seen
            np.testing.assert_allclose(h[:, row].detach(), last[:, 0].detach(), atol=3e-7)  # 2e-8 was seen
            assert (y[length:, row] == 0).all()


@pytest.mark.parametrize("lengths", [[4, 0, 1], [5, 1, 1], [4, -1, 2]])
def test_lengths_that_no_sequence_has_are_refused_when_the_program_runs(lengths: list[int]) -> None:
    layer = nn.GRU(X.shape[2], 5)

    def f(x: Any, lengths: Any) -> Any:
        return layer(rnn.pack_padded_sequence(x, lengths, enforce_sorted=False))[1]

    net = lucid.compile(f)
    x = lucid.tensor(X[:4, :3])
    assert net(x, np.array([4, 1, 2])).shape == (1, 3, 5)
    with pytest.raises(ExecutionError, match="a length is less than 1, or more than the sequences have"):
        net(x, np.array(lengths))
    with pytest.raises(ShapeError, match="3 are needed, each from 1 to 4"):
        f(x, np.array(lengths))


def test_lengths_out_of_order_are_refused_when_the_program_runs() -> None:
    layer = nn.GRU(X.shape[2], 5)
    net = lucid.compile(lambda x, lengths: layer(rnn.pack_padded_sequence(x, lengths))[1])
    x = lucid.tensor(X[:4, :3])
    assert net(x, np.array([4, 2, 2])).shape == (1, 3, 5)
    with pytest.raises(ExecutionError, match="not sorted"):
        net(x, np.array([2, 4, 2]))
    with pytest.raises(ShapeError, match="3 are needed"):
        lucid.compile(lambda x, lengths: layer(rnn.pack_padded_sequence(x, lengths))[1])(x, np.array([4, 4]))
