"""Keys for random ops. A key determines a draw; keys come one after another from a single seeded counter."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..base.locks import forkable

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_DRAWS = 8  # numbers of 32 bits that one step of Philox makes


def _mix(z: int) -> int:
    """A bijection of 64-bit numbers that scatters neighbours (the finaliser of SplitMix64, Steele et al., 2014)."""
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & _MASK
    return z ^ (z >> 31)


class Keys:
    """A reproducible sequence of keys that many threads may draw from.

    Parameters
    ----------
    seed
        Any int; equal seeds give equal sequences.
    """

    def __init__(self, seed: int) -> None:
        self._lock = forkable()
        self.seed(seed)

    def seed(self, seed: int) -> None:
        """Start over with this seed."""
        start = _mix(seed & _MASK)
        with self._lock:
            self._state = start

    @property
    def state(self) -> int:
        """The complete state: equal states give equal sequences of keys."""
        return self._state

    @state.setter
    def state(self, state: int) -> None:
        with self._lock:
            self._state = state & _MASK

    def __getstate__(self) -> int:
        return self._state

    def __setstate__(self, state: int) -> None:
        self._lock, self._state = forkable(), state

    def next(self) -> int:
        """The next key."""
        with self._lock:
            self._state = (self._state + _GOLDEN) & _MASK
            state = self._state
        return _mix(state)


_keys = Keys(int.from_bytes(os.urandom(8), "little"))


_aside = threading.local()  # has ``keys`` in a thread that draws from a sequence of its own


def current_keys() -> Keys:
    """The sequence from which this thread draws: that of the process, unless the thread has its own."""
    found: Keys = getattr(_aside, "keys", _keys)
    return found


def next_key() -> np.uint64:
    """The next key of this process."""
    return np.uint64(getattr(_aside, "keys", _keys).next())


def derived_key(key: int, *numbers: int) -> int:
    """A key determined by another and by numbers, such as that of a batch by that of its epoch."""
    for number in numbers:
        key = _mix((key ^ _mix(number + 1)) & _MASK)
    return key


@contextmanager
def keys_from(keys: Keys) -> Iterator[None]:
    """While inside, this thread draws from ``keys``, which leaves the sequence of the process unchanged."""
    before = getattr(_aside, "keys", None)
    _aside.keys = keys
    try:
        yield
    finally:
        if before is None:
            del _aside.keys
        else:
            _aside.keys = before


def generator(key: Any, skipped: int = 0) -> np.random.Generator:
    """The random numbers of a key (Philox, Salmon et al., 2011); it skips the first float32 draws."""
    bits = np.random.Philox(key=int(key))
    if skipped:
        bits.advance(skipped // _DRAWS)
    found = np.random.Generator(bits)
    if skipped % _DRAWS:
        found.random(skipped % _DRAWS, np.float32)
    return found
