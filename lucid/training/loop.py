"""``lucid.fit``: epochs of training steps, with validation and callbacks; and ``evaluate``."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

from ..base import checks
from ..base.checks import shown
from ..data.collate import default_convert
from ..distributed.group import Group
from ..errors import OptionError
from ..formats.files import checked_path
from ..nn.module import Module
from ..optim.lr_scheduler import ChainedScheduler
from ..optim.optimizer import Optimizer
from ..optim.plateau import ReduceLROnPlateau
from ..optim.schedule import LRScheduler as Schedule
from ..optim.swa_utils import AveragedModel
from ..tensor.grad_mode import no_grad
from ..tensor.tensor import Tensor
from .callbacks import Callback, LRScheduler
from .group import InGroup
from .history import History
from .metrics import Average, Function, Metric, as_metrics, size_of
from .run import Run
from .step import (
    Care,
    Forward,
    Loss,
    Step,
    check_model,
    checked_data,
    checked_loss,
    forward_of,
    split,
    step_of,
)

Metrics: TypeAlias = "Sequence[Metric | Function] | dict[str, Metric | Function] | Metric"


def fit(
    model: Module, data: Iterable[object], *, loss: Loss, optimizer: Optimizer, epochs: int = 1,
    validation: Iterable[object] | None = None, metrics: Metrics = (), callbacks: Sequence[Callback] = (),
    scheduler: Schedule | ReduceLROnPlateau | ChainedScheduler | None = None, progress: bool = True,
    compiled: bool = True, resume: str | os.PathLike[str] | None = None, clip_grad: float | None = None,
    clip_norm: float | None = None, accumulate: int = 1, detect_anomaly: bool = False, group: Group | None = None,
    average: AveragedModel | None = None,
) -> History:  # fmt: skip
    """Train a model.

    Ctrl-C stops between two steps, or before a step has written anything: the model stays consistent.

    Parameters
    ----------
    data
        Batches, iterated over in each epoch: a :class:`lucid.data.DataLoader` or a list. Each is a tuple or list of the
        model's inputs and, last, the target.
    loss
        A function of output and target that returns a number, such as ``nn.CrossEntropyLoss()``. The loss of an epoch
        is the mean over its batches, weighted by their numbers of samples.
    model, optimizer, epochs
        The module, which is trained in place; the optimizer of its parameters; the number of passes over the data.
    validation
        Batches to evaluate the model on after each epoch, in evaluation mode; the results are ``val_loss`` and so on.
    metrics
        From :mod:`lucid.training`, such as ``Accuracy()``, or functions of output and target, which are averaged; a
        dict names them.
    callbacks, scheduler
        Called in this order; the scheduler is stepped after each epoch, before the callbacks.
    progress
        Whether to show progress on standard error.
    compiled
        Whether steps are compiled (:func:`lucid.compile_step`); otherwise every op runs at once, which is slower but
        easier to debug.
    resume
        A file saved by :class:`ModelCheckpoint`: if it exists, continue from it, as if training had never stopped.
    clip_grad, clip_norm, detect_anomaly, group
        As for :func:`lucid.compile_step`; in a group the first process shows progress and saves.
    accumulate
        Update once per this many batches, by the mean of their gradients, also across epochs. In a group a checkpoint
        holds what all processes have accumulated: in the middle of an epoch it waits for the next update.
    average
        A :class:`lucid.optim.swa_utils.AveragedModel` of the model, which is updated after each step and saved in
        checkpoints. Validation uses the model itself.

    Returns
    -------
    History
        Losses and metrics of the epochs by name.
    """
    run = _begun(model, data, optimizer, epochs, validation, (loss, metrics), _asked(scheduler, callbacks))
    care = Care(clip_grad, clip_norm, detect_anomaly, accumulate)
    step, sums = step_of(
        model, loss, optimizer, care, compiled=compiled, outputs=bool(run.metrics), group=group,
        average=average,
    )  # fmt: skip
    run.accumulated, run.average = sums if accumulate > 1 else None, average
    with _modes(model):
        _Trained(run, step, forward_of(model, compiled), validation, InGroup(group, run, progress)).run_all(resume)
    return run.history


def _asked(scheduler: Schedule | ReduceLROnPlateau | ChainedScheduler | None, callbacks: object) -> list[Callback]:
    """The callbacks, preceded by one that steps the schedule."""
    first = [] if scheduler is None else [LRScheduler(scheduler)]
    return [*first, *checks.several("fit", "callbacks", callbacks)]


def _begun(
    model: Module,
    data: object,
    optimizer: Optimizer,
    epochs: int,
    validation: object,
    measured: tuple[Loss, Metrics],
    callbacks: list[Callback],
) -> Run:
    """The run for these arguments, after checking them."""
    owner = "fit"
    check_model(owner, model)
    checked_data(owner, "data", data)
    if validation is not None:
        checked_data(owner, "validation", validation)
    if not isinstance(optimizer, Optimizer):
        raise OptionError(f"{owner}: optimizer is one of lucid.optim, got {shown(optimizer)}")
    if optimizer.evaluates:
        raise OptionError(
            f"{owner}: {type(optimizer).__name__} evaluates the loss several times in a step: call "
            f"optimizer.step(closure) in a loop, where the closure may call lucid.compile(model)"
        )
    for one in callbacks:
        if not isinstance(one, Callback):
            raise OptionError(f"{owner}: a callback is a lucid.training.Callback, got {shown(one)}")
    losses, metrics = Average(checked_loss(owner, measured[0]), "loss"), as_metrics(owner, measured[1])
    count = checks.integer(owner, "epochs", epochs, 0)
    return Run(model, optimizer, data, count, losses, metrics, callbacks, validation is not None)


class _Trained:
    """A run, with what it needs."""

    def __init__(
        self, run: Run, step: Step, forward: Forward, validation: Iterable[object] | None, together: InGroup
    ) -> None:
        self.run, self.step, self.forward, self.validation = run, step, forward, validation
        self.shown = together.shown
        self.together = together
        self.hooks: list[Callback] = [one for one in run.callbacks if isinstance(one, Callback)]

    def run_all(self, resume: str | os.PathLike[str] | None) -> None:
        """Run all remaining epochs."""
        run, skipped = self.run, 0
        if not run.model.training:
            run.model.train()
        for metric in run.metrics:
            metric.reset()
        for hook in self.hooks:
            hook.on_fit_begin(run)
        self.together.begin()
        if resume is not None and os.path.exists(checked_path(resume, "read")):
            skipped = run.resume(resume)
        try:
            while run.epoch < run.epochs and (run.stopped is None or run.batch):
                self.epoch(skipped)
                skipped = 0
        finally:
            self.shown.close()
        for hook in self.hooks:
            hook.on_fit_end(run)

    def epoch(self, skipped: int) -> None:
        """Run an epoch, without the first batches if it has already begun."""
        run = self.run
        self.shown.begin(run)
        self.together.begin_epoch(run)
        for hook in self.hooks:
            hook.on_epoch_begin(run)
        assert isinstance(run.data, Iterable)
        for batch in itertools.islice(run.data, skipped, None):
            self.batch(batch)
        if not run.batch:
            raise OptionError(f"fit: there is no batch in the data in epoch {run.epoch + 1}")
        logs = run.numbers()
        if self.validation is not None:
            logs |= {f"val_{name}": value for name, value in self.validated(self.validation).items()}
        logs = self.together.means(logs)
        for metric in (run.losses, *run.metrics):
            metric.reset()
        run.history.add(logs)
        run.logs, run.epoch, run.batch = logs, run.epoch + 1, 0
        for hook in self.hooks:
            hook.on_epoch_end(run)
        self.together.end_epoch(run)
        run.save_what_is_due()
        self.shown.end(run)

    def batch(self, batch: object) -> None:
        """Run a step."""
        run = self.run
        inputs, target = split("fit", default_convert(batch))
        run.loss, output = self.step(inputs, target)
        run.batch, run.step = run.batch + 1, run.step + 1
        run.losses.include(run.loss, size_of(target, inputs[0]))
        _update(run.metrics, output, target)
        for hook in self.hooks:
            hook.on_batch_end(run)
        if self.together.holds_all(run):
            run.save_what_is_due()
        self.shown.batch(run)

    def validated(self, data: Iterable[object]) -> dict[str, float]:
        """The loss and the metrics on other data, in evaluation mode."""
        losses = Average(self.run.losses.function, "loss")
        for metric in self.run.metrics:
            metric.reset()
        with _modes(self.run.model):
            self.run.model.eval()
            found, count = _gone_through(self.forward, data, [losses, *self.run.metrics])
        if not count:
            raise OptionError(f"fit: there is no batch in the validation data in epoch {self.run.epoch + 1}")
        return found


def _update(metrics: Sequence[Metric], output: object, target: object) -> None:
    if metrics:
        given = output.detach() if isinstance(output, Tensor) else output
        for metric in metrics:
            metric.update(given, target)  # type: ignore[arg-type]  # a user's metric may take other objects


def _gone_through(forward: Forward, data: Iterable[object], metrics: Sequence[Metric]) -> tuple[dict[str, float], int]:
    """The values of the metrics, and the number of batches."""
    count = 0
    with no_grad():
        for count, batch in enumerate(data, 1):  # noqa: B007 - the last one is how many there were
            inputs, target = split("validation", default_convert(batch))
            _update(metrics, forward(*inputs), target)
    return {one.name: one.compute() for one in metrics}, count


def evaluate(
    model: Module,
    data: Iterable[object],
    *,
    loss: Loss | None = None,
    metrics: Metrics = (),
    compiled: bool = True,
) -> dict[str, float]:
    """The loss and the metrics of a model on data, in evaluation mode and without gradients.

    The parameters are those of :func:`lucid.fit`.
    """
    owner = "evaluate"
    check_model(owner, model)
    checked_data(owner, "data", data)
    found = as_metrics(owner, metrics)
    for metric in found:
        metric.reset()
    if loss is not None:
        found.insert(0, Average(checked_loss(owner, loss), "loss"))
    with _modes(model):
        model.eval()
        forward = forward_of(model, compiled)
        return _gone_through(forward, data, found)[0]


@contextmanager
def _modes(model: Module) -> Iterator[None]:
    """While inside, the modes of modules may change; afterwards they are restored."""
    before = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in before:
            if module.training != training:
                module.training = training
