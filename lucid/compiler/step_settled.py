"""The shortcut of a training step: while nothing that a call depends on has changed, the next reuses its program."""

from __future__ import annotations

from ..base.arrays import Array
from ..optim.optimizer import Optimizer
from ..tensor.tensor import Tensor
from .arguments import OF_TEXTS, array_signature
from .calls import Forward
from .compiled import Trace
from .step_form import Members


class Settled:
    """A call that can be repeated with similar arguments, as long as only the step itself has changed anything.

    Parameters
    ----------
    trace, call
        The trace, and the run of its program.
    key
        The signature of the arguments.
    own
        The step's own settings.
    optimizer, members
        The optimizer, and its parameters when they were last examined.

    Attributes
    ----------
    trace, call
        As given.
    """

    def __init__(
        self, trace: Trace, call: Forward, key: tuple[object, ...], own: tuple[object, ...], optimizer: Optimizer,
        members: Members,
    ) -> None:  # fmt: skip
        self.trace, self.call = trace, call
        self._key, self._own, self._optimizer, self._members = key, own, optimizer, members
        self._options = _options(optimizer)

    @classmethod
    def of(
        cls, trace: Trace, call: Forward, args: tuple[object, ...], own: tuple[object, ...], optimizer: Optimizer,
        members: Members,
    ) -> Settled | None:  # fmt: skip
        """The call that was just made; None if the next one cannot simply repeat it."""
        key = array_signature(args)
        if key is None or call.tracked or OF_TEXTS in trace.specialization.inputs[2]:
            return None
        return cls(trace, call, key, own, optimizer, members)

    def decides(self, args: tuple[object, ...], own: tuple[object, ...], optimizer: Optimizer) -> bool:
        """Whether a call with these arguments would run alike; the optimizer's options have been checked before."""
        return (
            optimizer is self._optimizer
            and own == self._own
            and array_signature(args) == self._key
            and self._members.are_seen(optimizer)  # so neither a model nor a tensor has changed
            and _options(optimizer) == self._options
            and self.trace.guards.hold()
        )

    def run(self, args: tuple[object, ...]) -> object:
        """The result for these arguments."""
        arrays: list[Array] = [x._array if isinstance(x, Tensor) else x for x in args]  # type: ignore[misc]
        return self.trace.calls.result(self.call.run((), arrays), args)


def _options(optimizer: Optimizer) -> list[object]:
    """The options of all parameter groups."""
    return [(optimizer.flags(group), optimizer.scalars(group)) for group in optimizer.param_groups]
