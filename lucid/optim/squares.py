"""Optimisers that divide gradients by roots of their squares: RMSprop, Adagrad, Adadelta."""

from __future__ import annotations

from collections.abc import Mapping

from ..base import checks
from ..graph.opdef import AbstractTensor
from ..graph.ops.elementwise import sqrt
from .optimizer import Group, Hyper, Optimizer, Params, Update, Values, downhill


class RMSprop(Optimizer):
    """Gradients divided by a running root of their mean square (Tieleman and Hinton, 2012), as in ``torch.optim``.

    With gradient ``g`` (plus ``weight_decay * p``): ``v = alpha * v + (1 - alpha) * g * g``; the step is
    ``g / (sqrt(v) + eps)``, where ``centered`` subtracts the square of a running mean of ``g`` from ``v``, and
    ``momentum`` sums the steps; ``p -= lr * step``.
    """

    numbers = ("lr", "alpha", "eps", "weight_decay", "momentum")
    choices = ("centered", "maximize")

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "alpha": alpha,
                "eps": eps,
                "weight_decay": weight_decay,
                "momentum": momentum,
                "centered": centered,
                "maximize": maximize,
            },
        )

    def flags(self, group: Group) -> dict[str, bool]:
        return {
            "decays": group["weight_decay"] != 0,
            "gathers": group["momentum"] != 0,
            "centered": group["centered"],
            "maximize": group["maximize"],
        }

    def slots_of(self, flags: Mapping[str, int]) -> tuple[str, ...]:
        extra = {"momentum_buffer": flags["gathers"], "grad_avg": flags["centered"]}
        return ("square_avg", *(name for name, wanted in extra.items() if wanted))

    def coefficients(self, step: AbstractTensor | int, scalars: Hyper) -> Hyper:
        return {**scalars, "share": 1 - scalars["alpha"]}

    def update(self, p: AbstractTensor, g: AbstractTensor, state: Values, hyper: Hyper) -> Update:
        g = downhill(p, g, hyper)
        v = hyper["alpha"] * state["square_avg"] + hyper["share"] * g * g
        new = {"square_avg": v}
        if hyper["centered"]:
            mean = new["grad_avg"] = hyper["alpha"] * state["grad_avg"] + hyper["share"] * g
            v = v - mean * mean
        move = g / (sqrt(v) + hyper["eps"])
        if hyper["gathers"]:
            move = new["momentum_buffer"] = hyper["momentum"] * state["momentum_buffer"] + move
        return p - hyper["lr"] * move, new


class Adagrad(Optimizer):
    """Gradients divided by the root of the sum of their squares (Duchi et al., 2011), as in ``torch.optim``.

    With gradient ``g`` (plus ``weight_decay * p``): ``v += g * g``, which starts from
    ``initial_accumulator_value``, and ``p -= lr / (1 + (t - 1) * lr_decay) * g / (sqrt(v) + eps)``.
    """

    numbers = ("lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps")
    choices = ("maximize",)

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "lr_decay": lr_decay,
                "weight_decay": weight_decay,
                "initial_accumulator_value": initial_accumulator_value,
                "eps": eps,
                "maximize": maximize,
            },
        )

    def flags(self, group: Group) -> dict[str, bool]:
        return {"decays": group["weight_decay"] != 0, "maximize": group["maximize"]}

    def slots_of(self, flags: Mapping[str, int]) -> tuple[str, ...]:
        return ("sum",)

    def initial(self, slot: str, group: Group) -> float:
        return float(group["initial_accumulator_value"])

    def coefficients(self, step: AbstractTensor | int, scalars: Hyper) -> Hyper:
        rate = scalars["lr"] / (1 + (step - 1) * scalars["lr_decay"])
        return {"rate": rate, "weight_decay": scalars["weight_decay"], "eps": scalars["eps"]}

    def update(self, p: AbstractTensor, g: AbstractTensor, state: Values, hyper: Hyper) -> Update:
        g = downhill(p, g, hyper)
        v = state["sum"] + g * g
        return p - hyper["rate"] * (g / (sqrt(v) + hyper["eps"])), {"sum": v}


class Adadelta(Optimizer):
    """Gradients scaled by the size of the last steps (Zeiler, 2012), as in ``torch.optim.Adadelta``.

    With gradient ``g`` (plus ``weight_decay * p``)::

        v = rho * v + (1 - rho) * g * g
        step = sqrt(u + eps) / sqrt(v + eps) * g
        u = rho * u + (1 - rho) * step * step
        p -= lr * step
    """

    numbers = ("lr", "eps", "weight_decay")
    choices = ("maximize",)

    def __init__(
        self,
        params: Params,
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize})

    def check(self, group: Group) -> None:
        super().check(group)
        checks.number(self._name, "rho", group["rho"], 0.0, 1.0)

    def scalars(self, group: Group) -> dict[str, float]:
        return {**super().scalars(group), "rho": float(group["rho"])}

    def flags(self, group: Group) -> dict[str, bool]:
        return {"decays": group["weight_decay"] != 0, "maximize": group["maximize"]}

    def slots_of(self, flags: Mapping[str, int]) -> tuple[str, ...]:
        return ("square_avg", "acc_delta")

    def coefficients(self, step: AbstractTensor | int, scalars: Hyper) -> Hyper:
        return {**scalars, "share": 1 - scalars["rho"]}

    def update(self, p: AbstractTensor, g: AbstractTensor, state: Values, hyper: Hyper) -> Update:
        g = downhill(p, g, hyper)
        v = hyper["rho"] * state["square_avg"] + hyper["share"] * g * g
        move = sqrt(state["acc_delta"] + hyper["eps"]) / sqrt(v + hyper["eps"]) * g
        moves = hyper["rho"] * state["acc_delta"] + hyper["share"] * move * move
        return p - hyper["lr"] * move, {"square_avg": v, "acc_delta": moves}
