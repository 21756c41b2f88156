"""Where minimal filtering is predicted to be sooner than a plain product, and where it is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

import lucid
from lucid import nn
from lucid.runtime.planning.machine import described

from ..machines import USUAL

MACHINE = replace(USUAL, unpacked=1_000_000)


@pytest.mark.parametrize(
    ("channels", "outputs", "size", "filtered"),
    [
        (96, 24, 40, True),  # few outputs: the transforms of the input are most of it
        (16, 64, 55, True),
        (128, 32, 14, True),  # few tiles: one block, which begins as many products as there are points
        (48, 192, 13, True),
        (2, 16, 100, False),  # runs of two channels
        (4, 32, 60, False),
    ],
)
def test_3x3(channels: int, outputs: int, size: int, filtered: bool) -> None:
    model = nn.Sequential(nn.Conv2d(channels, outputs, 3, padding=1), nn.ReLU()).eval()
    with described(MACHINE):
        plan = lucid.compile(model, lucid.spec(1, channels, size, size), threads=1).plan
    (step,) = (step for step in plan.steps if step.node.op.convolution)
    assert (step.lowering == "winograd4") == filtered
