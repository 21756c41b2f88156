"""Keys of dictionaries."""

from __future__ import annotations

from collections.abc import Hashable


class Key:
    """A tuple whose hash is computed once: keys hold the keys of what they are made of."""

    __slots__ = ("hash", "value")

    def __init__(self, value: tuple[Hashable, ...]) -> None:
        self.value, self.hash = value, hash(value)

    def __hash__(self) -> int:
        return self.hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Key) and self.hash == other.hash and self.value == other.value)
