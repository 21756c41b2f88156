"""Reads an ONNX file into plain data; what is wrong with it is one :class:`~lucid.errors.GraphError`.

A file is not trusted: no value is larger than the bytes that the file gives for it, external data never lies outside
the model's folder, and names are only ever compared.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...base.checks import shown
from ...base.lazy import LazyModule
from ...errors import FileError, GraphError, LucidError, from_handler
from ...graph.types import DType
from .model import SHORT, Array, Attribute, GraphDef, ModelDef, NodeDef, Size, ValueDef, widened

if TYPE_CHECKING:  # nobody needs the package but for reading
    from onnx import (
        AttributeProto,
        GraphProto,
        ModelProto,
        NodeProto,
        SparseTensorProto,
        TensorProto,
        TensorShapeProto,
        ValueInfoProto,
    )  # fmt: skip

onnx: Any = LazyModule("onnx")

NEWEST = 28
"""The last set of the operators of ONNX itself that is known here."""
DEEPEST = 16
"""Graphs in graphs."""


def read(source: object) -> ModelDef:
    """The model in a file, in bytes, or in an ``onnx.ModelProto``.

    Raises
    ------
    GraphError
        What is no ONNX model, or a broken one.
    LucidError
        Where the ``onnx`` package is missing.
    """
    proto, folder, name = _proto(source)
    try:
        return _model(proto, folder, name)
    except LucidError:
        raise
    except Exception as error:
        if from_handler(error):
            raise
        raise GraphError(f"{name} is a broken ONNX model: {error}") from error


def _proto(source: object) -> tuple[ModelProto, Path | None, str]:
    """The message, the folder that its external data lies in, and what to call it."""
    try:
        proto_class = onnx.ModelProto
    except ModuleNotFoundError as error:
        raise LucidError("reading ONNX models needs the package onnx: pip install 'lucid[onnx]'") from error
    if isinstance(source, proto_class):
        return source, None, "the model"
    if isinstance(source, bytes | bytearray | memoryview):
        data, folder, name = bytes(source), None, "the model"
    elif isinstance(source, str | os.PathLike):
        path = Path(os.fspath(source))
        try:
            if not path.is_file():
                raise FileError(f"there is no file {shown(str(path))}")
            data, folder, name = path.read_bytes(), path.parent, path.name
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
        raise GraphError(f"{shown(name)} is no ONNX model: {error}") from error
    if not proto.HasField("graph"):
        raise GraphError(f"{shown(name)} is no ONNX model: it holds no graph")
    return proto, folder, name


def _model(proto: ModelProto, folder: Path | None, name: str) -> ModelDef:
    opsets = {_domain(one.domain): one.version for one in proto.opset_import}
    opsets.setdefault("", 1)
    if opsets[""] > NEWEST:
        raise GraphError(
            f"{name} uses version {opsets['']} of the ONNX operators; the newest that is known here is {NEWEST}"
        )
    if proto.functions:
        proto = _inlined(proto)
    reader = _Reader(opsets, folder)
    return ModelDef(reader.graph(proto.graph), opsets, f"{proto.producer_name} {proto.producer_version}".strip(), name)


def _inlined(proto: ModelProto) -> ModelProto:
    """The model with the bodies of its own functions in their places."""
    inliner: Any = LazyModule("onnx.inliner")
    inlined: ModelProto = inliner.inline_local_functions(proto)
    return inlined


def _domain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


class Scope(NamedTuple):
    """What values are called in a graph, where that is not as in the file, and how deep in others it stands."""

    names: Mapping[str, str]
    depth: int

    def of(self, name: str) -> str:
        return self.names.get(name, name)


class _Reader:
    def __init__(self, opsets: Mapping[str, int], folder: Path | None) -> None:
        self.opsets, self.folder = opsets, folder
        self.graphs = 0

    def graph(self, proto: GraphProto, outer: Scope | None = None) -> GraphDef:
        """A graph; what one within another makes gets a name that nothing else in the model has."""
        scope = self.scope(proto, outer)
        constants = {scope.of(tensor.name): self.array(tensor) for tensor in proto.initializer}
        for sparse in proto.sparse_initializer:
            constants[scope.of(sparse.values.name)] = self.dense(sparse)
        # files of before IR version 4 list constants as inputs too
        inputs = tuple(one for one in (self.value(given, scope) for given in proto.input) if one.name not in constants)
        nodes = tuple(self.node(one, index, scope) for index, one in enumerate(proto.node))
        _check_names(proto.name, inputs, constants, nodes)
        outputs = tuple(self.value(one, scope) for one in proto.output)
        return GraphDef(proto.name, inputs, outputs, constants, _in_order(proto.name, nodes))

    def scope(self, proto: GraphProto, outer: Scope | None) -> Scope:
        if outer is None:
            return Scope({}, 0)
        if outer.depth == DEEPEST:
            raise GraphError(f"graphs stand in graphs more than {DEEPEST} deep")
        self.graphs += 1
        made = [
            *(one.name for one in (*proto.input, *proto.initializer)),
            *(n for one in proto.node for n in one.output),
        ]
        return Scope({**outer.names, **{name: f"{name}@{self.graphs}" for name in made if name}}, outer.depth + 1)

    def node(self, proto: NodeProto, index: int, scope: Scope) -> NodeDef:
        domain = _domain(proto.domain)
        attributes = {one.name: self.attribute(one, scope) for one in proto.attribute}
        return NodeDef(
            proto.op_type, domain, self.opsets.get(domain, 1), proto.name, tuple(map(scope.of, proto.input)),
            tuple(map(scope.of, proto.output)), attributes, index,
        )  # fmt: skip

    def value(self, proto: ValueInfoProto, scope: Scope) -> ValueDef:
        if not proto.type.HasField("tensor_type"):
            return ValueDef(scope.of(proto.name), None, None)
        kind = proto.type.tensor_type
        shape = tuple(map(_size, kind.shape.dim)) if kind.HasField("shape") else None
        dtype = _dtype(kind.elem_type) if kind.elem_type else None
        if dtype is not None and dtype.name in SHORT:
            dtype = np.dtype(np.float32)
        return ValueDef(scope.of(proto.name), dtype, shape, kind.elem_type)

    def attribute(self, proto: AttributeProto, scope: Scope) -> Attribute:
        """The value in the field that the attribute's type names."""
        kinds = onnx.AttributeProto
        scalars: dict[int, Callable[[AttributeProto], Attribute]] = {
            kinds.FLOAT: lambda a: float(np.float32(a.f)), kinds.INT: lambda a: a.i, kinds.STRING: lambda a: _text(a.s),
            kinds.TENSOR: lambda a: self.array(a.t), kinds.GRAPH: lambda a: self.graph(a.g, scope),
            kinds.SPARSE_TENSOR: lambda a: self.dense(a.sparse_tensor),
            kinds.FLOATS: lambda a: tuple(a.floats), kinds.INTS: lambda a: tuple(a.ints),
            kinds.STRINGS: lambda a: _texts(list(a.strings)),
        }  # fmt: skip
        if proto.type not in scalars:
            raise GraphError(f"attribute {shown(proto.name)} has a type that is not supported ({proto.type})")
        return scalars[proto.type](proto)

    # ------------------------------------------------------------ arrays

    def array(self, proto: TensorProto) -> Array:
        """A tensor of the file; what the file has no bytes for is refused before anything is allocated."""
        shape, dtype = tuple(proto.dims), _dtype(proto.data_type)
        if any(dim < 0 for dim in shape):
            raise GraphError(f"tensor {shown(proto.name)} has a negative dimension: {shape}")
        if proto.data_location == onnx.TensorProto.EXTERNAL:
            return self.external(proto, shape, dtype)
        count = math.prod(shape)
        if proto.HasField("raw_data"):
            held = len(proto.raw_data)
            if dtype.itemsize and held != _bytes(count, dtype):
                raise GraphError(f"tensor {shown(proto.name)} has {held} bytes for {count} numbers of {dtype}")
        else:
            fields = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")
            held = max(len(getattr(proto, name)) for name in fields)
            if held != (_bytes(count, dtype) if _bits(dtype) < 8 else count):
                raise GraphError(f"tensor {shown(proto.name)} has {held} numbers for {count}")
        array = np.asarray(onnx.numpy_helper.to_array(proto))
        return widened(array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("=")))

    def external(self, proto: TensorProto, shape: tuple[int, ...], dtype: DType) -> Array:
        """Data in a file beside the model's, mapped."""
        given = {entry.key: entry.value for entry in proto.external_data}
        location = given.get("location", "")
        if self.folder is None:
            raise GraphError(f"tensor {shown(proto.name)} lies in {shown(location)}: load the model by its path")
        root = self.folder.resolve()
        path = (root / location).resolve()
        if not location or "\0" in location or not path.is_relative_to(root):
            raise GraphError(f"tensor {shown(proto.name)} lies outside the model's folder: {shown(location)}")
        if not path.is_file():
            raise GraphError(f"tensor {shown(proto.name)} lies in {shown(location)}, which is missing")
        offset, nbytes = int(given.get("offset", 0)), _bytes(math.prod(shape), dtype)
        if offset < 0 or int(given.get("length", nbytes)) != nbytes or offset + nbytes > path.stat().st_size:
            raise GraphError(f"tensor {shown(proto.name)} does not fit into {shown(location)}")
        if nbytes == 0:
            return np.zeros(shape, dtype)
        if _bits(dtype) < 8:
            packed = np.memmap(path, np.uint8, "r", offset, (nbytes,)).tobytes()
            whole = onnx.TensorProto(dims=shape, data_type=proto.data_type, raw_data=packed)
            return np.asarray(onnx.numpy_helper.to_array(whole))
        return widened(np.memmap(path, dtype, "c", offset, shape))

    def dense(self, proto: SparseTensorProto) -> Array:
        """A sparse tensor as an array."""
        values, indices, shape = self.array(proto.values), self.array(proto.indices), tuple(proto.dims)
        if math.prod(shape) > 1 << 28 or any(dim < 0 for dim in shape):
            raise GraphError(f"sparse tensor {shown(proto.values.name)} is too large: {shape}")
        dense = np.zeros(shape, values.dtype)
        flat = indices if indices.ndim == 1 else np.ravel_multi_index(tuple(indices.T), shape)
        dense.reshape(-1)[flat] = values
        return dense


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _texts(data: list[bytes]) -> tuple[str, ...]:
    """Each once, for lists of millions in which few are different."""
    found = {one: _text(one) for one in set(data)}
    return tuple(map(found.__getitem__, data))


def _dtype(kind: int) -> DType:
    try:
        dtype: DType = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind))
        return dtype
    except Exception as error:
        if from_handler(error):
            raise
        raise GraphError(f"element type {kind} is not known") from error


def _bits(dtype: DType) -> int:
    """Bits that a number takes in a file: several of the smallest types share a byte."""
    narrow = re.fullmatch(r"(?:u?int|float)([24])(?:_.*)?", dtype.name)
    return int(narrow[1]) if narrow else 8 * dtype.itemsize


def _bytes(count: int, dtype: DType) -> int:
    return -(-count * _bits(dtype) // 8)


def _size(proto: TensorShapeProto.Dimension) -> Size:
    if any(sign.isalnum() for sign in proto.dim_param):  # some files write "?" for each that they do not know
        return str(proto.dim_param)
    # some files write -1 for what they do not know
    return int(proto.dim_value) if proto.HasField("dim_value") and proto.dim_value >= 0 else None


def _check_names(
    graph: str, inputs: Iterable[ValueDef], constants: Mapping[str, Array], nodes: Iterable[NodeDef]
) -> None:
    """Every value has one source."""
    seen = set(constants)
    for name in (*(one.name for one in inputs), *(out for node in nodes for out in node.outputs if out)):
        if name in seen:
            raise GraphError(f"graph {shown(graph)} has two values called {shown(name)}")
        seen.add(name)


def _reads(node: NodeDef) -> set[str]:
    """Names of values that a node reads, those that graphs in it read of the graph it stands in included."""
    found = {name for name in node.inputs if name}
    for value in node.attributes.values():
        if isinstance(value, GraphDef):
            made = {*value.constants, *(one.name for one in value.inputs)}
            made.update(out for inner in value.nodes for out in inner.outputs)
            inner = set().union(*map(_reads, value.nodes), (one.name for one in value.outputs))
            found |= inner - made
    return found


def _in_order(graph: str, nodes: tuple[NodeDef, ...]) -> tuple[NodeDef, ...]:
    """The nodes, each after those it reads; the order of the file where that holds already."""
    source = {out: node for node in nodes for out in node.outputs if out}
    waiting = {node.index: {source[name].index for name in _reads(node) if name in source} for node in nodes}
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
