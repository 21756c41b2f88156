"""ONNX files as modules: :func:`load` returns one that can be trained, compiled, saved and drawn like any other.

``lucid.onnx.backend`` implements the backend interface of the ``onnx`` package.
"""

from typing import TYPE_CHECKING, Any

from ..base.absent import ONNX, face
from ..base.lazy import from_home
from .module import OnnxModel, check, load

__all__ = ["OnnxModel", "backend", "check", "export", "load"]

# who loads a model need not write one
_LAZY = {"backend": "backend", "export": "exporting"}

_missing, __dir__ = face(globals(), ONNX, _LAZY)

if TYPE_CHECKING:
    from . import backend
    from .exporting import export
else:  # to the type checker a name that is not here is an error

    def __getattr__(name: str) -> Any:
        return from_home(__name__, _LAZY, name) if name in _LAZY else _missing(name)
