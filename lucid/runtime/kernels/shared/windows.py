"""Blocks of images, and the loops over them that window kernels share.

A kernel lists at plan time which slices of which arrays each step of its loop reads and writes; the
program binds them to arrays as soon as these have an address, and runs plain loops over the views.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

from ....graph.types import CHANNELS_LAST, DType
from ....graph.windows import Tap
from ...program.emitter import Emitter, Operand

#: Which array (by number), and which part of it.
Part: TypeAlias = "tuple[int, Any]"


class Block(NamedTuple):
    """A part of an output: images, channels and rows."""

    n0: int
    n1: int
    c0: int
    c1: int
    r0: int
    r1: int


def pieces(total: int, most: int) -> list[tuple[int, int]]:
    """``total`` things in runs of nearly equal length, none longer than ``most``."""
    count = -(-total // max(1, most))
    return [(i * total // count, (i + 1) * total // count) for i in range(count)]


def image_blocks(images: int, channels: int, rows: int, per_row: int, target: int, channels_last: bool) -> list[Block]:
    """Blocks of about ``target`` bytes, where one row of one channel takes ``per_row``.

    Whole images while they fit; then rows of all channels where these lie innermost, else planes.
    """
    if images * channels * rows == 0:
        return []
    image = channels * rows * per_row
    if image <= target:
        return [Block(a, b, 0, channels, 0, rows) for a, b in pieces(images, target // max(1, image))]
    if channels_last:
        cut = pieces(rows, target // (channels * per_row))
        return [Block(n, n + 1, 0, channels, a, b) for n in range(images) for a, b in cut]
    cut = pieces(channels, target // (rows * per_row))
    return [Block(n, n + 1, a, b, 0, rows) for n in range(images) for a, b in cut]


def deal(blocks: Sequence[Any], workers: int) -> list[list[Any]]:
    """The blocks in ``workers`` runs."""
    return [list(blocks[a:b]) for a, b in pieces(len(blocks), -(-len(blocks) // workers))] if blocks else []


def channels_last(x: Operand) -> bool:
    return x.type.order == CHANNELS_LAST


def image_scratch(k: Emitter, shape: tuple[int, int, int, int], dtype: DType, last: bool, label: str) -> Operand:
    """Working memory of logical shape (N, C, H, W), channels innermost if ``last``."""
    return k.scratch(shape, dtype, label, CHANNELS_LAST if last else None)


def laid_out(k: Emitter, x: Operand, last: bool, label: str) -> Operand:
    """``x`` without gaps, channels innermost if ``last``: itself, or a copy made before the next line."""
    return k.laid_out(x, CHANNELS_LAST if last else None, label)


def tuple_of(operands: Iterable[Operand | str]) -> str:
    """The source of a tuple of them."""
    return f"({''.join(f'{x}, ' for x in operands)})"


def bind(k: Emitter, label: str, expression: str, *reads: Operand) -> str:
    """A name for ``expression``, evaluated as soon as all arrays that it reads have an address."""
    name = k.names.fresh(f"{k.name}_{label}")
    k.define(name, expression, max(x.phase for x in reads))
    return name


def over_blocks(k: Emitter, workers: int, names: Sequence[str], lists: Sequence[str], body: Sequence[str]) -> None:
    """A loop over lists (one for each worker, in step), on as many threads as there are workers."""
    if workers == 0:
        return

    def loop(which: str) -> Iterator[str]:
        if len(lists) == 1:
            yield f"for {names[0]} in {lists[0]}[{which}]:"
        else:
            yield f"for {', '.join(names)} in zip({', '.join(f'{x}[{which}]' for x in lists)}):"
        for text in body:
            for line in text.splitlines():
                yield f"    {line}"

    if workers == 1:
        k.line("\n".join(loop("0")))
        return
    k.shared(k.names.fresh(f"{k.name}_blocks"), workers, list(loop("worker")))


AT_ONCE = 2048
"""Elements of bias added (and of zeros compared with) at a time: pixels of few outputs are taken several at once."""


def pixels_of_run(outputs: int, blocks: Iterable[int]) -> int:
    """How many pixels, of so many outputs each, a run takes: a divisor of what every block has."""
    common = math.gcd(*blocks)
    return max(d for d in range(1, max(1, AT_ONCE // max(1, outputs)) + 1) if common % d == 0)


def tiled(k: Emitter, bias: Operand, tile: int) -> Operand:
    """The bias as often as a run has pixels."""
    if tile == 1:
        return bias
    with k.once(bias):
        row = k.scratch((tile * bias.shape[0],), bias.dtype, "biases")
        k.line(f"{k.seen(row, (tile, bias.shape[0]))}[...] = {bias}")
    return row


def recheck(k: Emitter) -> None:
    """Apply the type rule to the concrete types: a symbolic size may have turned out too small."""
    k.node.op.infer_types(k.attrs, [x.type.with_order(None) for x in k.ins])


def reduction(
    taps: Sequence[Tap], low: int, high: int, target: Any, source: Any, base: Part
) -> Iterator[tuple[Part, Part, Part]]:
    """``out = f(a, b)`` steps that reduce over the taps of one axis; ``base`` is the neutral element.

    ``target(first, last)`` and ``source(tap)`` say which parts to write and to read.
    """
    full = [tap for tap in taps if (tap.first, tap.last) == (low, high)]
    operands = [source(tap) for tap in full[:2]]
    operands += [base] * (2 - len(operands))
    yield target(low, high), operands[0], operands[1]
    begun = full[:2]
    for tap in taps:
        if tap in begun:
            begun = [other for other in begun if other is not tap]
        elif tap.last > tap.first:
            part = target(tap.first, tap.last)
            yield part, part, source(tap)
