""".lucid files: a safetensors file with arrays as tensors and graphs as canonical JSON in its metadata.

Layout (that of safetensors): eight bytes with the header's length, little-endian; the header, a JSON
object padded with spaces; the bytes of the tensors. Metadata: ``format`` and ``version``; ``graphs``, a
JSON object of graphs by name; ``extra``, any JSON; ``sha256``, the digest of all the rest. Constants
inside graphs are tensors named ``@constant/0`` and so on. The same content gives the same bytes.

Reading executes nothing, and checks everything that the header claims before it allocates anything.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, TypeAlias

import numpy as np

from ..collector import collector_paused
from ..errors import FileError, GraphError, LucidError
from ..lazy import networkx as nx
from .builder import printable
from .encode import ArrayTable, decode_attrs, encode_attrs, format_type, parse_type
from .files import open_regular, write_atomically
from .ir import Dag, Graph, Node, Origin, Value
from .opdef import ConstArray, find_op
from .types import DTYPES, DType, TensorType
from .verify import verify

Array: TypeAlias = "np.ndarray[Any, Any]"
JSON: TypeAlias = Any

FORMAT, VERSION = "lucid", "1"
#: Longest header that is read or written; the limit of the safetensors library.
MAX_HEADER = 100_000_000
_CONSTANT = "@constant/"
_TENSOR_TYPES = {
    "float32": "F32", "float64": "F64", "bool": "BOOL", "int8": "I8", "int16": "I16", "int32": "I32", "int64": "I64",
    "uint8": "U8", "uint16": "U16", "uint32": "U32", "uint64": "U64",
}  # fmt: skip
_FROM_TENSOR_TYPE = {code: DTYPES[name] for name, code in _TENSOR_TYPES.items()}


@dataclass(frozen=True)
class Archive:
    """What a .lucid file holds.

    Attributes
    ----------
    graphs
        Verified graphs by name.
    arrays
        Arrays by name: parameters' values, usually. Writable, each with its own memory.
    extra
        Whatever JSON was saved along.
    """

    graphs: Mapping[str, Graph]
    arrays: Mapping[str, Array] = field(default_factory=dict)
    extra: JSON = None


# ---------------------------------------------------------------- writing


def save(
    path: str | os.PathLike[str],
    graphs: Mapping[str, Graph],
    arrays: Mapping[str, Array] | None = None,
    extra: JSON = None,
) -> None:
    """Write a .lucid file; the old one, if any, stays whole until the new one is.

    Parameters
    ----------
    path
        Where to.
    graphs
        Graphs by name.
    arrays
        Arrays by name. An array named like a parameter of a graph must be of that parameter's type.
    extra
        Any JSON value (mappings with string keys, lists, strings, finite numbers, booleans, None).

    Raises
    ------
    FileError
        The path cannot be written, or the content cannot be saved.
    GraphError
        A graph that is malformed.
    """
    write_atomically(path, _chunks(graphs, arrays or {}, extra))


def dump(graphs: Mapping[str, Graph], arrays: Mapping[str, Array] | None = None, extra: JSON = None) -> bytes:
    """The bytes that :func:`save` would write."""
    return b"".join(_chunks(graphs, arrays or {}, extra))


def _canonical(data: JSON) -> str:
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)


@collector_paused()
def _chunks(graphs: Mapping[str, Graph], arrays: Mapping[str, Array], extra: JSON) -> list[bytes | memoryview]:
    constants = ArrayTable()
    encoded = {}
    for name, graph in graphs.items():
        verify(graph)
        encoded[name] = _encode_graph(graph, constants)
        _check_parameters(name, graph, arrays)
    tensors = {f"{_CONSTANT}{number}": constant.array for constant, number in constants.numbers.items()}
    for name, array in arrays.items():
        tensors[_checked_name(name)] = np.asarray(array)
    header: dict[str, Any] = {}
    data: list[bytes | memoryview] = []
    position = 0
    for name in sorted(tensors, key=lambda n: (-tensors[n].dtype.itemsize, n)):
        raw = _raw(name, tensors[name])
        span = [position, position := position + raw.nbytes]
        header[name] = {
            "dtype": _TENSOR_TYPES[tensors[name].dtype.name], "shape": list(tensors[name].shape), "data_offsets": span
        }  # fmt: skip
        data.append(raw)
    header["__metadata__"] = {
        "format": FORMAT, "version": VERSION, "graphs": _canonical(encoded), "extra": _checked_extra(extra)
    }  # fmt: skip
    digest = hashlib.sha256(_canonical(header).encode())
    for part in data:
        digest.update(part)
    header["__metadata__"]["sha256"] = digest.hexdigest()
    text = _canonical(header).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER:
        raise FileError(f"the graphs take {len(text)} bytes, a .lucid file holds {MAX_HEADER}; save them separately")
    return [len(text).to_bytes(8, "little"), text, *data]


def _raw(name: str, array: Array) -> memoryview:
    if array.dtype.name not in _TENSOR_TYPES:
        raise FileError(f"the array {name!r} has element type {array.dtype}, which a .lucid file cannot hold")
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return little.reshape(-1).view(np.uint8).data


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or name.startswith("@") or name == "__metadata__":
        raise FileError(f"an array cannot be saved under the name {name!r}; choose a string that starts without '@'")
    return name


def _checked_extra(extra: JSON) -> str:
    try:
        text = _canonical(extra)
        if json.loads(text) == extra:
            return text
    except (TypeError, ValueError, RecursionError) as error:
        raise FileError(f"'extra' is not JSON: {error}") from error
    raise FileError("'extra' would not come back as it is; use lists for tuples and strings for keys")


def _check_parameters(graph_name: str, graph: Graph, arrays: Mapping[str, Array]) -> None:
    for label, node in graph.parameters.items():
        if label in arrays:
            have = TensorType(tuple(np.shape(arrays[label])), np.asarray(arrays[label]).dtype)
            want = graph.node(node).outputs[0]
            if not have.same_value(want):
                raise FileError(f"the array {label!r} is {have}, the parameter in graph {graph_name!r} is {want}")


def _encode_graph(graph: Graph, constants: ArrayTable) -> dict[str, JSON]:
    number = {name: i for i, name in enumerate(graph.order)}
    types: dict[str, int] = {}
    origins: dict[Origin, int] = {}
    nodes = []
    for name, node in graph.nodes():
        data: dict[str, JSON] = {"name": name, "op": node.op.name}
        try:
            attrs = encode_attrs(node.attrs, constants)
        except LucidError as error:
            raise FileError(f"node {name!r} ({node.op.name}) cannot be saved: {error}") from error
        if attrs:
            data["attrs"] = attrs
        inputs = [[number[v.node], v.output] if v.output else number[v.node] for v in graph.inputs_of(name)]
        if inputs:
            data["inputs"] = inputs
        data["types"] = [types.setdefault(format_type(t), len(types)) for t in node.outputs]
        if node.origin != Origin():
            data["origin"] = origins.setdefault(node.origin, len(origins))
        nodes.append(data)
    return {
        "nodes": nodes,
        "types": list(types),
        "origins": [[list(map(printable, part)) for part in (o.modules, o.locations, o.history)] for o in origins],
        "inputs": [number[name] for name in graph.inputs],
        "outputs": [[number[v.node], v.output] for v in graph.outputs],
        "updates": [[label, number[v.node], v.output] for label, v in graph.updates],
    }


# ---------------------------------------------------------------- reading


def load(path: str | os.PathLike[str]) -> Archive:
    """Read a .lucid file.

    Raises
    ------
    FileError
        The file cannot be read, or is not what it claims to be: the message names the path, what is
        wrong, and the way out. Nothing of it has been executed.
    """
    with open_regular(path) as (file, size):
        return _read(file, size, str(path))


def loads(data: bytes, name: str = "<bytes>") -> Archive:
    """What :func:`load` gives for a file of these bytes; errors call it ``name``."""
    return _read(io.BytesIO(data), len(data), name)


@dataclass(frozen=True)
class _Tensor:
    name: str
    dtype: DType
    shape: tuple[int, ...]
    start: int
    stop: int


@collector_paused()
def _read(file: BinaryIO, size: int, path: str) -> Archive:
    try:
        header, data_start = _read_header(file, size)
        metadata = _check_metadata(header)
        tensors = _check_tensors(header, size - data_start)
    except (FileError, ValueError, RecursionError) as error:
        raise FileError(f"{path}: not a readable .lucid file: {error}") from error
    arrays = _read_arrays(file, tensors, header, metadata["sha256"], path)
    constants: list[ConstArray] = []
    while (name := f"{_CONSTANT}{len(constants)}") in arrays:
        constants.append(ConstArray(arrays.pop(name)))
    try:
        for name in arrays:
            _checked_name(name)
        graphs = _decode_graphs(metadata["graphs"], constants)
        for graph_name, graph in graphs.items():
            _check_parameters(graph_name, graph, arrays)
        extra = _parse_json(metadata["extra"])
    except (LucidError, ValueError, RecursionError) as error:
        raise FileError(
            f"{path}: its content is not valid: {error}. It was made by another version of Lucid or altered; "
            f"save the model again with this version"
        ) from error
    return Archive(graphs, arrays, extra)


def _read_header(file: BinaryIO, size: int) -> tuple[dict[str, JSON], int]:
    prefix = file.read(8)
    length = int.from_bytes(prefix, "little")
    if len(prefix) < 8 or length > size - 8:
        raise FileError(f"it has {size} bytes and announces a header of {length}: it is truncated or something else")
    if length > MAX_HEADER:
        raise FileError(f"it announces a header of {length} bytes, more than the {MAX_HEADER} allowed")
    raw = file.read(length)
    if raw[:1] != b"{":
        raise FileError("its header is not a JSON object: it is another kind of file")
    header = _parse_json(raw.decode("utf-8"))
    if not isinstance(header, dict):
        raise FileError("its header is not a JSON object")
    return header, 8 + length


def _parse_json(text: str) -> JSON:
    """``text`` as JSON, strictly: no NaN, no infinities, no key twice."""
    return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)


def _unique(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise FileError(f"the key {twice[:60]!r} occurs twice")
    return result


def _no_constant(text: str) -> JSON:
    raise FileError(f"{text} is not JSON")


def _check_metadata(header: dict[str, JSON]) -> dict[str, str]:
    metadata = header.get("__metadata__")
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        raise FileError("it has no metadata of format 'lucid': it may be a safetensors file of another program")
    if metadata.get("version") != VERSION:
        raise FileError(
            f"it has version {metadata.get('version')!r}, this Lucid reads version {VERSION!r}: use a newer Lucid"
        )
    if set(metadata) != {"format", "version", "graphs", "extra", "sha256"}:
        raise FileError(f"its metadata has the fields {sorted(metadata)}")
    if not all(isinstance(value, str) for value in metadata.values()):
        raise FileError("its metadata holds something other than strings")
    return metadata


def _check_tensors(header: dict[str, JSON], available: int) -> list[_Tensor]:
    """Every claim of the tensor table against the size of the file; in order of their bytes."""
    tensors = sorted(
        (_check_tensor(name, data) for name, data in header.items() if name != "__metadata__"),
        key=lambda t: (t.start, t.stop),
    )
    position = 0
    for tensor in tensors:
        if tensor.start != position:
            raise FileError(f"the bytes of tensor {tensor.name!r} begin at {tensor.start}, expected {position}")
        position = tensor.stop
    if position != available:
        raise FileError(f"its tensors take {position} bytes, the file has {available}: it is truncated or altered")
    return tensors


def _check_tensor(name: str, data: JSON) -> _Tensor:
    if not isinstance(data, dict) or set(data) != {"dtype", "shape", "data_offsets"}:
        raise FileError(f"tensor {name!r} must have a dtype, a shape and data offsets")
    code, shape, offsets = data["dtype"], data["shape"], data["data_offsets"]
    if not isinstance(code, str) or code not in _FROM_TENSOR_TYPE:
        raise FileError(f"tensor {name!r} has the unsupported element type {str(code)[:20]!r}")
    if not isinstance(shape, list) or len(shape) > 32 or not all(map(_is_size, shape)):
        raise FileError(f"tensor {name!r} has the impossible shape {str(shape)[:60]}")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_size, offsets)):
        raise FileError(f"tensor {name!r} has the impossible offsets {str(offsets)[:60]}")
    dtype = _FROM_TENSOR_TYPE[code]
    start, stop = offsets
    if stop - start != math.prod(shape) * dtype.itemsize:
        raise FileError(
            f"tensor {name!r} of shape {str(shape)[:60]} takes {math.prod(shape) * dtype.itemsize} bytes, "
            f"its offsets span {stop - start}"
        )
    return _Tensor(name, dtype, tuple(shape), start, stop)


def _is_size(value: JSON) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _read_arrays(
    file: BinaryIO, tensors: list[_Tensor], header: dict[str, JSON], expected: str, path: str
) -> dict[str, Array]:
    metadata = {key: value for key, value in header["__metadata__"].items() if key != "sha256"}
    digest = hashlib.sha256(_canonical({**header, "__metadata__": metadata}).encode())
    arrays: dict[str, Array] = {}
    for tensor in tensors:
        array = np.empty(tensor.shape, tensor.dtype.newbyteorder("<"))
        raw = array.reshape(-1).view(np.uint8).data
        if file.readinto(raw) != raw.nbytes:  # type: ignore[attr-defined]
            raise FileError(f"{path}: ended while tensor {tensor.name!r} was read: it was changed meanwhile")
        digest.update(raw)
        arrays[tensor.name] = array.astype(tensor.dtype, copy=False)
    if digest.hexdigest() != expected:
        raise FileError(
            f"{path}: its content does not match its checksum: it was damaged or altered after it was saved; "
            f"fetch or save it again"
        )
    for tensor in tensors:
        if tensor.dtype.kind == "b" and arrays[tensor.name].view(np.uint8).max(initial=0) > 1:
            raise FileError(f"{path}: the bool tensor {tensor.name!r} holds bytes other than 0 and 1")
    return arrays


def _decode_graphs(text: str, constants: list[ConstArray]) -> dict[str, Graph]:
    graphs = {}
    for name, data in _fields(_parse_json(text), None, "the graphs").items():
        try:
            graphs[name] = _decode_graph(data, constants)
            verify(graphs[name])
        except LucidError as error:
            raise GraphError(f"graph {name!r}: {error}") from error
    return graphs


def _decode_graph(data: JSON, constants: list[ConstArray]) -> Graph:
    data = _fields(data, {"nodes", "types", "origins", "inputs", "outputs", "updates"}, "a graph")
    types = [parse_type(_text(item, "a type")) for item in _items(data["types"], "types")]
    origins = [_decode_origin(item) for item in _items(data["origins"], "origins")]
    dag: Dag = nx.MultiDiGraph()
    names: list[str] = []
    for item in _items(data["nodes"], "nodes"):
        name, node, inputs = _decode_node(item, types, origins, constants, len(names))
        if name in dag:
            raise GraphError(f"two nodes are called {name!r}")
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
    )


def _decode_node(
    data: JSON, types: list[TensorType], origins: list[Origin], constants: list[ConstArray], number: int
) -> tuple[str, Node, list[tuple[int, int]]]:
    optional: dict[str, JSON] = {"attrs": {}, "inputs": [], "origin": None}
    data = _fields(data, {"name", "op", "types"}, f"node number {number}", optional)
    name = _text(data["name"], "a node's name")
    try:
        op = find_op(_text(data["op"], "an op"))
        attrs = decode_attrs(op.attrs, _fields(data["attrs"], None, "attributes"), constants)
        outputs = tuple(types[_index(i, len(types), "a type")] for i in _items(data["types"], "types"))
        origin = data["origin"]
        source = Origin() if origin is None else origins[_index(origin, len(origins), "an origin")]
        inputs = [_reference(item, number) for item in _items(data["inputs"], "inputs")]
    except LucidError as error:
        raise GraphError(f"node {name!r}: {error}") from error
    return name, Node(op, attrs, outputs, source), inputs


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
    """``data`` as an object with exactly these fields (any, for None), optional ones filled in."""
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


def _index(data: JSON, count: int, what: str) -> int:
    if type(data) is not int or not 0 <= data < count:
        raise GraphError(f"{what}: {str(data)[:60]} is not a number below {count}")
    return data


def _reference(data: JSON, count: int) -> tuple[int, int]:
    """``5`` or ``[5, 1]``: a value of one of the first ``count`` nodes."""
    number, output = data if isinstance(data, list) and len(data) == 2 else (data, 0)
    return _index(number, count, "an input or result"), _index(output, 1 << 31, "an output")
