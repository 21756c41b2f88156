"""Adam and its variants, with running means of gradients and of their squares: AdamW, NAdam, RAdam, Adamax."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

from ..base.checks import shown
from ..errors import OptionError
from ..graph.opdef import AbstractTensor
from ..graph.ops.elementwise import abs_, maximum, minimum, sqrt
from .optimizer import Group, Hyper, Optimizer, Params, Update, Values, chosen, downhill, larger, number


class _Moments(Optimizer):
    """Base class of optimisers with running means of the gradient ("exp_avg") and of its square ("exp_avg_sq")."""

    numbers: ClassVar[tuple[str, ...]] = ("lr", "eps", "weight_decay")
    choices: ClassVar[tuple[str, ...]] = ("maximize",)

    def check(self, group: Group) -> None:
        super().check(group)
        betas = group["betas"]
        if not isinstance(betas, tuple | list) or len(betas) != 2:
            raise OptionError(f"{self._name}: betas is a pair of numbers, got {shown(betas)}")
        for i, beta in enumerate(betas):
            number(self._name, f"betas[{i}]", beta, below=1.0)

    def scalars(self, group: Group) -> dict[str, float]:
        beta1, beta2 = map(float, group["betas"])
        return {**super().scalars(group), "beta1": beta1, "beta2": beta2}

    def flags(self, group: Group) -> dict[str, bool]:
        decays, decoupled = group["weight_decay"] != 0, self.is_decoupled(group)
        return {"decays": decays and not decoupled, "shrinks": decays and decoupled, "maximize": group["maximize"]}

    def is_decoupled(self, group: Group) -> bool:
        """Whether weight decay scales the parameter directly, rather than adding to the gradient."""
        return bool(group.get("decoupled_weight_decay", False))

    def slots_of(self, flags: Mapping[str, int]) -> tuple[str, ...]:
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

    def shrunk(self, p: AbstractTensor, g: AbstractTensor, hyper: Hyper) -> tuple[AbstractTensor, AbstractTensor]:
        """The parameter after decoupled weight decay, if any, and the gradient to descend; see :func:`downhill`."""
        p = p * hyper["keep"] if hyper["shrinks"] else p
        return p, downhill(p, g, hyper)

    def mean(self, g: AbstractTensor, state: Values, hyper: Hyper) -> AbstractTensor:
        """The running mean of the gradient."""
        m: AbstractTensor = hyper["beta1"] * state["exp_avg"] + hyper["share1"] * g
        return m

    def moments(self, g: AbstractTensor, state: Values, hyper: Hyper) -> tuple[AbstractTensor, AbstractTensor]:
        """The running means of the gradient and of its square."""
        v: AbstractTensor = hyper["beta2"] * state["exp_avg_sq"] + hyper["share2"] * g * g
        return self.mean(g, state, hyper), v


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
    decoupled_weight_decay
        ``p *= 1 - lr * weight_decay`` first, and ``g`` alone, as in :class:`AdamW`.
    maximize
        Ascend instead.
    """

    choices = ("amsgrad", "decoupled_weight_decay", "maximize")

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        decoupled_weight_decay: bool = False,
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
                "decoupled_weight_decay": decoupled_weight_decay,
                "maximize": maximize,
            },
        )

    def flags(self, group: Group) -> dict[str, bool]:
        return {**super().flags(group), "amsgrad": group["amsgrad"]}

    def slots_of(self, flags: Mapping[str, int]) -> tuple[str, ...]:
        return super().slots_of(flags) + (("max_exp_avg_sq",) if flags["amsgrad"] else ())

    def coefficients(self, step: AbstractTensor | int, scalars: Hyper) -> Hyper:
        return {**super().coefficients(step, scalars), "rate": scalars["lr"] / (1 - scalars["beta1"] ** step)}

    def update(self, p: AbstractTensor, g: AbstractTensor, state: Values, hyper: Hyper) -> Update:
        p, g = self.shrunk(p, g, hyper)
        m, v = self.moments(g, state, hyper)
        new = {"exp_avg": m, "exp_avg_sq": v}
        if hyper["amsgrad"]:
            v = new["max_exp_avg_sq"] = maximum(state["max_exp_avg_sq"], v)
        return p - hyper["rate"] * (m / (sqrt(v) / hyper["root"] + hyper["eps"])), new


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019): ``p *= 1 - lr * weight_decay`` first.

    Parameters are those of :class:`Adam`; ``weight_decay`` is 0.01 when omitted.
    """

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
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, decoupled_weight_decay=True, maximize=maximize)

    def is_decoupled(self, group: Group) -> bool:
        return True  # also after loading a state of Adam


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
        p, g = self.shrunk(p, g, hyper)
        m, v = self.moments(g, state, hyper)
        move = (hyper["rate"] * g + hyper["rate_mean"] * m) / (sqrt(v) / hyper["root"] + hyper["eps"])
        return p - move, {"exp_avg": m, "exp_avg_sq": v}


class RAdam(_Moments):
    """Adam that skips the division while its variance is too large (Liu et al., 2020), as in ``torch.optim.RAdam``.

    With gradient ``g`` (plus ``weight_decay * p``), ``m`` and ``v`` as for :class:`Adam`::

        rho_inf = 2 / (1 - beta2) - 1
        rho = rho_inf - 2 * t * beta2**t / (1 - beta2**t)
        r = sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
        p -= lr / (1 - beta1**t) * m * r * sqrt(1 - beta2**t) / (sqrt(v) + eps)  # where rho > 5
        p -= lr / (1 - beta1**t) * m                                             # elsewhere

    Parameters
    ----------
    params
        Parameters, or groups of them.
    lr, betas, eps, weight_decay
        As above.
    decoupled_weight_decay
        ``p *= 1 - lr * weight_decay`` first, and ``g`` alone, as in :class:`AdamW`.
    maximize
        Ascend instead.
    """

    choices = ("decoupled_weight_decay", "maximize")

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
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
                "decoupled_weight_decay": decoupled_weight_decay,
                "maximize": maximize,
            },
        )

    def coefficients(self, step: AbstractTensor | int, scalars: Hyper) -> Hyper:
        found = super().coefficients(step, scalars)
        beta2, rate = scalars["beta2"], scalars["lr"] / (1 - scalars["beta1"] ** step)
        most = 2 / (1 - beta2) - 1
        length = most - 2 * step * beta2**step / (1 - beta2**step)
        long = length > 5
        length, most = (
            larger(length, 5.0),
            larger(most, 5.0),
        )  # at least 4 only keeps the root real where its value is unused
        share = ((length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length)) ** 0.5
        return {
            **found,
            "rate": chosen(long, rate * found["root"] * share, rate),
            "most": chosen(long, math.inf, 0.0),
            "eps": chosen(long, scalars["eps"], 1.0),
        }

    def update(self, p: AbstractTensor, g: AbstractTensor, state: Values, hyper: Hyper) -> Update:
        p, g = self.shrunk(p, g, hyper)
        m, v = self.moments(g, state, hyper)
        bottom = minimum(sqrt(v), hyper["most"]) + hyper["eps"]  # 1 while the variance is too large
        return p - hyper["rate"] * (m / bottom), {"exp_avg": m, "exp_avg_sq": v}


class Adamax(_Moments):
    """Adam with the maximum norm of gradients (Kingma and Ba, 2015; algorithm 2), as in ``torch.optim.Adamax``.

    With gradient ``g`` (plus ``weight_decay * p``)::

        m = beta1 * m + (1 - beta1) * g
        u = max(beta2 * u, abs(g) + eps)
        p -= lr / (1 - beta1**t) * m / u

    Parameters
    ----------
    params
        Parameters, or groups of them.
    lr, betas, eps, weight_decay
        As above.
    maximize
        Ascend instead.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        )

    def slots_of(self, flags: Mapping[str, int]) -> tuple[str, ...]:
        return ("exp_avg", "exp_inf")

    def coefficients(self, step: AbstractTensor | int, scalars: Hyper) -> Hyper:
        return {**super().coefficients(step, scalars), "rate": scalars["lr"] / (1 - scalars["beta1"] ** step)}

    def update(self, p: AbstractTensor, g: AbstractTensor, state: Values, hyper: Hyper) -> Update:
        p, g = self.shrunk(p, g, hyper)
        m = self.mean(g, state, hyper)
        u = maximum(hyper["beta2"] * state["exp_inf"], abs_(g) + hyper["eps"])
        return p - hyper["rate"] * (m / u), {"exp_avg": m, "exp_inf": u}
