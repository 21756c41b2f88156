"""Max pooling over windows as large as the image, beside PyTorch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

import lucid
from lucid.nn import functional as F

from ..runtime.test_large_windows import SHAPES, image


@pytest.mark.parametrize("kind", ["numbers", "ties", "equal", "one NaN"])
@pytest.mark.parametrize(("shape", "kernel", "stride", "padding", "dilation"), SHAPES, ids=str)
def test_as_pytorch(shape: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, kind: str) -> None:
    data = image(kind, shape)
    x, t = lucid.Tensor(data, requires_grad=True), torch.tensor(data, requires_grad=True)
    y = F.max_pool2d(x, kernel, stride, padding, dilation, pad_value=-math.inf)
    z = torch.nn.functional.max_pool2d(t, kernel, stride, padding, dilation)
    np.testing.assert_array_equal(y.numpy(), z.detach().numpy())
    y.sum().backward()
    z.sum().backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), t.grad.numpy(), rtol=1e-5, atol=1e-5)
