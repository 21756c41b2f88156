"""Resilient propagation, which uses only the signs of gradients."""

from __future__ import annotations

from collections.abc import Mapping

from ..base.checks import shown
from ..errors import OptionError
from ..graph.opdef import AbstractTensor
from ..graph.ops.elementwise import maximum, minimum, sign, where
from .optimizer import Group, Hyper, Optimizer, Params, Update, Values, number


class Rprop(Optimizer):
    """Each element has a step size that depends on whether its gradient keeps its sign (Riedmiller and Braun, 1993).

    As in ``torch.optim.Rprop``: the step size, ``lr`` at first, is multiplied by ``etas[1]`` if the gradient has the
    sign of the last one, and by ``etas[0]`` if it has the opposite sign; it is clamped to ``step_sizes``, and ``p``
    moves down by it. If the sign has changed, ``p`` stays, and the gradient counts as 0 now and in the next comparison.

    It is meant for gradients over all data, not over batches.

    Parameters
    ----------
    params
        Parameters, or groups of them.
    lr, etas, step_sizes
        As above.
    maximize
        Ascend instead.
    """

    numbers = ("lr",)
    choices = ("maximize",)

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, {"lr": lr, "etas": etas, "step_sizes": step_sizes, "maximize": maximize})

    def check(self, group: Group) -> None:
        super().check(group)
        for name in ("etas", "step_sizes"):
            pair = group[name]
            if not isinstance(pair, tuple | list) or len(pair) != 2:
                raise OptionError(f"Rprop: {name} is a pair of numbers, got {shown(pair)}")
            for i, one in enumerate(pair):
                number("Rprop", f"{name}[{i}]", one)
        less, more = group["etas"]
        if not 0 < less < 1 < more:
            raise OptionError(f"Rprop: etas are one number between 0 and 1 and one above 1, got {shown(group['etas'])}")

    def scalars(self, group: Group) -> dict[str, float]:
        less, more = map(float, group["etas"])
        least, most = map(float, group["step_sizes"])
        return {"less": less, "more": more, "least": least, "most": most}

    def flags(self, group: Group) -> dict[str, bool]:
        return {"maximize": group["maximize"]}

    def slots_of(self, flags: Mapping[str, int]) -> tuple[str, ...]:
        return ("prev", "step_size")

    def initial(self, slot: str, group: Group) -> float:
        return float(group["lr"]) if slot == "step_size" else 0.0

    def update(self, p: AbstractTensor, g: AbstractTensor, state: Values, hyper: Hyper) -> Update:
        g = -g if hyper["maximize"] else g
        turn = g * state["prev"]
        size = state["step_size"] * where(turn > 0, hyper["more"], where(turn < 0, hyper["less"], 1.0))
        size = minimum(maximum(size, hyper["least"]), hyper["most"])
        g = where(turn < 0, 0.0, g)
        return p - sign(g) * size, {"prev": g, "step_size": size}
