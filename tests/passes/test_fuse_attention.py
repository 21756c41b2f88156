"""Attention that is spelled out becomes one node, in the spellings of exporters; what is not attention stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lucid
from lucid.graph.ops.elementwise import NOT_EQUAL, compare, isnan, where
from lucid.graph.ops.norm import softmax
from lucid.graph.types import TensorType, bool_, spec
from lucid.passes.eliminate_dead import eliminate_dead
from lucid.passes.fuse.attention import fuse_attention

from .helpers import assert_same, ops, trace

Q, K, V = (2, 3, 4, 8), (2, 3, 5, 8), (2, 3, 5, 6)
ADDED, SEEN = spec(2, 1, 4, 5), TensorType((4, 5), bool_)


def turned_flat(k: Any) -> Any:
    return k.reshape(6, 5, 8).transpose(1, 2).reshape(2, 3, 8, 5)


def no_nan(shares: Any) -> Any:
    return where(isnan(shares), 0.0, shares)


SPELLINGS: dict[str, tuple[list[Any], Callable[..., Any]]] = {
    "plain": ([], lambda q, k, v: softmax(q @ k.transpose(-1, -2), -1) @ v),
    "a factor": ([], lambda q, k, v: softmax(q @ k.transpose(-1, -2) * 0.3, -1) @ v),
    "a divisor": ([], lambda q, k, v: softmax(q @ k.transpose(-1, -2) / 8, -1) @ v),
    "added": ([ADDED], lambda q, k, v, m: softmax(q @ k.transpose(-1, -2) / 8 + m, -1) @ v),
    "added before": ([ADDED], lambda q, k, v, m: softmax(m + q @ k.transpose(-1, -2), -1) @ v),
    "chosen": ([SEEN], lambda q, k, v, m: softmax(where(m, q @ k.transpose(-1, -2), -np.inf), -1) @ v),
    "both sides": ([ADDED], lambda q, k, v, m: no_nan(softmax((q * 0.5) @ (turned_flat(k) * 0.7) + m, -1)) @ v),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_it_becomes_one_node(name: str) -> None:
    more, function = SPELLINGS[name]
    before = trace(function, Q, K, V, *more)
    after = fuse_attention(before)
    assert [op for op in ops(after) if op != "Transpose"][-1:] == ["Attention"]
    assert not {"MatMul", "Softmax"} & set(ops(eliminate_dead(after)))
    inputs = [np.random.default_rng(i).standard_normal(shape).astype(np.float32) for i, shape in enumerate((Q, K, V))]
    if more:
        seen = np.random.default_rng(9).random(more[0].shape) > 0.3
        seen[..., 0] = True
        inputs.append(seen if more[0].dtype == bool_ else np.where(seen, 0.5, -np.inf).astype(np.float32))
    assert_same(before, after, inputs, rtol=1e-6, atol=1e-6)


def other(q: Any, k: Any, v: Any) -> Any:
    """Shares that are compared with other numbers than themselves."""
    shares = softmax(q @ k.transpose(-1, -2), -1)
    return where(compare(NOT_EQUAL, shares, shares * 2), 0.0, shares) @ v


def both(q: Any, k: Any, v: Any) -> Any:
    shares = softmax(q @ k.transpose(-1, -2), -1)
    return shares, shares @ v


@pytest.mark.parametrize(
    ("shapes", "function"),
    [
        ((Q, K, V), both),
        ((Q, K, V), other),
        ((Q, K, V), lambda q, k, v: softmax(q @ k.transpose(-1, -2), -2) @ v),
        ((Q, K, V), lambda q, k, v: softmax((q @ k.transpose(-1, -2)).tanh(), -1) @ v),
        ((Q, K, V, ADDED), lambda q, k, v, m: softmax((q @ k.transpose(-1, -2) + m) * 2, -1) @ v),
        ((Q, K, V, SEEN), lambda q, k, v, m: softmax(where(m, q @ k.transpose(-1, -2), -9.0), -1) @ v),
        ((Q, K[1:], V), lambda q, k, v: softmax(q @ k.transpose(-1, -2), -1) @ v),
        (((4, 8), (5, 8), (2, 5, 6)), lambda q, k, v: softmax(q @ k.transpose(-1, -2), -1) @ v),
    ],
)
def test_what_is_not_attention_alone_stays(shapes: Any, function: Any) -> None:
    graph = trace(function, *shapes)
    assert fuse_attention(graph) is graph


@pytest.mark.usefixtures("usual_machine")
def test_a_program_takes_less_memory() -> None:
    """Of 1024 queries and keys the scores of two heads would take 8 MB, and each thread holds a block of them; exact
    programs are as they were."""
    types = [lucid.spec(2, 1024, 16)] * 3

    def spelled(q: Any, k: Any, v: Any) -> Any:
        return (q @ k.transpose(-1, -2) * 0.25).softmax(-1) @ v

    fused, whole = (lucid.compile(spelled, *types, exact=exact, threads=2) for exact in (False, True))
    arrays = [np.random.default_rng(i).standard_normal((2, 1024, 16)).astype(np.float32) for i in range(3)]
    np.testing.assert_allclose(fused(*arrays).numpy(), whole(*arrays).numpy(), atol=1e-6)
    assert fused.plan.arena_bytes < 4 << 20 < 8 << 20 < whole.plan.arena_bytes
