"""Moving the tensors that a training step updates into shared memory, so that no step copies them back and forth."""

from __future__ import annotations

from collections.abc import Iterable
from sys import getrefcount

import numpy as np

from ..base import changes
from ..runtime.workers.settings import lasting_copy
from ..tensor.tensor import Tensor


def move_to_shared_memory(tensors: Iterable[Tensor]) -> None:
    """Move all whose arrays nobody else refers to: other holders of an array would no longer see it change."""
    moved = False
    for tensor in tensors:
        if _movable(tensor):
            copy = lasting_copy(tensor._array)
            if copy is not None and _movable(tensor):
                changes.writes.move(tensor._array, copy)
                tensor._array = copy
                moved = True
    if moved:
        changes.of_contents.note()  # programs that know the old arrays look again


def _movable(tensor: Tensor) -> bool:
    """Whether nothing else refers to its array, views it or owns its memory."""
    array, alone = tensor._array, Tensor.wrap(np.empty(1))._array
    plain = array.size > 0 and array.base is None and array.flags.c_contiguous
    return plain and array.flags.writeable and getrefcount(array) == getrefcount(alone) + 1
