"""Random number generators, and their state."""

from __future__ import annotations

import os

import numpy as np

from ..base import checks
from ..base.checks import shown
from ..errors import OptionError
from ..graph.drawing import keys_of as keys_of
from ..graph.rng import Keys, current_keys
from ..graph.types import DTYPES
from .tensor import Tensor

_SEED = 67280421310721
"""The seed of a new generator, as in PyTorch."""


class Generator:
    """A random number generator with a state of its own, for draws with ``generator=`` and :mod:`lucid.data`.

    Parameters
    ----------
    device
        ``"cpu"``.
    """

    def __init__(self, device: object = "cpu") -> None:
        checks.check_device("Generator", device)
        self._seed = _SEED
        self.keys = Keys(_SEED)

    def manual_seed(self, seed: int) -> Generator:
        """Start over with this seed; returns itself."""
        self._seed = seed_of("Generator.manual_seed", seed)
        self.keys.seed(self._seed)
        return self

    def seed(self) -> int:
        """Start over with a non-deterministic seed, and return it."""
        self.manual_seed(int.from_bytes(os.urandom(8), "little"))
        return self._seed

    def initial_seed(self) -> int:
        """The seed from which it started."""
        return self._seed

    def get_state(self) -> Tensor:
        """The current state, for :meth:`set_state`."""
        return _as_tensor(self.keys.state)

    def set_state(self, state: object) -> None:
        """Restore a state that :meth:`get_state` returned."""
        self.keys.state = _as_state("Generator.set_state", state)


def get_rng_state() -> Tensor:
    """The state of the process's random numbers, for :func:`set_rng_state`."""
    return _as_tensor(current_keys().state)


def set_rng_state(state: object) -> None:
    """Restore a state that :func:`get_rng_state` returned, so that the same draws follow."""
    current_keys().state = _as_state("set_rng_state", state)


def _as_tensor(state: int) -> Tensor:
    return Tensor.wrap(np.array([state], np.uint64))


def _as_state(owner: str, state: object) -> int:
    if not isinstance(state, Tensor) or state.shape != (1,) or state.dtype != DTYPES["uint64"]:
        raise OptionError(f"{owner}: a state is what get_state or get_rng_state gave, got {shown(state)}")
    return int(state.item())


def seed_of(owner: str, seed: object) -> int:
    """Check a seed, which may be any int."""
    if isinstance(seed, bool) or not hasattr(seed, "__index__"):
        raise OptionError(f"{owner}: a seed is an int, got {shown(seed)}")
    return int(seed.__index__())
