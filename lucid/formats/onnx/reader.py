"""Reading an ONNX file into plain data; anything wrong with it is a :class:`~lucid.errors.GraphError`.

Files are not trusted: no value is larger than the bytes that the file has for it, external data must be in the model's
folder, and names are only compared.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...base.checks import named, shown
from ...base.lazy import LazyModule
from ...base.texts import as_texts
from ...errors import FileError, GraphError, LucidError, from_handler
from ...graph.types import DTYPES, DType, float32, int64, wide, widened
from .element_types import of_graph, of_results
from .functions import OF_VERSION, inlined
from .limits import LARGEST, Allowance
from .long_fields import Lists, set_aside
from .long_lists import numbers, texts
from .model import ML, NARROW, Array, Attribute, GraphDef, ModelDef, NodeDef, Size, ValueDef
from .skim import skimmed
from .wire import Data

if TYPE_CHECKING:  # nobody needs the package but for reading
    from onnx import (
        AttributeProto,
        GraphProto,
        ModelProto,
        NodeProto,
        SparseTensorProto,
        TensorProto,
        TensorShapeProto,
        TypeProto,
        ValueInfoProto,
    )  # fmt: skip

onnx: Any = LazyModule("onnx")

NEWEST = 28
"""The newest version of ONNX's own operators that is known here."""
KNOWN = {"": ("ONNX", NEWEST), ML: (ML, 5)}
"""The titles of domains, and the newest version of each that is known here."""
DEEPEST = 16
"""How deep graphs may be nested."""
MOST_AXES = 64
"""The most axes of an array."""


def read(source: object, *, weights: bool = True) -> ModelDef:
    """The model in a file, in bytes, or in an ``onnx.ModelProto``; without ``weights``, only its nodes.

    Raises
    ------
    GraphError
        If it is not an ONNX model, or a broken one.
    LucidError
        If the ``onnx`` package is missing.
    """
    proto, lists, folder, name = _proto(source, weights)
    try:
        return _model(proto, lists, folder, name, weights)
    except LucidError:
        raise
    except Exception as error:
        if from_handler(error):
            raise
        raise GraphError(f"{name} is a broken ONNX model: {named(str(error))}") from error


def _proto(source: object, weights: bool) -> tuple[ModelProto, Lists, Path | None, str]:
    """The message, the parts of it that are already read, the folder of its external data, and its name in errors."""
    try:
        proto_class = onnx.ModelProto
    except ModuleNotFoundError as error:
        raise LucidError("reading ONNX models needs the package onnx: pip install 'lucid[onnx]'") from error
    if isinstance(source, proto_class):
        return source, {}, None, "the model"
    if isinstance(source, bytes | bytearray | memoryview):
        (data, lists), folder, name = _read(bytes(source), weights), None, "the model"
    elif isinstance(source, str | os.PathLike):
        path = Path(os.fspath(source))
        try:
            if not path.is_file():
                raise FileError(f"there is no file {shown(str(path))}")
            (data, lists), folder, name = _read(_mapped(path), weights), path.parent, named(path.name)
        except (OSError, ValueError) as error:
            raise FileError(f"{shown(str(path))} cannot be read: {error}") from error
    else:
        raise GraphError(f"expected a path, bytes or an onnx.ModelProto, got {shown(source)}")
    proto = proto_class()
    try:
        proto.ParseFromString(data)
    except Exception as error:
        if from_handler(error):
            raise
        raise GraphError(f"{name} is not an ONNX model: {named(str(error))}") from error
    if not proto.HasField("graph"):
        raise GraphError(f"{name} is not an ONNX model: it holds no graph")
    return proto, lists, folder, name


def _mapped(path: Path) -> Data:
    """The bytes of a file, memory-mapped."""
    with path.open("rb") as file:
        return mmap(file.fileno(), 0, access=ACCESS_READ) if os.fstat(file.fileno()).st_size else b""


def _read(data: Data, weights: bool) -> tuple[bytes, Lists]:
    """The bytes for the protobuf package to parse, and the lists that are read here."""
    return set_aside(data) if weights else (skimmed(data), {})


def _model(proto: ModelProto, lists: Lists, folder: Path | None, name: str, weights: bool) -> ModelDef:
    opsets = _opsets(proto, name)
    reader = _Reader(opsets, lists, folder, weights)
    graph = reader.graph((inlined(proto) if proto.functions else proto).graph)
    return ModelDef(graph, opsets, f"{proto.producer_name} {proto.producer_version}".strip(), name, reader.kinds)


def _opsets(proto: ModelProto, name: str) -> dict[str, int]:
    """The version of each domain's operators that the model uses."""
    opsets: dict[str, int] = {}
    for one in proto.opset_import:
        if opsets.setdefault(_domain(one.domain), one.version) != one.version:
            raise GraphError(f"{name} uses two versions of the operators of {shown(one.domain)}")
    opsets.setdefault("", 1)
    for domain, (title, newest) in KNOWN.items():
        if opsets.get(domain, 1) > newest:
            raise GraphError(
                f"{name} uses version {opsets[domain]} of the {title} operators; the newest that is known here is "
                f"{newest}"
            )
    return opsets


def _domain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


class Scope(NamedTuple):
    """The names of values in a graph that differ from those in the file, and the depth of the graph."""

    names: Mapping[str, str]
    depth: int

    def of(self, name: str | bytes) -> str:
        known = _said(name)
        return self.names.get(known, known)


class _Reader:
    def __init__(self, opsets: Mapping[str, int], lists: Lists, folder: Path | None, weights: bool) -> None:
        self.opsets, self.lists, self.folder, self.weights = opsets, lists, folder, weights
        self.graphs = 0
        self.kinds: dict[str, int] = {}
        self.room = Allowance()

    def graph(self, proto: GraphProto, outer: Scope | None = None) -> GraphDef:
        """A graph; values of nested graphs get names that are unique in the model."""
        scope = self.scope(proto, outer)
        self.note((scope.of(name), kind) for name, kind in of_graph(proto).items())
        constants = self.constants(proto, scope) if self.weights else {}
        # files of before IR version 4 list constants as inputs too
        inputs = tuple(one for one in (self.value(given, scope) for given in proto.input) if one.name not in constants)
        nodes = tuple(self.node(one, index, scope) for index, one in enumerate(proto.node))
        _check_names(proto.name, inputs, constants, nodes)
        outputs = tuple(self.value(one, scope) for one in proto.output)
        return GraphDef(proto.name, inputs, outputs, constants, _in_order(proto.name, nodes))

    def constants(self, proto: GraphProto, scope: Scope) -> dict[str, Array]:
        tensors = [*proto.initializer, *(one.values for one in proto.sparse_initializer)]
        _check_unique(f"graph {shown(proto.name)}", "constants", [scope.of(one.name) for one in tensors])
        found = {scope.of(tensor.name): self.array(tensor) for tensor in proto.initializer}
        found.update((scope.of(one.values.name), self.dense(one)) for one in proto.sparse_initializer)
        return found

    def scope(self, proto: GraphProto, outer: Scope | None) -> Scope:
        if outer is None:
            return Scope({}, 0)
        if outer.depth == DEEPEST:
            raise GraphError(f"graphs are nested more than {DEEPEST} deep")
        self.graphs += 1
        made = [
            *(one.name for one in (*proto.input, *proto.initializer)),
            *(n for one in proto.node for n in one.output),
        ]
        return Scope(
            {**outer.names, **{name: f"{name}@{self.graphs}" for name in map(_said, made) if name}}, outer.depth + 1
        )

    def node(self, proto: NodeProto, index: int, scope: Scope) -> NodeDef:
        domain, version = self.operators(proto.domain)
        _check_unique(f"node {index} ({named(proto.op_type)})", "attributes", [one.name for one in proto.attribute])
        lists = {} if scope.depth else self.lists
        attributes = {
            one.name: lists[index, place] if (index, place) in lists else self.attribute(one, scope)
            for place, one in enumerate(proto.attribute)
        }
        inputs, outputs = tuple(map(scope.of, proto.input)), tuple(map(scope.of, proto.output))
        kinds = of_results(proto, [self.kinds.get(name, 0) for name in inputs], domain, version)
        self.note(zip(outputs, kinds, strict=False))
        return NodeDef(proto.op_type, domain, version, _said(proto.name), inputs, outputs, attributes, index)

    def operators(self, domain: str) -> tuple[str, int]:
        """The domain and version of a node's operator."""
        told, _, version = domain.partition(OF_VERSION)
        if version.isdecimal() and not told:
            number = int(version[:9])
            if not 0 < number <= NEWEST:
                raise GraphError(
                    f"a function uses version {number} of the ONNX operators; {NEWEST} is the newest known"
                )
            return "", number
        return _domain(domain), self.opsets.get(_domain(domain), 1)

    def note(self, kinds: Iterable[tuple[str, int]]) -> None:
        """Record the values whose element types differ from those that they are computed with."""
        self.kinds.update((name, kind) for name, kind in kinds if kind in NARROW and name)

    def value(self, proto: ValueInfoProto, scope: Scope) -> ValueDef:
        kind, many = tensor_of(proto.type)
        shape = tuple(map(_size, kind.shape.dim)) if kind.HasField("shape") else None
        dtype = wide(_dtype(kind.elem_type)) if kind.elem_type else None
        return ValueDef(scope.of(proto.name), dtype, shape, many)

    def attribute(self, proto: AttributeProto, scope: Scope) -> Attribute:
        """The value in the field that the attribute's type specifies."""
        kinds = onnx.AttributeProto
        scalars: dict[int, Callable[[AttributeProto], Attribute]] = {
            kinds.FLOAT: lambda a: float(np.float32(a.f)), kinds.INT: lambda a: a.i, kinds.STRING: lambda a: _text(a.s),
            kinds.TENSOR: lambda a: self.array(a.t), kinds.GRAPH: lambda a: self.graph(a.g, scope),
            kinds.SPARSE_TENSOR: lambda a: self.dense(a.sparse_tensor),
            kinds.FLOATS: lambda a: numbers(a.floats, float32), kinds.INTS: lambda a: numbers(a.ints, int64),
            kinds.STRINGS: lambda a: texts(a.strings),
            kinds.TYPE_PROTO: lambda a: (),  # what something that is absent would be
        }  # fmt: skip
        if not self.weights and proto.type not in (kinds.GRAPH, kinds.GRAPHS):
            return ()
        if proto.type not in scalars:
            raise GraphError(f"attribute {shown(proto.name)} has a type that is not supported ({proto.type})")
        return scalars[proto.type](proto)

    # ------------------------------------------------------------ arrays

    def array(self, proto: TensorProto) -> Array:
        """A tensor of the file; one with too few bytes is refused before anything is allocated."""
        shape, dtype = tuple(proto.dims), _dtype(proto.data_type)
        _check_shape(f"tensor {shown(proto.name)}", shape, dtype)
        if dtype.kind == "O":
            return self.texts(proto, shape)
        if proto.data_location == onnx.TensorProto.EXTERNAL:
            return self.external(proto, shape, dtype)
        count = math.prod(shape)
        if proto.HasField("raw_data"):
            raw = proto.raw_data  # a copy each time that it is asked for
            if dtype.itemsize and len(raw) != _bytes(count, dtype):
                raise GraphError(f"tensor {shown(proto.name)} has {len(raw)} bytes for {count} numbers of {dtype}")
            if dtype.name in DTYPES:
                array = np.frombuffer(raw, dtype.newbyteorder("<")).reshape(shape)
                return array.view(dtype) if array.dtype == dtype else array.astype(dtype)
        else:
            fields = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")
            held = max(len(getattr(proto, name)) for name in fields)
            if held != (_bytes(count, dtype) if _bits(dtype) < 8 else count):
                raise GraphError(f"tensor {shown(proto.name)} has {held} numbers for {count}")
        array = np.asarray(onnx.numpy_helper.to_array(proto))
        return widened(array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("=")))

    def texts(self, proto: TensorProto, shape: tuple[int, ...]) -> Array:
        """A tensor of strings."""
        data = proto.string_data
        longest = max(map(len, data), default=0)
        if len(data) != math.prod(shape) or proto.HasField("raw_data") or proto.external_data:
            raise GraphError(f"tensor {shown(proto.name)} has {len(data)} texts for {math.prod(shape)}")
        if not self.room.take(4 * len(data) * longest):
            raise GraphError(f"the texts of tensor {shown(proto.name)} are too many, or too long")
        return as_texts(np.array(list(data), object)).reshape(shape)

    def external(self, proto: TensorProto, shape: tuple[int, ...], dtype: DType) -> Array:
        """Data in a file in the model's folder, memory-mapped."""
        given = {entry.key: entry.value for entry in proto.external_data}
        title, place = f"tensor {shown(proto.name)}", shown(given.get("location", ""))
        if self.folder is None:
            raise GraphError(f"{title} lies in {place}: load the model by its path")
        path = _inside(self.folder, given.get("location", ""), title)
        if not path.is_file():
            raise GraphError(f"{title} lies in {place}, which is missing")
        nbytes = _bytes(math.prod(shape), dtype)
        try:
            offset, length = int(given.get("offset", 0)), int(given.get("length", nbytes))
        except ValueError as error:
            raise GraphError(f"{title} lies in {place}, at an offset or of a length that is no number") from error
        if offset < 0 or length != nbytes or offset + nbytes > path.stat().st_size:
            raise GraphError(f"{title} does not fit into {place}")
        if nbytes == 0:
            return np.zeros(shape, wide(dtype))
        if _bits(dtype) < 8:
            packed = np.memmap(path, np.uint8, "r", offset, (nbytes,)).tobytes()
            whole = onnx.TensorProto(dims=shape, data_type=proto.data_type, raw_data=packed)
            return widened(np.asarray(onnx.numpy_helper.to_array(whole)))
        return widened(np.memmap(path, dtype, "c", offset, shape))

    def dense(self, proto: SparseTensorProto) -> Array:
        """A sparse tensor as an array."""
        title, shape = f"sparse tensor {shown(proto.values.name)}", tuple(proto.dims)
        values, indices = self.array(proto.values), self.array(proto.indices)
        _check_shape(title, shape, values.dtype)
        count = math.prod(shape)
        if count > LARGEST or not self.room.take(count * values.itemsize):
            raise GraphError(f"{title} is too large: {shape}")
        axes = 1 if indices.ndim == 1 else len(shape)
        if values.ndim != 1 or indices.dtype.kind != "i" or indices.shape not in ((len(values),), (len(values), axes)):
            raise GraphError(f"{title} has {values.shape} values and {indices.shape} indices")
        bounds = (count,) if indices.ndim == 1 else shape
        if np.any(indices < 0) or np.any(indices >= bounds):
            raise GraphError(f"{title} has indices outside its shape {shape}")
        dense = np.zeros(shape, values.dtype)
        dense.reshape(-1)[indices if indices.ndim == 1 else np.ravel_multi_index(tuple(indices.T), shape)] = values
        return dense


def tensor_of(proto: TypeProto) -> tuple[TypeProto.Tensor, bool]:
    """The type of a tensor, of those in a sequence, or of what may be absent; and whether it is a sequence."""
    many = False
    while (field := proto.WhichOneof("value")) in ("optional_type", "sequence_type"):
        many |= field == "sequence_type"
        proto = getattr(proto, field).elem_type
    return proto.tensor_type, many


def _inside(folder: Path, location: str, title: str) -> Path:
    """A file in the model's folder."""
    root = folder.resolve()
    try:
        path = (root / location).resolve()
        with suppress(FileNotFoundError, NotADirectoryError):
            path.stat()  # whether it can be asked for at all: names have an end, and links may lead to themselves
    except (OSError, RuntimeError, ValueError) as error:
        raise GraphError(f"{title} lies in {shown(location)}, which cannot be a file") from error
    if not location or not path.is_relative_to(root):
        raise GraphError(f"{title} lies outside the model's folder: {shown(location)}")
    return path


def _said(name: str | bytes) -> str:
    """A name in the file; invalid UTF-8, which the protobuf package returns as bytes, stays distinguishable."""
    return name if isinstance(name, str) else name.decode("utf-8", "backslashreplace")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _dtype(kind: int) -> DType:
    try:
        dtype: DType = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind))
        return dtype
    except Exception as error:
        if from_handler(error):
            raise
        raise GraphError(f"element type {kind} is not known") from error


def _bits(dtype: DType) -> int:
    """Bits of a number in a file: several of the smallest types share a byte."""
    narrow = re.fullmatch(r"(?:u?int|float)([24])(?:_.*)?", dtype.name)
    return int(narrow[1]) if narrow else 8 * dtype.itemsize


def _bytes(count: int, dtype: DType) -> int:
    return -(-count * _bits(dtype) // 8)


def _size(proto: TensorShapeProto.Dimension) -> Size:
    if any(sign.isalnum() for sign in proto.dim_param):  # some files write "?" for each that they do not know
        return str(proto.dim_param)
    # some files write -1 for what they do not know
    return int(proto.dim_value) if proto.HasField("dim_value") and proto.dim_value >= 0 else None


def _check_shape(title: str, shape: tuple[int, ...], dtype: DType) -> None:
    """Check that an array can have this shape."""
    if any(dim < 0 for dim in shape):
        raise GraphError(f"{title} has a negative dimension: {named(str(shape))}")
    if len(shape) > MOST_AXES:
        raise GraphError(f"{title} has {len(shape)} dimensions; an array has {MOST_AXES} at most")
    if math.prod(filter(None, shape)) * max(1, dtype.itemsize) >= 1 << 63:
        raise GraphError(f"{title} is larger than any memory: {shape}")


def _check_unique(owner: str, kind: str, names: Iterable[str]) -> None:
    """Check that no name occurs twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise GraphError(f"{owner} has two {kind} called {shown(name)}")
        seen.add(name)


def _check_names(
    graph: str, inputs: Iterable[ValueDef], constants: Mapping[str, Array], nodes: Iterable[NodeDef]
) -> None:
    """Check that each value has a single source, and that inputs and constants have names."""
    given = [*constants, *(one.name for one in inputs)]
    if "" in given:
        raise GraphError(f"graph {shown(graph)} has an input or a constant without a name")
    made = (out for node in nodes for out in node.outputs if out)
    _check_unique(f"graph {shown(graph)}", "values", [*given, *made])


def reads(node: NodeDef) -> set[str]:
    """Names of the values that a node reads, including those that graphs in it read from its own graph."""
    found = {name for name in node.inputs if name}
    for value in node.attributes.values():
        if isinstance(value, GraphDef):
            made = {*value.constants, *(one.name for one in value.inputs)}
            made.update(out for inner in value.nodes for out in inner.outputs)
            inner = set().union(*map(reads, value.nodes), (one.name for one in value.outputs))
            found |= inner - made
    return found


def _in_order(graph: str, nodes: tuple[NodeDef, ...]) -> tuple[NodeDef, ...]:
    """The nodes in topological order; in the order of the file if that is one."""
    source = {out: node for node in nodes for out in node.outputs if out}
    waiting = {node.index: {source[name].index for name in reads(node) if name in source} for node in nodes}
    if all(one < index for index, before in waiting.items() for one in before):
        return nodes
    readers: dict[int, list[int]] = {}
    for index, before in waiting.items():
        for one in before:
            readers.setdefault(one, []).append(index)
    placed: list[NodeDef] = []
    done: set[int] = set()
    ready = [index for index in sorted(waiting, reverse=True) if not waiting[index]]
    while ready:
        index = ready.pop()
        placed.append(nodes[index])
        done.add(index)
        for reader in sorted(readers.get(index, ()), reverse=True):
            waiting[reader].discard(index)
            if not waiting[reader]:
                ready.append(reader)
    if len(placed) < len(nodes):
        left = next(node for node in nodes if node.index not in done)
        raise GraphError(f"graph {shown(graph)} has a cycle through {left}")
    return tuple(placed)
