"""Callbacks, which act during training: at the end of batches, epochs and so on."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping

import numpy as np

from ..base import checks
from ..base.arrays import Array
from ..base.checks import named, shown
from ..errors import FileError, OptionError
from ..optim.lr_scheduler import ChainedScheduler
from ..optim.plateau import ReduceLROnPlateau
from ..optim.schedule import LRScheduler as Schedule
from .run import Run
from .state_check import as_state, checked, state_of


class Callback:
    """Base class of callbacks: a subclass overrides the methods for the events that it handles.

    A callback with state of its own defines ``state_dict()`` and ``load_state_dict()``, so that a resumed run ends like
    one that never stopped.
    """

    def on_fit_begin(self, run: Run) -> None:
        """Called before the first epoch, and before the state of a resumed run is restored."""

    def on_epoch_begin(self, run: Run) -> None:
        """Called before the first batch of an epoch, or where a run resumes within it."""

    def on_batch_end(self, run: Run) -> None:
        """Called after a step; ``run.loss`` is the loss of the batch."""

    def on_epoch_end(self, run: Run) -> None:
        """Called after an epoch and its validation; ``run.logs`` has their results."""

    def on_fit_end(self, run: Run) -> None:
        """Called after the last epoch, unless an error or an interrupt ended training."""

    def state_dict(self) -> dict[str, object]:
        """What it has to remember."""
        return {}

    def load_state_dict(self, state_dict: Mapping[str, object]) -> None:
        """Restore what :meth:`state_dict` returned."""
        if checks.mapping(type(self).__name__, "a state", state_dict):
            raise OptionError(f"{type(self).__name__}: has no state, got {shown(state_dict)}")


class _Watching(Callback):
    """A callback that compares a metric with its best value so far."""

    def __init__(self, monitor: str | None, mode: str | None) -> None:
        owner = type(self).__name__
        self.monitor = None if monitor is None else checks.text(owner, "monitor", monitor)
        self.mode = None if mode is None else checks.choice(owner, "mode", mode, ("min", "max"))
        self.best = math.nan

    def on_fit_begin(self, run: Run) -> None:
        run.watched(type(self).__name__, self.monitor, self.mode)
        self.best = math.nan

    def improved(self, run: Run, least: float = 0.0) -> bool:
        """Whether the epoch was the best so far, by more than ``least``; if so, its value is recorded."""
        name, mode = run.watched(type(self).__name__, self.monitor, self.mode)
        value = run.logs[name]
        sign = 1 if mode == "max" else -1
        better = not math.isnan(value) and (math.isnan(self.best) or sign * (value - self.best) > least)
        if better:
            self.best = value
        return better

    def state_dict(self) -> dict[str, object]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: Mapping[str, object]) -> None:
        owner, own = type(self).__name__, self.state_dict()
        if set(checks.mapping(owner, "a state", state_dict)) != set(own):
            raise OptionError(f"{owner}: a state has {', '.join(own)}, got {shown(sorted(map(str, state_dict)))}")
        self.best = checks.number(owner, "best", state_dict["best"], nan=True)


class EarlyStopping(_Watching):
    """Stop when a metric has not improved for some epochs, and restore the weights of the best epoch.

    Parameters
    ----------
    monitor
        The metric: by default "val_loss", or "loss" without validation.
    patience
        The number of epochs without improvement after which to stop.
    mode
        Whether "min" or "max" is best; known for Lucid's metrics.
    min_delta
        The least change that counts as an improvement.
    restore_best
        Whether to restore the weights of the best epoch when training ends, also after the last epoch.
    """

    def __init__(
        self,
        monitor: str | None = None,
        patience: int = 5,
        mode: str | None = None,
        min_delta: float = 0.0,
        restore_best: bool = True,
    ) -> None:
        super().__init__(monitor, mode)
        self.patience = checks.integer("EarlyStopping", "patience", patience)
        self.min_delta = checks.number("EarlyStopping", "min_delta", min_delta, 0.0, below=math.inf)
        self.restore_best = checks.flag("EarlyStopping", "restore_best", restore_best)
        self.waited = 0
        self.best_epoch: int | None = None
        self._weights: dict[str, Array] | None = None

    def on_fit_begin(self, run: Run) -> None:
        super().on_fit_begin(run)
        self.waited, self.best_epoch, self._weights = 0, None, None

    def on_epoch_end(self, run: Run) -> None:
        if self.improved(run, self.min_delta):
            self.waited, self.best_epoch = 0, run.epoch
            if self.restore_best:
                self._weights = {name: np.array(t.numpy()) for name, t in run.model.state_dict().items()}
            return
        self.waited += 1
        if self.waited >= self.patience:
            name, _ = run.watched("EarlyStopping", self.monitor, self.mode)
            run.stop(f"{name} has not become better for {self.waited} epochs")

    def on_fit_end(self, run: Run) -> None:
        if self._weights is not None:
            run.model.load_state_dict(self._weights)

    def state_dict(self) -> dict[str, object]:
        weights = None if self._weights is None else dict(self._weights)
        return {**super().state_dict(), "waited": self.waited, "best_epoch": self.best_epoch, "weights": weights}

    def load_state_dict(self, state_dict: Mapping[str, object]) -> None:
        name, before = "EarlyStopping", self.best
        super().load_state_dict(state_dict)
        found, self.best = self.best, before  # keep the old one until everything has been checked
        waited, epoch = checks.integer(name, "waited", state_dict["waited"], 0), state_dict["best_epoch"]
        best_epoch = None if epoch is None else checks.integer(name, "best_epoch", epoch, 0)
        weights: dict[str, Array] | None = None
        if state_dict["weights"] is not None:
            given = as_state("weights", state_dict["weights"])
            weights = {key: value for key, value in given.items() if isinstance(value, np.ndarray)}
            if len(weights) < len(given):
                raise OptionError(f"{name}: weights are arrays by name")
        self.best, self.waited, self.best_epoch, self._weights = found, waited, best_epoch, weights


class ModelCheckpoint(_Watching):
    """Save checkpoints, from which ``lucid.fit(..., resume=path)`` continues.

    Parameters
    ----------
    path
        The file; ``{epoch}`` and ``{step}`` in its name are replaced by their numbers.
    every
        Also save whenever this many more steps have been done, not only after epochs.
    best_only
        Save only after epochs that are the best so far.
    monitor, mode
        The metric, as for :class:`EarlyStopping`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        every: int | None = None,
        best_only: bool = False,
        monitor: str | None = None,
        mode: str | None = None,
    ) -> None:
        super().__init__(monitor, mode)
        if not isinstance(path, str | os.PathLike):
            raise OptionError(f"ModelCheckpoint: path is a string or a pathlib.Path, got {shown(path)}")
        self.path = os.fsdecode(path)
        self.every = None if every is None else checks.integer("ModelCheckpoint", "every", every)
        self.best_only = checks.flag("ModelCheckpoint", "best_only", best_only)
        if not self.best_only and (monitor is not None or mode is not None):
            raise OptionError("ModelCheckpoint: monitor and mode say what is best, for best_only=True")
        if self.best_only and self.every is not None:
            raise OptionError("ModelCheckpoint: best_only is about epochs; leave every out, or take a second one")

    def on_fit_begin(self, run: Run) -> None:
        folder = os.path.dirname(self.path) or "."
        if "{" not in folder and not os.path.isdir(folder):  # raise now, not after the first epoch
            raise FileError(f"ModelCheckpoint: {named(self.path)}: there is no folder {named(folder)}; make it first")
        if self.best_only:
            super().on_fit_begin(run)

    def _save(self, run: Run) -> None:
        run.save(self.path.replace("{epoch}", str(run.epoch)).replace("{step}", str(run.step)))

    def on_batch_end(self, run: Run) -> None:
        if self.every is not None and run.step % self.every == 0:
            self._save(run)

    def on_epoch_end(self, run: Run) -> None:
        if not self.best_only or self.improved(run):
            self._save(run)


class LRScheduler(Callback):
    """Step a learning-rate schedule.

    Parameters
    ----------
    scheduler
        One of ``lucid.optim.lr_scheduler``.
    every
        After each "epoch", or after each "step".
    monitor
        The metric for ``ReduceLROnPlateau``: by default "val_loss", or "loss" without validation.
    """

    def __init__(
        self,
        scheduler: Schedule | ReduceLROnPlateau | ChainedScheduler,
        every: str = "epoch",
        monitor: str | None = None,
    ) -> None:
        if not isinstance(scheduler, Schedule | ReduceLROnPlateau | ChainedScheduler):
            raise OptionError(f"LRScheduler: scheduler is one of lucid.optim.lr_scheduler, got {shown(scheduler)}")
        self.scheduler = scheduler
        self.every = checks.choice("LRScheduler", "every", every, ("epoch", "step"))
        self.monitor = None if monitor is None else checks.text("LRScheduler", "monitor", monitor)
        plateau = isinstance(scheduler, ReduceLROnPlateau)
        if plateau != (plateau and every == "epoch") or (monitor is not None and not plateau):
            raise OptionError("LRScheduler: ReduceLROnPlateau goes by epochs, and others have nothing to monitor")

    def on_fit_begin(self, run: Run) -> None:
        if self.scheduler.optimizer is not run.optimizer:
            raise OptionError("LRScheduler: the schedule is of another optimizer than the one that trains")
        if isinstance(self.scheduler, ReduceLROnPlateau):
            run.watched("LRScheduler", self.monitor, "min")

    def on_batch_end(self, run: Run) -> None:
        if self.every == "step" and not isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step()

    def on_epoch_end(self, run: Run) -> None:
        if isinstance(self.scheduler, ReduceLROnPlateau):
            name, _ = run.watched("LRScheduler", self.monitor, "min")
            self.scheduler.step(run.logs[name])
        elif self.every == "epoch":
            self.scheduler.step()

    def state_dict(self) -> dict[str, object]:
        return as_state("scheduler", state_of(self.scheduler))

    def load_state_dict(self, state_dict: Mapping[str, object]) -> None:
        self.scheduler.load_state_dict(checked("scheduler", self.scheduler, state_dict))
