"""Cyclic learning rates."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ..base import checks
from ..base.checks import integer
from ..errors import OptionError
from .one_cycle import each_group, set_momentum
from .optimizer import Optimizer, number
from .schedule import LRScheduler

Scale = Callable[[float], float]


class CyclicLR(LRScheduler):
    """Rates that cycle between ``base_lr`` and ``max_lr`` (Smith, 2017).

    Parameters
    ----------
    optimizer
        The optimiser whose rates are set.
    base_lr, max_lr
        The bounds of the rates; a number for all groups, or one for each.
    step_size_up, step_size_down
        Number of steps of the rise and of the fall, by default the same.
    mode
        "triangular"; "triangular2", each cycle half as high as the last; or "exp_range", times ``gamma`` each step.
    gamma
        For "exp_range".
    scale_fn, scale_mode
        Instead of ``mode``, a function that scales the height, of the number of the "cycle" or of steps
        ("iterations").
    cycle_momentum, base_momentum, max_momentum
        Whether the momentum moves in the opposite direction, between these bounds.
    last_epoch
        Number of the last step, to resume training.
    """

    settings = (
        "total_size", "step_ratio", "mode", "scale_mode", "gamma", "max_lrs", "cycle_momentum", "momenta",
    )  # fmt: skip

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | Sequence[float],
        max_lr: float | Sequence[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Scale | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.8,
        max_momentum: float | Sequence[float] = 0.9,
        last_epoch: int = -1,
    ) -> None:
        self._check_optimizer(optimizer)
        groups = optimizer.param_groups
        up = integer("CyclicLR", "step_size_up", step_size_up)
        down = up if step_size_down is None else integer("CyclicLR", "step_size_down", step_size_down)
        self.total_size, self.step_ratio = up + down, up / (up + down)
        self.mode = checks.choice("CyclicLR", "mode", mode, ("triangular", "triangular2", "exp_range"))
        self.scale_mode = checks.choice("CyclicLR", "scale_mode", scale_mode, ("cycle", "iterations"))
        self.gamma = number("CyclicLR", "gamma", gamma)
        self._functions: list[Scale] = [] if scale_fn is None else [checks.function("CyclicLR", "scale_fn", scale_fn)]
        low, self.max_lrs = (
            each_group("CyclicLR", n, v, groups) for n, v in (("base_lr", base_lr), ("max_lr", max_lr))
        )
        self.cycle_momentum = checks.flag("CyclicLR", "cycle_momentum", cycle_momentum)
        self.momenta = list(
            zip(
                each_group("CyclicLR", "base_momentum", base_momentum, groups),
                each_group("CyclicLR", "max_momentum", max_momentum, groups),
                strict=True,
            )
        )
        if last_epoch == -1:
            for group, first in zip(groups, low, strict=True):
                group["lr"] = group["initial_lr"] = first
        for group in groups if self.cycle_momentum else ():
            if not {"momentum", "betas"} & set(group):
                raise OptionError("CyclicLR: the optimizer has no momentum to cycle; use cycle_momentum=False")
        super().__init__(optimizer, last_epoch)

    def _height(self) -> float:
        """The height in the cycle, from 0 to 1, times the scale of this cycle."""
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        place = 1 + self.last_epoch / self.total_size - cycle
        share = place / self.step_ratio if place <= self.step_ratio else (place - 1) / (self.step_ratio - 1)
        if self._functions:
            return share * self._functions[0](cycle if self.scale_mode == "cycle" else self.last_epoch)
        lower: float = {"triangular": 1.0, "triangular2": 2.0 ** (1 - cycle)}.get(
            self.mode, self.gamma**self.last_epoch
        )
        return share * lower

    def rate(self, lr: float, base: float, index: int) -> float:
        return lr if index >= len(self.max_lrs) else base + (self.max_lrs[index] - base) * self._height()

    def _set(self) -> None:
        super()._set()
        for group, (low, top) in zip(self.optimizer.param_groups, self.momenta, strict=False):
            if self.cycle_momentum:
                set_momentum(group, top - (top - low) * self._height())
