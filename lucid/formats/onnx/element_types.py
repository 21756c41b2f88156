"""The values of a file whose element type differs from the type that they are computed with.

A file may declare such types, and operators pass them on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...base.lazy import LazyModule
from ...errors import from_handler

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

defs = LazyModule("onnx.defs")

ASKED = frozenset({"to", "dtype", "output_dtype"})
"""Attributes that specify the element type of results, by its number in the format."""


def of_graph(proto: GraphProto) -> dict[str, int]:
    """The element types that a graph declares, by the names in the file."""
    declared = (*proto.input, *proto.value_info, *proto.output)
    found = {one.name: one.type.tensor_type.elem_type for one in declared}
    found.update((one.name, one.data_type) for one in proto.initializer)
    return found


def of_results(proto: NodeProto, given: Sequence[int], domain: str, version: int) -> Sequence[int]:
    """The element types of a node's results, from those of its inputs (``given``); 0 if unknown."""
    for one in proto.attribute:
        kind = one.i if one.name in ASKED else one.t.data_type if one.name == "value" else 0
        if kind:
            return [kind] * len(proto.output)
    if not any(given):
        return ()
    try:
        schema = defs.get_schema(proto.op_type, version, domain)
    except Exception as error:
        if from_handler(error):
            raise
        return ()  # of an operator that the format does not know
    takes, gives = ([one.type_str for one in ends] for ends in (schema.inputs, schema.outputs))
    if not takes or not gives:
        return ()
    types = {takes[min(slot, len(takes) - 1)]: kind for slot, kind in enumerate(given) if kind}
    return [types.get(gives[min(slot, len(gives) - 1)], 0) for slot in range(len(proto.output))]
