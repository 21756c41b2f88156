"""A compiled model as an HTML page: what it is, how it runs, where time and memory go."""

from __future__ import annotations

from .subject import Subject
from .write import write_report

__all__ = ["Subject", "write_report"]
