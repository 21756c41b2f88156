"""Checks of the windows of convolutions and poolings for their type rules, over any number of axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TypeAlias, TypeVar

from ...base.checks import per_axis
from ...errors import OptionError, ShapeError
from ..assume import is_at_least
from ..dims import Dim
from ..opdef import AbstractTensor
from ..types import TensorType, format_shape
from ..windows import Window, windows_of
from .shape import unsqueeze

F = TypeVar("F", bound=Callable[..., object])

Numbers: TypeAlias = "tuple[int, ...]"
"""A number for each axis; for padding, the numbers before each axis, then those after each."""

HEIGHT_AND_WIDTH = {"size": ("height", "width")}
"""The names of the size attribute in files from when images always had two axes."""

AXES = {1: "(N, C, L)", 2: "(N, C, H, W)", 3: "(N, C, D, H, W)"}
MOST_TAPS, FARTHEST = 1 << 24, 1 << 16
"""Limits beyond which arguments are considered mistakes: of elements of a window, and of padding and dilation."""

SIDES = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}


def strides(op: str, stride: object, kernel: Numbers) -> Numbers:
    """The stride of a pooling; None or an empty sequence stands for the kernel size."""
    omitted = stride is None or (isinstance(stride, Sequence) and not stride)
    return kernel if omitted else per_axis(op, "stride", stride, 1, len(kernel))


def check_rank(op: str, x: TensorType, axes: int = 2) -> None:
    if x.rank != 2 + axes:
        raise ShapeError(f"{op}: needs an image batch {AXES[axes]}, got {x}")


def image_batch(op: str, x: AbstractTensor, axes: int = 2) -> tuple[AbstractTensor, bool]:
    """``x`` as (N, C, *spatial), and whether it was given as (C, *spatial)."""
    if x.type.rank not in (1 + axes, 2 + axes):
        raise ShapeError(f"{op}: needs a tensor {AXES[axes]} or {AXES[axes].replace('N, ', '')}, got {x.type}")
    single = x.type.rank == 1 + axes
    return (unsqueeze(x, 0) if single else x), single


def called(function: F, name: str, doc: str) -> F:
    """Give a function that was made for some number of axes its own name and docstring."""
    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


def check_numbers(op: str, name: str, values: Numbers, count: int, least: int) -> None:
    """Check attributes again, as a graph may come from a file."""
    if len(values) != count:
        raise OptionError(f"{op}: {name} must be {count} numbers, got {values}")
    if any(value < least for value in values):
        raise OptionError(f"{op}: {name} must be at least {least}, got {values}")


def resized(op: str, x: TensorType, size: tuple[Dim, ...]) -> TensorType:
    """The type of an image batch with images of another size."""
    if len(size) != x.rank - 2:
        raise ShapeError(f"{op}: the images of {x} cannot be of size {format_shape(size)}")
    return x.with_shape((*x.shape[:2], *size))


@lru_cache(256)  # type rules ask again at every pass
def windows_along(
    op: str, axes: int, kernel: Numbers, stride: Numbers, padding: Numbers, dilation: Numbers
) -> tuple[Window, ...]:
    """The window along each of ``axes`` axes; raises for invalid arguments."""
    check_numbers(op, "kernel_size", kernel, axes, 1)
    check_numbers(op, "stride", stride, axes, 1)
    check_numbers(op, "dilation", dilation, axes, 1)
    check_numbers(op, "padding", padding, 2 * axes, 0)
    return windows_of(kernel, stride, padding, dilation)


def count_windows(op: str, x: TensorType, windows: Sequence[Window], ceil_mode: bool = False) -> tuple[Dim, ...]:
    """How many windows fit along each axis of an image batch; raises if none does."""
    counts = []
    for side, size, w in zip(SIDES[len(windows)], x.shape[2:], windows, strict=True):
        count = w.fit(size, ceil_mode)
        if (isinstance(count, int) and count < 1) or size == 0:
            raise ShapeError(
                f"{op}: a window of {w.extent} (kernel {w.kernel}, dilation {w.dilation}) is larger than the {side} "
                f"{size} with its padding {w.before} + {w.after}; input {x}. Use a smaller kernel or more padding"
            )
        counts.append(count)
    return tuple(counts)


def refuse_empty_windows(op: str, sizes: Sequence[Dim], counts: Sequence[Dim], windows: Sequence[Window]) -> None:
    """Raise if some window along an axis would see only padding, or unreasonably much of it."""
    for size, count, w in zip(sizes, counts, windows, strict=True):
        if w.before >= w.extent:
            raise _only_padding(op, w)
        if max(w.before, w.after, w.dilation) > FARTHEST:
            raise OptionError(
                f"{op}: padding {w.before} + {w.after} and dilation {w.dilation} must be at most {FARTHEST:,}"
            )
        if isinstance(size, int) and isinstance(count, int):
            # the last can miss the input, and the first whose elements lie farther apart than it is large: as they move
            # on they fall on the same places again, or on more than it has
            early = min(count, -(-w.before // w.stride), size + 1) if w.dilation > size else 0
            for o in (*range(early), count - 1):
                if not w.taps_in(o, size).number:
                    raise _only_padding(op, w, f" (window {o} on an input of size {size})")
    if math.prod(w.kernel for w in windows) > MOST_TAPS:
        raise OptionError(f"{op}: a window must have at most {MOST_TAPS:,} elements: {[w.kernel for w in windows]}")


def rely_on_something(*sizes: Dim) -> None:
    """Refuse sizes of 0; for symbolic sizes, let the trace assume that they are not 0."""
    for size in sizes:
        is_at_least(size, 1, likely=True)


def _only_padding(op: str, w: Window, which: str = "") -> OptionError:
    return OptionError(
        f"{op}: padding {max(w.before, w.after)} lets a window of {w.extent} (kernel {w.kernel}, dilation "
        f"{w.dilation}) see only padding; use less padding or a larger kernel{which}"
    )
