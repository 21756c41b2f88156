"""Input gradients of convolutions of stride 1 become convolutions; others stay."""

from __future__ import annotations

from typing import Any

import pytest

from lucid.graph.opdef import apply
from lucid.graph.ops.conv import CONV_GRAD_INPUT, ConvAttrs, ConvInputAttrs
from lucid.passes.convolve_gradients import convolve_gradients

from .helpers import assert_same, ops, trace

SIZE = (7, 6)


def _gradient(kernel: int, outputs: int, inputs: int, stride: int, padding: int, dilation: int, groups: int) -> Any:
    """The graph of a gradient for an image of the size."""
    conv = ConvAttrs((stride,) * 2, (padding,) * 4, (dilation,) * 2, groups)
    reach = dilation * (kernel - 1)
    made = [(size + 2 * padding - reach - 1) // stride + 1 for size in SIZE]
    return trace(
        lambda dy, w: apply(CONV_GRAD_INPUT, ConvInputAttrs(conv, SIZE), dy, w), (2, outputs, *made),
        w=(outputs, inputs // groups, kernel, kernel),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kernel", "outputs", "inputs", "padding", "dilation", "groups"),
    [
        (3, 4, 3, 1, 1, 1),
        (3, 4, 3, 0, 1, 1),
        (1, 4, 3, 0, 1, 1),
        (3, 2, 5, 2, 2, 1),
        (3, 4, 4, 1, 1, 4),
        (2, 3, 3, 1, 1, 1),
    ],
)
def test_at_stride_1_it_is_a_convolution(
    kernel: int, outputs: int, inputs: int, padding: int, dilation: int, groups: int
) -> None:
    before = _gradient(kernel, outputs, inputs, 1, padding, dilation, groups)
    after = convolve_gradients(before)
    assert "Conv2d" in ops(after)
    assert "Conv2dGradInput" not in ops(after)
    assert_same(before, after, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("kernel", "outputs", "inputs", "stride", "padding", "groups"),
    [(3, 4, 3, 2, 1, 1), (1, 4, 3, 1, 1, 1), (3, 4, 4, 1, 1, 2), (3, 8, 4, 1, 1, 4)],
    ids=["strides", "padding beyond the kernel", "groups of several", "several for each"],
)
def test_others_stay(kernel: int, outputs: int, inputs: int, stride: int, padding: int, groups: int) -> None:
    before = _gradient(kernel, outputs, inputs, stride, padding, 1, groups)
    assert convolve_gradients(before) is before
