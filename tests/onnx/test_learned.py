"""Trees and linear models: against the format's reference, and against trees that are gone down one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

import lucid
from lucid.errors import GraphError, LucidError, TraceError
from lucid.graph.ops.source import ConstantAttrs

from .models import Array, Case, agrees, close, model, one

ML = "ai.onnx.ml"
RNG = np.random.default_rng(0)
X = RNG.integers(-3, 4, (40, 4)).astype(np.float32)
COEFFICIENTS = RNG.standard_normal(12).astype(np.float32)
VECTORS = np.random.default_rng(1).integers(-3, 4, 24).astype(np.float32)
KERNELS = ("LINEAR", "POLY", "RBF", "SIGMOID")
MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ")


def grown(depth: int, modes: tuple[str, ...], missing: bool, leaves: list[int]) -> Any:
    """A tree: (feature, threshold, mode, missing_value_tracks_true, true, false), or the number of a leaf."""
    if depth == 0 or (depth < 3 and RNG.random() < 0.2):
        leaves.append(len(leaves))
        return leaves[-1]
    branches = [grown(depth - 1, modes, missing, leaves) for _ in range(2)]
    tracks = int(missing and RNG.random() < 0.5)
    return int(RNG.integers(4)), float(RNG.integers(-2, 3)), str(RNG.choice(modes)), tracks, *branches


def nodes_of(trees: list[Any]) -> tuple[dict[str, list[Any]], dict[int, tuple[int, int]]]:
    """The lists of a file, and for each leaf its tree and number there."""
    names = ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids",
             "missing_value_tracks_true")  # fmt: skip
    rows: list[list[Any]] = []
    leaves: dict[int, tuple[int, int]] = {}
    for tree, root in enumerate(trees):
        pending = [root]
        for number, node in enumerate(pending):  # which grows
            if isinstance(node, int):
                leaves[node] = tree, number
                rows.append([tree, number, 0, 0.0, "LEAF", 0, 0, 0])
            else:
                feature, threshold, mode, tracks, *branches = node
                rows.append([tree, number, feature, threshold, mode, len(pending), len(pending) + 1, tracks])
                pending += branches
    return dict(zip(("nodes_" + name for name in names), map(list, zip(*rows, strict=True)), strict=True)), leaves


def reached(node: Any, x: Array) -> int:
    while not isinstance(node, int):
        feature, bound, mode, tracks, true, false = node
        value = x[feature]
        holds = {
            "BRANCH_LEQ": value <= bound, "BRANCH_LT": value < bound, "BRANCH_GTE": value >= bound,
            "BRANCH_GT": value > bound, "BRANCH_EQ": value == bound, "BRANCH_NEQ": value != bound,
        }[mode]  # fmt: skip
        node = true if holds or (tracks and np.isnan(value)) else false
    return int(node)


def ensemble(
    kind: str, targets: int, each: int, x: Array = X, modes: tuple[str, ...] = MODES[:1], missing: bool = False,
    low: float = -1.0, **attributes: Any,
) -> tuple[Case, Array]:  # fmt: skip
    """A model of five trees, in which a leaf gives ``each`` targets a weight (0: a target for each tree); its sums."""
    found: list[int] = []
    trees = [grown(4, modes, missing, found) for _ in range(5)]
    lists, leaves = nodes_of(trees)
    weights = np.zeros((len(found), targets), np.float32)
    rows = []
    for leaf in found:
        tree, number = leaves[leaf]
        for target in RNG.permutation(targets)[:each] if each else [tree % targets]:
            weights[leaf, target] = RNG.uniform(low, 1)
            rows.append((tree, number, int(target), float(weights[leaf, target])))
    name, ids = ("class", "ids") if kind == "Classifier" else ("target", "ids")
    lists |= {f"{name}_{part}": list(column) for part, column in
              zip(("treeids", "nodeids", ids, "weights"), zip(*rows, strict=True), strict=True)}  # fmt: skip
    case = one(f"TreeEnsemble{kind}", [x], 2 if kind == "Classifier" else 1, domain=ML, **lists, **attributes)
    sums = np.array([sum(weights[reached(tree, row)] for tree in trees) for row in x])
    return case, sums.astype(np.float32)


@pytest.mark.parametrize("each", [0, 1, 3])
@pytest.mark.parametrize("mode", [*MODES, "all"])
def test_trees_are_gone_down(mode: str, each: int) -> None:
    case, sums = ensemble("Regressor", 3, each, modes=MODES if mode == "all" else (mode,), n_targets=3)
    agrees(case, [sums])


@pytest.mark.parametrize("bound", [-np.inf, np.inf])
@pytest.mark.parametrize("mode", MODES)
def test_bounds_that_are_infinite(mode: str, bound: float) -> None:
    lists, _ = nodes_of([(0, bound, mode, 0, 0, 1)])
    x = np.array([[-np.inf], [-1], [0], [np.inf], [np.nan]], np.float32)
    weights = {f"target_{name}": value for name, value in
               (("treeids", [0, 0]), ("nodeids", [1, 2]), ("ids", [0, 0]), ("weights", [1.0, 2.0]))}  # fmt: skip
    case = one("TreeEnsembleRegressor", [x], 1, domain=ML, n_targets=1, **lists, **weights)
    if (mode, bound) in [("BRANCH_LT", -np.inf), ("BRANCH_GTE", -np.inf)]:
        with pytest.raises(GraphError, match="less than minus infinity"):
            lucid.onnx.load(case.proto)(x)
        return
    agrees(case, [np.array([[1.0 + reached((0, bound, mode, 0, 0, 1), row)] for row in x], np.float32)])


@pytest.mark.parametrize("mode", [*MODES, "all"])
def test_what_is_missing_goes_where_the_node_says(mode: str) -> None:
    x = np.where(RNG.random(X.shape) < 0.3, np.nan, X).astype(np.float32)
    modes = MODES if mode == "all" else (mode,)
    case, sums = ensemble("Regressor", 1, 0, x, modes, missing=True, n_targets=1)
    agrees(case, [sums])


@pytest.mark.parametrize("way", ["SUM", "AVERAGE", "MIN", "MAX"])
@pytest.mark.parametrize("each", [0, 3])
def test_trees_are_aggregated(way: str, each: int) -> None:
    case, _ = ensemble("Regressor", 3 if each else 1, each, n_targets=3 if each else 1, aggregate_function=way)
    agrees(case)


@pytest.mark.parametrize("after", ["NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO"])
@pytest.mark.parametrize("base", [(), (0.5, -0.25, 0.125)])
def test_classes_are_chosen(after: str, base: tuple[float, ...]) -> None:
    labels = {"classlabels_int64s": [4, 7, 9], "post_transform": after}
    case, sums = ensemble("Classifier", 3, 0, **labels, **({"base_values": base} if base else {}))
    scores = sums + np.float32(base or (0.0,))
    e = np.exp(scores - scores.max(1, keepdims=True))
    made = {"NONE": scores, "LOGISTIC": 1 / (1 + np.exp(-scores))}.get(after, e / e.sum(1, keepdims=True))
    agrees(case, [np.array([4, 7, 9])[scores.argmax(1)], made.astype(np.float32)])


@pytest.mark.parametrize("after", ["NONE", "LOGISTIC"])
@pytest.mark.parametrize("low", [0.0, -1.0])
def test_the_score_of_one_class_tells_of_two(low: float, after: str) -> None:
    case, sums = ensemble("Classifier", 1, 0, low=low, classlabels_int64s=[3, 5], post_transform=after)
    score = sums[:, 0] / (1 if low else 5)  # probabilities, as forests give
    for attribute in case.proto.graph.node[0].attribute:
        if attribute.name == "class_weights" and not low:
            attribute.floats[:] = [weight / 5 for weight in attribute.floats]
    chosen = score > (0.5 if low == 0 else 0)
    both = np.stack([1 - score if low == 0 and after == "NONE" else -score, score], 1)
    both = 1 / (1 + np.exp(-both)) if after == "LOGISTIC" else both
    agrees(case, [np.where(chosen, 5, 3), both.astype(np.float32)])


@pytest.mark.parametrize("after", ["NONE", "LOGISTIC"])
def test_one_linear_score_tells_of_two_classes(after: str) -> None:
    case = one("LinearClassifier", [X], 2, domain=ML, coefficients=COEFFICIENTS[:4], intercepts=[0.25],
               classlabels_ints=[3, 5], post_transform=after)  # fmt: skip
    score = X @ COEFFICIENTS[:4] + np.float32(0.25)
    made = 1 / (1 + np.exp(-score)) if after == "LOGISTIC" else score
    agrees(case, [np.where(score > 0, 5, 3), np.stack([1 - made, made], 1).astype(np.float32)])


def test_the_nodes_of_all_trees_are_numbered_level_by_level() -> None:
    case, _ = ensemble("Regressor", 1, 0, n_targets=1)
    graph = lucid.compile(lucid.onnx.load(case.proto), lucid.spec(*X.shape)).traced
    name = next(name for name in graph.dag if graph.node(name).op.name == "TreeLeaves")
    tables = [graph.node(value.node).attrs for value in graph.inputs_of(name)[1:]]
    roots, _, _, children, _ = (table.value.array for table in tables if isinstance(table, ConstantAttrs))
    reached = np.concatenate([roots, children.reshape(-1)])
    np.testing.assert_array_equal(reached[reached >= 0], np.arange(len(children)))


def test_a_batch_of_any_size_goes_down() -> None:
    case, _ = ensemble("Regressor", 2, 0, n_targets=2)
    case.proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "n"
    net = lucid.onnx.load(case.proto)
    compiled = lucid.compile(net, *net.specs)
    for n in (0, 1, 33):
        close(compiled(X[:n]), [net(X).numpy()[:n]])


CASES: dict[str, Case] = {
    **{f"SVMRegressor {kind}": one(
        "SVMRegressor", [X], domain=ML, n_supports=5, support_vectors=VECTORS[:20], coefficients=COEFFICIENTS[:5],
        kernel_type=kind, kernel_params=[0.3, 0.5, 3.0], rho=[0.25],
    ) for kind in KERNELS},
    "SVMRegressor one class": one(
        "SVMRegressor", [X], domain=ML, n_supports=5, support_vectors=VECTORS[:20], coefficients=COEFFICIENTS[:5],
        kernel_type="RBF", kernel_params=[0.1, 0.0, 0.0], rho=[0.05], one_class=1,
    ),
    "SVMRegressor linear": one("SVMRegressor", [X], domain=ML, coefficients=COEFFICIENTS[:4], rho=[0.25]),
    **{f"SVMClassifier {kind}": one(
        "SVMClassifier", [X], 2, domain=ML, support_vectors=VECTORS, vectors_per_class=[2, 3, 1], rho=[0.1, -0.2, 0.3],
        coefficients=COEFFICIENTS, kernel_type=kind, kernel_params=[0.3, 0.5, 3.0], classlabels_ints=[5, 7, 2],
    ) for kind in KERNELS},
    **{f"SVMClassifier of two, {after}": one(
        "SVMClassifier", [X], 2, domain=ML, support_vectors=VECTORS[:20], vectors_per_class=[2, 3], rho=[0.1],
        coefficients=COEFFICIENTS[:5], kernel_type="RBF", kernel_params=[0.3, 0.0, 0.0], classlabels_ints=[5, 7],
        post_transform=after,
    ) for after in ("NONE", "LOGISTIC", "SOFTMAX")},
    "SVMClassifier shares of two": one(
        "SVMClassifier", [X], 2, domain=ML, support_vectors=VECTORS[:20], vectors_per_class=[2, 3], rho=[0.1],
        coefficients=COEFFICIENTS[:5], kernel_type="RBF", kernel_params=[0.3, 0.0, 0.0], classlabels_ints=[5, 7],
        prob_a=[-1.5], prob_b=[0.1],
    ),
    "LinearRegressor": one("LinearRegressor", [X], domain=ML, coefficients=COEFFICIENTS, intercepts=[0.5, 1.0, -1.0],
                           targets=3),
    "LinearRegressor one": one("LinearRegressor", [X], domain=ML, coefficients=COEFFICIENTS[:4], intercepts=[0.5]),
    **{f"LinearClassifier {after}": one("LinearClassifier", [X], 2, domain=ML, coefficients=COEFFICIENTS,
                                        intercepts=[0.5, 1.0, -1.0], classlabels_ints=[2, 4, 8], post_transform=after)
       for after in ("NONE", "SOFTMAX", "LOGISTIC")},
    **{f"Normalizer {norm}": one("Normalizer", [np.abs(X) + 1], domain=ML, norm=norm) for norm in ("MAX", "L1", "L2")},
    "Scaler": one("Scaler", [X], domain=ML, offset=[1.0, 2.0, 0.0, -1.0], scale=[0.5, 1.0, 2.0, 1.0]),
    "Binarizer": one("Binarizer", [X], domain=ML, threshold=0.5),
    "ArrayFeatureExtractor": one("ArrayFeatureExtractor", [X, np.array([[2, 0]])], domain=ML),
    "FeatureVectorizer": one("FeatureVectorizer", [X, X[:, :2]], domain=ML, inputdimensions=[4, 2]),
    "Imputer": one("Imputer", [np.where(X == 1, np.nan, X).astype(np.float32)], domain=ML,
                   imputed_value_floats=[9.0], replaced_value_float=float("nan")),
    "LabelEncoder": one("LabelEncoder", [np.array([[3, 1], [7, 1]])], domain=ML, keys_int64s=[1, 3],
                        values_floats=[0.5, 2.0], default_float=-1.0),
    "LabelEncoder back": one("LabelEncoder", [np.float32([0.5, 2, 4])], domain=ML, keys_floats=[0.5, 2.0],
                             values_int64s=[4, 8], default_int64=-1),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_an_operator_is_what_the_format_says(name: str) -> None:
    agrees(CASES[name])


def zipped(shape: Any = None, **labels: Any) -> Any:
    node = helper.make_node("ZipMap", ["x"], ["y"], domain=ML, **labels)
    given = X if shape is None else (1, shape)
    return lucid.onnx.load(model([node], {"x": given}, ["y"], domains={ML: 1}))


@pytest.mark.parametrize("labels", [[7, -1, 1 << 40, 2], ["a", "ž", "", "two words"]], ids=["numbers", "texts"])
def test_scores_come_by_their_labels(labels: Any, tmp_path: Path) -> None:
    """ZipMap makes a dictionary for each row; gradients go through the scores themselves."""
    net = zipped(("n", 4), **{"classlabels_int64s" if isinstance(labels[0], int) else "classlabels_strings": labels})
    compiled = lucid.compile(net, *net.specs)
    compiled(X)
    compiled.save(tmp_path / "net.lucid")
    wanted = [dict(zip(labels, row.tolist(), strict=True)) for row in X]
    for function in (net, compiled, lucid.load(tmp_path / "net.lucid")):
        found = function(X)
        assert isinstance(found, list) and found == wanted and list(found) == wanted and found[0] == wanted[0]
        assert [*map(type, found[0])] == [*map(type, labels)] and type(found[0][labels[0]]) is float
        assert function(np.zeros((0, 4), np.float32)) == []
    x = lucid.tensor(X, requires_grad=True)
    compiled(x).scores.sum().backward()
    assert x.grad is not None and (x.grad.numpy() == 1).all()
    traced = lucid.compile(lambda x: net(x).scores * 2)
    order = np.argsort(np.array(labels))
    np.testing.assert_array_equal(traced(X).numpy(), 2 * X[:, order])
    for use in (len, list, lambda found: found[0]):
        with pytest.raises(TraceError, match="return them"):
            lucid.compile(lambda x, use=use: use(net(x)))(X)


def test_labels_of_one_row_and_of_other_columns() -> None:
    assert zipped((2,), classlabels_int64s=[3, 4])(np.float32([0.25, 0.75])) == [{3: 0.25, 4: 0.75}]
    assert [str(dim) for dim in zipped(("n", "c"), classlabels_int64s=[3, 4]).specs[0].shape] == ["n", "2"]
    with pytest.raises(LucidError, match=r"there are 2 labels for the columns of float32\[3, 4\]"):
        zipped(classlabels_int64s=[3, 4])(X[:3])


def lists(**changed: Any) -> Case:
    """A tree of one node, but for what is changed."""
    nodes = {"nodes_treeids": [0, 0, 0], "nodes_nodeids": [0, 1, 2], "nodes_featureids": [0, 0, 0],
             "nodes_values": [0.5, 0.0, 0.0], "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"],
             "nodes_truenodeids": [1, 0, 0], "nodes_falsenodeids": [2, 0, 0], "target_treeids": [0],
             "target_nodeids": [1], "target_ids": [0], "target_weights": [1.0]}  # fmt: skip
    return one("TreeEnsembleRegressor", [X], domain=ML, **{**nodes, **changed})


@pytest.mark.parametrize(
    ("case", "words"),
    [
        (lists(nodes_truenodeids=[7, 0, 0]), "names a node that there is not"),
        (lists(nodes_truenodeids=[0, 0, 0]), "in two ways, or in none"),
        (lists(nodes_falsenodeids=[1, 0, 0]), "has not one root"),
        (lists(nodes_modes=["BRANCH_MEMBER", "LEAF", "LEAF"]), "'BRANCH_MEMBER', which is not known"),
        (lists(nodes_featureids=[0, 0]), "has 2 numbers for 3 nodes"),
        (lists(nodes_nodeids=[0, 1, 1]), "same number"),
        (lists(target_nodeids=[0]), "not of a leaf"),
        (lists(target_ids=[0, 1]), "different lengths"),
        (lists(aggregate_function="MEDIAN"), "no way 'MEDIAN'"),
        (lists(nodes_featureids=[4, 0, 0]), "a feature that there is not"),
        (one("LinearClassifier", [X], 2, domain=ML, coefficients=[1.0] * 4), "what its classes are called"),
        (
            one("SVMRegressor", [X], domain=ML, n_supports=2, support_vectors=[1.0] * 7),
            "7 numbers for 2 support",
        ),
        (one("SVMRegressor", [X], domain=ML, coefficients=[1.0] * 3, rho=[1.0]), "3 coefficients and 1 rho"),
        (
            one(
                "SVMClassifier",
                [X],
                2,
                domain=ML,
                vectors_per_class=[1, 1],
                support_vectors=[1.0] * 8,
                rho=[1.0],
                coefficients=[1.0],
                classlabels_ints=[0, 1],
            ),
            "1 coefficients for 2 vectors of 2 classes",
        ),
        (one("SVMClassifier", [X], 2, domain=ML, coefficients=[1.0] * 4, classlabels_ints=[0, 1]), "vectors_per_class"),
        (
            one(
                "SVMClassifier",
                [X],
                2,
                domain=ML,
                support_vectors=VECTORS[:20],
                vectors_per_class=[2, 3],
                rho=[0.1],
                coefficients=COEFFICIENTS[:5],
                classlabels_ints=[5, 7],
                prob_a=[1.0],
                prob_b=[1.0, 2.0],
            ),
            "1 and 2 numbers for 1 pairs",
        ),
        (one("LinearRegressor", [X], domain=ML, coefficients=[1.0]), "1 coefficients for 1 results"),
    ],
)
def test_what_is_broken_or_not_supported_is_said(case: Case, words: str) -> None:
    with pytest.raises((GraphError, lucid.errors.ExecutionError), match=words):
        lucid.onnx.load(case.proto)(X)
