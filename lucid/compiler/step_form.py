"""What decides which operations a compiled training step consists of, and whether that is as it was."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from operator import is_, methodcaller
from typing import NamedTuple, TypeAlias

from ..base import changes
from ..base.structs import struct
from ..optim.optimizer import Optimizer
from ..tensor.tensor import Tensor
from .step_sums import Place

Flags: TypeAlias = "tuple[tuple[str, bool], ...]"


class Member(NamedTuple):
    """A parameter of a group.

    Attributes
    ----------
    of
        Which: its ``id``. What a graph was made for is kept with it, so that no other gets that.
    trains
        Whether it requires a gradient.
    cohort
        A number that is the same for those whose updates have gone alike so far; None for one that is not updated.
    """

    of: int
    trains: bool
    cohort: int | None


@struct(frozen=True)
class Form:
    """What decides which operations a step consists of; of two forms there are two graphs.

    Attributes
    ----------
    rule
        The class of the optimizer.
    flags
        The choices of each parameter group.
    members
        The parameters of each group.
    clips
        Whether gradients are clipped by value, and by norm.
    share
        Of how many calls the gradients are added up for one update.
    gathered
        Which parameters have gradients of earlier calls, to be added to.
    updates
        Whether parameters are updated.
    finite
        Whether a loss or a gradient that is not finite is an error.
    place
        Which rank of a group it is for; None where there is no group.
    also
        Parameters on which the loss of this rank does not depend, but that of another.
    averages
        The tensors that averages of weights are made in and of.
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
        """What it says of the step, but for which parameters those are: the same in all ranks of a group."""
        members = [[(member.trains, member.cohort) for member in group] for group in self.members]
        clips, averages = self.clips, len(self.averages)
        return self.rule.__name__, self.flags, members, clips, self.share, self.updates, self.finite, averages


class Look:
    """What an optimizer was seen to hold: its parameters and the tensors of its state, one after another."""

    def __init__(self, optimizer: Optimizer) -> None:
        groups, state = [group["params"] for group in optimizer.param_groups], optimizer.state
        slots = chain.from_iterable(map(methodcaller("values"), state.values()))
        self._held: list[Tensor] = [*chain.from_iterable(groups), *state, *slots]
        self._sizes = list(map(len, groups))

    def same(self, other: Look | None) -> bool:
        """Whether nothing has been put in the place of anything since."""
        if other is None or self._sizes != other._sizes or len(self._held) != len(other._held):
            return False
        return all(map(is_, self._held, other._held))


class Members:
    """The members of the present form; looked at again only where something has changed but by the step itself.

    Attributes
    ----------
    seen
        What the optimizer held when they were asked for last.
    """

    def __init__(self) -> None:
        self.seen: Look | None = None
        self._when: tuple[object, ...] = ()
        self._found: tuple[tuple[Member, ...], ...] = ()

    def present(self, optimizer: Optimizer, gathered: frozenset[int]) -> tuple[tuple[Member, ...], ...]:
        """What they are, where these parameters have gradients of earlier calls."""
        now, when = Look(optimizer), _when(gathered)
        if when != self._when or not now.same(self.seen):
            self._found = tuple(_members(optimizer, group["params"], gathered) for group in optimizer.param_groups)
            self.seen, self._when = now, when
        return self._found

    def are_seen(self, optimizer: Optimizer) -> bool:
        """Whether they would be found the same, where no parameter has gradients of earlier calls."""
        return _when(frozenset()) == self._when and Look(optimizer).same(self.seen)

    def stepped(self, gathered: frozenset[int]) -> None:
        """Nothing has changed since but by a step."""
        self._when = _when(gathered)


def _when(gathered: frozenset[int]) -> tuple[object, ...]:
    return changes.of_models.now, changes.of_contents.now, gathered


def _members(optimizer: Optimizer, params: Sequence[Tensor], gathered: frozenset[int]) -> tuple[Member, ...]:
    numbers: dict[tuple[float, ...], int] = {}
    fresh = (0.0, *(-1.0 for _ in optimizer.carried))
    found = []
    for p in params:
        state = optimizer.state.get(p)
        counts = tuple(state[name].item() for name in ("step", *optimizer.carried) if name in state) if state else fresh
        cohort = numbers.setdefault(counts, len(numbers)) if p.requires_grad or id(p) in gathered else None
        found.append(Member(id(p), p.requires_grad, cohort))
    return tuple(found)
