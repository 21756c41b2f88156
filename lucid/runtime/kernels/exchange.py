"""Kernels of sums over the processes of a group."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from ...graph.ops.exchange import BEGIN, END, BeginAttrs, EndAttrs
from ..planning.registry import kernel
from ..program.emitter import Emitter, Operand
from ..workers.exchange import begin_sum, end_sum, put


@kernel(BEGIN)
def begin(k: Emitter[BeginAttrs]) -> None:
    (flat,) = k.outs
    if [x.shape for x in k.ins] == [flat.shape]:
        k.may_overwrite(0, 0)
        k.line(f"{k.use(put)}({flat}, {k.ins[0]})")
    else:
        for x, part in zip(k.ins, _parts(flat, [x.shape for x in k.ins]), strict=True):
            place = k.view(flat, k.seen(part, x.shape), x.shape, contiguous=True, label="part")
            k.line(f"{place}[...] = {x}")
    k.line(f"{k.use(begin_sum)}({k.attrs.number}, {flat})")


@kernel(END)
def end(k: Emitter[EndAttrs]) -> None:
    (flat,) = k.ins
    shapes = [type_.concrete for type_ in k.node.outputs]
    for output, part in enumerate(_parts(flat, shapes)):
        if k.outs[output] is not None:
            k.alias(output, k.seen(part, shapes[output]), contiguous=True)
    k.line(f"{k.use(end_sum)}({k.attrs.number})")


def _parts(flat: Operand, shapes: Sequence[Sequence[int]]) -> Iterator[str]:
    """The source of views of consecutive arrays of these shapes in ``flat``."""
    at = 0
    for shape in shapes:
        size = math.prod(shape)
        yield f"{flat}[{at}:{at + size}]"
        at += size
