"""The form of a training step: everything that determines which operations it consists of."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from operator import is_, methodcaller
from typing import NamedTuple, TypeAlias

from ..base import changes
from ..base.structs import struct
from ..errors import OptionError
from ..optim.optimizer import Optimizer
from ..tensor.tensor import Tensor
from .step_sums import Place

Flags: TypeAlias = "tuple[tuple[str, int], ...]"


class Member(NamedTuple):
    """A parameter of a group.

    Attributes
    ----------
    of
        Its ``id``. A graph keeps its parameters alive, so that no other object gets that id.
    trains
        Whether it requires a gradient.
    cohort
        A number shared by the parameters that have had equally many updates; None for one that is not updated.
    """

    of: int
    trains: bool
    cohort: int | None


@struct(frozen=True)
class Form:
    """What determines the operations of a step; each form has a graph of its own.

    Attributes
    ----------
    rule
        The class of the optimizer.
    flags
        The boolean options of each parameter group.
    members
        The parameters of each group.
    clips
        Whether gradients are clipped by value, and by norm.
    share
        The number of calls whose gradients are accumulated for one update.
    gathered
        The parameters that have gradients from earlier calls.
    updates
        Whether parameters are updated.
    finite
        Whether a loss or a gradient that is not finite is an error.
    place
        The rank within a group; None without a group.
    also
        Parameters on which the loss of another rank depends, but not that of this one.
    averages
        The tensors that hold averages of weights, and those that are averaged.
    """

    rule: type[Optimizer]
    flags: tuple[Flags, ...]
    members: tuple[tuple[Member, ...], ...]
    clips: tuple[bool, bool]
    share: int = 1
    gathered: frozenset[int] = frozenset()
    updates: bool = True
    finite: bool = False
    place: Place | None = None
    also: frozenset[int] = frozenset()
    averages: tuple[int, ...] = ()

    @property
    def described(self) -> tuple[object, ...]:
        """The form without the identities of parameters: this must be equal in all ranks of a group."""
        members = [[(member.trains, member.cohort) for member in group] for group in self.members]
        clips, averages = self.clips, len(self.averages)
        return self.rule.__name__, self.flags, members, clips, self.share, self.updates, self.finite, averages


class Snapshot:
    """The parameters and state tensors that an optimizer held at some time."""

    def __init__(self, optimizer: Optimizer) -> None:
        groups, state = [group["params"] for group in optimizer.param_groups], optimizer.state
        slots = chain.from_iterable(map(methodcaller("values"), state.values()))
        self._held: list[Tensor] = [*chain.from_iterable(groups), *state, *slots]
        self._sizes = list(map(len, groups))

    def same(self, other: Snapshot | None) -> bool:
        """Whether both hold the same objects."""
        if other is None or self._sizes != other._sizes or len(self._held) != len(other._held):
            return False
        return all(map(is_, self._held, other._held))


class Members:
    """The members of the present form, recomputed only after changes that the step itself did not make.

    Attributes
    ----------
    seen
        What the optimizer held when they were last asked for.
    """

    def __init__(self) -> None:
        self.seen: Snapshot | None = None
        self._when: tuple[object, ...] = ()
        self._found: tuple[tuple[Member, ...], ...] = ()

    def present(self, optimizer: Optimizer, gathered: frozenset[int]) -> tuple[tuple[Member, ...], ...]:
        """The members, if the parameters ``gathered`` have gradients from earlier calls."""
        now, when = Snapshot(optimizer), _when(gathered)
        if when != self._when or not now.same(self.seen):
            self._found = tuple(_members(optimizer, group["params"], gathered) for group in optimizer.param_groups)
            self.seen, self._when = now, when
        return self._found

    def are_seen(self, optimizer: Optimizer) -> bool:
        """Whether they are unchanged, if no parameter has gradients from earlier calls."""
        return _when(frozenset()) == self._when and Snapshot(optimizer).same(self.seen)

    def stepped(self, gathered: frozenset[int]) -> None:
        """Note that only a step has changed anything since."""
        self._when = _when(gathered)


def _when(gathered: frozenset[int]) -> tuple[object, ...]:
    return changes.of_models.now, changes.of_contents.now, gathered


def _members(optimizer: Optimizer, params: Sequence[Tensor], gathered: frozenset[int]) -> tuple[Member, ...]:
    numbers: dict[tuple[float, ...], int] = {}
    fresh = (0.0, *(-1.0 for _ in optimizer.carried))
    found = []
    for p in params:
        if p.has_hooks:
            raise OptionError(
                f"compile_step: a parameter of type {p.type} has hooks of its gradient, which a compiled step does not "
                f"call; remove them by their handles, or train by a loop of eager calls"
            )
        state = optimizer.state.get(p)
        counts = tuple(state[name].item() for name in ("step", *optimizer.carried) if name in state) if state else fresh
        cohort = numbers.setdefault(counts, len(numbers)) if p.requires_grad or id(p) in gathered else None
        found.append(Member(id(p), p.requires_grad, cohort))
    return tuple(found)
