"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import OptionError
from ..graph.opdef import AbstractTensor
from .optimizer import Group, Hyper, Optimizer, Params, Update, Values, downhill, number


class SGD(Optimizer):
    """Gradient descent with momentum (Sutskever et al., 2013), as in ``torch.optim.SGD``.

    With gradient ``g`` (plus ``weight_decay * p``): ``v = momentum * v + (1 - dampening) * g`` (the first time
    ``v = g``), then ``p -= lr * v``, or with Nesterov's momentum ``p -= lr * (g + momentum * v)``.

    Parameters
    ----------
    params
        Parameters, or groups of them.
    lr
        Learning rate.
    momentum, dampening, weight_decay
        As above; all 0 when omitted.
    nesterov
        Needs a momentum and no dampening.
    maximize
        Ascend instead.
    """

    numbers = ("lr", "momentum", "weight_decay")
    choices = ("nesterov", "maximize")

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
                "maximize": maximize,
            },
        )

    def check(self, group: Group) -> None:
        super().check(group)
        number("SGD", "dampening", group["dampening"], low=-float("inf"))
        if group["nesterov"] and (group["momentum"] == 0 or group["dampening"] != 0):
            raise OptionError(
                f"SGD: nesterov needs a momentum and no dampening, "
                f"got momentum={group['momentum']}, dampening={group['dampening']}"
            )

    def scalars(self, group: Group) -> dict[str, float]:
        return {**super().scalars(group), "dampening": float(group["dampening"])}

    def flags(self, group: Group) -> dict[str, bool]:
        return {
            "decays": group["weight_decay"] != 0,
            "gathers": group["momentum"] != 0,
            "dampens": group["dampening"] != 0,
            "nesterov": group["nesterov"],
            "maximize": group["maximize"],
        }

    def slots_of(self, flags: Mapping[str, int]) -> tuple[str, ...]:
        return ("momentum_buffer",) if flags["gathers"] else ()

    def coefficients(self, step: AbstractTensor | int, scalars: Hyper) -> Hyper:
        share = 1 - scalars["dampening"] * (step > 1)  # no dampening at the first step
        return {name: scalars[name] for name in ("lr", "momentum", "weight_decay")} | {"share": share}

    def update(self, p: AbstractTensor, g: AbstractTensor, state: Values, hyper: Hyper) -> Update:
        g = downhill(p, g, hyper)
        if not hyper["gathers"]:
            return p - hyper["lr"] * g, {}
        taken = hyper["share"] * g if hyper["dampens"] else g
        v = hyper["momentum"] * state["momentum_buffer"] + taken
        move = g + hyper["momentum"] * v if hyper["nesterov"] else v
        return p - hyper["lr"] * move, {"momentum_buffer": v}
