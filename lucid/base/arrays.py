"""The array types for the type checker, and read-only arrays."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = "np.ndarray[Any, Any]"
"""An array of any shape and element type."""


def read_only(array: Array) -> Array:
    """A read-only view of an array."""
    view: Array = array.view()
    view.flags.writeable = False
    return view
