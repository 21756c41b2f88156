"""Schedules that change the learning rates of an optimiser, with PyTorch's names, arguments and values."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..base import checks
from ..base.absent import SCHEDULER, face
from ..base.checks import integer, shown
from ..errors import OptionError
from .optimizer import Group, Optimizer, number
from .plateau import ReduceLROnPlateau as ReduceLROnPlateau


class LRScheduler(ABC):
    """Base of schedules; ``step()`` is called once an epoch (or batch), after the optimiser's.

    A parameter group that is added later takes part from the next step on.

    Parameters
    ----------
    optimizer
        Whose groups' ``"lr"`` is set; their first rates are kept as ``"initial_lr"``.
    last_epoch
        Number of the last epoch when training is resumed; -1 starts afresh.
    """

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
        """The rate of group ``index`` at ``last_epoch``, from its present and its first rate."""

    def _bases(self) -> list[float]:
        """The first rate of every group; one that was added since follows the schedule from the rate it came with."""
        for group in self.optimizer.param_groups[len(self.base_lrs) :]:
            group["initial_lr"] = group.get("initial_lr", group["lr"])
            self.base_lrs.append(group["initial_lr"])
        return self.base_lrs

    def get_lr(self) -> list[float]:
        """The rates that belong to ``last_epoch``."""
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

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave."""
        name = type(self).__name__
        unknown = sorted(set(checks.mapping(name, "a state", state_dict)) - set(self.__dict__), key=str)
        if unknown:
            raise OptionError(f"{type(self).__name__}: unknown state {unknown}")
        self.__dict__.update(state_dict)


class LambdaLR(LRScheduler):
    """The first rate times ``lr_lambda(epoch)``; one function, or one for each group.

    Where each group has its own, the rate of a group that is added later stays as it is.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        self._check_optimizer(optimizer)
        if not callable(lr_lambda) and not isinstance(lr_lambda, Sequence):
            raise OptionError(f"LambdaLR: lr_lambda is a function, or one for each group, got {shown(lr_lambda)}")
        count = len(optimizer.param_groups)
        functions = [lr_lambda] * count if callable(lr_lambda) else list(lr_lambda)
        for one in functions:
            checks.function("LambdaLR", "lr_lambda", one)
        if len(functions) != count:
            raise OptionError(f"LambdaLR: {len(functions)} functions for {count} groups")
        self._functions = functions
        self._shared = callable(lr_lambda)
        super().__init__(optimizer, last_epoch)

    def rate(self, lr: float, base: float, index: int) -> float:
        if index >= len(self._functions) and not self._shared:
            return lr
        factor = self._functions[min(index, len(self._functions) - 1)](self.last_epoch)
        return base * checks.number("LambdaLR", f"what lr_lambda({self.last_epoch}) gives", factor, below=math.inf)


class StepLR(LRScheduler):
    """Times ``gamma`` every ``step_size`` epochs."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.step_size = integer(type(self).__name__, "step_size", step_size)
        self.gamma = number("StepLR", "gamma", gamma)
        super().__init__(optimizer, last_epoch)

    def rate(self, lr: float, base: float, index: int) -> float:
        return lr * self.gamma if self.last_epoch and self.last_epoch % self.step_size == 0 else lr


class MultiStepLR(LRScheduler):
    """Times ``gamma`` at every milestone."""

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
    """Times ``gamma`` every epoch."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = number("ExponentialLR", "gamma", gamma)
        super().__init__(optimizer, last_epoch)

    def rate(self, lr: float, base: float, index: int) -> float:
        return lr * self.gamma if self.last_epoch else lr


class ConstantLR(LRScheduler):
    """Times ``factor`` for the first ``total_iters`` epochs."""

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
    """Times a factor that goes linearly from ``start_factor`` to ``end_factor`` in ``total_iters`` epochs."""

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
    """Down to 0 in ``total_iters`` epochs, as ``(1 - epoch / total_iters) ** power``."""

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
    """Along half a cosine from the first rate to ``eta_min`` in ``T_max`` epochs (Loshchilov and Hutter, 2017)."""

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
    """Half a cosine from the first rate to ``eta_min``, again and again, each ``T_mult`` times longer than the last."""

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        self.T_0 = integer(type(self).__name__, "T_0", T_0)
        self.T_mult = integer(type(self).__name__, "T_mult", T_mult)
        self.eta_min = number("CosineAnnealingWarmRestarts", "eta_min", eta_min)
        super().__init__(optimizer, last_epoch)

    def rate(self, lr: float, base: float, index: int) -> float:
        position, length = self.last_epoch, self.T_0
        while position >= length:
            if self.T_mult == 1:
                position %= length
            else:
                position, length = position - length, length * self.T_mult
        return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * position / length)) / 2


class OneCycleLR(LRScheduler):
    """Up to ``max_lr`` and down again, once (Smith and Topin, 2018), with momentum the other way round.

    Parameters
    ----------
    optimizer
        Has ``momentum`` or ``betas`` unless ``cycle_momentum`` is False.
    max_lr
        Highest rate, one or one for each group. A group that is added later goes by the one rate; where each group
        has its own, its rate and momentum stay as they are.
    total_steps, epochs, steps_per_epoch
        Length of the cycle: ``total_steps``, or the product of the others.
    pct_start
        Share of the steps in which the rate rises.
    anneal_strategy
        "cos" or "linear".
    cycle_momentum, base_momentum, max_momentum
        Whether momentum falls from ``max_momentum`` to ``base_momentum`` as the rate rises.
    div_factor, final_div_factor
        The first rate is ``max_lr / div_factor``, the last that over ``final_div_factor``.
    three_phase
        Fall as long as it rose, then go to the last rate.
    last_epoch
        Number of the last step when training is resumed.
    """

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
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise OptionError("OneCycleLR: give total_steps, or epochs and steps_per_epoch")
            total_steps = integer(type(self).__name__, "epochs", epochs) * integer(
                type(self).__name__, "steps_per_epoch", steps_per_epoch
            )
        self.total_steps = integer(type(self).__name__, "total_steps", total_steps)
        if anneal_strategy not in ("cos", "linear"):
            raise OptionError(f'OneCycleLR: anneal_strategy is "cos" or "linear", got {shown(anneal_strategy)}')
        self.anneal_strategy = anneal_strategy
        if not 0 <= number("OneCycleLR", "pct_start", pct_start) <= 1:
            raise OptionError(f"OneCycleLR: pct_start lies between 0 and 1, got {shown(pct_start)}")
        rise = pct_start * self.total_steps - 1
        ends = [rise, 2 * rise, self.total_steps - 1] if three_phase else [rise, self.total_steps - 1]
        self.ends = [float(end) for end in ends]
        self.cycle_momentum = bool(cycle_momentum)
        groups = optimizer.param_groups
        highs = self._each("max_lr", max_lr, groups)
        firsts = [high / number("OneCycleLR", "div_factor", div_factor) for high in highs]
        final = number("OneCycleLR", "final_div_factor", final_div_factor)
        self.rates = [
            [first, high, first, first / final] if three_phase else [first, high, first / final]
            for first, high in zip(firsts, highs, strict=True)
        ]
        low, top = self._each("base_momentum", base_momentum, groups), self._each("max_momentum", max_momentum, groups)
        self.momenta = [[t, b, t, t] if three_phase else [t, b, t] for b, t in zip(low, top, strict=True)]
        if last_epoch == -1:
            for group, first in zip(groups, firsts, strict=True):
                group["initial_lr"] = first
        for group in groups if self.cycle_momentum else ():
            if not {"momentum", "betas"} & set(group):
                raise OptionError("OneCycleLR: the optimizer has no momentum to cycle; use cycle_momentum=False")
        super().__init__(optimizer, last_epoch)

    @staticmethod
    def _each(name: str, value: float | Sequence[float], groups: Sequence[Group]) -> list[float]:
        values = list(value) if isinstance(value, list | tuple) else [value] * len(groups)
        if len(values) != len(groups):
            raise OptionError(f"OneCycleLR: {len(values)} values of {name} for {len(groups)} groups")
        return [number("OneCycleLR", name, v) for v in values]

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
        """What a group goes through; None for one that was added later where every group has its own."""
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
            momentum = self._between(points)
            if "betas" in group:
                group["betas"] = (momentum, *group["betas"][1:])
            else:
                group["momentum"] = momentum


class SequentialLR(LRScheduler):
    """One schedule after another: the next begins at each milestone."""

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
            scheduler.last_epoch -= 1  # their construction has stepped them all
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

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        states = checks.mapping("SequentialLR", "a state", state_dict).get("schedulers")
        if not isinstance(states, list) or len(states) != len(self.schedulers):
            raise OptionError(f"SequentialLR: a state has 'schedulers', a list of {len(self.schedulers)}")
        for scheduler, state in zip(self.schedulers, states, strict=True):
            scheduler.load_state_dict(state)
        super().load_state_dict({**state_dict, "schedulers": self.schedulers})


if not TYPE_CHECKING:  # for whom a name that is not here is an error
    __getattr__, __dir__ = face(globals(), SCHEDULER, ("ReduceLROnPlateau",))
