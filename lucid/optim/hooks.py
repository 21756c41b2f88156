"""Hooks that an optimiser calls before and after a step, and before and after saving or loading a state."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeAlias

from ..base import changes, checks
from ..base.hooks import Handle
from ..errors import OptionError

Hook: TypeAlias = "Callable[..., object]"


class Hooked:
    """The methods that register hooks, as in PyTorch; copies of an optimiser have no hooks."""

    def __init__(self) -> None:
        self._hooks: dict[str, dict[int, Hook]] = {}
        self._within: set[str] = set()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name, wrap in (("step", _step), ("state_dict", _state_dict), ("load_state_dict", _load_state_dict)):
            if name in vars(cls):
                setattr(cls, name, wrap(vars(cls)[name]))

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_hooks": {}, "_within": set()}

    @contextmanager
    def _once(self, method: str) -> Iterator[bool]:
        """Whether to call hooks now: not within a call of the same method of a base class."""
        if method in self._within:
            yield False
            return
        self._within.add(method)
        try:
            yield bool(self._hooks)
        finally:
            self._within.discard(method)

    @property
    def has_step_hooks(self) -> bool:
        """Whether there are hooks before or after a step."""
        return bool(self._hooks.get("before a step") or self._hooks.get("after a step"))

    def _register(self, when: str, hook: Hook, prepend: bool = False) -> Handle:
        checks.function(type(self).__name__, f"a hook {when}", hook)
        held = self._hooks.setdefault(when, {})
        others = dict(held)
        key = changes.of_models.note()
        held[key] = hook
        if checks.flag(type(self).__name__, "prepend", prepend):
            for other, value in others.items():
                del held[other]
                held[other] = value
        return Handle(held, key)

    def _at(self, when: str) -> list[Hook]:
        return list(self._hooks.get(when, {}).values())

    def _passed(self, when: str, state: object) -> object:
        """The state after the hooks, each of which may replace it."""
        for hook in self._at(when):
            found = hook(self, state)
            state = state if found is None else found
        return state

    def register_step_pre_hook(self, hook: Hook) -> Handle:
        """Call ``hook(optimizer, args, kwargs)`` before each step; if it returns (args, kwargs), these replace them."""
        return self._register("before a step", hook)

    def register_step_post_hook(self, hook: Hook) -> Handle:
        """Call ``hook(optimizer, args, kwargs)`` after each step."""
        return self._register("after a step", hook)

    def register_state_dict_pre_hook(self, hook: Hook, prepend: bool = False) -> Handle:
        """Call ``hook(optimizer)`` before each ``state_dict()``."""
        return self._register("before a state is given", hook, prepend)

    def register_state_dict_post_hook(self, hook: Hook, prepend: bool = False) -> Handle:
        """Call ``hook(optimizer, state_dict)`` with each state; a result other than None replaces it."""
        return self._register("after a state is given", hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Hook, prepend: bool = False) -> Handle:
        """Call ``hook(optimizer, state_dict)`` before a state is loaded; a result other than None replaces it."""
        return self._register("before a state is taken", hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Hook, prepend: bool = False) -> Handle:
        """Call ``hook(optimizer)`` after a state was loaded."""
        return self._register("after a state was taken", hook, prepend)


def _step(method: Hook) -> Hook:
    @functools.wraps(method)
    def step(self: Hooked, *args: object, **kwargs: object) -> object:
        with self._once("step") as first:
            if not first:
                return method(self, *args, **kwargs)
            given: tuple[object, ...] = (self, *args)
            options: Mapping[str, object] = kwargs
            for hook in self._at("before a step"):
                found = hook(self, given, options)
                if found is None:
                    continue
                if not isinstance(found, tuple) or len(found) != 2:
                    raise OptionError(f"{type(self).__name__}: a hook before a step returns None or (args, kwargs)")
                given, options = found
            result = method(*given, **options)
            for hook in self._at("after a step"):
                hook(self, given, options)
            return result

    return step


def _state_dict(method: Hook) -> Hook:
    @functools.wraps(method)
    def state_dict(self: Hooked) -> object:
        with self._once("state_dict") as first:
            if not first:
                return method(self)
            for hook in self._at("before a state is given"):
                hook(self)
            return self._passed("after a state is given", method(self))

    return state_dict


def _load_state_dict(method: Hook) -> Hook:
    @functools.wraps(method)
    def load_state_dict(self: Hooked, state_dict: object) -> None:
        with self._once("load_state_dict") as first:
            if not first:
                method(self, state_dict)
                return
            method(self, self._passed("before a state is taken", state_dict))
            for hook in self._at("after a state was taken"):
                hook(self)

    return load_state_dict
