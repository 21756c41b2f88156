"""Text form: printed, parsed, printed again; and what a wrong text is told."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lucid.errors import GraphError
from lucid.formats.decode import decode_value
from lucid.formats.encode import (
    ArrayTable,
    array_from_base64,
    array_from_items,
    array_text,
    encode_value,
    format_type,
    parse_type,
)
from lucid.formats.serialize import dump, loads
from lucid.formats.text import format_value, graph_diff, parse_text, parse_value, to_text
from lucid.graph.dims import Dim, symbol
from lucid.graph.fields import declared_fields
from lucid.graph.ir import Graph
from lucid.graph.opdef import ConstArray, NoAttrs, TypeAttrs, all_ops
from lucid.graph.types import DTYPES, TensorType
from tests.cases.case import Case
from tests.graphs import SAMPLES, Sketch, chain, gradient, lenet, same_graph, several_outputs, skips
from tests.op_checks import all_cases, inputs_of, joint_graph, trace, trace_symbolic, types_of

LENET = """\
lucid graph 1
inputs %x
%x : float32[N, 1, 28, 28] = Input()
%features.0.conv.weight : float32[6, 1, 5, 5] = Parameter() {name="features.0.conv.weight"}
%features.0.conv.bias : float32[6] = Parameter() {name="features.0.conv.bias"}
%features.0.conv.conv2d : float32[N, 6, 28, 28] = \
Conv2d(%x, %features.0.conv.weight, %features.0.conv.bias) {padding=(2, 2, 2, 2)}
%features.0.act.relu : float32[N, 6, 28, 28] = Relu(%features.0.conv.conv2d)
%features.0.pool.max_pool2d : (float32[N, 6, 14, 14], uint8[N, 6, 14, 14]) = \
MaxPool2d(%features.0.act.relu) {kernel=(2, 2), stride=(2, 2)}
"""


def test_golden() -> None:
    assert to_text(lenet()).startswith(LENET)
    given = to_text(gradient()).splitlines()[-1]
    assert given.startswith("return %head.add, %features.0.conv.conv2d_grad_weight as ")
    assert given.endswith(r', %head.sum as "\u2202 head.bias"')


@pytest.mark.parametrize("name", SAMPLES)
def test_round_trip(name: str) -> None:
    graph = SAMPLES[name]()
    text = to_text(graph)
    assert to_text(parse_text(text)) == text
    full = to_text(graph, origins=True)
    parsed = parse_text(full)
    assert same_graph(parsed, graph)
    assert to_text(parsed, origins=True) == full


def test_not_topological_insertion() -> None:
    graph = skips()
    dag = graph.dag.__class__()
    for name in reversed(graph.order):
        dag.add_node(name, **graph.dag.nodes[name])
    dag.add_edges_from(graph.dag.edges(keys=True, data=True))
    shuffled = type(graph)(dag, graph.inputs, graph.outputs)
    text = to_text(shuffled)
    assert to_text(parse_text(text)) == text


def test_long_chain() -> None:
    graph = chain(5000)
    assert same_graph(parse_text(to_text(graph)), graph)


def test_what_may_be_left_out() -> None:
    graph = parse_text("""

        # a comment
        lucid graph 1
        inputs %x
        %x : float32[N, 4] = Input()
          %y = Relu( %x )
        %z=Mul(%y,%y,)
        return %z
    """)
    assert str(graph.output_types[0]) == "float32[N, 4]"


def test_a_value_that_only_equals_its_default_is_printed() -> None:
    text = HEAD + "%a = Full() {shape=(), dtype=float32, value=-0.0}\n%b = Full() {shape=(), dtype=bool, value=False}\n"
    printed = to_text(parse_text(text))
    assert "{value=-0.0}" in printed
    assert "{value=False}" in printed


def test_elided_arrays_differ_but_do_not_parse() -> None:
    def text(value: float) -> str:
        s = Sketch()
        x = s.input("x", 100)
        return to_text(s.finish(x * np.full(100, value, np.float32)), elide=True)

    assert len(text(1)) < 400
    assert text(1) != text(2)
    with pytest.raises(GraphError, match="elided"):
        parse_text(text(1))


def test_diff() -> None:
    a = several_outputs()
    b = parse_text(to_text(a).replace("{value=0.9}", "{value=0.8}"))
    assert graph_diff(a, a) == ""
    lines = graph_diff(a, b, ("traced", "simplify")).splitlines()
    assert lines[:2] == ["--- traced", "+++ simplify"]
    assert [line for line in lines[2:] if line[0] in "+-"] == [
        "-%full : float32[] = Full() {value=0.9}",
        "+%full : float32[] = Full() {value=0.8}",
    ]


HEAD = "lucid graph 1\ninputs %x\n%x : float32[2, 3] = Input()\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: expected the header 'lucid graph 1'"),
        ("lucid graph 2\n", "line 1: expected the header"),
        (HEAD + "nonsense", "line 4, column 1: expected a node"),
        (HEAD + "%y : float32[2, 3 = Relu(%x)", "line 4, column 6: expected a type"),
        (HEAD + "%y : float16[2] = Relu(%x)", "line 4.*not a type"),
        (HEAD + "%y : float32[2**9] = Relu(%x)", "line 4.*not a dimension"),
        (HEAD + "%y : float32[f(N)] = Relu(%x)", "line 4.*not a dimension"),
        (HEAD + "%y = Nonesuch(%x)", "line 4, column 6: unknown op 'Nonesuch'"),
        (HEAD + "%y = Relu(%q)", "line 4, column 11: %q is not defined above"),
        (HEAD + "%y = Relu(%x:1)", "line 4.*'?%?x'? has 1 outputs"),
        (HEAD + "%y : float32[2, 3] = Relu(%x:1)", "node 'y' .*output 1 of 'x'"),
        (HEAD + "%y = Relu(%x", r"expected ',' or '\)', found the end of the line"),
        (HEAD + "%y Relu(%x)", "expected ':' or '='"),
        (HEAD + "%y = Relu(%x) garbage", "expected the end of the line, found 'garbage'"),
        (HEAD + "%x = Relu(%x)", "%x is defined twice"),
        (HEAD + "%y = Relu(%x, %x)", "Relu: takes 1 inputs"),
        (HEAD + "%y = Relu(%x) {alpha=1}", "Relu: unknown attribute 'alpha'; NoAttrs has none"),
        (HEAD + "%y = Sum(%x)", r"Sum: the attributes \['axes'\] of ReduceAttrs are missing"),
        (HEAD + "%y = Sum(%x) {axes=0}", "'axes' of ReduceAttrs cannot be 0"),
        (HEAD + "%y = Sum(%x) {axes=(0.5,)}", r"cannot be \(0.5,\)"),
        (HEAD + "%y = Sum(%x) {axes=(0,), keepdims=1}", "'keepdims' of ReduceAttrs cannot be 1"),
        (HEAD + "%y = Sum(%x) {axes=(True,)}", r"cannot be \(True,\)"),
        (HEAD + "%y = Sum(%x) {axes=(0,), axes=(1,)}", "'axes' is given twice"),
        (HEAD + "%y = Sum(%x) {axes=(5,)}", r"Sum: axes \(5,\) do not fit"),
        (HEAD + "%y : float32[3] = Relu(%x)", r"node 'y' \(Relu\): .* float32\[3\], but float32\[2, 3\] follows"),
        (HEAD + "%y : float32[2] = Input()", "Input nodes are"),
        (HEAD + '%y = Relu(%x) from ("a",)', "an origin is three tuples"),
        (HEAD + "return %y", "%y is not defined"),
        (HEAD + "return %x\n%y = Relu(%x)", "line 5, column 1: nodes come before"),
        (HEAD + "return %x as w", "what the result is called, in quotes, found 'w'"),
        (HEAD + 'return %x as "a" "b"', "expected the end of the line"),
        (HEAD + 'return %x as "a\\nb"', r"an output is called 'a\\nb': its name is"),
        (HEAD + "update w = %x", "the name of a parameter in quotes"),
        (HEAD + "%c = Constant() {value=array(float32[2], [1])}", "has 2 elements, got 1"),
        (HEAD + "%c = Constant() {value=array(int8[1], [300])}", "not elements of a int8 array"),
        (HEAD + "%c = Constant() {value=array(int8[1], [x])}", "not elements of a int8 array"),
        (HEAD + '%c = Constant() {value=array(int8[1000000000000], "AAAA")}', "takes 1000000000000 bytes, got 3"),
        (HEAD + '%c = Constant() {value=array(int8[3], "A*==")}', "not base64"),
        (HEAD + "%c = Constant() {value=array(int8[N], [1])}", "must have a fixed shape"),
        (HEAD + "%y = Sum(%x) {axes=" + "(" * 5000 + ")" * 5000 + "}", "nested too deeply"),
        (HEAD + "%y = Sum(%x) {axes=(" + "9" * 5000 + ",)}", "not a number"),
        (HEAD + "%y : float32[" + "N+" * 900 + "N] = Relu(%x)", "not a dimension|follows from its inputs"),
        (HEAD + "%y : float32[" + "*".join(f"(a{i}+1)" for i in range(60)) + "] = Relu(%x)", "not a dimension"),
    ],
)
def test_wrong_text(text: str, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        parse_text(text)


def test_damaged_text_never_escapes() -> None:
    rng = np.random.default_rng(3)
    texts = [to_text(make(), origins=True) for make in SAMPLES.values()]
    for _ in range(400):
        text = list(texts[rng.integers(len(texts))])
        for _ in range(rng.integers(1, 4)):
            at, what = rng.integers(len(text)), rng.integers(3)
            text[at : at + rng.integers(0, 6)] = [] if what == 0 else [chr(rng.integers(9, 126))] * what
        with contextlib.suppress(GraphError):
            parse_text("".join(text))


# ---------------------------------------------------------------- values

dims = st.recursive(
    st.one_of(st.integers(-3, 9), st.sampled_from([symbol("N"), symbol("inf"), symbol("float32")])),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda p: p[0] + p[1]),
        st.tuples(inner, inner).map(lambda p: p[0] * p[1]),
        st.tuples(inner, st.integers(1, 5)).map(lambda p: p[0] // p[1]),
    ),
    max_leaves=6,
)
arrays = st.sampled_from([
    np.arange(100, dtype=np.int64), np.array(True), np.array([np.nan, -0.0, np.inf]), np.zeros((2, 0), np.uint8),
    np.array([[1e-45, 0.1]], np.float32), np.frombuffer(b"\x01\x00\xc0\x7f", np.float32),
])  # fmt: skip
values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), dims, arrays.map(ConstArray),
        st.sampled_from(list(DTYPES.values())), st.just(NoAttrs()),
        st.builds(TypeAttrs, st.tuples(dims), st.just(DTYPES["bool"])),
    ),
    lambda inner: st.lists(inner, max_size=3).map(tuple),
    max_leaves=8,
)  # fmt: skip


@given(values)
def test_values_survive_json(value: object) -> None:
    table = ArrayTable()
    data = encode_value(value, table)
    back = decode_value(data, list(table.numbers))
    assert back == value
    assert repr(back) == repr(value)  # tells 1 from True and 0.0 from -0.0


@given(values)
def test_values_survive_text(value: object) -> None:
    back = parse_value(format_value(value))
    assert back == value
    assert repr(back) == repr(value)


@given(st.lists(dims, max_size=12), st.sampled_from(list(DTYPES.values())), st.randoms(use_true_random=False))
def test_types_survive(shape: list[Dim], dtype: np.dtype[np.generic], random: object) -> None:
    order = list(range(len(shape)))
    random.shuffle(order)  # type: ignore[attr-defined]
    for type_ in (TensorType(tuple(shape), dtype), TensorType(tuple(shape), dtype, tuple(order))):
        assert parse_type(format_type(type_)) == type_


@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_survive(dtype: str) -> None:
    rng = np.random.default_rng(0)
    for size in (0, 1, 7, 32, 33):
        array = np.frombuffer(rng.bytes(size * 8), np.uint8)[: size * np.dtype(dtype).itemsize]
        value = (array % 2).astype(bool)[:size] if dtype == "bool" else array.view(dtype)
        text = array_text(value)
        assert (text[0] == "[") == (size <= 32) or dtype.startswith("float")
        words = [word for word in text[1:-1].split(", ") if word]
        read = array_from_items if text[0] == "[" else array_from_base64
        back = read(words if text[0] == "[" else text[1:-1], DTYPES[dtype], (size,))  # type: ignore[operator]
        assert back == ConstArray(value)


def test_attributes_of_every_op_can_be_described() -> None:
    """Every field of every op's attributes has a declared kind that decoding can check."""
    for op in all_ops():
        if op.name != "Call":  # holds a live function; such graphs are neither printed nor saved
            declared_fields(op.attrs)


def row_graph(case: Case) -> Graph:
    """Forward and backward graph of a row of the test table, with a symbolic first axis where the row allows one."""
    types = types_of(inputs_of(case, "float32"))
    symbolic = None if "static" in case.tags else trace_symbolic(case.function, types)
    graph = trace(case.function, types) if symbolic is None else symbolic[0]
    return joint_graph(graph) if case.gradient else graph


@pytest.mark.parametrize("case", all_cases(), ids=lambda case: case.name)
def test_every_op_survives(case: Case) -> None:
    graph = row_graph(case)
    assert same_graph(parse_text(to_text(graph, origins=True)), graph)
    assert same_graph(loads(dump({"g": graph})).graphs["g"], graph)
