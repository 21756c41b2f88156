"""Adafactor: second moments of a matrix's gradient, factored into means over rows and columns."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from ..base.checks import shown
from ..errors import OptionError
from ..graph.opdef import AbstractTensor
from ..graph.ops.elementwise import maximum, sqrt
from .optimizer import Group, Hyper, Optimizer, Params, Shape, Update, Values, number, smaller


class Adafactor(Optimizer):
    """Steps in proportion to the parameters, with little state (Shazeer and Stern, 2018), as in ``torch.optim``.

    With gradient ``g``, ``rms`` being the root of the mean of squares::

        alpha = max(eps[1], rms(p)) * min(lr, 1 / sqrt(t))
        p *= 1 - lr * weight_decay
        row += t**beta2_decay * (mean(g * g, -1) - row)
        column += t**beta2_decay * (mean(g * g, -2) - column)
        v = row * column / max(mean(row), eps[0])
        step = g / sqrt(max(v, eps[0]**2))
        p -= alpha * step / max(1, rms(step) / d)

    Parameters without two axes have ``v += t**beta2_decay * (g * g - v)``.

    Parameters
    ----------
    params
        Parameters, or groups of them.
    lr, beta2_decay, d, weight_decay
        As above.
    eps
        As above; if the first is None, it is the machine epsilon of the parameter's type.
    maximize
        Ascend instead.
    """

    numbers = ("lr", "weight_decay")
    choices = ("maximize",)

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "beta2_decay": beta2_decay,
                "eps": eps,
                "d": d,
                "weight_decay": weight_decay,
                "maximize": maximize,
            },
        )

    def check(self, group: Group) -> None:
        super().check(group)
        if number("Adafactor", "beta2_decay", group["beta2_decay"], -math.inf) > 0:
            raise OptionError(f"Adafactor: beta2_decay is 0 or negative, got {shown(group['beta2_decay'])}")
        number("Adafactor", "d", group["d"], 1.0)
        eps = group["eps"]
        if not isinstance(eps, tuple | list) or len(eps) != 2:
            raise OptionError(f"Adafactor: eps is a pair of numbers, the first of them may be None, got {shown(eps)}")
        for i, one in enumerate(eps):
            if i or one is not None:
                number("Adafactor", f"eps[{i}]", one)

    def scalars(self, group: Group) -> dict[str, float]:
        least, measure = group["eps"]
        own = {name: float(group[name]) for name in ("beta2_decay", "d")}
        return {**super().scalars(group), **own, "least": float(least or 0.0), "measure": float(measure)}

    def flags(self, group: Group) -> dict[str, bool]:
        given = group["eps"][0] is not None
        return {"shrinks": group["weight_decay"] != 0, "given": given, "maximize": group["maximize"]}

    def slots_of(self, flags: Mapping[str, int]) -> tuple[str, ...]:
        return ("row_var", "col_var", "variance")

    def shape_of(self, slot: str, shape: Shape) -> Shape | None:
        if slot == "row_var":
            return (*shape[:-1], 1) if len(shape) > 1 else None
        if slot == "col_var":
            return (*shape[:-2], 1, shape[-1]) if len(shape) > 1 else None
        return shape if slot != "variance" or len(shape) < 2 else None

    def coefficients(self, step: AbstractTensor | int, scalars: Hyper) -> Hyper:
        lr, share = scalars["lr"], step ** scalars["beta2_decay"]
        return {
            "share": share,
            "kept": 1 - share,
            "rate": smaller(lr, step**-0.5),
            "keep": 1 - lr * scalars["weight_decay"],
            "least": scalars["least"],
            "floor": scalars["least"] ** 2,
            "measure": scalars["measure"],
            "d": scalars["d"],
        }

    def update(self, p: AbstractTensor, g: AbstractTensor, state: Values, hyper: Hyper) -> Update:
        g = -g if hyper["maximize"] else g
        own = float(np.finfo(p.type.dtype.name).eps)
        least, floor = (hyper["least"], hyper["floor"]) if hyper["given"] else (own, own**2)
        rate = hyper["rate"] * maximum(_rms(p), hyper["measure"])
        p = p * hyper["keep"] if hyper["shrinks"] else p
        v, new = self._squares(g, state, hyper, least)
        move = g / sqrt(maximum(v, floor))
        return p - rate / maximum(_rms(move) / hyper["d"], 1.0) * move, new

    def _squares(
        self, g: AbstractTensor, state: Values, hyper: Hyper, least: AbstractTensor | float
    ) -> tuple[AbstractTensor, dict[str, AbstractTensor]]:
        """The running mean of the squared gradient, or its factored approximation, and the new state."""
        squares = g * g
        if g.type.rank < 2:
            v = hyper["kept"] * state["variance"] + hyper["share"] * squares
            return v, {"variance": v}
        row = hyper["kept"] * state["row_var"] + hyper["share"] * squares.mean(-1, keepdim=True)
        column = hyper["kept"] * state["col_var"] + hyper["share"] * squares.mean(-2, keepdim=True)
        return row * column / maximum(row.mean(-2, keepdim=True), least), {"row_var": row, "col_var": column}


def _rms(x: AbstractTensor) -> AbstractTensor:
    """The root of the mean of squares; 0 for an empty tensor."""
    squares: AbstractTensor = (x * x).sum()
    return sqrt(squares / max(1, math.prod(x.type.concrete)))
