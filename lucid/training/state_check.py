"""Checks that a state from a file fits the object that is to load it: names, kinds, sizes and settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from ..base import checks
from ..base.checks import shown
from ..errors import FileError
from ..nn.module import Module
from ..optim.lr_scheduler import ChainedScheduler, SequentialLR
from ..optim.optimizer import Optimizer
from ..optim.plateau import ReduceLROnPlateau
from ..optim.schedule import LRScheduler

KIND = "kind"
"""The key under which the state of an optimizer or a schedule has the name of its class."""

_KINDS = (Optimizer, LRScheduler, ReduceLROnPlateau, ChainedScheduler)


class Stateful(Protocol):
    """An object with a state that can be saved: a module, an optimizer, a schedule, a loader, or a user's object."""

    def state_dict(self) -> object:
        """The state."""

    def load_state_dict(self, state_dict: dict[str, object], /) -> object:
        """Restore a state."""


def as_state(what: str, state: object) -> dict[str, object]:
    """A dict with string keys."""
    if not isinstance(state, Mapping) or not all(isinstance(key, str) for key in state):
        raise FileError(f"{what} is no dict of names, but {shown(state)}")
    return dict(state)


def state_of(part: Stateful) -> object:
    """The state of an object; with its class for an optimizer or a schedule, as others may have the same options."""
    state = part.state_dict()
    return {**state, KIND: type(part).__name__} if isinstance(part, _KINDS) and isinstance(state, Mapping) else state


def checked(what: str, part: object, state: object) -> dict[str, object]:
    """The state, if it fits the object; users' objects check theirs themselves."""
    found = as_state(what, state)
    if isinstance(part, _KINDS):
        own, kind = type(part).__name__, found.pop(KIND, None)
        if kind != own:
            raise FileError(f"{what}: it is of {shown(kind)}, here is {own!r}: make it as it was, or leave it out")
    if isinstance(part, Module):
        _check_module(what, part, found)
    elif isinstance(part, Optimizer):
        _check_optimizer(what, part, found)
    elif isinstance(part, LRScheduler | ReduceLROnPlateau | ChainedScheduler):
        return _schedule(what, part, found)
    return found


def _check_module(what: str, module: Module, found: Mapping[str, object]) -> None:
    own = module.state_dict()
    missing, unknown = sorted(own.keys() - found.keys()), sorted(found.keys() - own.keys())
    if missing or unknown:
        raise FileError(f"{what}: the file lacks {shown(missing)} and has {shown(unknown)}: it is of another model")
    for name, tensor in own.items():
        value = found[name]
        if not isinstance(value, np.ndarray) or (value.shape, value.dtype) != (tensor.shape, tensor.dtype):
            raise FileError(f"{what}: {name} is {tensor.type}, the file has {_kind(value)}")


def _kind(value: object) -> str:
    return f"{value.dtype}{list(value.shape)}" if isinstance(value, np.ndarray) else shown(value)


def _check_optimizer(what: str, optimizer: Optimizer, found: Mapping[str, object]) -> None:
    own, groups, state = optimizer.state_dict(), found.get("param_groups"), found.get("state")
    if set(found) != {"param_groups", "state"} or not isinstance(groups, list) or not isinstance(state, dict):
        raise FileError(f"{what}: it is no state of an optimiser")
    numbers = [group["params"] for group in own["param_groups"]]
    if [group.get("params") if isinstance(group, dict) else None for group in groups] != numbers:
        raise FileError(f"{what}: it is of other groups of parameters")
    for group, mine in zip(groups, own["param_groups"], strict=True):
        others = group.keys() - optimizer.defaults.keys() - {"params"}  # those that schedules have added
        if not optimizer.defaults.keys() <= group.keys() or others - mine.keys() - {"initial_lr", "name"}:
            raise FileError(f"{what}: a group has the options {shown(sorted(group))}: it is of another optimiser")
        for name in others - {"name"}:
            checks.number(what, name, group[name])
    for slots in (
        () if optimizer.evaluates else state.values()
    ):  # otherwise it is not a state of updates, and is checked when it is loaded
        if not isinstance(slots, dict) or not all(isinstance(slot, np.ndarray) for slot in slots.values()):
            raise FileError(f"{what}: the state of a parameter is no dict of arrays")
        steps = slots.get("step")
        if steps is None or steps.shape or not (0 <= steps < checks.LARGEST and steps % 1 == 0):
            raise FileError(f"{what}: the number of steps is {_kind(steps)}")


def _schedule(
    what: str, schedule: LRScheduler | ReduceLROnPlateau | ChainedScheduler, found: Mapping[str, object]
) -> dict[str, object]:
    """The state, if it is of a schedule with the same settings."""
    own = schedule.state_dict()
    if set(own) != set(found):
        raise FileError(f"{what}: it has {shown(sorted(found))}: it is of another schedule")
    state = dict(found)
    for name, value in found.items():
        if name == "schedulers" and isinstance(schedule, SequentialLR | ChainedScheduler):
            several = value if isinstance(value, list) else []
            if len(several) != len(schedule.schedulers):
                raise FileError(f"{what}: it is of another number of schedules")
            inner = zip(schedule.schedulers, several, strict=True)
            state[name] = [_schedule(what, one, as_state(what, its)) for one, its in inner]
        elif name in getattr(schedule, "settings", ()):
            if value != own[name]:
                raise FileError(
                    f"{what}: {name} is {shown(own[name])} here and {shown(value)} in the file: "
                    f"make the schedule as it was, or leave it out"
                )
            state[name] = own[name]
        elif not _alike(own[name], value):
            raise FileError(f"{what}: {name} is {shown(value)}, which it cannot be")
    return state


def _alike(own: object, found: object) -> bool:
    """Whether two values are of the same kind: both numbers, or lists of equally many numbers."""
    if own is None or isinstance(own, dict) or not isinstance(own, bool | int | float | list | tuple):
        return True
    if isinstance(own, bool) or isinstance(found, bool):
        return type(own) is type(found)
    if isinstance(own, int):
        return isinstance(found, int) and min(own, -1) <= found <= checks.LARGEST
    if isinstance(own, float):
        return isinstance(found, int | float)
    if type(own) is not type(found) or not isinstance(found, list | tuple) or len(own) != len(found):
        return False
    return all(_alike(a, b) for a, b in zip(own, found, strict=True))
