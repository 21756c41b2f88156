"""Each operator against the format's own reference: eager, compiled, and compiled for sizes of any number."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from onnx import helper

import lucid
from lucid.errors import LucidError

from .models import Case, agrees, expected, model, one

Array = np.ndarray[Any, Any]


def floats(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


X, Y, IMAGE, VOLUME = floats(2, 3, 4), floats(2, 3, 4, seed=1), floats(2, 4, 9, 11), floats(2, 4, 5, 7, 6)
POSITIVE = np.abs(X) + 0.1
CLASSES = np.array([[0, 1, 2, 1], [2, 2, 0, 1]])
POOLED, PLACES = (
    floats(2, 2, 2, 2),
    ints(0, 2, 8, 10, 17, 19, 24, 31, 33, 34, 40, 47, 49, 51, 56, 58).reshape(2, 2, 2, 2),
)
BOXES = np.float32([[0.5, 1, 6, 7.5], [-3, 2, 4, 3], [9, 9, 12, 30]])
CASES: dict[str, Case] = {
    **{op: one(op, [X]) for op in ("Neg", "Abs", "Exp", "Sin", "Cos", "Tan", "Tanh", "Floor", "Ceil", "Round", "Sign",
                                   "Erf", "Relu", "Sigmoid", "Softplus", "Softsign", "LeakyRelu", "Elu", "Celu", "Selu",
                                   "HardSigmoid", "HardSwish", "ThresholdedRelu", "Identity", "IsNaN", "IsInf")},
    **{op: one(op, [POSITIVE]) for op in ("Log", "Sqrt", "Reciprocal")},
    **{op: one(op, [X, Y]) for op in ("Add", "Sub", "Mul", "Div", "Equal", "Less", "LessOrEqual", "Greater",
                                      "GreaterOrEqual", "Min", "Max", "Sum", "Mean")},
    "Pow": one("Pow", [POSITIVE, Y]),
    "Pow 2": one("Pow", [X, np.float32(2).reshape(())], constant=[1]),
    "Add broadcast": one("Add", [X, floats(4)]),
    "Div of integers": one("Div", [ints(-7, 7, -8, 8), ints(2, -2, 3, 3)]),
    "Mod": one("Mod", [ints(-7, 7, -8, 8), ints(3, -3, 3, 3)]),
    "Mod fmod": one("Mod", [floats(6) * 5, np.full(6, 2, np.float32)], fmod=1),
    "Mish": one("Mish", [X], opset=18),
    "Gelu": one("Gelu", [X], opset=20),
    "Gelu tanh": one("Gelu", [X], opset=20, approximate="tanh"),
    "PRelu": one("PRelu", [X, floats(3, 1)]),
    "Clip": one("Clip", [X, np.float32(-0.5), np.float32(0.5)], constant=[1, 2]),
    "Clip computed": one("Clip", [X, np.float32(-0.5), np.float32(0.5)]),
    "Clip one end": one("Clip", [X, None, np.float32(0.5)], constant=[2]),
    "Clip 6": one("Clip", [X], opset=6, min=-0.3, max=0.4),
    "Where": one("Where", [X > 0, X, Y]),
    "Cast": one("Cast", [X * 3], to=7),
    "Cast bool": one("Cast", [np.float32([0, 1, -2])], to=9),
    "Not": one("Not", [X > 0]),
    "And": one("And", [X > 0, Y > 0]),
    "Reshape": one("Reshape", [X, ints(0, -1)], constant=[1]),
    "Flatten": one("Flatten", [X], axis=2),
    "Flatten 0": one("Flatten", [X], axis=0),
    "Transpose": one("Transpose", [X], perm=[2, 0, 1]),
    "Transpose default": one("Transpose", [X]),
    "Unsqueeze": one("Unsqueeze", [X, ints(0, -1)], constant=[1]),
    "Unsqueeze 11": one("Unsqueeze", [X], opset=11, axes=[1, 3]),
    "Squeeze": one("Squeeze", [X[:, :1], ints(1)], constant=[1]),
    "Concat": one("Concat", [X, Y], axis=-1),
    "Split": one("Split", [X, ints(1, 3)], 2, constant=[1], axis=2),
    "Split even": one("Split", [X], 2, axis=2),
    "Split 18": one("Split", [floats(5, 2)], 3, opset=18, axis=0, num_outputs=3),
    "Slice": one("Slice", [X, ints(1, -3), ints(9, -1), ints(0, 2)], constant=[1, 2, 3]),
    "Slice steps": one("Slice", [X, ints(3), ints(-9), ints(2), ints(-2)], constant=[1, 2, 3, 4]),
    "Slice 9": one("Slice", [X], opset=9, starts=[0, 1], ends=[1, 3], axes=[0, 2]),
    "Gather": one("Gather", [X, np.array([[0, -1], [1, 1]], np.int64)], axis=2),
    "Gather scalar": one("Gather", [X, np.array(-1, np.int64)], constant=[1], axis=1),
    "GatherElements": one("GatherElements", [X, np.array([[[0, -1, 1, 1]]], np.int64)], axis=2),
    "Expand": one("Expand", [X[:, :1], ints(1, 3, 1)], constant=[1]),
    "Tile": one("Tile", [X, ints(1, 2, 3)], constant=[1]),
    "Pad": one("Pad", [X, ints(0, 1, 2, 1, 0, 0)], constant=[1]),
    "Pad value": one("Pad", [X, ints(0, 1, 2, 1, 0, -1), np.float32(1.5)], constant=[1, 2]),
    "Pad computed": one("Pad", [X, ints(0, 1, 2, 1, 0, 3), np.float32(1.5)], constant=[1]),
    "Pad reflect": one("Pad", [X, ints(0, 1, 2, 0, 2, 1)], constant=[1], mode="reflect"),
    "Pad edge": one("Pad", [X, ints(0, 1, 2, 0, 2, 1)], constant=[1], mode="edge"),
    "OneHot": one("OneHot", [ints(0, 2, -1), np.array(4, np.int64), np.float32([-1, 2])], constant=[1]),
    "OneHot axis": one("OneHot", [ints(0, 2, -1), np.array(4, np.int64), np.float32([0, 1])], constant=[1], axis=0),
    **{op: one(op, [X, ints(1)] if op == "ReduceSum" else [X], constant=[1] if op == "ReduceSum" else [],
               **({} if op == "ReduceSum" else {"axes": [1]}))
       for op in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2",
                  "ReduceSumSquare", "ReduceLogSumExp")},
    "ReduceMean all": one("ReduceMean", [X], keepdims=0),
    "ReduceMax 18": one("ReduceMax", [X, ints(0, 2)], opset=18, constant=[1], keepdims=0),
    "ArgMax": one("ArgMax", [X], axis=1),
    "ArgMin": one("ArgMin", [X], axis=2, keepdims=0),
    "CumSum": one("CumSum", [X, np.array(1, np.int64)], constant=[1]),
    "CumSum reverse": one("CumSum", [X, np.array(1, np.int64)], constant=[1], reverse=1, exclusive=1),
    "Softmax": one("Softmax", [X]),
    "Softmax 11": one("Softmax", [X], opset=11, axis=1),
    "LogSoftmax": one("LogSoftmax", [X], axis=1),
    "Hardmax": one("Hardmax", [X], axis=1),
    "MatMul": one("MatMul", [X, floats(2, 4, 5)]),
    "MatMul vector": one("MatMul", [X, floats(4)]),
    "Gemm": one("Gemm", [X[0], floats(4, 5), floats(5)], alpha=0.5, beta=2.0),
    "Gemm turned": one("Gemm", [floats(4, 3), floats(5, 4), floats(3, 1)], transA=1, transB=1),
    "Gemm plain": one("Gemm", [X[0], floats(5, 4), floats(5)], transB=1),
    "Einsum": one("Einsum", [X, Y], equation="abc,abd->acd"),
    "BatchNormalization": one("BatchNormalization", [X, floats(3), floats(3), floats(3), np.abs(floats(3))]),
    "InstanceNormalization": one("InstanceNormalization", [X, floats(3), floats(3)]),
    "LayerNormalization": one("LayerNormalization", [X, floats(3, 4), floats(3, 4)], axis=1),
    "LRN": one("LRN", [IMAGE], size=3, alpha=0.1),
    "Dropout": one("Dropout", [X]),
    "Conv": one("Conv", [IMAGE, floats(6, 4, 3, 3), floats(6)], constant=[1, 2], pads=[1, 0, 2, 1], strides=[2, 1]),
    "Conv groups": one("Conv", [IMAGE, floats(6, 2, 3, 2)], constant=[1], group=2, dilations=[2, 1]),
    "Conv same": one("Conv", [IMAGE, floats(6, 4, 4, 3)], constant=[1], auto_pad="SAME_UPPER", strides=[2, 2]),
    "Conv same lower": one("Conv", [IMAGE, floats(6, 4, 4, 3)], constant=[1], auto_pad="SAME_LOWER"),
    "Conv 1-d": one("Conv", [X, floats(5, 3, 3), floats(5)], constant=[1, 2], pads=[1, 2], strides=[2]),
    "ConvTranspose": one("ConvTranspose", [IMAGE, floats(4, 3, 3, 3), floats(3)], constant=[1, 2], strides=[2, 3],
                         pads=[1, 0, 1, 2], output_padding=[1, 0]),
    "ConvTranspose 1-d": one("ConvTranspose", [X, floats(3, 2, 3)], constant=[1], strides=[2]),
    "ConvTranspose shape": one("ConvTranspose", [IMAGE, floats(4, 3, 3, 3)], constant=[1], strides=[2, 2],
                               output_shape=[18, 23]),
    "ConvTranspose larger": one("ConvTranspose", [IMAGE, floats(4, 3, 3, 3)], constant=[1], strides=[3, 2],
                                output_shape=[28, 24]),
    "Conv 3-d": one("Conv", [VOLUME, floats(6, 2, 3, 2, 3), floats(6)], constant=[1, 2], pads=[1, 0, 2, 1, 1, 0],
                    strides=[2, 1, 2], group=2, dilations=[1, 2, 1]),
    "Conv 3-d same": one("Conv", [VOLUME, floats(3, 4, 2, 3, 2)], constant=[1], auto_pad="SAME_LOWER",
                         strides=[2, 1, 2]),
    "ConvTranspose 3-d": one("ConvTranspose", [VOLUME, floats(4, 3, 3, 2, 3), floats(3)], constant=[1, 2],
                             strides=[2, 3, 1], pads=[1, 0, 1, 0, 1, 2], output_padding=[1, 0, 0]),
    "MaxPool 3-d": one("MaxPool", [VOLUME], kernel_shape=[2, 3, 2], strides=[1, 2, 2], pads=[1, 1, 0, 0, 1, 1]),
    "MaxPool 3-d positions": one("MaxPool", [VOLUME], 2, kernel_shape=[2, 3, 2], strides=[2, 2, 1]),
    "MaxPool columns first": one("MaxPool", [IMAGE], 2, kernel_shape=[2, 3], strides=[2, 2], storage_order=1),
    "MaxPool 1-d positions": one("MaxPool", [X], 2, kernel_shape=[2], strides=[2]),
    "MaxPool": one("MaxPool", [IMAGE], kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 0, 1]),
    "MaxPool ceil": one("MaxPool", [IMAGE], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    "MaxPool positions": one("MaxPool", [IMAGE], 2, kernel_shape=[2, 2], strides=[2, 2]),
    "MaxPool 1-d": one("MaxPool", [X], kernel_shape=[2], strides=[1]),
    "AveragePool": one("AveragePool", [IMAGE], kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 0, 1]),
    "AveragePool pads": one("AveragePool", [IMAGE], kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
    "AveragePool 1-d": one("AveragePool", [X], kernel_shape=[3], strides=[2], pads=[1, 1]),
    "AveragePool 3-d": one("AveragePool", [VOLUME], kernel_shape=[2, 3, 2], strides=[1, 2, 2], pads=[1, 1, 0, 0, 1, 1]),
    **{f"AveragePool dilated {include}{ceil}": one("AveragePool", [IMAGE], opset=19, kernel_shape=[3, 2],
                                                   dilations=[2, 3], strides=[2, 2], pads=[1, 1, 1, 1],
                                                   count_include_pad=include, ceil_mode=ceil)
       for include in (0, 1) for ceil in (0, 1)},
    "AveragePool 3-d dilated": one("AveragePool", [VOLUME], opset=19, kernel_shape=[2, 2, 2], dilations=[2, 2, 1]),
    "GlobalAveragePool": one("GlobalAveragePool", [IMAGE]),
    "GlobalMaxPool": one("GlobalMaxPool", [IMAGE]),
    **{f"Resize {mode} {where}": one("Resize", [IMAGE, None, np.float32([1, 1, 1.7, 0.62])], opset=19, constant=[2],
                                     mode=mode, coordinate_transformation_mode=where)
       for mode in ("nearest", "linear", "cubic")
       for where in ("half_pixel", "asymmetric", "align_corners", "half_pixel_symmetric", "pytorch_half_pixel")},
    **{f"Resize {rounding}": one("Resize", [IMAGE, None, None, ints(2, 4, 6, 22)], opset=13, constant=[3],
                                 nearest_mode=rounding)
       for rounding in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")},
    "Resize crop": one("Resize", [IMAGE, np.float32([0, 0, 0.4, -0.2, 1, 1, 0.6, 1.3]), None, ints(2, 4, 5, 7)],
                       constant=[1, 3], mode="linear", coordinate_transformation_mode="tf_crop_and_resize",
                       extrapolation_value=10.0),
    "Resize axes": one("Resize", [IMAGE, None, None, ints(5, 6)], opset=18, constant=[3], axes=[3, 2], mode="cubic",
                       exclude_outside=1, cubic_coeff_a=-0.5),
    "Resize larger": one("Resize", [IMAGE, None, None, ints(20, 30)], opset=18, constant=[3], axes=[2, 3],
                         keep_aspect_ratio_policy="not_larger", mode="linear"),
    "Resize smaller": one("Resize", [IMAGE, None, None, ints(5, 30)], opset=18, constant=[3], axes=[2, 3],
                          keep_aspect_ratio_policy="not_smaller", mode="linear"),
    "Resize smooth": one("Resize", [IMAGE, None, np.float32([1, 1, 0.4, 0.7])], opset=18, constant=[2], mode="linear",
                         antialias=1),
    **{f"Resize {mode} of {dtype}": one("Resize", [(20 * IMAGE).clip(-60, 60).astype(dtype) + np.array(60, dtype), None,
                                                   np.float32([1, 1, 2, 2])], opset=19, constant=[2], mode=mode)
       for mode in ("linear", "cubic") for dtype in ("uint8", "int8", "int32", "int64")},
    "Resize 10": one("Resize", [IMAGE, np.float32([1, 1, 2, 3])], opset=10, constant=[1]),
    "Upsample": one("Upsample", [IMAGE, np.float32([1, 1, 2, 3])], opset=9, constant=[1]),
    "Upsample 7": one("Upsample", [IMAGE], opset=7, scales=[1.0, 1.0, 2.0, 3.0]),
    **{op: one(op, [np.tanh(X)]) for op in ("Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Atanh")},
    "Acosh": one("Acosh", [np.abs(X) + 1.1]),
    "BitwiseNot": one("BitwiseNot", [np.arange(5, dtype=np.uint8)], opset=18),
    "BitShift left": one("BitShift", [np.arange(5, dtype=np.uint8), np.uint8([1, 7, 8, 0, 2])], direction="LEFT"),
    "BitShift right": one("BitShift", [np.arange(90, 95, dtype=np.uint8), np.uint8([1, 7, 8, 0, 2])],
                          direction="RIGHT"),
    "Shrink": one("Shrink", [X], bias=0.2, lambd=0.7),
    "Swish": one("Swish", [X], opset=24, alpha=0.5),
    "ArgMax last": one("ArgMax", [np.round(X)], axis=1, select_last_index=1),
    "LayerNormalization outputs": one("LayerNormalization", [X, floats(4), floats(4)], 3),
    "RMSNormalization": one("RMSNormalization", [X, floats(4)], opset=23),
    "GroupNormalization": one("GroupNormalization", [IMAGE, floats(4), floats(4, seed=1)], opset=21, num_groups=2),
    "GroupNormalization 18": one("GroupNormalization", [IMAGE, floats(2), floats(2, seed=1)], opset=18, num_groups=2),
    "LpNormalization": one("LpNormalization", [X], axis=1, p=1),
    "NegativeLogLikelihoodLoss": one("NegativeLogLikelihoodLoss", [X, CLASSES, floats(3)], ignore_index=1),
    "SoftmaxCrossEntropyLoss": one("SoftmaxCrossEntropyLoss", [X, CLASSES], 2, reduction="sum"),
    "LpPool 1-d": one("LpPool", [X], opset=18, kernel_shape=[2], strides=[2], p=1),
    "LpPool 3-d": one("LpPool", [VOLUME], opset=18, kernel_shape=[2, 3, 2], strides=[1, 2, 2]),
    "LpPool dilated": one("LpPool", [IMAGE], opset=18, kernel_shape=[3, 2], dilations=[2, 2]),
    "LpPool": one("LpPool", [IMAGE], opset=18, kernel_shape=[3, 2], strides=[2, 2], p=3),
    "GlobalLpPool": one("GlobalLpPool", [IMAGE], p=3),
    **{f"GridSample {mode} {padding}": one("GridSample", [IMAGE, floats(2, 3, 5, 2)], opset=20, mode=mode,
                                           padding_mode=padding, align_corners=corners)
       for mode, padding, corners in (("linear", "zeros", 0), ("nearest", "border", 1), ("cubic", "reflection", 0))},
    "ReverseSequence": one("ReverseSequence", [X, ints(2, 1, 0)]),
    "ReverseSequence batch": one("ReverseSequence", [X, ints(2, 3)], time_axis=1, batch_axis=0),
    "CenterCropPad": one("CenterCropPad", [IMAGE, ints(4, 14)], opset=18, constant=[1], axes=[2, 3]),
    "Compress": one("Compress", [X, np.array([True, False, True])], constant=[1], axis=2),
    "Compress flat": one("Compress", [X, np.array([True, False, True])], constant=[1]),
    **{op: one(op, [np.array(7, np.int64)], constant=[0]) for op in ("HannWindow", "HammingWindow", "BlackmanWindow")},
    "HannWindow whole": one("HannWindow", [np.array(7, np.int64)], constant=[0], periodic=0),
    "CumSum of int32": one("CumSum", [np.arange(5, dtype=np.int32), np.array(0, np.int64)], constant=[1]),
    "OneHot out of range": one("OneHot", [ints(0, 9, -9), np.array(4, np.int64), np.float32([-1, 2])], constant=[1]),
    "DFT": one("DFT", [floats(2, 9, 1), np.array(12, np.int64), np.array(1, np.int64)], opset=20, constant=[1, 2]),
    "DFT of half": one("DFT", [floats(2, 9, 1), None, np.array(1, np.int64)], opset=20, constant=[2], onesided=1),
    "DFT back": one("DFT", [floats(2, 9, 2)], opset=17, axis=1, inverse=1),
    "STFT": one("STFT", [floats(2, 32, 1), np.array(5, np.int64), floats(8)], constant=[1]),
    "CumProd": one("CumProd", [X, np.array(2, np.int64)], opset=26, constant=[1]),
    "CumProd reverse": one("CumProd", [X, np.array(2, np.int64)], opset=26, constant=[1], reverse=1, exclusive=1),
    "CausalConvWithState": one("CausalConvWithState", [X, floats(3, 1, 3), floats(3), floats(2, 3, 2)], 2, opset=27,
                               activation="silu"),
    "AffineGrid": one("AffineGrid", [floats(2, 2, 3), ints(2, 3, 4, 5)], opset=20, constant=[1]),
    "AffineGrid corners": one("AffineGrid", [floats(2, 3, 4), ints(2, 3, 4, 5, 6)], opset=20, constant=[1],
                              align_corners=1),
    "PRelu 6": one("PRelu", [X, floats(3)], opset=6),
    "CastLike": one("CastLike", [X * 3, ints(1)]),
    "BitCast": one("BitCast", [X], opset=26, to=6),
    "Col2Im": one("Col2Im", [floats(2, 12, 15), ints(7, 6), ints(3, 2)], opset=18, constant=[1, 2], strides=[2, 1],
                  pads=[1, 0, 0, 1], dilations=[1, 2]),
    **{f"TensorScatter {mode}": one("TensorScatter", [floats(2, 5, 3), floats(2, 2, 3), ints(1, 3)], opset=24,
                                    mode=mode)
       for mode in ("linear", "circular")},
    "DepthToSpace": one("DepthToSpace", [IMAGE], blocksize=2),
    "DepthToSpace CRD": one("DepthToSpace", [IMAGE], blocksize=2, mode="CRD"),
    "SpaceToDepth": one("SpaceToDepth", [floats(2, 3, 4, 6)], blocksize=2),
    "Col2Im volumes": one("Col2Im", [floats(1, 8, 12), ints(3, 4, 3), ints(2, 2, 2)], opset=18, constant=[1, 2]),
    "MaxUnpool": one("MaxUnpool", [POOLED, PLACES], opset=22, kernel_shape=[2, 2], strides=[2, 2]),
    "MaxUnpool padded": one("MaxUnpool", [floats(1, 1, 2, 2), ints(5, 7, 13, 15).reshape(1, 1, 2, 2), ints(1, 1, 5, 5)],
                            opset=11, constant=[2], kernel_shape=[2, 2], strides=[2, 2]),
    **{f"RoiAlign {mode} {where} {number}": one("RoiAlign", [IMAGE, BOXES, ints(0, 1, 1)], opset=16, mode=mode,
                                                output_height=3, output_width=2, sampling_ratio=number,
                                                spatial_scale=0.7, coordinate_transformation_mode=where)
       for mode in ("avg", "max") for where in ("half_pixel", "output_half_pixel") for number in (2, 0)},
    "MaxRoiPool": one("MaxRoiPool", [IMAGE, np.float32([[1, 1, 1, 6, 8], [0, 20, 20, 21, 21]])], pooled_shape=[2, 2]),
    "DeformConv": one("DeformConv", [floats(1, 4, 5, 6), floats(2, 2, 3, 3), floats(1, 36, 5, 6) * 0.3, floats(2),
                                     np.abs(floats(1, 18, 5, 6))],
                      opset=19, pads=[1, 1, 1, 1], group=2, offset_group=2),
    "Det": one("Det", [floats(3, 2, 4, 4)], opset=22),
    "Dropout not in training": one("Dropout", [X, np.float32(0.7), np.array(False)], 2, constant=[1, 2]),
    "Dropout of nothing": one("Dropout", [X, np.float32(0), np.array(True)], 2, constant=[1, 2]),
    "ReduceMax of nothing": one("ReduceMax", [X[:, :0], ints(1)], opset=20, constant=[1]),
    "ReduceMin of nothing": one("ReduceMin", [np.zeros((0, 2), np.int32), ints(0)], opset=20, constant=[1], keepdims=0),
    "Optional": one("OptionalGetElement", [X], opset=18),
    "OptionalHasElement": one("OptionalHasElement", [X], opset=18),
}  # fmt: skip


def _old_softmax(x: Array) -> Array:
    """Of opset 11: over all axes from the one that is named."""
    e = np.exp(x.reshape(2, 12) - x.reshape(2, 12).max(1, keepdims=True))
    return (e / e.sum(1, keepdims=True)).reshape(x.shape)


def _in_groups(x: Array, scale: Array, shift: Array) -> Array:
    """Two groups of two channels, each with one scale and one shift."""
    groups = x.reshape(2, 2, -1)
    y = (groups - groups.mean(2, keepdims=True)) / np.sqrt(groups.var(2, keepdims=True) + 1e-5)
    return (y * scale[:, None] + shift[:, None]).reshape(x.shape)


def _quarters(region: Array) -> Array:
    """The largest pixels of the four quarters of an image of even sizes."""
    channels, high, wide = region.shape
    return region.reshape(channels, 2, high // 2, 2, wide // 2).max((2, 4))


def _lrn(x: Array) -> Array:
    padded = np.pad(x * x, [(0, 0), (1, 1), (0, 0), (0, 0)])
    return x / (1 + 0.1 / 3 * (padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:])) ** 0.75


def _truncated(mode: str, given: dict[str, Array]) -> Array:
    """Rounded towards zero, as ONNX Runtime has it; the format does not say, and the reference evaluator rounds."""
    x = given["x0"]
    exact = one("Resize", [x.astype(np.float64), None, np.float32([1, 1, 2, 2])], opset=19, constant=[2], mode=mode)
    return np.trunc(expected(exact.proto, exact.inputs)[0]).astype(x.dtype)


DEFINED: dict[str, Callable[[dict[str, Array]], Array]] = {
    "GatherElements": lambda given: np.take_along_axis(given["x0"][:1, :1], given["x1"], 2),
    "Pad value": lambda given: np.pad(given["x0"], [(0, 1), (1, 0), (2, 0)], constant_values=1.5)[:, :, :-1],
    "Softmax 11": lambda given: _old_softmax(given["x0"]),
    "LRN": lambda given: _lrn(given["x0"]),
    "MaxRoiPool": lambda given: np.stack([_quarters(given["x0"][1, :, 1:9, 1:7]), np.zeros((4, 2, 2))]).astype("f4"),
    "GlobalLpPool": lambda given: (np.abs(given["x0"]) ** 3).sum((2, 3), keepdims=True) ** (1 / 3),
    "PRelu 6": lambda given: np.where(given["x0"] < 0, given["x0"] * given["x1"][:, None], given["x0"]),
    "LpNormalization": lambda given: given["x0"] / np.abs(given["x0"]).sum(1, keepdims=True),
    "GroupNormalization 18": lambda given: _in_groups(given["x0"], given["x1"], given["x2"]),
    **{
        f"Resize {mode} of {dtype}": partial(_truncated, mode)
        for mode in ("linear", "cubic")
        for dtype in ("uint8", "int8", "int32", "int64")
    },
    **dict.fromkeys(("Resize 10", "Upsample", "Upsample 7"), lambda given: given["x0"].repeat(2, 2).repeat(3, 3)),
    "ConvTranspose shape": lambda given: expected(
        one("ConvTranspose", [given["x0"], floats(4, 3, 3, 3)], constant=[1], strides=[2, 2], pads=[1, 0, 0, 0]).proto,
        given,
    )[0],
}
"""What the reference evaluator cannot do, or does as another version of the operator says."""


@pytest.mark.parametrize("name", CASES)
def test_an_operator_is_what_the_format_says(name: str) -> None:
    agrees(CASES[name], [DEFINED[name](CASES[name].inputs)] if name in DEFINED else None)


def test_a_real_signal_may_lack_its_last_axis() -> None:
    """So PyTorch writes it, and ONNX Runtime takes it."""
    signal, constants = floats(2, 32), {"s": np.array(5), "w": floats(8)}
    found = []
    for given in (signal, signal[..., None]):
        proto = model([helper.make_node("STFT", ["x", "s", "w"], ["y"])], {"x": given}, ["y"], constants)
        found.append(lucid.compile(lucid.onnx.load(proto))(given).numpy())
    np.testing.assert_array_equal(*found)


def test_a_cubic_curve_stays_in_the_range_of_integers() -> None:
    stripes = np.array([0, 0, 255, 255, 0, 255], np.uint8).reshape(1, 1, 1, 6)
    found, curve = (
        lucid.onnx.load(one("Resize", [x, None, np.float32([1, 1, 1, 2])], constant=[2], mode="cubic").proto)(x).numpy()
        for x in (stripes, stripes.astype(np.float32))
    )
    assert curve.min() < -1
    assert curve.max() > 256
    np.testing.assert_array_equal(found, np.trunc(curve.clip(0, 255)).astype(np.uint8))


@pytest.mark.parametrize("op", ["GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"])
def test_a_row_is_no_image(op: str) -> None:
    net = lucid.onnx.load(one(op, [X[0]]).proto)
    with pytest.raises(LucidError, match=r"an image is needed, got float32\[3, 4\]"):
        net(X[0])
