"""Two change counters, by which a compiled model knows with one comparison that nothing changed since its last call."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from itertools import count
from threading import RLock
from typing import Any, TypeVar
from weakref import ref

import numpy as np

from .arrays import Array

K = TypeVar("K")
V = TypeVar("V")


class Changes:
    """A count that grows with every change, from whichever thread."""

    __slots__ = ("_numbers", "now")

    def __init__(self) -> None:
        self._numbers = count(1)
        self.now = 0

    def note(self) -> int:
        """Count a change; returns the new count."""
        self.now = next(self._numbers)
        return self.now


of_models = Changes()
"""Counts when an attribute, parameter, hook or mode of a module is set: a trace may then be out of date."""

of_contents = Changes()
"""Counts when a tensor is written in place: packed weights may then be out of date."""


writing = RLock()
"""Held by a program while it overwrites parameters, and by readers that need all of them from the same step."""


_NEVER: tuple[object, int, str] = None, 0, ""


class _Writes:
    """When memory was last written in place, recorded for the array that owns it, so views and aliases share it."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[object, int, str]] = {}
        self.begun: dict[int, tuple[object, int]] = {}
        """When the content of memory last acquired a gradient history."""

    @staticmethod
    def _owner(array: Array) -> object:
        """The owner of the memory: an array, or the buffer that it was made from."""
        owner, base = array, array.base
        while base is not None:
            if isinstance(base, np.ndarray) or hasattr(type(base), "__weakref__") or type(base) is memoryview:
                owner = base
            base = getattr(base, "base", None) if not isinstance(base, memoryview) else None
        return owner

    def note(self, array: Array, where: str = "") -> int:
        """Note that the content of ``array`` has changed, at this line of the user's; returns the new count."""
        owner, now = self._owner(array), of_contents.note()
        known, key = self._known, id(owner)
        # a replaced entry takes its weak reference with it, which then never calls back. The callback is a C function,
        # so no signal handler can run within it, whose exception would be lost
        known[key] = ref(owner, partial(known.pop, key)), now, where
        return now

    def note_all(self, arrays: Iterable[Array]) -> int:
        """As :meth:`note`, for arrays that have changed together, at no line of the user's."""
        known, now = self._known, of_contents.note()
        for array in arrays:
            owner = array if array.base is None else self._owner(array)
            key = id(owner)
            held = known.get(key, _NEVER)[0]
            if not isinstance(held, ref) or held() is not owner:
                held = ref(owner, partial(known.pop, key))
            known[key] = held, now, ""
        return now

    def move(self, before: Array, after: Array) -> None:
        """Note that the content of one array has moved to another, unchanged; its record moves too."""
        held, now, where = self._known.get(id(self._owner(before)), _NEVER)
        if held is not None:
            owner = self._owner(after)
            self._known[id(owner)] = ref(owner, partial(self._known.pop, id(owner))), now, where

    def begin(self, array: Array) -> None:
        """Note that the content just written has a gradient history, of which views of the memory do not know yet."""
        owner = self._owner(array)
        key = id(owner)
        self.begun[key] = ref(owner, partial(self.begun.pop, key)), of_contents.now

    def begins(self, array: Array) -> int:
        """The count at the last :meth:`begin` for this memory; 0 if there was none."""
        return self.begun.get(id(self._owner(array)), (None, 0))[1]

    def last(self, array: Array) -> int:
        """The count when the memory of ``array`` was last written; 0 if it never was."""
        known = self._known
        if not known:
            return 0
        return known.get(id(array if array.base is None else self._owner(array)), _NEVER)[1]

    def where(self, array: Array) -> str:
        """The user's line that last wrote the memory of ``array``, in parentheses; empty if unknown."""
        line = self._known.get(id(self._owner(array)), _NEVER)[2]
        return f" ({line})" if line else ""


writes = _Writes()


class Table(dict[K, V]):
    """A dict held by a module, whose changes are counted as the model's even if they bypass the module."""

    __slots__ = ()

    def __setitem__(self, key: K, value: V) -> None:
        super().__setitem__(key, value)
        of_models.note()

    def __delitem__(self, key: K) -> None:
        super().__delitem__(key)
        of_models.note()

    def __ior__(self, other: object) -> Any:  # type: ignore[misc]
        self.update(other)
        return self

    def clear(self) -> None:
        super().clear()
        of_models.note()

    def pop(self, *args: Any) -> Any:
        found = super().pop(*args)
        of_models.note()
        return found

    def popitem(self) -> tuple[K, V]:
        found = super().popitem()
        of_models.note()
        return found

    def setdefault(self, *args: Any) -> Any:
        found = super().setdefault(*args)
        of_models.note()
        return found

    def update(self, *args: Any, **kwargs: object) -> None:
        super().update(*args, **kwargs)
        of_models.note()
