"""Algebraic identities that hold bit for bit, also for NaN, infinities and the sign of zero.

So ``x + 0`` stays (it turns -0.0 into 0.0) while ``x - 0`` and ``x + -0.0`` are removed, and ``x * 0`` stays. The one
exception is ``x ** 2``, which becomes ``x * x``: that is correctly rounded, which a power function need not be.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from ..base.structs import struct
from ..graph.dims import SymDim
from ..graph.ir import Graph
from ..graph.opdef import OpDef, apply
from ..graph.ops import control, random, reduce, shape, slices, source
from ..graph.ops import elementwise as ew
from ..graph.ops.source import full
from ..graph.region import inline
from ..graph.trace import Symbol
from ..graph.types import DType, TensorType
from .rewrite import Site, View, fixed_point, rebuild

Identity = Callable[[Site], "Symbol | Sequence[Symbol] | None"]


@struct(frozen=True)
class SimplifyOptions:
    """``inference``: nothing will be differentiated, so nodes that differ from an operand in the gradient only go."""

    inference: bool = False


USUAL: Final = SimplifyOptions()


def simplify(graph: Graph, options: SimplifyOptions = USUAL) -> Graph:
    """Apply the identities until none applies."""

    def changes(op: OpDef) -> bool:
        return (
            (options.inference and op.gradient_only)
            or op.idempotent
            or op in _IDENTITIES
            or (op.elementwise and op.pure)
        )

    def rule(site: Site) -> Symbol | Sequence[Symbol] | None:
        if options.inference and site.op.gradient_only:
            return site.inputs[: len(site.node.outputs)]
        for identity in (_idempotent,) if site.op.idempotent else _IDENTITIES.get(site.op, ()):
            found = identity(site)
            if found is not None:
                return found
        return _compute_before_expanding(site) if site.op.elementwise and site.op.pure else None

    def step(graph: Graph) -> Graph:
        return rebuild(graph, rule, "simplify", at=set(filter(changes, graph.ops)))

    return fixed_point(step, graph, label="simplify")


# ---------------------------------------------------------------- values


def fill_value(site: View, x: Symbol) -> bool | int | float | None:
    """The number that every element of ``x`` is, or None."""
    maker = site.made_by(x)
    if maker.op is source.FULL and not isinstance(maker.attrs.value, SymDim):
        return maker.attrs.value  # type: ignore[no-any-return]
    return None


def _is_zero(value: float | None, dtype: DType, *, negative: bool) -> bool:
    """Whether adding it (``negative``: -0.0) or subtracting it (0.0) changes nothing, not even the sign of zero."""
    if value is None or value != 0:
        return False
    return dtype.kind != "f" or (math.copysign(1.0, value) < 0) == negative


def _as(x: Symbol, type_: TensorType) -> Symbol:
    return x if x.type.shape == type_.shape else x.expand(*type_.shape)


# ---------------------------------------------------------------- arithmetic


def _add(site: Site) -> Symbol | None:
    a, b = site.inputs
    for x, other in ((a, b), (b, a)):
        if _is_zero(fill_value(site, other), x.type.dtype, negative=True):
            return _as(x, site.type)
    for x, other in ((a, b), (b, a)):
        maker = site.made_by(other)
        if maker.op is ew.NEG:
            return x - maker.inputs[0]
    return None


def _sub(site: Site) -> Symbol | None:
    a, b = site.inputs
    if _is_zero(fill_value(site, b), a.type.dtype, negative=False):
        return _as(a, site.type)
    maker = site.made_by(b)
    return a + maker.inputs[0] if maker.op is ew.NEG else None


def _mul(site: Site) -> Symbol | None:
    a, b = site.inputs
    for x, other in ((a, b), (b, a)):
        if fill_value(site, other) == 1:
            return _as(x, site.type)
    return None


def _div(site: Site) -> Symbol | None:
    a, b = site.inputs
    return _as(a, site.type) if fill_value(site, b) == 1 else None


def _pow(site: Site) -> Symbol | None:
    a, b = site.inputs
    exponent = fill_value(site, b)
    if exponent == 1:
        return _as(a, site.type)
    return _as(a * a, site.type) if exponent == 2 else None


def _involution(site: Site) -> Symbol | None:
    maker = site.made_by(site.inputs[0])
    return maker.inputs[0] if maker.op is site.op else None


def _idempotent(site: Site) -> Symbol | None:
    maker = site.made_by(site.inputs[0])
    return site.inputs[0] if maker.op is site.op and maker.attrs == site.attrs else None


def _same_operands(site: Site) -> Symbol | None:
    a, b = site.inputs
    return a if a.value == b.value else None


def _where(site: Site) -> Symbol | None:
    condition, a, b = site.inputs
    if a.value == b.value:
        return _as(a, site.type)
    known = fill_value(site, condition)
    return None if known is None else _as(a if known else b, site.type)


def _cast(site: Site) -> Symbol | None:
    (x,) = site.inputs
    dtype = site.attrs.dtype
    if x.type.dtype == dtype:
        return x
    value = fill_value(site, x)
    if value is not None:
        with np.errstate(all="ignore"):
            return full(x, np.asarray(value, x.type.dtype).astype(dtype).item(), dtype=dtype)
    maker = site.made_by(x)
    if maker.op is ew.CAST and maker.inputs[0].type.dtype == dtype and _lossless(dtype, x.type.dtype):
        return maker.inputs[0]
    return None


def _lossless(narrow: DType, wide: DType) -> bool:
    """Whether every number of ``narrow`` survives a cast to ``wide`` and back. (NumPy calls int64 to float64 safe.)"""
    if narrow.kind in "iu" and wide.kind == "f":
        return narrow.itemsize < wide.itemsize
    return bool(np.can_cast(narrow, wide, "safe"))


# ---------------------------------------------------------------- shape


def _moved(site: Site) -> Symbol | None:
    """Rearranging equal elements gives equal elements."""
    maker = site.made_by(site.inputs[0])
    if maker.op is source.FULL:
        return full(site.inputs[0], maker.attrs.value, site.type.shape)
    return None


def _reshape(site: Site) -> Symbol | None:
    (x,) = site.inputs
    if x.type.shape == site.attrs.shape:
        return x
    maker = site.made_by(x)
    return maker.inputs[0].reshape(site.attrs.shape) if maker.op is shape.RESHAPE else None


def _transpose(site: Site) -> Symbol | None:
    (x,), perm = site.inputs, site.attrs.perm
    if perm == tuple(range(len(perm))):
        return x
    maker = site.made_by(x)
    if maker.op is shape.TRANSPOSE:
        return maker.inputs[0].permute(tuple(maker.attrs.perm[axis] for axis in perm))
    return None


def _expand(site: Site) -> Symbol | None:
    (x,) = site.inputs
    if x.type.shape == site.attrs.shape:
        return x
    maker = site.made_by(x)
    return _as(maker.inputs[0], site.type) if maker.op is shape.EXPAND else None


def _slice(site: Site) -> Symbol | None:
    (x,), a = site.inputs, site.attrs
    whole = a.sizes == x.type.shape and not any(a.starts) and all(step == 1 for step in a.steps)
    return x if whole else None


def _concat(site: Site) -> Symbol | None:
    return site.inputs[0] if len(site.inputs) == 1 else None


def _branch(site: Site) -> Sequence[Symbol] | None:
    """Replace branches with a known condition by the one that is taken."""
    condition, *captures = site.inputs
    known = fill_value(site, condition)
    if known is None:
        return None
    return inline(site.attrs.then if known else site.attrs.otherwise, captures, condition)


def _dropout(site: Site) -> Symbol | None:
    return site.inputs[0] if site.attrs.p == 0 else None


def _reduce(site: Site) -> Symbol | None:
    """A reduction over no axes; except a floating-point sum, which starts at 0.0 and so turns -0.0 into 0.0."""
    exact = site.op is not reduce.SUM or site.type.dtype.kind != "f"
    return site.inputs[0] if exact and not site.attrs.axes else None


def _constant(site: Site) -> Symbol | None:
    """Replace an array whose elements are all the same, bit for bit, by a filled tensor."""
    value = site.attrs.value
    return full(site.symbol, value.array.flat[0].item()) if value.uniform else None


def _compute_before_expanding(site: Site) -> Symbol | None:
    """Apply an element-wise op to operands before they are expanded or filled, and expand the result."""
    inputs = site.inputs
    operands = [_small(site, x) for x in inputs]
    if all(a is b for a, b in zip(operands, inputs, strict=True)):
        return None
    return _as(apply(site.op, site.attrs, *operands), site.type)


def _small(site: Site, x: Symbol) -> Symbol:
    maker = site.made_by(x)
    if maker.op is shape.EXPAND:
        return maker.inputs[0]
    if maker.op is source.FULL and x.type.shape:
        return full(x, maker.attrs.value, ())
    return x


_IDENTITIES: dict[OpDef, tuple[Identity, ...]] = {
    ew.ADD: (_add,), ew.SUB: (_sub,), ew.MUL: (_mul,), ew.DIV: (_div,), ew.POW: (_pow,), ew.NEG: (_involution,),
    ew.NOT: (_involution,), ew.MAXIMUM: (_same_operands,), ew.MINIMUM: (_same_operands,), ew.AND: (_same_operands,),
    ew.OR: (_same_operands,), ew.WHERE: (_where,), ew.CAST: (_cast,),
    shape.RESHAPE: (_moved, _reshape), shape.TRANSPOSE: (_moved, _transpose), shape.EXPAND: (_moved, _expand),
    slices.SLICE: (_moved, _slice), shape.CONCAT: (_concat,),
    reduce.SUM: (_reduce,), reduce.MAX: (_reduce,), reduce.MIN: (_reduce,),
    random.DROPOUT: (_dropout,), control.IF: (_branch,), source.CONSTANT: (_constant,),
}  # fmt: skip
