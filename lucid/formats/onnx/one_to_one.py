"""Ops that correspond to one ONNX operator exactly: a table for both the reader and the writer."""

from __future__ import annotations

from collections.abc import Mapping

from ...graph.opdef import OpDef
from ...graph.ops import elementwise as ew
from ...graph.ops import trigonometry as tr

UNARY: Mapping[str, OpDef] = {
    "Neg": ew.NEG, "Abs": ew.ABS, "Exp": ew.EXP, "Log": ew.LOG, "Sin": ew.SIN, "Cos": ew.COS, "Tanh": ew.TANH,
    "Floor": ew.FLOOR, "Ceil": ew.CEIL, "Round": ew.ROUND, "Sign": ew.SIGN, "Erf": ew.ERF, "Relu": ew.RELU,
    "Sigmoid": ew.SIGMOID, "Asin": tr.ASIN, "Acos": tr.ACOS, "Atan": tr.ATAN, "Sinh": tr.SINH, "Cosh": tr.COSH,
    "Asinh": tr.ASINH, "Acosh": tr.ACOSH, "Atanh": tr.ATANH, "HardSwish": ew.HARD_SWISH,
}  # fmt: skip
"""Element-wise operators with one operand and no attributes."""

ACTIVATION_NUMBERS: Mapping[str, tuple[str, ...]] = {
    "Affine": ("alpha", "beta"), "LeakyRelu": ("alpha",), "ThresholdedRelu": ("alpha",),
    "ScaledTanh": ("alpha", "beta"), "HardSigmoid": ("alpha", "beta"), "Elu": ("alpha",),
}  # fmt: skip
"""The parameters of activations of recurrent layers, which list them; other activations have none."""
