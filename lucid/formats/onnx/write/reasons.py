"""Why some ops cannot be exported. All other ops have a writer, or are defined by ops that have one."""

from __future__ import annotations

from collections.abc import Mapping

_FUNCTION = "ONNX has no such function"
_MATRICES = "ONNX has no linear solvers and no matrix decompositions"
_GRADIENT = "it is the gradient of an op that has none in ONNX"
_GROUP = "it sums over the processes of a group, of which a file knows nothing"

REASONS: Mapping[str, str] = {
    "BesselI": _FUNCTION,
    "Erfc": _FUNCTION,
    "Erfcx": _FUNCTION,
    "Erfinv": _FUNCTION,
    "Gcd": _FUNCTION,
    "Lgamma": _FUNCTION,
    "Ndtri": _FUNCTION,
    "Polygamma": _FUNCTION,
    "ProductOfOthers": _FUNCTION,
    "Cholesky": _MATRICES,
    "Eigh": _MATRICES,
    "Inverse": _MATRICES,
    "MatrixExp": _MATRICES,
    "Pinv": _MATRICES,
    "Qr": _MATRICES,
    "SlogDet": _MATRICES,
    "Solve": _MATRICES,
    "Svd": _MATRICES,
    "PadGrad": _GRADIENT,
    "ResizeGrad": _GRADIENT,
    "AllReduceBegin": _GROUP,
    "AllReduceEnd": _GROUP,
    "BitCast": "ONNX has it only from opset 26 on, which is newer than those that are exported",
    "Call": "it is a call of a compiled model from eager code: compile or export the function around it",
    "CtcLoss": "ONNX has no such loss",
    "TreeLeaves": "ONNX's tree operators return aggregated results, not the leaves",
}
"""By the names of the ops."""
