"""Convolutions and poolings of one axis and of three."""

from __future__ import annotations

from typing import Any

from lucid.graph.ops import conv_axes, pool_axes

from .case import Case
from .conv import normal
from .pool import distinct

FUNCTIONS = {**vars(conv_axes), **vars(pool_axes)}


def _row(name: str, function: str, make: Any, *args: Any, **options: Any) -> Case:
    return Case(
        f"{function}-{name}",
        lambda *xs: FUNCTIONS[function](*xs, *args, **options),
        make,
        lambda t, *xs: getattr(t.nn.functional, function)(*xs, *args, **options),
    )


SIGNALS, VOLUMES = (2, 4, 11), (2, 4, 3, 5, 4)

CASES = [
    _row("plain", "conv1d", normal(SIGNALS, (6, 4, 3))),
    _row("stride-groups", "conv1d", normal(SIGNALS, (6, 2, 3), (6,)), 2, 1, 2, 2),
    _row("same", "conv1d", normal(SIGNALS, (6, 4, 3), (6,)), 1, "same"),
    _row("plain", "conv3d", normal(VOLUMES, (3, 4, 2, 3, 2))),
    _row("stride-groups", "conv3d", normal(VOLUMES, (4, 2, 2, 3, 2), (4,)), (2, 1, 2), (1, 0, 1), (2, 1, 1), 2),
    _row("same", "conv3d", normal(VOLUMES, (3, 4, 3, 1, 2), (3,)), 1, "same"),
    _row("one-plane", "conv3d", normal(VOLUMES, (3, 4, 1, 2, 2), (3,)), 2),
    _row("stride-groups", "conv_transpose1d", normal(SIGNALS, (4, 3, 3), (6,)), 3, 1, 2, 2),
    _row("plain", "conv_transpose3d", normal(VOLUMES, (4, 2, 2, 3, 2))),
    _row("groups", "conv_transpose3d", normal(VOLUMES, (4, 1, 3, 2, 2), (2,)), (2, 1, 3), (1, 0, 1), (1, 0, 2), 2),
    _row("beyond", "conv_transpose3d", normal(VOLUMES, (4, 2, 2, 2, 1), (2,)), 1, 0, (1, 0, 2), 1, (2, 1, 3)),
    _row("plain", "max_pool1d", distinct(*SIGNALS), 2),
    _row("ceil", "max_pool1d", distinct(*SIGNALS), 3, 2, 1, 2, True),
    _row("positions", "max_pool1d", distinct(*SIGNALS), 3, 2, 1, return_indices=True),
    _row("plain", "max_pool3d", distinct(*VOLUMES), 2),
    _row("ceil", "max_pool3d", distinct(*VOLUMES), (2, 3, 2), (1, 2, 3), 1, (1, 2, 1), True),
    _row("positions", "max_pool3d", distinct(*VOLUMES), (2, 3, 2), 2, 1, return_indices=True),
    _row("plain", "avg_pool1d", distinct(*SIGNALS), 2),
    _row("ceil", "avg_pool1d", distinct(*SIGNALS), 4, 3, 2, True, False),
    _row("plain", "avg_pool3d", distinct(*VOLUMES), 2),
    _row("ceil", "avg_pool3d", distinct(*VOLUMES), (2, 3, 2), (2, 2, 3), 1, True, False),
    _row("divisor", "avg_pool3d", distinct(*VOLUMES), 2, 1, 1, divisor_override=3),
    *(
        _row(f"to-{size}", f"adaptive_{kind}_pool1d", distinct(*SIGNALS), size)
        for kind in ("avg", "max") for size in (1, 4)
    ),
    *(
        _row("x".join(map(str, size)), f"adaptive_{kind}_pool3d", distinct(*VOLUMES), size)
        for kind in ("avg", "max") for size in ((1, 1, 1), (2, 3, 2), (3, 2, 3))
    ),
]  # fmt: skip
