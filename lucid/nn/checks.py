"""Checks of constructor arguments; errors name the module and the argument."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import OptionError
from ..graph.ops.windows import Pair, pair, whole


def size(owner: object, name: str, value: Any, least: int = 1) -> int:
    """An int of at least ``least``."""
    return whole(type(owner).__name__, name, value, least)


def sizes(owner: object, name: str, value: Any, least: int = 1) -> Pair:
    """An int for both axes, or two ints."""
    return pair(type(owner).__name__, name, value, least)


def flag(owner: object, name: str, value: Any) -> bool:
    """True or False."""
    if not isinstance(value, bool | np.bool_):
        raise OptionError(f"{type(owner).__name__}: {name} is True or False, got {value!r}")
    return bool(value)


def real(owner: object, name: str, value: Any, low: float = -math.inf, high: float = math.inf) -> float:
    """A number between ``low`` and ``high``, both included."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise OptionError(f"{type(owner).__name__}: {name} is a number, got {value!r}")
    if not low <= value <= high:
        raise OptionError(f"{type(owner).__name__}: {name} must lie between {low:g} and {high:g}, got {value!r}")
    return float(value)


def choice(owner: object, name: str, value: Any, *options: str) -> str:
    """One of the options."""
    if value not in options:
        listed = ", ".join(map(repr, options))
        raise OptionError(f"{type(owner).__name__}: {name} is one of {listed}, got {value!r}")
    return str(value)


def divides(owner: object, divisor: str, by: int, **named: int) -> None:
    """``by`` must divide each of the named numbers."""
    for name, value in named.items():
        if value % by:
            raise OptionError(f"{type(owner).__name__}: {divisor} {by} does not divide {name} {value}")
