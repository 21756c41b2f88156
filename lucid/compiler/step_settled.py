"""What a call of a training step was decided by: while that is as it was, the next goes straight to its program."""

from __future__ import annotations

from ..base.arrays import Array
from ..optim.optimizer import Optimizer
from ..tensor.tensor import Tensor
from .arguments import OF_TEXTS, likeness
from .calls import Forward
from .compiled import Trace
from .step_form import Members


class Settled:
    """A call that others may follow: of arguments like these, where nothing has changed since but by the step itself.

    Parameters
    ----------
    trace, call
        What ran.
    key
        What its arguments have in common with such.
    own
        The step's own numbers.
    optimizer, members
        What is updated by which rule, as it was looked at.

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
        """A call that was just made; None where the next has to be looked at anew."""
        key = likeness(args)
        if key is None or call.tracked or OF_TEXTS in trace.specialization.inputs[2]:
            return None
        return cls(trace, call, key, own, optimizer, members)

    def decides(self, args: tuple[object, ...], own: tuple[object, ...], optimizer: Optimizer) -> bool:
        """Whether a call with these arguments would be the same again; the optimizer's options have been checked."""
        return (
            optimizer is self._optimizer
            and own == self._own
            and likeness(args) == self._key
            and self._members.are_seen(optimizer)  # so neither a model nor a tensor has changed
            and _options(optimizer) == self._options
            and self.trace.guards.hold()
        )

    def run(self, args: tuple[object, ...]) -> object:
        """The result for these arguments."""
        arrays: list[Array] = [x._array if isinstance(x, Tensor) else x for x in args]  # type: ignore[misc]
        return self.trace.calls.result(self.call.run((), arrays), args)


def _options(optimizer: Optimizer) -> list[object]:
    """All that the optimizer says of its groups."""
    return [(optimizer.flags(group), optimizer.scalars(group)) for group in optimizer.param_groups]
