"""Rows of the error function's complement and inverse, and of the gamma function's logarithm and slopes."""

from __future__ import annotations

from typing import Any

from lucid.graph.ops import nonelementary

from .case import Case
from .trigonometry import between


def _digamma(torch: Any, x: Any) -> Any:
    """PyTorch's, with a slope of all digits: its own is right to nine."""

    class Digamma(torch.autograd.Function):  # type: ignore[misc,name-defined]
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return torch.digamma(x)

        @staticmethod
        def backward(ctx: Any, dy: Any) -> Any:
            return dy * torch.special.zeta(2, *ctx.saved_tensors)

    return Digamma.apply(x)


CASES = [
    Case("erfc", nonelementary.erfc, between(-3.0, 3.0), lambda torch, x: torch.erfc(x)),
    Case("erfinv", nonelementary.erfinv, between(-0.95, 0.95), lambda torch, x: torch.erfinv(x)),
    Case("erfcx", nonelementary.erfcx, between(-2.0, 8.0), lambda torch, x: torch.special.erfcx(x)),
    Case("ndtri", nonelementary.ndtri, between(0.02, 0.95), lambda torch, x: torch.special.ndtri(x)),
    Case("i0", nonelementary.i0, between(-3.0, 4.0), lambda torch, x: torch.special.i0(x), ops=("BesselI",)),
    Case("i0e", nonelementary.i0e, between(0.3, 40.0), lambda torch, x: torch.special.i0e(x), ops=("BesselI",)),
    Case("i1", nonelementary.i1, between(-3.0, 4.0), lambda torch, x: torch.special.i1(x), ops=("BesselI",)),
    Case("i1e", nonelementary.i1e, between(-40.0, -0.3), lambda torch, x: torch.special.i1e(x), ops=("BesselI",)),
    Case("lgamma", nonelementary.lgamma, between(-1.8, -1.2), lambda torch, x: torch.lgamma(x)),
    Case("digamma", nonelementary.digamma, between(0.3, 6.0), _digamma, ops=("Polygamma",)),
    Case("polygamma", lambda x: nonelementary.polygamma(x, 2), between(-0.8, -0.2), lambda torch, x: x.polygamma(2)),
]
