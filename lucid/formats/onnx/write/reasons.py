"""Why ops have no writer. What is not here has one, or is defined by ops that have."""

from __future__ import annotations

from collections.abc import Mapping

_FUNCTION = "ONNX has no such function"
_MATRICES = "ONNX has no operator that solves with matrices or takes them apart"
_TRANSPOSE = "it is the transpose of an op, and ONNX has none for it"
_GROUP = "it adds up over the processes of a group, which a file does not have"

REASONS: Mapping[str, str] = {
    "Erfc": _FUNCTION,
    "Erfinv": _FUNCTION,
    "Lgamma": _FUNCTION,
    "Polygamma": _FUNCTION,
    "ProductOfOthers": _FUNCTION,
    "Cholesky": _MATRICES,
    "Eigh": _MATRICES,
    "Inverse": _MATRICES,
    "Qr": _MATRICES,
    "SlogDet": _MATRICES,
    "Solve": _MATRICES,
    "Svd": _MATRICES,
    "PadGrad": _TRANSPOSE,
    "ResizeGrad": _TRANSPOSE,
    "AllReduceBegin": _GROUP,
    "AllReduceEnd": _GROUP,
    "BitCast": "ONNX has it since version 26 of its operators, which is newer than those that are written",
    "Call": "it is what eager code calls a compiled model by: compile or export the function around it",
    "CtcLoss": "ONNX has no such loss",
    "TreeLeaves": "trees are tables here, of which ONNX has no operator for the leaves alone",
}
"""By the names of the ops."""
