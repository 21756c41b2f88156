"""Which trace is active."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

active_trace: ContextVar[Any] = ContextVar("active_trace", default=None)
"""The recorder of the current trace in this thread, or None."""
