"""Matrix products, from their sums."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...graph.ops import linalg
from .elementwise import wide
from .evaluator import Array, reference


@reference(linalg.MATMUL)
def matmul(attrs: Any, a: Array, b: Array) -> Array:
    return np.sum(wide(a)[..., :, :, None] * wide(b)[..., None, :, :], axis=-2)
