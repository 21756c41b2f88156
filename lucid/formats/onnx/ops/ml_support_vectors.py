"""Operators of ``ai.onnx.ml`` with support vectors."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from ....errors import GraphError
from ....graph.opdef import AbstractTensor
from ....graph.ops import bounds, reduce, shape
from ....graph.ops import elementwise as ew
from ....graph.ops.composite import any_, ge, gt
from ....graph.ops.linalg import matmul
from ....graph.ops.loops import loop
from ....graph.ops.promotion import cast
from ....graph.ops.source import constant, full
from ....graph.ops.subscript import getitem
from ....graph.types import float32
from ..limits import checked
from ..model import ML, Array
from ..registry import Call, Value, converter
from .ml import FLOAT64, INT64, labelled, labels_of, rows_of, transformed


def _numbers(call: Call, name: str) -> Array:
    return np.asarray(call.attribute(name) or (), np.float32)


def _kernels(call: Call, x: AbstractTensor, count: int) -> AbstractTensor:
    """The kernel function of each row and each support vector: (row, vector)."""
    vectors = _numbers(call, "support_vectors")
    features = x.type.shape[1]
    if not isinstance(features, int) or count < 1 or vectors.size != count * features:
        raise GraphError(f"there are {vectors.size} numbers for {count} support vectors like rows of {x.type}")
    vectors = vectors.reshape(count, features)
    kind, params = call.attribute("kernel_type", "LINEAR"), call.attribute("kernel_params") or (0.0, 0.0, 0.0)
    if len(params) != 3:
        raise GraphError(f"kernel_params are three numbers: gamma, coef0 and the degree, not {len(params)}")
    gamma, shift, degree = params
    if kind == "RBF":
        return cast(ew.exp(_distances(x, vectors) * -gamma), float32)
    like = matmul(x, x.constant(np.ascontiguousarray(vectors.T)))
    if kind == "LINEAR":
        return like
    if kind == "POLY":
        return ew.pow_(like * gamma + shift, float(int(degree)))
    if kind == "SIGMOID":
        return ew.tanh(like * gamma + shift)
    raise GraphError(f"unknown kernel_type {kind!r}")


def _distances(x: AbstractTensor, vectors: Array) -> AbstractTensor:
    """Squared distances, in float64, as most digits may cancel."""
    wide, others = cast(x, FLOAT64), vectors.astype(np.float64)
    product = matmul(wide, x.constant(np.ascontiguousarray(others.T)))
    squares = reduce.sum(wide * wide, 1, keepdim=True) + x.constant((others * others).sum(1))
    return ew.maximum(squares - 2.0 * product, 0.0)


@converter("SVMRegressor", domain=ML)
def svm_regressor(call: Call, x: Value) -> AbstractTensor:
    rows, weights, shift = rows_of(call, x), _numbers(call, "coefficients"), _numbers(call, "rho")
    count = int(call.attribute("n_supports", 0))
    seen = _kernels(call, rows, count) if count else rows
    if weights.size != seen.type.shape[1] or shift.size != 1:
        raise GraphError(f"there are {weights.size} coefficients and {shift.size} rho for one result from {seen.type}")
    score = matmul(seen, rows.constant(weights[:, None])) + float(shift[0])
    if call.attribute("one_class", 0):
        return ew.where(gt(score, 0.0), 1.0, -1.0)
    return transformed(call, score)


@converter("SVMClassifier", domain=ML)
def svm_classifier(call: Call, x: Value) -> list[Value]:
    """A vote of all pairs of classes, each decided by a sum over the support vectors of both."""
    labels, rows, parts = labels_of(call, "classlabels_ints"), rows_of(call, x), call.attribute("vectors_per_class")
    if not parts or len(parts) != len(labels) or min(parts) < 0:
        raise GraphError("vectors_per_class is a number of support vectors for each class; linear ones have none here")
    pairs = list(combinations(range(len(labels)), 2))
    weights, shift = _pairs(call, list(parts), pairs), _numbers(call, "rho")
    if shift.size != len(pairs):
        raise GraphError(f"there are {shift.size} rho for {len(pairs)} pairs of classes")
    scores = matmul(_kernels(call, rows, sum(parts)), rows.constant(weights)) + rows.constant(shift)
    first = cast(gt(scores, 0.0), float32)
    ways = np.zeros((2, len(pairs), len(labels)), np.float32)
    for number, pair in enumerate(pairs):
        ways[(0, 1), number, pair] = 1
    votes = matmul(first, rows.constant(ways[0])) + matmul(1.0 - first, rows.constant(ways[1]))
    chosen = cast(reduce.argmax(votes, 1), INT64)
    if call.attribute("prob_a"):
        return [labelled(call, chosen, labels), transformed(call, _probabilities(call, scores, pairs, len(labels)))]
    if len(pairs) == 1:
        if min(_numbers(call, "coefficients")) >= 0:  # as other runtimes have it
            chosen = chosen * 0 + 1
        column = getitem(scores, (slice(None), slice(0, 1)))
        scores = shape.concat([-column, column], 1)
    return [labelled(call, chosen, labels), transformed(call, scores)]


LEAST, ITERATIONS = 1e-7, 100
"""How likely a class is at least beside another, and how often shares are made better: as libsvm has both."""


def _probabilities(
    call: Call, scores: AbstractTensor, pairs: list[tuple[int, int]], count: int
) -> AbstractTensor:  # fmt: skip
    """Class probabilities from pairwise ones (Wu, Lin and Weng, 2004, as in libsvm).

    They are refined, row by row, until they are consistent with all pairs.
    """
    slope, shift = (_numbers(call, name) for name in ("prob_a", "prob_b"))
    if slope.size != len(pairs) or shift.size != len(pairs):
        raise GraphError(f"prob_a and prob_b have {slope.size} and {shift.size} numbers for {len(pairs)} pairs")
    sure = bounds.clip(ew.sigmoid(-(scores * scores.constant(slope) + scores.constant(shift))), LEAST, 1.0 - LEAST)
    beside = dict[tuple[int, int], AbstractTensor]()
    for number, (i, j) in enumerate(pairs):
        beside[i, j] = sure[:, number : number + 1]
        beside[j, i] = 1.0 - beside[i, j]
    rows = []
    for i in range(count):
        others = [beside[j, i] for j in range(count) if j != i]
        own = reduce.sum(shape.concat([one * one for one in others], 1), 1, keepdim=True)
        rows.append(shape.concat([own if j == i else -beside[j, i] * beside[i, j] for j in range(count)], 1))
    whole = shape.stack(rows, 1)

    def iterate(number: AbstractTensor, shares: AbstractTensor) -> list[AbstractTensor]:
        slopes = reduce.sum(whole * shape.unsqueeze(shares, 1), 2)
        mean = reduce.sum(shares * slopes, 1, keepdim=True)
        far = ge(reduce.amax(ew.abs_(slopes - mean), 1, keepdim=True), 0.005 / count)
        better = shares
        for i, row in enumerate(rows):
            own, slope = row[:, i : i + 1], slopes[:, i : i + 1]
            step = (mean - slope) / own
            mean = (mean + step * (step * own + 2.0 * slope)) / (1.0 + step) / (1.0 + step)
            slopes = (slopes + step * row) / (1.0 + step)
            better = (better + step * shares.constant(np.eye(count, dtype=np.float32)[i])) / (1.0 + step)
        return [any_(far), ew.where(far, better, shares)]

    start = full(scores, 1.0 / count, (scores.type.shape[0], count))
    (found,) = loop(iterate, constant(scores, ITERATIONS), constant(scores, True), [start])
    return found


def _pairs(call: Call, parts: list[int], pairs: list[tuple[int, int]]) -> Array:
    """The coefficient of each vector for each pair of classes; a class has a row of coefficients for each other one."""
    coefficients = _numbers(call, "coefficients")
    total, ends = sum(parts), np.cumsum([0, *parts])
    if not total or coefficients.size != total * (len(parts) - 1):
        raise GraphError(f"there are {coefficients.size} coefficients for {total} vectors of {len(parts)} classes")
    table = coefficients.reshape(-1, total)
    weights = np.zeros(checked(total, len(pairs)), np.float32)
    for number, (i, j) in enumerate(pairs):
        for mine, row in ((i, j - 1), (j, i)):
            place = slice(ends[mine], ends[mine + 1])
            weights[place, number] = table[row, place]
    return weights
