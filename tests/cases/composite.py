"""Functions that are a few other ops together, and so have no row by their op."""

from __future__ import annotations

import math
from typing import Any

from lucid.graph.ops import composite
from lucid.nn import functional as F

from .case import Case
from .elementwise import normal, positive

_EACH: dict[str, Any] = {
    "square": (composite.square, lambda torch: torch.square, normal),
    "reciprocal": (composite.reciprocal, lambda torch: torch.reciprocal, positive),
    "rsqrt": (composite.rsqrt, lambda torch: torch.rsqrt, positive),
    "tan": (composite.tan, lambda torch: torch.tan, normal),
    "hardtanh": (F.hardtanh, lambda torch: torch.nn.functional.hardtanh, normal),
    "relu6": (F.relu6, lambda torch: torch.nn.functional.relu6, normal),
    "logsigmoid": (F.logsigmoid, lambda torch: torch.nn.functional.logsigmoid, normal),
}

EACH = [
    Case(name, ours, make((3, 4)), lambda torch, x, pick=theirs: pick(torch)(x))
    for name, (ours, theirs, make) in _EACH.items()
]

_TRUTHS: dict[str, Any] = {
    "isinf": (composite.isinf, lambda torch: torch.isinf),
    "isfinite": (composite.isfinite, lambda torch: torch.isfinite),
    "logical_not": (composite.logical_not, lambda torch: torch.logical_not),
    "all": (composite.all_, lambda torch: torch.all),
    "any": (composite.any_, lambda torch: torch.any),
    "all-rows": (lambda x: composite.all_(x, 0), lambda torch: lambda x: torch.all(x, 0)),
    "any-last": (lambda x: composite.any_(x, -1, True), lambda torch: lambda x: torch.any(x, -1, True)),
}

TRUTHS = [
    Case(name, ours, normal((3, 4)), lambda torch, x, pick=theirs: pick(torch)(x), gradient=False)
    for name, (ours, theirs) in _TRUTHS.items()
]

_POWERS = (2.0, 1.0, math.inf, 0.0, 3.0, 1.5)

NORMS = [
    Case(
        f"norm-{p}-{dim}{'-keepdim' if keepdim else ''}",
        lambda x, p=p, d=dim, k=keepdim: composite.norm(x, p, d, k),
        normal((3, 4)),
        lambda torch, x, p=p, d=dim, k=keepdim: torch.linalg.vector_norm(x, p, d, k),
        gradient=p != 0,
    )
    for p in _POWERS
    for dim, keepdim in ((None, False), (1, False), (0, True), ((0, 1), True))
]

NORMALIZED = [
    Case(
        f"normalize-{p}-{dim}",
        lambda x, p=p, d=dim: F.normalize(x, p, d),
        normal((3, 4)),
        lambda torch, x, p=p, d=dim: torch.nn.functional.normalize(x, p, d),
    )
    for p in (2.0, 1.0, math.inf)
    for dim in (0, 1)
]

CASES = [*EACH, *TRUTHS, *NORMS, *NORMALIZED]
