"""Decision trees: the leaf of each tree that a row of numbers reaches."""

from __future__ import annotations

from ...errors import DTypeError, OptionError, ShapeError
from ..batching import merge_first_batch
from ..dims import Dim
from ..opdef import NO_GRADIENT, AbstractTensor, Attrs, OpDef, apply, attributes, register
from ..types import TensorType, int64, is_float


@attributes
class TreeAttrs(Attrs):
    """``depth`` is how many nodes a row passes at most before it is at a leaf."""

    depth: int


def _infer(
    attrs: TreeAttrs, x: TensorType, roots: TensorType, feature: TensorType, threshold: TensorType,
    children: TensorType, missing: TensorType,
) -> TensorType:  # fmt: skip
    if x.rank != 2 or not is_float(x.dtype) or threshold.dtype != x.dtype:
        raise ShapeError(f"TreeLeaves: needs a matrix of floats and thresholds of its type, got {x} and {threshold}")
    nodes: Dim = threshold.shape[0] if threshold.rank == 1 else -1
    if roots.rank != 1 or feature.shape != (nodes,) or children.shape != (nodes, 2) or missing.shape != (nodes,):
        raise ShapeError(f"TreeLeaves: {feature}, {threshold}, {children} and {missing} are not of the same nodes")
    if any(one.dtype.kind != "i" for one in (roots, feature, children)) or missing.dtype.kind != "b":
        raise DTypeError(f"TreeLeaves: needs integers and bools, got {roots}, {feature}, {children} and {missing}")
    if attrs.depth < 0:
        raise OptionError(f"TreeLeaves: the depth is at least 0, got {attrs.depth}")
    return TensorType((x.shape[0], roots.shape[0]), int64)


#: From a root on to the first child where ``x[feature] <= threshold``, else to the second, as far as ``depth`` goes. Of
#: a NaN ``missing`` says whether it goes to the first. A child less than 0 is a leaf: -1 is leaf 0, -2 is leaf 1. So
#: is a root.
TREE_LEAVES = register(
    OpDef(
        "TreeLeaves", _infer, NO_GRADIENT, attrs=TreeAttrs,
        inputs=("x", "roots", "feature", "threshold", "children", "missing"), batch=merge_first_batch,
        family="other",
    )
)  # fmt: skip


def tree_leaves(depth: int, x: AbstractTensor, *tables: AbstractTensor) -> AbstractTensor:
    """The number of the leaf (row, tree); the tables are roots, features, thresholds, children and missing."""
    return apply(TREE_LEAVES, TreeAttrs(depth), x, *tables)
