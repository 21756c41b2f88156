"""Attributes, types and graphs as plain data, for any op; the basis of the text form and of files.

Decoding trusts nothing: it checks names, kinds and numbers of fields against the attribute class.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ..base.arrays import Array
from ..base.lazy import base64
from ..errors import FileError, GraphError, LucidError
from ..graph.builder import printable
from ..graph.dims import Dim, SymDim, parse_dim
from ..graph.fields import build_attrs, plain
from ..graph.ir import Graph, Origin
from ..graph.opdef import Attrs, ConstArray, OpDef
from ..graph.region import Region
from ..graph.types import DTYPES, DType, TensorType, as_dtype

# ---------------------------------------------------------------- types


def format_type(type_: TensorType) -> str:
    """``float32[N, 3]@10``; the inverse of :func:`parse_type`."""
    if type_.order is None or type_.rank <= 10:
        return str(type_)
    return f"{type_.with_order(None)}@{'.'.join(map(str, type_.order))}"


@lru_cache(4096)
def _cached_type(text: str) -> TensorType:
    dtype, bracket, rest = text.partition("[")
    inside, closing, order = rest.partition("]")
    if not bracket or not closing or (order and order[0] != "@") or dtype not in DTYPES:
        raise GraphError(f"not a type: {text[:80]!r}; expected one like float32[N, 3]")
    shape = tuple(decode_dim(part) for part in inside.split(",")) if inside.strip() else ()
    axes = order[1:].split(".") if "." in order else list(order[1:])
    if order and not all(axis.isdecimal() for axis in axes):
        raise GraphError(f"not a memory order: {order[:80]!r}")
    return TensorType(shape, DTYPES[dtype], tuple(map(int, axes)) if order else None)


def parse_type(text: str) -> TensorType:
    """The type that :func:`format_type` wrote."""
    return _cached_type(text) if len(text) < 200 else _cached_type.__wrapped__(text)


def decode_dim(text: str) -> Dim:
    """A dim from its text; raises :class:`GraphError` for anything else."""
    try:
        return parse_dim(text.strip())
    except LucidError as error:
        raise GraphError(str(error)) from error


# ---------------------------------------------------------------- attribute values as JSON


class ArrayTable:
    """The distinct arrays in attributes, to which JSON refers by number."""

    def __init__(self) -> None:
        self.numbers: dict[ConstArray, int] = {}

    def add(self, array: ConstArray) -> int:
        return self.numbers.setdefault(array, len(self.numbers))


def encode_value(value: object, arrays: ArrayTable) -> object:
    """An attribute value as JSON; kinds that JSON lacks become objects with one key that names the kind."""
    value = plain(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, SymDim):
        return {"dim": str(value)}
    if isinstance(value, np.dtype):
        return {"dtype": as_dtype(value).name}
    if isinstance(value, ConstArray):
        return {"array": arrays.add(value)}
    if isinstance(value, Attrs):
        return {"class": type(value).__name__, "fields": encode_attrs(value, arrays)}
    if isinstance(value, Region):
        return {"graph": encode_graph(value.graph, arrays)}
    if isinstance(value, tuple):
        return [encode_value(item, arrays) for item in value]
    raise GraphError(f"an attribute that is a {type(value).__name__} can be neither printed nor saved")


def encode_attrs(attrs: Attrs, arrays: ArrayTable) -> dict[str, object]:
    """All fields of ``attrs`` as JSON."""
    return {name: encode_value(value, arrays) for name, value in attrs.items()}


# ---------------------------------------------------------------- graphs as JSON


def encode_graph(graph: Graph, constants: ArrayTable) -> dict[str, object]:
    """A graph as a JSON object: nodes by number, and tables of their types and origins."""
    number = {name: i for i, name in enumerate(graph.order)}
    types: dict[str, int] = {}
    origins: dict[Origin, int] = {}
    nodes = []
    for name, node in graph.nodes():
        data: dict[str, object] = {"name": name, "op": node.op.name}
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
    names = {"names": list(graph.names)} if graph.names else {}
    return {
        "nodes": nodes,
        "types": list(types),
        "origins": [[list(map(printable, part)) for part in (o.modules, o.locations, o.history)] for o in origins],
        "inputs": [number[name] for name in graph.inputs],
        "outputs": [[number[v.node], v.output] for v in graph.outputs],
        "updates": [[label, number[v.node], v.output] for label, v in graph.updates],
        **names,
    }


# ---------------------------------------------------------------- arrays as text


def array_text(array: Array, most: int = 32) -> str:
    """The elements of a small array as ``[1.0, 2.0]`` in row-major order, of a larger one as base64 in quotes."""
    if array.size <= most:
        items = [repr(plain(item)) if array.dtype.kind != "f" else str(item) for item in array.reshape(-1)]
        if _from_items(items, array.dtype, array.shape).tobytes() == array.tobytes():
            return f"[{', '.join(items)}]"
    data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    return f'"{base64.b64encode(data).decode("ascii")}"'


def array_from_items(items: Sequence[str], dtype: DType, shape: tuple[int, ...]) -> ConstArray:
    """A constant from its elements as text."""
    if len(items) != math.prod(shape):
        raise GraphError(f"an array of shape {shape} has {math.prod(shape)} elements, got {len(items)}")
    try:
        return ConstArray(_from_items(items, dtype, shape))
    except (ValueError, OverflowError) as error:
        raise GraphError(f"not elements of a {dtype.name} array: {', '.join(items)[:80]}") from error


def _from_items(items: Iterable[str], dtype: DType, shape: tuple[int, ...]) -> Array:
    read: Any = {"b": {"True": True, "False": False}.__getitem__, "f": float}.get(dtype.kind, int)
    try:
        return np.array([read(item) for item in items], dtype).reshape(shape)
    except KeyError as error:
        raise ValueError(f"neither True nor False: {error}") from error


def array_from_base64(text: str, dtype: DType, shape: tuple[int, ...]) -> ConstArray:
    """A constant from the base64 of its little-endian bytes."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise GraphError(f"not base64: {text[:40]!r}") from error
    if len(data) != math.prod(shape) * dtype.itemsize:
        raise GraphError(
            f"an array {dtype.name}{list(shape)} takes {math.prod(shape) * dtype.itemsize} bytes, got {len(data)}"
        )
    return ConstArray(np.frombuffer(data, dtype.newbyteorder("<")).astype(dtype).reshape(shape))


def node_attrs(op: OpDef, values: Mapping[str, object]) -> Attrs:
    """Checked attributes for a node of ``op``."""
    try:
        return build_attrs(op.attrs, values)
    except GraphError as error:
        raise GraphError(f"{op.name}: {error}") from error
