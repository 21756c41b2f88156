"""Writing a draft as a file: protobuf messages, and external data."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ....base.lazy import LazyModule, hashlib
from ....errors import LucidError
from ...files import checked_path, write_atomically
from ..host import KINDS
from ..model import DOMAIN, ML, OWN, Array
from .draft import Draft, Item, Part, Setting

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, TensorProto, ValueInfoProto

onnx = LazyModule("onnx")
helper = LazyModule("onnx.helper")

ML_VERSION = 3
"""The version of the operators of ``ai.onnx.ml``."""

INLINE = (1 << 31) - (1 << 26)
"""The most bytes of weights in a message; those of larger models are stored in a separate file."""
SMALL = 1024
"""Arrays of up to this many bytes are stored in the message in any case, as shapes are read from there."""


def check_package() -> None:
    """Raise if the ``onnx`` package is missing."""
    try:
        onnx.ModelProto  # noqa: B018 - it loads
    except ModuleNotFoundError as error:
        raise LucidError("writing ONNX models needs the package onnx: pip install 'lucid[onnx]'") from error


def message(draft: Draft, beside: Mapping[str, tuple[str, int]]) -> ModelProto:
    """The model as a message; ``beside`` has the file and offset of external arrays."""
    domains = {step.domain for step in draft.part.steps}
    opsets = [helper.make_opsetid(DOMAIN, draft.opset)]
    opsets += [helper.make_opsetid(ML, ML_VERSION)] if ML in domains else []
    graph = _graph(draft, draft.part, "lucid", [_tensor(*one, beside.get(one[0])) for one in draft.arrays.items()])
    model: ModelProto = helper.make_model(graph, producer_name=OWN, opset_imports=opsets)
    model.ir_version = helper.find_min_ir_version_for(opsets)
    return model


def _graph(draft: Draft, part: Part, name: str, tensors: Iterable[TensorProto] = ()) -> GraphProto:
    def called(name: str) -> str:
        return draft.renamed.get(name, name)

    nodes = []
    for step in part.steps:
        node = helper.make_node(
            step.op, [*map(called, step.inputs)], [*map(called, step.outputs)], step.name, domain=step.domain or None
        )
        node.attribute.extend(
            helper.make_attribute(key, _setting(draft, step.name, value))
            for key, value in sorted(step.attributes.items())
        )
        nodes.append(node)
    made: GraphProto = helper.make_graph(
        nodes, name, [_declared(*end) for end in part.inputs], [_declared(*end) for end in part.outputs], list(tensors)
    )
    return made


def _setting(draft: Draft, owner: str, value: Setting) -> object:
    if isinstance(value, Part):
        return _graph(draft, value, owner)
    return _tensor("", value) if isinstance(value, np.ndarray) else value


def _declared(item: Item, shape: tuple[int | str, ...]) -> ValueInfoProto:
    made: ValueInfoProto = helper.make_tensor_value_info(item.name, KINDS[item.dtype.name], list(shape))
    return made


def _tensor(name: str, array: Array, beside: tuple[str, int] | None = None) -> TensorProto:
    made: TensorProto = onnx.TensorProto(name=name, dims=array.shape, data_type=KINDS[array.dtype.name])
    if beside is None:
        made.raw_data = _little(array).tobytes()
        return made
    made.data_location = onnx.TensorProto.EXTERNAL
    for key, value in zip(("location", "offset", "length"), (*beside, array.nbytes), strict=True):
        made.external_data.add(key=key, value=str(value))
    return made


def _little(array: Array) -> Array:
    """The array in the byte order of the format."""
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<"))


def save(draft: Draft, path: str | os.PathLike[str], external: bool) -> None:
    """Write the file and, if arrays are external, their file; existing files are replaced only when these are complete.

    The name of the arrays' file depends on its content, so that an existing model remains valid until it is replaced.
    """
    target = Path(os.path.realpath(checked_path(path, "written")))
    large = dict[str, Array]()
    if external or sum(array.nbytes for array in draft.arrays.values()) > INLINE:
        large = {name: array for name, array in draft.arrays.items() if array.nbytes > SMALL}
    data = _beside(target, large.values())
    text = message(draft, dict(zip(large, ((data.name, start) for start in _starts(large.values())), strict=True)))
    chunks = [text.SerializeToString()]  # before anything is written
    if large:
        there = data.exists()
        write_atomically(data, (part for array in large.values() for part in _padded(array)))
    try:
        write_atomically(target, chunks)
    except BaseException:
        if large and not there:
            data.unlink(missing_ok=True)
        raise
    beside = re.compile(rf"{re.escape(target.name)}\.[0-9a-f]{{{DIGITS}}}\.data")
    for name in os.listdir(target.parent):
        if beside.fullmatch(name) and not (large and name == data.name):  # what a file of this name has had before
            (target.parent / name).unlink(missing_ok=True)


def _beside(target: Path, arrays: Iterable[Array]) -> Path:
    """The path of the file for external arrays."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(_little(array).reshape(-1).view(np.uint8).data)
    return target.with_name(f"{target.name}.{digest.hexdigest()[:DIGITS]}.data")


def _starts(arrays: Iterable[Array]) -> Iterator[int]:
    """The offset of each array in that file."""
    position = 0
    for array in arrays:
        yield position
        position += array.nbytes + -array.nbytes % ALIGNED


DIGITS = 12
"""How many digits of its content's digest the name of such a file has."""
ALIGNED = 64
"""The alignment of arrays in bytes, for memory-mapping."""


def _padded(array: Array) -> tuple[memoryview, bytes]:
    return _little(array).reshape(-1).view(np.uint8).data, bytes(-array.nbytes % ALIGNED)
