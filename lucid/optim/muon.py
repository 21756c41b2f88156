"""Muon: gradient descent with orthogonalised momenta of matrices."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ..base.checks import integer, shown
from ..errors import OptionError
from ..graph.opdef import AbstractTensor
from ..graph.ops.elementwise import maximum, sqrt
from ..graph.ops.linalg import matmul
from ..graph.ops.shape import transpose
from .optimizer import Group, Hyper, Optimizer, Params, Update, Values, number

RATES = (None, "original", "match_rms_adamw")
"""Rules that adjust the rate to the shape of a matrix; None is "original"."""


class Muon(Optimizer):
    """Momenta of matrices made nearly orthogonal (Jordan, 2024), as in ``torch.optim.Muon``.

    With gradient ``g`` of a parameter of ``rows`` and ``columns``::

        m = momentum * m + (1 - momentum) * g
        x = momentum * m + (1 - momentum) * g  # with nesterov, else m
        x = x / max(norm(x), eps)
        x = a * x + (b * x @ x.T + c * (x @ x.T) @ (x @ x.T)) @ x  # ns_steps times, (a, b, c) being ns_coefficients
        p = p * (1 - lr * weight_decay) - lr * ratio * x

    PyTorch computes the lines of ``x`` in bfloat16, Lucid in the parameter's type.

    Parameters
    ----------
    params
        Parameters of two axes, or groups of them; give the others to another optimiser, such as :class:`AdamW`.
    lr, weight_decay, momentum, nesterov, ns_coefficients, eps, ns_steps
        As above.
    adjust_lr_fn
        What ``ratio`` is: ``sqrt(max(1, rows / columns))`` for "original", the default, and
        ``0.2 * sqrt(max(rows, columns))`` for "match_rms_adamw", which suits the rates of AdamW.
    """

    numbers = ("lr", "weight_decay", "momentum", "eps")
    choices = ("nesterov",)

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "weight_decay": weight_decay,
                "momentum": momentum,
                "nesterov": nesterov,
                "ns_coefficients": ns_coefficients,
                "eps": eps,
                "ns_steps": ns_steps,
                "adjust_lr_fn": adjust_lr_fn,
            },
        )

    def check(self, group: Group) -> None:
        super().check(group)
        integer("Muon", "ns_steps", group["ns_steps"], 0, 99)
        coefficients = group["ns_coefficients"]
        if not isinstance(coefficients, tuple | list) or len(coefficients) != 3:
            raise OptionError(f"Muon: ns_coefficients are three numbers, got {shown(coefficients)}")
        for i, value in enumerate(coefficients):
            number("Muon", f"ns_coefficients[{i}]", value, low=-math.inf)
        if group["adjust_lr_fn"] not in RATES:
            raise OptionError(
                f"Muon: adjust_lr_fn is 'original', 'match_rms_adamw' or None, got {shown(group['adjust_lr_fn'])}"
            )
        for p in group["params"]:
            if p.ndim != 2:
                raise OptionError(
                    f"Muon: a parameter has two axes, got {p.type}; give the others to another optimiser, as AdamW"
                )

    def scalars(self, group: Group) -> dict[str, float]:
        a, b, c = map(float, group["ns_coefficients"])
        return {**super().scalars(group), "a": a, "b": b, "c": c}

    def flags(self, group: Group) -> dict[str, int]:
        by_size = group["adjust_lr_fn"] == "match_rms_adamw"
        return {"nesterov": group["nesterov"], "turns": group["ns_steps"], "by_size": by_size}

    def slots_of(self, flags: Mapping[str, int]) -> tuple[str, ...]:
        return ("momentum_buffer",)

    def coefficients(self, step: AbstractTensor | int, scalars: Hyper) -> Hyper:
        keep = 1 - scalars["lr"] * scalars["weight_decay"]
        return {**scalars, "share": 1 - scalars["momentum"], "keep": keep}

    def update(self, p: AbstractTensor, g: AbstractTensor, state: Values, hyper: Hyper) -> Update:
        m = hyper["momentum"] * state["momentum_buffer"] + hyper["share"] * g
        x = hyper["momentum"] * m + hyper["share"] * g if hyper["nesterov"] else m
        rows, columns = p.type.concrete
        x = self._orthogonal(x, rows > columns, hyper)
        return p * hyper["keep"] - hyper["lr"] * _ratio(rows, columns, hyper["by_size"]) * x, {"momentum_buffer": m}

    def _orthogonal(self, x: AbstractTensor, tall: bool, hyper: Hyper) -> AbstractTensor:
        """A matrix with the same singular vectors and singular values near 1 (Newton-Schulz iteration).

        It squares the smaller of ``x @ x.T`` and ``x.T @ x``.
        """
        x = x / maximum(sqrt((x * x).sum()), hyper["eps"])
        for _ in range(hyper["turns"]):
            xt = transpose(x, 0, 1)
            gram = matmul(xt, x) if tall else matmul(x, xt)
            factor = hyper["b"] * gram + hyper["c"] * matmul(gram, gram)
            x = hyper["a"] * x + (matmul(x, factor) if tall else matmul(factor, x))
        return x


def _ratio(rows: int, columns: int, by_size: int) -> float:
    """The factor by which the rate of a matrix is adjusted."""
    if by_size:
        return 0.2 * math.sqrt(max(rows, columns))
    return math.sqrt(max(1.0, rows / columns)) if columns else 1.0
