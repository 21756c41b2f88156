"""What a model computes before its last softmax: where that is all 0 and 1, its results tell little of the rest."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import ModelProto, helper

SATURATED = 1e-3
"""How near to 1 the largest results of all rows are where they tell nothing."""


def saturated(probabilities: np.ndarray[Any, Any]) -> bool:
    """Whether each row is 1 in one place, and 0 elsewhere."""
    return probabilities.ndim > 1 and bool((probabilities.max(1) > 1 - SATURATED).all())


def without_softmax(proto: ModelProto) -> ModelProto | None:
    """The model that ends where this one's last softmax begins; None where its only result is made by no softmax."""
    graph = proto.graph
    (last,) = (node for node in graph.node if graph.output[0].name in node.output)
    if last.op_type != "Softmax" or len(graph.output) > 1:
        return None
    made = ModelProto()
    made.CopyFrom(proto)
    made.graph.node.remove(last)
    kind = graph.output[0].type.tensor_type.elem_type
    made.graph.output.pop()
    made.graph.output.append(helper.make_tensor_value_info(last.input[0], kind, None))
    return made
