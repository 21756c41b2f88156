"""Views that are views: what a program binds once must go on showing the memory it was made of."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import ExecutionError

COPIES = (".reshape(", ".ravel(", ".flatten(", ".astype(", ".copy(", "ascontiguousarray(", "np.array(")
"""What makes a copy without a word where it cannot make a view; none of it may be bound."""


def as_view(array: Any, *shape: Any) -> Any:
    """``array.reshape(*shape)`` where that shares the array's memory.

    Raises
    ------
    ExecutionError
        Where NumPy would copy: a line that is bound once would then show what the memory held at that moment.
    """
    view = array.reshape(*shape)
    if view.size and not np.may_share_memory(view, array):
        raise ExecutionError(
            f"an array of shape {array.shape} and strides {array.strides} cannot be seen in shape {view.shape}"
        )
    return view
