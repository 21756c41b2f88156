"""A schedule that follows a metric rather than the epoch number."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from ..base import checks
from ..base.checks import integer, shown
from ..errors import OptionError
from ..tensor.tensor import Tensor
from .optimizer import Optimizer, number


class ReduceLROnPlateau:
    """Multiply rates by ``factor`` when a metric has not improved for more than ``patience`` epochs.

    Parameters
    ----------
    optimizer
        The optimiser whose rates are set.
    mode
        "min": a smaller metric is better; "max": a larger one.
    factor, patience
        As above; ``factor`` is below 1.
    threshold, threshold_mode
        The least improvement that counts: relative to the best ("rel") or absolute ("abs").
    cooldown
        Number of epochs after a reduction that are not counted.
    min_lr, eps
        The lowest rate, and the smallest change that is made.
    """

    settings: ClassVar[tuple[str, ...]] = (
        "mode", "factor", "patience", "threshold", "threshold_mode", "cooldown", "min_lr", "eps",
    )  # fmt: skip

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float = 0.0,
        eps: float = 1e-8,
    ) -> None:
        if shown(mode) not in ("'min'", "'max'") or shown(threshold_mode) not in ("'rel'", "'abs'"):
            raise OptionError(
                f'ReduceLROnPlateau: mode is "min" or "max", threshold_mode "rel" or "abs", '
                f"got {shown(mode)} and {shown(threshold_mode)}"
            )
        if not isinstance(optimizer, Optimizer):
            raise OptionError(f"ReduceLROnPlateau: needs an Optimizer, got {type(optimizer).__name__}")
        self.optimizer = optimizer
        self.mode, self.threshold_mode = mode, threshold_mode
        self.factor = number("ReduceLROnPlateau", "factor", factor, below=1.0)
        self.patience = integer("ReduceLROnPlateau", "patience", patience, 0)
        self.threshold = number("ReduceLROnPlateau", "threshold", threshold)
        self.cooldown = integer("ReduceLROnPlateau", "cooldown", cooldown, 0)
        self.min_lr = number("ReduceLROnPlateau", "min_lr", min_lr)
        self.eps = number("ReduceLROnPlateau", "eps", eps)
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = 0
        self.cooldown_counter = 0
        self.last_epoch = 0

    def _better(self, metric: float) -> bool:
        sign = -1 if self.mode == "min" else 1
        if self.threshold_mode == "abs":
            return sign * metric > sign * self.best + self.threshold
        return sign * metric > sign * self.best * (1 + sign * self.threshold)

    def step(self, metric: float | Tensor) -> None:
        """Report the metric of the epoch that has ended."""
        value = checks.number("ReduceLROnPlateau", "metric", metric, nan=True)
        self.last_epoch += 1
        if self._better(value):
            self.best, self.num_bad_epochs = value, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            for group in self.optimizer.param_groups:
                lr = max(group["lr"] * self.factor, self.min_lr)
                if group["lr"] - lr > self.eps:
                    group["lr"] = lr
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0

    def get_last_lr(self) -> list[float]:
        """The rates set last."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimiser."""
        return {k: v for k, v in self.__dict__.items() if k != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        """Restore what :meth:`state_dict` returned."""
        unknown = sorted(set(state_dict) - set(self.__dict__))
        if unknown:
            raise OptionError(f"ReduceLROnPlateau: unknown state {unknown}")
        self.__dict__.update(state_dict)
