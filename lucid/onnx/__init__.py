"""ONNX files as modules: :func:`load` gives one that is trained, compiled, saved and drawn like any other.

``lucid.onnx.backend`` is what the backend interface of the ``onnx`` package asks for.
"""

from typing import TYPE_CHECKING, Any

from ..base.lazy import from_home
from .module import OnnxModel, check, load

__all__ = ["OnnxModel", "backend", "check", "load"]

_LAZY = {"backend": "backend"}

if TYPE_CHECKING:
    from . import backend
else:  # to the type checker a name that is not here is an error

    def __getattr__(name: str) -> Any:
        if name not in _LAZY:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return from_home(__name__, _LAZY, name)
