"""LSTM, GRU and RNN against the format's reference, and against brute force where that knows no other direction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import lucid
from lucid.errors import LucidError

from .. import recurrent as brute
from .models import Case, expected, one

Array = np.ndarray[Any, Any]
TIMES, BATCH, FEATURES, HIDDEN = 5, 3, 4, 6
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
FUNCTIONS: dict[str, brute.Activation] = {
    "Sigmoid": brute.sigmoid, "Tanh": np.tanh, "Relu": lambda x: np.maximum(x, 0),
    "HardSigmoid": lambda x: np.clip(0.3 * x + 0.4, 0, 1), "Softsign": lambda x: x / (1 + np.abs(x)),
}  # fmt: skip
USUAL = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}


def layer(op: str, *left_out: str, lengths: Sequence[int] | None = None, opset: int = 14, **attributes: Any) -> Case:
    """A layer whose weights are constants of the file."""
    rng = np.random.default_rng(1)
    directions, rows = 1 + (attributes.get("direction") == "bidirectional"), GATES[op] * HIDDEN
    shapes: dict[str, tuple[int, ...]] = {
        "x": (TIMES, BATCH, FEATURES), "w": (directions, rows, FEATURES), "r": (directions, rows, HIDDEN),
        "b": (directions, 2 * rows), "lengths": (), "h": (directions, BATCH, HIDDEN), "c": (directions, BATCH, HIDDEN),
        "p": (directions, 3 * HIDDEN),
    }  # fmt: skip
    if attributes.get("layout"):
        shapes |= {name: (shapes[name][1], shapes[name][0], shapes[name][2]) for name in "xhc"}
    given: dict[str, Array | None] = {
        name: None if name in left_out else (0.6 * rng.standard_normal(shape)).astype(np.float32)
        for name, shape in shapes.items()
    }  # fmt: skip
    given["lengths"] = None if lengths is None else np.array(lengths, np.int32)
    arrays = list(given.values())[: 8 if op == "LSTM" else 6]
    constant = [i for i in (1, 2, 3, 7) if i < len(arrays) and arrays[i] is not None]
    outputs = 3 if op == "LSTM" else 2
    return one(op, arrays, outputs, opset=opset, constant=constant, hidden_size=HIDDEN, **attributes)


def defined(case: Case) -> list[Array]:
    """The results of a layer by brute force."""
    (node,) = case.proto.graph.node
    attributes = {a.name: a for a in node.attribute}
    arrays: dict[str, Array] = {**case.inputs}
    arrays |= {t.name: np.frombuffer(t.raw_data, np.float32).reshape(t.dims) for t in case.proto.graph.initializer}
    x, w, r, b, lengths, h, c, p = (arrays.get(name) for name in [*node.input, *[""] * 8][:8])
    assert x is not None and w is not None and r is not None
    ways = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}
    direction = attributes["direction"].s.decode() if "direction" in attributes else "forward"
    names = [s.decode() for s in attributes["activations"].strings] if "activations" in attributes else []
    names = names or [*USUAL[node.op_type]] * len(ways[direction])
    clip = attributes["clip"].f if "clip" in attributes else np.inf
    before = "linear_before_reset" in attributes and bool(attributes["linear_before_reset"].i)
    found = []
    for d, backwards in enumerate(ways[direction]):
        own = names[d * len(names) // len(ways[direction]) :]
        f = [lambda z, name=name: FUNCTIONS[name](np.clip(z, -clip, clip)) for name in own]
        if len(f) > 2:
            f[2] = FUNCTIONS[own[2]]
        zeros, rows = np.zeros((x.shape[1], HIDDEN)), w.shape[1]
        begin = [zeros if one is None else one[d] for one in ((h, c) if node.op_type == "LSTM" else (h,))]
        bias = np.zeros(2 * rows) if b is None else b[d]
        inside, rd = bias[:rows] + (0 if node.op_type == "GRU" else bias[rows:]), r[d]
        peep = None if p is None else p[d]
        steps = {
            "LSTM": lambda seen, h, c, f=f, rd=rd, peep=peep: brute.lstm(seen, rd, h, c, f, peep),
            "GRU": lambda seen, h, f=f, rd=rd, rb=bias[rows:]: brute.gru(seen, rd, h, f, rb, before),
            "RNN": lambda seen, h, f=f, rd=rd: (f[0](seen + h @ rd.T),),
        }
        times = np.full(x.shape[1], len(x)) if lengths is None else lengths
        found.append(brute.over_time(x, w[d], inside, begin, steps[node.op_type], times, backwards))
    y, *last = zip(*found, strict=True)
    return [np.stack(y, 1), *(np.stack(one) for one in last)]


EVERY = ("LSTM", "GRU", "RNN")
REFERENCE: dict[str, Case] = {
    **{op: layer(op, "p") for op in EVERY},
    **{f"{op} of opset 7": layer(op, "p", opset=7) for op in EVERY},
    **{f"{op} plain": layer(op, "b", "h", "c", "p") for op in EVERY},
    **{f"{op} batch first": layer(op, "p", layout=1) for op in EVERY},
    "LSTM peepholes": layer("LSTM"),
    "GRU linear before reset": layer("GRU", linear_before_reset=1),
}
BRUTE: dict[str, Case] = {
    **{f"{op} {way}": layer(op, "p", direction=way) for op in EVERY for way in ("reverse", "bidirectional")},
    **{f"{op} lengths": layer(op, "p", lengths=(2, 5, 3), direction="bidirectional") for op in EVERY},
    **{f"{op} clip": layer(op, "p", clip=0.4) for op in EVERY},
    "LSTM peepholes, lengths": layer("LSTM", lengths=(1, 5, 4), direction="bidirectional", clip=0.7),
    "LSTM activations": layer(
        "LSTM", "p", direction="bidirectional", activation_alpha=[0.3], activation_beta=[0.4],
        activations=["Sigmoid", "Softsign", "Relu", "HardSigmoid", "Tanh", "Tanh"],
    ),
    "GRU activations": layer("GRU", activations=["HardSigmoid", "Relu"], activation_alpha=[0.3], activation_beta=[0.4]),
    "GRU before, lengths": layer(
        "GRU", lengths=(2, 1, 5), direction="bidirectional", linear_before_reset=1, clip=0.6
    ),
}  # fmt: skip
CASES = {**REFERENCE, **BRUTE}


def _close(found: Sequence[Any], wanted: Sequence[Array]) -> None:
    for y, want in zip(found, wanted, strict=True):
        assert y.shape == want.shape
        np.testing.assert_allclose(y.numpy(), want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_a_layer_is_what_the_format_says(name: str) -> None:
    case = CASES[name]
    model = lucid.onnx.load(case.proto)
    wanted = expected(*case) if name in REFERENCE else defined(case)
    arrays = [case.inputs[one] for one in model.input_names]
    _close(model(*arrays), wanted)
    _close(lucid.compile(model)(*arrays), wanted)


@pytest.mark.parametrize("name", [f"{op} batch first" for op in EVERY])
def test_brute_force_is_what_the_format_says(name: str) -> None:
    """So far as its reference goes."""
    batch_first = REFERENCE[name]
    op = name.split()[0]
    case = layer(op, "p")
    _close([lucid.Tensor(y) for y in defined(case)], expected(*case))
    x, h = batch_first.inputs["x0"], expected(*batch_first)[1]
    assert (x.shape[0], h.shape) == (BATCH, (BATCH, 1, HIDDEN))


@pytest.mark.parametrize("op", GATES)
def test_a_node_may_end_with_its_weights(op: str) -> None:
    case = layer(op, "b", "h", "c", "p")
    (node,) = case.proto.graph.node
    wanted = defined(case)
    while not node.input[-1]:
        node.input.pop()
    assert len(node.input) == 3
    model = lucid.onnx.load(case.proto)
    _close(model(*case.inputs.values()), wanted)


def test_sizes_may_be_symbolic() -> None:
    case = layer("LSTM", "p", "h", "c", direction="bidirectional")
    model = lucid.onnx.load(case.proto)
    net = lucid.compile(model, lucid.spec("T", "N", FEATURES))
    for times, batch in ((1, 1), (7, 2), (0, 2), (3, 0)):
        x = np.random.default_rng(0).standard_normal((times, batch, FEATURES)).astype(np.float32)
        _close(net(x), defined(Case(case.proto, {"x0": x})))


def test_gates_may_be_coupled() -> None:
    """The forget gate is what the input gate leaves."""
    case = layer("LSTM", "p", "h", "c", input_forget=1)
    w, r, b = (np.frombuffer(t.raw_data, np.float32).reshape(t.dims)[0] for t in case.proto.graph.initializer)
    h = c = np.zeros((BATCH, HIDDEN))
    for x in case.inputs["x0"]:
        i, o, _, new = np.split(x @ w.T + h @ r.T + b[: len(b) // 2] + b[len(b) // 2 :], 4, 1)
        share = brute.sigmoid(i)
        c = (1 - share) * c + share * np.tanh(new)
        h = brute.sigmoid(o) * np.tanh(c)
    _, last, cells = lucid.onnx.load(case.proto)(case.inputs["x0"])
    _close([last, cells], [h[None], c[None]])


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"direction": "sideways"}, "unknown direction 'sideways'"),
        ({"activations": ["Sigmoid", "Wave", "Tanh"]}, "unknown activation 'Wave'"),
        ({"input_forget": 1, "activations": ["HardSigmoid", "Tanh", "Tanh"]}, "input_forget with another activation"),
        ({"activations": ["Sigmoid"]}, "needs 3 activations, got 1"),
    ],
)
def test_what_is_not_known_is_refused(attributes: dict[str, Any], message: str) -> None:
    case = layer("LSTM", "p", **attributes)
    with pytest.raises(LucidError, match=message):
        lucid.onnx.load(case.proto)(*case.inputs.values())
