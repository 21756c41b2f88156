"""Blocks of fused element-wise ops: axes that are adjacent in all operands are joined, and one of them is cut.

Sums over axes are computed block by block. Each block writes its partial sums to a place of its own, and these are
added at the end, so that a sum does not depend on which worker ran which block.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

from ....base.structs import struct
from ....graph.ops.fused import Result
from ....graph.ops.reduce import MEAN, ReduceAttrs
from ....graph.types import DType, TensorType, is_float
from ...planning.machine import this_machine
from ...planning.phase import Phase
from ...program.emitter import Emitter, Operand
from ...program.statement import Statement
from ..elementwise import filled, scalar
from ..shared.row_sums import LONGEST_ROW
from .program import Program

LEAST_BYTES, NEAR_BYTES = 1 << 17, 1 << 18
"""The least and the most bytes of one operand's block; those of all operands should take half of a core's own cache."""

ENOUGH_BYTES, BLOCK_BYTES = 3 << 16, 1 << 19
"""Bytes of one operand's block from which its calls take little time beside what they compute, and those of the block
that is taken instead of a smaller one if those of all operands fit half of a core's share of the third-level cache:
long runs are read nearly as fast from there."""

THREAD_BYTES = 1 << 19
"""Bytes of one operand's block if threads share the blocks: they compete for the interpreter's lock between calls."""

LONG_RUN = 1 << 13
"""Length from which NumPy reads an operand that is broadcast over runs in place. It copies a shorter one repeatedly
into a buffer of this length, each time, which takes as long as the computation."""

LEAST_RUNS = 4
"""The least number of runs for which it pays to repeat such an operand once in advance."""


def block_bytes(k: Emitter, like: Operand, results: int) -> int:
    """Bytes of one operand's block, for a node with this many results and one temporary."""
    arrays, machine = results + 1 + sum(x.shape == like.shape for x in k.ins), this_machine()
    near = machine.l2 // (2 * arrays)
    if k.threads == 1 and near < ENOUGH_BYTES and arrays * BLOCK_BYTES <= machine.l3 // (2 * machine.cores):
        return BLOCK_BYTES
    return min(BLOCK_BYTES, NEAR_BYTES, max(LEAST_BYTES, near))


def memory_of(x: Operand) -> tuple[int, ...]:
    """The axes in memory order."""
    return x.type.order or tuple(range(x.type.rank))


def alike(x: Operand, y: Operand) -> bool:
    """Whether ``x``, perhaps broadcast, has the memory order of ``y`` and no gaps."""
    lead = y.type.rank - x.type.rank
    wanted = [axis - lead for axis in memory_of(y) if axis >= lead and x.shape[axis - lead] != 1]
    gapless = x.contiguous or x.phase is Phase.CALL  # the caller's arrays are copied if they have gaps
    return gapless and wanted == [axis for axis in memory_of(x) if x.shape[axis] != 1]


class Total(NamedTuple):
    """A sum or mean that a loop computes.

    Attributes
    ----------
    value
        The number of the value that is added up.
    axes
        The axes that are added up.
    out
        The result.
    terms
        The number that the sum is divided by; 1 for a sum.
    """

    value: int
    axes: tuple[int, ...]
    out: Operand
    terms: int

    @classmethod
    def of(cls, result: Result, out: Operand, shape: tuple[int, ...]) -> Total:
        """The total for a result of a loop over this shape."""
        attrs: ReduceAttrs = result.attrs  # type: ignore[assignment]
        count = math.prod(shape[axis] for axis in attrs.axes) if result.op == MEAN.name else 1
        return cls(result.value, attrs.axes, out, count)

    def divided(self, k: Emitter, y: Operand) -> list[str]:
        """The line that turns the sum ``y`` into a mean; none if a sum is wanted."""
        return [] if self.terms == 1 else [f"np.divide({y}, {scalar(k, float(self.terms), y.dtype)}, out={y})"]

    def follows(self, like: Operand) -> bool:
        """Whether the remaining axes have the same order in the result as in the memory of ``like``."""
        left = [axis for axis in memory_of(like) if axis not in self.axes and like.shape[axis] != 1]
        return left == sorted(left) and self.out.contiguous and self.out.type.order is None


class Partial(NamedTuple):
    """The partial sums of the blocks for one total.

    Attributes
    ----------
    total
        The total.
    over
        For each joined axis, whether it is added up.
    sums
        The partial sums, with the joined axes. Of those that are added up, axes within a block have size 1, and the
        axis that is cut has one element per block.
    out
        The result, with the joined axes; None if ``sums`` is the result itself.
    """

    total: Total
    over: tuple[bool, ...]
    sums: Operand
    out: Operand | None


@struct
class IterationSpace:
    """The axes in memory order, adjacent ones joined, and how blocks are cut from them.

    Attributes
    ----------
    shape
        Sizes of the joined axes, outermost first.
    axis
        The axis that is cut: a block is a range of it, with one index of each axis before and all of those after.
    step
        The length of a range.
    dtype
        The type of the values.
    ins, outs
        The inputs, and the results by value number, viewed with the joined axes.
    partials
        The sums.
    rows
        The number of rows of the innermost axis that are joined into one row of ``shape``.
    """

    shape: tuple[int, ...]
    axis: int
    step: int
    dtype: DType
    ins: list[Operand]
    outs: dict[int, Operand]
    partials: list[Partial]
    rows: int = 1

    @classmethod
    def of(
        cls, k: Emitter, like: Operand, made: Mapping[int, Operand], totals: Sequence[Total], threads: int
    ) -> IterationSpace:
        """The space of operands with the memory order of ``like``, or that are broadcast to it.

        ``made`` are the results by value number.
        """
        memory = memory_of(like)
        sizes = [like.shape[axis] for axis in memory]
        padded = [(1,) * (like.type.rank - x.type.rank) + x.shape for x in k.ins]
        apart = [(*(p[axis] == 1 for p in padded), *(axis in t.axes for t in totals)) for axis in memory]
        groups: list[list[int]] = []
        for i, size in enumerate(sizes):
            if size == 1:
                continue
            if groups and apart[groups[-1][-1]] == apart[i]:
                groups[-1].append(i)
            else:
                groups.append([i])
        shape = tuple(math.prod(sizes[i] for i in g) for g in groups)
        over = [tuple(memory[g[0]] in t.axes for g in groups) for t in totals]
        seen = [tuple(math.prod(p[memory[i]] for i in g) for g in groups) for p in padded]
        numbers = max(1, block_bytes(k, like, len(made)) // like.dtype.itemsize)
        rows = _rows(shape, seen, over, numbers)
        whole = _side_by_side(shape, rows)
        workers = threads if k.last or not totals else 1
        if workers > 1 and not this_machine().helpers:
            numbers = max(1, THREAD_BYTES // like.dtype.itemsize)
        axis, step = _cut(whole, numbers, over, workers, LONGEST_ROW // rows)
        ins = [
            _scalar(k, x) if x.type.size == 1 else _input(k, x, like, s, rows) for x, s in zip(k.ins, seen, strict=True)
        ]
        outs = {i: _seen(k, y, like, whole, written=True) for i, y in made.items()}
        blocks = -(-whole[axis] // step) if whole else 1
        partials = [_partial(k, t, o, shape, axis, blocks) for t, o in zip(totals, over, strict=True)]
        return cls(whole, axis, step, like.dtype, ins, outs, partials, rows)

    @property
    def single(self) -> bool:
        """Whether there is only one block."""
        return math.prod(self.shape[: self.axis]) == 1 and self.step >= self._size

    @property
    def resumable(self) -> bool:
        """Whether the loop is one over blocks that only write results, so that it can continue from a block count."""
        return self.axis == 0 and not self.partials

    @property
    def _size(self) -> int:
        return self.shape[self.axis] if self.shape else 1

    def parts(self, count: int) -> list[tuple[int, int]]:
        """Ranges of the outermost axis for ``count`` workers, of whole blocks if that is the axis that is cut."""
        size = self.shape[0]
        unit = self.step if self.axis == 0 else 1
        blocks = -(-size // unit)
        cuts = [min(size, blocks * i // count * unit) for i in range(count + 1)]
        return list(pairwise(cuts))

    def at_once(self, k: Emitter, like: Operand) -> list[Statement]:
        """The statements for a space of a single block."""

        def add_up(number: int, value: Operand) -> list[str]:
            return [self._sum(k, value, p.over, str(p.sums)) for p in self.partials if p.total.value == number]

        flat = replace(like, type=TensorType(self.shape, like.dtype))
        return Program(k, self.ins, self.outs, flat, add_up).statements

    def loop(self, k: Emitter, start: int, stop: int, done: str | None = None) -> list[str]:
        """Lines that compute a range of the outermost axis, block by block.

        If results overwrite operands, ``done`` is a counter from which the lines continue when they are repeated: twice
        the number of finished blocks, plus 1 once the next block is complete in scratch memory and is being copied to
        the results.
        """
        lines: list[str] = []
        indent = ""
        index = []
        for axis in range(self.axis):
            index.append(k.names.fresh(f"i{axis}"))
            first, last = (start, stop) if axis == 0 else (0, self.shape[axis])
            lines.append(f"{indent}for {index[-1]} in range({first}, {last}):")
            indent += "    "
        first, last = (start, stop) if self.axis == 0 else (0, self.shape[self.axis])
        rest = (last - first) % self.step
        if last - rest > first:
            a = k.names.fresh("a")
            begin = first if done is None else f"{first} + {done} // 2 * {self.step}"
            lines.append(f"{indent}for {a} in range({begin}, {last - rest}, {self.step}):")
            window, number = f"{a}:{a} + {self.step}", f"{a} // {self.step}"
            lines += self._block(k, index, window, number, self.step, indent + "    ", done)
        if rest:
            if done is not None:
                lines.append(f"{indent}if {done} // 2 == {(last - first) // self.step}:")
                indent += "    "
            number = str((last - rest) // self.step)
            lines += self._block(k, index, f"{last - rest}:{last}", number, rest, indent, done)
        return lines

    def _block(
        self, k: Emitter, index: Sequence[str], window: str, number: str, length: int, indent: str, done: str | None
    ) -> list[str]:
        shape = (length, *self.shape[self.axis + 1 :])
        lines: list[str] = []

        def cut(x: Operand) -> Operand:
            if x.type.rank != len(self.shape):
                return x
            keys = [i if size > 1 else "0" for i, size in zip(index, x.shape, strict=False)]
            small = x.shape[self.axis] == 1
            own = tuple(1 if d == 1 else n for d, n in zip(x.shape[self.axis :], shape, strict=True))
            block = Operand(k.names.unique(f"{x.name}_block"), TensorType(own, x.dtype), Phase.CALL, base=x)
            lines.append(f"{block} = {x}[{', '.join([*keys, ':' if small else window])}]")
            return block

        def add_up(value: int, block: Operand) -> list[str]:
            sums = []
            for part in self.partials:
                if part.total.value == value:
                    last = f"{number}:{number} + 1" if part.over[self.axis] else window
                    key = ", ".join([*index, last])
                    sums.append(self._sum(k, block, part.over[self.axis :], f"{part.sums}[{key}]"))
            return sums

        ins = [cut(x) for x in self.ins]
        outs = {i: cut(y) for i, y in self.outs.items()}
        like = Operand("", TensorType(shape, self.dtype), Phase.CALL)
        if done is None:
            lines += [statement.line for statement in Program(k, ins, outs, like, add_up).statements]
        else:
            aside = {i: k.scratch(shape, y.dtype, "aside") for i, y in outs.items()}
            lines.append(f"if not {done} % 2:")
            for statement in Program(k, ins, aside, like, add_up).statements:
                lines += [f"    {line}" for line in statement.line.splitlines()]
            lines += [f"    {done} += 1", *(f"{y}[...] = {aside[i]}" for i, y in outs.items()), f"{done} += 1"]
        return [f"{indent}{line}" for text in lines for line in text.splitlines()]

    def _sum(self, k: Emitter, x: Operand, over: tuple[bool, ...], out: str) -> str:
        """A line that adds up axes, keeping them with size 1; rows or columns by BLAS, which is five times as fast."""
        shape, source = x.shape, str(x)
        if self.rows > 1:
            shape = (*shape[:-2], shape[-2] * self.rows, shape[-1] // self.rows)
            source = f"{x}.reshape({shape})"
        length = shape[over.index(True)] if over in ((True, False), (False, True)) else 0
        if is_float(x.dtype) and 0 < length <= LONGEST_ROW:
            ones = k.use(filled(1.0, x.dtype, (1, length) if over[0] else (length, 1)), "ones")
            return f"np.dot({ones}, {source}, out={out})" if over[0] else f"np.dot({source}, {ones}, out={out})"
        axes = tuple(i for i, gone in enumerate(over) if gone)
        return f"np.add.reduce({source}, axis={axes}, keepdims=True, out={out})"

    def finish(self, k: Emitter) -> None:
        """Add up the partial sums of all blocks."""
        for part in self.partials:
            out = part.sums
            if part.out is not None:
                out = part.out
                axes = tuple(i for i, size in enumerate(out.shape) if size != part.sums.shape[i])
                k.line(f"np.add.reduce({part.sums}, axis={axes}, keepdims=True, out={out})")
            for line in part.total.divided(k, out):
                k.line(line)


def _partial(
    k: Emitter, total: Total, over: tuple[bool, ...], shape: tuple[int, ...], axis: int, blocks: int
) -> Partial:
    kept = tuple(1 if gone else size for gone, size in zip(over, shape, strict=True))
    sizes = list(shape[:axis]) + [1 if gone else size for gone, size in zip(over[axis:], shape[axis:], strict=True)]
    if over and over[axis]:
        sizes[axis] = blocks
    out = k.target(total.out, kept, "total")
    if tuple(sizes) == kept:
        return Partial(total, over, out, None)
    return Partial(total, over, k.scratch(sizes, total.out.dtype, "sums"), out)


def _input(k: Emitter, x: Operand, like: Operand, shape: tuple[int, ...], rows: int) -> Operand:
    """An input viewed with the joined axes, ``rows`` rows in one; copied ``rows`` times if it is one row for all."""
    if rows == 1 or shape[-2] > 1 or shape[-1] == 1:
        return _seen(k, x, like, _side_by_side(shape, rows))
    row = _seen(k, x, like, shape)
    with k.once(x):
        copies = k.scratch((*shape[:-2], rows, shape[-1]), x.dtype, "rows")
        k.line(f"{copies}[...] = {row}")
    return k.target(copies, _side_by_side(shape, rows), "row")


def _seen(k: Emitter, x: Operand, like: Operand, shape: tuple[int, ...], *, written: bool = False) -> Operand:
    lead = like.type.rank - x.type.rank
    permuted = k.permuted(x, tuple(axis - lead for axis in memory_of(like) if axis >= lead))
    # this is its memory order, apart from axes of size 1, so a view suffices
    return k.target(permuted, shape, "flat") if written or x.phase is not Phase.CALL else k.reshaped(permuted, shape)


def _scalar(k: Emitter, x: Operand) -> Operand:
    return x if x.type.rank == 0 else k.target(x, (), "scalar")


def _rows(shape: tuple[int, ...], seen: Sequence[tuple[int, ...]], over: Sequence[tuple[bool, ...]], most: int) -> int:
    """How many rows of the innermost axis to join into one, of at most ``most`` numbers.

    If an operand is a single row, broadcast over all rows, enough rows are joined to make a long run. The answer is 1
    if another operand has one number per row, if a sum keeps the rows apart, or if there are too few rows.
    """
    if len(shape) < 2 or all(s[-2:] != (1, shape[-1]) for s in seen) or not all(gone[-2] for gone in over):
        return 1
    count, length = shape[-2:]
    if length >= LONG_RUN or any(s[-2] > 1 and s[-1] == 1 for s in seen):
        return 1
    enough = range(-(-LONG_RUN // length), min(most // length, count // LEAST_RUNS) + 1)
    return next((rows for rows in enough if count % rows == 0), 1)


def _side_by_side(shape: tuple[int, ...], rows: int) -> tuple[int, ...]:
    """The shape with ``rows`` rows of the innermost axis joined into one; an innermost axis of size 1 stays that."""
    if rows == 1:
        return shape
    *lead, count, length = shape
    return (*lead, max(1, count // rows), length if length == 1 else rows * length)


def _cut(
    shape: tuple[int, ...], wanted: int, over: Sequence[tuple[bool, ...]], threads: int, longest: int
) -> tuple[int, int]:
    """The axis to cut into blocks of about ``wanted`` numbers, and the length of a range.

    All threads get equally many blocks. Ranges that BLAS adds up (as columns) are not longer than ``longest``.
    """
    inner = 1
    for axis in range(len(shape) - 1, -1, -1):
        if inner * shape[axis] > wanted or axis == 0:
            columns = any(gone[axis:] == (True, False) for gone in over)
            size = max(1, shape[axis])
            most = min(size, max(1, wanted // inner), *([max(1, longest)] if columns else []))
            blocks = -(-size // (most * threads)) * threads
            return axis, most if threads == 1 else -(-size // blocks)
        inner *= shape[axis]
    return 0, 1
