"""A training step: the loss of a batch, its gradients, and the update, atomically."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Protocol, TypeAlias

import numpy as np

from ..base import checks
from ..base.checks import shown
from ..base.structs import struct
from ..compiler.accumulated import Accumulated
from ..compiler.compiled import CompiledModel
from ..compiler.entry import compile as compiled_of
from ..compiler.step_entry import compile_step
from ..distributed.group import Group
from ..errors import ExecutionError, OptionError
from ..nn.module import Module
from ..nn.utils import clip_grad_norm_, clip_grad_value_
from ..optim.optimizer import Optimizer
from ..optim.swa_utils import AveragedModel
from ..tensor.tensor import Tensor

Loss: TypeAlias = "Callable[[object, object], object]"
Step: TypeAlias = "Callable[[Sequence[object], object], tuple[float, object]]"
"""Computes the loss and the outputs from the inputs and the target of a batch."""


class Forward(Protocol):
    """Computes outputs: the model, or its compiled form."""

    def __call__(self, *inputs: object) -> object:
        """The outputs of a batch."""


def forward_of(model: Module, compiled: bool) -> Forward:
    """The model, compiled if requested."""
    checks.flag("fit", "compiled", compiled)
    return compiled_of(model) if compiled and not isinstance(model, CompiledModel) else model


@struct(frozen=True)
class Care:
    """How gradients are treated, how many batches an update covers, and whether gradients that are not finite are an
    error; see :func:`lucid.fit`.
    """

    clip_grad: float | None = None
    clip_norm: float | None = None
    detect_anomaly: bool = False
    accumulate: int = 1

    def __post_init__(self) -> None:
        for name in ("clip_grad", "clip_norm"):
            if getattr(self, name) is not None:
                checks.number("fit", name, getattr(self, name), 0.0)
        checks.flag("fit", "detect_anomaly", self.detect_anomaly)
        checks.integer("fit", "accumulate", self.accumulate)


def step_of(
    model: Module,
    loss: Loss,
    optimizer: Optimizer,
    care: Care,
    *,
    compiled: bool,
    outputs: bool,
    group: Group | None,
    average: AveragedModel | None,
) -> tuple[Step, Accumulated]:
    """A function that trains on a batch, compiled or op by op, with outputs if wanted; and its accumulated sums."""
    if average is not None and not isinstance(average, AveragedModel):
        raise OptionError(f"fit: average is a lucid.optim.swa_utils.AveragedModel of the model, got {shown(average)}")
    if not compiled:
        if group is not None:
            raise OptionError("fit: a group trains by compiled steps; leave compiled=False out")
        accumulated = Accumulated(optimizer, care.accumulate)
        return _Eager(model, loss, accumulated, care, average), accumulated
    step = compile_step(
        model, loss, optimizer, clip_grad=care.clip_grad, clip_norm=care.clip_norm, outputs=outputs,
        detect_anomaly=care.detect_anomaly, accumulate=care.accumulate, group=group, average=average,
    )  # fmt: skip

    def run(inputs: Sequence[object], target: object) -> tuple[float, object]:
        found = step(*inputs, target)
        return (float(found[0]), found[1]) if outputs else (float(found), None)

    return run, step.accumulated


@struct(frozen=True)
class _Eager:
    """The equivalent of a compiled step, op by op."""

    model: Module
    loss: Loss
    accumulated: Accumulated
    care: Care
    average: AveragedModel | None

    def __call__(self, inputs: Sequence[object], target: object) -> tuple[float, object]:
        with _uninterrupted():
            self.accumulated.give()
            output = self.model(*inputs)
            value = loss_of(self.loss, output, target)
            (value if self.care.accumulate == 1 else value / self.care.accumulate).backward()
            self._update(value)
        return float(value.item()), output

    def _update(self, value: Tensor) -> None:
        """Update by the gradients of this loss and those before it, if it is the last of them."""
        care, optimizer = self.care, self.accumulated.optimizer
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        if care.detect_anomaly:
            gradients = [p.grad.numpy() for p in parameters if p.grad is not None]
            if not all(np.isfinite(one).all() for one in (value.numpy(), *gradients)):
                raise ExecutionError("fit: the loss or a gradient is not finite, and nothing was updated")
        if not self.accumulated.take():
            return
        if care.clip_grad is not None:
            clip_grad_value_(parameters, care.clip_grad)
        if care.clip_norm is not None:
            clip_grad_norm_(parameters, care.clip_norm)
        optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.model)


def loss_of(loss: Loss, output: object, target: object) -> Tensor:
    """The loss of a batch, a scalar."""
    value = loss(output, target)
    if not isinstance(value, Tensor) or value.numel() != 1:
        raise OptionError(
            f"fit: loss gives one number, a tensor, of the output and the target; it gave "
            f"{value.type if isinstance(value, Tensor) else shown(value)}"
        )
    return value


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """While inside, Ctrl-C waits for the end, unless it is pressed twice."""
    usual = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(usual):
        yield
        return
    came = 0

    def wait(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came += 1
        if came > 1:
            signal.signal(signal.SIGINT, usual)
            usual(number, frame)

    signal.signal(signal.SIGINT, wait)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
        if came == 1:
            signal.raise_signal(signal.SIGINT)


def split(owner: str, batch: object) -> tuple[Sequence[object], object]:
    """The inputs of a batch, and its target, which comes last."""
    if not isinstance(batch, list | tuple) or len(batch) < 2:
        raise OptionError(
            f"{owner}: a batch is a tuple or list of the model's inputs and the target, got {shown(batch)}; "
            f"a collate_fn of the DataLoader can make it one"
        )
    return batch[:-1], batch[-1]


def checked_data(owner: str, name: str, data: object) -> None:
    """Raise if data cannot be iterated over repeatedly."""
    if isinstance(data, Iterator):
        raise OptionError(f"{owner}: {name}: an iterator ends with the first epoch; give a DataLoader or a list")
    if isinstance(data, Module | Tensor | str | bytes | dict) or not hasattr(data, "__iter__"):
        raise OptionError(f"{owner}: {name} gives batches, as a DataLoader does, got {shown(data)}")


def check_model(owner: str, model: object) -> None:
    """Raise if a model is not a module."""
    if not isinstance(model, Module):
        raise OptionError(f"{owner}: model is a module, got {shown(model)}")


def checked_loss(owner: str, loss: object) -> Loss:
    """A loss function, checked to be callable."""
    if isinstance(loss, type):
        raise OptionError(f"{owner}: loss is a function, got the class {loss.__name__}; write {loss.__name__}()")
    found: Loss = checks.function(owner, "loss", loss)
    return found
