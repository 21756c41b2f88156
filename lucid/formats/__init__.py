"""Graphs outside memory: text, ``.lucid`` files, pictures.

The functions behind ``graph.draw`` and ``graph.text`` are registered here, and load when they are first used.
"""

from __future__ import annotations

from ..base.lazy import LazyModule
from ..graph import ir

ir.formats.update(draw=LazyModule("lucid.formats.draw"), text=LazyModule("lucid.formats.text"))
