"""Weights for the nine classic CNNs of the onnx package, whose own are all alike: a wrong convolution would pass."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from onnx import ModelProto, numpy_helper


def reweighted(proto: ModelProto, name: str) -> ModelProto:
    """The model with seeded random numbers in the place of each weight that is made by ``ConstantOfShape``."""
    rng, graph = np.random.default_rng(zlib.crc32(name.encode())), proto.graph
    shapes = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    readers: dict[str, tuple[Any, int]] = {}
    for node in graph.node:
        for slot, value in enumerate(node.input):
            readers.setdefault(value, (node, slot))
    made = [node for node in graph.node if node.op_type == "ConstantOfShape" and node.input[0] in shapes]
    for node in made:
        shape = tuple(int(dim) for dim in shapes[node.input[0]])
        reader, slot = readers[node.output[0]]
        while reader.op_type == "Unsqueeze":
            reader, slot = readers[reader.output[0]]
        numbers = rng.standard_normal(shape)
        if len(shape) > 1:  # as He et al., 2015: signals keep their size
            numbers *= (2 / max(1, np.prod(shape[1:]))) ** 0.5
        elif reader.op_type == "BatchNormalization" and slot == 4:
            numbers = rng.uniform(0.5, 1.5, shape)
        else:
            scales = (reader.op_type == "BatchNormalization" and slot == 1) or reader.op_type == "Mul"
            numbers = 0.1 * numbers + scales
        graph.initializer.append(numpy_helper.from_array(numbers.astype(np.float32), node.output[0]))
        graph.node.remove(node)
    read = {value for node in graph.node for value in node.input}
    for group in (graph.initializer, graph.input):
        for one in [one for one in group if one.name in shapes and one.name not in read]:
            group.remove(one)
    proto.ir_version = max(proto.ir_version, 4)  # from which on weights need not be inputs
    return proto
