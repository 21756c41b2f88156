"""Reports: a compiled model as an HTML page that shows what it is, how it runs, and where time and memory go."""

from __future__ import annotations

from .subject import Subject
from .write import write_report

__all__ = ["Subject", "write_report"]
