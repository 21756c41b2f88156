"""Texts in models: labels, encoders, what moves and compares them; as inputs, as results, in files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

import lucid
from lucid.errors import LucidError
from lucid.formats import serialize
from lucid.formats.onnx import limits

from .models import model

Array = np.ndarray[Any, Any]
ML = {"ai.onnx.ml": 4}
TEXT = TensorProto.STRING
WORDS = np.array([["one", "zwei", ""], ["trois", "četri", "五"]], object)


def loaded(nodes: Any, inputs: Any, outputs: Any, constants: Any = None, opset: int = 20) -> lucid.onnx.OnnxModel:
    return lucid.onnx.load(model(nodes, inputs, outputs, constants, opset, ML))


def ran(net: lucid.onnx.OnnxModel, *given: Any) -> list[Array]:
    """What a model gives, checked to be the same eagerly, compiled, and compiled for every size."""
    results = []
    for run in (net, lucid.compile(net), lucid.compile(net, *net.specs)):
        found = run(*given)
        whole = found if isinstance(found, tuple) else (found,)
        results.append([np.array(one, object) if isinstance(one, list) else one.numpy() for one in whole])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)
            assert a.dtype.kind == b.dtype.kind
    return results[0]


def node(op: str, inputs: str, outputs: str = "y", **attributes: Any) -> Any:
    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


def ml(op: str, inputs: str, outputs: str = "y", **attributes: Any) -> Any:
    return node(op, inputs, outputs, domain="ai.onnx.ml", **attributes)


# ---------------------------------------------------------------- labels


def classifier(labels: list[str]) -> lucid.onnx.OnnxModel:
    coefficients = np.eye(3, dtype=np.float32).ravel()
    nodes = [
        ml("LinearClassifier", "x", "label scores", coefficients=coefficients, intercepts=[0.0] * 3,
           classlabels_strings=labels, post_transform="SOFTMAX"),
        ml("ZipMap", "scores", "p", classlabels_strings=labels),
    ]  # fmt: skip
    return loaded(nodes, {"x": (TensorProto.FLOAT, ("n", 3))}, ["label", "p"])


def test_a_classifier_gives_labels() -> None:
    net = classifier(["setosa", "versicolor", "ž"])
    labels, scores = ran(net, np.eye(3, dtype=np.float32)[[2, 0, 1, 2]])
    assert labels.tolist() == ["ž", "setosa", "versicolor", "ž"]
    assert [max(row, key=row.get) for row in scores] == labels.tolist()
    empty = lucid.compile(net, *net.specs)(np.zeros((0, 3), np.float32))[0]
    assert empty.numpy().shape == (0,)


def test_labels_out_of_a_file(tmp_path: Path) -> None:
    """Where it is loaded there is no ONNX; the label is an array of texts there too."""
    net = classifier(["a", "b", "c"])
    compiled = lucid.compile(net, *net.specs)
    compiled.save(tmp_path / "net.lucid")
    found = lucid.load(tmp_path / "net.lucid")(np.eye(3, dtype=np.float32))
    assert isinstance(found[0], lucid.Text)
    assert (found[0].tolist(), found[0].shape, len(found[0])) == (["a", "b", "c"], (3,), 3)
    assert repr(found[0]) == "Text(['a' 'b' 'c'])"
    assert (np.asarray(found[0]) == "b").tolist() == [False, True, False]


def test_trees_give_labels() -> None:
    tree = ml(
        "TreeEnsembleClassifier", "x", "label scores", classlabels_strings=["no", "yes"], class_ids=[0, 1],
        class_nodeids=[1, 2], class_treeids=[0, 0], class_weights=[1.0, 1.0], nodes_falsenodeids=[2, 0, 0],
        nodes_featureids=[0, 0, 0], nodes_hitrates=[1.0] * 3, nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"],
        nodes_nodeids=[0, 1, 2], nodes_treeids=[0] * 3, nodes_truenodeids=[1, 0, 0], nodes_values=[0.5, 0.0, 0.0],
    )  # fmt: skip
    net = loaded([tree], {"x": (TensorProto.FLOAT, ("n", 1))}, ["label", "scores"])
    assert ran(net, np.float32([[0], [1]]))[0].tolist() == ["no", "yes"]


# ---------------------------------------------------------------- encoders


@pytest.mark.parametrize("count", [1, 3, 200])
def test_texts_become_numbers_and_numbers_texts(count: int) -> None:
    keys = [f"key {i}" for i in range(count)]
    nodes = [
        ml("LabelEncoder", "x", "n", keys_strings=keys, values_int64s=[10 * i for i in range(count)], default_int64=-7),
        ml("LabelEncoder", "n", "t", keys_int64s=[0, 10], values_strings=["zero", "ten"], default_string="?"),
        ml("LabelEncoder", "x", "s", keys_strings=keys, values_strings=keys[::-1]),
    ]
    net = loaded(nodes, {"x": (TEXT, ("n", "m"))}, ["n", "t", "s"])
    x = np.array(
        [["key 0", "key 1", f"key {count - 1}"], ["key", "key 00", "a much longer text than any key is"]], object
    )
    number, text, other = ran(net, x)
    want = [[dict(zip(keys, range(0, 10 * count, 10), strict=True)).get(one, -7) for one in row] for row in x]
    assert number.tolist() == want
    assert text.tolist() == [[{0: "zero", 10: "ten"}.get(one, "?") for one in row] for row in want]
    assert other[1].tolist() == ["_Unused"] * 3


def test_categories() -> None:
    cats = {"cats_strings": ["b", "a", "long"], "cats_int64s": [4, 5, 6]}
    nodes = [
        ml("CategoryMapper", "x", "n", **cats), ml("CategoryMapper", "n", "t", **cats),
        ml("OneHotEncoder", "x", "h", cats_strings=["a", "b"]), ml("OneHotEncoder", "n", "k", cats_int64s=[5, -1]),
    ]  # fmt: skip
    net = loaded(nodes, {"x": (TEXT, ("n",))}, ["n", "t", "h", "k"])
    number, text, hot, known = ran(net, np.array(["a", "b", "c", "long"], object))
    assert number.tolist() == [5, 4, -1, 6]
    assert text.tolist() == ["a", "b", "_Unused", "long"]
    assert hot.tolist() == [[1, 0], [0, 1], [0, 0], [0, 0]]
    assert known.tolist() == [[1, 0], [0, 0], [0, 1], [0, 0]]


def test_what_is_no_category_may_be_an_error() -> None:
    net = loaded([ml("OneHotEncoder", "x", cats_strings=["a"], zeros=0)], {"x": (TEXT, ("n",))}, ["y"])
    for run in (net, lucid.compile(net)):
        assert run(np.array(["a"])).numpy().tolist() == [[1]]
        with pytest.raises(LucidError, match="what is no category"):
            run(np.array(["a", "b"]))


# ---------------------------------------------------------------- moved and compared


MOVES: dict[str, tuple[Any, Array]] = {
    "Identity": (node("Identity", "x"), WORDS),
    "Reshape": (node("Reshape", "x shape"), WORDS.reshape(3, 2)),
    "Transpose": (node("Transpose", "x", perm=[1, 0]), WORDS.T),
    "Gather": (node("Gather", "x one", axis=1), WORDS[:, 1]),
    "Gather from the end": (node("Gather", "x last", axis=0), WORDS[[1, 1]]),
    "Slice": (node("Slice", "x starts ends"), WORDS[1:, :2]),
    "Concat": (node("Concat", "x x known", axis=0), np.concatenate([WORDS, WORDS, [["a", "rather longish", ""]]])),
    "Expand": (node("Expand", "x wide"), np.broadcast_to(WORDS, (2, 2, 3))),
    "Tile": (node("Tile", "x twice"), np.tile(WORDS, (2, 1))),
    "Unsqueeze": (node("Unsqueeze", "x one_axis"), WORDS[:, None]),
    "Flatten": (node("Flatten", "x", axis=0), WORDS.reshape(1, 6)),
    "Shape": (node("Shape", "x"), np.array([2, 3])),
    "Where": (node("Where", "mask x known"), np.where([True, False, True], WORDS, ["a", "rather longish", ""])),
    "Equal": (node("Equal", "x known"), np.array([[False, False, True], [False] * 3])),
    "Equal itself": (node("Equal", "x x"), np.ones((2, 3), bool)),
    "ArrayFeatureExtractor": (ml("ArrayFeatureExtractor", "x last"), WORDS[:, [-1, -1]]),
}  # fmt: skip
KNOWN = {
    "shape": np.array([3, 2]), "one": np.array(1), "last": np.array([-1, -1]), "starts": np.array([1, 0]),
    "ends": np.array([9, 2]), "known": np.array([["a", "rather longish", ""]], object), "wide": np.array([2, 1, 1]),
    "twice": np.array([2, 1]), "one_axis": np.array([1]), "mask": np.array([True, False, True]),
}  # fmt: skip


@pytest.mark.parametrize("case", MOVES)
def test_what_moves_and_compares(case: str) -> None:
    made, want = MOVES[case]
    net = loaded([made], {"x": (TEXT, (2, 3))}, ["y"], {name: KNOWN[name] for name in made.input if name in KNOWN})
    (found,) = ran(net, WORDS)
    np.testing.assert_array_equal(found, want.astype(found.dtype))
    assert found.shape == want.shape


def test_sequences_and_branches_of_texts() -> None:
    then = helper.make_graph([node("Identity", "x", "t")], "then", [], [helper.make_empty_tensor_value_info("t")])
    other = helper.make_graph(
        [node("Constant", "", "o", value_strings=["x", "y"])], "else", [], [helper.make_empty_tensor_value_info("o")]
    )
    nodes = [
        node("SequenceConstruct", "x x", "s"), node("ConcatFromSequence", "s", "all", axis=0),
        node("If", "c", "chosen", then_branch=then, else_branch=other),
    ]  # fmt: skip
    net = loaded(nodes, {"c": (TensorProto.BOOL, ()), "x": (TEXT, (2,))}, ["all", "chosen"])
    x = np.array(["a", "bc"])
    for value in (True, False):
        for run in (net, lucid.compile(net)):
            both, chosen = run(np.array(value), x)
            assert both.tolist() == ["a", "bc", "a", "bc"]
            assert chosen.tolist() == (["a", "bc"] if value else ["x", "y"])


# ---------------------------------------------------------------- at the door


@pytest.mark.parametrize("array", [np.array(["a", "bb"]), np.array(["a", "bb"], object), np.array([b"a", b"bb"])])
def test_arrays_of_texts_of_every_kind(array: Array) -> None:
    net = loaded([node("Identity", "x")], {"x": (TEXT, ("n",))}, ["y"])
    assert ran(net, array)[0].tolist() == ["a", "bb"]
    assert lucid.compile(net)(lucid.Text(lucid.tensor(np.array([[97], [98]], np.int32)))).tolist() == ["a", "b"]


def test_calls_of_one_kind_go_the_same_way() -> None:
    net = lucid.compile(loaded([node("Gather", "x one")], {"x": (TEXT, ("n",))}, ["y"], {"one": np.array([1, 0])}))
    for texts in (["a", "b"], ["c", "d"], ["e", "a rather long text"]):
        assert net(np.array(texts)).tolist() == texts[::-1]


@pytest.mark.parametrize(
    ("given", "words"),
    [(np.array([1, "a"], object), "holds a int"), (np.array([1.5, 2]), "takes text"), (np.array([None]), "NoneType")],
)
def test_what_is_no_text(given: Array, words: str) -> None:
    net = loaded([ml("LabelEncoder", "x", keys_strings=["a"], values_int64s=[1])], {"x": (TEXT, ("n",))}, ["y"])
    for run in (net, lucid.compile(net)):
        with pytest.raises(LucidError, match=words):
            run(given)


def test_numbers_are_asked_for() -> None:
    for made in (node("Relu", "x"), node("Add", "t t")):
        net = loaded([made], {"x": (TEXT, ("n",))}, ["y"], {"t": np.array(["a"], object)})
        with pytest.raises(LucidError, match="takes numbers, and is given text"):
            net(np.array(["a"]))


@pytest.mark.parametrize("codes", [3, np.array(3, np.int32), np.ones((1, 2), np.float32), lucid.spec("N", 2)])
def test_letters_are_integers(codes: Any) -> None:
    with pytest.raises(LucidError, match="letters of texts are int32"):
        lucid.Text(codes)


def test_a_file_does_not_call_other_numbers_texts(tmp_path: Path) -> None:
    net = lucid.compile(lambda x: x * 2, lucid.spec("N", 2))
    net.save(tmp_path / "net.lucid")
    archive = serialize.load(tmp_path / "net.lucid")
    for side in ("inputs", "outputs"):
        extra = archive.extra | {side: json.loads(json.dumps(archive.extra[side]).replace('"leaf"', '"text"'))}
        serialize.save(tmp_path / "other.lucid", archive.graphs, archive.arrays, extra)
        with pytest.raises(LucidError, match="holds strings"):
            lucid.load(tmp_path / "other.lucid")


def test_a_number_that_is_no_letter() -> None:
    for number in (-1, 0x110000):
        with pytest.raises(LucidError, match="not a code point"):
            lucid.Text(np.array([[97, number]], np.int32)).numpy()


def test_texts_of_a_file_are_in_proportion_to_it() -> None:
    """One long text among many short ones would be an array of their product."""
    texts = np.array(["x" * 30_000, *["a"] * 30_000], object)
    with pytest.raises(LucidError, match="too many, or too long"):
        loaded([node("Identity", "t")], {}, ["y"], {"t": texts})


# ---------------------------------------------------------------- what makes texts, and counts them


def test_texts_are_joined() -> None:
    net = loaded([node("StringConcat", "a b")], {"a": (TEXT, ("n", 1)), "b": (TEXT, ("m",))}, ["y"])
    a, b = np.array([["x"], [""], ["four"]], object), np.array(["", "1", "a long one of many letters"], object)
    assert ran(net, a, b)[0].tolist() == (a + b).tolist()


@pytest.mark.parametrize("action", ["LOWER", "UPPER", "NONE"])
def test_letters_change_their_case(action: str) -> None:
    """One that would become two stays."""
    net = loaded([node("StringNormalizer", "x", case_change_action=action)], {"x": (TEXT, ("n",))}, ["y"])
    words = np.array(["Straße", "ÉTÉ", "κόσμος", "", "\U0001f600", "\U0010ffff"])
    want = {"LOWER": np.char.lower(words), "UPPER": np.array(["STRAßE", "ÉTÉ", "ΚΌΣΜΟΣ", *words[3:]]), "NONE": words}
    assert ran(net, words)[0].tolist() == want[action].tolist()


def test_words_are_left_out_uncompiled() -> None:
    net = loaded(
        [node("StringNormalizer", "x", stopwords=["THE"], case_change_action="UPPER")], {"x": (TEXT, ("n",))}, ["y"]
    )
    assert net(np.array(["the", "end"])).tolist() == ["END"]
    assert net(np.array(["the"])).tolist() == [""]
    with pytest.raises(LucidError, match="uncompiled, it runs"):
        lucid.compile(net)(np.array(["the"]))


def test_texts_are_split_and_read_uncompiled() -> None:
    nodes = [node("StringSplit", "x", "parts count", delimiter=","), node("Cast", "parts", "n", to=TensorProto.FLOAT),
             node("Cast", "n", "t", to=TEXT)]  # fmt: skip
    net = loaded(nodes, {"x": (TEXT, ("n",))}, ["parts", "count", "n", "t"])
    parts, count, number, text = net(np.array(["1,2.5", "-3,4"]))
    assert (parts.tolist(), count.tolist()) == ([["1", "2.5"], ["-3", "4"]], [2, 2])
    np.testing.assert_array_equal(number.numpy(), np.float32([[1, 2.5], [-3, 4]]))
    assert text.tolist() == [["1.0", "2.5"], ["-3.0", "4.0"]]
    assert net(np.array(["1,2,3", "4"], object)[:0])[0].shape == (0, 0)
    with pytest.raises(LucidError, match="could not convert"):
        net(np.array(["one"]))


def test_split_texts_are_in_proportion_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LARGEST_TABLE", 1 << 16)
    net = loaded([node("StringSplit", "x", "parts count", delimiter=",")], {"x": (TEXT, ("n",))}, ["parts"])
    assert net(np.array(["," * 500, *["a"] * 100], object)).shape == (101, 501)
    with pytest.raises(LucidError, match=r"\(1001, 501\) is not made"):
        net(np.array(["," * 500, *["a"] * 1000], object))


def n_grams(**attributes: Any) -> lucid.onnx.OnnxModel:
    given: dict[str, Any] = {
        "max_gram_length": 2, "min_gram_length": 1, "max_skip_count": 1, "mode": "TF", "ngram_counts": [0, 2],
        "ngram_indexes": [1, 0, 3, 4], "pool_strings": ["a", "b", "a", "b", "b", "a"], **attributes,
    }  # fmt: skip
    return loaded([node("TfIdfVectorizer", "x", **given)], {"x": (TEXT, ("n", 4))}, ["y"])


@pytest.mark.parametrize(
    ("mode", "want"),
    [
        ("TF", [[1, 2, 0, 1, 1], [0, 0, 0, 0, 0]]), ("IDF", [[3, 2, 0, 4, 5], [0] * 5]),
        ("TFIDF", [[3, 4, 0, 4, 5], [0] * 5]),
    ],
)  # fmt: skip
def test_n_grams_are_counted(mode: str, want: list[list[int]]) -> None:
    net = n_grams(mode=mode, weights=[2.0, 3.0, 4.0, 5.0])
    assert ran(net, np.array([["a", "x", "b", "a"], ["x", "y", "aa", ""]]))[0].tolist() == want


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"mode": "BM25"}, "mode"), ({"ngram_counts": [0, 1]}, "no 2-grams"), ({"ngram_indexes": [0]}, "1 columns"),
        ({"ngram_indexes": [0, 0, 1, 2]}, "two for one"), ({"ngram_indexes": [0, 1, 2, 2**40]}, "is not made"),
        ({"ngram_counts": [5, 2]}, "no 1-grams"),
    ],
)  # fmt: skip
def test_what_counts_nothing(attributes: dict[str, Any], words: str) -> None:
    with pytest.raises(LucidError, match=words):
        n_grams(**attributes)(np.array([["a", "b", "c", "d"]]))
