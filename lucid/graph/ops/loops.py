"""Loops: ``Scan`` over slices of arrays, and ``Loop`` while a condition on data holds.

Carried values keep their types from one iteration to the next. The body is a region (:mod:`lucid.graph.region`) that
takes the carried values, then those of the iteration, then the captured ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import TypeVar

import numpy as np

from ...errors import DTypeError, GradientError, GraphError, ShapeError
from ..batching import Batch, Outputs, with_batch_axis
from ..dims import Dim
from ..opdef import AbstractTensor, Attrs, GradContext, Gradients, OpDef, attributes, register
from ..region import Region, RegionAttrs, check_region, inline
from ..types import TensorType, int64, is_float
from .control import check_condition
from .elementwise import cast, where
from .shape import reshape, stack
from .source import full

Body = Callable[..., Sequence[AbstractTensor]]
StackRule = Callable[[Sequence[TensorType]], "Sequence[Along]"]
V = TypeVar("V")


@attributes
class Along(Attrs):
    """How an array is cut into slices: along an axis, from its end if ``reverse``."""

    axis: int = 0
    reverse: bool = False

    @property
    def reversed(self) -> Along:
        """The same axis in the opposite direction."""
        return replace(self, reverse=not self.reverse)

    def slice_type(self, x: TensorType) -> TensorType:
        """The type of one slice."""
        return x.with_shape((*x.shape[: self.axis], *x.shape[self.axis + 1 :]))

    def stack_type(self, y: TensorType, length: Dim) -> TensorType:
        """The type of ``length`` slices of type ``y``, stacked."""
        return y.with_shape((*y.shape[: self.axis], length, *y.shape[self.axis :]))


@attributes
class ScanAttrs(RegionAttrs):
    """A loop of ``length`` iterations with ``carried`` values, each of which sees a slice of every ``scanned`` array.

    The body takes the carried values, the slices, and the captured values. It returns the new carried values, and a
    slice of each of the ``stacked`` results.
    """

    body: Region
    length: Dim
    carried: int
    scanned: tuple[Along, ...] = ()
    stacked: tuple[Along, ...] = ()

    @property
    def handed(self) -> int:
        return self.carried + len(self.scanned)

    def operands(self, given: Sequence[V]) -> tuple[Sequence[V], Sequence[V], Sequence[V]]:
        """Split operands into those that are carried, scanned and captured."""
        first = self.carried + len(self.scanned)
        return given[: self.carried], given[self.carried : first], given[first:]

    def results(self, given: Sequence[V]) -> tuple[Sequence[V], Sequence[V], Sequence[V]]:
        """Split results into the last carried values, the stacked ones, and those carried before each iteration."""
        first = self.carried + len(self.stacked)
        return given[: self.carried], given[self.carried : first], given[first:]


def _scan_infer(attrs: ScanAttrs, *given: TensorType) -> tuple[TensorType, ...]:
    init, xs, captures = attrs.operands([t.with_order(None) for t in given])
    if attrs.carried < 0 or len(init) < attrs.carried or len(xs) < len(attrs.scanned):
        raise GraphError(
            f"Scan: carries {attrs.carried} and scans {len(attrs.scanned)} values, and is given {len(given)}"
        )
    for along, x in zip(attrs.scanned, xs, strict=True):
        if not 0 <= along.axis < x.rank:
            raise ShapeError(f"Scan: {x} has no axis {along.axis}")
        if x.shape[along.axis] != attrs.length:
            raise ShapeError(
                f"Scan: axis {along.axis} of {x} does not have a slice for each of the {attrs.length} iterations"
            )
    if isinstance(attrs.length, int) and attrs.length < 0:
        raise ShapeError(f"Scan: a loop cannot have {attrs.length} iterations")
    slices = [along.slice_type(x) for along, x in zip(attrs.scanned, xs, strict=True)]
    check_region("Scan: its body", attrs.body, [*init, *slices, *captures])
    after = [t.with_order(None) for t in attrs.body.graph.output_types]
    if len(after) != attrs.carried + len(attrs.stacked):
        raise GraphError(f"Scan: its body gives {len(after)} values for {attrs.carried} and {len(attrs.stacked)}")
    check_carried("Scan", init, after)
    for along, y in zip(attrs.stacked, after[attrs.carried :], strict=True):
        if not 0 <= along.axis <= y.rank:
            raise ShapeError(f"Scan: slices {y} are not stacked along an axis {along.axis}")
    stacked = [
        along.stack_type(y, attrs.length) for along, y in zip(attrs.stacked, after[attrs.carried :], strict=True)
    ]
    return (*init, *stacked, *(Along().stack_type(t, attrs.length) for t in init))


def check_carried(op: str, before: Sequence[TensorType], after: Sequence[TensorType]) -> None:
    """Raise if an iteration changes the type of a carried value."""
    for number, (old, new) in enumerate(zip(before, after, strict=False)):
        if not old.same_value(new):
            raise ShapeError(
                f"{op}: a carried value keeps its type, and value {number} is {old} before an iteration, {new} after it"
            )


def _scan_gradient(c: GradContext[ScanAttrs]) -> Gradients:
    """A loop in the opposite direction, which recomputes each iteration from the carried values before it.

    It carries the gradients of the carried values and the sums of those of the captured ones; gradients of scanned
    arrays are stacked along their own axes.
    """
    a = c.attrs
    init, xs, captures = a.operands(c.inputs)
    _, of_xs, of_captures = a.operands(c.wanted)
    last, stacked, kept = a.results(range(len(c.outputs)))
    floats = [is_float(x.type.dtype) for x in init]
    dys = [i for i in stacked if c.cotangents[i] is not None]
    more = [i for i in kept if c.cotangents[i] is not None]
    reverse = c.differentiate(a.body, [*floats, *of_xs, *of_captures], [*floats, *(i in dys for i in stacked)])
    sums = [x for x, want in zip(captures, of_captures, strict=True) if want]
    backwards = [along for along, want in zip(a.scanned, of_xs, strict=True) if want]
    carry = [c.cotangent(i) for i, is_one in zip(last, floats, strict=True) if is_one]

    def iterate(*values: AbstractTensor) -> Sequence[AbstractTensor]:
        d_carry, totals, state, slices, d_stacked, d_kept = _cut(
            values, len(carry), len(sums), len(init), len(xs), len(dys), len(more)
        )
        found = inline(reverse, [*state, *slices, *captures, *d_carry, *d_stacked], values[0])
        d_state, d_slices, d_captures = _cut(found, len(carry), len(backwards), len(sums))
        also = dict(zip(more, d_kept, strict=True))
        places = [i for i, is_one in zip(kept, floats, strict=True) if is_one]
        d_state = [d + also[i] if i in also else d for i, d in zip(places, d_state, strict=True)]
        return [*d_state, *(t + d for t, d in zip(totals, d_captures, strict=True)), *d_slices]

    start = [*carry, *(full(x, 0) for x in sums)]
    behind, along = Along(reverse=True), dict(zip(stacked, a.stacked, strict=True))
    over = [*(c.outputs[i] for i in kept), *xs, *(c.cotangent(i) for i in (*dys, *more))]
    axes = [
        *(behind for _ in kept),
        *(x.reversed for x in a.scanned),
        *(along[i].reversed for i in dys),
        *(behind for _ in more),
    ]
    results = scan(iterate, start, over, a.length, axes, lambda _: [one.reversed for one in backwards])
    d_init, d_captures, d_xs = (list(part) for part in _cut(results, len(carry), len(sums), len(backwards)))
    return [
        *(d_init.pop(0) if is_one else None for is_one in floats), *(d_xs.pop(0) if want else None for want in of_xs),
        *(d_captures.pop(0) if want else None for want in of_captures),
    ]  # fmt: skip


def _cut(values: Sequence[V], *counts: int) -> list[Sequence[V]]:
    """Consecutive parts of ``values`` with the given lengths."""
    ends = list(accumulate(counts))
    return [values[end - count : end] for end, count in zip(ends, counts, strict=True)]


def _scan_batch(batch: Batch[ScanAttrs]) -> Outputs:
    """The loop of all rows at once; a carried value that is batched after any iteration is so from the start."""
    a = batch.attrs
    differ, over, captured = a.operands(batch.batched)
    differ = _fixed_point(lambda known: batch.depends(a.body, [*known, *over, *captured])[: a.carried], differ)
    init = [
        with_batch_axis(x, was, batch.size) if now else x
        for x, was, now in zip(batch.inputs, batch.batched, differ, strict=False)
    ]
    scanned = [_behind(along) if one else along for along, one in zip(a.scanned, over, strict=True)]
    _, xs, captures = a.operands(batch.inputs)
    slices = [along.slice_type(x.type) for along, x in zip(scanned, xs, strict=True)]
    types = [*(x.type for x in init), *slices, *(x.type for x in captures)]
    body = batch.region(a.body, types, [*differ, *over, *captured], [*differ, *(True for _ in a.stacked)])
    attrs = replace(a, body=body, scanned=tuple(scanned), stacked=tuple(map(_behind, a.stacked)))
    last, stacked, kept = a.results(batch.apply(attrs, *init, *xs, *captures))
    swapped = [x.permute(1, 0, *range(2, x.type.rank)) if one else x for x, one in zip(kept, differ, strict=True)]
    ends = (with_batch_axis(x, one, batch.size) for x, one in zip((*last, *swapped), (*differ, *differ), strict=True))
    front = [next(ends) for _ in last]
    return [*front, *stacked, *ends]


def _behind(along: Along) -> Along:
    """The axis where the axis of a batch is in front of it."""
    return replace(along, axis=along.axis + 1)


def _fixed_point(following: Callable[[Sequence[bool]], Sequence[bool]], known: Sequence[bool]) -> Sequence[bool]:
    """The flags ``known``, and all that ``following`` sets after any number of iterations."""
    while True:
        after = [old or new for old, new in zip(known, following(known), strict=True)]
        if after == list(known):
            return after
        known = after


#: A loop over slices; the last outputs, the carried values before each iteration, are for the gradient.
SCAN = register(
    OpDef(
        "Scan", _scan_infer, _scan_gradient, attrs=ScanAttrs, inputs=("*values",), outputs=None,
        batch=_scan_batch, regions=True, family="control",
    )
)  # fmt: skip


def scan(
    body: Body, init: Sequence[AbstractTensor], xs: Sequence[AbstractTensor], length: Dim,
    scanned: Sequence[Along] = (), stacked: StackRule = lambda types: [Along()] * len(types),
) -> Sequence[AbstractTensor]:  # fmt: skip
    """Call ``body(*carried, *slices)`` for each slice; it returns the new carried values, then slices of the results.

    Arrays are sliced along axis 0, and results stacked along it, unless ``scanned`` says otherwise for each array, and
    ``stacked`` for slices of results of these types.

    Returns
    -------
    The last carried values, then the stacked results.
    """
    axes = tuple(scanned) or tuple(Along() for _ in xs)
    slices = [along.slice_type(x.type) for along, x in zip(axes, xs, strict=True)]
    (world, *_) = (*init, *xs)
    recorded = world.record([*(x.type for x in init), *slices], body)
    if recorded is None:
        assert isinstance(length, int)
        return _scanned(body, init, list(zip(axes, xs, strict=True)), length, stacked)
    (region, *_), captures = recorded
    assert isinstance(region, Region)
    results = region.graph.output_types[len(init) :]
    attrs = ScanAttrs(region, length, len(init), axes, tuple(stacked(results)))
    return world.apply(SCAN, attrs, (*init, *xs, *captures))[: len(init) + len(results)]


def _scanned(
    body: Body, carried: Sequence[AbstractTensor], xs: Sequence[tuple[Along, AbstractTensor]], length: int,
    stacked: StackRule,
) -> Sequence[AbstractTensor]:  # fmt: skip
    """The same, executed eagerly."""
    first, rows = carried, list[Sequence[AbstractTensor]]()
    for number in range(length):
        slices = [x.piece(a.axis, length - 1 - number if a.reverse else number, 1).squeeze(a.axis) for a, x in xs]
        found = body(*carried, *slices)
        carried = found[: len(first)]
        check_carried("scan", [x.type for x in first], [x.type for x in carried])
        rows.append(found[len(first) :])
    if not rows:  # without an iteration, the body still tells the types of the empty results
        slices = [full(x, 0, a.slice_type(x.type).shape) for a, x in xs]
        given = body(*carried, *slices)[len(first) :]
        axes = stacked([y.type for y in given])
        return [*carried, *(full(y, 0, a.stack_type(y.type, 0).shape) for a, y in zip(axes, given, strict=True))]
    axes = stacked([y.type for y in rows[0]])
    columns = [column[::-1] if a.reverse else column for a, column in zip(axes, zip(*rows, strict=True), strict=True)]
    return [*carried, *(stack(column, a.axis) for a, column in zip(axes, columns, strict=True))]


# ---------------------------------------------------------------- as long as data says


@attributes
class LoopAttrs(RegionAttrs):
    """The body takes the number of the iteration, the carried values and the captured ones.

    It returns whether another iteration follows, then the new carried values.
    """

    body: Region

    @property
    def carried(self) -> int:
        """How many values are carried."""
        return len(self.body.graph.outputs) - 1

    @property
    def handed(self) -> int:
        return 1 + self.carried


ITERATION_NUMBER = TensorType((), int64)


def _loop_infer(
    attrs: LoopAttrs, limit: TensorType, condition: TensorType, *given: TensorType
) -> tuple[TensorType, ...]:
    check_condition("Loop", condition)
    if limit.shape != () or limit.dtype != int64:
        raise DTypeError(f"Loop: the limit of its iterations is one {int64}, got {limit}")
    check_region("Loop: its body", attrs.body, [ITERATION_NUMBER, *given])
    following, *after = (t.with_order(None) for t in attrs.body.graph.output_types)
    check_condition("Loop", following)
    if len(given) < attrs.carried:
        raise GraphError(f"Loop: its body carries {attrs.carried} values, and {len(given)} are given")
    check_carried("Loop", given, after)
    return tuple(after)


def _loop_gradient(c: GradContext[LoopAttrs]) -> Gradients:
    raise GradientError(
        "a loop whose number of iterations depends on data has no gradient, as there is no place for the values of "
        "each iteration: use lucid.scan with as many iterations as there can be, and mask those after the end by "
        "lucid.where"
    )


def _loop_batch(batch: Batch[LoopAttrs]) -> Outputs:
    """If the condition is batched, the loop runs while that of any row holds; finished rows keep their values."""
    a, (limit, condition, *values) = batch.attrs, batch.inputs
    count, (_, _, *differ) = a.carried, batch.batched

    def following(known: Sequence[bool]) -> Sequence[bool]:
        return batch.depends(a.body, [False, *known, *differ[count:]])

    known = _fixed_point(lambda known: following(known)[1:], differ[:count])
    apart = batch.batched[0] or batch.batched[1] or following(known)[0]
    known = [apart or one for one in known]
    carried = [
        with_batch_axis(x, was, batch.size) if now else x for x, was, now in zip(values, differ, known, strict=False)
    ]
    flags, types = [False, *known, *differ[count:]], [ITERATION_NUMBER, *(x.type for x in (*carried, *values[count:]))]
    body = batch.region(a.body, types, flags, [apart, *known])
    if not apart:
        found = batch.apply(LoopAttrs(body), limit, condition, *carried, *values[count:])
    else:
        going = batch.whole(1) & (batch.whole(0) > 0)

        def iterate(number: AbstractTensor, going: AbstractTensor, *before: AbstractTensor) -> Outputs:
            more, *after = inline(body, [number, *before, *values[count:]], number)
            new = [_chosen(going, y, x) for y, x in zip(after, before, strict=True)]
            going = going & more & (number + 1 < limit)
            return [cast(going, int64).sum() > 0, going, *new]

        most = full(limit, np.iinfo(np.int64).max, ())
        _, *found = loop(iterate, most, cast(going, int64).sum() > 0, [going, *carried])
    return [with_batch_axis(y, one, batch.size) for y, one in zip(found, known, strict=True)]


def _chosen(rows: AbstractTensor, x: AbstractTensor, other: AbstractTensor) -> AbstractTensor:
    """For each row, ``x`` where ``rows`` holds and ``other`` elsewhere."""
    return where(reshape(rows, (*rows.type.shape, *(1,) * (x.type.rank - 1))), x, other)


#: Iterates while the condition holds, at most ``limit`` times; returns the last carried values.
LOOP = register(
    OpDef(
        "Loop", _loop_infer, _loop_gradient, attrs=LoopAttrs, inputs=("limit", "condition", "*values"), outputs=None,
        batch=_loop_batch, regions=True, family="control",
    )
)  # fmt: skip


def loop(
    body: Body, limit: AbstractTensor, condition: AbstractTensor, carried: Sequence[AbstractTensor]
) -> Sequence[AbstractTensor]:
    """Call ``body(number, *carried)`` while the condition holds; the last carried values.

    ``number`` counts the iterations. The body returns the next condition, then the next carried values.
    """
    recorded = condition.record([ITERATION_NUMBER, *(x.type for x in carried)], body)
    if recorded is not None:
        (region, *_), captures = recorded
        assert isinstance(region, Region)
        return condition.apply(LOOP, LoopAttrs(region), (limit, condition, *carried, *captures))
    number, first = 0, carried
    while bool(number < limit) and bool(condition):
        condition, *carried = body(full(condition, number, (), int64), *carried)
        check_carried("Loop", [x.type for x in first], [x.type for x in carried])
        number += 1
    return carried
