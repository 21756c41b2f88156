"""Hooks: functions that a module or a tensor calls, each until it is taken away."""

from __future__ import annotations

from collections.abc import Callable

from . import changes, checks


class Handle:
    """Returned when a hook is registered; ``remove()`` takes the hook away."""

    def __init__(self, hooks: dict[int, Callable[..., object]], key: int) -> None:
        self._hooks, self._key = hooks, key

    def remove(self) -> None:
        """Take the hook away."""
        self._hooks.pop(self._key, None)
        changes.of_models.note()


def register_hook(
    hooks: dict[int, Callable[..., object]], hook: Callable[..., object], name: str = "register_forward_hook"
) -> Handle:
    """Put a hook behind the others, under a number that no other has."""
    checks.function(name, "hook", hook)
    key = changes.of_models.note()
    hooks[key] = hook
    return Handle(hooks, key)
