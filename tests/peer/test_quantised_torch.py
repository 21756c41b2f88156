"""Pairs of QuantizeLinear and DequantizeLinear are what PyTorch's quantisation-aware training computes with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import lucid

from .exporting import exported

SCALES, ZEROS = torch.tensor([0.01, 0.02, 0.05]), torch.tensor([0, 5, -9], dtype=torch.int32)
PAIRS: dict[str, Any] = {
    "uint8": lambda x: torch.fake_quantize_per_tensor_affine(x, 0.02, 100, 0, 255),
    "int8": lambda x: torch.fake_quantize_per_tensor_affine(x, 0.02, -3, -128, 127),
    "seven bits": lambda x: torch.fake_quantize_per_tensor_affine(x, 0.02, 50, 0, 127),
    "channels": lambda x: torch.fake_quantize_per_channel_affine(x, SCALES, ZEROS, 1, -128, 127),
}


class Of(nn.Module):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, x: Any) -> Any:
        return PAIRS[self.name](x)


@pytest.mark.parametrize("name", PAIRS)
def test_values_and_gradients_are_those_of_fake_quantize(name: str) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(4, 3, 5) * 4, torch.randn(4, 3, 5)
    theirs = x.clone().requires_grad_()
    wanted = Of(name)(theirs)
    wanted.backward(weight)
    assert theirs.grad is not None
    model = lucid.onnx.load(exported(Of(name), (x,), [{0: "n"}]))
    for net in (model, lucid.compile(model, *model.specs)):
        ours = lucid.tensor(x.numpy(), requires_grad=True)
        y = net(ours)
        y.backward(weight.numpy())
        np.testing.assert_allclose(y.numpy(), wanted.detach().numpy(), rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-6, atol=1e-6)
