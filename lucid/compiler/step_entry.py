"""``lucid.compile_step``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..base.checks import flag, function, mapping, shown
from ..distributed.group import Group, checked_group
from ..errors import OptionError
from ..optim.optimizer import Optimizer
from ..optim.swa_utils import AveragedModel
from ..passes.editing import Pipeline
from .compiled import CompiledModel
from .entry import checked_model, checked_passes, checked_specs
from .objective import Model, Objective
from .options import Options
from .step import CompiledStep


def compile_step(
    model: Model, loss: Model | None, optimizer: Optimizer, *specs: object,
    clip_grad: float | None = None, clip_norm: float | None = None, accumulate: int = 1, outputs: bool = False,
    metrics: Mapping[str, Model] | None = None, detect_anomaly: bool = False, average: AveragedModel | None = None,
    group: Group | None = None, threads: int | None = None, exact: bool = False, verify: bool | str | Path = False,
    passes: Pipeline | None = None, memory_budget: int | None = None, **keyword_specs: object,
) -> CompiledStep:  # fmt: skip
    """Compile a training step: forward, loss, backward and update as one graph and one program.

    ``step(x, target)`` does what ``optimizer.zero_grad(); loss(model(x), target).backward(); optimizer.step()`` does,
    and returns the loss. It leaves no ``.grad``.

    Parameters
    ----------
    model
        An ``nn.Module``, or a function of tensors.
    loss
        ``loss(outputs, target)``, one number; the target is the last positional argument of a call. If the loss takes
        only the outputs, or the call has one argument, all arguments are the model's. None if the model returns it.
    optimizer
        Updates the model's parameters. Its options are read at each call, so schedules work as usual.
    *specs, **keyword_specs
        As for :func:`compile`: types of the arguments of a call, possibly with symbolic sizes.
    clip_grad, clip_norm
        Clip each element of the gradients to between ``-clip_grad`` and ``clip_grad``; then scale all gradients
        together so that their norm is at most ``clip_norm``.
    accumulate
        Update once per this many calls, by the mean of their gradients.
    outputs, metrics
        Also return the outputs, after the loss; and last a dict of the values of ``metric(outputs, target)``.
    detect_anomaly
        Raise an :class:`ExecutionError`, with the node, if the loss or a gradient is not finite, and update nothing.
    average
        A :class:`lucid.optim.swa_utils.AveragedModel` of the model, which the program updates as well.
    group
        Train with the other processes of a :func:`lucid.distributed.group`, each on its own batches. Model and
        optimizer start as they are in rank 0; each update uses the mean of the gradients, and the loss and the metrics
        are means too. Buffers that the model writes are those of rank 0.
    threads, exact, verify, passes
        As for :func:`compile`.
    memory_budget
        The most bytes that ``step.plan.peak`` may be; values are recomputed rather than kept to stay within it.

    Raises
    ------
    GradientError
        If the loss is not a single number, or depends on none of the optimizer's parameters.
    OptionError
        If the optimizer has parameters that are not the model's; at a call, if the budget cannot be met.
    """
    _check(model, loss, optimizer, passes)
    given = checked_specs(compile_step, model, (specs, keyword_specs), None)
    wanted = flag("compile_step", "outputs", outputs), _checked_metrics(metrics)
    objective = Objective(checked_model(model, "compile_step"), loss, *wanted)
    options = Options(threads, exact, verify, checked_passes(passes), memory_budget=memory_budget)
    detects, together = flag("compile_step", "detect_anomaly", detect_anomaly), checked_group("compile_step", group)
    return CompiledStep(
        objective, optimizer, given, options, clip_grad=clip_grad, clip_norm=clip_norm, accumulate=accumulate,
        detect_anomaly=detects, group=together, average=average,
    )  # fmt: skip


def _checked_metrics(metrics: Mapping[str, Model] | None) -> Mapping[str, Model]:
    measured = {} if metrics is None else mapping("compile_step", "metrics", metrics)
    for name, metric in measured.items():
        function("compile_step", f"metrics[{name!r}]", metric)
    return measured


def _check(model: object, loss: object, optimizer: object, passes: object) -> None:
    if isinstance(model, CompiledModel) and model.model is None:
        raise OptionError(
            "compile_step: a model loaded from a file is one program already, of which no step can be made: make the "
            "step of the module itself, or train by a loop of eager calls (with lucid.fit, compiled=False)"
        )
    if not isinstance(optimizer, Optimizer):
        raise OptionError(f"compile_step: optimizer is one of lucid.optim, got {shown(optimizer)}")
    if optimizer.evaluates:
        raise OptionError(
            f"compile_step: {type(optimizer).__name__} evaluates the loss several times in a step, which is no single "
            f"program: call optimizer.step(closure) in a loop, where the closure may call lucid.compile(model)"
        )
    if type(optimizer).step is not Optimizer.step or "step" in vars(optimizer):
        raise OptionError(
            f"compile_step: {type(optimizer).__name__} has a step() of its own, which a compiled step does not call: "
            f"say what is new in its update(), or train by a loop of eager calls (with lucid.fit, compiled=False)"
        )
    if loss is not None and (not callable(loss) or isinstance(loss, type)):
        raise OptionError(f"compile_step: loss is a function of outputs and target, or None, got {shown(loss)}")
    if passes is not None and not isinstance(passes, Pipeline):
        raise OptionError(f"compile_step: passes is lucid.passes.default() with changes, got {shown(passes)}")
