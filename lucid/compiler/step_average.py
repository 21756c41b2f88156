"""Averaging of weights as part of a training step."""

from __future__ import annotations

from ..base import changes
from ..base.checks import shown
from ..errors import OptionError
from ..graph.opdef import AbstractTensor
from ..graph.ops.elementwise import where
from ..graph.ops.promotion import cast
from ..graph.trace import Symbol
from ..nn.module import Module
from ..optim.swa_utils import AveragedModel
from ..tensor.tensor import Tensor
from ..tensor.traced import TracedTensor
from ..tensor.tracing import Recorder


class Averages:
    """The tensors of an averaged model, with the tensors of the trained model that they average.

    Parameters
    ----------
    average
        As given to :func:`lucid.compile_step`.
    model
        The model that is trained.

    Raises
    ------
    OptionError
        If ``average`` is not an average of ``model``, or uses a rule that cannot be traced.
    """

    def __init__(self, average: object, model: object) -> None:
        if not isinstance(average, AveragedModel):
            raise OptionError(f"compile_step: average is a swa_utils.AveragedModel of the model, got {shown(average)}")
        if not isinstance(model, Module):
            raise OptionError("compile_step: average is of a module, and the model is a function")
        if average.rule is None:
            raise OptionError(
                "compile_step: the multi_avg_fn of average changes tensors in place, which no graph does: give "
                "AveragedModel an avg_fn, which gives the average of one tensor"
            )
        self.of, self._model, self._rule = average, model, average.rule
        self._seen = -1
        self._present: tuple[int, ...] = ()
        self.averaged: list[tuple[Tensor, Tensor]] = []
        self.copied: list[tuple[Tensor, Tensor]] = []

    @property
    def present(self) -> tuple[int, ...]:
        """The ids of all tensors involved, updated if some may have been replaced."""
        now = changes.of_models.now
        if now != self._seen:
            self.averaged, self.copied = self.of.pairs("compile_step", self._model)
            every = [self.of.n_averaged, *(x for pair in (*self.averaged, *self.copied) for x in pair)]
            self._present, self._seen = tuple(map(id, every)), now
        return self._present

    def new(self, old: Symbol, value: Symbol, count: Symbol) -> AbstractTensor:
        """The average updated by one more value; the first value is its own average."""
        recorder = Recorder(tracer=old.tracer)
        with recorder.active(grad=False):
            made = self._rule(TracedTensor(old), TracedTensor(value), TracedTensor(count))
            if not isinstance(made, Tensor) or made.type.shape != old.type.shape:
                got = made.type if isinstance(made, Tensor) else shown(made)
                raise OptionError(f"compile_step: the avg_fn of average gives {got} for what is {old.type}")
            average = recorder.lift(made)
        if recorder.state:
            raise OptionError(
                "compile_step: the avg_fn of average reads a tensor that it is not given, which may change"
            )
        return where(count == 0, cast(value, old.type.dtype), cast(average, old.type.dtype))
