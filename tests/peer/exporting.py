"""Models of PyTorch as its exporter writes them."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

Axes = Sequence[dict[int, str]]
"""Of each input the names of axes that may have any size."""


def exported(model: nn.Module, inputs: Sequence[torch.Tensor], axes: Axes, opset: int = 17, **more: Any) -> bytes:
    """The ONNX file of a model in evaluation mode, whose inputs are called ``in.0``, ``in.1``, …"""
    file, names = io.BytesIO(), [f"in.{number}" for number in range(len(inputs))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter: what it thinks of its own age, and of arithmetic on sizes
        torch.onnx.export(
            model.eval(), tuple(inputs), file, opset_version=opset, input_names=names, dynamo=False,
            dynamic_axes=dict(zip(names, axes, strict=True)), **more,
        )  # fmt: skip
    return file.getvalue()
