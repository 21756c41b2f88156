"""The container of a .lucid file, which is that of safetensors: a JSON header, then the bytes of the tensors.

Sizes in the header are checked against the size of the file before anything of that size is allocated. Small files are
read; large ones are memory-mapped.
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import os
import re
from io import BufferedIOBase
from typing import Any, TypeAlias

import numpy as np

from ..base.arrays import Array
from ..base.structs import struct
from ..errors import FileError
from ..graph.types import DTYPES, DType

JSON: TypeAlias = Any

FORMAT = "lucid"
VERSION, WITH_REGIONS, WITH_NAMES = VERSIONS = "1", "2", "3"
"""Versions of the content: the second added nested graphs, the third names of results."""
#: Longest header that is read or written; the limit of the safetensors library.
MAX_HEADER = 100_000_000
#: Most axes of a value; NumPy's arrays have no more.
MAX_RANK = 64
#: Digits of the longest number; longer ones exceed floating-point numbers.
MAX_DIGITS = 308
#: Bytes of tensors from which on a file is mapped; its pages are then loaded when they are read.
MAPPED = 1 << 28
CHUNK = 1 << 22
TENSOR_TYPES = {
    "float32": "F32", "float64": "F64", "bool": "BOOL", "int8": "I8", "int16": "I16", "int32": "I32", "int64": "I64",
    "uint8": "U8", "uint16": "U16", "uint32": "U32", "uint64": "U64",
}  # fmt: skip
_FROM_TENSOR_TYPE = {code: DTYPES[name] for name, code in TENSOR_TYPES.items()}


def canonical(data: JSON) -> str:
    """JSON as it is written and hashed."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)


def parse_json(text: str) -> JSON:
    """``text`` as strict JSON: no NaN, no infinities, no numbers beyond float64, no duplicate keys."""
    return json.loads(
        text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_int=_integer, parse_float=_finite
    )


def _unique(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    result = dict(pairs)
    if len(result) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise FileError(f"the key {twice[:60]!r} occurs twice")
    return result


def _no_constant(text: str) -> JSON:
    raise FileError(f"{text} is not JSON")


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise FileError(f"a number has {len(text)} digits")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise FileError(f"{text[:60]} is larger than any number")
    return value


@struct(frozen=True)
class Tensor:
    """An entry of the tensor table; ``start`` and ``stop`` are offsets from the start of the data."""

    name: str
    dtype: DType
    shape: tuple[int, ...]
    start: int
    stop: int


@struct(frozen=True)
class Header:
    """A checked header, and the offset of the data."""

    fields: dict[str, JSON]
    metadata: dict[str, str]
    tensors: list[Tensor]
    data_start: int

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return self.tensors[-1].stop if self.tensors else 0


def read_header(file: BufferedIOBase, size: int) -> Header:
    """The header of a file of ``size`` bytes; raises FileError if it is invalid."""
    fields, start = _read_fields(file, size)
    metadata = _check_metadata(fields)
    return Header(fields, metadata, _check_tensors(fields, size - start), start)


def _read_fields(file: BufferedIOBase, size: int) -> tuple[dict[str, JSON], int]:
    prefix = file.read(8)
    length = int.from_bytes(prefix, "little")
    if len(prefix) < 8 or length > size - 8:
        raise FileError(f"it has {size} bytes and announces a header of {length}: it is truncated or something else")
    if length > MAX_HEADER:
        raise FileError(f"it announces a header of {length} bytes, more than the {MAX_HEADER} allowed")
    raw = file.read(length)
    if raw[:1] != b"{":
        raise FileError("its header is not a JSON object: it is another kind of file")
    header = parse_json(raw.decode("utf-8"))
    if not isinstance(header, dict):
        raise FileError("its header is not a JSON object")
    return header, 8 + length


def _check_metadata(header: dict[str, JSON]) -> dict[str, str]:
    metadata = header.get("__metadata__")
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        raise FileError("it has no metadata of format 'lucid': it may be a safetensors file of another program")
    if metadata.get("version") not in VERSIONS:
        raise FileError(
            f"it has version {metadata.get('version')!r}, this Lucid reads version {VERSIONS[-1]!r}: use a newer Lucid"
        )
    if set(metadata) - {"plugins"} != {"format", "version", "graphs", "extra", "sha256"}:
        raise FileError(f"its metadata has the fields {sorted(metadata)}")
    if not all(isinstance(value, str) for value in metadata.values()):
        raise FileError("its metadata holds something other than strings")
    if not re.fullmatch("[0-9a-f]{64}", metadata["sha256"]):
        raise FileError("its checksum is no SHA-256")
    return metadata


def _check_tensors(header: dict[str, JSON], available: int) -> list[Tensor]:
    """The entries of the tensor table in the order of their bytes, checked against the size of the file."""
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


def _check_tensor(name: str, data: JSON) -> Tensor:
    if not isinstance(data, dict) or set(data) != {"dtype", "shape", "data_offsets"}:
        raise FileError(f"tensor {name!r} must have a dtype, a shape and data offsets")
    code, shape, offsets = data["dtype"], data["shape"], data["data_offsets"]
    if not isinstance(code, str) or code not in _FROM_TENSOR_TYPE:
        raise FileError(f"tensor {name!r} has the unsupported element type {str(code)[:20]!r}")
    if not isinstance(shape, list) or len(shape) > MAX_RANK or not all(map(_is_size, shape)):
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
    return Tensor(name, dtype, tuple(shape), start, stop)


def _is_size(value: JSON) -> bool:
    return type(value) is int and 0 <= value < 2**63


# ---------------------------------------------------------------- the data


class Data:
    """The bytes of the tensors: read into memory, or mapped if there are at least ``mapped`` of them.

    Mapped pages are copied when they are written to. On Windows everything is read, as a mapped file could not be
    replaced there.
    """

    def __init__(self, file: BufferedIOBase, header: Header, mapped: int = MAPPED) -> None:
        self.header = header
        self.buffer: Any
        if header.nbytes >= max(mapped, 1) and os.name == "posix" and _is_open_file(file):
            whole = mmap.mmap(file.fileno(), header.data_start + header.nbytes, access=mmap.ACCESS_COPY)
            self.buffer = memoryview(whole)[header.data_start :]
        else:
            self.buffer = memoryview(_read_all(file, header.nbytes))

    def digest(self) -> str:
        """The SHA-256 of header and data."""
        metadata = {key: value for key, value in self.header.fields["__metadata__"].items() if key != "sha256"}
        digest = hashlib.sha256(canonical({**self.header.fields, "__metadata__": metadata}).encode())
        for start in range(0, len(self.buffer), CHUNK):
            digest.update(self.buffer[start : start + CHUNK])
        return digest.hexdigest()

    def array(self, tensor: Tensor) -> Array:
        """A tensor's array: writable, aligned, and with memory of its own unless the file is mapped."""
        if tensor.start == tensor.stop:
            return np.empty(tensor.shape, tensor.dtype)
        little = tensor.dtype.newbyteorder("<")
        seen = np.frombuffer(self.buffer[tensor.start : tensor.stop], np.uint8)
        own = isinstance(self.buffer.obj, mmap.mmap) and seen.ctypes.data % little.alignment == 0
        array = (seen if own else seen.copy()).view(little).reshape(tensor.shape)
        if tensor.dtype.kind == "b" and seen.max() > 1:
            raise FileError(f"the bool tensor {tensor.name!r} holds bytes other than 0 and 1")
        return array.astype(tensor.dtype, copy=False)


def _is_open_file(file: BufferedIOBase) -> bool:
    try:
        return file.fileno() >= 0
    except OSError:  # bytes that are read like a file
        return False


def _read_all(file: BufferedIOBase, count: int) -> bytearray:
    data = bytearray(count)
    if file.readinto(data) != count:
        raise FileError("it ended while it was read: it was changed meanwhile")
    return data
