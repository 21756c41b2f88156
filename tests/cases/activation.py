"""Activations that are a few other ops together."""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.nn import functional as F

from .case import Case
from .elementwise import Make, away, normal

_EACH: dict[str, tuple[Any, ...]] = {
    "celu": (), "celu-half": (0.5,), "selu": (), "hardsigmoid": (), "hardswish": (), "mish": (), "softsign": (),
    "logsigmoid": (), "tanhshrink": (), "hardshrink": (), "hardshrink-wide": (0.9,), "softshrink": (),
    "softshrink-wide": (0.9,), "threshold": (0.1, 20.0), "rrelu": (0.1, 0.3),
}  # fmt: skip


def _wide(shape: tuple[int, ...]) -> Make:
    """On both sides of every kink, and on none."""
    return lambda rng, dtype: tuple(np.asarray(4 * a, dtype) for a in away(shape)(rng, dtype))


def activation_of(torch: Any, name: str) -> Any:
    """PyTorch's function; of its hardsigmoid the definition, as that takes the nearest float32 for a sixth."""
    if name == "hardsigmoid":
        return lambda x: torch.nn.functional.relu6(x + 3) / 6
    return getattr(torch.nn.functional, name)


def _case(label: str, options: tuple[Any, ...], kind: str, make: Make) -> Case:
    name = label.split("-")[0]
    return Case(
        f"activation-{label}-{kind}",
        lambda x: getattr(F, name)(x, *options),
        make,
        lambda torch, x: activation_of(torch, name)(x, *options),
    )


CASES = [
    *(_case(label, options, "matrix", _wide((3, 4))) for label, options in _EACH.items()),
    *(_case(label, (), "empty", normal((2, 0, 3))) for label in ("mish", "hardswish", "softshrink", "selu")),
    *(_case(label, (), "scalar", normal(())) for label in ("mish", "hardshrink", "celu")),
    *(
        Case(
            f"{name}-{dim}",
            lambda x, f=name, d=dim: getattr(F, f)(x, d),
            normal((4, 6, 2)),
            lambda torch, x, f=name, d=dim: getattr(torch.nn.functional, f)(x, d),
            tags=frozenset(["static"] if dim == 0 else []),  # no halves of an unknown size
        )
        for name in ("glu", "softmin")
        for dim in (0, 1, -1)
    ),
]
