"""Optimisers with a step size for each element: Adam, AdamW, NAdam, RMSprop, Adagrad."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ..base.checks import shown
from ..errors import OptionError
from ..graph.opdef import AbstractTensor
from ..graph.ops.elementwise import maximum, sqrt
from .optimizer import Group, Hyper, Optimizer, Params, Update, Values, downhill, flag, number


class _Moments(Optimizer):
    """What goes by running means of the gradients and of their squares."""

    numbers: ClassVar[tuple[str, ...]] = ("lr", "eps", "weight_decay")
    choices: ClassVar[tuple[str, ...]] = ("amsgrad", "maximize")

    def check(self, group: Group) -> None:
        for name in self.numbers:
            number(self._name, name, group[name])
        betas = group["betas"]
        if not isinstance(betas, tuple | list) or len(betas) != 2:
            raise OptionError(f"{self._name}: betas is a pair of numbers, got {shown(betas)}")
        for i, beta in enumerate(betas):
            number(self._name, f"betas[{i}]", beta, below=1.0)
        for name in self.choices:
            flag(self._name, name, group[name])

    def scalars(self, group: Group) -> dict[str, float]:
        beta1, beta2 = map(float, group["betas"])
        return {name: float(group[name]) for name in self.numbers} | {"beta1": beta1, "beta2": beta2}

    def slots_of(self, flags: Mapping[str, bool]) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq")

    def coefficients(self, step: AbstractTensor | int, scalars: Hyper) -> Hyper:
        lr, beta1, beta2 = scalars["lr"], scalars["beta1"], scalars["beta2"]
        return {
            "beta1": beta1,
            "beta2": beta2,
            "share1": 1 - beta1,
            "share2": 1 - beta2,
            "root": (1 - beta2**step) ** 0.5,
            "eps": scalars["eps"],
            "weight_decay": scalars["weight_decay"],
            "keep": 1 - lr * scalars["weight_decay"],
        }

    def moments(self, g: AbstractTensor, state: Values, hyper: Hyper) -> tuple[AbstractTensor, AbstractTensor]:
        """The two means, of the gradient and of its square."""
        m = hyper["beta1"] * state["exp_avg"] + hyper["share1"] * g
        return m, hyper["beta2"] * state["exp_avg_sq"] + hyper["share2"] * g * g


class Adam(_Moments):
    """Adam (Kingma and Ba, 2015; algorithm 1), as in ``torch.optim.Adam``.

    With gradient ``g`` (plus ``weight_decay * p``)::

        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        p -= lr / (1 - beta1**t) * m / (sqrt(v) / sqrt(1 - beta2**t) + eps)

    Parameters
    ----------
    params
        Parameters, or groups of them.
    lr, betas, eps, weight_decay
        As above.
    amsgrad
        Divide by the largest ``v`` so far (Reddi et al., 2018).
    maximize
        Ascend instead.
    """

    decoupled = False

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "amsgrad": amsgrad,
                "maximize": maximize,
            },
        )

    def flags(self, group: Group) -> dict[str, bool]:
        changes = group["weight_decay"] != 0
        return {
            "decays": changes and not self.decoupled,
            "shrinks": changes and self.decoupled,
            "amsgrad": group["amsgrad"],
            "maximize": group["maximize"],
        }

    def slots_of(self, flags: Mapping[str, bool]) -> tuple[str, ...]:
        return super().slots_of(flags) + (("max_exp_avg_sq",) if flags["amsgrad"] else ())

    def coefficients(self, step: AbstractTensor | int, scalars: Hyper) -> Hyper:
        return {**super().coefficients(step, scalars), "rate": scalars["lr"] / (1 - scalars["beta1"] ** step)}

    def update(self, p: AbstractTensor, g: AbstractTensor, state: Values, hyper: Hyper) -> Update:
        if hyper["shrinks"]:
            p = p * hyper["keep"]
        g = downhill(p, g, hyper)
        m, v = self.moments(g, state, hyper)
        new = {"exp_avg": m, "exp_avg_sq": v}
        if hyper["amsgrad"]:
            v = new["max_exp_avg_sq"] = maximum(state["max_exp_avg_sq"], v)
        return p - hyper["rate"] * (m / (sqrt(v) / hyper["root"] + hyper["eps"])), new


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019): ``p *= 1 - lr * weight_decay`` first.

    Parameters are those of :class:`Adam`; ``weight_decay`` is 0.01 when omitted.
    """

    decoupled = True

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)


class NAdam(_Moments):
    """Adam with Nesterov's momentum (Dozat, 2016), as in ``torch.optim.NAdam``.

    With gradient ``g`` (plus ``weight_decay * p``), ``m`` and ``v`` as for :class:`Adam`::

        mu_t = beta1 * (1 - 0.96 ** (t * momentum_decay) / 2)
        n = (1 - mu_t) / (1 - mu_1 * ... * mu_t) * g + mu_(t+1) / (1 - mu_1 * ... * mu_(t+1)) * m
        p -= lr * n / (sqrt(v) / sqrt(1 - beta2**t) + eps)

    Parameters
    ----------
    params
        Parameters, or groups of them.
    lr, betas, eps, weight_decay, momentum_decay
        As above.
    decoupled_weight_decay
        ``p *= 1 - lr * weight_decay`` first, and ``g`` alone, as in :class:`AdamW`.
    maximize
        Ascend instead.
    """

    carried = ("mu_product",)
    numbers = ("lr", "eps", "weight_decay", "momentum_decay")
    choices = ("decoupled_weight_decay", "maximize")

    def __init__(
        self,
        params: Params,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "momentum_decay": momentum_decay,
                "decoupled_weight_decay": decoupled_weight_decay,
                "maximize": maximize,
            },
        )

    def flags(self, group: Group) -> dict[str, bool]:
        changes = group["weight_decay"] != 0
        return {
            "decays": changes and not group["decoupled_weight_decay"],
            "shrinks": changes and group["decoupled_weight_decay"],
            "maximize": group["maximize"],
        }

    def initial(self, slot: str, group: Group) -> float:
        return 1.0 if slot == "mu_product" else 0.0

    def coefficients(self, step: AbstractTensor | int, scalars: Hyper) -> Hyper:
        lr, beta1, decay = scalars["lr"], scalars["beta1"], scalars["momentum_decay"]
        now, after = (beta1 * (1 - 0.5 * 0.96 ** (t * decay)) for t in (step, step + 1))
        product = scalars["mu_product"] * now
        return {
            **super().coefficients(step, scalars),
            "mu_product": product,
            "rate": lr * (1 - now) / (1 - product),
            "rate_mean": lr * after / (1 - product * after),
        }

    def update(self, p: AbstractTensor, g: AbstractTensor, state: Values, hyper: Hyper) -> Update:
        if hyper["shrinks"]:
            p = p * hyper["keep"]
        g = downhill(p, g, hyper)
        m, v = self.moments(g, state, hyper)
        move = (hyper["rate"] * g + hyper["rate_mean"] * m) / (sqrt(v) / hyper["root"] + hyper["eps"])
        return p - move, {"exp_avg": m, "exp_avg_sq": v}


class RMSprop(Optimizer):
    """Gradients divided by a running root of their mean square (Tieleman and Hinton, 2012), as in ``torch.optim``.

    With gradient ``g`` (plus ``weight_decay * p``): ``v = alpha * v + (1 - alpha) * g * g``; the step is
    ``g / (sqrt(v) + eps)``, where ``centered`` subtracts the square of a running mean of ``g`` from ``v``, and
    ``momentum`` sums the steps; ``p -= lr * step``.
    """

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

    def check(self, group: Group) -> None:
        for name in ("lr", "alpha", "eps", "weight_decay", "momentum"):
            number("RMSprop", name, group[name])
        for name in ("centered", "maximize"):
            flag("RMSprop", name, group[name])

    def scalars(self, group: Group) -> dict[str, float]:
        return {name: float(group[name]) for name in ("lr", "alpha", "eps", "weight_decay", "momentum")}

    def flags(self, group: Group) -> dict[str, bool]:
        return {
            "decays": group["weight_decay"] != 0,
            "gathers": group["momentum"] != 0,
            "centered": group["centered"],
            "maximize": group["maximize"],
        }

    def slots_of(self, flags: Mapping[str, bool]) -> tuple[str, ...]:
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

    def check(self, group: Group) -> None:
        for name in ("lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps"):
            number("Adagrad", name, group[name])
        flag("Adagrad", "maximize", group["maximize"])

    def scalars(self, group: Group) -> dict[str, float]:
        return {name: float(group[name]) for name in ("lr", "lr_decay", "weight_decay", "eps")}

    def flags(self, group: Group) -> dict[str, bool]:
        return {"decays": group["weight_decay"] != 0, "maximize": group["maximize"]}

    def slots_of(self, flags: Mapping[str, bool]) -> tuple[str, ...]:
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
