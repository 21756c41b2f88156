"""Attention and RotaryEmbedding against the format's own reference, and for symbolic lengths."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

import lucid
from lucid.errors import LucidError

from .models import Case, agrees, close, expected, model, one

Array = np.ndarray[Any, Any]


def floats(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


Q, K, V = floats(2, 4, 3, 8), floats(2, 4, 5, 8, seed=1), floats(2, 4, 5, 6, seed=2)
FEW = [floats(2, 2, 5, 8, seed=1), floats(2, 2, 5, 6, seed=2)]
PAST = [floats(2, 4, 7, 8, seed=3), floats(2, 4, 7, 6, seed=4)]
FLAT = [floats(2, 3, 32), floats(2, 5, 16, seed=1), floats(2, 5, 12, seed=2)]
BOOLS = np.random.default_rng(5).random((3, 5)) > 0.4
BOOLS[1] = False
ADDED = floats(2, 1, 3, 5, seed=6)
LENGTHS = np.array([4, 2], np.int64)
ANGLES = [floats(2, 3, 4), floats(2, 3, 4, seed=1)]


def attention(arrays: list[Array | None], outputs: int = 1, opset: int = 24, **attributes: Any) -> Case:
    return one("Attention", arrays, outputs, opset=opset, **attributes)


def rotary(arrays: list[Array | None], **attributes: Any) -> Case:
    return one("RotaryEmbedding", arrays, opset=23, **attributes)


CASES: dict[str, Case] = {
    "plain": attention([Q, K, V]),
    "23": attention([Q, K, V], opset=23, scale=0.2),
    "softcap": attention([Q, K, V], softcap=1.5),
    "causal": attention([Q, K, V], is_causal=1),
    "heads in groups": attention([Q, *FEW], is_causal=1),
    "three axes": attention([*FLAT], q_num_heads=4, kv_num_heads=2),
    "bools": attention([Q, K, V, BOOLS]),
    "bools and causal": attention([Q, K, V, BOOLS], is_causal=1),
    "numbers": attention([Q, K, V, ADDED]),
    "numbers and causal": attention([Q, *FEW, ADDED], is_causal=1),
    "a mask for fewer keys": attention([Q, K, V, BOOLS[:, :4]]),
    "numbers for fewer keys": attention([Q, K, V, ADDED[..., :3]]),
    "past": attention([Q, K, V, None, *PAST], 3, is_causal=1),
    "past and a mask": attention([Q, K, V, floats(3, 12), *PAST], 3, is_causal=1),
    "lengths": attention([Q, K, V, None, None, None, LENGTHS]),
    "lengths and causal": attention([Q, K, V, None, None, None, LENGTHS], is_causal=1),
    "lengths and a mask": attention([Q, K, V, BOOLS, None, None, LENGTHS]),
    "windows": attention([Q, K, V], opset=25, left_window_size=1, right_window_size=0),
    "a window before": attention([Q, K, V, BOOLS], opset=25, left_window_size=1, is_causal=1),
    "a window with a past": attention([Q, K, V, None, *PAST], 3, opset=25, left_window_size=2, right_window_size=1),
    "a window with lengths": attention([Q, K, V, None, None, None, LENGTHS], opset=25, left_window_size=1),
    "precision": attention([Q, K, V], softmax_precision=TensorProto.DOUBLE),
    **{
        f"scores of mode {mode}": attention([Q, K, V, BOOLS], 4, qk_matmul_output_mode=mode, softcap=2.0 * (mode > 0))
        for mode in range(4)
    },
    "other lengths": attention([floats(2, 3, 4, 8), floats(2, 3, 6, 8), floats(2, 3, 6, 5)], opset=23),
    "groups of three axes": attention([floats(2, 4, 24), floats(2, 6, 8), floats(2, 6, 8), floats(4, 6) > 0], opset=23,
                                      q_num_heads=6, kv_num_heads=2, softcap=2.0, scale=0.3),
    "a past and shares": attention([*[floats(1, 2, 3, 4)] * 3, None, *[floats(1, 2, 5, 4)] * 2], 4, opset=23,
                                   is_causal=1, qk_matmul_output_mode=3),
    **{f"rotary of most features {interleaved}": rotary(
        [floats(2, 3, 4, 8), floats(9, 3), floats(9, 3), np.array([[0, 1, 2, 3], [4, 8, 6, 7]])],
        rotary_embedding_dim=6, interleaved=interleaved) for interleaved in (0, 1)},
    "rotary": rotary([Q, *ANGLES]),
    "rotary by neighbours": rotary([Q, *ANGLES], interleaved=1),
    "rotary by places": rotary([Q, floats(9, 4), floats(9, 4, seed=1), np.array([[0, 1, 2], [8, 3, 3]])]),
    "rotary of a part": rotary([FLAT[0], *(angle[..., :2] for angle in ANGLES)], num_heads=4, rotary_embedding_dim=4),
}  # fmt: skip


RULES = {"linear": (), "gated": ("decay",), "delta": ("beta",), "gated_delta": ("decay", "beta")}


def remembered(rule: str, *, wide: bool = False, past: bool = False) -> Case:
    """Four heads of queries, two of keys and values, over five times."""
    before = floats(2, 2, 3, 4, seed=3) if past else None
    decay, beta = -np.abs(floats(2, 5, 2 * 3 if wide else 2, seed=7)), np.abs(floats(2, 5, 1 if wide else 2, seed=8))
    return one(
        "LinearAttention",
        [floats(2, 5, 12), floats(2, 5, 6, seed=1), floats(2, 5, 8, seed=2), before,
         decay if "decay" in RULES[rule] else None, beta if "beta" in RULES[rule] else None],
        2, opset=27, q_num_heads=4, kv_num_heads=2, update_rule=rule,
    )  # fmt: skip


def changed(**bodies: tuple[str, dict[str, Any]]) -> Case:
    """Attention through graphs of one node each."""

    def graph(op: str, **attributes: Any) -> Any:
        value = helper.make_tensor_value_info("s", TensorProto.FLOAT, [None] * 4)
        made = helper.make_tensor_value_info("t", TensorProto.FLOAT, [None] * 4)
        return helper.make_graph([helper.make_node(op, ["s"], ["t"], **attributes)], op, [value], [made])

    graphs = {name: graph(op, **attributes) for name, (op, attributes) in bodies.items()}
    return one("FlexAttention", [Q, *FEW], opset=26, domain="ai.onnx.preview", scale=0.3, **graphs)


CASES |= {
    **{f"remembered {rule}": remembered(rule) for rule in RULES},
    **{f"remembered {rule}, from before": remembered(rule, wide=True, past=True) for rule in RULES},
    "flexible": changed(),
    "flexible scores": changed(score_mod=("Tanh", {})),
    "flexible shares": changed(score_mod=("Abs", {}), prob_mod=("Sqrt", {})),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_what_the_format_says(name: str) -> None:
    agrees(CASES[name])


def test_lengths_and_the_past_may_be_of_any_size() -> None:
    """One import, for every number of queries and of keys from before."""
    dims = {"q": ("N", 4, "T", 8), "k": ("N", 4, "T", 8), "v": ("N", 4, "T", 6), "mask": ("N", 1, "T", "M"),
            "past_k": ("N", 4, "P", 8), "past_v": ("N", 4, "P", 6)}  # fmt: skip
    node = helper.make_node(
        "Attention", ["q", "k", "v", "mask", "past_k", "past_v"], ["y", "key", "value"], is_causal=1
    )
    proto = model([node], {name: (TensorProto.FLOAT, shape) for name, shape in dims.items()}, node.output, opset=24)
    net = lucid.onnx.load(proto)
    compiled = lucid.compile(net, *net.specs)
    for sizes in ({"N": 2, "T": 3, "P": 5, "M": 8}, {"N": 1, "T": 1, "P": 7, "M": 6}, {"N": 3, "T": 4, "P": 0, "M": 4}):
        arrays = {
            name: floats(*(sizes.get(str(dim), dim) for dim in shape), seed=i)
            for i, (name, shape) in enumerate(dims.items())
        }
        wanted = expected(proto, arrays)
        close(net(*arrays.values()), wanted)
        close(compiled(*arrays.values()), wanted)


@pytest.mark.parametrize(
    ("case", "words"),
    [
        (attention([*FLAT], q_num_heads=5, kv_num_heads=2), "q_num_heads is 5, which does not divide"),
        (attention([*FLAT], q_num_heads=4), "'kv_num_heads' is missing"),
        (attention([Q, K[:, :3], V[:, :3]]), "heads of keys and values"),
        (attention([Q, K, V, floats(3, 6)]), "is for more than the 5 keys"),
        (attention([Q, K, V, None, *PAST, LENGTHS]), "without nonpad_kv_seqlen"),
        (attention([Q, K, V, None, PAST[0]]), "past_key and past_value come together"),
        (attention([Q, K, V], 4, qk_matmul_output_mode=4), "unknown qk_matmul_output_mode 4"),
        (attention([Q, K, V], opset=25, left_window_size=-2), "a window of -2 keys"),
        (one("LinearAttention", [FLAT[0]] * 3, 2, opset=27, q_num_heads=4, kv_num_heads=4), "goes with decay and beta"),
        (one("LinearAttention", [FLAT[0]] * 3, 2, opset=27, update_rule="none"), "unknown update_rule 'none'"),
        (rotary([Q, floats(2, 3, 3), floats(2, 3, 3)]), "not for 8 features"),
    ],
)
def test_what_makes_no_sense_is_refused(case: Case, words: str) -> None:
    with pytest.raises(LucidError, match=words):
        lucid.onnx.load(case.proto)(*case.inputs.values())
