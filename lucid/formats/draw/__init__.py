"""Pictures of graphs: a view is built as data (:mod:`.view`), then rendered (:mod:`.dot`, :mod:`.files`)."""

from __future__ import annotations

from .files import draw, draw_changes, draw_training, notebook, picture, render, to_dot

__all__ = ["draw", "draw_changes", "draw_training", "notebook", "picture", "render", "to_dot"]
