"""Passes: functions from graph to graph, and the order in which they run.

>>> import lucid
>>> def mine(graph):
...     return graph
>>> lucid.passes.default().insert_after("fold_batch_norm", mine).names[2:4]
('fold_batch_norm', 'mine')
"""

from ..absent import face
from .editing import Pipeline as Pipeline
from .editing import default as default
from .pipeline import Pass as Pass
from .pipeline import run_passes as run_passes
from .rewrite import Site as Site
from .rewrite import rebuild as rebuild

__getattr__, __dir__ = face(globals(), {})
