"""TreeEnsemble, version 5 of ``ai.onnx.ml``, beside a walk down each tree."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from onnx import helper, numpy_helper

import lucid
from lucid.errors import LucidError

from .models import Array, Case, model

COMPARE = [
    lambda v, b: v <= b, lambda v, b: v < b, lambda v, b: v >= b, lambda v, b: v > b, lambda v, b: v == b,
    lambda v, b: v != b, lambda v, b: v in b,
]  # fmt: skip


def grown(rng: np.random.Generator, trees: int, features: int, dtype: str, targets: int) -> dict[str, Any]:
    """Random trees: nodes in no order, leaves that several nodes share, sets of any size."""
    true, false, true_leaf, false_leaf, roots, leaves = [], [], [], [], [], 0

    def grow(depth: int) -> int:
        nonlocal leaves
        number = len(true)
        for one in (true, false, true_leaf, false_leaf):
            one.append(0)
        for to, leaf in ((true, true_leaf), (false, false_leaf)):
            leaf[number] = int(depth == 0 or rng.random() < 0.3)
            if leaf[number] and leaves and rng.random() < 0.2:
                to[number] = int(rng.integers(leaves))
            elif leaf[number]:
                to[number], leaves = leaves, leaves + 1
            else:
                to[number] = grow(depth - 1)
        return number

    roots = [grow(int(rng.integers(0, 5))) for _ in range(trees)]
    count = len(true)
    modes = rng.integers(0, 7, count).astype(np.uint8)
    sets = [rng.choice(np.arange(-6, 7) / 2, int(rng.integers(0, 6)), replace=False) for _ in range((modes == 6).sum())]
    return {
        "tree_roots": roots, "nodes_truenodeids": true, "nodes_falsenodeids": false, "nodes_trueleafs": true_leaf,
        "nodes_falseleafs": false_leaf, "nodes_modes": modes,
        "nodes_featureids": rng.integers(0, features, count).tolist(),
        "nodes_splits": (rng.integers(-6, 7, count) / 2).astype(dtype),
        "nodes_missing_value_tracks_true": rng.integers(0, 2, count).tolist(),
        "membership_values": np.concatenate([[*one, np.nan] for one in sets] or [[]]).astype(dtype),
        "leaf_weights": rng.standard_normal(leaves).astype(dtype), "n_targets": targets,
        "leaf_targetids": rng.integers(0, targets, leaves).tolist(),
    }  # fmt: skip


def walked(given: dict[str, Any], x: Array) -> list[list[list[float]]]:
    """For each row and target what trees give, a row and a tree after another."""
    splits = np.split(given["membership_values"], np.flatnonzero(np.isnan(given["membership_values"])) + 1)
    sets = dict(zip(np.flatnonzero(given["nodes_modes"] == 6), splits, strict=False))
    rows: list[list[list[float]]] = []
    for row in x:
        found: list[list[float]] = [[] for _ in range(given["n_targets"])]
        for node in given["tree_roots"]:
            while True:
                value = row[given["nodes_featureids"][node]]
                bound = sets[node] if node in sets else given["nodes_splits"][node]
                met = COMPARE[given["nodes_modes"][node]](value, bound)
                side = (
                    "true" if met or (np.isnan(value) and given["nodes_missing_value_tracks_true"][node]) else "false"
                )
                leaf, node = given[f"nodes_{side}leafs"][node], given[f"nodes_{side}nodeids"][node]
                if leaf:
                    found[given["leaf_targetids"][node]].append(float(given["leaf_weights"][node]))
                    break
        rows.append(found)
    return rows


def case(given: dict[str, Any], x: Array, **attributes: Any) -> Case:
    made = {
        name: numpy_helper.from_array(value, name) if isinstance(value, np.ndarray) else value
        for name, value in {**given, **attributes}.items()
        if not isinstance(value, np.ndarray) or value.size
    }
    node = helper.make_node("TreeEnsemble", ["x"], ["y"], domain="ai.onnx.ml", **made)
    return Case(model([node], {"x": x}, ["y"], domains={"ai.onnx.ml": 5}), {"x": x})


def rows(rng: np.random.Generator, features: int, dtype: str) -> Array:
    x = (rng.integers(-8, 9, (40, features)) / 2).astype(dtype)
    x[rng.random(x.shape) < 0.1] = np.nan
    x[0], x[1], x[2] = np.inf, -1e30, np.nextafter(x[3], np.array(9, dtype))
    return x


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("way", [0, 1, 2, 3])
def test_trees_are_walked_down(way: int, dtype: str) -> None:
    for seed in range(3):
        rng = np.random.default_rng(seed)
        given, x = grown(rng, 5, 3, dtype, 2), rows(rng, 3, dtype)
        ways = [lambda v: sum(v) / 5, sum, min, max]
        wanted = [[ways[way](one) if one else 0.0 for one in row] for row in walked(given, x)]
        net = lucid.onnx.load(case(given, x, aggregate_function=way).proto)
        for found in (net(x), lucid.compile(net)(x), net(x[:0])):
            assert str(found.dtype) == dtype
            np.testing.assert_allclose(
                found.numpy(), np.array(wanted).reshape(-1, 2)[: len(found)], rtol=1e-5, atol=1e-6
            )


def test_scores_become_what_is_asked_for() -> None:
    rng = np.random.default_rng(4)
    given, x = grown(rng, 3, 2, "float32", 3), rows(rng, 2, "float32")
    given["leaf_weights"] = rng.uniform(0.01, 0.33, len(given["leaf_weights"])).astype(np.float32)
    sums = np.array([[sum(one) for one in row] for row in walked(given, x)])
    e = np.exp(sums - sums.max(1, keepdims=True))
    there = np.where(sums != 0, e, sums * np.exp(-sums.max(1, keepdims=True)))
    normal = NormalDist()
    wanted = [
        sums, e / e.sum(1, keepdims=True), 1 / (1 + np.exp(-sums)), there / there.sum(1, keepdims=True),
        np.vectorize(lambda p: normal.inv_cdf(p) if p > 0 else -math.inf)(sums),
    ]  # fmt: skip
    for after, want in enumerate(wanted):
        found = lucid.onnx.load(case(given, x, post_transform=after).proto)(x)
        np.testing.assert_allclose(found.numpy(), want, rtol=1e-5, atol=1e-6)


LEAF: dict[str, Any] = {
    "tree_roots": [0], "nodes_truenodeids": [0], "nodes_falsenodeids": [0], "nodes_trueleafs": [1],
    "nodes_falseleafs": [1], "nodes_modes": np.uint8([0]), "nodes_featureids": [0], "nodes_splits": np.float32([0]),
    "leaf_weights": np.float32([3]), "leaf_targetids": [0],
}  # fmt: skip


def test_a_tree_may_be_a_leaf_and_say_nothing_of_what_is_missing() -> None:
    x = np.float32([[1], [-1], [np.nan]])
    np.testing.assert_array_equal(lucid.onnx.load(case(LEAF, x).proto)(x).numpy(), np.float32([[3], [3], [3]]))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tree_roots": [1]}, "no tree, or one whose root is not there"),
        ({"tree_roots": [0, 0]}, "two trees have one root"),
        ({"nodes_truenodeids": [1]}, "names a node or a leaf that there is not"),
        ({"leaf_targetids": [1]}, "for no target"),
        ({"nodes_trueleafs": [0]}, "reached in two ways"),
        ({"nodes_modes": np.uint8([7])}, "compares by 7"),
        ({"nodes_modes": np.uint8([6])}, "'membership_values' is missing"),
        ({"nodes_featureids": [0, 1]}, "2 numbers for 1"),
        ({"nodes_modes": np.uint8([6]), "membership_values": np.float32([1])}, "0 sets of numbers for 1 nodes"),
        ({"membership_values": np.float32([1, np.nan])}, "1 sets of numbers for 0 nodes"),
        ({"post_transform": 5}, "transform 5"),
        ({"aggregate_function": -1}, "no way -1"),
        ({"nodes_splits": None}, "'nodes_splits' is missing"),
        ({"leaf_weights": np.float32([1, 2])}, "for no target"),
        ({"nodes_featureids": [5]}, "a feature that there is not"),
    ],
)  # fmt: skip
def test_nonsense_is_refused(changes: dict[str, Any], words: str) -> None:
    given = {name: value for name, value in {**LEAF, **changes}.items() if value is not None}
    x = np.float32([[1]])
    with pytest.raises(LucidError, match=words):
        lucid.onnx.load(case(given, x).proto)(x)
