"""Rows of the shape ops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lucid.graph.ops import shape as sh
from lucid.graph.ops import slices

from .case import Case

Make = Callable[[np.random.Generator, str], tuple[np.ndarray[Any, Any], ...]]


def normal(*shapes: tuple[int, ...]) -> Make:
    """Standard normal arrays of the shapes."""
    return lambda rng, dtype: tuple(np.asarray(rng.standard_normal(shape), dtype) for shape in shapes)


def _method(name: str, function: Callable[..., Any], *arguments: Any, **options: Any) -> tuple[Any, Any]:
    """The same call here and in PyTorch (as a method)."""
    return (
        lambda x: function(x, *arguments, **options),
        lambda torch, x: getattr(x, name)(*arguments, **options),
    )


def _row(label: str, shape: tuple[int, ...], pair: tuple[Any, Any], *, static: bool = False, **more: Any) -> Case:
    function, torch = pair
    tags = frozenset({"static"} if static else ())
    return Case(label, function, normal(shape), torch, tags=tags, **more)


CASES = [
    _row("reshape", (4, 6), _method("reshape", sh.reshape, -1, 3)),
    _row("reshape-image", (2, 3, 4, 2), _method("reshape", sh.reshape, 2, 4, 3, 2), static=True),
    _row("reshape-scalar", (1, 1), _method("reshape", sh.reshape, ())),
    _row("reshape-empty", (0, 3), _method("reshape", sh.reshape, 3, 0)),
    _row("flatten", (2, 3, 4, 2), _method("flatten", sh.flatten, 1)),
    _row("flatten-middle", (2, 3, 4, 2), _method("flatten", sh.flatten, 1, 2)),
    _row("flatten-scalar", (), _method("flatten", sh.flatten)),
    _row("unflatten", (3, 8), _method("unflatten", sh.unflatten, -1, (2, -1, 2))),
    _row("unflatten-exact", (6, 3), _method("unflatten", sh.unflatten, 0, (3, 2)), static=True),
    _row("permute", (2, 3, 4, 5), _method("permute", sh.permute, 0, -1, 1, 2)),
    _row("permute-reverse", (2, 3, 4), _method("permute", sh.permute, (2, 1, 0))),
    _row("transpose", (2, 3, 4, 5), _method("transpose", sh.transpose, 1, -1)),
    _row("expand", (3, 1, 2), _method("expand", sh.expand, 2, -1, 4, 2)),
    _row("expand-image", (2, 1, 3, 1), _method("expand", sh.expand, -1, 4, -1, 5)),
    _row("expand-scalar", (), _method("expand", sh.expand, 2, 3)),
    _row("broadcast_to", (3, 1), _method("broadcast_to", sh.broadcast_to, (3, 4)), static=True),
    _row("squeeze", (2, 1, 3, 1), _method("squeeze", sh.squeeze)),
    _row("squeeze-one", (2, 1, 3, 1), _method("squeeze", sh.squeeze, -1)),
    _row("squeeze-not-one", (2, 1, 3, 1), _method("squeeze", sh.squeeze, (1, 2))),
    _row("unsqueeze", (2, 3), _method("unsqueeze", sh.unsqueeze, -2)),
    _row("repeat", (2, 3), _method("repeat", sh.repeat, 2, 1, 3)),
    _row("repeat-image", (2, 3, 2, 2), _method("repeat", sh.repeat, 1, 2, 3, 1)),
    _row("repeat-none", (2, 3), _method("repeat", sh.repeat, 0, 2)),
    _row("tile", (2, 3, 2), _method("tile", sh.tile, (3, 2))),
    _row("repeat_interleave", (2, 3, 2), _method("repeat_interleave", sh.repeat_interleave, 3, 1)),
    _row("repeat_interleave-flat", (2, 3), _method("repeat_interleave", sh.repeat_interleave, 2)),
    Case(
        "concat",
        lambda *xs: sh.concat(xs, 1),
        normal((2, 3, 4), (2, 1, 4), (2, 2, 4)),
        lambda torch, *xs: torch.cat(xs, 1),
    ),
    Case(
        "concat-image-channels",
        lambda *xs: sh.concat(xs, 1),
        normal((2, 3, 4, 2), (2, 1, 4, 2)),
        lambda torch, *xs: torch.cat(xs, 1),
    ),
    Case(
        "concat-batch-empty",
        lambda *xs: sh.concat(xs, -2),
        normal((3, 2), (0, 2), (1, 2)),
        lambda torch, *xs: torch.cat(xs, -2),
    ),
    Case(
        "concat-promotes",
        lambda *xs: sh.concat(xs),
        lambda rng, dtype: (np.asarray(rng.standard_normal(3), dtype), rng.integers(0, 9, 2)),
        lambda torch, *xs: torch.cat(xs),
    ),
    Case("concat-same-twice", lambda x: sh.concat([x, x * 2, x], 0), normal((2, 2))),
    Case("stack", lambda *xs: sh.stack(xs, 1), normal((2, 3), (2, 3)), lambda torch, *xs: torch.stack(xs, 1)),
    Case("stack-last", lambda *xs: sh.stack(xs, -1), normal((3,), (3,)), lambda torch, *xs: torch.stack(xs, -1)),
    _row("split", (3, 7), _method("split", slices.split, 3, dim=1)),
    _row("split-sections", (2, 6, 2, 2), _method("split", slices.split, [1, 3, 2], dim=1)),
    _row("split-first-axis", (5, 2), _method("split", slices.split, 2), static=True),
    _row("chunk", (2, 7), _method("chunk", slices.chunk, 3, -1)),
    _row("chunk-more-than-there-is", (2, 2), _method("chunk", slices.chunk, 5, 1)),
    _row("flip", (2, 3, 4, 2), _method("flip", slices.flip, (0, -1))),
    _row("flip-empty", (0, 3), _method("flip", slices.flip, (0,))),
    _row("roll", (3, 5), _method("roll", slices.roll, (2, -1), (1, 0))),
    _row("roll-flat", (2, 3), _method("roll", slices.roll, 4), static=True),
    Case(
        "stop_gradient",
        lambda x, y: sh.stop_gradient(x) * y + x,
        normal((2, 3, 2, 2), (2, 3, 2, 2)),
        lambda torch, x, y: x.detach() * y + x,
        gradient=False,  # finite differences know nothing of it; test_indexing.py checks its gradient
    ),
    Case(
        "overwritten",
        lambda x, y: sh.overwritten(x, y) * y,
        normal((2, 3, 2, 2), (2, 3, 2, 2)),
        lambda torch, x, y: (y + (x - y).detach()) * y,
        gradient=False,  # nor of this
    ),
]
