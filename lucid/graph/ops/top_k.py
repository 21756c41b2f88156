"""The largest or smallest elements along an axis, sorted."""

from __future__ import annotations

from ...errors import OptionError, ShapeError
from ..batching import prepend_axis
from ..dims import Dim
from ..opdef import AbstractTensor, GradContext, Gradients, OpDef, apply, apply_all, attributes, register
from ..types import TensorType, int64
from .indexing import SCATTER_ELEMENTS, ScatterAttrs
from .shape import AxisAttrs, normal_axis


@attributes
class TopKAttrs(AxisAttrs):
    """The ``k`` largest along ``axis``, or the smallest."""

    k: Dim
    largest: bool = True


def _infer(attrs: TopKAttrs, x: TensorType) -> tuple[TensorType, TensorType]:
    if not 0 <= attrs.axis < x.rank:
        raise ShapeError(f"TopK: axis {attrs.axis} does not fit {x}")
    size = x.shape[attrs.axis]
    if isinstance(attrs.k, int) and (attrs.k < 0 or (isinstance(size, int) and attrs.k > size)):
        raise OptionError(f"TopK: there are no {attrs.k} elements along axis {attrs.axis} of {x}")
    shape = (*x.shape[: attrs.axis], attrs.k, *x.shape[attrs.axis + 1 :])
    return x.with_shape(shape), TensorType(shape, int64)


def _gradient(c: GradContext[TopKAttrs]) -> Gradients:
    return [apply(SCATTER_ELEMENTS, ScatterAttrs(c.attrs.axis, c.inputs[0].type.shape), c.dy, c.outputs[1])]


#: In order from the largest (or smallest) on; of equal ones the first comes first. NaN is larger than all.
TOP_K = register(
    OpDef("TopK", _infer, _gradient, attrs=TopKAttrs, outputs=("values", "indices"), batch=prepend_axis,
        family="reduce")
)  # fmt: skip


def top_k(x: AbstractTensor, k: Dim, dim: int = -1, largest: bool = True) -> tuple[AbstractTensor, AbstractTensor]:
    """The ``k`` largest (or smallest) elements along ``dim`` in order, and where they are."""
    axis = normal_axis("topk", dim, x.type.rank)
    values, indices = apply_all(TOP_K, TopKAttrs(axis, k, largest), x)
    return values, indices
