"""Ops that run graphs: conditional branches.

The graphs are regions (:mod:`lucid.graph.region`), attributes of the node; everything that they capture is an operand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...errors import DTypeError, ShapeError
from ..batching import Batch, Outputs, with_batch_axis
from ..opdef import AbstractTensor, GradContext, Gradients, OpDef, apply_all, attributes, register
from ..region import Region, RegionAttrs, check_region, read_inputs, with_inputs
from ..types import TensorType, bool_
from .elementwise import where
from .shape import reshape

Function = Callable[..., Sequence[AbstractTensor]]


@attributes
class IfAttrs(RegionAttrs):
    """The region that runs if the condition holds, and that which runs otherwise; both take all captured values."""

    then: Region
    otherwise: Region

    @property
    def branches(self) -> tuple[Region, Region]:
        """Both regions."""
        return self.then, self.otherwise


def check_condition(op: str, condition: TensorType) -> None:
    """Raise unless a condition is a single bool."""
    if condition.dtype != bool_:
        raise DTypeError(f"{op}: the condition is one bool, got {condition}")
    if condition.shape != ():
        raise ShapeError(f"{op}: the condition is one bool, got {condition}")


def _if_infer(attrs: IfAttrs, condition: TensorType, *captures: TensorType) -> tuple[TensorType, ...]:
    check_condition("If", condition)
    for label, region in zip(("then", "otherwise"), attrs.branches, strict=True):
        check_region(f"If: its branch {label!r}", region, captures)
    first, second = (tuple(t.with_order(None) for t in region.graph.output_types) for region in attrs.branches)
    if first != second:
        listed = " and ".join(", ".join(map(str, types)) or "nothing" for types in (first, second))
        raise ShapeError(f"If: its branches must give the same types, and give {listed}")
    return first


def _if_gradient(c: GradContext[IfAttrs]) -> Gradients:
    """Another conditional, which recomputes the branch that was taken and computes its gradients."""
    wanted, used = c.wanted[1:], [dy is not None for dy in c.cotangents]
    branches = [c.differentiate(region, wanted, used) for region in c.attrs.branches]
    condition, *captures = c.inputs
    found = iter(choose(condition, branches, (*captures, *(dy for dy in c.cotangents if dy is not None))))
    return [None, *(next(found) if want else None for want in wanted)]


def _if_batch(batch: Batch[IfAttrs]) -> Outputs:
    """Where the condition differs from row to row, both branches are computed, and each row has its own."""
    condition, captures, differ = batch.inputs[0], batch.inputs[1:], batch.batched[1:]
    if not batch.batched[0]:
        every = [True] * len(batch.outputs)
        types = [x.type for x in captures]
        return batch.apply(
            IfAttrs(*(batch.region(branch, types, differ, every) for branch in batch.attrs.branches)), *batch.inputs
        )
    then, otherwise = (batch.run(branch, captures, differ) for branch in batch.attrs.branches)
    return [
        where(
            reshape(condition, (batch.size, *(1,) * row.rank)),
            *(with_batch_axis(x, x.type.rank > row.rank, batch.size) for x in two),
        )
        for row, *two in zip(batch.outputs, then, otherwise, strict=True)
    ]


#: The results of one of the two regions; only that one runs.
IF = register(
    OpDef(
        "If", _if_infer, _if_gradient, attrs=IfAttrs, inputs=("condition", "*captures"), outputs=None,
        batch=_if_batch, regions=True,
        family="control",
    )
)  # fmt: skip


def choose(
    condition: AbstractTensor, branches: Sequence[Region], captures: Sequence[AbstractTensor]
) -> tuple[AbstractTensor, ...]:
    """The results of the first region if the condition holds, else of the second; unused captures are dropped."""
    read = [any(both) for both in zip(*map(read_inputs, branches), strict=True)]
    then, otherwise = (
        Region(with_inputs(r.graph, [name for name, live in zip(r.graph.inputs, read, strict=True) if live]))
        for r in branches
    )
    return apply_all(
        IF, IfAttrs(then, otherwise), condition, *(x for x, live in zip(captures, read, strict=True) if live)
    )


def cond(condition: AbstractTensor, then: Function, otherwise: Function) -> Sequence[AbstractTensor]:
    """The results of ``then()`` if the condition holds, else of ``otherwise()``: sequences of tensors.

    Eagerly only that function is called; in a trace both are, and become the regions of a node.
    """
    recorded = condition.record((), then, otherwise)
    if recorded is None:
        return then() if bool(condition) else otherwise()
    regions, captures = recorded
    return choose(condition, [region for region in regions if isinstance(region, Region)], captures)
