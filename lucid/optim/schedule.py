"""The base class of learning-rate schedules."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from ..base import checks
from ..base.checks import integer
from ..errors import OptionError
from .optimizer import Optimizer


class LRScheduler(ABC):
    """Base class of schedules; call ``step()`` once per epoch (or batch), after the optimiser's.

    A parameter group that is added later takes part from the next step on.

    Parameters
    ----------
    optimizer
        The optimiser whose groups' ``"lr"`` is set; their first rates are kept as ``"initial_lr"``.
    last_epoch
        Number of the last epoch, to resume training; -1 starts from the beginning.
    """

    settings: ClassVar[tuple[str, ...]] = ()
    """The attributes that the constructor sets for good."""

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self._check_optimizer(optimizer)
        last_epoch = integer(type(self).__name__, "last_epoch", last_epoch, -1)
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group["initial_lr"] = group.get("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise OptionError(f"{type(self).__name__}: to resume, group {i} needs its 'initial_lr'")
        self.optimizer = optimizer
        self.base_lrs: list[float] = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._resumed = last_epoch != -1
        self.step()
        self._resumed = False

    def _check_optimizer(self, optimizer: object) -> None:
        if not isinstance(optimizer, Optimizer):
            raise OptionError(f"{type(self).__name__}: needs an Optimizer, got {type(optimizer).__name__}")

    @abstractmethod
    def rate(self, lr: float, base: float, index: int) -> float:
        """The rate of group ``index`` at ``last_epoch``, given its current rate ``lr`` and its first rate ``base``."""

    def _bases(self) -> list[float]:
        """The first rate of every group; for a group that was added later, the rate with which it was added."""
        for group in self.optimizer.param_groups[len(self.base_lrs) :]:
            group["initial_lr"] = group.get("initial_lr", group["lr"])
            self.base_lrs.append(group["initial_lr"])
        return self.base_lrs

    def get_lr(self) -> list[float]:
        """The rates at ``last_epoch``."""
        groups = self.optimizer.param_groups
        return [self.rate(g["lr"], base, i) for i, (g, base) in enumerate(zip(groups, self._bases(), strict=False))]

    def get_last_lr(self) -> list[float]:
        """The rates set last."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def step(self) -> None:
        """Go on to the next epoch."""
        self.last_epoch += 1
        self._set()

    def restart(self) -> None:
        """Begin again at epoch 0, from the first rates."""
        for group, base in zip(self.optimizer.param_groups, self._bases(), strict=False):
            group["lr"] = base
        self.last_epoch = 0
        self._set()

    def _set(self) -> None:
        for group, lr in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            group["lr"] = lr

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimiser and functions."""
        return {k: v for k, v in self.__dict__.items() if k not in ("optimizer", "_functions")}

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        """Restore what :meth:`state_dict` returned, or that of PyTorch's schedule of this name."""
        name = type(self).__name__
        known = {
            key: value
            for key, value in checks.mapping(name, "a state", state_dict).items()
            if key in self.__dict__ or not str(key).startswith("_")  # PyTorch's private attributes
        }
        unknown = sorted(set(known) - set(self.__dict__), key=str)
        if unknown:
            raise OptionError(f"{type(self).__name__}: unknown state {unknown}")
        self.__dict__.update(known)
