"""Phases: values known from the parameters, from the memory of a run, or only at a call."""

from __future__ import annotations

from enum import IntEnum


class Phase(IntEnum):
    """When an array's address is known, so that lines that read it can run."""

    STATE = 0
    ARENA = 1
    CALL = 2
