"""Passes: functions from graph to graph, and the order in which they run.

>>> import lucid
>>> def mine(graph):
...     return graph
>>> lucid.passes.default().insert_after("fold_batch_norm", mine).names[2:4]
('fold_batch_norm', 'mine')
"""

from typing import TYPE_CHECKING, Any

from ..base.absent import face
from ..base.lazy import from_home

if TYPE_CHECKING:
    from .editing import Pipeline, default
    from .pipeline import Pass, run_passes
    from .rewrite import Declined, Site, rebuild

__all__ = ["Declined", "Pass", "Pipeline", "Site", "default", "rebuild", "run_passes"]

# to compute with tensors takes autodiff alone
_LAZY = {
    "Declined": "rewrite",
    "Pass": "pipeline",
    "Pipeline": "editing",
    "Site": "rewrite",
    "default": "editing",
    "rebuild": "rewrite",
    "run_passes": "pipeline",
}

_missing, __dir__ = face(globals(), {}, _LAZY)


if not TYPE_CHECKING:  # to the type checker a name that is not here is an error

    def __getattr__(name: str) -> Any:
        return from_home(__name__, _LAZY, name) if name in _LAZY else _missing(name)
