"""How long the gradient of a max pooling is predicted to take."""

from __future__ import annotations

from lucid.graph.ir import Node
from lucid.graph.ops.pool import MAX_POOL_GRAD, MaxPoolAttrs, MaxPoolGradAttrs, index_dtype
from lucid.graph.types import CHANNELS_LAST, TensorType, float32
from lucid.runtime.planning.machine import described
from lucid.runtime.planning.registry import choose

from ..machines import MACHINES


def predicted(shape: tuple[int, ...], kernel: int, stride: int, threads: int = 1, last: bool = True) -> float:
    """Seconds, of images of this shape."""
    order = CHANNELS_LAST if last else None
    windows = [(size - kernel) // stride + 1 for size in shape[2:]]
    dy = TensorType((*shape[:2], *windows), float32, order)
    attrs = MaxPoolGradAttrs(MaxPoolAttrs((kernel, kernel), (stride, stride)), shape[2:])
    node = Node(MAX_POOL_GRAD, attrs, (TensorType(shape, float32, order),))
    index = dy.with_dtype(index_dtype(attrs.pool.kernel)).with_order(order)
    return choose(node, (dy, index), threads=threads).way.seconds


def test_it_grows_with_the_images_and_their_windows() -> None:
    with described(MACHINES["8core2m"]):
        one = predicted((32, 64, 32, 32), 2, 2)
        assert 5e-4 < one < 5e-3  # 1.3 ms were measured
        assert 1.8 < predicted((64, 64, 32, 32), 2, 2) / one < 2.2
        assert predicted((32, 64, 32, 32), 2, 1) > 2 * one
        assert predicted((0, 64, 32, 32), 2, 2) == 0
        assert 3 < one / predicted((32, 64, 32, 32), 2, 2, threads=4) <= 4


def test_how_large_windows_are_or_how_images_lie_does_not_matter() -> None:
    with described(MACHINES["8core2m"]):
        one = predicted((32, 64, 32, 32), 2, 2)
        assert predicted((32, 64, 32, 32), 3, 2) < one  # there are fewer
        assert predicted((32, 64, 32, 32), 32, 32) < one / 2
        assert predicted((32, 64, 32, 32), 2, 2, last=False) == one
