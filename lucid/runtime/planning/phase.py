"""When things are known: the parameters, the memory of a run, and what comes with a call."""

from __future__ import annotations

from enum import IntEnum


class Phase(IntEnum):
    """When an array's address is known, and what reads it can run."""

    STATE = 0
    ARENA = 1
    CALL = 2
