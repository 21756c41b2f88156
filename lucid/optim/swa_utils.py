"""Averages of a model's weights over training, with PyTorch's names, arguments and values."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, TypeAlias

from ..base import checks
from ..base.absent import SWA, face
from ..errors import OptionError
from ..nn.module import Module
from ..nn.normalization import BATCH_NORMS
from ..tensor.grad_mode import no_grad
from ..tensor.tensor import Tensor
from .optimizer import Optimizer, number
from .schedule import LRScheduler

Average: TypeAlias = "Callable[[Tensor, Tensor, Tensor], Tensor]"
"""Takes the average so far, a new value and the number of earlier ones; returns the new average."""

Averages: TypeAlias = "Callable[[list[Tensor], list[Tensor], Tensor], None]"
"""The same for several tensors at once, in place."""

Pair: TypeAlias = "tuple[Tensor, Tensor]"
"""A tensor of averages, and the tensor of the model that it averages."""


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """An exponential average: ``decay * average + (1 - decay) * value``."""
    decay = checks.number("get_ema_avg_fn", "decay", decay, 0.0, 1.0)
    return lambda average, value, count: decay * average + (1 - decay) * value


def get_swa_avg_fn() -> Average:
    """The mean of all values."""
    return lambda average, value, count: average + (value - average) / (count + 1).to(average.dtype)


def get_ema_multi_avg_fn(decay: float = 0.999) -> Averages:
    """As :func:`get_ema_avg_fn`, for several tensors at once, in place."""
    return _Each(get_ema_avg_fn(decay))


def get_swa_multi_avg_fn() -> Averages:
    """As :func:`get_swa_avg_fn`, for several tensors at once, in place."""
    return _Each(get_swa_avg_fn())


class _Each:
    """The averages of several tensors by a rule for one."""

    def __init__(self, rule: Average) -> None:
        self.rule = rule

    def __call__(self, average: list[Tensor], value: list[Tensor], count: Tensor) -> None:
        with no_grad():
            for a, b in zip(average, value, strict=True):
                a.copy_(self.rule(a, b, count).to(a.dtype))


class AveragedModel(Module):
    """A copy of a model whose weights are averages of the model's over time (Izmailov et al., 2018).

    Parameters
    ----------
    model
        The model to average.
    device
        ``"cpu"`` or None.
    avg_fn
        Computes the average of one tensor from that so far, the new value and the number of earlier ones; by default
        the mean.
    multi_avg_fn
        Alternatively, a function that updates several tensors in place; it is called once for each element type.
    use_buffers
        Whether buffers are averaged too, rather than copied from the model.

    Attributes
    ----------
    module
        The copy.
    n_averaged
        A buffer that counts the averaged values.
    """

    n_averaged: Tensor

    def __init__(
        self,
        model: Module,
        device: object = None,
        avg_fn: Average | None = None,
        multi_avg_fn: Averages | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        checks.check_device("AveragedModel", device)
        if avg_fn is not None and multi_avg_fn is not None:
            raise OptionError("AveragedModel: give avg_fn or multi_avg_fn, not both")
        for name, function in (("avg_fn", avg_fn), ("multi_avg_fn", multi_avg_fn)):
            if function is not None:
                checks.function("AveragedModel", name, function)
        self.module = deepcopy(_model("AveragedModel", model))
        self.register_buffer("n_averaged", Tensor(0))
        self.use_buffers = checks.flag("AveragedModel", "use_buffers", use_buffers)
        self._averages = multi_avg_fn or _Each(avg_fn or get_swa_avg_fn())

    def forward(self, *args: object, **kwargs: object) -> object:
        return self.module(*args, **kwargs)

    @property
    def rule(self) -> Average | None:
        """The function that averages one tensor; None if there is only one for several."""
        return self._averages.rule if isinstance(self._averages, _Each) else None

    def pairs(self, owner: str, model: Module) -> tuple[list[Pair], list[Pair]]:
        """The tensors to average, each with that of the model, and likewise those to copy."""
        pairs = _pairs(owner, self.module.parameters(), _model(owner, model).parameters())
        buffers = _pairs(owner, self.module.buffers(), model.buffers())
        return ([*pairs, *buffers], []) if self.use_buffers else (pairs, buffers)

    def update_parameters(self, model: Module) -> None:
        """Include the current weights of the model in the averages."""
        averaged, copied = (
            [(a.detach(), b.detach()) for a, b in pairs] for pairs in self.pairs("update_parameters", model)
        )
        with no_grad():
            if int(self.n_averaged) == 0:
                _copy(averaged)
            else:
                for dtype in dict.fromkeys(average.dtype for average, _ in averaged):
                    alike = [(average, value) for average, value in averaged if average.dtype == dtype]
                    self._averages([a for a, _ in alike], [b for _, b in alike], self.n_averaged)
            _copy(copied)
            self.n_averaged.copy_(self.n_averaged + 1)


def _model(owner: str, model: object) -> Module:
    if not isinstance(model, Module):
        raise OptionError(f"{owner}: model is a module, got {checks.shown(model)}")
    return model


def _pairs(owner: str, ours: Iterable[Tensor], theirs: Iterable[Tensor]) -> list[Pair]:
    """The tensors of the copy, each with that of the model."""
    averages, values = list(ours), list(theirs)
    if [x.shape for x in averages] != [x.shape for x in values]:
        raise OptionError(f"{owner}: model has other parameters or buffers than the one that was copied for averages")
    return list(zip(averages, values, strict=True))


def _copy(pairs: Sequence[Pair]) -> None:
    for average, value in pairs:
        average.copy_(value)


def update_bn(loader: Iterable[object], model: Module, device: object = None) -> None:
    """Recompute the running statistics of batch normalisation over all batches of ``loader``.

    Parameters
    ----------
    loader
        Batches; if a batch is a list or a tuple, its first entry is used.
    model
        The model; its training mode is restored afterwards.
    device
        ``"cpu"`` or None.
    """
    checks.check_device("update_bn", device)
    norms = [m for m in _model("update_bn", model).modules() if isinstance(m, BATCH_NORMS)]
    if not norms:
        return
    training, momenta = model.training, [norm.momentum for norm in norms]
    try:
        model.train()
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None
        with no_grad():
            for batch in loader:
                model(batch[0] if isinstance(batch, list | tuple) else batch)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        model.train(training)


class SWALR(LRScheduler):
    """Rates move from the current ones to ``swa_lr`` in ``anneal_epochs`` epochs, and stay there.

    Parameters
    ----------
    optimizer
        The optimiser whose rates are set.
    swa_lr
        The last rate, or one for each group. The rate of a group that is added later stays as it is.
    anneal_epochs
        The number of epochs; with 0 the last rate is set at once.
    anneal_strategy
        ``"cos"`` or ``"linear"``.
    last_epoch
        Number of the last epoch, to resume training; -1 starts from the beginning.
    """

    settings = ("anneal_epochs", "anneal_strategy")

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float | Sequence[float],
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        self._check_optimizer(optimizer)
        groups = optimizer.param_groups
        given = list(swa_lr) if isinstance(swa_lr, list | tuple) else [swa_lr] * len(groups)
        rates = [number("SWALR", "swa_lr", one) for one in given]
        if len(rates) != len(groups):
            raise OptionError(f"SWALR: {len(rates)} rates for {len(groups)} groups")
        if anneal_strategy not in ("cos", "linear"):
            raise OptionError(f"SWALR: anneal_strategy is 'cos' or 'linear', got {checks.shown(anneal_strategy)}")
        self.anneal_epochs = checks.integer("SWALR", "anneal_epochs", anneal_epochs, 0)
        self.anneal_strategy = anneal_strategy
        self._count = -1  # annealing begins with the schedule, also when training is resumed
        for group, rate in zip(groups, rates, strict=True):
            group["swa_lr"] = rate
        super().__init__(optimizer, last_epoch)

    def _set(self) -> None:
        self._count += 1
        super()._set()

    def _share(self, step: int) -> float:
        """The progress of the annealing at a step, from 0 to 1."""
        along = min(max(step / max(1, self.anneal_epochs), 0.0), 1.0)
        return along if self.anneal_strategy == "linear" else (1 - math.cos(math.pi * along)) / 2

    def rate(self, lr: float, base: float, index: int) -> float:
        last: float = self.optimizer.param_groups[index].get("swa_lr", lr)
        step = self._count if self.anneal_epochs else max(1, self._count)
        before, now = self._share(step - 1), self._share(step)
        first = last if before == 1 else (lr - before * last) / (1 - before)
        return last * now + first * (1 - now)


if not TYPE_CHECKING:  # to the type checker a name that is not here is an error
    __getattr__, __dir__ = face(globals(), SWA)
