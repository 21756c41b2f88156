"""Inspection of compiled models: where nodes come from, what they cost, and what the passes did."""

from __future__ import annotations

from .pictures import draw_passes

__all__ = ["draw_passes"]
