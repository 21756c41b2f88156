"""The one-cycle schedule, of learning rate and momentum."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..base.checks import integer, shown
from ..errors import OptionError
from .optimizer import Group, Optimizer, number
from .schedule import LRScheduler


def each_group(owner: str, name: str, value: float | Sequence[float], groups: Sequence[Group]) -> list[float]:
    """A number for all groups, or one for each."""
    values = list(value) if isinstance(value, list | tuple) else [value] * len(groups)
    if len(values) != len(groups):
        raise OptionError(f"{owner}: {len(values)} values of {name} for {len(groups)} groups")
    return [number(owner, name, v) for v in values]


def set_momentum(group: Group, momentum: float) -> None:
    """Set the momentum of a group, which may be the first of its betas."""
    if "betas" in group:
        group["betas"] = (momentum, *group["betas"][1:])
    else:
        group["momentum"] = momentum


class OneCycleLR(LRScheduler):
    """Rates rise to ``max_lr`` and fall again, once, while momentum does the opposite (Smith and Topin, 2018).

    Parameters
    ----------
    optimizer
        Must have ``momentum`` or ``betas`` unless ``cycle_momentum`` is False.
    max_lr
        Highest rate: one for all groups, which also applies to groups that are added later, or one for each; then the
        rate and momentum of later groups stay as they are.
    total_steps, epochs, steps_per_epoch
        Length of the cycle: ``total_steps``, or the product of the others.
    pct_start
        Share of the steps in which the rate rises.
    anneal_strategy
        "cos" or "linear".
    cycle_momentum, base_momentum, max_momentum
        Whether momentum falls from ``max_momentum`` to ``base_momentum`` as the rate rises.
    div_factor, final_div_factor
        The first rate is ``max_lr / div_factor``, the last ``max_lr / div_factor / final_div_factor``.
    three_phase
        Fall as long as it rose, then go to the last rate.
    last_epoch
        Number of the last step, to resume training.
    """

    settings = ("total_steps", "anneal_strategy", "ends", "cycle_momentum", "rates", "momenta")

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.85,
        max_momentum: float | Sequence[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        self.total_steps = self._length(total_steps, epochs, steps_per_epoch)
        if anneal_strategy not in ("cos", "linear"):
            raise OptionError(f'OneCycleLR: anneal_strategy is "cos" or "linear", got {shown(anneal_strategy)}')
        self.anneal_strategy = anneal_strategy
        if not 0 <= number("OneCycleLR", "pct_start", pct_start) <= 1:
            raise OptionError(f"OneCycleLR: pct_start lies between 0 and 1, got {shown(pct_start)}")
        rise = pct_start * self.total_steps - 1
        self.ends = [float(end) for end in (rise, *([2 * rise] if three_phase else []), self.total_steps - 1)]

        def cycle(start: float, turn: float, last: float) -> list[float]:
            """The values at the ends of the phases: start, turn, with three phases the start again, and last."""
            return [start, turn, *([start] if three_phase else []), last]

        self.cycle_momentum = bool(cycle_momentum)
        groups = optimizer.param_groups
        highs = each_group("OneCycleLR", "max_lr", max_lr, groups)
        firsts = [high / number("OneCycleLR", "div_factor", div_factor) for high in highs]
        final = number("OneCycleLR", "final_div_factor", final_div_factor)
        self.rates = [cycle(first, high, first / final) for first, high in zip(firsts, highs, strict=True)]
        low, top = (
            each_group("OneCycleLR", name, value, groups)
            for name, value in (("base_momentum", base_momentum), ("max_momentum", max_momentum))
        )
        self.momenta = [cycle(t, b, t) for b, t in zip(low, top, strict=True)]
        if last_epoch == -1:
            for group, first in zip(groups, firsts, strict=True):
                group["initial_lr"] = first
        for group in groups if self.cycle_momentum else ():
            if not {"momentum", "betas"} & set(group):
                raise OptionError("OneCycleLR: the optimizer has no momentum to cycle; use cycle_momentum=False")
        super().__init__(optimizer, last_epoch)

    def _length(self, total_steps: int | None, epochs: int | None, steps_per_epoch: int | None) -> int:
        """The number of steps of the cycle."""
        name = type(self).__name__
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise OptionError("OneCycleLR: give total_steps, or epochs and steps_per_epoch")
            total_steps = integer(name, "epochs", epochs) * integer(name, "steps_per_epoch", steps_per_epoch)
        return integer(name, "total_steps", total_steps)

    def _between(self, points: Sequence[float]) -> float:
        start = 0.0
        for phase, end in enumerate(self.ends):
            if self.last_epoch <= end or phase == len(self.ends) - 1:
                break
            start = end
        share = (self.last_epoch - start) / (end - start) if end != start else 1.0
        a, b = points[phase], points[phase + 1]
        if self.anneal_strategy == "linear":
            return (b - a) * share + a
        return b + (a - b) / 2 * (1 + math.cos(math.pi * share))

    def _points(self, table: list[list[float]], index: int) -> list[float] | None:
        """A group's values at the ends of phases; None for a group that was added later, if each has its own."""
        if index < len(table):
            return table[index]
        return table[0] if all(points == table[0] for points in table) else None

    def rate(self, lr: float, base: float, index: int) -> float:
        points = self._points(self.rates, index)
        return lr if points is None else self._between(points)

    def step(self) -> None:
        if self.last_epoch + 1 > self.total_steps:
            raise OptionError(f"OneCycleLR: step {self.last_epoch + 2} of a cycle of {self.total_steps} steps")
        super().step()

    def _set(self) -> None:
        super()._set()
        if not self.cycle_momentum:
            return
        for index, group in enumerate(self.optimizer.param_groups):
            points = self._points(self.momenta, index)
            if points is None:
                continue
            set_momentum(group, self._between(points))
