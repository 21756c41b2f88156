"""Keys, draws and dropout: reproducible, fresh at every run, and one mask forward and backward."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from lucid.autodiff.reverse import differentiate, partition
from lucid.errors import OptionError
from lucid.graph.builder import Builder
from lucid.graph.ir import Graph
from lucid.graph.opdef import TypeAttrs
from lucid.graph.ops import random as rnd
from lucid.graph.ops.source import INPUT
from lucid.graph.rng import Keys, next_key
from lucid.graph.trace import Tracer
from lucid.graph.types import CHANNELS_LAST, float32
from lucid.runtime.program.plan import make_plan
from lucid.runtime.program.printer import generate
from lucid.tensor.creation import manual_seed
from lucid.tensor.tensor import Tensor

from ..op_checks import channels_last, run_compiled, threads_only


def dropout_graph(*shape: int, p: float = 0.5) -> Graph:
    tracer = Tracer(Builder())
    (x,) = tracer.emit(INPUT, TypeAttrs(shape, float32), name="x")
    return tracer.builder.finish([rnd.dropout(x, p).value])


def test_a_seed_decides_all_keys() -> None:
    manual_seed(7)
    first = [int(next_key()) for _ in range(5)]
    manual_seed(7)
    assert [int(next_key()) for _ in range(5)] == first
    manual_seed(8)
    assert not set(first) & {int(next_key()) for _ in range(5)}
    with pytest.raises(OptionError, match="a seed is an int"):
        manual_seed(1.5)  # type: ignore[arg-type]


def test_threads_never_share_a_key() -> None:
    keys, drawn = Keys(0), [[] for _ in range(8)]  # type: ignore[var-annotated]

    def draw(into: list[int]) -> None:
        into.extend(keys.next() for _ in range(500))

    threads = [threading.Thread(target=draw, args=(into,)) for into in drawn]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    alone = Keys(0)
    assert {key for into in drawn for key in into} == {alone.next() for _ in range(4000)}


def test_draws_follow_the_seed_and_differ_from_each_other() -> None:
    x = Tensor(np.zeros((40, 50), np.float32))
    manual_seed(1)
    first, second = rnd.rand_like(x).numpy(), rnd.rand_like(x).numpy()
    assert not np.array_equal(first, second)
    manual_seed(1)
    np.testing.assert_array_equal(rnd.rand_like(x).numpy(), first)
    assert first.min() >= 0 and first.max() < 1 and abs(first.mean() - 0.5) < 0.03
    normal = rnd.randn_like(x, (3000,), "float64").numpy()
    assert normal.dtype == np.float64 and abs(normal.mean()) < 0.06 and abs(normal.std() - 1) < 0.05
    ones = rnd.bernoulli(Tensor(np.full(4000, 0.25, np.float32))).numpy()
    assert set(np.unique(ones)) == {0, 1} and abs(ones.mean() - 0.25) < 0.03


def test_dropout_keeps_the_mean_and_its_gradient_has_the_same_mask() -> None:
    manual_seed(3)
    x = Tensor(np.ones((100, 100)), requires_grad=True)
    y = rnd.dropout(x, 0.3)
    kept = y.numpy() != 0
    assert abs(kept.mean() - 0.7) < 0.02
    np.testing.assert_allclose(y.numpy()[kept], 1 / 0.7)
    (y * 2).sum().backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), 2 * y.numpy())


def test_dropout_drops_what_is_not_finite() -> None:
    manual_seed(0)
    y = rnd.dropout(Tensor(np.full(100, np.inf)), 0.5).numpy()
    assert set(np.unique(y)) == {0, np.inf}


def test_dropout2d_drops_whole_channels() -> None:
    manual_seed(0)
    y = rnd.dropout2d(Tensor(np.ones((6, 8, 3, 3))), 0.5).numpy()
    assert set(np.unique(y)) == {0, 2}
    assert (y == y[:, :, :1, :1]).all()


def test_outside_training_dropout_is_the_identity() -> None:
    x = Tensor(np.ones(3))
    assert rnd.dropout(x, 0.5, training=False) is x
    assert rnd.dropout(x, 0.0) is x
    np.testing.assert_array_equal(rnd.dropout(x, 1.0).numpy(), 0)
    for p in (-0.1, 1.1, "a", True, float("nan")):
        with pytest.raises(OptionError, match="p must be"):
            rnd.dropout(x, p)  # type: ignore[arg-type]


def test_a_compiled_program_draws_anew_at_every_run_and_as_eager_code_does() -> None:
    x = np.ones((4, 3, 5, 5), np.float32)
    graph = dropout_graph(*x.shape)
    manual_seed(5)
    (a,), (b,), (c,) = run_compiled(graph, [x])
    assert not np.array_equal(a, b) and not np.array_equal(b, c)
    manual_seed(5)
    for expected in (a, b, c):
        np.testing.assert_array_equal(rnd.dropout(Tensor(x), 0.5).numpy(), expected)
    manual_seed(5)
    assert CHANNELS_LAST in {t.order for _, node in channels_last(graph).nodes() for t in node.outputs}
    for (result,), expected in zip(run_compiled(channels_last(graph), [x]), (a, b, c), strict=True):
        np.testing.assert_array_equal(result, expected)


def test_the_backward_program_is_given_the_key_of_the_forward_program() -> None:
    cut = partition(differentiate(dropout_graph(30, 40), ["x"]))
    assert not any(node.op is rnd.RANDOM_KEY for _, node in cut.backward.nodes())
    x = np.ones((30, 40), np.float32)
    forward, backward = (
        threads_only().bind(generate(make_plan(g)).load("program")([])[1], np.zeros(1 << 20, np.uint8))
        for g in (cut.forward, cut.backward)
    )
    y, key = forward(x)
    assert key.dtype == np.uint64
    (dx,) = backward(x, key)
    np.testing.assert_array_equal(dx, y)
