"""Methods that are loaded when they are first used, so that rarely used ones cost nothing otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from ..base.lazy import LazyModule

G = TypeVar("G")


class _LazyMethod:
    """A placeholder in a class, replaced by the function of its name when that is first used."""

    def __init__(self, home: LazyModule) -> None:
        self._home = home

    def __set_name__(self, owner: type, name: str) -> None:
        self._owner, self._name = owner, name

    def __get__(self, instance: object, owner: type | None = None) -> object:
        setattr(self._owner, self._name, getattr(self._home, self._name))
        return getattr(owner if instance is None else instance, self._name)


def lazy_method(home: LazyModule) -> Callable[..., G]:
    """A method that is loaded from the module ``home``, under the name to which this is assigned."""
    return cast("Callable[..., G]", _LazyMethod(home))
