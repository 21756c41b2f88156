"""Averaged stochastic gradient descent."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ..graph.opdef import AbstractTensor
from .optimizer import Group, Hyper, Optimizer, Params, Update, Values, downhill, larger, number


class ASGD(Optimizer):
    """Gradient descent with averages of the parameters (Polyak and Juditsky, 1992), as in ``torch.optim.ASGD``.

    With gradient ``g`` (plus ``weight_decay * p``), ``eta`` being ``lr`` and ``mu`` 1 at first::

        p = p * (1 - lambd * eta) - eta * g
        ax += mu * (p - ax)
        eta = lr / (1 + lambd * lr * t) ** alpha
        mu = 1 / max(1, t - t0)

    The averages are ``optimizer.state[p]["ax"]``.

    Parameters
    ----------
    params
        Parameters, or groups of them.
    lr, lambd, alpha, t0, weight_decay
        As above.
    maximize
        Ascend instead.
    """

    numbers = ("lr", "weight_decay")
    choices = ("maximize",)
    carried = ("eta", "mu")

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "lambd": lambd,
                "alpha": alpha,
                "t0": t0,
                "weight_decay": weight_decay,
                "maximize": maximize,
            },
        )

    def check(self, group: Group) -> None:
        super().check(group)
        for name in ("lambd", "alpha", "t0"):
            number("ASGD", name, group[name], low=-math.inf)

    def scalars(self, group: Group) -> dict[str, float]:
        return {**super().scalars(group), **{name: float(group[name]) for name in ("lambd", "alpha", "t0")}}

    def flags(self, group: Group) -> dict[str, bool]:
        return {"decays": group["weight_decay"] != 0, "maximize": group["maximize"]}

    def slots_of(self, flags: Mapping[str, int]) -> tuple[str, ...]:
        return ("ax",)

    def initial(self, slot: str, group: Group) -> float:
        return {"eta": float(group["lr"]), "mu": 1.0}.get(slot, 0.0)

    def coefficients(self, step: AbstractTensor | int, scalars: Hyper) -> Hyper:
        lr, lambd, eta, mu = scalars["lr"], scalars["lambd"], scalars["eta"], scalars["mu"]
        return {
            "weight_decay": scalars["weight_decay"],
            "rate": eta,
            "keep": 1 - lambd * eta,
            "share": mu,
            "kept": 1 - mu,
            "eta": lr / (1 + lambd * lr * step) ** scalars["alpha"],
            "mu": 1 / larger(step - scalars["t0"], 1.0),
        }

    def update(self, p: AbstractTensor, g: AbstractTensor, state: Values, hyper: Hyper) -> Update:
        p = p * hyper["keep"] - hyper["rate"] * downhill(p, g, hyper)
        return p, {"ax": hyper["kept"] * state["ax"] + hyper["share"] * p}
