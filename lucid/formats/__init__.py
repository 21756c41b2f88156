"""Graphs outside memory: text, ``.lucid`` files, pictures.

A graph shows itself (``graph.draw``, ``graph.text``) by what is announced here, and loads when it is first asked for.
"""

from __future__ import annotations

from ..base.lazy import LazyModule
from ..graph import ir

ir.formats.update(draw=LazyModule("lucid.formats.draw"), text=LazyModule("lucid.formats.text"))
