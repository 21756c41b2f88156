"""Sliding windows: the arguments and the shape rule that convolutions and poolings share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from ...base.checks import Pair as Pair
from ...base.checks import integer
from ...base.checks import pair as pair
from ...errors import OptionError, ShapeError
from ..dims import Dim
from ..types import TensorType
from ..windows import Window

Pads: TypeAlias = "tuple[int, int, int, int]"

whole = integer


def strides(op: str, stride: object, kernel: Pair) -> Pair:
    """The stride of a pooling, which is the kernel size where it is None or an empty sequence."""
    omitted = stride is None or (isinstance(stride, Sequence) and not stride)
    return kernel if omitted else pair(op, "stride", stride, 1)


def count_windows(
    op: str, x: TensorType, kernel: Pair, stride: Pair, padding: Pads, dilation: Pair, ceil_mode: bool = False
) -> tuple[Dim, Dim]:
    """How many windows fit along both axes of an image batch; raises where none does."""
    counts = []
    for axis in (0, 1):
        size, before, after = x.shape[2 + axis], padding[axis], padding[2 + axis]
        window = Window(kernel[axis], stride[axis], before, after, dilation[axis])
        count, extent = window.fit(size, ceil_mode), window.extent
        if (isinstance(count, int) and count < 1) or size == 0:
            side = ("height", "width")[axis]
            raise ShapeError(
                f"{op}: a window of {extent} (kernel {kernel[axis]}, dilation {dilation[axis]}) is larger than the "
                f"{side} {size} with its padding {before} + {after}; input {x}. Use a smaller kernel or more padding"
            )
        counts.append(count)
    return counts[0], counts[1]


def refuse_empty_windows(
    op: str, size: Dim, count: Dim, kernel: int, stride: int, before: int, after: int, dilation: int
) -> None:
    """Raise where a window along an axis would see padding only."""
    extent = dilation * (kernel - 1) + 1
    out = f"{op}: padding {max(before, after)} lets a window of {extent} (kernel {kernel}, dilation {dilation})"
    way = "see only padding; use less padding or a larger kernel"
    if before >= extent:
        raise OptionError(f"{out} {way}")
    if not (isinstance(size, int) and isinstance(count, int)):
        return
    for o in {*range(min(count, -(-before // stride))), count - 1}:  # only these can miss the input
        start = o * stride - before
        first = start if start >= 0 else start % dilation  # the first tap at or after the input's first element
        if first >= size or first > start + extent - 1:
            raise OptionError(f"{out} {way} (window {o} on an input of size {size})")


def check_rank(op: str, x: TensorType) -> None:
    if x.rank != 4:
        raise ShapeError(f"{op}: needs an image batch (N, C, H, W), got {x}")
