"""Methods that are looked up when they are first asked for, so that what few call costs nobody time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from ..base.lazy import LazyModule

G = TypeVar("G")


class _Late:
    """Takes its place in a class until it is first asked for; then the function of its name takes it."""

    def __init__(self, home: LazyModule) -> None:
        self._home = home

    def __set_name__(self, owner: type, name: str) -> None:
        self._owner, self._name = owner, name

    def __get__(self, instance: object, owner: type | None = None) -> object:
        setattr(self._owner, self._name, getattr(self._home, self._name))
        return getattr(owner if instance is None else instance, self._name)


def late(home: LazyModule) -> Callable[..., G]:
    """The method that the module ``home`` has under the name that this is assigned to; the module is read then."""
    return cast("Callable[..., G]", _Late(home))
