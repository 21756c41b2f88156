"""Rounding to the numbers of narrower types."""

from __future__ import annotations

from typing import Any

from lucid.graph.ops.rounding import FLOAT_FORMATS, round_straight, round_to

from .case import Case
from .elementwise import fixed, normal

_ENDS = fixed([0.0, -0.0, 1e-40, -3e-8, 6e-8, 2.0**-14, 0.3, -7.0, 449.0, 65504.0, 65519.0, -65520.0, 3.4e38,
               float("inf"), -float("inf"), float("nan")])  # fmt: skip
_MIDDLES = fixed([0.5, -0.5, 1.5, 2.5, -3.5, 8388607.5])


def _to(name: str, saturate: bool = False) -> Any:
    return lambda x: round_to(x, name, saturate=saturate)


def _torch(name: str) -> Any:
    """PyTorch's of float64 to eight bits rounds twice."""
    return None if name.startswith("float8") else lambda torch, x: x.to(getattr(torch, name)).to(x.dtype)


def _straight(torch: Any, x: Any) -> Any:
    return x + (x.round() - x).nan_to_num(0, 0, 0).detach()


CASES = [
    *(Case(f"round-to-{name}", _to(name), normal((3, 4, 5), scale=30.0), gradient=False) for name in FLOAT_FORMATS),
    *(
        Case(f"round-to-{name}-ends", _to(name), _ENDS, _torch(name), gradient=False)
        for name in list(FLOAT_FORMATS)[:-1]
    ),
    *(Case(f"round-to-{name}-held", _to(name, saturate=True), _ENDS, gradient=False) for name in FLOAT_FORMATS),
    Case("round-to-empty", _to("float16"), normal((0, 3)), _torch("float16"), gradient=False),
    Case("round-to-number", _to("bfloat16"), normal(()), _torch("bfloat16"), gradient=False),
    Case("round-straight", round_straight, normal((3, 4, 5), scale=30.0), _straight, gradient=False),
    Case("round-straight-ends", round_straight, _ENDS, _straight, gradient=False),
    Case("round-straight-middles", round_straight, _MIDDLES, _straight, gradient=False),
    Case("round-straight-empty", round_straight, normal((0, 3)), _straight, gradient=False),
]
