"""Graphs from the JSON of a file. Everything in it is checked: kinds, numbers, names, types, sizes and work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from ..base.lazy import networkx as nx
from ..errors import GraphError, LucidError, PluginError
from ..graph.builder import MAX_NAME
from ..graph.dims import limited_work
from ..graph.fields import attrs_class, build_attrs
from ..graph.ir import Dag, Graph, Node, Origin, Value
from ..graph.opdef import Attrs, ConstArray, find_op
from ..graph.region import DEEPEST, Region
from ..graph.types import DTYPES, TensorType
from ..graph.verify import verify
from .container import MAX_RANK
from .encode import decode_dim, parse_type
from .sizes import check_sizes

JSON: TypeAlias = Any

WORK, WORK_PER_NODE = 20_000, 200
"""The most products of terms for computing dimensions, in total and per node; ordinary graphs need a tenth."""


def decode_graphs(data: JSON, constants: Sequence[ConstArray]) -> dict[str, Graph]:
    """Verified graphs by name."""
    graphs = {}
    for name, one in _fields(data, None, "the graphs").items():
        try:
            with limited_work(WORK + WORK_PER_NODE * _count(one)):
                graphs[name] = _decode_graph(one, constants)
                verify(graphs[name])
                check_sizes(graphs[name])
        except PluginError:
            raise
        except LucidError as error:
            raise GraphError(f"graph {name[:60]!r}: {error}") from error
    return graphs


def _count(data: JSON) -> int:
    """The number of nodes of a graph, including nested graphs."""
    found, level, depth = 0, [data], 0
    while level:
        if depth > DEEPEST:
            raise GraphError(f"graphs are nested more than {DEEPEST} deep")
        lists = [one.get("nodes") for one in level if isinstance(one, dict)]
        nodes = [node for one in lists if isinstance(one, list) for node in one]
        found, depth = found + len(nodes), depth + 1
        attrs = [node.get("attrs") for node in nodes if isinstance(node, dict)]
        held = [value for one in attrs if isinstance(one, dict) for value in one.values()]
        level = [value["graph"] for value in held if isinstance(value, dict) and "graph" in value]
    return found


def _decode_graph(data: JSON, constants: Sequence[ConstArray]) -> Graph:
    data = _fields(data, {"nodes", "types", "origins", "inputs", "outputs", "updates"}, "a graph", {"names": []})
    types = _Types(_items(data["types"], "types"))
    origins = [_decode_origin(item) for item in _items(data["origins"], "origins")]
    dag: Dag = nx.MultiDiGraph()
    names: list[str] = []
    for item in _items(data["nodes"], "nodes"):
        name, node, inputs = _decode_node(item, types, origins, constants, len(names))
        if name in dag:
            raise GraphError(f"two nodes are named {name!r}")
        dag.add_node(name, node=node)
        dag.add_edges_from((names[i], name, slot, {"output": output}) for slot, (i, output) in enumerate(inputs))
        names.append(name)
    outputs = [_reference(item, len(names)) for item in _items(data["outputs"], "outputs")]
    updates = []
    for item in _items(data["updates"], "updates"):
        parts = _items(item, "an update")
        if len(parts) != 3:
            raise GraphError("an update has three parts")
        number, output = _reference(parts[1:], len(names))
        updates.append((_text(parts[0], "an updated parameter"), Value(names[number], output)))
    return Graph(
        dag,
        tuple(names[_index(item, len(names), "an input")] for item in _items(data["inputs"], "inputs")),
        tuple(Value(names[number], output) for number, output in outputs),
        tuple(updates),
        tuple(_name(item, "a result's name") for item in _items(data["names"], "names")),
    )


def _decode_node(
    data: JSON, types: _Types, origins: list[Origin], constants: Sequence[ConstArray], number: int
) -> tuple[str, Node, list[tuple[int, int]]]:
    optional: dict[str, JSON] = {"attrs": {}, "inputs": [], "origin": None}
    data = _fields(data, {"name", "op", "types"}, f"node number {number}", optional)
    name = _name(data["name"], "a node's name")
    try:
        op = find_op(_text(data["op"], "an op"))
        attrs = decode_attrs(op.attrs, _fields(data["attrs"], None, "attributes"), constants)
        outputs = tuple(types[i] for i in _items(data["types"], "types"))
        origin = data["origin"]
        source = Origin() if origin is None else origins[_index(origin, len(origins), "an origin")]
        inputs = [_reference(item, number) for item in _items(data["inputs"], "inputs")]
    except PluginError:
        raise
    except LucidError as error:
        raise GraphError(f"node {name!r}: {error}") from error
    return name, Node(op, attrs, outputs, source), inputs


class _Types:
    """The table of types; each is parsed when a node first uses it."""

    def __init__(self, texts: list[JSON]) -> None:
        self._texts = texts
        self._read: dict[int, TensorType] = {}

    def __getitem__(self, data: JSON) -> TensorType:
        index = _index(data, len(self._texts), "a type")
        if index not in self._read:
            self._read[index] = type_ = parse_type(_text(self._texts[index], "a type"))
            if type_.rank > MAX_RANK:
                raise GraphError(f"a type has {type_.rank} axes, a value has at most {MAX_RANK}")
        return self._read[index]


def _decode_origin(data: JSON) -> Origin:
    parts = _items(data, "an origin")
    if len(parts) != 3:
        raise GraphError("an origin has three parts")
    origin = Origin(*(tuple(_text(item, "an origin") for item in _items(part, "an origin")) for part in parts))
    for text in (*origin.modules, *origin.locations, *origin.history):
        if not text.isprintable():
            raise GraphError(f"an origin holds other than printable characters: {text[:60]!r}")
    return origin


def _fields(
    data: JSON, required: set[str] | None, what: str, optional: Mapping[str, JSON] | None = None
) -> dict[str, JSON]:
    """``data`` as an object with exactly these fields (any if ``required`` is None), with defaults filled in."""
    if not isinstance(data, dict):
        raise GraphError(f"{what}: expected an object, found {str(data)[:60]}")
    if required is None:
        return data
    filled = {**(optional or {}), **data}
    wrong = set(filled) ^ (required | set(optional or {}))
    if wrong:
        raise GraphError(f"{what}: unknown or missing fields {sorted(wrong)}")
    return filled


def _items(data: JSON, what: str) -> list[JSON]:
    if not isinstance(data, list):
        raise GraphError(f"{what}: expected a list, found {str(data)[:60]}")
    return data


def _text(data: JSON, what: str) -> str:
    if not isinstance(data, str):
        raise GraphError(f"{what}: expected a string, found {str(data)[:60]}")
    return data


def _name(data: JSON, what: str) -> str:
    name = _text(data, what)
    if len(name) > MAX_NAME:
        raise GraphError(f"{what} has {len(name)} characters: {name[:60]!r}")
    return name


def _index(data: JSON, count: int, what: str) -> int:
    if type(data) is not int or not 0 <= data < count:
        raise GraphError(f"{what}: {str(data)[:60]} is not a number below {count}")
    return data


def _reference(data: JSON, count: int) -> tuple[int, int]:
    """``5`` or ``[5, 1]``: a value of one of the first ``count`` nodes."""
    number, output = data if isinstance(data, list) and len(data) == 2 else (data, 0)
    return _index(number, count, "an input or result"), _index(output, 1 << 31, "an output")


# ---------------------------------------------------------------- attributes


def decode_value(data: object, arrays: Sequence[ConstArray]) -> object:
    """The inverse of :func:`encode_value`."""
    if data is None or isinstance(data, bool | int | float | str):
        return data
    if isinstance(data, list):
        return tuple(decode_value(item, arrays) for item in data)
    if isinstance(data, dict):
        match data:
            case {"float": "inf" | "-inf" | "nan" as text, **rest} if not rest:
                return float(text)
            case {"dim": str(text), **rest} if not rest:
                return decode_dim(text)
            case {"dtype": str(text), **rest} if not rest and text in DTYPES:
                return DTYPES[text]
            case {"array": int(number), **rest} if not rest and 0 <= number < len(arrays):
                return arrays[number]
            case {"graph": dict(graph), **rest} if not rest:
                return Region(_decode_graph(graph, arrays))
            case {"class": str(name), "fields": dict(fields), **rest} if not rest:
                return decode_attrs(attrs_class(name), fields, arrays)
    raise GraphError(f"not an attribute value: {str(data)[:80]}")


def decode_attrs(cls: type[Attrs], data: Mapping[str, object], arrays: Sequence[ConstArray]) -> Attrs:
    """Attributes of class ``cls`` from their JSON fields."""
    return build_attrs(cls, {name: decode_value(value, arrays) for name, value in data.items()})
