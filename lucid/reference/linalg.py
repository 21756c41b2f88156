"""Matrix products, from their sums."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..base.arrays import Array
from ..graph.opdef import Attrs
from ..graph.ops import einsum, linalg
from ..graph.ops.einsum import EinsumAttrs
from .elementwise import wide
from .evaluator import reference


@reference(linalg.MATMUL)
def matmul(attrs: Attrs, a: Array, b: Array) -> Array:
    return np.asarray(np.sum(wide(a)[..., :, :, None] * wide(b)[..., None, :, :], axis=-2))


@reference(linalg.LINEAR)
def linear(attrs: Attrs, x: Array, weight: Array, bias: Array | None = None) -> Array:
    y = np.sum(wide(x)[..., None, :] * wide(weight), axis=-1)
    return np.asarray(y if bias is None else y + wide(bias))


@reference(einsum.EINSUM)
def einsum_(attrs: EinsumAttrs, *operands: Array) -> Array:
    """For each combination of indices (those of the result first), multiply the operands; sum over the others."""
    sizes: Any = einsum.label_sizes(attrs, *(x.shape for x in operands))
    labels = list(dict.fromkeys([*attrs.result, *sizes]))
    grid = dict(zip(labels, np.indices([sizes[label] for label in labels], sparse=True), strict=True))
    product = np.ones([sizes[label] for label in labels], wide(operands[0]).dtype)
    for term, x in zip(attrs.operands, operands, strict=True):
        product = product * wide(x)[tuple(grid[label] for label in term)]
    return np.asarray(product.sum(axis=tuple(range(len(attrs.result), len(labels)))))
