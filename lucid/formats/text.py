"""The textual form of a graph: one node a line, printed stably and parsed back to the same graph.

::

    lucid graph 1
    inputs %x
    %x : float32[N, 1, 28, 28] = Input()
    %w : float32[8, 1, 3, 3] = Parameter() {name="conv.weight"}
    %conv : float32[N, 8, 26, 26] = Conv2d(%x, %w) {padding=(0, 0)}
    %pool : (float32[N, 8, 13, 13], uint8[N, 8, 13, 13]) = MaxPool2d(%conv) {kernel_size=(2, 2)}
    return %pool, %pool:1
    update "conv.weight" = %w

A result that is called something is followed by that: ``return %mean, %dw as "\\u2202 conv.weight"``.

A graph that a node runs follows it, between ``region`` with the name of the attribute, and ``end``::

    %if : float32[2] = If(%c, %x)
        region then
            inputs %x
            %relu : float32[2] = Relu(%x)
            return %relu
        end

Attributes equal to their defaults are left out, and so are the shape and dtype of sources, which are given by the type.
A type may be left out if it follows from the inputs. Parsing executes nothing.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import re
from collections.abc import Iterator
from itertools import starmap, zip_longest
from typing import NamedTuple

from ..base.lazy import networkx as nx
from ..errors import GraphError, LucidError, from_handler
from ..graph.dims import SymDim
from ..graph.fields import attrs_class, build_attrs, plain
from ..graph.ir import Dag, Graph, Node, Origin, Value
from ..graph.opdef import Attrs, ConstArray, OpDef, TypeAttrs, find_op
from ..graph.region import DEEPEST, Region, regions_of
from ..graph.types import DTYPES, DType, TensorType, as_dtype
from ..graph.verify import verify
from .encode import array_from_base64, array_from_items, array_text, decode_dim, format_type, node_attrs, parse_type

HEADER = "lucid graph 1"
_WORDS = {"None": None, "True": True, "False": False, "inf": float("inf"), "nan": float("nan")}

# ---------------------------------------------------------------- printing


def to_text(graph: Graph, *, origins: bool = False, elide: bool = False) -> str:
    """The textual form of ``graph``; equal graphs give equal text.

    Parameters
    ----------
    graph
        Any graph whose attributes can be printed.
    origins
        Append the origin of each node.
    elide
        Print a digest in place of large arrays: for reading, not for parsing.
    """
    return "\n".join([HEADER, *_lines(graph, origins, elide)]) + "\n"


def _lines(graph: Graph, origins: bool, elide: bool) -> Iterator[str]:
    if graph.inputs:
        yield "inputs " + ", ".join(map(_name, graph.inputs))
    for name, node in graph.nodes():
        try:
            yield _node_line(graph, name, node, origins, elide)
            for label, region in regions_of(node.attrs).items() if node.op.regions else ():
                yield f"    region {label}"
                yield from (f"        {line}" for line in _lines(region.graph, origins, elide))
                yield "    end"
        except LucidError as error:
            raise GraphError(f"node {name!r} ({node.op.name}): {error}") from error
    if graph.outputs:
        yield "return " + ", ".join(starmap(_result, zip_longest(graph.outputs, graph.names)))
    yield from (f"update {json.dumps(label)} = {_value(value)}" for label, value in graph.updates)


def graph_diff(before: Graph, after: Graph, names: tuple[str, str] = ("before", "after")) -> str:
    """The unified diff of the two textual forms; empty if they are equal."""
    old, new = (to_text(graph, elide=True).splitlines(keepends=True) for graph in (before, after))
    return "".join(difflib.unified_diff(old, new, *names))


def _name(name: str) -> str:
    return f"%{name}" if re.fullmatch(r"[\w.]+", name, re.ASCII) else f"%{json.dumps(name)}"


def _value(value: Value) -> str:
    return _name(value.node) + (f":{value.output}" if value.output else "")


def _result(value: Value, name: str | None) -> str:
    return f"{_value(value)} as {json.dumps(name)}" if name else _value(value)


def _node_line(graph: Graph, name: str, node: Node, origins: bool, elide: bool) -> str:
    types = [format_type(type_) for type_ in node.outputs]
    type_ = types[0] if len(types) == 1 else f"({', '.join(types)})"
    line = f"{_name(name)} : {type_} = {node.op.name}({', '.join(map(_value, graph.inputs_of(name)))})"
    fields = _fields(node.attrs, elide, _implied(node.op, node.outputs))
    if fields:
        line += f" {{{fields}}}"
    if origins and node.origin != Origin():
        o = node.origin
        line += f" from {format_value((o.modules, o.locations, o.history))}"
    return line


def _implied(op: OpDef, outputs: tuple[TensorType, ...]) -> dict[str, object]:
    """The attributes of a source that follow from its type."""
    if issubclass(op.attrs, TypeAttrs) and len(outputs) == 1:
        return {"shape": outputs[0].shape, "dtype": outputs[0].dtype}
    return {}


def _fields(attrs: Attrs, elide: bool, implied: dict[str, object]) -> str:
    defaults = {f.name: f.default for f in dataclasses.fields(attrs) if f.default is not dataclasses.MISSING}
    printed = []
    for name, value in attrs.items():
        if isinstance(value, Region):
            continue  # printed on lines of its own
        text = format_value(value, elide)
        known = implied if name in implied else defaults
        if name not in known or format_value(known[name], elide) != text:
            printed.append(f"{name}={text}")
    return ", ".join(printed)


def format_value(value: object, elide: bool = False) -> str:
    """An attribute value as text."""
    value = plain(value)
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, SymDim):
        text = str(value)
        return text if text.isidentifier() and text not in _WORDS and text not in DTYPES else f"<{text}>"
    if isinstance(value, ConstArray):
        return _format_array(value, elide)
    if isinstance(value, Attrs):
        return f"{type(value).__name__}{{{_fields(value, elide, {})}}}"
    if isinstance(value, tuple):
        items = [format_value(item, elide) for item in value]
        return f"({items[0]},)" if len(items) == 1 else f"({', '.join(items)})"
    try:
        return as_dtype(value).name
    except LucidError:
        raise GraphError(f"an attribute that is a {type(value).__name__} cannot be printed") from None


def _format_array(value: ConstArray, elide: bool) -> str:
    array = value.array
    text = array_text(array)
    if elide and text[0] == '"':
        text = f"sha256 {hashlib.sha256(text.encode()).hexdigest()[:16]}"
    return f"array({format_type(TensorType(array.shape, as_dtype(array.dtype)))}, {text})"


# ---------------------------------------------------------------- parsing


def parse_text(text: str) -> Graph:
    """The graph whose textual form is ``text``, verified.

    Blank lines and lines that start with ``#`` are skipped.

    Raises
    ------
    GraphError
        Names the line and what was expected there, or what is wrong with the graph.
    """
    numbered = enumerate(text.splitlines(), 1)
    lines = ((number, line) for number, line in numbered if line.strip() and line.lstrip()[0] != "#")
    number, header = next(lines, (1, ""))
    if header.strip() != HEADER:
        raise GraphError(f"line {number}: expected the header {HEADER!r}, found {header[:60]!r}")
    parsers = [_Parser()]
    for number, line in lines:
        cursor = _Cursor(line, number)
        try:
            _parse_line(parsers, cursor)
        except RecursionError as error:
            raise GraphError(f"line {number}: values are nested too deeply") from error
    if len(parsers) > 1:
        raise GraphError(f"line {number}: expected 'end' of the region, found the end of the text")
    graph = parsers[0].finished()
    verify(graph)
    return graph


def _parse_line(parsers: list[_Parser], c: _Cursor) -> None:
    """Parse a line for the innermost graph being read: the first parser is for the whole graph, others for regions."""
    c.match("[ \t]*")
    if c.match(r"region\b"):
        label = c.expect(r"[A-Za-z_]\w*", "the name of an attribute")
        if len(parsers) > DEEPEST:
            raise c.error(f"graphs are nested more than {DEEPEST} deep")
        parsers[-1].region = label, c
        parsers.append(_Parser())
        c.end()
    elif len(parsers) > 1 and c.match(r"end\b"):
        inner = parsers.pop().finished()
        parsers[-1].end_region(inner)
        c.end()
    else:
        parsers[-1].line(c)


def parse_value(text: str) -> object:
    """The attribute value that :func:`format_value` wrote."""
    cursor = _Cursor(text, 1)
    value = _parse_value(cursor)
    cursor.end()
    return value


class _Cursor:
    """A position in one line."""

    def __init__(self, text: str, number: int) -> None:
        self.text, self.number, self.at = text, number, 0

    def error(self, message: str) -> GraphError:
        return GraphError(f"line {self.number}, column {self.at + 1}: {message}")

    def match(self, pattern: str) -> str | None:
        """Consume ``pattern`` and the space after it."""
        found = re.compile(rf"({pattern})[ \t]*", re.ASCII).match(self.text, self.at)
        if found is None:
            return None
        self.at = found.end()
        return found[1]

    def expect(self, pattern: str, what: str) -> str:
        found = self.match(pattern)
        if found is None:
            rest = self.text[self.at : self.at + 30]
            raise self.error(f"expected {what}, found {repr(rest) if rest else 'the end of the line'}")
        return found

    def end(self) -> None:
        if self.at < len(self.text):
            raise self.error(f"expected the end of the line, found {self.text[self.at : self.at + 30]!r}")

    def string(self, what: str) -> str:
        raw = self.expect(r'"(?:[^"\\]|\\.)*"', what)
        try:
            result: str = json.loads(raw)
        except ValueError as error:
            raise self.error(f"not a string: {raw[:40]}") from error
        return result

    def list(self, closing: str) -> Iterator[int]:
        """Count the items of a comma-separated list up to ``closing``, which is consumed."""
        count = 0
        while self.match(re.escape(closing)) is None:
            if count:
                self.expect(",", f"',' or '{closing}'")
                if self.match(re.escape(closing)) is not None:
                    return
            yield count
            count += 1


class _Waiting(NamedTuple):
    """A node whose regions are still to follow."""

    name: str
    op: OpDef
    operands: list[Value]
    fields: dict[str, object]
    types: tuple[TensorType, ...] | None
    origin: Origin
    cursor: _Cursor
    start: int


class _Parser:
    """Builds the DAG line by line."""

    def __init__(self) -> None:
        self.dag: Dag = nx.MultiDiGraph()
        self.inputs: list[str] = []
        self.outputs: list[Value] = []
        self.names: list[str] = []
        self.updates: list[tuple[str, Value]] = []
        self.waiting: _Waiting | None = None
        self.region: tuple[str, _Cursor] | None = None

    def finished(self) -> Graph:
        """The graph, after all of its lines have been read."""
        self.settle()
        return Graph(self.dag, tuple(self.inputs), tuple(self.outputs), tuple(self.updates), tuple(self.names))

    def end_region(self, graph: Graph) -> None:
        """Add a region to the last node."""
        assert self.region is not None
        label, c = self.region
        if self.waiting is None:
            raise c.error("a region follows the node that holds it")
        if label in self.waiting.fields:
            raise c.error(f"the attribute {label!r} is given twice")
        self.waiting.fields[label] = Region(graph)

    def line(self, c: _Cursor) -> None:
        self.settle()
        if c.text.startswith("%", c.at):
            if self.outputs or self.updates:
                raise c.error("nodes come before 'return' and 'update'")
            self.node(c)
        elif c.match(r"inputs\b") and not self.inputs and not self.dag:
            self.inputs = [self.name(c)]
            while c.match(","):
                self.inputs.append(self.name(c))
        elif c.match(r"return\b") and not self.outputs:
            self.result(c)
            while c.match(","):
                self.result(c)
        elif c.match(r"update\b"):
            label = c.string("the name of a parameter in quotes")
            c.expect("=", "'='")
            self.updates.append((label, self.operand(c)))
        else:
            raise c.error("expected a node ('%name : type = Op(...)'), or once 'inputs', 'return', or 'update'")
        c.end()

    def name(self, c: _Cursor) -> str:
        c.expect('%(?=[\\w."])', "a name like %x")
        return c.string("a name") if c.text.startswith('"', c.at) else c.expect(r"[\w.]+", "a name")

    def operand(self, c: _Cursor) -> Value:
        start = c.at
        name = self.name(c)
        output = int(c.expect(r"\d{1,9}", "the number of an output")) if c.match(":") else 0
        if name not in self.dag:
            c.at = start
            raise c.error(f"%{name} is not defined above")
        return Value(name, output)

    def result(self, c: _Cursor) -> None:
        self.outputs.append(self.operand(c))
        self.names.append(c.string("what the result is called, in quotes") if c.match(r"as\b") else "")

    def node(self, c: _Cursor) -> None:
        name = self.name(c)
        if name in self.dag:
            raise c.error(f"%{name} is defined twice")
        types = self.types(c) if c.match(":") else None
        c.expect("=", "'='" if types is not None else "':' or '='")
        start = c.at
        try:
            op = find_op(c.expect(r"\w+", "the name of an op"))
            c.expect(r"\(", "'('")
            operands = [self.operand(c) for _ in c.list(")")]
            fields = _parse_fields(c) if c.match(r"\{") else {}
        except GraphError as error:
            if str(error).startswith("line "):
                raise
            c.at = start
            raise c.error(str(error)) from error
        self.waiting = _Waiting(name, op, operands, fields, types, _parse_origin(c), c, start)
        if not op.regions:
            self.settle()

    def settle(self) -> None:
        """Add the node that was waiting for its regions, if there is one."""
        if self.waiting is None:
            return
        (name, op, operands, fields, types, origin, c, start), self.waiting = self.waiting, None
        try:
            attrs = node_attrs(op, {**_implied(op, types or ()), **fields})
            outputs = types if types is not None else self.infer(op, attrs, operands)
        except GraphError as error:
            c.at = start
            raise c.error(str(error)) from error
        self.dag.add_node(name, node=Node(op, attrs, outputs, origin))
        self.dag.add_edges_from((v.node, name, slot, {"output": v.output}) for slot, v in enumerate(operands))

    def infer(self, op: OpDef, attrs: Attrs, operands: list[Value]) -> tuple[TensorType, ...]:
        inputs = []
        for value in operands:
            outputs = self.dag.nodes[value.node]["node"].outputs
            if value.output >= len(outputs):
                raise GraphError(f"%{value.node} has {len(outputs)} outputs, there is no output {value.output}")
            inputs.append(outputs[value.output])
        try:
            return op.infer_types(attrs, inputs)
        except Exception as error:  # a type rule may meet any attribute here
            if from_handler(error):
                raise
            raise GraphError(f"{op.name}: {error}") from error

    def types(self, c: _Cursor) -> tuple[TensorType, ...]:
        if c.match(r"\("):
            return tuple(_parse_type(c) for _ in c.list(")"))
        return (_parse_type(c),)


def _parse_type(c: _Cursor) -> TensorType:
    text = c.expect(r"\w+\[[^\]]*\](?:@[\d.]+)?", "a type like float32[N, 3]")
    try:
        return parse_type(text)
    except GraphError as error:
        raise c.error(str(error)) from error


def _parse_fields(c: _Cursor) -> dict[str, object]:
    fields: dict[str, object] = {}
    for _ in c.list("}"):
        name = c.expect(r"[A-Za-z_]\w*", "the name of an attribute")
        if name in fields:
            raise c.error(f"the attribute {name!r} is given twice")
        c.expect("=", "'='")
        fields[name] = _parse_value(c)
    return fields


def _parse_origin(c: _Cursor) -> Origin:
    if not c.match(r"from\b"):
        return Origin()
    value = _parse_value(c)
    if (
        not isinstance(value, tuple)
        or len(value) != 3
        or not all(isinstance(part, tuple) and all(isinstance(s, str) for s in part) for part in value)
    ):
        raise c.error("an origin is three tuples of strings: modules, locations, history")
    return Origin(*value)


def _parse_value(c: _Cursor) -> object:
    if c.text.startswith('"', c.at):
        return c.string("a string")
    if c.match(r"\("):
        return tuple(_parse_value(c) for _ in c.list(")"))
    if c.match("<"):
        text = c.expect("[^<>]*", "a dimension")
        c.expect(">", "'>'")
        return decode_dim(text)
    number = c.match(r"-?inf\b|-?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?")
    if number is not None:
        return _parse_number(c, number)
    word = c.expect(r"[^\W\d]\w*", "a value")
    if word == "array" and c.match(r"\("):
        return _parse_array(c)
    if c.match(r"\{"):
        return build_attrs(attrs_class(word), _parse_fields(c))
    if word in _WORDS:
        return _WORDS[word]
    return DTYPES[word] if word in DTYPES else decode_dim(word)


def _parse_number(c: _Cursor, text: str) -> int | float:
    try:
        return int(text) if text.lstrip("-").isdecimal() else float(text)
    except ValueError as error:
        raise c.error(f"not a number: {text[:30]}") from error


def _parse_array(c: _Cursor) -> ConstArray:
    type_ = _parse_type(c)
    if type_.symbols or type_.order is not None:
        raise c.error(f"the array's type {type_} must have a fixed shape and no memory order")
    dtype: DType = type_.dtype
    c.expect(",", "','")
    if c.match("sha256"):
        raise c.error("this text was printed with its arrays elided (elide=True); print it without to parse it")
    if c.match(r"\["):
        items = [c.expect(r"[-+\w.]+", "a number") for _ in c.list("]")]
        array = array_from_items(items, dtype, type_.concrete)
    else:
        array = array_from_base64(c.string("elements in [] or base64 in quotes"), dtype, type_.concrete)
    c.expect(r"\)", "')'")
    return array
