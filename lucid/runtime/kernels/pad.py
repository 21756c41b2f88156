"""Kernels of padding, axis by axis: the padding of an axis is copied from the result for the axes before."""

from __future__ import annotations

from collections.abc import Iterator

from ...graph.ops import pad as ops
from ..planning.registry import kernel
from ..program.emitter import Emitter, Operand


@kernel(ops.PAD)
def pad(k: Emitter) -> None:
    (x,), (y,), a = k.ins, k.outs, k.attrs
    k.node.op.infer(a, x.type)  # sizes that were symbolic while tracing may leave too little to reflect
    inner = [slice(b, b + size) for b, size in zip(a.before, x.shape, strict=True)]
    k.line(f"{y}[{_source(inner)}] = {x}")
    for target, source in _strips(a.before, a.after, x.shape, a.mode):
        if source is None:
            k.line(f"{y}[{_source(target)}] = {k.number(a.value)}")
        else:
            k.line(f"{y}[{_source(target)}] = {y}[{_source(source)}]")


@kernel(ops.PAD_GRAD)
def pad_grad(k: Emitter) -> None:
    (dy,), (dx,), a = k.ins, k.outs, k.attrs
    work: Operand = k.scratch(dy.shape, dy.dtype)
    k.line(f"{work}[...] = {dy}")
    for target, source in reversed(list(_strips(a.before, a.after, dx.shape, a.mode))):
        if source is None:
            continue
        place, strip = f"{work}[{_source(source)}]", f"{work}[{_source(target)}]"
        if a.mode == "replicate":  # all of the strip is added to the one edge it was copied from
            axis = next(i for i, (t, s) in enumerate(zip(target, source, strict=True)) if t != s)
            strip = f"np.add.reduce({strip}, axis={axis}, keepdims=True)"
        k.line(f"np.add({place}, {strip}, out={place})")
    inner = [slice(b, b + size) for b, size in zip(a.before, dx.shape, strict=True)]
    k.line(f"{dx}[...] = {work}[{_source(inner)}]")


def _strips(
    before: tuple[int, ...], after: tuple[int, ...], shape: tuple[int, ...], mode: str
) -> Iterator[tuple[list[slice], list[slice] | None]]:
    """The parts to fill and their sources (None: the constant), in order.

    Earlier axes are whole (with their padding), later ones only as long as the input.
    """
    rank = len(shape)
    for axis in range(rank):
        b, size, end = before[axis], shape[axis], after[axis]
        region = [
            slice(0, before[i] + shape[i] + after[i]) if i < axis else slice(before[i], before[i] + shape[i])
            for i in range(rank)
        ]
        first, last = b, b + size - 1
        places = {
            "constant": (None, None),
            "reflect": (slice(first + b, first, -1), slice(last - 1, last - 1 - end, -1)),
            "replicate": (slice(first, first + 1), slice(last, last + 1)),
            "circular": (slice(last + 1 - b, last + 1), slice(first, first + end)),
        }[mode]
        for count, target, source in ((b, slice(0, b), places[0]), (end, slice(last + 1, last + 1 + end), places[1])):
            if count:
                yield (
                    [*region[:axis], target, *region[axis + 1 :]],
                    None if source is None else [*region[:axis], source, *region[axis + 1 :]],
                )


def _source(region: list[slice]) -> str:
    """A part of an array, as written between brackets."""
    return ", ".join(_bounds(s) for s in region) or "..."


def _bounds(s: slice) -> str:
    stop = "" if s.step is not None and s.stop < 0 else s.stop
    return f"{s.start}:{stop}" + ("" if s.step is None else f":{s.step}")
