"""Schedules that change the learning rates of an optimiser, with PyTorch's names, arguments and values."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..base import checks
from ..base.absent import SCHEDULER, face
from ..base.checks import integer, shown
from ..errors import OptionError
from .cyclic import CyclicLR as CyclicLR
from .one_cycle import OneCycleLR as OneCycleLR
from .optimizer import Optimizer, number
from .plateau import ReduceLROnPlateau as ReduceLROnPlateau
from .schedule import LRScheduler as LRScheduler


class LambdaLR(LRScheduler):
    """The first rate times ``lr_lambda(epoch)``; one function, or one for each group.

    Where each group has its own, the rate of a group that is added later stays as it is.
    """

    settings = ("_shared",)

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        self._check_optimizer(optimizer)
        if not callable(lr_lambda) and not isinstance(lr_lambda, Sequence):
            raise OptionError(
                f"{type(self).__name__}: lr_lambda is a function, or one for each group, got {shown(lr_lambda)}"
            )
        count = len(optimizer.param_groups)
        functions = [lr_lambda] * count if callable(lr_lambda) else list(lr_lambda)
        for one in functions:
            checks.function(type(self).__name__, "lr_lambda", one)
        if len(functions) != count:
            raise OptionError(f"{type(self).__name__}: {len(functions)} functions for {count} groups")
        self._functions = functions
        self._shared = callable(lr_lambda)
        super().__init__(optimizer, last_epoch)

    def rate(self, lr: float, base: float, index: int) -> float:
        factor = self._factor(index)
        return lr if factor is None else base * factor

    def _factor(self, index: int) -> float | None:
        """The factor of a group; None for a group that was added later, if each has its own function."""
        if index >= len(self._functions) and not self._shared:
            return None
        factor = self._functions[min(index, len(self._functions) - 1)](self.last_epoch)
        owner = type(self).__name__
        return checks.number(owner, f"what lr_lambda({self.last_epoch}) gives", factor, below=math.inf)


class MultiplicativeLR(LambdaLR):
    """Multiply by ``lr_lambda(epoch)`` every epoch; one function, or one for each group."""

    def rate(self, lr: float, base: float, index: int) -> float:
        factor = self._factor(index) if self.last_epoch > 0 else None
        return lr if factor is None else lr * factor


class StepLR(LRScheduler):
    """Multiply by ``gamma`` every ``step_size`` epochs."""

    settings = ("step_size", "gamma")

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.step_size = integer(type(self).__name__, "step_size", step_size)
        self.gamma = number("StepLR", "gamma", gamma)
        super().__init__(optimizer, last_epoch)

    def rate(self, lr: float, base: float, index: int) -> float:
        return lr * self.gamma if self.last_epoch and self.last_epoch % self.step_size == 0 else lr


class MultiStepLR(LRScheduler):
    """Multiply by ``gamma`` at every milestone."""

    settings = ("milestones", "gamma")

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        if isinstance(milestones, str | bytes):
            raise OptionError(f"MultiStepLR: milestones are ints, got {shown(milestones)}")
        self.milestones = Counter(integer(type(self).__name__, "a milestone", m, 0) for m in milestones)
        self.gamma = number("MultiStepLR", "gamma", gamma)
        super().__init__(optimizer, last_epoch)

    def rate(self, lr: float, base: float, index: int) -> float:
        return lr * self.gamma ** self.milestones[self.last_epoch]


class ExponentialLR(LRScheduler):
    """Multiply by ``gamma`` every epoch."""

    settings = ("gamma",)

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = number("ExponentialLR", "gamma", gamma)
        super().__init__(optimizer, last_epoch)

    def rate(self, lr: float, base: float, index: int) -> float:
        return lr * self.gamma if self.last_epoch else lr


class ConstantLR(LRScheduler):
    """Rates times ``factor`` for the first ``total_iters`` epochs."""

    settings = ("factor", "total_iters")

    def __init__(self, optimizer: Optimizer, factor: float = 1 / 3, total_iters: int = 5, last_epoch: int = -1) -> None:
        self.factor = number("ConstantLR", "factor", factor)
        self.total_iters = integer(type(self).__name__, "total_iters", total_iters, 0)
        if self.factor == 0:
            raise OptionError("ConstantLR: factor must be positive, got 0")
        super().__init__(optimizer, last_epoch)

    def rate(self, lr: float, base: float, index: int) -> float:
        if self.last_epoch == 0:
            return lr * self.factor
        return lr / self.factor if self.last_epoch == self.total_iters else lr


class LinearLR(LRScheduler):
    """Rates times a factor that moves linearly from ``start_factor`` to ``end_factor`` in ``total_iters`` epochs."""

    settings = ("start_factor", "end_factor", "total_iters")

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        self.start_factor = number("LinearLR", "start_factor", start_factor)
        self.end_factor = number("LinearLR", "end_factor", end_factor)
        if not 0 < self.start_factor <= 1 or self.end_factor > 1:
            raise OptionError(f"LinearLR: factors lie in (0, 1] and [0, 1], got {start_factor} and {end_factor}")
        self.total_iters = integer(type(self).__name__, "total_iters", total_iters)
        super().__init__(optimizer, last_epoch)

    def rate(self, lr: float, base: float, index: int) -> float:
        if self.last_epoch == 0:
            return lr * self.start_factor
        if self.last_epoch > self.total_iters:
            return lr
        rise = self.end_factor - self.start_factor
        return lr * (1 + rise / (self.total_iters * self.start_factor + (self.last_epoch - 1) * rise))


class PolynomialLR(LRScheduler):
    """Rates times ``(1 - epoch / total_iters) ** power``, which is 0 after ``total_iters`` epochs."""

    settings = ("total_iters", "power")

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1) -> None:
        self.total_iters = integer(type(self).__name__, "total_iters", total_iters)
        self.power = number("PolynomialLR", "power", power)
        super().__init__(optimizer, last_epoch)

    def rate(self, lr: float, base: float, index: int) -> float:
        if self.last_epoch == 0 or self.last_epoch > self.total_iters:
            return lr
        left, before = 1 - self.last_epoch / self.total_iters, 1 - (self.last_epoch - 1) / self.total_iters
        return lr * (left / before) ** self.power  # type: ignore[no-any-return]


class CosineAnnealingLR(LRScheduler):
    """Half a cosine from the first rate to ``eta_min`` in ``T_max`` epochs (Loshchilov and Hutter, 2017)."""

    settings = ("T_max", "eta_min")

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self.T_max = integer(type(self).__name__, "T_max", T_max)
        self.eta_min = number("CosineAnnealingLR", "eta_min", eta_min)
        super().__init__(optimizer, last_epoch)

    def rate(self, lr: float, base: float, index: int) -> float:
        epoch, low = self.last_epoch, self.eta_min
        if epoch == 0:
            return lr
        if self._resumed:
            return low + (base - low) * (1 + math.cos(epoch * math.pi / self.T_max)) / 2
        if (epoch - 1 - self.T_max) % (2 * self.T_max) == 0:  # the quotient below would be 0 / 0
            return lr + (base - low) * (1 - math.cos(math.pi / self.T_max)) / 2
        now, before = (1 + math.cos(math.pi * e / self.T_max) for e in (epoch, epoch - 1))
        return now / before * (lr - low) + low


class CosineAnnealingWarmRestarts(LRScheduler):
    """Half a cosine from the first rate to ``eta_min``, repeatedly; each takes ``T_mult`` times as long as the last."""

    settings = ("T_0", "T_mult", "eta_min")

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        self.T_0 = integer(type(self).__name__, "T_0", T_0)
        self.T_mult = integer(type(self).__name__, "T_mult", T_mult)
        self.eta_min = number("CosineAnnealingWarmRestarts", "eta_min", eta_min)
        self.share = 0.0  # the fraction of the epoch that has passed
        super().__init__(optimizer, last_epoch)

    def step(self, epoch: float | None = None) -> None:
        """Go on to the next epoch, or to ``epoch``, which may be within one: ``step(epoch + i / batches)``."""
        if epoch is None:
            super().step()
            return
        self.share, whole = math.modf(number("CosineAnnealingWarmRestarts", "epoch", epoch))
        self.last_epoch = int(whole)
        self._set()

    def restart(self) -> None:
        self.share = 0.0
        super().restart()

    def rate(self, lr: float, base: float, index: int) -> float:
        position, length = self.last_epoch + self.share, self.T_0
        while position >= length:
            if self.T_mult == 1:
                position %= length
            else:
                position, length = position - length, length * self.T_mult
        return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * position / length)) / 2


class SequentialLR(LRScheduler):
    """One schedule after another: the next begins at each milestone."""

    settings = ("milestones",)

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int], last_epoch: int = -1
    ) -> None:
        schedulers = checks.several("SequentialLR", "schedulers", schedulers)
        milestones = [
            checks.integer("SequentialLR", "a milestone", m, 0)
            for m in checks.several("SequentialLR", "milestones", milestones)
        ]
        if not all(isinstance(one, LRScheduler) for one in schedulers):
            raise OptionError("SequentialLR: schedulers are schedules of this module, and no ReduceLROnPlateau")
        if not schedulers or len(milestones) != len(schedulers) - 1:
            raise OptionError(
                f"SequentialLR: {len(schedulers)} schedulers need one milestone less, got {len(milestones)}"
            )
        if any(s.optimizer is not optimizer for s in schedulers):
            raise OptionError("SequentialLR: its schedulers are for another optimizer")
        self.schedulers = list(schedulers)
        self.milestones = list(milestones)
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        for scheduler in schedulers:
            scheduler.last_epoch -= 1  # undo the step that the constructor makes
        super().__init__(optimizer, last_epoch)

    def rate(self, lr: float, base: float, index: int) -> float:
        return lr

    def _set(self) -> None:
        position = bisect_right(self.milestones, self.last_epoch)
        if position and self.milestones[position - 1] == self.last_epoch:
            self.schedulers[position].restart()
        else:
            self.schedulers[position].step()

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "schedulers": [s.state_dict() for s in self.schedulers]}

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        for scheduler, state in zip(self.schedulers, _states(self, state_dict), strict=True):
            scheduler.load_state_dict(state)
        super().load_state_dict({**state_dict, "schedulers": self.schedulers})


class ChainedScheduler:
    """Several schedules at once: each changes the rates that the one before it has set.

    Parameters
    ----------
    schedulers
        Schedules of one optimiser.
    optimizer
        That optimiser; may be omitted.
    """

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None) -> None:
        self.schedulers = checks.several("ChainedScheduler", "schedulers", schedulers)
        if not self.schedulers or not all(isinstance(one, LRScheduler) for one in self.schedulers):
            raise OptionError("ChainedScheduler: schedulers are schedules of this module, and no ReduceLROnPlateau")
        self.optimizer = self.schedulers[0].optimizer if optimizer is None else optimizer
        if any(one.optimizer is not self.optimizer for one in self.schedulers):
            raise OptionError("ChainedScheduler: its schedulers are for another optimizer")

    def step(self) -> None:
        """Go on to the next epoch."""
        for scheduler in self.schedulers:
            scheduler.step()

    def get_last_lr(self) -> list[float]:
        """The rates set last."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, object]:
        """The states of the schedules."""
        return {"schedulers": [one.state_dict() for one in self.schedulers]}

    def load_state_dict(self, state_dict: Mapping[str, object]) -> None:
        """Restore what :meth:`state_dict` returned."""
        for scheduler, state in zip(self.schedulers, _states(self, state_dict), strict=True):
            scheduler.load_state_dict(state)


def _states(owner: SequentialLR | ChainedScheduler, state_dict: object) -> list[dict[str, object]]:
    """The states of the schedules in a state dict."""
    name, count = type(owner).__name__, len(owner.schedulers)
    states = checks.mapping(name, "a state", state_dict).get("schedulers")
    if not isinstance(states, list) or len(states) != count:
        raise OptionError(f"{name}: a state has 'schedulers', a list of {count}")
    return states


if not TYPE_CHECKING:  # to the type checker a name that is not here is an error
    __getattr__, __dir__ = face(globals(), SCHEDULER, ("CyclicLR", "LRScheduler", "OneCycleLR", "ReduceLROnPlateau"))
