""".lucid files: a safetensors file with arrays as tensors and graphs as canonical JSON in its metadata.

Layout (that of safetensors): eight bytes with the header's length, little-endian; the header, a JSON object padded with
spaces; the bytes of the tensors. Metadata: ``format`` and ``version``; ``graphs``, a JSON object of graphs by name;
``extra``, any JSON; ``sha256``, the digest of everything else; and, if there are ops of plug-ins, ``plugins``, a JSON
object of the distributions that provide them, by the ops' names. Constants in graphs are tensors named ``@constant/0``
and so on. Equal content gives equal bytes.

Reading executes nothing, and checks everything in the header before it allocates anything.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Collection, Mapping
from dataclasses import field
from typing import Any, TypeAlias

import numpy as np

from ..base import changes
from ..base.arrays import Array
from ..base.checks import named
from ..base.garbage import collection_paused
from ..base.structs import struct
from ..errors import FileError, LucidError, PluginError
from ..graph.ir import Graph
from ..graph.opdef import ConstArray
from ..graph.region import has_regions, walk
from ..graph.types import TensorType
from ..graph.verify import verify
from .container import (
    FORMAT,
    MAX_HEADER,
    TENSOR_TYPES,
    VERSION,
    WITH_NAMES,
    WITH_REGIONS,
    Data,
    Header,
    canonical,
    parse_json,
    read_header,
)
from .decode import decode_graphs
from .encode import ArrayTable, encode_graph
from .files import open_regular, write_atomically
from .plugins import check_plugins, encode_plugins

JSON: TypeAlias = Any

_CONSTANT = "@constant/"


@struct(frozen=True)
class Archive:
    """The content of a .lucid file.

    Attributes
    ----------
    graphs
        Verified graphs by name.
    arrays
        Arrays by name, usually the values of parameters. They are writable and do not share memory.
    extra
        Any JSON that was saved along with them.
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
    """Write a .lucid file; an existing one is replaced only when the new one is complete.

    Parameters
    ----------
    path
        The file to write.
    graphs
        Graphs by name.
    arrays
        Arrays by name. An array named like a parameter of a graph must have the parameter's type.
    extra
        Any JSON value (mappings with string keys, lists, strings, finite numbers, booleans, None).

    Raises
    ------
    FileError
        If the path cannot be written, or the content cannot be saved.
    GraphError
        If a graph is malformed.
    """
    with changes.writing:  # parameters must not change between computing the digest and writing
        write_atomically(path, _chunks(graphs, arrays or {}, extra))


def dump(graphs: Mapping[str, Graph], arrays: Mapping[str, Array] | None = None, extra: JSON = None) -> bytes:
    """The bytes that :func:`save` would write."""
    with changes.writing:
        return b"".join(_chunks(graphs, arrays or {}, extra))


@collection_paused()
def _chunks(graphs: Mapping[str, Graph], arrays: Mapping[str, Array], extra: JSON) -> list[bytes | memoryview]:
    constants = ArrayTable()
    encoded = {}
    for name, graph in graphs.items():
        verify(graph)
        encoded[name] = encode_graph(graph, constants)
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
            "dtype": TENSOR_TYPES[tensors[name].dtype.name], "shape": list(tensors[name].shape), "data_offsets": span
        }  # fmt: skip
        data.append(raw)
    header["__metadata__"] = {
        "format": FORMAT, "version": _version(graphs.values()), "graphs": canonical(encoded),
        "extra": _checked_extra(extra), **encode_plugins(encoded),
    }  # fmt: skip
    digest = hashlib.sha256(canonical(header).encode())
    for part in data:
        digest.update(part)
    header["__metadata__"]["sha256"] = digest.hexdigest()
    text = canonical(header).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER:
        raise FileError(f"the graphs take {len(text)} bytes, a .lucid file holds {MAX_HEADER}; save them separately")
    return [len(text).to_bytes(8, "little"), text, *data]


def _version(graphs: Collection[Graph]) -> str:
    """The lowest version that supports these graphs."""
    if any(inner.names for graph in graphs for _, inner in walk(graph)):
        return WITH_NAMES
    return WITH_REGIONS if any(map(has_regions, graphs)) else VERSION


def _raw(name: str, array: Array) -> memoryview:
    if array.dtype.name not in TENSOR_TYPES:
        raise FileError(f"the array {name!r} has element type {array.dtype}, which a .lucid file cannot hold")
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return little.reshape(-1).view(np.uint8).data


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or name.startswith("@") or name == "__metadata__":
        raise FileError(f"an array cannot be saved under the name {name!r}; choose a string that starts without '@'")
    return name


def _checked_extra(extra: JSON) -> str:
    try:
        text = canonical(extra)
        if parse_json(text) == extra:
            return text
    except (TypeError, ValueError, RecursionError) as error:
        raise FileError(f"'extra' is not JSON: {error}") from error
    raise FileError("'extra' would change when it is read back; use lists for tuples and strings for keys")


def _check_parameters(graph_name: str, graph: Graph, arrays: Mapping[str, Array]) -> None:
    for label, node in graph.parameters.items():
        if label in arrays:
            have = TensorType(tuple(np.shape(arrays[label])), np.asarray(arrays[label]).dtype)
            want = graph.node(node).outputs[0]
            if not have.same_value(want):
                raise FileError(f"the array {label!r} is {have}, the parameter in graph {graph_name!r} is {want}")


# ---------------------------------------------------------------- reading


def load(path: str | os.PathLike[str]) -> Archive:
    """Read a .lucid file.

    The arrays of a large file (:data:`~lucid.formats.container.MAPPED` bytes) are mapped: replace such a file by a new
    one, as :func:`save` does, rather than write into it while it is in use.

    Raises
    ------
    FileError
        If the file cannot be read or is invalid. The message names the path, what is wrong, and what to do. Nothing in
        the file is executed.
    """
    with open_regular(path) as (file, size):
        return _read(file, size, str(path))


def skim(path: str | os.PathLike[str]) -> Archive:
    """As :func:`load`, but array data are loaded only when they are used.

    So the checksum is not verified: graphs are checked as always, but numbers may be damaged.
    """
    with open_regular(path) as (file, size):
        return _read(file, size, str(path), skimmed=True)


def loads(data: bytes, name: str = "<bytes>") -> Archive:
    """As :func:`load`, for the bytes of a file; errors call it ``name``."""
    return _read(io.BytesIO(data), len(data), name)


@collection_paused()
def _read(file: io.BufferedIOBase, size: int, path: str, *, skimmed: bool = False) -> Archive:
    try:
        header = read_header(file, size)
    except (FileError, OSError, ValueError, RecursionError, MemoryError) as error:
        raise FileError(f"{named(path)}: not a readable .lucid file: {error}") from error
    try:
        data = Data(file, header, 0) if skimmed else Data(file, header)
    except (FileError, OSError, ValueError, MemoryError, OverflowError) as error:
        raise FileError(
            f"{named(path)}: its {header.nbytes:,} bytes of tensors cannot be allocated: {error}"
        ) from error
    if not skimmed and data.digest() != header.metadata["sha256"]:
        raise FileError(
            f"{named(path)}: its content does not match its checksum: it was damaged or altered after it was saved; "
            f"fetch or save it again"
        )
    try:
        return _decode(header, data)
    except PluginError as error:
        raise FileError(f"{named(path)}: {error}") from error
    except (LucidError, OSError, ValueError, RecursionError, MemoryError, OverflowError) as error:
        raise FileError(
            f"{named(path)}: its content is not valid: {error}. It was made by another version of Lucid or altered; "
            f"save the model again with this version"
        ) from error


def _decode(header: Header, data: Data) -> Archive:
    arrays = {tensor.name: data.array(tensor) for tensor in header.tensors}
    constants: list[ConstArray] = []
    while (name := f"{_CONSTANT}{len(constants)}") in arrays:
        constants.append(ConstArray(arrays.pop(name)))
    for name in arrays:
        _checked_name(name)
    check_plugins(header.metadata)
    graphs = decode_graphs(parse_json(header.metadata["graphs"]), constants)
    for graph_name, graph in graphs.items():
        _check_parameters(graph_name, graph, arrays)
    return Archive(graphs, arrays, parse_json(header.metadata["extra"]))
