"""Operators of ``ai.onnx.ml``: trees, linear models, and the steps before and after them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ....base.structs import struct
from ....base.texts import as_texts
from ....errors import GraphError, ShapeError
from ....graph.maps import Maps
from ....graph.opdef import AbstractTensor
from ....graph.ops import elementwise as ew
from ....graph.ops import indexing, reduce, shape
from ....graph.ops.composite import eq, gt, isinf
from ....graph.ops.linalg import matmul
from ....graph.ops.norm import softmax
from ....graph.ops.promotion import cast
from ....graph.ops.subscript import getitem
from ....graph.ops.trees import tree_leaves
from ....graph.texts import Text
from ....graph.types import DTYPES, DType, as_dtype, float32, is_float
from ..forests import listed_once
from ..long_lists import integers
from ..model import ML, Array
from ..registry import Call, Value, converter
from ..trees import Places, Trees, built, distinct, listed, numbered
from .encoders import entries

FLOAT64, INT64 = DTYPES["float64"], DTYPES["int64"]


# ---------------------------------------------------------------- scores


def softmax_of_others(x: AbstractTensor) -> AbstractTensor:
    """A softmax in which zeros remain zero."""
    largest = reduce.amax(x, 1, keepdim=True)
    e = ew.where(gt(ew.abs_(x), 1e-7), ew.exp(x - largest), x * ew.exp(-largest))
    return e / reduce.sum(e, 1, keepdim=True)


def transformed(call: Call, scores: AbstractTensor) -> AbstractTensor:
    """Scores (row, class) after the transform that the node names."""
    return _after(scores, call.attribute("post_transform", "NONE"))


def _after(scores: AbstractTensor, way: str) -> AbstractTensor:
    if way == "NONE":
        return scores
    if way == "PROBIT":
        return _probit(scores)
    if way == "LOGISTIC":
        return ew.sigmoid(scores)
    if way == "SOFTMAX":
        made: AbstractTensor = softmax(scores, 1)
        return made
    if way == "SOFTMAX_ZERO":
        return softmax_of_others(scores)
    raise GraphError(f"scores are not transformed by {way} here")


def _probit(share: AbstractTensor) -> AbstractTensor:
    """The quantile function of the normal distribution, by a formula and steps of Newton's method.

    The formula (Winitzki, 2008) gives three digits, which each step doubles.
    """
    y = 2.0 * cast(share, FLOAT64) - 1.0
    log, a = ew.log((1.0 - y) * (1.0 + y)), 0.147
    half = 2.0 / (math.pi * a) + log / 2.0
    z = ew.sign(y) * ew.flat_sqrt(ew.flat_sqrt(half * half - log / a) - half)
    for _ in range(3):
        slope = ew.exp(-(z * z)) * (2.0 / math.sqrt(math.pi))
        z = ew.where(gt(slope, 0.0), z - (ew.erf(z) - y) / slope, z)
    found: AbstractTensor = cast(z * math.sqrt(2.0), share.type.dtype)
    return found


def labels_of(call: Call, *names: str) -> Array:
    """The labels of the classes: numbers, or strings."""
    for name in names:
        given = call.attribute(name)
        if given:
            return np.asarray(given, np.int64)
    if call.attribute("classlabels_strings"):
        return as_texts(call.attribute("classlabels_strings"))
    raise GraphError("it does not say what its classes are called")


def labelled(call: Call, chosen: AbstractTensor, labels: Array) -> AbstractTensor | Text:
    """The labels of class numbers."""
    if labels.dtype.kind != "U" and np.array_equal(labels, np.arange(len(labels))):
        return chosen
    return entries(call, labels, chosen)


def _both(call: Call, score: AbstractTensor, positive: bool) -> AbstractTensor:
    """Scores of two classes from that (row, 1) of the second; ``positive`` if it is like a probability."""
    if call.attribute("post_transform", "NONE") == "LOGISTIC":
        return ew.sigmoid(shape.concat([-score, score], 1))
    return shape.concat([1.0 - score if positive else -score, score], 1)


# ---------------------------------------------------------------- trees


@struct(frozen=True)
class Weights:
    """The weights in leaves: the leaf, the class or target, and the number."""

    leaf: Array
    tree: Array
    target: Array
    amount: Array


@struct(frozen=True)
class Ensemble:
    """Trees, the weights of their leaves for each target, and base values."""

    trees: Trees
    weights: Weights
    targets: int
    base: Array

    @property
    def dtype(self) -> DType:
        return as_dtype(self.weights.amount.dtype)

    def one_target_each(self) -> Array | None:
        """The target of each tree, if no tree has several targets and no leaf several weights."""
        w, count = self.weights, len(self.trees.roots)
        targets = np.zeros(count, np.int64)
        targets[w.tree] = w.target
        alone = np.bincount(w.leaf).max(initial=0) <= 1 and (targets[w.tree] == w.target).all()
        return targets if alone else None


def _numbers(call: Call, name: str) -> Array:
    """A list of floats, or a tensor if it is given as one."""
    tensor = call.attribute(f"{name}_as_tensor")
    given = tensor if tensor is not None else np.asarray(call.attribute(name) or (), np.float32)
    array: Array = np.asarray(given)
    return array if array.dtype == FLOAT64 else array.astype(np.float32)


def _ensemble(call: Call, kind: str, ids: str, targets: int | None) -> Ensemble:
    """The ensemble from attributes ``nodes_…`` and ``kind_…``; by default with as many targets as are named."""
    nodes = listed(call.node.attributes, "nodes_", _numbers(call, "nodes_values"))
    places = Places(nodes.tree, nodes.number)
    tree, number, target = (integers(call.attribute(f"{kind}_{one}") or ())
                            for one in ("treeids", "nodeids", ids))  # fmt: skip
    amount = _numbers(call, f"{kind}_weights")
    if not len(tree) == len(number) == len(target) == len(amount):
        raise GraphError(f"the lists {kind}_… have different lengths")
    trees = built(nodes, places)
    leaf = trees.leaf[places.of(tree, number, "a weight")]
    if (leaf < 0).any() or (target < 0).any() or (targets is not None and (target >= targets).any()):
        raise GraphError("a weight is not of a leaf, or for no target")
    count = int(target.max(initial=0)) + 1 if targets is None else targets
    order = numbered(tree, distinct(nodes.tree))
    return Ensemble(trees, Weights(leaf, order, target, amount), count, _numbers(call, "base_values"))


def _leaves(call: Call, x: AbstractTensor, trees: Trees) -> AbstractTensor:
    """The leaf of each row in each tree."""
    asked = as_dtype(trees.threshold.dtype)
    dtype = FLOAT64 if FLOAT64 in (x.type.dtype, asked) else float32
    tables = (trees.roots, trees.feature, trees.threshold.astype(dtype), trees.children, trees.missing)
    return tree_leaves(trees.depth, cast(x, dtype), *map(call.world.constant, tables))


def _added(call: Call, ensemble: Ensemble, leaves: AbstractTensor) -> AbstractTensor:
    """The sums (row, target) over all trees."""
    w, targets, each = ensemble.weights, ensemble.targets, ensemble.one_target_each()
    if each is None:
        return reduce.sum(_given(call, ensemble, leaves, 0.0), 1)
    amounts = np.zeros(ensemble.trees.leaves, w.amount.dtype)
    amounts[w.leaf] = w.amount
    given = indexing.index_with(call.world.constant(amounts), (0,), (leaves,))
    if targets == 1:
        return reduce.sum(given, 1, keepdim=True)
    return matmul(given, call.world.constant((each[:, None] == np.arange(targets)).astype(w.amount.dtype)))


def _given(call: Call, ensemble: Ensemble, leaves: AbstractTensor, nothing: float) -> AbstractTensor:
    """The weights (row, tree, target) of the leaves, with ``nothing`` where a leaf has none."""
    w = ensemble.weights
    amounts = np.zeros((ensemble.trees.leaves, ensemble.targets), w.amount.dtype)
    np.add.at(amounts, (w.leaf, w.target), w.amount)
    if nothing:
        told = np.zeros(amounts.shape, bool)
        told[w.leaf, w.target] = True
        amounts[~told] = nothing
    found: AbstractTensor = indexing.index_with(call.world.constant(amounts), (0,), (leaves,))
    return found


def _aggregated(call: Call, ensemble: Ensemble, leaves: AbstractTensor, way: str) -> AbstractTensor:
    if way in ("SUM", "AVERAGE"):
        total = _added(call, ensemble, leaves)
        return total if way == "SUM" else total / float(len(ensemble.trees.roots))
    if way not in ("MIN", "MAX"):
        raise GraphError(f"there is no way {way!r} to aggregate trees")
    nothing = np.inf if way == "MIN" else -np.inf
    given = _given(call, ensemble, leaves, nothing)
    found = reduce.amin(given, 1) if way == "MIN" else reduce.amax(given, 1)
    return ew.where(isinf(found), 0.0, found)


def _with_base(call: Call, ensemble: Ensemble, scores: AbstractTensor) -> AbstractTensor:
    if not ensemble.base.size:
        return scores
    if ensemble.base.size not in (1, ensemble.targets):
        raise GraphError(f"there are {ensemble.base.size} base values for {ensemble.targets} targets")
    return scores + call.world.constant(ensemble.base.astype(ensemble.dtype))


@converter("TreeEnsembleRegressor", domain=ML)
def tree_ensemble_regressor(call: Call, x: Value) -> AbstractTensor:
    targets = call.attribute("n_targets", 1)
    ensemble = call.once(lambda: _ensemble(call, "target", "ids", targets))
    leaves = _leaves(call, call.tensor(x), ensemble.trees)
    scores = _aggregated(call, ensemble, leaves, call.attribute("aggregate_function", "SUM"))
    return cast(transformed(call, _with_base(call, ensemble, scores)), float32)


AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")
TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")
"""The transforms by their numbers in files, from version 5 on."""


@converter("TreeEnsemble", since=5, domain=ML)
def tree_ensemble(call: Call, x: Value) -> AbstractTensor:
    targets, data = call.attribute("n_targets", 1), call.tensor(x)
    way, after = call.attribute("aggregate_function", 1), call.attribute("post_transform", 0)
    if not (0 <= way < len(AGGREGATES) and 0 <= after < len(TRANSFORMS)):
        raise GraphError(f"there is no way {way} to aggregate trees, or no transform {after} of scores")
    ensemble = call.once(lambda: _forest(call, targets))
    scores = _aggregated(call, ensemble, _leaves(call, data, ensemble.trees), AGGREGATES[way])
    return cast(_after(scores, TRANSFORMS[after]), data.type.dtype)


def _forest(call: Call, targets: int) -> Ensemble:
    nodes, leaf = listed_once(call.node.attributes)
    trees = built(nodes, Places(nodes.tree, nodes.number))
    given = len(nodes.tree) - len(leaf)
    target = np.asarray(call.required("leaf_targetids"), np.int64)
    amount = np.asarray(call.required("leaf_weights"))
    if len(target) != len(amount) or (target < 0).any() or (target >= targets).any():
        raise GraphError("a leaf is for no target")
    weights = Weights(trees.leaf[given:], nodes.tree[given:], target[leaf], amount[leaf])
    return Ensemble(trees, weights, targets, np.zeros(0, amount.dtype))


@converter("TreeEnsembleClassifier", domain=ML)
def tree_ensemble_classifier(call: Call, x: Value) -> list[Value]:
    labels = labels_of(call, "classlabels_int64s")
    ensemble = call.once(lambda: _ensemble(call, "class", "ids", len(labels)))
    scores = _added(call, ensemble, _leaves(call, call.tensor(x), ensemble.trees))
    if len(labels) == 2 and len(np.unique(ensemble.weights.target)) == 1:
        return _binary(call, ensemble, scores, labels)
    scores = _with_base(call, ensemble, scores)
    return [labelled(call, reduce.argmax(scores, 1), labels), cast(transformed(call, scores), float32)]


def _binary(call: Call, ensemble: Ensemble, scores: AbstractTensor, labels: Array) -> list[Value]:
    """The score of the second of two classes, if all weights are for one."""
    one, base = int(ensemble.weights.target[0]), ensemble.base
    score = getitem(scores, (slice(None), slice(one, one + 1)))
    if base.size > 1:
        raise GraphError(f"there are {base.size} base values for the score of one class")
    if base.size:
        score = score + float(base[0])
    positive = bool((ensemble.weights.amount >= 0).all())
    chosen = cast(gt(getitem(score, (slice(None), 0)), 0.5 if positive else 0.0), INT64)
    return [labelled(call, chosen, labels), cast(_both(call, score, positive), float32)]


# ---------------------------------------------------------------- linear models


def rows_of(call: Call, x: Value) -> AbstractTensor:
    """The inputs as rows of float32."""
    given: AbstractTensor = call.tensor(x)
    return cast(given if given.type.rank > 1 else shape.reshape(given, (1, -1)), float32)


def _linear(call: Call, x: Value, outputs: int | None) -> AbstractTensor:
    """Scores (row, class)."""
    weights = np.asarray(call.required("coefficients"), np.float32)
    shift = np.asarray(call.attribute("intercepts") or (), np.float32)
    data = rows_of(call, x)
    count, features = outputs or len(shift) or 1, data.type.shape[1]
    if not isinstance(features, int) or weights.size < count * features:
        raise GraphError(f"there are {weights.size} coefficients for {count} results from {data.type}")
    used = weights[: count * features].reshape(count, features)  # files that list more are read like that
    scores = matmul(data, call.world.constant(np.ascontiguousarray(used.T)))
    return scores + call.world.constant(shift) if shift.size else scores


@converter("LinearRegressor", domain=ML)
def linear_regressor(call: Call, x: Value) -> AbstractTensor:
    return transformed(call, _linear(call, x, call.attribute("targets", 1)))


@converter("LinearClassifier", domain=ML)
def linear_classifier(call: Call, x: Value) -> list[Value]:
    labels = labels_of(call, "classlabels_ints")
    scores = _linear(call, x, None)
    if scores.type.shape[1] == 1 and len(labels) == 2:
        chosen = cast(gt(getitem(scores, (slice(None), 0)), 0.0), INT64)
        return [labelled(call, chosen, labels), _both(call, scores, True)]
    return [labelled(call, reduce.argmax(scores, 1), labels), transformed(call, scores)]


# ---------------------------------------------------------------- before and after


@converter("Normalizer", domain=ML)
def normalizer(call: Call, x: Value) -> AbstractTensor:
    data: AbstractTensor = cast(call.tensor(x), float32)
    ways = {
        "MAX": lambda: reduce.amax(data, -1, keepdim=True), "L1": lambda: reduce.sum(ew.abs_(data), -1, keepdim=True),
        "L2": lambda: ew.flat_sqrt(reduce.sum(data * data, -1, keepdim=True)),
    }  # fmt: skip
    way = call.attribute("norm", "MAX")
    if way not in ways:
        raise GraphError(f"unknown norm {way!r}")
    size = ways[way]()
    return data / ew.where(eq(size, 0.0), 1.0, size)


@converter("ZipMap", domain=ML)
def zip_map(call: Call, x: Value) -> Maps:
    """Scores with a column for each class, together with the labels, as no graph holds maps."""
    scores: AbstractTensor = call.tensor(x)
    labels = tuple(labels_of(call, "classlabels_int64s").tolist())
    if scores.type.rank not in (1, 2) or scores.type.shape[-1] != len(labels):
        sizes = (scores.type.shape[-1:], (len(labels),))
        raise ShapeError(f"there are {len(labels)} labels for the columns of {scores.type}", unequal=sizes)
    order = sorted(range(len(labels)), key=labels.__getitem__)
    if order != [*range(len(labels))]:
        scores = indexing.index_select(scores, -1, scores.constant(np.array(order)))
    return Maps(scores, tuple(labels[place] for place in order))


@converter("Scaler", domain=ML)
def scaler(call: Call, x: Value) -> AbstractTensor:
    offset, scale = (np.asarray(call.attribute(name) or default, np.float32)
                     for name, default in (("offset", (0.0,)), ("scale", (1.0,))))  # fmt: skip
    data: AbstractTensor = cast(call.tensor(x), float32)
    return (data - call.world.constant(offset)) * call.world.constant(scale)


@converter("Binarizer", domain=ML)
def binarizer(call: Call, x: Value) -> AbstractTensor:
    data: AbstractTensor = call.tensor(x)
    return cast(gt(data, call.attribute("threshold", 0.0)), data.type.dtype)


@converter("Imputer", domain=ML)
def imputer(call: Call, x: Value) -> AbstractTensor:
    data: AbstractTensor = call.tensor(x)
    kind = "float" if is_float(data.type.dtype) else "int64"
    made = np.asarray(call.attribute(f"imputed_value_{kind}s") or (), data.type.dtype)
    if not made.size:
        raise GraphError("it does not say what is put in the place of what is missing")
    replaced = call.attribute(f"replaced_value_{kind}", 0)
    missing = ew.isnan(data) if kind == "float" and np.isnan(replaced) else eq(data, replaced)
    return ew.where(missing, call.world.constant(made), data)


@converter("ArrayFeatureExtractor", domain=ML, moves=(0,))
def array_feature_extractor(call: Call, x: Value, index: Value) -> AbstractTensor:
    data, chosen = call.tensors(x, index)
    rows = data if data.type.rank > 1 else shape.reshape(data, (1, -1))
    found: AbstractTensor = indexing.index_select(rows, -1, shape.reshape(chosen, (-1,)))
    return found


@converter("FeatureVectorizer", domain=ML)
def feature_vectorizer(call: Call, *xs: Value) -> AbstractTensor:
    rows = [cast(x if x.type.rank > 1 else shape.reshape(x, (1, -1)), float32) for x in call.tensors(*xs)]
    flat: Sequence[AbstractTensor] = [shape.flatten(x, 1) for x in rows]
    return shape.concat(flat, 1)
