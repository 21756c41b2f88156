"""A dictionary that drops its least recently used entries."""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(OrderedDict[K, V]):
    """Holds a limited number of entries, dropping the least recently used ones.

    Parameters
    ----------
    most
        The number of entries.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def use(self, key: K) -> V | None:
        """The entry, now the most recently used; None if there is none."""
        if key not in self:
            return None
        self.move_to_end(key)
        return self[key]

    def keep(self, key: K, value: V) -> list[V]:
        """Add an entry; returns the entries that were dropped."""
        self[key] = value
        self.move_to_end(key)
        return [self.popitem(last=False)[1] for _ in range(len(self) - self.most)]
