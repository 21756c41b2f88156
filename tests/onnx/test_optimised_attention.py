"""ONNX Runtime's operators of attention, beside attention that is written out, sequence by sequence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

import lucid
from lucid.errors import GraphError

from .models import Array, close, model

FLOAT, INT32, INT64 = TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64
RNG = np.random.default_rng(0)
OWN = "com.microsoft"
HEADS, EACH = 4, 6
WIDTH = HEADS * EACH


def floats(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def attended(q: Array, k: Array, v: Array, seen: Array | bool = True) -> Array:
    """Of queries (query, feature), keys and values, in heads."""
    q, k, v = (np.stack(np.split(x, HEADS, -1)) for x in (q, k, v))
    scores = np.where(seen, q @ k.transpose(0, 2, 1) / np.sqrt(EACH), -1e4)
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    return np.concatenate(list(shares / shares.sum(-1, keepdims=True) @ v), -1)


def loaded(
    op: str, inputs: dict[str, Any], outputs: str = "y", constants: dict[str, Any] | None = None, **more: Any
) -> lucid.onnx.OnnxModel:  # fmt: skip
    """A model of one node, whose inputs are these in their order and then the constants; ``_…`` are left out."""
    constants = constants or {}
    names = ["" if name.startswith("_") else name for name in (*inputs, *constants)]
    node = helper.make_node(op, names, outputs.split(), domain=OWN, **more)
    live, kept = ({k: v for k, v in given.items() if not k.startswith("_")} for given in (inputs, constants))
    return lucid.onnx.load(model([node], live, outputs.split(), kept, domains={OWN: 1}))


def agree(net: lucid.onnx.OnnxModel, given: list[Array], wanted: list[Array]) -> None:
    """Eagerly, and compiled for every size."""
    close(net(*given), wanted)
    close(lucid.compile(net, *net.specs)(*given), wanted)


TIMES = (FLOAT, ["batch", "time", WIDTH])


def test_several_heads_with_keys_that_are_kept() -> None:
    inputs = {"q": TIMES, "k": TIMES, "v": TIMES, "b": floats(3 * WIDTH), "m": (INT32, ["batch", "keys"]), "_": None,
              "pk": (FLOAT, ["batch", HEADS, "past", EACH]), "pv": (FLOAT, ["batch", HEADS, "past", EACH])}  # fmt: skip
    net = loaded("MultiHeadAttention", inputs, "y key value", num_heads=HEADS, unidirectional=1)
    q, k, v, bias = floats(2, 3, WIDTH), floats(2, 3, WIDTH), floats(2, 3, WIDTH), floats(3 * WIDTH)
    mask = np.array([[1, 1, 1, 1, 1], [0, 1, 1, 1, 1]], np.int32)
    before = [floats(2, HEADS, 2, EACH) for _ in "kv"]
    shifted = [x + b for x, b in zip((q, k, v), np.split(bias, 3), strict=True)]
    heads = [x.reshape(2, 3, HEADS, EACH).transpose(0, 2, 1, 3) for x in shifted[1:]]
    key, value = (np.concatenate(pair, 2) for pair in zip(before, heads, strict=True))
    seen = np.tril(np.ones((3, 5), bool), 2) & (mask[:, None] > 0)
    flat = [x.transpose(0, 2, 1, 3).reshape(2, 5, WIDTH) for x in (key, value)]
    want = np.stack([attended(shifted[0][i], flat[0][i], flat[1][i], seen[i]) for i in range(2)])
    agree(net, [q, k, v, bias, mask, *before], [want.astype(np.float32), key, value])


def test_heads_may_come_packed_or_apart() -> None:
    q, k, v = floats(2, 3, WIDTH), floats(2, 5, WIDTH), floats(2, 5, WIDTH)
    want = [np.stack([attended(q[i], k[i], v[i]) for i in range(2)]).astype(np.float32)]
    apart = [x.reshape(2, 5, HEADS, EACH) for x in (k, v)]
    pair, heads = np.stack(apart, 3), [x.transpose(0, 2, 1, 3) for x in apart]
    agree(loaded("MultiHeadAttention", {"q": q, "k": pair}, num_heads=HEADS), [q, pair], want)
    agree(loaded("MultiHeadAttention", {"q": q, "k": heads[0], "v": heads[1]}, num_heads=HEADS), [q, *heads], want)
    whole = np.stack([x.reshape(2, 5, HEADS, EACH) for x in (k, k, v)], 3)
    want = [np.stack([attended(k[i], k[i], v[i]) for i in range(2)]).astype(np.float32)]
    agree(loaded("MultiHeadAttention", {"q": whole}, num_heads=HEADS), [whole], want)


def turned(x: Array, places: Array, angles: Array) -> Array:
    """Heads (…, time, feature) whose halves are the parts of complex numbers."""
    half = x.shape[-1] // 2
    made = (x[..., :half] + 1j * x[..., half:]) * np.exp(1j * angles[places])
    return np.concatenate([made.real, made.imag], -1).astype(np.float32)


ANGLES = floats(9, EACH // 2)
TABLES = {"c": np.cos(ANGLES), "s": np.sin(ANGLES)}


@pytest.mark.parametrize("places", [np.array([[0, 3, 8], [1, 1, 2]]), np.array([4])], ids=["each", "first"])
def test_places_are_angles(places: Array) -> None:
    x = floats(2, 3, WIDTH)
    net = loaded("RotaryEmbedding", {"x": TIMES, "p": places}, constants=TABLES)
    at = places if places.ndim > 1 else np.arange(3)[None] + places
    heads = x.reshape(2, 3, HEADS, EACH).transpose(0, 2, 1, 3)
    want = turned(heads, at[:, None], ANGLES).transpose(0, 2, 1, 3).reshape(x.shape)
    agree(net, [x, places], [want])


def test_some_features_of_heads_are_turned_and_others_are_not() -> None:
    x, places = floats(2, HEADS, 3, 8), np.array([0])
    want = np.concatenate([turned(x[..., :EACH], np.arange(3), ANGLES), x[..., EACH:]], -1)
    agree(loaded("RotaryEmbedding", {"x": x, "p": places}, constants=TABLES), [x, places], [want])


def test_a_decoder_goes_on_where_each_sequence_ends() -> None:
    """Two sequences of other lengths, of which each has what it has alone: with fewer heads of keys, and rotations."""
    groups = 2 * EACH
    kept, steps = (FLOAT, ["batch", 2, "past", EACH]), ["batch", "time"]
    inputs = {
        "q": (FLOAT, [*steps, WIDTH]), "k": (FLOAT, [*steps, groups]), "v": (FLOAT, [*steps, groups]), "pk": kept,
        "pv": kept, "last": (INT32, ["batch"]), "total": (INT32, []),
    }  # fmt: skip
    sizes = {"num_heads": HEADS, "kv_num_heads": 2, "do_rotary": 1, "local_window_size": 3}
    net = loaded("GroupQueryAttention", inputs, "y key value", TABLES, **sizes)
    run = lucid.compile(net, *net.specs)
    q, k, v = floats(2, 6, WIDTH), floats(2, 6, groups), floats(2, 6, groups)
    lengths, empty = (4, 2), np.zeros((2, 2, 0, EACH), np.float32)
    want = [alone(q[i], k[i], v[i]) for i in range(2)]
    first = [x[:, :4] for x in (q, k, v)]
    y, *state = run(*first, empty, empty, np.array(lengths, np.int32) - 1, np.array(4, np.int32))
    for i, length in enumerate(lengths):
        np.testing.assert_allclose(y.numpy()[i, :length], want[i][:length], rtol=1e-5, atol=1e-5)
    for step in (0, 1):
        given = [np.stack([x[i, length + step][None] for i, length in enumerate(lengths)]) for x in (q, k, v)]
        y, *state = run(
            *given, *(x.numpy() for x in state), np.array(lengths, np.int32) + step, np.array(5 + step, np.int32)
        )
        for i, length in enumerate(lengths):
            np.testing.assert_allclose(y.numpy()[i, 0], want[i][length + step], rtol=1e-5, atol=1e-5)


def alone(q: Array, k: Array, v: Array) -> Array:
    """All places of one sequence at once; a query sees three keys."""
    places = np.arange(len(q))
    q, k = (np.concatenate([turned(x, places, ANGLES) for x in np.split(one, one.shape[-1] // EACH, -1)], -1)
            for one in (q, k))  # fmt: skip
    k, v = (np.repeat(x.reshape(-1, 2, EACH), 2, 1).reshape(-1, WIDTH) for x in (k, v))
    apart = places[:, None] - places
    return attended(q, k, v, (apart >= 0) & (apart < 3))


def test_integers_attend_as_what_they_stand_for() -> None:
    x, w = RNG.integers(0, 255, (2, 3, 8)).astype(np.uint8), RNG.integers(-90, 90, (8, 3 * WIDTH)).astype(np.int8)
    scales, bias = np.abs(floats(3 * WIDTH)) / 100, floats(3 * WIDTH)
    constants = {"w": w, "b": bias, "xs": np.float32(0.02), "ws": scales, "_": np.int8(0), "xz": np.uint8(99)}
    net = loaded("QAttention", {"x": x}, constants=constants, num_heads=HEADS)
    made = (x.astype(np.float32) - 99) * np.float32(0.02) @ (w * scales) + bias
    want = np.stack([attended(*np.split(one, 3, -1)) for one in made]).astype(np.float32)
    np.testing.assert_allclose(net(x).numpy(), want, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(lucid.compile(net, *net.specs)(x).numpy(), want, rtol=1e-4, atol=1e-4)


def test_a_mask_of_words_is_how_many_there_are() -> None:
    """What joins words counts those of each row, and attention sees so many keys; keys that are kept stand before."""
    ids, mask = (np.array(x, np.int32) for x in ([[1, 2, 3], [4, 5, 0]], [[1, 1, 1], [1, 1, 0]]))
    words, one = floats(9, WIDTH), np.ones(WIDTH, np.float32)
    constants = {"words": words, "places": np.zeros((4, WIDTH), np.float32), "one": one, "zero": one * 0,
                 "w": floats(WIDTH, 3 * WIDTH)}  # fmt: skip
    nodes = [
        helper.make_node("EmbedLayerNormalization", ["ids", "", "words", "places", "", "one", "zero", "mask"],
                         ["x", "count"], domain=OWN),
        helper.make_node("Attention", ["x", "w", "", "count"], ["y", "kept"], domain=OWN, num_heads=HEADS),
    ]  # fmt: skip
    net = lucid.onnx.load(model(nodes, {"ids": ids, "mask": mask}, ["x", "count", "y", "kept"], constants,
                                domains={OWN: 1}))  # fmt: skip
    x, count, y, kept = (one.numpy() for one in lucid.compile(net)(ids, mask))
    assert (count.tolist(), count.dtype, kept.shape) == ([3, 2], np.int32, (2, 2, HEADS, 3, EACH))
    for i, (q, k, v) in enumerate(np.split(one @ constants["w"], 3, -1) for one in x):
        np.testing.assert_allclose(y[i], attended(q, k, v, mask[i] > 0), rtol=1e-4, atol=1e-4)
        # sums of numbers of up to 10, some of which are near 0: float32 has those within 1e-6 (one is 3e-7 off)
        heads = np.stack([np.stack(np.split(t, HEADS, -1)) for t in (k, v)])
        np.testing.assert_allclose(kept[:, i], heads, rtol=1e-5, atol=1e-6)
    step = loaded(
        "Attention", {"x": x[:, :1], "w": constants["w"], "_b": x, "_m": x, "past": kept}, "y kept", num_heads=HEADS
    )
    y, whole = (one.numpy() for one in step(x[:, :1], constants["w"], kept))
    now = np.split(x[:, :1] @ constants["w"], 3, -1)
    flat = [t.transpose(0, 2, 1, 3).reshape(2, 4, WIDTH) for t in whole]
    np.testing.assert_array_equal(whole[:, :, :, :3], kept)
    for i in range(2):
        np.testing.assert_allclose(y[i], attended(now[0][i], flat[0][i], flat[1][i]), rtol=1e-4, atol=1e-4)


X3, KV = floats(2, 3, WIDTH), floats(2, 2, 3, EACH)
REFUSED: dict[str, tuple[str, dict[str, Any], dict[str, Any], str]] = {
    "a shared buffer": ("MultiHeadAttention", {"q": X3, "k": X3, "v": X3, "_1": 0, "_2": 0, "_3": 0, "_4": 0, "_5": 0,
                                               "n": np.array([3], np.int32)}, {}, "filled step by step"),
    "no values": ("MultiHeadAttention", {"q": X3, "k": X3}, {}, "needs queries, keys and values, got 2"),
    "a mask of positions": ("Attention", {"x": X3, "w": floats(WIDTH, 3 * WIDTH), "_": 0, "m": np.ones(8, np.int32)},
                            {}, r"a mask of int32\[8\] is not supported"),
    "its own rotation": ("Attention", {"x": X3, "w": floats(WIDTH, 3 * WIDTH)}, {"do_rotary": 1}, "turns its keys"),
    "scaled places": ("RotaryEmbedding", {"x": X3, "p": np.array([0]), "c": TABLES["c"], "s": TABLES["s"]},
                      {"scale": 2.0}, "positions that are scaled"),
    "shares below one": ("GroupQueryAttention", {"q": X3, "k": X3[..., :12], "v": X3[..., :12], "_1": 0, "_2": 0,
                         "l": np.array([2, 2], np.int32), "t": np.array(3, np.int32)},
                         {"smooth_softmax": 1, "kv_num_heads": 2}, "shares that do not add up"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_supported_is_refused(name: str) -> None:
    op, inputs, attributes, words = REFUSED[name]
    net = loaded(op, inputs, num_heads=HEADS, **attributes)
    with pytest.raises(GraphError, match=words):
        net(*(value for key, value in inputs.items() if not key.startswith("_")))
